//! Responses of weir itself: who refused, why, and advice (rule 39, RFC 9209).

use super::fields::{is_tchar, list, trim, write_decimal};
use super::forwarding::write_persistence;
use super::message::{Fields, Version};
use super::template::{Kind, Placeholder, Template};

/// The answered request as far as it is known; unknown texts are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The target: a URL, or `host:port`; never with a user name or a password.
    pub url: &'a str,
    /// The host of that.
    pub host: &'a str,
    /// The address of the client.
    pub client: &'a str,
    /// The authenticated user.
    pub user: &'a str,
}

/// One response. Texts are escaped when they are written, so they may come from the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// 100 to 999.
    pub status: u16,
    /// The error type (RFC 9209 section 2.3, a token) and the details: the rule or the reason.
    pub proxy_status: Option<(&'a str, &'a str)>,
    /// The reason phrase; empty for the phrase of the status.
    pub phrase: &'a str,
    /// The cause, in one or two sentences.
    pub explanation: &'a str,
    /// Advice for the user.
    pub advice: Option<&'a str>,
    /// The text of the rule that refused the request; empty without one.
    pub rule: &'a str,
    /// The requested resource, and the client.
    pub asked: Asked<'a>,
    /// The contact of the administrator; empty if none is configured.
    pub contact: &'a str,
    /// The page of the administrator, if one is configured.
    pub template: Option<&'a Template>,
    /// Seconds until it may work.
    pub retry_after: Option<u32>,
    /// More fields, such as Proxy-Authenticate; names and values must be valid.
    pub extra_fields: &'a [(&'a str, &'a str)],
    /// More fields, each with its line end, that change from one response to the next; never prepared.
    pub changing: &'a [u8],
    /// A page for a browser rather than a text for a tool: see [`accepts_html`].
    pub html: bool,
    /// The request was HEAD: the body is described but not sent.
    pub head_only: bool,
    /// The connection stays open.
    pub keep_alive: bool,
    /// The client speaks HTTP/1.0 and needs a field if the connection stays open.
    pub http10: bool,
    /// The present date as `date::http_date` writes it; empty for none.
    pub date: &'a str,
    /// The name of this proxy in Proxy-Status and on the page.
    pub pseudonym: &'a str,
}

impl Reply<'_> {
    /// The format of the body.
    fn kind(&self) -> Kind {
        match self.template {
            Some(template) => template.kind(),
            None if self.html => Kind::Html,
            None => Kind::Text,
        }
    }

    /// The media type of the body.
    pub fn content_type(&self) -> &'static str {
        self.kind().content_type()
    }

    fn details(&self) -> &str {
        self.proxy_status.map_or("", |(_, details)| details)
    }

    /// The known facts on the pages, each with its heading.
    fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let facts = [
            ("Rule", self.rule),
            ("Host", self.asked.host),
            ("URL", self.asked.url),
            ("Client", self.asked.client),
            ("User", self.asked.user),
            // Time alone is of no use.
            ("Time", if self.asked.client.is_empty() { "" } else { self.date }),
            ("Contact", self.contact),
        ];
        facts.into_iter().filter(|(_, fact)| !fact.is_empty())
    }

    /// Fills in a template.
    fn write_template(&self, out: &mut Vec<u8>, template: &Template) {
        let status = self.status.to_string();
        template.write(out, |placeholder| match placeholder {
            Placeholder::Status => &status,
            Placeholder::Title => reason_phrase(self.status),
            Placeholder::Explanation => self.explanation,
            Placeholder::Advice => self.advice.unwrap_or_default(),
            Placeholder::Reason => self.details(),
            Placeholder::Rule => self.rule,
            Placeholder::Method => self.asked.method,
            Placeholder::Url => self.asked.url,
            Placeholder::Host => self.asked.host,
            Placeholder::Client => self.asked.client,
            Placeholder::User => self.asked.user,
            Placeholder::Time => self.date,
            Placeholder::Contact => self.contact,
            Placeholder::Proxy => self.pseudonym,
        });
    }
}

/// The parts of an answer that are the same for all clients: put together once for each reason; the rest is filled in between.
#[derive(Debug)]
pub struct Prepared {
    /// All parts, one behind the other.
    text: Vec<u8>,
    /// The end of each part but the last one, in the order of [`Part`].
    ends: [usize; PARTS - 1],
}

