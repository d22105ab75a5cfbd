//! Short links: `go/NAME` leads to wherever a colleague said that it leads.
//!
//! `cargo run --example shortener -- [--port N] [--host NAME] [--store memory|memory:FILE|redis://...|mongodb://...]`
//!
//! It prints its address and serves until it is killed: without options on a port that the system picks, with links in
//! memory. A browser that has it for its proxy finds it as `http://go/` (`--host` for another name), and goes on to
//! the rest of the web through it; others find it under its address. MongoDB needs `--features mongodb`.
//!
//! What the parts are for: weir's own listener answers with pages ([`Pages`]); a session remembers which links a browser has made,
//! and has the token that a form needs; the links are values in the guard's store; a line of the guard file
//! slows clients down that make too many of them.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use weir::callback::Answer;
use weir::pages::{Ask, PageReply, PageRequest, Pages, TOKEN_FIELD, Told};
use weir::{Configuration, Proxy};

/// Making links is for people: 50 a minute, and a client that goes on is blocked for 15 minutes the third time, and for ever
/// after the tenth in a day.
const LIMIT: &str =
    "escalate 50/1m block 15m after 3 forever after 10 in 24h per client path /links methods POST host";

/// It listens here.
const ADDRESS: &str = "127.0.0.1";

/// Longest name of a link, in bytes (chosen: what can be said over a desk).
const NAME_BYTES_MAX: usize = 64;

/// Longest target, in bytes (chosen: what browsers have in common).
const TARGET_BYTES_MAX: usize = 2000;

/// So many links of its own a page shows, the last ones (chosen).
const SHOWN_MAX: usize = 20;

const USAGE: &str =
    "shortener [--port N] [--host NAME] [--store memory|memory:FILE|redis://...|mongodb://...]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(words.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shortener: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is killed.
pub fn run(words: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words)?;
    // By its name, and by the address that it listens on. Forms of other sites are not counted.
    let mut guard = format!("{LIMIT} {}\n{LIMIT} {ADDRESS}\n", options.host);
    let mut values_file = None;
    match options.store.split_once(':') {
        None if options.store == "memory" => {}
        Some(("memory", file)) if !file.is_empty() => values_file = Some(file.to_owned()),
        // A page may wait longer than a request that is only counted.
        _ => guard.push_str(&format!("store {} deadline 2s\n", options.store)),
    }
    let configuration = Configuration::new()
        .text(&format!("host {ADDRESS}\nport {}\nguard guard.conf\n", options.port))
        .file("guard.conf", guard);
    let host = options.host.clone();
    let pages = Pages::new(move |request| page(request, &host)).host(&options.host);
    let mut builder = Proxy::builder().configuration(configuration).pages(pages);
    if let Some(file) = values_file {
        builder = builder.values_file(file);
    }
    let mut proxy = builder.build()?;
    for address in proxy.control().addresses() {
        let text = format!("http://{address}/\ncurl -x http://{address} http://{}/\n", options.host);
        // Who has read the address need not read on.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    Ok(proxy.run()?)
}

struct Options {
    port: u16,
    host: String,
    store: String,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { port: 0, host: "go".to_owned(), store: "memory".to_owned() };
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, words.next()),
            };
            let value = value.ok_or_else(|| format!("{name}: expected a value"))?;
            match name.as_str() {
                "--port" => options.port = value.parse().map_err(|_| format!("no port: {value}"))?,
                "--host" => options.host = value,
                "--store" => options.store = value,
                _ => return Err(format!("expected {USAGE}, found {name}")),
            }
        }
        Ok(options)
    }
}

/// Answers every request.
fn page(request: &mut PageRequest<'_>, host: &str) -> PageReply {
    let reads = matches!(request.method, "GET" | "HEAD");
    match (request.path, request.method) {
        ("/", _) if reads => front_page(request, host, &Form::default()),
        ("/links", "POST") => make(request, host),
        ("/" | "/links", _) => refuse(405, "This is not done here."),
        (path, _) if reads => follow(request.told, path),
        _ => refuse(405, "Links are followed with GET."),
    }
}

/// Leads to where a link leads: `/NAME`, or `/go/NAME` for those who are not asked as the host `go`.
fn follow(told: Option<&Told>, path: &str) -> PageReply {
    let name = path.strip_prefix("/go/").or(path.strip_prefix('/')).unwrap_or_default();
    if !is_name(name) {
        return refuse(404, "There is no such link.");
    }
    match told {
        None => PageReply::Ask(Ask::Get { name: key(name) }),
        Some(Told::Text(target)) => answer(302, vec![field("Location", target)], "Go on."),
        Some(Told::Nothing) => refuse(404, "There is no such link."),
        Some(_) => unavailable(),
    }
}

