//! Commands for a shell behind a parameter, or behind a segment of a path. What begins with a command is one in a parameter only: a
//! path may be `/bin/ls`.

use super::signature::{NOT_PATH, Signature};
use crate::guard::detection::category::Category::CmdInjection;
use crate::guard::detection::confirm::{is_last_word, leads_shortly};

const fn command(name: &'static str, literals: &'static [&'static str], pattern: &'static str) -> Signature {
    Signature::new(CmdInjection, name, literals, pattern).and_unquoted()
}

const SEPARATORS: &[&str] = &[";", "|", "&", "`", "$(", "\n", "<(", ">("];

pub(super) const TABLE: &[Signature] = &[
    command(
        "cmd_of_system",
        SEPARATORS,
        r"(?:[;|&`\n]|\$\(|[<>]\()[\s({!]*(?:\$\w{1,8}\s+)?(?:sudo\s+|nohup\s+|exec\s+|command\s+|eval\s+|time\s+|env\s+|busybox\s+)*(?:/(?:usr/)?(?:local/)?s?bin/)?(?:whoami|ifconfig|ipconfig|uname|netstat|nslookup|systeminfo|tasklist|lsb_release|printenv|lsof|lsblk|lscpu|ps\s+(?:-|aux)|nc\s+(?:-|[\w.]+\s+\d)|ncat\s|netcat\s|telnet\s+\S+\s+\d|socat\s|crontab\s|useradd\s|net\s+(?:user|localgroup|view|group)\b|wmic\s|reg\s+(?:add|query)\b|schtasks\b|certutil\s|bitsadmin\s|mshta\s|rundll32|regsvr32|cmd(?:\.exe)?\s*/|powershell|pwsh\b|(?:ba|da|z|k|c|tc)?sh\s+-[ci]|python[23.]*\s+-c|perl\s+-e|php\s+-r|ruby\s+-e|node\s+-e|ping6?\s+-?[\w\s-]*[\d.]|sleep\s+[\d.$]+|usleep\s+\d|timeout\s+(?:/t\s*)?\d|curl\s|wget\s|fetch\s+http|lwp-download|tftp\s|dig\s+\S+\.|host\s+\S+\.\S|traceroute\s|reboot\b|shutdown\s+[-/]|poweroff\b|halt\b|killall\s|kill\s+-9|chmod\s+[-+0-7ugoarwxs]|chown\s+\w|mkfifo\s|dd\s+if=|xxd\b|passwd\s*$|hostname\s*(?:$|[;|&`)#])|getent\s|iptables\s|tcpdump\b|nmap\s|sqlite3\s|mysql\s+-|mysqldump\b|systemctl\s|service\s+\w+\s+(?:start|stop|restart)|apt(?:-get)?\s+install|ssh\s+\S+@|scp\s|openssl\s|gcc\s|make\s*$|set\s*$|ver\s*$|vol\s*$)",
    )
    .confirmed(leads_shortly),
    command(
        "cmd_of_files",
        SEPARATORS,
        r"(?:[;|&`\n]|\$\(|[<>]\()[\s({!]*(?:sudo\s+|exec\s+|command\s+|busybox\s+)*(?:/(?:usr/)?s?bin/)?(?:cat|tac|nl|head|tail|more|less|strings|od|base64|base32|rev|cp|mv|rm|ls|dir|type|find|grep|egrep|awk|sed|cut|sort|uniq|tee|touch|mkdir|rmdir|ln|tar|zip|unzip|gzip|vi|vim|nano|ed|source|wc|paste|fold|diff|iconv|copy|del|erase|attrib|tree|fmt|pr|locate|which|whereis|cd)\s*(?:(?:-{1,2}[\w=-]+|/[a-z]\b)\s+)*(?:<\s*)?(?:\.{0,2}[/\\~*$]|[a-z]:[/\\%]|%\w+%|['\x22]/|\S*(?:passwd|shadow|\.php|\.conf|\.ini|\.env|flag|\.log|\.txt|\.bak|\.ssh|id_rsa|\*)|-[a-z]{1,5}\s*(?:$|[;|&`)#]))",
    )
    .confirmed(leads_shortly),
    command(
        "cmd_short",
        SEPARATORS,
        r"(?:[;|&`\n]|\$\()[\s(]*(?:/(?:usr/)?bin/)?(?:id|ls|dir|pwd|env|ps|w|who|set|df|du|date|uptime|ver|tree|last|groups|mount|hostname|arch|finger|history|free|top|dmesg|jobs|cat|sh|bash|zsh|ksh|dash|echo)\s*(?:-[a-z]{1,4}\s*)?(?:[;&]*\s*$|[`)]\s*\S{0,20}$|#|\x00|>|<|2>|[;|&]\s*['\x22]?$)",
    )
    .confirmed(is_last_word),
    command("cmd_echo", &["echo", "printf", "print"], r"(?:[;|&`\n]|\$\()[\s(]*(?:/bin/)?(?:echo|printf)\s+\S").confirmed(leads_shortly),
    command(
        "cmd_substitution",
        &["$(", "`"],
        r"\$\(\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|uname|hostname|pwd|ls|cat|curl|wget|nslookup|ping|sleep|echo|printf|env|bash|sh|python\d?|perl|nc|head|tail|base64|printenv|rev|dig|host|ps|expr|seq|tr|date)\b\s*[^)=.,]*\)|`\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname|id|hostname|cat\s|curl\s|wget\s|nslookup\s|ping\s|sleep\s|ls\s|ls`|pwd|echo\s|bash\s|python\d?\s|perl\s|nc\s)[^`]*`",
    )
    .confirmed(leads_shortly),
    command(
        "cmd_shell",
        &["/sh", "sh ", "/bash", "/zsh", "/dev/tcp", "/dev/udp", "mkfifo", "cmd", "powershell", "pwsh", "nc ", "ncat", "netcat"],
        r#"/dev/(?:tcp|udp)/[\w.$]+/\d|\b(?:ba|da|z|k)?sh\s+-i\b|/bin/(?:ba|da|z|k|c|tc)?sh\s+-[ci]\b|\bmkfifo\s+/tmp|\b(?:nc|ncat|netcat)(?:\.\w+)?\s+[^;|&\n]*-\w*[ec]\s+\S*(?:sh|cmd)|\bcmd(?:\.exe)?\s*/[ckr]\s*\S|\bpowershell(?:\.exe)?\s+[-/](?:e|ec|enc\w*|nop\w*|noni\w*|w|windowstyle|c|command|exec\w*|ep|sta|version)\b|\|\s*/bin/(?:ba|da|z)?sh\b"#,
    ),
    command("cmd_shellshock", &["() {", "(){", "()\t{", "()  {"], r"^\s*\(\)\s*\{|\(\)\s*\{\s*(?::|_)\s*;?\s*\}?\s*;"),
    command("cmd_blank_substitute", &["ifs", "$@", "$*", "$"], r"\$\{?ifs\b|\$\{ifs[%,:]|(?:^|[\s;|&`(=/])\w{0,8}[a-z]\$[@*][a-z]\w{0,8}(?:\$[@*]\w{0,8})*(?:$|[\s;|&`)/])|[;&|]\s*\w{1,8}=[^;&\s]*[;&]\s*(?:[^\n]{0,60}[;&]\s*)?\$\w+"),
    command("cmd_substring", &["${"], r"\$\{[#!]?\w+:\d+:\d+\}|\$\{\w+%%?[^}]*\}.{0,40}\$\{\w+"),
    command("cmd_glob_path", &["?", "*", "["], r"(?:[;|&`\n]|\$\(|^)\s*/[a-z?*\[\]]{2,}/[a-z?*\[\]\d]*[?*\]][a-z?*\[\]\d]*(?:\s+[/-]|\s*$)").only_in(NOT_PATH).confirmed(leads_shortly),
    command("cmd_brace_list", &["{"], r"\{(?:cat|ls|curl|wget|nc|bash|sh|ping|echo|id|whoami|uname|python\d?|perl|sleep),[^{}]*\}"),
    command("cmd_reader_of_files", &["cat", "tac", "less", "more", "head", "tail", "type", "nl", "strings"], r"\b(?:cat|tac|less|more|head|tail|nl|strings)\s*(?:-\w+\s+|<\s*)?/+(?:etc|proc|root|var|home)/+[\w.*?/]+\s*(?:$|[;|&`)#'\x22])").confirmed(leads_shortly),
    command("cmd_at_start", &["wget", "curl", "whoami", "cat ", "ls ", "bash", "nc ", "ping", "uname", "ifconfig", "id", "rm ", "nslookup", "sleep", "chmod", "python", "perl"], r"^\s*(?:/(?:usr/)?s?bin/)(?:cat|ls|id|whoami|bash|sh|uname|nc|curl|wget|ping|ps|rm|python\d?|perl|sleep|echo)\b|^\s*(?:cat|tac|less|head|tail)\s+/etc/|^\s*ls\s+-\w+\s+/|^\s*rm\s+-rf?\s+[/*~.]|^\s*(?:uname\s+-a|whoami|ifconfig)\s*$|^\s*ping\s+-[cn]\s*\d|^\s*nc\s+-|^\s*nslookup\s+\S+\.\S+$").only_in(NOT_PATH),
    command("cmd_windows", &["&", "|"], r"(?:&|\|)\s*(?:dir|type|copy|del|ren|move|start|net|ver|vol|set|echo|whoami|ipconfig|find|findstr|more|tree)\s+(?:[a-z]:\\|%\w+%|/[a-z]\b|\\\\|user\b|\*|\.)").confirmed(leads_shortly),
    command("cmd_variable_windows", &["%comspec%", "%systemroot%", "%windir%", "%programfiles", "%userprofile%", "%temp%"], r"%(?:comspec|systemroot|windir|programfiles(?::~\d+,-?\d+)?)%").and_raw(),
];
