//! Texts about code: questions, answers, lessons, tickets.
//!
//! Such a text is recognised by what surrounds the code in it: marks that show text as code, and words of the trade. The words around
//! an attack in a comment ("nice picture") are others.

use super::words::{holds, is_blank, is_word, without, words};
use std::ops::Range;

/// Fewest words outside of a span of code that make it an example in a text (chosen).
const WORDS_OUTSIDE: usize = 3;

/// The evidence at which a text is about code (chosen): a term and another word, or a general word in a question.
pub(super) const EVIDENCE: usize = 3;

/// The evidence that suffices where the text around the code would keep it from running (chosen).
pub(super) const FEW_EVIDENCE: usize = 2;

/// Most words that are read on each side of a match (chosen).
const WORDS_READ: usize = 200;

/// Marks between which wikis, trackers and editors show text as it is.
const MARKS: [(&[u8], &[u8]); 7] = [
    (b"<code", b"</code"),
    (b"<pre", b"</pre"),
    (b"<syntaxhighlight", b"</syntaxhighlight"),
    (b"<nowiki", b"</nowiki"),
    (b"[code", b"[/code"),
    (b"{code", b"{code}"),
    (b"{noformat", b"{noformat}"),
];

/// Whether the match is shown as code between marks, with words of a sentence outside of them. `raw` is the value as sent: a browser
/// runs what is between elements unless it is escaped there.
pub(super) fn is_shown_as_code(raw: &[u8], text: &[u8], range: &Range<usize>) -> bool {
    // A match may end with the mark.
    let end = range.end - usize::from(range.len() > 1 && text[range.end - 1] == b'`');
    let (lead, tail) = (&text[..range.start], &text[end..]);
    let is_marked = MARKS.iter().any(|(open, close)| {
        let Some(at) = memchr::memmem::rfind(lead, open) else { return false };
        let Some(end) = memchr::memmem::find(tail, close) else { return false };
        let is_open = memchr::memmem::find(&lead[at + 1..], close).is_none();
        let is_inert = !open.starts_with(b"<") || !holds(raw, text[range.clone()].trim_ascii());
        is_open && is_inert && has_words(&lead[..at], &tail[end..])
    });
    is_marked || is_in_backticks(lead, tail)
}

/// The match is between two runs of backticks, with blanks outside of them.
fn is_in_backticks(lead: &[u8], tail: &[u8]) -> bool {
    let Some(close) = memchr::memchr(b'`', tail) else { return false };
    let Some(open) = memchr::memrchr(b'`', lead) else { return false };
    let is_other = |byte: &u8| *byte != b'`';
    let before = &lead[..lead[..open].iter().rposition(is_other).map_or(0, |at| at + 1)];
    let behind = &tail[close..];
    let behind = &behind[behind.iter().position(is_other).unwrap_or(behind.len())..];
    let is_open = memchr::memchr_iter(b'`', before).count() % 2 == 0;
    let is_apart = before.last().is_none_or(|byte| is_blank(byte) || *byte == b'(')
        && behind.first().is_none_or(|byte| is_blank(byte) || b".,?:;!)".contains(byte));
    is_open && is_apart && has_words(before, behind)
}

fn has_words(before: &[u8], behind: &[u8]) -> bool {
    let outside = words(before).chain(words(behind)).filter(|word| is_word(word));
    outside.take(WORDS_OUTSIDE).count() == WORDS_OUTSIDE
}

/// Signs around words of a sentence.
const MARKS_OF_SENTENCES: &[u8] = b",.:;?!)\"'(`*";