/// Makes a link. weir has seen to it that the form is one of this session.
fn make(request: &mut PageRequest<'_>, host: &str) -> PageReply {
    let text = |name: &str| request.form(name).unwrap_or_default().trim().to_owned();
    let (name, target) = (text("name"), text("target"));
    // What was typed is on the page that says what is wrong with it.
    let refused = |request: &mut PageRequest<'_>, status: u16, why: String| {
        front_page(request, host, &Form { status, why, name: name.clone(), target: target.clone() })
    };
    let wrong = match () {
        () if !is_name(&name) => Some(format!("\"{name}\" cannot be a name: letters, digits, - and _ can.")),
        () if !is_target(&target) => {
            Some(format!("\"{target}\" is no address that begins with http:// or https://."))
        }
        () => None,
    };
    if let Some(wrong) = wrong {
        return refused(request, 400, wrong);
    }
    match request.told {
        None => PageReply::Ask(Ask::Add { name: key(&name), text: target }),
        Some(Told::Done) => {
            remember(request, &name);
            made_page()
        }
        // Perhaps the same form once more, after the button of the browser that goes back.
        Some(Told::Taken) => PageReply::Ask(Ask::Get { name: key(&name) }),
        Some(Told::Text(known)) if *known == target && made(request).contains(&name) => made_page(),
        Some(Told::Text(_) | Told::Nothing) => {
            let why = format!("There is a link \"{name}\" already.");
            refused(request, 409, why)
        }
        Some(_) => unavailable(),
    }
}

/// The next page comes with GET, so that loading it again makes nothing.
fn made_page() -> PageReply {
    answer(303, vec![field("Location", "/")], "It is made.")
}

/// The names of the links that a session has made, the last one first.
fn made(request: &PageRequest<'_>) -> Vec<String> {
    let names = request.session.get("made").unwrap_or_default();
    names.split_whitespace().map(str::to_owned).collect()
}

fn remember(request: &mut PageRequest<'_>, name: &str) {
    let mut names = made(request);
    names.insert(0, name.to_owned());
    names.truncate(SHOWN_MAX);
    request.session.set("made", &names.join(" "));
}

/// What is in the form, and what was wrong with it.
struct Form {
    status: u16,
    why: String,
    name: String,
    target: String,
}

impl Default for Form {
    fn default() -> Form {
        Form { status: 200, why: String::new(), name: String::new(), target: String::new() }
    }
}

fn front_page(request: &mut PageRequest<'_>, host: &str, form: &Form) -> PageReply {
    let why = if form.why.is_empty() { String::new() } else { format!("<p>{}</p>\n", escaped(&form.why)) };
    let rows: String = made(request)
        .iter()
        .map(|name| format!("<li><a href=\"/{0}\">{1}/{0}</a></li>\n", escaped(name), escaped(host)))
        .collect();
    let body = format!(
        "{why}<form method=\"post\" action=\"/links\">\n\
         <input type=\"hidden\" name=\"{TOKEN_FIELD}\" value=\"{}\">\n\
         <label>{}/<input name=\"name\" required maxlength=\"{NAME_BYTES_MAX}\" value=\"{}\"></label>\n\
         <label>leads to <input name=\"target\" type=\"url\" required value=\"{}\"></label>\n\
         <button>Make it</button>\n</form>\n<ul>\n{rows}</ul>",
        escaped(&request.session.token()),
        escaped(host),
        escaped(&form.name),
        escaped(&form.target),
    );
    html(form.status, Vec::new(), &body)
}

/// Whether a text may be the name of a link.
fn is_name(text: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_names) && text != "links"
}

/// Whether a link may lead there: to the web, and not to `javascript:`, `data:` or a file.
fn is_target(text: &str) -> bool {
    let scheme = text.split("://").next().unwrap_or_default();
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let rest = text.get(scheme.len() + 3..).unwrap_or_default();
    let has_host = rest.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[');
    is_web && has_host && text.len() <= TARGET_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The name that a link has in the store.
fn key(name: &str) -> String {
    format!("link:{name}")
}

fn unavailable() -> PageReply {
    let fields = vec![field("Retry-After", "1")];
    answer(503, fields, "The links are not at hand. Try again in a moment.")
}

fn refuse(status: u16, why: &str) -> PageReply {
    answer(status, Vec::new(), why)
}

/// A page with one sentence.
fn answer(status: u16, fields: Vec<(String, String)>, sentence: &str) -> PageReply {
    html(status, fields, &format!("<p>{}</p>\n<p><a href=\"/\">All links</a></p>", escaped(sentence)))
}

fn html(status: u16, mut fields: Vec<(String, String)>, body: &str) -> PageReply {
    fields.push(field("Content-Type", "text/html; charset=utf-8"));
    // No scripts, no frames, and forms go nowhere else.
    let policy = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    fields.push(field("Content-Security-Policy", policy));
    let body = format!("<!DOCTYPE html>\n<html lang=\"en\">\n<title>Links</title>\n{body}\n</html>\n");
    PageReply::Answer(Answer { status, fields, body: body.into_bytes() })
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A text as HTML has it, between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