/// The parts, in the order in which they are written.
#[derive(Clone, Copy)]
enum Part {
    /// The status line. Date follows.
    Start,
    /// Up to the value of Content-Length, which follows.
    Type,
    /// Up to the error type of Proxy-Status. The details follow.
    Error,
    /// The other fields. Connection and the end of the head follow.
    Fields,
    /// The body up to the facts, unless there is a template.
    Sentences,
    /// The body behind the facts.
    Footer,
}

const PARTS: usize = Part::Footer as usize + 1;

impl Prepared {
    /// Takes of an answer: status, phrase, error type, explanation, advice, template, more fields, form and pseudonym.
    pub fn of(reply: &Reply<'_>) -> Prepared {
        let (mut text, mut ends) = (Vec::new(), [0; PARTS - 1]);
        let mut end = |part: Part, text: &Vec<u8>| ends[part as usize] = text.len();
        write_start(&mut text, reply);
        end(Part::Start, &text);
        write_type(&mut text, reply);
        end(Part::Type, &text);
        text.extend_from_slice(b"\r\nCache-Control: no-store");
        if let Some((error, _)) = reply.proxy_status {
            text.extend_from_slice(b"\r\n");
            write_error(&mut text, reply.pseudonym, error);
        }
        end(Part::Error, &text);
        text.extend_from_slice(b"\r\n");
        if let Some(seconds) = reply.retry_after {
            text.extend_from_slice(b"Retry-After: ");
            write_decimal(&mut text, u64::from(seconds));
            text.extend_from_slice(b"\r\n");
        }
        for (name, value) in reply.extra_fields {
            write_line(&mut text, &[name, ": ", value]);
        }
        end(Part::Fields, &text);
        if reply.template.is_none() && reply.html {
            write_page_sentences(&mut text, reply);
            end(Part::Sentences, &text);
            write_page_footer(&mut text, reply);
        } else if reply.template.is_none() {
            write_text_sentences(&mut text, reply);
            end(Part::Sentences, &text);
        } else {
            end(Part::Sentences, &text);
        }
        text.shrink_to_fit();
        Prepared { text, ends }
    }

    fn part(&self, part: Part) -> &[u8] {
        let begin = (part as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends.get(part as usize).copied().unwrap_or(self.text.len());
        &self.text[begin..end]
    }

    /// Appends head and body of the response that was prepared, or of another one with the same prepared parts: the other
    /// parts are filled in.
    pub fn write(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        out.reserve(self.text.len() + FILLED_BYTES);
        out.extend_from_slice(self.part(Part::Start));
        if !reply.date.is_empty() {
            write_line(out, &["Date: ", reply.date]);
        }
        out.extend_from_slice(self.part(Part::Type));
        let length_at = out.len();
        out.extend_from_slice(self.part(Part::Error));
        write_details(out, reply.details());
        out.extend_from_slice(self.part(Part::Fields));
        out.extend_from_slice(reply.changing);
        let version = if reply.http10 { Version::Http10 } else { Version::Http11 };
        write_persistence(out, version, reply.keep_alive);
        out.extend_from_slice(b"\r\n");
        let body_at = out.len();
        match (reply.template, reply.html) {
            (Some(template), _) => reply.write_template(out, template),
            (None, true) => {
                out.extend_from_slice(self.part(Part::Sentences));
                write_page_facts(out, reply);
                out.extend_from_slice(self.part(Part::Footer));
            }
            (None, false) => {
                out.extend_from_slice(self.part(Part::Sentences));
                write_text_facts(out, reply);
            }
        }
        let body_len = out.len() - body_at;
        if reply.head_only {
            out.truncate(body_at);
        }
        // The length is known last, and is rotated to its place.
        let end = out.len();
        write_decimal(out, body_len as u64);
        let digits = out.len() - end;
        out[length_at..].rotate_right(digits);
    }
}

/// Space for the parts that are filled in, in the usual case (chosen).
const FILLED_BYTES: usize = 512;

/// Appends head and body of an answer that is given once.
pub fn write(out: &mut Vec<u8>, reply: &Reply<'_>) {
    Prepared::of(reply).write(out, reply);
}

/// The sources that a page of the administrator may use beside those of weir's own pages: no scripts.
const OF_TEMPLATES: &str = " http: https:; img-src data: http: https:; font-src data: http: https:";

fn write_start(out: &mut Vec<u8>, reply: &Reply<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(reply.status));
    let phrase = if reply.phrase.is_empty() { reason_phrase(reply.status) } else { reply.phrase };
    write_line(out, &[" ", phrase]);
}