/// Whether the words around a match are about code.
pub(super) fn is_about_code(text: &[u8], range: &Range<usize>, least: usize) -> bool {
    let (lead, tail) = (&text[..range.start], &text[range.end..]);
    let mut evidence = usize::from(is_question(lead) || is_question(tail));
    if is_search(text, tail) || is_request_line(text) {
        evidence += EVIDENCE;
    }
    let is_page = || PAGES.iter().any(|tag| holds(text, tag)) && has_words(lead, tail);
    evidence += if is_page() { 2 } else { 0 };
    evidence += if text.iter().any(|byte| *byte >= 0xe3) { 2 * joined_terms(lead, tail) } else { 0 };
    if evidence >= least {
        return true;
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    // A match may begin with the words before the code.
    let is_said = |word: &&[u8]| is_word(word) || is_number(word);
    let within = words(&text[range.clone()]).take_while(is_said).filter(|word| is_no_code(word));
    for word in words(lead).take(WORDS_READ).chain(within).chain(spoken_behind(tail)) {
        let word = without(MARKS_OF_SENTENCES, word);
        let Some(kind) = kind(word) else { continue };
        // Of the words that begin a question one counts.
        let word: &[u8] = if kind == Kind::Interrogative { b"?" } else { word };
        if seen.contains(&word) {
            continue;
        }
        seen.push(word);
        evidence += if kind == Kind::Term { 2 } else { 1 };
        if evidence >= least {
            return true;
        }
    }
    false
}

/// The words behind a match, without those of the code itself: words in a row, the last ones, and words that no language has.
fn spoken_behind(tail: &[u8]) -> Vec<&[u8]> {
    let attached = tail.iter().position(is_blank).unwrap_or(tail.len());
    let words: Vec<&[u8]> = words(&tail[attached..]).take(WORDS_READ).collect();
    let (mut spoken, mut at) = (Vec::new(), 0);
    for row in words.split_inclusive(|word| !is_word(word)) {
        at += row.len();
        let is_row = row.len() > ROW_WORDS || at == words.len();
        spoken.extend(row.iter().filter(|word| is_row || is_no_code(word)));
    }
    spoken
}

/// A number, with punctuation around it.
fn is_number(word: &[u8]) -> bool {
    let word = without(MARKS_OF_SENTENCES, word);
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// A word that is no name in code.
fn is_no_code(word: &[u8]) -> bool {
    let word = without(MARKS_OF_SENTENCES, word);
    kind(word) != Some(Kind::Term) && !OF_CODE.contains(&word)
}

/// General words that are words of languages, too.
const OF_CODE: [&[u8]; 24] = [
    b"call", b"class", b"default", b"delete", b"entries", b"exit", b"field", b"filter", b"form", b"format",
    b"input", b"insert", b"join", b"list", b"null", b"output", b"print", b"row", b"run", b"select", b"show",
    b"test", b"text", b"update",
];

/// Fewest words in a row that are no code (chosen).
const ROW_WORDS: usize = 3;

/// Tags of a whole page.
const PAGES: [&[u8]; 3] = [b"<!doctype html", b"<html", b"<head>"];

/// A line of a log shows a request.
fn is_request_line(text: &[u8]) -> bool {
    let methods: [&[u8]; 4] = [b"get /", b"post /", b"put /", b"head /"];
    let is_logged =
        || text.first().is_some_and(u8::is_ascii_digit) && holds(text, b" - - [") && holds(text, b"] \"");
    (methods.iter().any(|method| text.starts_with(method)) || is_logged()) && holds(text, b" http/1.")
}

/// The number of terms in a text of a language without blanks between words.
fn joined_terms(lead: &[u8], tail: &[u8]) -> usize {
    JOINED.iter().filter(|term| holds(lead, term.as_bytes()) || holds(tail, term.as_bytes())).count()
}

/// The value is what one types into a field for searches, about code: `union select tutorial`.
fn is_search(text: &[u8], tail: &[u8]) -> bool {
    let apart = &tail[tail.iter().position(is_blank).unwrap_or(tail.len())..];
    let is_last = words(apart).last().is_some_and(|word| SEARCHED.contains(&word));
    is_last && words(text).nth(SEARCH_WORDS_MAX).is_none()
}

/// Most words of a search (chosen).
const SEARCH_WORDS_MAX: usize = 10;

/// Last words of searches for an explanation.
const SEARCHED: [&[u8]; 14] = [
    b"alternative",
    b"beginners",
    b"beispiel",
    b"deprecated",
    b"ejemplo",
    b"example",
    b"examples",
    b"exemple",
    b"explained",
    b"mean",
    b"meaning",
    b"syntax",
    b"tutorial",
    b"works",
];

/// A sentence ends in a question mark: behind a word, or behind code in marks.
fn is_question(text: &[u8]) -> bool {
    let is_end = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let ends_word = before
            .is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii() || b"`)\"'".contains(byte));
        ends_word && text.get(at + 1).is_none_or(is_blank)
    };
    memchr::memchr_iter(b'?', text).any(is_end) || holds(text, "\u{ff1f}".as_bytes())
}

