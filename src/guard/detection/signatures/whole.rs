//! Attacks that are the whole of a value, or its beginning: a call, a name of a class, a part of a statement. In a longer
//! text the same words are shown code, or prose.

use super::signature::{NOT_PATH, Signature};
use crate::guard::detection::category::Category::{
    CodeInjection, FileInclusion, Recon, SensitiveFile, Sqli, Xss,
};
use crate::guard::detection::category::Context;
use crate::guard::detection::confirm::{breaks_out, is_no_phrase, is_no_script_of_statements};
use crate::guard::detection::speech::Talk;
use crate::guard::detection::traces::is_no_fault_name;

const PATH: u8 = Context::Path.bit();

pub(super) const TABLE: &[Signature] = &[
    Signature::new(
        Sqli,
        "sqli_open_call",
        &["user(", "database(", "db_name(", "version(", "schema(", "char(", "concat(", "concat_ws("],
        r"(?:^|[\s,(/])(?:(?:current_|session_|system_)?user|database|db_name|version|schema|n?char|(?:group_)?concat(?:_ws)?)\(\s*$",
    ),
    Signature::new(
        Sqli,
        "sqli_catalogue_alone",
        &["information_schema", "pg_catalog", "mysql.", "msysaccessobjects", "tempdb", "msdb"],
        r"^(?:information_schema|pg_catalog|mysql\.(?:db|user)|msysaccessobjects|tempdb|msdb)\s*\.?\s*$|\bfrom\s+[`\x22\[]?information_schema\b",
    )
    .confirmed(is_no_script_of_statements),
    Signature::new(
        Sqli,
        "sqli_union_piece",
        &["union"],
        r#"^[^a-z]{0,20}union\s+(?:(?:all|distinct)\s+)?select(?:[^a-z]*$|\s+\w+\s+from\b)|^[^\n'"`]{0,40}['"`][\s)]*union\s+(?:(?:all|distinct)\s+)?select\b(?:\s*[^\sa-z]|\s*$|\s+[\w.]+\s*(?:,|\(|\||$|--|#|from\b|as\b))"#,
    )
    .confirmed(is_no_phrase),
    Signature::new(Sqli, "sqli_select_piece", &["select"], r#"^['"`]\s*;?\s*select\s+\w+\s*$|^\W*select(?:ect)?\s+(?:pg_sleep|user\(|if\(\w+\s*$)|/\*\s*\+?!\d*\s*select\b"#),
    Signature::new(Sqli, "sqli_negated_quote", &["'!", "\"!", "`!"], r#"^['"`]\s*!\s*['"`\w]{1,2}\s*$"#),
    Signature::new(Sqli, "sqli_alias_piece", &["^as$"], r#"^(?:\d+|['"`])\s+as\s*['"`]|^[)!;]\s*as['\s]\s*\S*\s*from\s*$"#),
    Signature::new(Sqli, "sqli_variable_piece", &["declare", "exec"], r"^\W*(?:declare\s+@\w+\s*$|exec\s*\(\s*@|exec\s+master\b)"),
    Signature::new(Sqli, "sqli_cast", &["::"], r"^[\w()'\x22 =.]{1,60}::(?:int(?:eger|\d)?|bool(?:ean)?|text|bigint|double\s+precision|varchar|numeric|jsonb?|regclass)\s*(?:$|--|=|'|\))"),
    Signature::new(
        Sqli,
        "sqli_function_alone",
        &["^div$", "find_in_set", "likelihood", "lo_get", "lo_put", "lo_from", "^case$", "if(", "sleep", ".e(", ".e.", "^like$", "e-308", "regexp", "rlike"],
        r#"^div\s*\(\s*-?[\d.]+\s*,|^\W*find_in_set\s*\(|\blikelihood\s*\(\s*[\d.]|\blo_(?:get|put|from_bytea)\s*\(|^\s*case\s+when\s+\S+\s+then\b|^\s*if\(\s*\d+\s*=|^['"]?\w*\W?\s*;\s*sleep\s*\(|\bsleep\s*\(\s*\d+\.to_i|\b\d+\.e(?:\(\w|\.[a-z])|^\)\s*like\s*\(|^\d\.\d{10,}e-308$|^['"`]\s*(?:regexp|rlike)\b"#,
    ),
    Signature::new(Sqli, "sqli_definition_alone", &["create table", "alter table", ";"], r#"^/?create\s+table\s+[\w.`]+\s*$|^alter\s+table\s.*\scharacter\s+set\s+\w+\s*$|^[^'"\n]{0,60};\s*truncate\s*[\[(`"]"#),
    Signature::new(Sqli, "sqli_quote_end", &["'~", "\"~", "`~"], r#"^[\w.@%+-]{2,60}['"`]\s*;\s*$"#),
    Signature::new(Sqli, "sqli_break_out_call", &["'~", "\"~", "'or", "\"or", "'and", "\"and", "'xor", "\"xor"], r#"['"][\s)]*(?:and|or|xor|&&|\|\|)\s+\w+\([^()]*\)(?:::\w+)?\s*(?:--|#|=|<|>|;|$)"#).with(&["^or$", "^and$", "^xor$", "||", "&&"]).confirmed(breaks_out),
    Signature::new(Sqli, "sqli_hint", &["/*"], r"\b(?:or|and)\s*/\*\s*\+[^*]*\*/\s*(?:true|\d)").and_raw(),
    Signature::new(
        Xss,
        "xss_attribute_start",
        &["^on", "formaction", "srcdoc"],
        r#"^["'`]\s*(?:on[a-z]{3,24}|formaction|srcdoc)\s*="#,
    ),
    Signature::new(Xss, "xss_element_apart", &["<"], r"<\s*[a-z](?:\s[a-z]){3,}(?:\s*[>/]|\s*$|\s+\w+=)|<\s*\w{1,12}:\s*script\b"),
    Signature::new(
        Xss,
        "xss_script_address_alone",
        &["script", "data:", "binding"],
        r"\burl\s*\(\s*['\x22]?\s*javascript\s*:|^\s*j\s*a\s*v\s*a\s*s\s*c\s*r\s*i\s*p\s*t\s*:\s*(?:$|\\|\w+\s*=)|^\s*data\s*:[^,]{0,60},\s*<(?:[^s?]|s[^v]|svg[^>]*(?:\son\w+\s*=|xlink:|>\s*<(?:script|animate|set|a\b|foreign|use|image))|\?xml[^<]{0,80}<svg[^>]*\son)|-moz-binding\s*:\s*url|(?:\xbc|1/4)\s*/?script(?:\b|3/4)",
    ),
    Signature::new(
        Xss,
        "xss_object_alone",
        &["document", "window"],
        r#"^\(?(?:window|document)\s*\)?\s*(?:\.\s*(?:location|cookie|domain|write(?:ln)?)|\[\s*["'`](?:location|cookie|domain|write(?:ln)?)["'`]\s*\])\W*$"#,
    )
    .excused(Talk::Around),
    Signature::new(
        Xss,
        "xss_call_alone",
        &["eval", "settimeout", "setinterval", "atob", "btoa", "function", "call", "apply", "![]", "<style", "[\""],
        r#"^(?:(?:new\s+function|eval|atob)\s*\([^\n)<][^\n]{0,100}\)|set(?:timeout|interval|immediate)\s*\(\s*(?:['"`]|alert|confirm|prompt|eval|function\(\)\{\s*(?:alert|eval))[^\n]{0,100}\))[;/\s]*$|\]\s*\.\s*\w+\s*\.\s*(?:call|apply)\s*`|\breflect\s*\.\s*\w+\s*\.\s*(?:call|apply)\s*`|^[+\s]*!!\[\]|<style[^>]*>\s*[@=]\s*\\|^(?:self|top|window|parent|this)\s*\[\s*["']\$["']\s*\]"#,
    )
    .excused(Talk::Around),
    Signature::new(
        CodeInjection,
        "code_php_call_alone",
        &["_decode", "decompress", "call_user_func", "fsockopen", "gzinflate", "gzuncompress", "posix_", "shell_exec", "get_defined_", "curl_init", "curl_exec", "print_r", "str_rot13", "gzdecode", "array_map", "proc_open", "pcntl_", "ini_set", "create_function", "base64_", "zlib_"],
        r"^\W{0,3}[a-z]{0,4}?(?:(?:base64|zlib|json|hex|rawurl)_decode|bzdecompress|call_user_func(?:_array)?|p?fsockopen|gz(?:inflate|uncompress|decode)|posix_\w+|shell_exec|get_defined_(?:functions|vars|constants)|curl_(?:init|exec)|str_rot13|array_map|proc_open|pcntl_\w+|ini_set|create_function)\s*(?:=\s*)?\([^\n).][^\n]{0,80}$|^\W{0,3}(?:posix_\w+|get_defined_(?:functions|vars|constants))\s*\(|^\W{0,3}print_r\s*\(\s*\$(?:globals|_)",
    ),
    Signature::new(
        CodeInjection,
        "code_call_alone",
        &["chr", "eval", "exec", "file", "substr", "system", "assert", "passthru", "popen", "unlink", "fopen", "scandir", "phpinfo"],
        r"^[@\s]{0,3}(?:chr|eval|exec|substr|passthru|popen|unlink|fopen|scandir|phpinfo|assert)(?:\s|//[^\n]*\n)*\([^()\n<][^()\n]{0,59}\)?[\s;]*$|^[@\s]{0,3}system\([\w$'\x22 ./-]{1,60}\)[\s;]*$",
    ),
    Signature::new(
        CodeInjection,
        "code_called_text",
        &["system", "exec", "passthru", "assert", "eval", ");"],
        r#"["'](?:system|exec|passthru|shell_exec|assert|eval|phpinfo|popen)["']\s*\)?\s*\(|^\(\s*(?:system|exec|passthru|shell_exec|assert|eval|phpinfo|popen)\s*\)\s*\(|^[\s(\["'][^\n]{0,120}[)\]"'}]\s*\(\s*['"]?[a-z]\w*\s*['"]?\s*\)\s*;\s*$|^[^\n]{0,120};\s*\(\$?\w+\)[\s\[\]\d]*\(\s*['"]\w+['"]\s*\)\s*;\s*$"#,
    ),
    Signature::new(
        CodeInjection,
        "code_variable_call",
        &["$"],
        r#"^(?:\$\w+\s*=)?[@\s]*\$+\s*(?:\w+|\{[^{}\n]{1,30}\})(?:\s*(?:\[[^\n]{0,30}\]|\{[^{}\n]{0,10}\}))*\s*\([^()\n]{0,60}\)(?:\s*\.\s*\$+\w+\([^()\n]{0,20}\))*[\s;]*$"#,
    ),
    Signature::new(CodeInjection, "code_php_variable_alone", &["$_"], r#"^@?\$\{?_(?:get|post|request|cookie|server|files|session|env)\b\s*(?:\[[^\]\n]{0,60}\])?[;\s]*$"#),
    Signature::new(CodeInjection, "code_php_tag_piece", &["<?", "php}"], r"<\?\s+php\b|<\?xml\s*(?::|\(\))|<\?\s*$|\{/?php\}"),
    Signature::new(
        CodeInjection,
        "code_php_setting",
        &["allow_url_", "auto_prepend_file", "auto_append_file", "disable_functions", "open_basedir", "opcache.", "session.", "mbstring.", "unserialize_", "force_redirect"],
        r"(?:^|[\s?&]|-d)\s*(?:allow_url_(?:include|fopen)|auto_(?:prepend|append)_file|disable_functions|open_basedir|cgi\.force_redirect|(?:opcache|session|mbstring)\.[a-z_]+|unserialize_\w+)\s*=",
    ),
    Signature::new(
        CodeInjection,
        "code_script_alone",
        &["__js_function", "function", "process", "require[", "while", "for(;", "for (;"],
        r#"__js_function|^function\s*\(\s*\)\s*\{\s*$|^new\s+function\s*\(|^(?:process|require)\s*\[\s*[a-z'"]|^process\.(?:spawn|daemon|fork)\b[^\n]{0,60}$|^while\s*\(\s*[-!+]*(?:true|false|null|undefined|nan|infinity|\d+|this|string|new\s+date|\{\}|\[\]|""|''|``)\s*\)[;\s]*$|^[\w.'")}\]-]{0,24};+\s*(?:while\s*\(\s*(?:true|1|!0|!!1|!false)\s*\)|for\s*\(\s*;\s*;\s*\))\s*(?:;|\{\s*;?\s*\})"#,
    ),
    Signature::new(
        CodeInjection,
        "code_class_alone",
        &["java", "org.", "com.", "transformer", "closure", "factory"],
        r#"(?:^(?:\w{1,20}=)?["']?|>|[=:]\s*["'])(?:java\.(?:runtime|processbuilder|lang\.(?:class(?:loader)?|integer|number|object|process(?:builder)?|runtime|string(?:builder|buffer)?|system|thread|autocloseable|reflect(?:\.\w+)?)|io\.(?:buffered\w+|bytearray\w+|chararray\w+|data\w+|file\w*|filter\w+|inputstream\w*|linenumber\w+|outputstream\w*|object\w+|piped\w+|print\w+|pushback\w+|string\w+|reader|writer|serializable)|net\.(?:inet\w*|url\w*|socket\w*)|beans\.\w+|rmi\.\w+)|javax\.(?:script|naming|management)\.\w+|org\.apache\.(?:commons|struts2?)|org\.omg\.corba|com\.(?:sun\.org\.apache|opensymphony\.xwork2)[\w.$]*)(?:$|[<"'])|^java\.+\s*(?:runtime|processbuilder)\b|\b(?:clone|invoker|instantiate|chained|constant|predicated)transformer\b|\b(?:for|while)closure\b|\b(?:instantiate|prototypeclone|prototypeserialization)factory\b"#,
    )
    .confirmed(is_no_fault_name),
    Signature::new(CodeInjection, "code_perl_interpolation", &["@{"], r"@\{\s*\[[^\n]{1,120}\]\s*\}"),
    Signature::new(FileInclusion, "inclusion_scheme_alone", &["?"], r"^(?:file|ftps?|https?)\?+$"),
    Signature::new(FileInclusion, "inclusion_wrapper_alone", &["zip://", "ssh2.scp", "php://std"], r"^zip://\S+|\bssh2\.scp://|\bphp://std(?:out|err)"),
    Signature::new(SensitiveFile, "file_written", &[">"], r"^[^\s<>]{0,40}>{1,2}\s*/(?:tmp/\w|etc/\w|var/\w|home/\w|root/\w|proc/\w|usr/\w|dev/(?:tcp|udp|shm|sd|mem))").only_in(NOT_PATH),
    Signature::new(SensitiveFile, "file_of_kernel", &["/proc/", "/sys/class"], r"(?:^|//|\.)/*proc/(?:self|\d+|version|cpuinfo|meminfo|interrupts|mounts|net|sched_debug|kallsyms|cmdline)(?:/|$)|/sys/class(?:/|$)").only_in(PATH),
    Signature::new(SensitiveFile, "file_of_dump", &[".sql.", "error.log", "errors.log"], r"\.sql\.(?:zip|gz|bz2|xz|7z|rar|tar|tgz|bak|old)$|/wp-content/errors?\.log$").only_in(PATH),
    Signature::new(Recon, "recon_module", &["__x00__"], r"/@id/__x00__").only_in(PATH),
];
