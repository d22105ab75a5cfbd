//! What runs inside of a server: templates, code, objects, and what a server asks others for.

use super::signature::{NOT_PATH, Signature, in_contexts};
use crate::guard::detection::category::Category::{
    CodeInjection, Deserialization, HttpSplit, Ldap, Nosql, ProtoPollution, Ssrf, Template, Xml,
};
use crate::guard::detection::category::Context;
use crate::guard::detection::confirm::{breaks_out, is_no_prose, is_no_trace};

const HEAD: u8 = in_contexts(&[Context::Path, Context::Query, Context::Header]);

pub(super) const TABLE: &[Signature] = &[
    Signature::new(Template, "template_arithmetic", &["{", "<%", "@(", "[["], r#"(?:\{\{[=\-~!]?|[$#@*!~%]\{\{?|\{[!=@%-]?|<%=?|@\(|\[\[)\s*['"]?\d+['"]?\s*[*+/%-]\s*['"]?\d+['"]?\s*(?:\}|%>|\)|\]\])"#),
    Signature::new(
        Template,
        "template_object",
        &["{{", "{%", "${", "#{", "{$"],
        r#"(?:\{\{|\{%|[$#]\{|\{\$)[^}]*(?:__\w+__|\.(?:mro|subclasses)\s*\(|\bconfig\s*(?:\}|\.items|\[|\.from_|\|)|\bself\s*(?:\.|\}|\[)|_self\b|lipsum|cycler|joiner\.|url_for\.|get_flashed_messages|\.getclass\s*\(|\.class\b\.|\bclass\.(?:forname|getname)|registerundefinedfilter|\|\s*attr\s*\(|(?:filter|map|reduce|sort)\s*\(\s*['"](?:system|exec|passthru|popen|shell_exec|file_put)|dump\s*\(\s*(?:app|_context)?|app\.request|settings\.secret|debug\s*%\}|\.constructor\b|\bconstructor\s*[.(\[]|\$on\b|\$eval\b|\bsystem\s*\(|\bexec\s*\(|passthru|phpinfo|popen\s*\(|\brequire\s*\(|process\.|global\.|root\.process|\breadfile|file\.(?:open|read)|self\.template|\bimport\s+(?:os|subprocess)|\['\w+'\]\|\w+|\btojson\s*\(|freemarker|objectconstructor|\?new\b|\?api\b|t\s*\(\s*java|@\w+\.\w+|\bnew\s+java|java\.lang|runtime\b.*exec|scope\b|pagecontext|facescontext|smarty\.|\bphp\b|joinpoint|tostring\(\)\.constructor|range\.constructor|"\.sub|'\.sub)"#,
    ),
    Signature::new(Template, "template_python_object", &["__"], r"__(?:subclasses|mro|globals|builtins|bases|getattribute|code)__|__class__\s*(?:\.|\[|\|)[\s\S]{0,40}__(?:base|mro|init|subclasses)|__import__\s*\(\s*['\x22](?:os|subprocess|sys|commands|pty|builtins|socket)|\.__init__\s*\.\s*__globals__|x5f\\x5f").and_raw(),
    Signature::new(
        Template,
        "template_directive",
        &["<#", "#set", "{php}", "{system", "{if ", "<%", "{%", "#{", "@{", "<@", "$class", "#evaluate", "{{#", "#include", "{{>", "{!", "=exec"],
        r#"<#(?:assign|list|import|include)\b[^>]*|#set\s*\(\s*\$\w+\s*=\s*|\{php\}|\{/?system\s*\(|\{if\s+(?:phpinfo|system|exec|passthru)\s*\(|<%=?\s*`[^`%]+`|<%=?[^%]{0,200}(?:system|exec|file\.|dir\.|io\.|popen|self\b|env\b|open\(|require|runtime|process|request\.|response\.|\beval\b)|\{%\s*(?:debug|import\s+os|include\s+['"]/etc|set\s+\w+\s*=\s*(?:cycler|lipsum|self|''|\[\]|request))|#\{\s*(?:root|global|process|function|%x|system|exec|`|file\.|open|ruby_version|7\s*[*+-])|@\{\s*(?:system|process|var\s|html\.|diagnostics)|\$class\.(?:inspect|type)|#evaluate\s*\(|\{\{#with\s+["']|lookup\s+string\.sub"#,
    ),
    Signature::new(Template, "template_el", &["${", "#{", "%{", "*{", "@{", "~{"], r#"[$#%*@~]\{\s*(?:t\s*\(|new\s+\w+[.(]|#\w+[.\[=(]|\(#|@[\w.]+@|applicationscope|sessionscope|requestscope|pagecontext|pagescope|initparam|facescontext|header(?:values)?\[|param(?:values)?[.\[]|cookie\[|''\.|""\.|'[^']*'\.(?:getclass|class|tostring)|"[^"]*"\.(?:getclass|class|tostring)|\(?\w+\)?\.getclass|class\.|request\.(?:getclass|class)|self\.|bean\.|system\.|runtime\.|script:|url:|dns:|\d+\s*\*|@print|@?eval\s*\(|@?system\s*\(|phpinfo|@?md5\s*\(|@?assert|@?file_)"#),
    Signature::new(CodeInjection, "code_jndi", &["jndi", "${lower", "${upper", ":-", "${env", "${sys", "${date", "${::"], r"\$\{\s*jndi\s*:|\bjndi:(?:ldaps?|rmi|dns|iiop|corba|nis|nds|http)|\$\{(?:lower|upper):\W?\w{0,4}\}|\$\{(?:[\w.:]*:)?:?-['\x22]?[jndilrmaps:/]{1,4}['\x22]?\}[\w$]|\$\{[^{}]{0,60}\}(?:ndi|di|i|dap|map):|\$\{(?:env|sys|date|main|ctx|java|bundle):[\w.]*:-\w*\}|j\$\{[^}]*\}ndi|jn\$\{"),
    Signature::new(CodeInjection, "code_php_tag", &["<?"], r"<\?(?:php\b|=\s*[$@`(\x27\x22]?\w|\s*(?:system|exec|eval|echo|print|passthru|phpinfo|shell_exec|include|require|assert|[@$(`][@$(`]?\w{2}))"),
    Signature::new(
        CodeInjection,
        "code_php_call",
        &["system", "passthru", "shell_exec", "popen", "proc_open", "phpinfo", "pcntl_exec", "exec", "assert", "eval", "call_user_func", "create_function", "file_get_contents", "file_put_contents", "preg_replace", "highlight_file", "show_source", "readfile", "var_dump", "print", "die", "md5", "base64_decode", "array_map", "array_filter", "usort", "getenv", "fopen", "include", "require", "chr("],
        r#"\bphpinfo\s*\(\s*-?\d*\s*\)|\bbase64_decode\s*\(\s*['"$]|\b(?:system|passthru|shell_exec|popen|proc_open|pcntl_exec)\s*\(\s*(?:['"$]|chr|base64_decode|hex2bin|\\|end\(|getallheaders|urldecode|str)|\bexec\s*\(\s*(?:['"](?:id|ls|cat|whoami|uname|curl|wget|nc|bash|sh|/bin|ping|sleep|cmd|import|print|__)|\$_|base64_decode|chr|compile|open)|\b(?:assert|eval)\s*\(\s*(?:['"](?:phpinfo|system|print|echo|1|__|return|os|die)|\$_|\$\{|\$\w+\s*[(\[]|base64_decode|gzinflate|gzuncompress|str_rot13|strrev|hex2bin|chr|pack|compile|request\b|stripslashes|file_get|__import__|implode|urldecode|end\(|getallheaders)|\bcall_user_func(?:_array)?\s*\(\s*['"$]|\bcreate_function\s*\(\s*['"]|\b(?:file_get_contents|highlight_file|show_source|readfile|fopen|file|include|require)(?:_once)?\s*\(?\s*['"](?:/|\.\.|php:|https?:|file:|data:|expect:|c:|index\.php|config)|\bfile_put_contents\s*\(\s*['"$_]|\bpreg_replace\s*\(\s*['"][^'"]*/[a-z]*e[a-z]*['"]|\b(?:print|echo|die|exit|var_dump|print_r)\s*[\s(]\s*\(?(?:md5|system|exec|phpinfo|file_get_contents|phpversion|php_uname|shell_exec|getcwd|sha1|`|scandir|get_current_user|eval|233333)\s*\(?|\barray_(?:map|filter|walk)\s*\(\s*['"](?:system|exec|assert|passthru|eval|shell_exec|phpinfo)|\busort\s*\([^)]*['"](?:system|assert)|(?:chr\s*\(\s*\d+\s*\)\s*\.\s*){3}"#,
    ),
    Signature::new(CodeInjection, "code_php_variable", &["$_", "$globals", "${_"], r"\$\{?_(?:get|post|request|cookie|server|files|session|env)\b|\$globals\b").worth(50),
    Signature::new(CodeInjection, "code_php_variable_call", &["$_"], r"\$_(?:get|post|request|cookie|server)\s*[\[{][^\]}]*[\]}]\s*\(|`\s*\$_(?:get|post|request|cookie|server)\b|\(\s*\$_(?:get|post|request|cookie)\s*\[[^\]]*\]\s*\)\s*;?\s*(?:\?>|$|//|#|\})|\$\w+\s*=\s*['\x22]\w+['\x22]\s*;\s*\$\w+\s*\("),
    Signature::new(
        CodeInjection,
        "code_node",
        &["require", "process", "child_process", "constructor", "global", "mainmodule", "spawnsync", "execsync", "import("],
        r#"\brequire\s*\(\s*['"`](?:child_process|fs|net|http|https|os|vm|dns|cluster|util)['"`]\s*\)\s*(?:\.|\[)|child_process['"`]?\s*\)?\s*\.?\s*\[?['"]?(?:exec|spawn|fork)|\bprocess\s*\.\s*(?:mainmodule|binding|dlopen|constructor|exit\s*\(|kill\s*\(|env\s*[;)}]?\s*$)|\bprocess\s*\[\s*['"]|\bglobal(?:this)?\s*(?:\.|\[['"])\s*process|mainmodule\s*\.\s*require|\b(?:exec|spawn)sync\s*\(\s*['"`]|\.constructor\s*\(\s*['"`](?:return|ale|con|eval|proc|req|throw|x)|\bconstructor\s*\.\s*constructor|\[\s*['"`]constructor['"`]\s*\]|\bfunction\s*\(\s*['"`]return\s|\bimport\s*\(\s*['"`](?:child_process|fs|node:)|\bnew\s+function\s*\(\s*['"`]return|\bres(?:ponse)?\.(?:end|send|write)\s*\(\s*(?:require|process|global|fs\.)"#,
    ),
    Signature::new(
        CodeInjection,
        "code_java",
        &["java.", "javax.", "getruntime", "processbuilder", "classloader", "ognl", "xwork", "memberaccess", "forname", "scriptengine", "#context", "@java", "#_", "#cmd", "#req", "#a="],
        r#"\bjava\.lang\.(?:runtime(?:[^a-z]|$)|processbuilder\b)|\bgetruntime\s*\(\s*\)\s*\.\s*exec|\bruntime['"]?\)?\s*\.\s*getmethod|\bt\s*\(\s*java\.|\bnew\s+java\.(?:io|lang|net|util)\.|\bjavax\.(?:script\.scriptengine|naming\.initialcontext|management)|\bnew\s+processbuilder\s*\(|\bclass\.module\.classloader|\bclassloader\.(?:resources|urls|parent|loadclass)|\bclass\.classloader|#_?memberaccess|@java\.lang|\bognl\.|#context\s*\[|com\.opensymphony\.xwork2|\(\s*#\w+\s*=\s*[@#(n'"]|%\{\s*\(?#|\.forname\s*\(\s*['"]java|\bscriptenginemanager|\bgetenginebyname|@org\.apache\.commons|#\w+\.(?:exec|getwriter|setexcluded)|redirect:\s*[$%]\{|java\.beans\.|groovy\.(?:lang|util)\.|org\.apache\.(?:commons\.(?:io|text)|struts2|catalina)\.\w+"#,
    )
    .confirmed(is_no_trace),
    Signature::new(CodeInjection, "code_python_ruby", &["os.", "subprocess", "__import__", "exec(", "eval(", "io.popen", "kernel.", "open(", "%x", "popen", "pty.spawn", "import os", "importlib", "commands."], r#"^[\s'")\]}+,;]*(?:import\s+\w+;?\s*)?(?:os\.(?:system|popen|exec\w*|spawn\w*|listdir|environ)|subprocess\.\w+\s*\(\s*['"\[(]|commands\.getoutput|pty\.spawn)|\b__import__\s*\(|\bimport\s+(?:os|subprocess|pty|socket)\s*;\s*(?:os|subprocess|pty|socket|s)\b|\bexec\s*\(\s*['"]import|\beval\s*\(\s*compile|\bio\.popen\s*\(|\bkernel\.(?:exec|system|open|`)|\bopen\s*\(\s*['"]\s*\||%x[({\[](?:id|ls|cat|whoami|uname)|\bimportlib\.import_module\s*\(|\bfile\.(?:read|open)\s*\(\s*['"]/etc|\bdir\.(?:entries|glob)\s*\(\s*['"]/"#),
    Signature::new(CodeInjection, "code_break_out", &["'", "\"", "}"], r#"['"][\s)}\]]*[;.+&|*,-]\s*(?:system|exec|passthru|phpinfo|shell_exec|popen|eval|assert|print|echo|require|process|sleep|die|include|`|\$\{|__import__|os\.|java\.)\s*[(.`'"\s]"#).confirmed(breaks_out),
    Signature::new(CodeInjection, "code_include", &["<!--#", "<!-- #", "<esi:", "<cf", "<jsp:", "<%@"], r"<!--\s*#\s*(?:exec|include|echo|printenv|config|set|fsize|flastmod)\b|<esi:(?:include|vars|inline|debug)|<cf(?:execute|include|file)\b|<jsp:(?:include|usebean|scriptlet)|<%@\s*(?:page|include|taglib)"),
    Signature::new(Deserialization, "object_php", &["o:", "c:", "a:"], r#"(?:^|[;{\s=:"'|])[oc]:\+?\d+:"[a-z_\\][\w\\\x00]*":\d+:\{"#),
    Signature::new(Deserialization, "object_java", &["ro0ab", "aced0005", "\u{ac}\u{ed}", "h4siaaaaaaaa"], r"(?:^|[^a-z0-9+/])ro0ab[a-z0-9+/]{4}|(?:^|[^0-9a-f])aced0005[0-9a-f]{4}|h4siaaaaaaaaa[a-z0-9+/]{12}").and_raw(),
    Signature::new(Deserialization, "object_java_bytes", &["sr\0", "java.util", "sr java"], r"\xac\xed\x00\x05(?:sr|t|w|ur|s)").and_raw(),
    Signature::new(
        Deserialization,
        "object_gadget",
        &["com.sun.", "org.apache.", "org.codehaus", "com.mchange", "jdbcrowset", "templatesimpl", "ysoserial", "java.util.priorityqueue", "javax.naming", "classpathxml", "objectdataprovider", "system.diagnostics", "activitysurrogate", "windowsidentity", "java.net.url", "ch.qos", "dynamic-proxy", "com.zaxxer", "javax.swing", "bcel", "system.windows.data", "java.lang.processbuilder", "imageio", "java.beans.eventhandler", "typeconfuse", "org.hibernate", "com.alibaba"],
        r"com\.sun\.(?:rowset\.|org\.apache\.(?:xalan|bcel))|org\.apache\.(?:commons\.(?:collections4?\.|beanutils\.|configuration\.)|xalan\.|xbean\.|tomcat\.dbcp|ibatis\.datasource|shiro\.jndi)|org\.codehaus\.groovy\.runtime|com\.mchange\.v2|jdbcrowsetimpl|templatesimpl|ysoserial|java\.util\.priorityqueue|javax\.naming\.(?:initialcontext|ldap)|classpathxmlapplicationcontext|filesystemxmlapplicationcontext|objectdataprovider|system\.diagnostics\.process|activitysurrogate|windowsidentity|<dynamic-proxy>|java\.net\.urlclassloader|ch\.qos\.logback\.core\.db|com\.zaxxer\.hikari|\$\$bcel\$\$|system\.windows\.data|<(?:object\s+class=.)?java\.(?:lang\.processbuilder|beans\.eventhandler)|<java\.beans|<void\s+method|java\.beans\.xmldecoder|<\s*sorted-set>",
    )
    .confirmed(is_no_trace),
    Signature::new(Deserialization, "object_dotnet", &["aaeaaad", "$type", "__viewstate"], r#"aaeaaad/{5}|"?\$type"?\s*[:=]\s*"?(?:system\.|microsoft\.)"#).and_raw(),
    Signature::new(Deserialization, "object_python", &["cos", "cposix", "c__builtin__", "cbuiltins", "csubprocess", "cnt", "gasv", "gan", "ccopy_reg", "tr.", "nt\n"], r"c(?:os|posix|nt|__builtin__|builtins|subprocess|commands|sys|copy_reg)(?:[\n\s]|\\n)(?:system|popen|eval|exec|call|check_output|getattr|__import__|open|getoutput|execfile|_reconstructor)\b|^\x80[\x02-\x05].*(?:posix|system|builtins|subprocess)|^gasv[a-z0-9+/]{8}|^ga[nr][a-z0-9+/]{10,}={0,2}$|\bposix\n?system").and_raw(),
    Signature::new(Deserialization, "object_ruby", &["bah7", "bahv", "bahb", "bahj", "bahi"], r"^bah[7vbji][a-z0-9+/]{20,}={0,2}$").and_raw(),
    Signature::new(Deserialization, "object_node", &["_$$nd_func$$_", "$$nd_func"], r"\$\$nd_func\$\$"),
    Signature::new(Deserialization, "object_yaml", &["!!", "!ruby", "!python", "!java", "tag:yaml"], r"!!(?:python/(?:object|name|module|tuple)|javax?\.|com\.|org\.|ruby/|js/function)|!(?:ruby|python|java)/(?:object|hash|struct|class|regexp|exception)|tag:yaml\.org,2002:(?:python|java|ruby)"),
    Signature::new(
        HttpSplit,
        "split_field",
        &["\n", "\r"],
        r"[\r\n]+[\t ]*(?:set-cookie2?|location|content-(?:type|length|encoding|disposition|security-policy)|transfer-encoding|access-control-[\w-]+|refresh|link|x-[\w-]+|host|cache-control|last-modified|status|clear-site-data|connection|via|server|bcc|cc|to|from|subject|authorization|cookie|user-agent|referer|injected[\w-]*|[\w-]*header[\w-]*|test|crlf[\w-]*)[\t ]*[:=]",
    )
    .only_in(HEAD),
    Signature::new(HttpSplit, "split_field_body", &["\n", "\r"], r"^\S{0,120}[\t ]*[\r\n]+[\t ]*(?:set-cookie2?|location|content-(?:type|length)|transfer-encoding|x-[\w-]+|host|refresh|access-control-[\w-]+|bcc|injected[\w-]*|[\w-]*header[\w-]*)[\t ]*:\s*\S"),
    Signature::new(HttpSplit, "split_message", &["http/", "\n<", "\r<"], r"[\r\n]+(?:http/[0-9.]+\s+\d{3}|(?:get|post|put|head|delete|options)\s+\S+\s+http/)|(?:\r\n|\n){2,}\s*<(?:html|script|svg|h1|img|body)").only_in(HEAD),
    Signature::new(HttpSplit, "split_message_body", &["http/"], r"^\S{0,120}[\r\n]+(?:[^\r\n]*[\r\n]+){0,6}(?:http/1\.[01]\s+\d{3}|(?:get|post|put)\s+/\S*\s+http/1)"),
    Signature::new(HttpSplit, "split_written", &["\\r", "\\n", "%0", "嘍", "嘊", "%e5%98"], r"(?:\\r\\n|\\n|\\r|\xe5\x98[\x8a\x8d]|%0d%0a|%0a|%0d|%e5%98%8[ad]%e5%98%8[ad])+\s*(?:set-cookie|location|content-(?:type|length)|x-[\w-]+|host|refresh|transfer-encoding|http/1)\s*[:.]").and_raw(),
    Signature::new(Ldap, "ldap_filter_end", &[")(", ") (", "*)", "*("], r"\*\s*\)+\s*\(\s*[\w.;-]+\s*[~<>:]?=|\)\s*\(\s*[|&!]\s*[()]|\)\s*\(\s*[\w.-]+\s*[~<>:]?=\s*[*\w]*\*|^\*\s*\)+\s*(?:\(|$|\x00|%00|\||&)|\)\s*\(\s*(?:uid|cn|sn|ou|dc|objectclass|mail|userpassword|samaccountname|memberof|givenname|objectcategory|password|user|pass)\s*[~<>:]?=|^[^()]{0,60}\)\s*\(+\s*[|&!]|\*\)\s*\(?\s*[|&]\s*(?:$|[()])|^\*\s*\(\s*\)\s*[|&]"),
    Signature::new(Ldap, "ldap_filter", &["(|(", "(&(", "(!(", "(| (", "(& ("], r"^[^()]{0,40}\(\s*[|&!]\s*\(\s*[\w.-]+\s*[~<>:]?=[^)]*\)"),
    Signature::new(Nosql, "nosql_operator", &["$"], r#"(?:^|\[|\.|"|'|\{|,)\s*\$(?:ne|eq|gte?|lte?|n?in|regex|where|exists|or|and|nor|not|elemmatch|expr|jsonschema|mod|all|size|near|geowithin|func|function|accumulator|lookup|out|merge|comment|set|unset|inc|push|pull|rename|options|text|search)\s*(?:$|\]|"?\s*:|'\s*:)"#),
    Signature::new(Nosql, "nosql_script", &["$where", "this.", "return", "db.", "while", "mapreduce"], r#"\$where\b|\bthis\.\w+\s*(?:\.match\s*\(|\[)|\bfunction\s*\(\s*\)\s*\{[^}]*\b(?:this\.|sleep|return\s*(?:true|1|\(?this))|\bdb\.(?:\w+\.(?:find|insert|drop|remove|update|count)|getcollectionnames|dropdatabase|getcollection|injection|version|stats)\s*\(?|;\s*return\s+(?:true|1)\b|\bmapreduce\s*\("#),
    Signature::new(Nosql, "nosql_break_out", &["||", "&&"], r#"['"][\s)]*(?:\|\||&&)\s*(?:['"]?\w*['"]?\s*(?:={1,3}|!==?|>|<)|true\b|1\b|!|this)"#).confirmed(breaks_out),
    Signature::new(Xml, "xml_entity", &["<!entity", "<!doctype", "<!element", "<!attlist", "entity"], r#"<!entity\s|<!doctype\s+[^>\[]*\[|<!doctype\s+\w+\s+system\s+["']|<!doctype\s+\w+\s+public\s+["'][^"']*["']\s+["'](?:file|https?://(?:\d|localhost|attacker|evil|[\w.-]+\.(?:dtd|xml)))|<!attlist\s|&xxe;|\bentity\s+%\s+\w+\s+system"#),
    Signature::new(Xml, "xml_inclusion", &["xinclude", "xi:include", "xsl:", "xmlns:xsl", "xsi:schemalocation", "<?xml-stylesheet"], r#"<xi:include\b|xmlns:\w+\s*=\s*["']http://www\.w3\.org/2001/xinclude|<xsl:(?:value-of|template|include|import|copy-of|variable)\b|document\s*\(\s*["'](?:/|file:|http)|<\?xml-stylesheet\s|xsi:schemalocation\s*=\s*["'][^"']*http://(?:\d|attacker|evil|localhost)"#),
    Signature::new(Xml, "xml_path", &["::", "//*", "count(/", "string-length(", "name(", "/text()", "position()"], r#"\b(?:parent|child|descendant|ancestor|following|preceding|self|attribute|namespace)(?:-or-self|-sibling)?::(?:\*|node\(|text\(|\w)|['"\])]\s*(?:\]|\))?\s*\|\s*//|\bcount\s*\(\s*/|\bstring-length\s*\(\s*(?:name\s*\(|//|/)|\b(?:local-)?name\s*\(\s*(?:/|\*)|/text\s*\(\s*\)|//\*\[|position\s*\(\s*\)\s*=\s*\d|//user(?:s|\[)|\bsubstring\s*\(\s*(?:name\s*\(|//)|['"]\s*(?:or|and)\s+(?:contains|starts-with|not|position|last|true|false|count|string)\s*\("#),
    Signature::new(ProtoPollution, "prototype", &["__proto__", "prototype"], r#"(?:^|[\[.{,&?"'])\s*['"]?__proto__['"]?\s*(?:$|[\].\[:"'=])|\bconstructor\b['"]?\s*\]?\s*(?:\.|\[)\s*['"]?prototype\b|"constructor"\s*:\s*\{\s*"prototype"|__proto__\s*(?:\]|\[|\.|%5d|%5b)|\bobject\.prototype\.\w+\s*="#).and_raw(),
    Signature::new(
        Ssrf,
        "ssrf_inner_address",
        &["://", "//"],
        r"^(?:url[:=]|dns:)?\s*(?:https?|ftp|wss?|ldaps?|gopher|dict|tftp)?:?(?:/{2,}|\\{2,}|/\\)(?:[^/\s@]*@)?(?:localhost|localhost\.localdomain|loopback|127\.\d+(?:\.\d+){0,2}|127\.1|0(?:\.0){0,3}|10(?:\.\d+){3}|192\.168(?:\.\d+){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}|169\.254(?:\.\d+){2}|100\.100\.100\.200|192\.0\.0\.192|168\.63\.129\.16|\[[0-9a-f:.]*(?:::1?|::ffff:[0-9a-f.:]+|::|fd00:ec2::254|fe80:[0-9a-f:]+|fc00:[0-9a-f:]+|0:0:0:0:0:0:0:1|7f00:1|a9fe:a9fe|127\.0\.0\.1|169\.254\.169\.254)(?:%\w+)?\]|0x[0-9a-f]{1,8}(?:\.0x[0-9a-f]{1,2}){0,3}|0[0-7]+(?:\.[0-7]+){0,3}|\d{8,10}|0x[0-9a-f]+(?:\.\d+){1,3}|\d+\.0x[0-9a-f]+(?:\.\w+)*|metadata(?:\.google\.internal|\.azure\.\w+|\.packet\.net)?|instance-data|kubernetes(?:\.default(?:\.svc)?)?|consul|host\.docker\.internal|[\w.-]+\.(?:nip|xip|sslip)\.io|(?:[\w-]+\.)*(?:localtest\.me|lvh\.me|vcap\.me|lacolhost\.com|localh\.st|fbi\.com|spoofed\.burpcollaborator\.net)|[\w.-]+\.(?:burpcollaborator\.net|oastify\.com|oast\.\w+|interact\.sh|dnslog\.cn|ceye\.io|requestbin\.\w+|internal|localdomain|local))\.?(?:[:/?#\\]|$)",
    ),
    Signature::new(Ssrf, "ssrf_metadata", &["169.254.169.254", "metadata.google", "latest/meta-data", "computemetadata", "100.100.100.200", "a9fe", "2852039166", "0xa9fe"], r"(?:^|[/@=\s'\x22])169\.254\.169\.254\b|metadata\.google\.internal|/latest/(?:meta-data|user-data|dynamic|api/token)|/computemetadata/v1|//(?:2852039166|0xa9fea9fe)|metadata/instance\?api-version|/opc/v[12]/instance").confirmed(is_no_prose),
    Signature::new(Ssrf, "ssrf_scheme", &["://", "jar:", "netdoc:"], r"(?:^|[\s='\x22(])(?:gopher|dict|ldaps?|ldapi|tftp|sftp|jar|netdoc|imap|smtp|telnet|rmi|redis|memcached?|mongodb|local_file|unix)://?\S|(?:^|=)jar:(?:https?|file|ftp):|(?:^|=)netdoc:").only_in(NOT_PATH),
    Signature::new(Ssrf, "ssrf_confusing_authority", &["@", "\\@", "#@"], r"^https?://[^/\s]*[@#\\][^/\s]*(?:127\.0\.0\.1|localhost|169\.254|10\.\d+\.\d+\.\d+|192\.168\.)"),
];
