//! Further shell commands: rare ones, and expansions that a shell makes before it runs a command.

use super::signature::{NOT_PATH, Signature};
use crate::guard::detection::category::Category::CmdInjection;
use crate::guard::detection::confirm::{is_one_command, leads_shortly};

const fn command(name: &'static str, literals: &'static [&'static str], pattern: &'static str) -> Signature {
    Signature::new(CmdInjection, name, literals, pattern).and_unquoted()
}

/// The commands of `cmd_of_developers`.
const DEVELOPERS: &[&str] = &[
    "^adduser",
    "^useradd",
    "^usermod",
    "^deluser",
    "^aptitude",
    "^apk",
    "^ansible",
    "^bsdtar",
    "^busybox",
    "^c8",
    "^c9",
    "^gcc",
    "^clang",
    "^cpulimit",
    "^cscli",
    "^dmesg",
    "^gdb",
    "^irb",
    "^rmt",
    "^runcon",
    "^strace",
    "^ltrace",
    "^visudo",
    "^7z",
    "^zstdcat",
    "^zcat",
    "^bzcat",
    "^ifconfig",
    "^chef-",
    "^regedit",
    "^bcdboot",
    "^bcdedit",
    "^winget",
    "^iwr",
    "^sh",
    "^bash",
    "^dash",
    "^zsh",
    "^ksh",
    "^csh",
    "^tcsh",
    "^base",
    "^flock",
    "^lastlog",
    "^perf",
    "^env",
    "^column",
    "^comm",
    "^fold",
    "^nice",
    "^ionice",
    "^pkill",
    "^tee",
    "^trap",
];

pub(super) const TABLE: &[Signature] = &[
    command(
        "cmd_of_developers",
        &[";", "|", "&", "`", "$(", "\n", "<<<"],
        r"(?:[;|&`\n]|\$\(|<<<)\s*(?:\$\w+\s+)?(?:adduser|useradd|usermod|deluser|aptitude|apk\s+add|ansible(?:-\w+)?|bsdtar|busybox|c[89]9|gcc[\d.]*|clang|cpulimit|cscli|dmesg|gdb|irb|rmt-\w+|runcon|strace|ltrace|visudo|7z[arx]?|zstdcat|zcat|bzcat|ifconfig|chef-\w+|regedit|bcdboot|bcdedit|winget|iwr|(?:ba|da|z|k|c|tc)?sh(?:\$\w+)?\s+-c)(?:\s*<<<|\s*$|\s+[\w./'(<>%\\!-]|/\w|\))|(?:[;|&`\n]|\$\()\s*(?:(?:base(?:32|64)|flock|lastlog(?:in)?|perf|rmt|env|column|comm|fold|nice|ionice|pkill|tee)\s+-\w|trap\s+['a-z].*\bsig|(?:base(?:32|64)|flock|lastlog(?:in)?|perf|rmt|env)\s+--)",
    ).with(DEVELOPERS)
    .confirmed(leads_shortly),
    command(
        "cmd_behind_prefix",
        &["time ", "strace ", "nohup ", "sudo ", "setsid ", "builtin "],
        r"^\W*(?:time|strace|nohup|sudo|setsid|builtin)\s+(?:/(?:usr/)?s?bin/)?(?:(?:ba|da|z|k|c|tc)?sh\s+-|ifconfig|whoami|uname|curl\s|wget\s|bsdtar|cmd(?:\.exe)?\s*$|cmd\s*/|winget|powershell|python[\d.]*\s|perl\s|nc\s|id$|cat\s+/|ls\s+[-/]|cd\s+\w+$)",
    )
    .only_in(NOT_PATH),
    command(
        "cmd_alone",
        &["ansible", "chef-", "visudo", "cscli", "perf -", "zstdcat", "gunzip -", "busybox", "python", "sh -c", "ls ", "whoami", "alias", "7z"],
        r"^['\x22]?(?:ansible\s+\w+\s+-m\b|chef-(?:client|run|shell|vault|solo)(?:\s+(?:-|\w+\s)|$)|visudo$|cscli['\x22]?\s+\w+\s+\w+|perf\s+--?\w|zstdcat\s+/|gunzip\s+-c\s|busybox\s+(?:-|\w+\s)|python[\d.]*\d\s+\w+$|(?:ba|da|z|k|c|tc)?sh\s+-c\s|ls\s+(?:-\w+\s+)?[/~.]\S*$|ls\s+\w+\s+\w+$|whoami\s*[;&|]|alias\s+(?:[-+]\w+\s+)?['\x22]?[\w.!-]+['\x22]?=\S)",
    )
    .only_in(NOT_PATH)
    .confirmed(is_one_command),
    // Of a command that no list has, an option is the sign. Behind the name of a host, a shell is the only reader of it.
    command(
        "cmd_behind_host",
        &[";", "|", "&"],
        r"^(?:[a-z0-9-]+\.)+(?:[a-z]{2,24}|\d{1,3})(?::\d+)?\s*(?:;|\|\|?|&&?)\s*[a-z][\w./-]{1,30}(?:\s+-{1,2}[a-z][\w-]*(?:[ =][\w./:@-]+)?)+\s*[;&|#]?\s*$",
    )
    .with(&[" -"])
    .only_in(NOT_PATH),
    command("cmd_piped_to_shell", &["|"], r"^\W*(?:printf|echo|base64|rev|tac)\s.*\|\s*(?:ba|da|z|k)?sh\s*$").confirmed(is_one_command),
    command("cmd_wrapper", &["-wrapper", "sh)"], r"-wrapper\s+\w*sh,-c|\(\s*(?:ba|da|z|k)?sh\s*\)\s*\d?>"),
    command("cmd_changes_folder", &["cd "], r"(?:^|[;&|\n])\s*cd\s+/\S*?\s*(?:;|&&|\|)\s*\w").confirmed(is_one_command).only_in(NOT_PATH),
    command("cmd_expanded_braces", &["{"], r"^\{[a-z]*(?:,[a-z-]*)*,-[a-z]+\}[a-z]*$|^[a-z]{1,6}\{[a-z]+(?:,[a-z]+)+\}[a-z]{1,6}$|^\{(?:,[a-z][\w-]*)+\}$|^\{[a-z]\w*,\}$").and_raw(),
    command("cmd_expanded_tilde", &["~+", "~-"], r"^~[-+]\d?$|[;|&`(<>]\s*~[-+]\d*[`)]?$"),
    command("cmd_history", &["!"], r"^!-?\d+(?:!-?\d+)+$|^!\s*(?:id|ls|whoami|uname|cat\s+/\S*)\s*$"),
    command(
        "cmd_interpreter",
        &["^python", "^perl", "^ruby", "^php", "^node", "^lua"],
        r"(?:^|[;&|`(])\W{0,3}(?:python[\d.]*|perl|ruby|php\d?|node|lua)\s+(?:-\w*[cer]\w*\s*['\x22]?.{0,200}(?:socket|subprocess|os\.|system|exec|/bin/|spawn|popen|http)|-\w*m\w*\s*['\x22]?\S{0,40}(?:socket|subprocess|system|exec|http))",
    )
    .confirmed(is_one_command),
    command("cmd_here_string", &["<<<"], r"(?:^|[;|&`(])\s*[$\w/]{1,20}\s*<<<\s*[^<\s]").confirmed(leads_shortly),
    command("cmd_argument", &["--checkpoint-action", "--to-command", "proxycommand", "--upload-pack", "--open-files-in-pager", "--output"], r"--output(?:-document)?=\S*\.(?:php\d?|jspx?|aspx?|sh|cgi)\b|--(?:checkpoint-action|to-command|upload-pack|open-files-in-pager)\s*=\s*\S|-o\s*proxycommand\s*=").confirmed(is_one_command),
    command("cmd_substitution_alone", &["$(", "<(", ">("], r"^[$<>]\([a-z][\w ./|-]{0,60}\)$"),
    command("cmd_for_windows", &["%"], r"(?:^|[&|]\s*)for\s+(?:/[dflr]\s+)*(?:\x22[^\x22]*\x22\s+|\S{1,40}\s+)?%{1,2}\S{1,12}\s+in\s*\([^)]*\)\s*do\b").with(&["^for$"]).confirmed(leads_shortly),
    command(
        "cmd_if_windows",
        &["^if$"],
        r"^\W{0,3}if\s+(?:/i\s+)?(?:not\s+)?(?:exist\s+\S+\s+\S|(?:defined|cmdextversion|errorlevel)\s+\S+\s+\S|\S+\s+(?:equ|neq|lss|leq|gtr|geq)\s+\S|\S{1,40}(?:\s+\S{1,20}){0,2}\s*={2,3}\s*\S{1,40}(?:\s+\S{1,20}){0,2}\s+(?:[(@]?\s*(?:cmd|echo|set|goto|exit|cd|do|call)\b|\.\.\.|\($))",
    )
    .with(&["^exist$", "^defined$", "^cmdextversion$", "^errorlevel$", "^equ$", "^neq$", "^lss$", "^leq$", "^gtr$", "^geq$", "=="])
    .only_in(NOT_PATH)
    .confirmed(is_one_command),
    command(
        "cmd_powershell",
        &["invoke-", "iex", "iwr", "iwmi", "start-process", "downloadstring", "new-object", "-executionpolicy"],
        r"(?:^|[;|&({]\s*)(?:(?:invoke-(?:webrequest|expression|command|restmethod|wmimethod|cimmethod)|start-process)\s+[-\w'\x22$(]|(?:iex|iwr|irm|iwmi|icm)\s+(?:[-($'\x22]|http)|new-object\s+(?:system\.)?net\.)|\)\.downloadstring\s*\(",
    )
    .confirmed(is_one_command),
];
