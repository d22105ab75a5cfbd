//! SQL injection: text that breaks out of a string or a number of a statement, and expressions that only attacks send
//! to a database.

use super::signature::Signature;
use crate::guard::detection::category::Category::Sqli;
use crate::guard::detection::confirm::{
    breaks_out, is_in_no_condition, is_no_block, is_no_comparison, is_no_condition,
    is_no_script_of_statements, is_no_statement, is_union_that_reads,
};
use crate::guard::detection::queries::is_query_of_attack;

const fn sql(name: &'static str, literals: &'static [&'static str], pattern: &'static str) -> Signature {
    Signature::new(Sqli, name, literals, pattern)
}

const AND_OR: &[&str] = &["^or$", "^and$", "^xor$", "||", "&&", "^having$"];
/// A quote that ends a string: a quote in a word of a language has a letter behind it that begins no operator.
const QUOTES: &[&str] = &[
    "'~", "\"~", "`~", "'or", "\"or", "`or", "'and", "\"and", "`and", "'xor", "\"xor", "`xor", "'having",
    "\"having", "`having", "'where", "\"where",
];
/// Comparisons.
const COMPARISONS: &[&str] = &["=", "<", ">", "like", "between", "in(", "in ("];

pub(super) const TABLE: &[Signature] = &[
    sql(
        "sqli_union_select",
        &["union"],
        r#"(?:\b|[\d_])union[\s(]+(?:all|distinct|distinctrow)?[\s(]*select[\s(]*(?:all\s+|distinct\s+)?(?:[\s(]*(?:null|[-+~]?\d|\*|@|'|"|`|0x|char\s*\(|concat|unhex|load_file|user\s*\(|version\s*\(|database\s*\(|group_concat|\$|x')|[\w.$`]+\s*[,(]|[\w.,$`*\s]+\sfrom\s+[\w.`\[\]]+\s*(?:$|--|#|;|/\*|where\b|limit\b|order\b|group\b|\)|,|<|union\b))"#,
    )
    .confirmed(is_union_that_reads),
    sql(
        "sqli_number_tautology",
        AND_OR,
        r#"(?:^|['"`)\s\d*/;])(?:or|and|xor|\|\||&&|having|where)[\s(]*(?:not[\s(]+|!)?['"]?-?(?:0x[0-9a-f]+|\d+(?:\.\d+)?)(?:\s*[-+*/%]\s*\d+)*['"]?[\s)]*(?:={1,3}|<=>|<>|!=|<|>|\blike\b|\bin\s*\(|\brlike\b|\bbetween\b)[\s(]*['"]?-?\d"#,
    )
    .with(COMPARISONS)
    .confirmed(is_no_comparison),
    sql(
        "sqli_string_tautology",
        AND_OR,
        r#"(?:^|['"`)\s\d*/])(?:or|and|xor|\|\||&&|having)[\s(]*(?:not[\s(]+)?['"][^'"]*['"][\s)]*(?:=|<=>|<>|!=|<|>|\blike\b|\brlike\b|\bbetween\b)[\s(]*['"]"#,
    )
    .with(COMPARISONS),
    sql(
        "sqli_break_out_condition",
        QUOTES,
        r#"(?:['"`][\s)]*(?:or|and|xor|\|\||&&|having)|['"][\s)]*where)\b?[\s(]+['"`]?[\w.@]+['"`]?[\s)]*(?:={1,3}|<=>|<>|!=|<|>|\blike\s*\(?['"%]|\bis\s+(?:not\s+)?null|\bin\s*\(|\bbetween\s|\brlike\b|\bregexp\b|@>|<@)"#,
    ).with(&["^or$", "^and$", "^xor$", "||", "&&", "^having$", "^where$"])
    .with(&["=", "<", ">", "like", "between", "in(", "in (", "^is$", "regexp", "@"])
    .confirmed(breaks_out),
    sql(
        "sqli_break_out_constant",
        QUOTES,
        r#"['"`][\s)]*(?:or|and|xor|\|\||&&)[\s(]*(?:not\s+|!|~)?(?:\d+|true|false|null|''|""|@@\w+)[\s)]*(?:--|#|/\*|;|$|limit\b|\|\||&&|or\b)|['"`][\s)]*(?:or|and|xor|\|\||&&)\s*(?:''|"")\s*[-&^*|+%]?\s*['"]"#,
    ).with(AND_OR)
    .confirmed(breaks_out),
    sql(
        "sqli_number_constant",
        &["^or$", "^xor$", "||"],
        r"^-?\d+[\s)]*\s(?:or|xor|\|\|)\s+(?:not\s+)?(?:(?:true|false)[\s)]*(?:--|#|/\*|;|$)|\d+[\s)]*(?:--|#|/\*|;\s*$))",
    ),
    sql(
        "sqli_comment_end",
        QUOTES,
        r#"^[\w.@%*()= -]{0,60}['"`][\s)]*;?\s*(?:--\s*(?:\w{0,6}\s*$|&)|--\s*[-+'"]|#\s*$|/\*|;?%00|;\x00)"#,
    ).with(&["--", "#", "/*", "\0", "%00"])
    .confirmed(breaks_out),
    sql("sqli_quote_operator", &["'"], r#"^\s*'+\s*(?:[-&^*|+%/]|=|<|>|<=>|\blike\b|\bglob\b|\bdiv\b|\bmod\b)\s*(?:'|\d|0x|"|--|#|$)"#),
    sql(
        "sqli_order_by_number",
        &["^by$"],
        r#"(?:^-?\d+['"]?[\s)]*\s+|['"`][\s)]*)(?:order|group)\s+by\s+(?:\d+|null)[\s,\d]*(?:--|#|/\*|$|;|limit\b|asc\b|desc\b)"#,
    ),
    sql(
        "sqli_stacked",
        &[";"],
        r#"^[\w\s.@%-]{0,60}['"`]?[\s)]*;\s*(?:select\s*\(|select\s+(?:[@*'\x22\d]|null\b|[^;]*\bfrom\s+[\w.`"\[\]]+\s*(?:$|[;#,/)]|--|where\s+\S+\s*(?:=|<|>|like\b|in\b|is\b)|limit\s+\d|order\s+by|join\b|union\b|group\s+by)|\w+\s*\()|insert\s+into|update\s+\S+\s+set|delete\s+from|drop\s+(?:table|database|schema|view|index|user|role|login|procedure|function|trigger)\b|create\s+(?:table|user|database|function|procedure|or)|alter\s+(?:table|user|database|login)|truncate\s|exec(?:ute)?(?:\s*\(|\s+(?:@|\w+\.|[xs]p_|\w+\s*(?:['@;(]|$|--)))|declare\s+(?:@|\w+\s+(?:n?var|char|int|cursor|text|table|as\b|number|raw))|shutdown\s*(?:$|;|--|with\b|immediate\b)|grant\s|revoke\s|merge\s+into|waitfor\s|if\s*\(|set\s+@|copy\s+\S+\s+(?:from|to)\b|begin\s|call\s+\w+\s*\(|rename\s+table|attach\s+database|dbms_|backup\s+database|union\b|replace\s+into|vacuum\b)"#,
    ).with(&["select", "insert", "update", "delete", "drop", "create", "alter", "truncate", "exec", "declare", "shutdown", "grant", "revoke", "merge", "waitfor", "^if$", "^set$", "copy", "begin", "call", "rename", "attach", "dbms_", "backup", "union", "replace", "vacuum"])
    .confirmed(is_no_script_of_statements),
    sql(
        "sqli_break_out_stacked",
        QUOTES,
        r#"['"`][\s)]*;\s*(?:select|insert|update|delete|drop|create|alter|truncate|exec|execute|declare|shutdown|grant|waitfor|if|set|copy|merge|call)\b"#,
    ).with(&[";"])
    .confirmed(breaks_out),
    sql("sqli_drop", &["drop"], r"\bdrop\s+(?:table|database|schema|user|view|procedure)\s+(?:if\s+exists\s+)?[\w.`\[\]]+\s*;?\s*(?:--|#|/\*)"),
    sql(
        "sqli_sleep",
        &["sleep"],
        r#"(?:\b(?:and|or|xor|select|having|then|when|where|by|in|div|else|like|rlike|if\s*\([^()]*(?:\(\))?[^()]*,)|['")]|\|\||&&|[-+*/,=]|^-?\d*[\s(]*)[\s(]*sleep\s*\(\s*['"]?-?\d+(?:\.\d+)?['"]?\s*\)\s*(?:$|--|#|[)'"/;,*=|&-]|\+\s*(?:[\d('"@]|$)|and\b|or\b|from\b|end\b|else\b|xor\b|limit\b|as\b)"#,
    )
    .confirmed(is_no_statement),
    sql(
        "sqli_time_function",
        &["benchmark", "pg_sleep", "waitfor", "dbms_", "randomblob", "generate_series"],
        r#"\bbenchmark\s*\(\s*\d+\s*,|\bpg_sleep(?:_for|_until)?\s*\(|\bwaitfor\s+(?:delay|time)\s*[('"@0]|\bdbms_(?:pipe\.receive_message|lock\.sleep|session\.sleep|ldap\.init|xmlgen|utility)|\brandomblob\s*\(\s*\d{4}|\bgenerate_series\s*\(\s*1\s*,\s*\d{5}"#,
    )
    .confirmed(is_no_script_of_statements),
    sql(
        "sqli_error_function",
        &["extractvalue", "updatexml", "xmltype", "ctxsys", "utl_", "gtid_sub", "floor", "procedure", "json_keys", "exp("],
        r#"\b(?:extractvalue|updatexml)\s*\(\s*[^,]*,\s*(?:concat|0x|'|"|\(|null|char|/)|\bxmltype\s*\(\s*(?:chr|'|upper|concat)|\bctxsys\.drithsx\.sn|\butl_(?:inaddr|http|smtp|file)\.\w+\s*\(|\bgtid_sub(?:set|tract)\s*\(|\bfloor\s*\(\s*rand\s*\(|\bprocedure\s+analyse\s*\(|\bjson_keys\s*\(\s*\(|\bexp\s*\(\s*~"#,
    ),
    sql(
        "sqli_file_function",
        &["load_file", "outfile", "dumpfile", "load_extension", "lo_import", "lo_export", "pg_read_file", "openrowset", "bulk insert", "load data", "into @"],
        r#"\bload_file\s*\(\s*[^)\s]|\binto\s+(?:out|dump)file\s+['"]|\bload_extension\s*\(|\blo_(?:im|ex)port\s*\(|\bpg_(?:read_file|ls_dir|read_binary_file)\s*\(|\bopenrowset\s*\(|\bbulk\s+insert\s+\w+\s+from|\binto\s+@\w|\bload\s+data\s+(?:local\s+)?infile"#,
    ),
    sql(
        "sqli_server_procedure",
        &["xp_", "sp_", "exec"],
        r"\b(?:exec(?:ute)?\s*\(?\s*)?(?:master\s*\.+\s*(?:dbo\s*\.\s*)?)?xp_(?:cmdshell|dirtree|regread|regwrite|fileexist|subdirs|servicecontrol|availablemedia|loginconfig|enumdsn|terminate_process)\s*(?:n?['\x22(@;]|$|--)|\b(?:exec(?:ute)?\s*\(?\s*|master\s*\.+\s*(?:dbo\s*\.\s*)?)xp_\w+\s*(?:[^\sa-z]|$)|\bexec(?:ute)?\s*\(?\s*(?:master\b|sp_(?:executesql|oacreate|configure|makewebtask|password|addsrvrolemember|addlogin)\s*(?:[\w@'(;]|$)|\(?0x|\(?char\s*\(|immediate\b)",
    ),
    sql(
        "sqli_subquery",
        &["select"],
        r#"(?:\b(?:and|or|xor|in|exists|not|having|like|rlike|between|when|if|by|limit|all|any|union)|[=<>+\-*/|,&!^~%(]|['"`]|^)[\s(]*\(\s*select[\s(]+(?:\*|@|'|"|`|\d|[\w.]+\s*[(,*]|[\w.]+\s+(?:from|as|where|limit|like)\b|case\b|distinct\b|top\b|count|null|case|sleep)"#,
    )
    .confirmed(is_no_statement),
    sql(
        "sqli_select_star_from",
        &["select*from", "select * from", "select(", "select`", "select'", "select@", "select\""],
        r#"\(\s*select\s*\*\s*from\s*\(\s*select|\bselect\s*\(\s*(?:sleep|select|user|version|database|group_concat|@@)"#,
    ),
    sql(
        "sqli_function_condition",
        AND_OR,
        r#"^[\w\s.@%'"`)\-(]{0,60}(?:['")\d\s*])(?:and|or|xor|&&|\|\|)[\s(]*(?:not[\s(]+)?(?:ascii|ord|substr|substring|mid|left|right|length|len|char_length|lower|upper|hex|bin|exists|elt|row|make_set|regexp_like|polygon|multipoint|st_\w+|cast|convert|chr|char|isnull|ifnull|nullif|coalesce|database|user|version|current_user|system_user|instr|locate|strcmp|if|iif|rand|row_count|conv|unicode|bitand|db_name|is_srvrolemember|exp|abs|sign|ctxsys\.\w+|json_\w+)\s*\((?:[^)]*\)+\s*(?:=|<|>|!|like\b|in\b|between\b|is\b|--|#|$|and\b|or\b|\)|&|'|")|\s*select\b|[^=<>\n]*[=<>])"#,
    )
    .confirmed(is_no_block),
    sql(
        "sqli_case_when",
        &["^case$", "if(", "if (", "iif", "^xor$", "sysdate"],
        r#"(?:\b(?:and|or|select|by|where|having|,|=)|[(|+'")])[\s(]*case\s+when\s+[^\s.].*\sthen\s.+\bend\b|\bxor[\s(]*if\s*\(|\bnow\s*\(\s*\)\s*=\s*sysdate\s*\(|\biif\s*\(\s*\d+\s*=\s*\d+|\bif\s*\(\s*\(?\s*(?:select\b|\d+\s*=\s*\d+|ascii\(|substr|mid\(|length\(|user\()[^)]*"#,
    )
    .confirmed(is_no_condition),
    sql(
        "sqli_encoded_text",
        &["concat", "char(", "chr(", "0x", "unhex"],
        r#"\b(?:group_)?concat(?:_ws)?\s*\(\s*(?:0x[0-9a-f]{2}|char\s*\(|chr\s*\(|user\s*\(|version\s*\(|database\s*\(|@@|table_name|column_name|schema_name|'~'|username|md5)|\bchr\s*\(\s*\d+\s*\)\s*(?:\|\||\+|&)|\bn?char\s*\(\s*\d+\s*\)\s*(?:\+|\|\|)|(?:select|=|and|or|,)[\s(]*n?char\s*\(\s*\d+\s*,\s*\d+|\bunhex\s*\(\s*'?[0-9a-f]{4}"#,
    ),
    sql(
        "sqli_server_variable",
        &["@@"],
        r"(?:^|[\s(,=|+'])@@(?:version|hostname|datadir|basedir|servername|global|session|tmpdir|language|spid|identity|innodb\w*|secure_file_priv|max_\w+|port)\b",
    ),
    sql(
        "sqli_catalogue",
        &["information_schema", "sysobjects", "syscolumns", "sqlite_", "pg_catalog", "pg_user", "pg_shadow", "mysql.", "all_tables", "user_tables", "sys.", "master..", "dba_users", "v$version", "msysaccess"],
        r"\binformation_schema\s*\.|\bsys(?:objects|columns|databases|users|logins)\b|\bsqlite_(?:master|schema|version)\b|\bpg_(?:catalog|user|shadow|database|class|tables)\b|\bmysql\s*\.\s*(?:user|db|innodb_\w+)\b|\ball_(?:tables|tab_columns|users)\b|\buser_(?:tables|tab_columns|objects)\b|\bsys\s*\.\s*(?:tables|objects|columns|databases|schema_\w+|user\w*|dual|v_\$)|\bmaster\s*\.\.\s*sys|\bdba_users\b|v\$(?:version|session|database|instance)|\bmsysaccessobjects\b",
    )
    .worth(50)
    .confirmed(is_no_script_of_statements),
    sql("sqli_select_from", &["select"], r#"\bselect\b[\s(*'"`@\w.,)]+\bfrom\b[\s(`'"\[]*[\w.]+"#).worth(50).confirmed(is_query_of_attack),
    sql("sqli_concatenated_quote", &["'"], r"'\s*\|\|\s*(?:'|\(|[a-z_]+\s*\()").with(&["||"]).worth(50),
    sql(
        "sqli_break_out_concatenation",
        &["'", "\""],
        r#"['"]\s*(?:\|\||\+|\*|-|/|%)\s*\(\s*(?:select\b|case\b|char\s*\(|chr\s*\(|if\s*\()|['"]\s*\|\|\s*(?:(?:pg_|dbms_|utl_|user|version|sleep|current_|database|substr|ascii|chr|cast|to_char|rawtohex|banner)\w*\s*[(.]|\(\s*select)"#,
    ).with(&["select", "case", "char", "chr", "if", "pg_", "dbms_", "utl_", "user", "version", "sleep", "current_", "database", "substr", "ascii", "cast", "rawtohex", "banner"])
    .confirmed(is_in_no_condition),
    sql("sqli_json_operator", &["json"], r#"'\s*(?:or|and|\|\|)\s.*(?:::jsonb?\s*(?:@>|<@|->|\?)|\bjson_(?:extract|contains|length|depth|value|query|valid)\s*\()"#),
    sql("sqli_limit_union", &["rlike", "regexp", "sounds like"], r#"['"\d)]\s*(?:and\s+\S+\s+|or\s+\S+\s+)?(?:rlike|regexp|sounds\s+like)\s*(?:\(\s*select|binary|['"(]|\d)"#),
    sql("sqli_having_group", &["having", "group by"], r#"['"`\d)]\s*(?:having\s+(?:\d|['"])|group\s+by\s+[\w.,\s]+having\s+)"#).confirmed(is_no_statement),
    // A server takes the comment away, or its filter does, and the word is one again.
    sql(
        "sqli_divided_word",
        &["/*"],
        r"(?:^|[^a-z])(?:u/\*\w{0,8}\*/nion|un/\*\w{0,8}\*/ion|uni/\*\w{0,8}\*/on|unio/\*\w{0,8}\*/n|s/\*\w{0,8}\*/elect|se/\*\w{0,8}\*/lect|sel/\*\w{0,8}\*/ect|sele/\*\w{0,8}\*/ct|selec/\*\w{0,8}\*/t)(?:[^a-z]|$)",
    ).with(&["*/"]),
    sql("sqli_versioned_comment", &["/*!"], r"/\*!\d{0,6}\s*(?:union|select|and|or|from|where|insert|update|delete|all|concat|order|sleep|if)\b").and_raw(),
    sql("sqli_comment_joint", &["*/"], r"^\*/[^*]{1,80}/\*$").and_raw(),
    sql("sqli_insert_tuple", &["'~"], r#"'\s*\)\s*,\s*\(\s*'?\w+|'\s*,\s*\(\s*select\b|'\s*,\s*(?:version|user|database|now|sleep)\s*\(|'\s*,\s*'[^']*'\s*\)\s*(?:--|#|;)"#).with(&["(", ")"]).confirmed(breaks_out),
];