/// What a word tells about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is a term of the trade.
    Term,
    /// Texts about code have it more often than others.
    General,
    /// It begins a question.
    Interrogative,
}

/// What a word of a sentence tells.
fn kind(word: &[u8]) -> Option<Kind> {
    let lists: [(Kind, &[&str]); 3] =
        [(Kind::Term, &TERMS), (Kind::General, &GENERAL), (Kind::Interrogative, &INTERROGATIVES)];
    let found =
        lists.iter().find(|(_, list)| list.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok());
    found.map(|(kind, _)| *kind)
}

/// Words of texts about code, in languages without blanks between words.
const JOINED: [&str; 22] = [
    "为什么",
    "代码",
    "代碼",
    "函数",
    "怎么",
    "报错",
    "数据库",
    "显示",
    "查询",
    "标签",
    "错误",
    "なぜ",
    "どう",
    "エラー",
    "コード",
    "タグ",
    "表示",
    "関数",
    "코드",
    "오류",
    "왜",
    "함수",
];

/// Terms of the trade, in the languages that weir's sets are in.
#[rustfmt::skip]
const TERMS: [&str; 313] = [
    "abfrage", "access.log", "advisory", "aggregate", "ajax", "angular", "apache", "api", "apostrophe",
    "argument", "arguments", "array", "asp.net", "attribute", "attributes", "awk", "backend", "backslash",
    "backticks", "balise", "bash", "befehl", "branch", "browser", "browsers", "bug", "c#", "c++",
    "callback", "chrome", "client-side", "cmd", "code", "codes", "codice", "column", "columns", "comando",
    "command", "commande", "commands", "commit", "compile", "compiled", "compiler", "composer", "config",
    "configuration", "console", "consulta", "cron", "crontab", "csp", "csrf", "css", "css3", "curl", "cve",
    "código", "daemon", "database", "dba", "debian", "debug", "deploy", "deserialization", "deserialize",
    "div", "django", "docker", "dockerfile", "dom", "dotnet", "drupal", "ejs", "element", "elements",
    "eloquent", "encoded", "endpoint", "entities", "entity", "erb", "erro", "error", "error.log", "errors",
    "es6", "escape", "escaped", "escapes", "escaping", "etiqueta", "exception", "exploit", "exploits",
    "express", "fehlermeldung", "firefox", "firewall", "flask", "fonction", "foutmelding", "framework",
    "freemarker", "frontend", "función", "function", "functions", "funzione", "função", "git", "golang",
    "gradle", "grep", "hacked", "hacker", "hackers", "handlebars", "handler", "handlers", "hibernate",
    "hook", "hooks", "htaccess", "html", "html5", "iframe", "injection", "injections", "inyección", "java",
    "javascript", "jenkins", "jinja", "jinja2", "joomla", "jquery", "js", "json", "kotlin", "kubernetes",
    "lambda", "laravel", "ldap", "ldapsearch", "library", "linux", "listener", "localhost", "lodash",
    "log4j", "log4shell", "loop", "lxml", "magento", "makefile", "mariadb", "markdown", "markup", "maven",
    "method", "methods", "middleware", "mod_rewrite", "module", "mongo", "mongodb", "mongoose", "mustache",
    "mysql", "mysqli", "nginx", "node", "nodejs", "nonce", "npm", "numpy", "oracle", "pandas", "parameter",
    "parameters", "params", "parser", "payload", "payloads", "pdo", "perl", "php", "php8", "pickle", "pip",
    "pipe", "placeholder", "placeholders", "plugin", "pollution", "popen", "postgres", "postgresql",
    "powershell", "prompt-injection", "prototype", "proxy", "python", "python3", "quelltext", "queries",
    "query", "quoted", "quotes", "quoting", "rails", "react", "redis", "regex", "regexp", "repo",
    "repository", "requête", "ruby", "runtime", "rust", "safari", "sanitize", "sanitized", "sanitizer",
    "sanitizing", "schema", "script", "scripts", "sed", "selector", "selectors", "serialized", "shell",
    "skript", "snippet", "snippets", "spring", "sql", "sqlalchemy", "sqlite", "ssh", "ssrf", "ssti",
    "statement", "statements", "stderr", "stdout", "string", "strings", "struts", "stylesheet",
    "subprocess", "sudo", "swift", "symfony", "syntax", "syscall", "systemctl", "tag", "tags", "template",
    "templates", "terminal", "thread", "thymeleaf", "traceback", "traversal", "tutorial", "twig",
    "typescript", "ubuntu", "undefined", "unescaped", "uniq", "unserialize", "validator", "variable",
    "variables", "velocity", "vue", "vue3", "vulnerability", "waf", "webpack", "wget", "wordpress", "xargs",
    "xkcd", "xml", "xpath", "xslt", "xss", "xxe", "yaml", "zapytanie", "zsh", "базе", "браузер", "запрос",
    "запросе", "код", "команда", "команду", "ошибка", "ошибку", "скрипт", "тег", "функцию", "функция",
    "шаблон",
];