fn write_type(out: &mut Vec<u8>, reply: &Reply<'_>) {
    write_line(out, &["Content-Type: ", reply.content_type()]);
    if reply.kind() == Kind::Html {
        // The page needs only its style, so the policy disables everything else that an attacker might insert. Pages of an
        // administrator may have pictures.
        let own = "default-src 'none'; style-src 'unsafe-inline'";
        let others = if reply.template.is_some() { OF_TEMPLATES } else { "" };
        write_line(out, &["Content-Security-Policy: ", own, others]);
    }
    write_line(out, &["X-Content-Type-Options: nosniff"]);
    out.extend_from_slice(b"Content-Length: ");
}

fn write_line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `Proxy-Status: weir; error=...`, without the end of the line.
fn write_error(out: &mut Vec<u8>, pseudonym: &str, error: &str) {
    out.extend_from_slice(b"Proxy-Status: ");
    if is_structured_token(pseudonym) {
        out.extend_from_slice(pseudonym.as_bytes());
    } else {
        write_structured_string(out, pseudonym);
    }
    out.extend_from_slice(b"; error=");
    out.extend_from_slice(error.as_bytes());
}

/// Appends `; details="..."`, unless `details` is empty.
fn write_details(out: &mut Vec<u8>, details: &str) {
    if !details.is_empty() {
        out.extend_from_slice(b"; details=");
        write_structured_string(out, details);
    }
}

/// A token of structured fields (RFC 8941 section 3.3.4).
fn is_structured_token(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'*')
        && bytes.all(|byte| is_tchar(byte) || byte == b':' || byte == b'/')
}

/// A string of structured fields: printable ASCII only (RFC 8941 section 3.3.3); anything else becomes a question mark.
fn write_structured_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, behind) = Kind::Json.split_plain(rest);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = behind.chars();
        match characters.next() {
            None => break,
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some(_) => out.push(b'?'),
        }
        rest = characters.as_str();
    }
    out.push(b'"');
}

fn write_text_sentences(out: &mut Vec<u8>, reply: &Reply<'_>) {
    let write_plain = |out: &mut Vec<u8>, text: &str| Kind::Text.write_value(out, text);
    write_plain(out, reply.pseudonym);
    out.extend_from_slice(b": ");
    write_status(out, reply.status);
    out.push(b'\n');
    for text in [reply.explanation, reply.advice.unwrap_or_default()] {
        for line in text.lines().filter(|line| !line.is_empty()) {
            write_plain(out, line);
            out.push(b'\n');
        }
    }
}

fn write_text_facts(out: &mut Vec<u8>, reply: &Reply<'_>) {
    let reason = Some(("Reason", reply.details())).filter(|(_, details)| !details.is_empty());
    for (heading, fact) in reason.into_iter().chain(reply.facts()) {
        out.extend_from_slice(heading.as_bytes());
        out.extend_from_slice(b": ");
        Kind::Text.write_value(out, fact);
        out.push(b'\n');
    }
}

