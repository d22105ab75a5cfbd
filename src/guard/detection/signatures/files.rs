//! Attacks with files: path traversal, sensitive files, inclusion by a page, code that a server would run.

use super::signature::{Signature, in_contexts};
use crate::guard::detection::category::Category::{
    DirTraversal, FileInclusion, FileUpload, PathTraversal, SensitiveFile,
};
use crate::guard::detection::category::Context;
use crate::guard::detection::confirm::{is_no_prose, is_no_remark, is_path_whole};
use crate::guard::detection::ordinary_files::{
    is_file_of_accounts, is_file_of_system, is_no_ordinary_file, is_traversal, is_traversal_of_windows,
};

const PATH: u8 = Context::Path.bit();
const PATH_QUERY: u8 = in_contexts(&[Context::Path, Context::Query]);
const BODY: u8 = Context::Body.bit();

pub(super) const TABLE: &[Signature] = &[
    Signature::new(DirTraversal, "traversal_deep", &["..", "..\\"], r"(?:\.{2,}[;\x00]?[/\\]+){3,}").confirmed(is_traversal),
    Signature::new(DirTraversal, "traversal_start", &[".."], r"^[/\\]+(?:\.{2,}[;\x00]?[/\\]+){2,}[^\s]|^[\w./-]{1,60}[/\\](?:\.\.[;\x00]?[/\\]+){2,}\S|\.\.;/+\w").confirmed(is_traversal),
    Signature::new(
        DirTraversal,
        "traversal_to_file",
        &[".."],
        r"\.\.[;\x00]?[/\\]+(?:[^\s'\x22<>]*[/\\])?(?:etc[/\\]|proc[/\\]|windows[/\\]|winnt[/\\]|boot\.ini|win\.ini|passwd|shadow|\.ssh|\.env\b|\.git\b|\.htaccess|\.htpasswd|wp-config|web\.config|web-inf|config\.php|config\.inc|configuration\.php|settings\.py|database\.yml|parameters\.yml|appsettings|application\.properties|id_rsa|secret|access\.log|error\.log|var[/\\]log|system32|autoexec|php\.ini|my\.cnf|httpd\.conf|flag\b)",
    ),
    Signature::new(DirTraversal, "traversal_windows", &["..\\", "..%5c"], r"(?:\.\.\\+){2,}").confirmed(is_traversal_of_windows),
    Signature::new(DirTraversal, "traversal_in_path", &[".."], r"(?:^|[/\\])\.\.;?(?:[/\\]|$)").only_in(PATH).and_raw(),
    Signature::new(DirTraversal, "traversal_single", &["../"], r"^\.\.[/\\]+\w").worth(50),
    Signature::new(
        PathTraversal,
        "path_escaped_twice",
        &["%252e", "%252f", "%255c", "%25252", "%c0%a", "%c1%9", "%e0%80%a", "%u2215", "%u2216", "%uff0e", "%uff0f", "%c0%2", "%c0.", "%ef%bc%8f", "%%32", "..0x2f", "..0x5c"],
        r"(?:\.|%(?:25)+2e){2}(?:[/\\]|%(?:25)+(?:2f|5c))|%c0%(?:ae|af|2e|2f|5c|9v|qf)|%c1%(?:9c|1c|af|pc|8s)|%e0%80%(?:ae|af)|%u(?:2215|2216|ff0e|ff0f)|%(?:25)*ef%(?:25)*bc%(?:25)*(?:8f|8e)|%%32%|\.\.0x(?:2f|5c)",
    )
    .and_raw(),
    Signature::new(PathTraversal, "path_escaped_dots", &["%2e", "%2f", "%5c"], r"(?:\.|%2e){2}(?:[/\\]|%2f|%5c)").only_in(PATH).and_raw(),
    Signature::new(PathTraversal, "path_nul", &["\0"], r"^[^\[\]{}()|]*\x00").only_in(PATH_QUERY),
    // Random bytes sent as a text have other control characters before.
    Signature::new(PathTraversal, "path_nul_extension", &["\0"], r"^[^\x00-\x1f]*[\w/-]{2}(?:\.\w{2,5}\x00|\x00\.?\w{2,5}$)"),
    Signature::new(
        SensitiveFile,
        "file_of_accounts",
        &["passwd", "shadow", "sudoers", "security/user"],
        r"[/\\]+etc[/\\.]+(?:passwd|shadow|gshadow|master\.passwd|sudoers|security/(?:passwd|user|group))(?:[-~]|\.bak)?(?:[^a-z-]|$)",
    )
    .confirmed(is_file_of_accounts),
    Signature::new(
        SensitiveFile,
        "file_of_system",
        &["etc/", "etc\\", "proc/", "var/", "root/", "opt/", "usr/", "sys/", "dev/", "home/", "tmp/"],
        r"^(?:file:)?(?:(?:\.{1,2})?[/\\]+)+(?:etc[/\\]+(?:passwd|shadow|group|gshadow|hosts|hostname|issue|motd|mtab|fstab|crontab|cron\.|sudoers|resolv\.conf|profile|bash|environment|exports|inetd|services|networks?|ssh|ssl|apache|httpd|nginx|lighttpd|mysql|my\.cnf|php|samba|vsftpd|proftpd|ftp|tomcat|openldap|ldap|postgresql|redis|mongo|os-release|[\w-]+-release|debian_version|init|rc\.|rc\d|security|pam|aliases|mail|postfix|exim|kubernetes|docker|letsencrypt|openvpn|wireguard|shells|sysctl|syslog|logrotate|master|aws|secrets?|default|snmp|timezone|localtime|npasswd|lsb|wgetrc|nsswitch|opt|chrootusers|at\.|ld\.so)|proc[/\\]+(?:self|\d+|version|cpuinfo|meminfo|net|mounts|cmdline|sched_debug|config)|var[/\\]+(?:log|mail|spool|run|lib[/\\]+(?:mysql|php|jenkins|tomcat|postgresql|mongodb|redis|docker|kubelet)|www[/\\]+\S+\.\w+|www[/\\]+\S*\.\.|backups?|lib/mlocate)[/\\]*[\w.]*|root[/\\]+\.?\w|opt[/\\]+(?:lampp|xampp|tomcat)|usr[/\\]+share[/\\]+(?:tomcat|nginx|apache|php|mysql)|usr[/\\]+local[/\\]+(?:lib[/\\]+php|apache|etc|nginx|tomcat|app|zend|pgsql|mysql)|sys[/\\]+class|tmp[/\\]+sess_\w|dev[/\\]+(?:fd|u?random|zero|stdin|shm|tcp|mem)|home[/\\]+[\w.$-]+[/\\]+\.(?:ssh|bash|zsh|aws|gnupg|mysql|psql|netrc|pgpass|kube|docker|git-cred|profile|viminfo|rhosts|my\.cnf|config[/\\]+gcloud)|boot[/\\]+grub|apache\d?[/\\]+(?:logs|conf)|xampp[/\\]|inetpub[/\\]|program files)",
    )
    .confirmed(is_file_of_system),
    Signature::new(SensitiveFile, "file_of_process", &["/proc/"], r"[/\\]proc[/\\]+self[/\\]+(?:environ|cmdline|maps|fd|status|mem|exe|cwd|root|mounts|stat|net)\b").confirmed(is_no_prose),
    Signature::new(
        SensitiveFile,
        "file_of_windows",
        &["win.ini", "boot.ini", "xampp", "wamp", "pagefile", "system32", "windows", "winnt", "inetpub", "system.ini", "sam", "unattend", "applicationhost"],
        r"^(?:file:)?[/\\]*(?:[a-z]:)?[/\\]+(?:windows|winnt)[/\\]+(?:win\.ini|system\.ini|system32[/\\]+(?:config|drivers[/\\]+etc|cmd\.exe|inetsrv|license\.rtf|eula|repair)|repair[/\\]+sam|panther|debug|php\.ini|my\.ini|iis\d*\.log|system32$)|^(?:file:)?[/\\]*[a-z]:[/\\]+(?:boot\.ini|inetpub|autoexec\.bat|unattend|xampp|wamp|apache|mysql|php[/\\]|pagefile\.sys|config\.sys)|^(?:boot|win)\.ini$|[/\\]win(?:dows|nt)[/\\]win\.ini|[/\\]boot\.ini\b",
    )
    .confirmed(is_no_ordinary_file),
    Signature::new(
        SensitiveFile,
        "file_of_secrets",
        &[".ssh", "id_rsa", "id_dsa", "id_ed25519", ".bash_history", ".aws", ".npmrc", ".pgpass", ".netrc", ".docker/", ".kube/", ".mysql_history", ".gnupg", "authorized_keys", ".git-credentials", ".my.cnf", "web-inf", "meta-inf"],
        r"(?:^|[/\\])\.?(?:\.ssh[/\\]+(?:id_\w+|authorized_keys|known_hosts|config)|id_(?:rsa|dsa|ecdsa|ed25519)$|\.(?:bash|zsh|mysql|psql|sh|python|node_repl)_history|\.aws[/\\]+(?:credentials|config)|\.npmrc$|\.pgpass|\.netrc$|\.docker[/\\]+config|\.dockercfg|\.kube[/\\]+config|\.gnupg[/\\]|authorized_keys\b|\.git-credentials|\.my\.cnf|(?:web|meta)-inf[/\\]+(?:web\.xml|classes|lib|application|manifest|context))",
    )
    .confirmed(is_path_whole),
    Signature::new(
        SensitiveFile,
        "file_of_deployment",
        &[".env", ".git", ".svn", ".hg", ".ht", "web.config", "wp-config", "web-inf", "meta-inf", ".ds_store", "config.php", "settings.py", "database.yml", "docker-compose", "dockerfile", "backup", ".bak", ".sql", ".swp", "~", "credentials", "secrets", "composer.", "package-lock", "phpinfo", ".idea", ".vscode", "appsettings", "parameters.yml", "localsettings", "configuration.php", "terraform", "jenkinsfile", ".bzr", "cvs/", "dump."],
        r"^/(?:dockerfile|jenkinsfile)$|(?:^|[/\\])(?:\.env(?:\.(?:local|dev\w*|prod\w*|stag\w*|test\w*|bak|backup|old|orig|save|swp|php|txt|docker|aws|live|\d)|~)?$|\.git[/\\]+(?:config|head|index|logs|refs|objects|description|hooks|info|packed-refs)|\.git$|\.gitignore$|\.gitconfig$|\.svn[/\\]+(?:entries|wc\.db)|\.hg[/\\]|\.bzr[/\\]|cvs/(?:entries|root)$|\.ht(?:access|passwd|group)\b|web\.config(?:\.\w+)?$|wp-config(?:-sample)?\.(?:php|txt|inc|bak|old)[\w.~-]*$|(?:web|meta)-inf[/\\]|\.ds_store$|config(?:uration)?(?:\.inc)?\.php(?:~|\.\w+)$|settings\.py$|database\.(?:yml|sql)$|docker-compose\.ya?ml$|(?:backup|dump|database|db|site|www|users|data)\.(?:sql|zip|tar|tar\.gz|tgz|rar|7z|bak|gz)$|\w+\.(?:php|asp|aspx|jsp|inc|conf|config|py|js|rb|yml)(?:\.(?:bak|old|orig|save|swp|swo|txt|copy|tmp)|~)$|\.\w+\.swp$|secrets?\.(?:yml|yaml|json|txt)$|credentials\.(?:json|xml|ya?ml|csv|txt|ini|db)$|phpinfo\.php|\.idea[/\\]|\.vscode[/\\](?:sftp|settings)|appsettings(?:\.\w+)?\.json$|parameters\.yml$|localsettings\.php|terraform\.tfstate)",
    )
    .only_in(PATH_QUERY)
    .confirmed(is_path_whole),
    Signature::new(
        FileInclusion,
        "inclusion_wrapper",
        &["://", "data:", "compress.", "zlib:"],
        r"\b(?:php://(?:filter/|fd/|(?:input|memory|temp|stdin|output)(?:$|[^\w\s]))|phar://|expect://|zip://\S+(?:#|%23)|zlib:(?:[^:]|$)|compress\.(?:zlib|bzip2)://|glob://|ogg://|rar://|ssh2\.(?:exec|shell|sftp|tunnel)://|data://text|data:text/plain\s*;\s*base64|data:;base64|data:text/plain,\s*<\?|convert\.base64-encode|string\.rot13)",
    ).with(&["php:", "phar", "expect", "zip:", "zlib", "compress", "glob", "ogg", "rar:", "ssh2", "data:", "convert.", "string.rot"]),
    Signature::new(FileInclusion, "inclusion_filter", &["resource=", "convert."], r"(?:read|write)=(?:convert|string|zlib)\.|convert\.(?:base64|iconv|quoted)"),
    Signature::new(FileInclusion, "inclusion_file_address", &["file:"], r"(?:^\s*|^\S*[='\x22(,@]|>)file:/{1,4}(?:etc|proc|var|root|home|[a-z]:|c\||windows|localhost|\w|\.\.|$)").confirmed(is_no_remark),
    Signature::new(
        FileInclusion,
        "inclusion_remote_code",
        &["://", "//"],
        r"^(?:(?:ht|f)tps?:)?//[^\s?#]+(?:\?+\s*$|(?:shell|c99|r57|cmd|backdoor|evil|rfi|malicious|exploit|payload|hack|inject|include)[\w.-]*\.(?:txt|php\d?|gif|jpe?g|inc|dat)\b|\.(?:txt|inc|dat)\x00?\?+|\.php\d?(?:\x00\?*|\?+(?:$|\x00|c(?:md)?=)))|^(?:ht|f)tps?://\d+\.\d+\.\d+\.\d+[^\s]*\.(?:txt|php|inc|sh|exe|ps1|elf|dat)\b",
    ),
    Signature::new(FileInclusion, "inclusion_share", &["\\\\"], r"^\\\\[\w-]+(?:\.[\w-]+)+(?:@\w+)?\\\w+\$?(?:\\|$)"),
    Signature::new(
        FileUpload,
        "upload_server_code",
        &["filename"],
        r#"filename\*?\s*=\s*(?:[\w-]*'[\w-]*')?["']?[^"';\r\n]*\.(?:php\d*|phps|phpt|phtml|phar|pht|pgif|shtml|jspx?|jspf|jsw|aspx?|ashx|asmx|ascx|cer|asa|cfm|cgi|pl|htaccess|config|war|user\.ini)(?:[.;%\x00/:~]|\s*(?:["'.;\r\n]|$))"#,
    )
    .only_in(BODY),
    Signature::new(
        FileUpload,
        "upload_double_extension",
        &[".ph", ".js", ".as", ".ht"],
        r"^[\w ./\\()-]*\.(?:php[3-8s]?|phtml|phar|jspx?|aspx?|asa|cer|htaccess)(?:[;:]|\x00|%00|\.{1,2}|\s+\.?|/\.?)(?:jpe?g|png|gif|pdf|txt|docx?|bmp|svg|ico|\$data)$|^\.htaccess$|^[\w-]+\.(?:php[3-8]?|phtml|phar|jspx?|aspx|ashx)(?:\x00|\.|::\$data)+$",
    ),
    Signature::new(FileUpload, "upload_server_code_name", &[".ph", ".js", ".as", ".cf"], r"^[\w-]*(?:shell|cmd|backdoor|c99|r57|b374k|wso|webadmin|exploit|up(?:load)?er)[\w-]*\.(?:php[3-8s]?|phtml|phar|jspx?|aspx?|cfm|pl|cgi)$"),
    Signature::new(FileUpload, "upload_image_code", &["gif8"], r"^gif8[79]a[^<]*<(?:\?|%|script)"),
];