/// Words that texts about code have more often than others.
#[rustfmt::skip]
const GENERAL: [&str; 219] = [
    "actual", "alert", "alerts", "allowed", "alternative", "alternatives", "attack", "attacker",
    "attackers", "beispiel", "bind", "blacklist", "blank", "blanks", "block", "blocked", "blocks", "bound",
    "braces", "brackets", "broken", "call", "called", "calls", "cannot", "class", "classes", "click",
    "concatenate", "concatenation", "condition", "convert", "converts", "cookie", "correctly", "crash",
    "crashes", "dangerous", "debugger", "default", "delete", "denied", "deprecated", "difference",
    "directory", "display", "displays", "docs", "documentation", "documents", "does", "doesn't", "doesnt",
    "duplicate", "duplicates", "ejemplo", "embed", "embedded", "embeds", "empty", "entries", "equivalent",
    "erreur", "esempio", "evaluate", "evaluated", "evaluates", "example", "examples", "execute", "executed",
    "executes", "exemple", "exercise", "exit", "expected", "expects", "explain", "explained", "expression",
    "expressions", "fail", "failed", "fails", "faster", "field", "filter", "fix", "fixed", "fixes",
    "flickers", "form", "format", "forms", "funciona", "funktioniert", "hangs", "hint", "import", "index",
    "indexes", "input", "insert", "install", "installed", "instance", "instead", "invalid", "issue", "join",
    "joins", "klasse", "lecture", "lesson", "list", "lists", "literal", "literally", "load", "loaded",
    "loads", "log", "logs", "marche", "mean", "means", "missing", "newline", "newlines", "nothing", "null",
    "object", "objects", "output", "outputs", "parentheses", "parse", "parsed", "permission", "permissions",
    "popup", "practice", "preview", "print", "printed", "prints", "properties", "property", "reload",
    "remove", "removes", "render", "rendered", "rendering", "renders", "replace", "replaces", "reproduce",
    "request", "requests", "restriction", "return", "returned", "returns", "row", "rows", "run", "running",
    "runs", "safe", "security", "select", "semicolon", "server", "show", "shown", "shows", "slow", "source",
    "steps", "such", "tabelle", "table", "test", "tested", "testing", "tests", "text", "throw", "throws",
    "ticket", "trigger", "triggered", "triggers", "twice", "unable", "unsafe", "update", "upload",
    "uploads", "url", "urls", "use", "used", "using", "version", "versus", "vs", "vulnerable", "whitelist",
    "widget", "widgets", "windows", "work", "working", "works", "wrong", "пример", "работает",
];

/// Words that begin a question.
#[rustfmt::skip]
const INTERROGATIVES: [&str; 42] = [
    "como", "cosa", "cómo", "dlaczego", "hoe", "how", "how's", "hur", "hvordan", "hvorfor", "jak", "nasıl",
    "neden", "perché", "por", "pourquoi", "quel", "quelle", "qué", "varför", "waarom", "warum", "wat",
    "welche", "welcher", "weshalb", "what", "what's", "whats", "when", "where", "which", "who", "why",
    "wie", "wieso", "зачем", "как", "какой", "нужно", "почему", "что",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_their_lists() {
        for list in [&TERMS[..], &GENERAL, &INTERROGATIVES] {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
        assert_eq!(kind(b"sql"), Some(Kind::Term));
        assert_eq!(kind("почему".as_bytes()), Some(Kind::Interrogative));
        assert_eq!(kind(b"sunday"), None);
    }
}