const PAGE_STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em;\
color:#222;background:#fff}h1{font-size:1.4em}code{background:#f0f0f0;padding:.1em .3em}\
table{font-size:.9em;margin-top:2em}th{text-align:left;vertical-align:top;padding-right:1em}td{word-break:break-all}\
footer{color:#777;font-size:.85em;margin-top:3em}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#2a2a2a}}";

fn write_page_sentences(out: &mut Vec<u8>, reply: &Reply<'_>) {
    out.extend_from_slice(b"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    write_status(out, reply.status);
    out.extend_from_slice(b"</title>\n<meta name=\"viewport\" content=\"width=device-width\"><style>");
    out.extend_from_slice(PAGE_STYLE.as_bytes());
    out.extend_from_slice(b"</style></head>\n<body><h1>");
    write_status(out, reply.status);
    out.extend_from_slice(b"</h1>\n");
    for text in [Some(reply.explanation), reply.advice] {
        for line in text.unwrap_or_default().lines().filter(|line| !line.is_empty()) {
            out.extend_from_slice(b"<p>");
            Kind::Html.write_value(out, line);
            out.extend_from_slice(b"</p>\n");
        }
    }
}

fn write_page_facts(out: &mut Vec<u8>, reply: &Reply<'_>) {
    if !reply.details().is_empty() {
        out.extend_from_slice(b"<p>Reason: <code>");
        Kind::Html.write_value(out, reply.details());
        out.extend_from_slice(b"</code></p>\n");
    }
    if reply.facts().next().is_some() {
        out.extend_from_slice(b"<table>\n");
        for (heading, fact) in reply.facts() {
            out.extend_from_slice(b"<tr><th>");
            out.extend_from_slice(heading.as_bytes());
            out.extend_from_slice(b"</th><td>");
            Kind::Html.write_value(out, fact);
            out.extend_from_slice(b"</td></tr>\n");
        }
        out.extend_from_slice(b"</table>\n");
    }
}

fn write_page_footer(out: &mut Vec<u8>, reply: &Reply<'_>) {
    out.extend_from_slice(b"<footer>This page comes from the proxy ");
    Kind::Html.write_value(out, reply.pseudonym);
    out.extend_from_slice(b", not from the site.</footer></body></html>\n");
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
}

/// Whether a person will look at the answer: Accept names `text/html`, and not with a weight of 0. Tools send `*/*`.
pub fn accepts_html(fields: Fields<'_, '_>) -> bool {
    const HTML: &[u8] = b"text/html";
    // Many tools send only `*/*`.
    let long = fields.all("accept").filter(|value| value.len() >= HTML.len());
    long.flat_map(list).any(|member| {
        let mut parts = member.split(|&byte| byte == b';').map(trim);
        let html = parts.next().is_some_and(|range| range.eq_ignore_ascii_case(HTML));
        html && !parts.any(is_zero_weight)
    })
}

/// `q=0`, `q=0.`, `q=0.000` (RFC 9110 section 12.4.2).
fn is_zero_weight(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', b'0'] => true,
        [b'q' | b'Q', b'=', b'0', b'.', rest @ ..] => rest.iter().all(|&digit| digit == b'0'),
        _ => false,
    }
}

/// The phrase of a registered status (RFC 9110 section 15, RFC 6585, RFC 7725), `Unknown` for others.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_request;
    use super::*;

    fn reply<'a>() -> Reply<'a> {
        Reply {
            status: 403,
            proxy_status: Some(("http_request_denied", "blocklist.txt:12")),
            explanation: "This proxy does not allow that host.",
            advice: Some("Ask its operator."),
            keep_alive: true,
            date: "Sun, 06 Nov 1994 08:49:37 GMT",
            pseudonym: "weir",
            ..Reply::default()
        }
    }

    #[test]
    fn every_status_of_ours_is_told_in_both_forms() {
        for status in
            [400, 403, 405, 407, 408, 413, 414, 415, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505]
        {
            for html in [false, true] {
                let mut out = Vec::new();
                write(&mut out, &Reply { status, html, ..reply() });
                let text = String::from_utf8(out).unwrap();
                let phrase = reason_phrase(status);
                assert!(phrase != "Unknown" && text.starts_with(&format!("HTTP/1.1 {status} {phrase}\r\n")));
                assert!(text.contains("\r\nProxy-Status: weir; error=http_request_denied;"), "{text}");
                assert_eq!(text.contains("\r\nContent-Type: text/html"), html, "{text}");
                assert!(text.contains("Ask its operator."), "{text}");
            }
        }
    }

    /// Statuses that a cache derives from a stored 200 have phrases, and so have those of pages.
    #[test]
    fn knows_the_statuses_of_ranges_and_pages() {
        assert_eq!(
            [206, 303, 304, 409, 416, 299].map(reason_phrase),
            ["Partial Content", "See Other", "Not Modified", "Conflict", "Range Not Satisfiable", "Unknown"]
        );
    }

    /// Head (without the empty line) and body.
    fn written(reply: &Reply<'_>) -> (String, String) {
        let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
        write(&mut out, reply);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_string())
    }

    #[test]
    fn rule_39_text() {
        let (head, body) = written(&reply());
        assert_eq!(
            body,
            "weir: 403 Forbidden\nThis proxy does not allow that host.\nAsk its operator.\nReason: blocklist.txt:12\n"
        );
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
                 Content-Length: {}\r\nCache-Control: no-store\r\n\
                 Proxy-Status: weir; error=http_request_denied; details=\"blocklist.txt:12\"\r\n",
                body.len()
            )
        );
    }

    #[test]
    fn rule_39_a_prepared_answer_is_filled_in() {
        let page = Template::parse(b"{{reason}} {{url}} {{explanation}}", Kind::Text).unwrap();
        for (html, template) in [(false, None), (true, None), (true, Some(&page))] {
            let about = |details, asked, keep_alive| Reply {
                proxy_status: Some(("http_request_denied", details)),
                rule: details,
                asked,
                html,
                template,
                keep_alive,
                ..reply()
            };
            let prepared = Prepared::of(&about("", Asked::default(), true));
            let asked = Asked { url: "http://a.example/", client: "192.0.2.1", ..Asked::default() };
            for filled in [about("a:1", asked, false), about("b:2", Asked::default(), true)] {
                let (mut out, mut expected) = (Vec::new(), Vec::new());
                prepared.write(&mut out, &filled);
                write(&mut expected, &filled);
                assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn rule_39_connection_tells_the_truth() {
        for (keep_alive, http10, expected) in [
            (true, false, None),
            (false, false, Some("Connection: close\r\n")),
            (true, true, Some("Connection: keep-alive\r\n")),
            (false, true, Some("Connection: close\r\n")),
        ] {
            let (head, _) = written(&Reply { keep_alive, http10, ..reply() });
            let found = head.find("Connection:").map(|at| &head[at..]);
            assert_eq!(found, expected, "{keep_alive} {http10}");
        }
    }

    #[test]
    fn answers_to_head_describe_their_body() {
        let (_, body) = written(&reply());
        let (head, none) = written(&Reply { head_only: true, ..reply() });
        assert!(none.is_empty());
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    }

    #[test]
    fn other_fields() {
        let fields = [("Proxy-Authenticate", "Basic realm=\"weir\"")];
        let reply = Reply { retry_after: Some(30), extra_fields: &fields, proxy_status: None, ..reply() };
        let (head, body) = written(&reply);
        assert!(
            head.contains("\r\nRetry-After: 30\r\nProxy-Authenticate: Basic realm=\"weir\"\r\n"),
            "{head}"
        );
        assert!(!head.contains("Proxy-Status") && !body.contains("Reason"));
    }

    #[test]
    fn nothing_from_outside_gets_out_of_its_place() {
        let evil = "a\"b\\c<script>'&\r\nX: y\x1b[2J\u{e9}\u{85}";
        let evil_reply = Reply {
            proxy_status: Some(("e", evil)),
            explanation: evil,
            advice: None,
            pseudonym: "a b",
            ..reply()
        };
        let (head, body) = written(&evil_reply);
        assert!(
            head.contains(
                "Proxy-Status: \"a b\"; error=e; details=\"a\\\"b\\\\c<script>'&??X: y?[2J??\"\r\n"
            ),
            "{head}"
        );
        assert!(!body.contains(['\r', '\x1b', '\u{85}']), "{body}");
        let (_, page) = written(&Reply { html: true, ..evil_reply });
        assert!(page.contains("<code>a&quot;b\\c&lt;script&gt;&#39;&amp;??X: y?[2J\u{e9}?</code>"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn pages() {
        let (head, page) = written(&Reply { html: true, ..reply() });
        assert!(head.contains(
            "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'"
        ));
        assert!(head.contains(&format!("Content-Length: {}\r\n", page.len())));
        for part in
            ["<title>403 Forbidden</title>", "<p>Ask its operator.</p>", "<code>blocklist.txt:12</code>"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn browsers_are_told_from_tools() {
        for (fields, expected) in [
            ("", false),
            ("Accept: */*\r\n", false),
            ("Accept: text/html\r\n", true),
            ("Accept: application/xml;q=0.9, Text/HTML;level=1;q=0.1\r\n", true),
            ("Accept: image/png\r\nAccept: text/html\r\n", true),
            ("Accept: text/html;q=0\r\n", false),
            ("Accept: text/html; q=0.000\r\n", false),
            ("Accept: text/htmlx, text/*\r\n", false),
        ] {
            let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(
                with_request(text.as_bytes(), |head| accepts_html(head.fields)),
                expected,
                "{fields:?}"
            );
        }
    }
}
