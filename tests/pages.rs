//! Pages of a program, answered by the proxy inside it: sessions, tokens, values, and what strangers send there.

mod common;

use common::{Origin, Raw, Response, Scratch};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use weir::callback::Answer;
use weir::pages::{Ask, PageReply, PageRequest, Pages, TOKEN_FIELD, Told};
use weir::{Builder, Configuration, Control, Proxy};

/// A proxy that serves on a thread of its own.
struct Served {
    at: SocketAddr,
    control: Control,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(builder: Builder) -> Served {
        Served::of(builder.build().expect("a proxy"))
    }

    fn of(mut proxy: Proxy) -> Served {
        let control = proxy.control().clone();
        let thread = thread::spawn(move || proxy.run().expect("it serves"));
        Served { at: control.addresses()[0], control, thread: Some(thread) }
    }

    fn connect(&self) -> Raw {
        Raw::connect(self.at)
    }

    /// Asks on a connection of its own, with these lines in the head.
    fn get(&self, path: &str, lines: &str) -> Response {
        self.connect().ask(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", self.at))
    }

    fn post(&self, path: &str, lines: &str, form: &str) -> Response {
        self.connect().ask(self.form(path, lines, form))
    }

    fn form(&self, path: &str, lines: &str, form: &str) -> String {
        let media_type = "application/x-www-form-urlencoded";
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{lines}Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{form}",
            self.at,
            form.len()
        )
    }

    /// A new session: the line with its cookie, and its token.
    fn session(&self) -> (String, String) {
        let response = self.get("/", "");
        let token = response.text().split(' ').next_back().expect("a token").to_owned();
        (cookie(&response), token)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the proxy has panicked");
        }
    }
}

/// The line Cookie that follows from a response.
#[track_caller]
fn cookie(response: &Response) -> String {
    let line = response.head.get("set-cookie").expect("a cookie");
    format!("Cookie: {}\r\n", line.split(';').next().expect("a pair"))
}

fn text(text: impl Into<String>) -> PageReply {
    let fields = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    PageReply::Answer(Answer { status: 200, fields, body: text.into().into_bytes() })
}

fn page(request: &mut PageRequest<'_>) -> PageReply {
    match request.path {
        "/" => {
            let visits = request.session.get("visits").map_or(0, |visits| visits.parse().unwrap_or(0)) + 1;
            request.session.set("visits", &visits.to_string());
            text(format!("visit {visits} {}", request.session.token()))
        }
        "/plain" => text(format!("{} {}", request.method, request.host)),
        "/echo" => text(request.form("text").unwrap_or_else(|| "no text".to_owned())),
        "/length" => text(request.body.len().to_string()),
        "/renew" => {
            request.session.renew();
            text(request.session.token())
        }
        "/clear" => {
            request.session.clear();
            text("")
        }
        "/value" => match request.told {
            None => {
                let name = request.parameter("name").unwrap_or_default();
                PageReply::Ask(match (request.parameter("add"), request.parameter("put")) {
                    (Some(text), _) => Ask::Add { name, text },
                    (_, Some(text)) => Ask::Put { name, text },
                    _ if request.query.ends_with("&remove") => Ask::Remove { name },
                    _ => Ask::Get { name },
                })
            }
            Some(Told::Text(value)) => text(value),
            Some(told) => text(format!("{told:?}")),
        },
        "/again" => PageReply::Ask(Ask::Get { name: "x".to_owned() }),
        "/broken" => {
            let fields = vec![("X-Name".to_owned(), "a\r\nb: c".to_owned())];
            PageReply::Answer(Answer { status: 200, fields, body: Vec::new() })
        }
        "/panic" => panic!("as a handler may"),
        _ => PageReply::Answer(Answer { status: 404, ..Answer::default() }),
    }
}

fn configuration() -> Configuration {
    Configuration::new().text("host 127.0.0.1\nport 0\nallow 127.0.0.0/8\n")
}

fn serving(configuration: Configuration) -> Served {
    Served::start(Proxy::builder().configuration(configuration).pages(Pages::new(page).host("go")))
}

#[test]
fn guard_7_a_session_lasts_from_request_to_request() {
    let served = serving(configuration());
    let first = served.get("/", "");
    assert_eq!((first.status(), first.text().starts_with("visit 1 ")), (200, true), "{first:?}");
    let line = first.head.get("set-cookie").expect("a cookie");
    let id = line.strip_prefix("session_id=").and_then(|line| line.split(';').next()).expect("an id");
    assert_eq!(line, format!("session_id={id}; Path=/; SameSite=Lax; HttpOnly"));
    assert_eq!(id.len(), 36);
    assert_eq!(first.head.get("cache-control"), Some("no-store"));
    assert_eq!(first.head.get("x-content-type-options"), Some("nosniff"), "section 9 holds for pages");
    let second = served.get("/", &cookie(&first));
    assert!(second.text().starts_with("visit 2 "), "{second:?}");
    assert!(!second.head.has("set-cookie"), "the client knows it");
    assert_eq!(second.text()[8..], first.text()[8..], "the token stays");
    assert_ne!(served.get("/", "").text()[8..], first.text()[8..], "another client has another one");
    // What shows nothing of a session makes none.
    let plain = served.get("/plain", "");
    assert_eq!((plain.status(), plain.head.has("set-cookie")), (200, false));
}

#[test]
fn ours_7_an_identifier_that_the_store_does_not_know_is_not_taken() {
    let served = serving(configuration());
    for id in ["0b4e0e4a-6c52-4f7e-8a4c-3f1f6f1d2e3c", "../x", "a\"b", "x; session_id=y", ""] {
        let response = served.get("/", &format!("Cookie: session_id={id}\r\n"));
        assert!(response.text().starts_with("visit 1 "), "{id}: {response:?}");
        assert!(!cookie(&response).contains(&format!("={id}\r")), "{id}: {response:?}");
    }
}

#[test]
fn ours_7_an_unsafe_method_needs_the_token_of_its_session() {
    let served = serving(configuration());
    let (own, token) = served.session();
    let (foreign, foreign_token) = served.session();
    let at = served.at;
    for (lines, form, status) in [
        (own.clone(), format!("text=a+b%21&{TOKEN_FIELD}={token}"), 200),
        (format!("{own}X-CSRF-Token: {token}\r\n"), "text=a+b%21".to_owned(), 200),
        (format!("{own}Origin: http://{at}\r\n"), format!("text=a+b%21&{TOKEN_FIELD}={token}"), 200),
        (own.clone(), "text=a".to_owned(), 403),
        (own.clone(), format!("{TOKEN_FIELD}="), 403),
        (own.clone(), format!("{TOKEN_FIELD}={foreign_token}"), 403),
        (foreign, format!("{TOKEN_FIELD}={token}"), 403),
        (String::new(), format!("{TOKEN_FIELD}={token}"), 403),
        (String::new(), format!("{TOKEN_FIELD}="), 403),
        (own.clone(), format!("{TOKEN_FIELD}={token}&{TOKEN_FIELD}={token}"), 403),
        (format!("{own}Origin: http://evil.test\r\n"), format!("{TOKEN_FIELD}={token}"), 403),
        (format!("{own}Origin: null\r\n"), format!("{TOKEN_FIELD}={token}"), 403),
        (
            format!("{own}Origin: http://{at}\r\nOrigin: http://evil.test\r\n"),
            format!("{TOKEN_FIELD}={token}"),
            403,
        ),
        (format!("{own}Referer: http://evil.test/\r\n"), format!("{TOKEN_FIELD}={token}"), 403),
        (format!("{own}X-CSRF-Token: {}x\r\n", &token[1..]), String::new(), 403),
    ] {
        let response = served.post("/echo", &lines, &form);
        assert_eq!(response.status(), status, "{lines} {form}");
        assert_eq!(response.text() == "a b!", status == 200, "{lines} {form}: {response:?}");
    }
    // A body that is no form has its token in a field only.
    let json = format!("{{\"{TOKEN_FIELD}\":\"{token}\"}}");
    for (line, status) in [(String::new(), 403), (format!("X-CSRF-Token: {token}\r\n"), 200)] {
        let head =
            format!("PUT /length HTTP/1.1\r\nHost: {at}\r\n{own}{line}Content-Length: {}\r\n", json.len());
        assert_eq!(served.connect().ask(format!("{head}\r\n{json}")).status(), status, "{line}");
    }
}

#[test]
fn ours_7_a_renewed_session_has_another_identifier_and_another_token() {
    let served = serving(configuration());
    let (old, token) = served.session();
    let renewed = served.post("/renew", &old, &format!("{TOKEN_FIELD}={token}"));
    let new = cookie(&renewed);
    assert!(new != old && renewed.text() != token);
    assert!(served.get("/", &new).text().starts_with("visit 2 "), "it goes on");
    assert!(served.get("/", &old).text().starts_with("visit 1 "), "the old id is worth nothing");
    let again = format!("{TOKEN_FIELD}={token}");
    assert_eq!(served.post("/echo", &new, &again).status(), 403, "the old token is none of the new session");
    let form = format!("{TOKEN_FIELD}={}", renewed.text());
    assert_eq!(served.post("/clear", &new, &form).status(), 200);
    assert!(served.get("/", &new).text().starts_with("visit 1 "), "an empty session is deleted");
}

#[test]
fn values_are_made_once_and_outlive_the_process_in_a_file() {
    let folder = Scratch::new();
    let start = || {
        let builder = Proxy::builder().configuration(configuration()).pages(Pages::new(page));
        Served::start(builder.values_file(folder.join("values")))
    };
    let served = start();
    for (query, expected) in [
        ("name=a", "Nothing"),
        ("name=a&add=one", "Done"),
        ("name=a&add=two", "Taken"),
        ("name=a", "one"),
        ("name=a&put=thr%20ee", "Done"),
        ("name=a", "thr ee"),
        ("name=b:c.d_e-f&add=x", "Done"),
        ("name=a&remove", "Done"),
        ("name=a", "Nothing"),
    ] {
        assert_eq!(served.get(&format!("/value?{query}"), "").text(), expected, "{query}");
    }
    for name in ["", "..%2f", "a%20b", "a%0d%0ab", "%c3%a9", "a*", &"a".repeat(129)] {
        let response = served.get(&format!("/value?name={name}"), "");
        assert_eq!(response.status(), 500, "a handler that passes {name} on is at fault: {response:?}");
    }
    // Another process cannot have the same file.
    let second = Proxy::builder().configuration(configuration()).pages(Pages::new(page));
    assert!(second.values_file(folder.join("values")).build().is_err());
    drop(served);
    // The end of a proxy waits for the thread that has the file.
    for turn in 0..50 {
        let builder = Proxy::builder().configuration(configuration()).pages(Pages::new(page));
        let proxy = builder.values_file(folder.join("values")).build();
        drop(proxy.unwrap_or_else(|error| panic!("{turn}: {error}")));
    }
    let served = start();
    assert_eq!(served.get("/value?name=b:c.d_e-f", "").text(), "x");
    assert_eq!(served.get("/value?name=a", "").text(), "Nothing");
}

#[test]
fn bodies_come_whole_or_not_at_all() {
    let served = serving(configuration());
    let (own, token) = served.session();
    let form = |bytes: usize| {
        let begin = format!("{TOKEN_FIELD}={token}&text=");
        format!("{begin}{}", "x".repeat(bytes - begin.len()))
    };
    let most = 64 * 1024;
    assert_eq!(served.post("/length", &own, &form(most)).text(), most.to_string());
    let response = served.post("/length", &own, &form(most + 1));
    assert_eq!(response.status(), 413, "{response:?}");
    // In chunks, a byte at a time, and behind a 100.
    let chunked = |form: &str| {
        let chunks: String = form
            .as_bytes()
            .chunks(7)
            .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
            .collect();
        let lines = "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n";
        format!("POST /echo HTTP/1.1\r\nHost: {}\r\n{own}{lines}\r\n{chunks}0\r\n\r\n", served.at)
    };
    let mut client = served.connect();
    client.send_slowly(chunked(&form(120)), 1);
    assert_eq!(client.read_response().text().len(), 120 - TOKEN_FIELD.len() - token.len() - "=&text=".len());
    let mut client = served.connect();
    let whole = served.form("/length", &format!("{own}Expect: 100-continue\r\n"), &form(100));
    let (head, body) = whole.split_at(whole.find("\r\n\r\n").expect("an end") + 4);
    client.send(head);
    assert_eq!(client.read_head().status(), 100);
    client.send(body);
    assert_eq!(client.read_response().text(), "100");
    // Forms behind each other on one connection: each has its answer, in their order.
    let forms: String = (100..120).map(|bytes| served.form("/length", &own, &form(bytes))).collect();
    client.send(forms);
    for bytes in 100..120 {
        assert_eq!(client.read_response().text(), bytes.to_string());
    }
    // A client that goes in the middle of its form leaves nothing behind, and gets no response.
    let cut = served.form("/echo", &own, &form(100));
    served.connect().send(&cut[..cut.len() - 1]);
    let broken = format!(
        "POST /echo HTTP/1.1\r\nHost: {}\r\n{own}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        served.at
    );
    assert_eq!(served.connect().ask(broken).status(), 400);
}

#[test]
fn a_handler_at_fault_costs_its_own_request_only() {
    let served = serving(configuration());
    let mut client = served.connect();
    for (path, status) in
        [("/panic", 500), ("/again", 500), ("/broken", 500), ("/none", 404), ("/plain", 200)]
    {
        let response = client.ask(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", served.at));
        assert_eq!(response.status(), status, "{path}");
        assert!(!response.text().contains("b: c") && !response.head.has("b"), "{response:?}");
    }
    client.send(format!("HEAD /plain HTTP/1.1\r\nHost: {}\r\n\r\n", served.at));
    let head = client.read_response_to("HEAD").head;
    assert_eq!((head.status(), head.get("content-length")), (200, Some("14")), "HEAD 127.0.0.1");
}

#[test]
fn pages_are_at_their_own_hosts_and_the_rest_is_proxied() {
    let origin = Origin::ok();
    let users = configuration().set("auth-file", "users").file("users", "ann:secret\n");
    let served = serving(users);
    let ask = |request: String| served.connect().ask(request);
    let at = served.at;
    assert_eq!(ask("GET http://go/plain HTTP/1.1\r\nHost: go\r\n\r\n".to_owned()).text(), "GET go");
    assert_eq!(ask("GET http://GO.:81/plain HTTP/1.1\r\nHost: GO.:81\r\n\r\n".to_owned()).text(), "GET go");
    assert_eq!(ask("GET /plain HTTP/1.1\r\nHost: go\r\n\r\n".to_owned()).text(), "GET go");
    assert_eq!(ask(format!("GET http://{at}/plain HTTP/1.1\r\nHost: {at}\r\n\r\n")).status(), 200);
    assert_eq!(
        ask("GET /plain HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned()).status(),
        407,
        "no host of theirs"
    );
    assert_eq!(
        ask("CONNECT go:80 HTTP/1.1\r\nHost: go:80\r\n\r\n".to_owned()).status(),
        407,
        "no tunnel to a page"
    );
    let get = String::from_utf8(origin.get("/")).expect("text");
    assert_eq!(ask(get.clone()).status(), 407, "users are those of the proxy");
    let get = get.replacen("\r\n", "\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n", 1);
    assert_eq!(ask(get).status(), 200);
}

#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn the_guard_holds_for_pages() {
    let guard = "limit 3/1h per client path /plain\n";
    let served = serving(configuration().set("guard", "guard").file("guard", guard));
    let statuses: Vec<u16> = (0..4).map(|_| served.get("/plain", "").status()).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(served.get("/", "").status(), 200);
    served.control.ban("192.0.2.0/24", None, "").expect("a ban");
    let trusting = "trust 127.0.0.1\nban 192.0.2.1\n";
    let served = serving(configuration().set("guard", "guard").file("guard", trusting));
    assert_eq!(served.get("/plain", "X-Forwarded-For: 192.0.2.1\r\n").status(), 403);
    let secure = served.get("/", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n");
    assert!(secure.head.get("set-cookie").expect("a cookie").ends_with("; HttpOnly; Secure"), "{secure:?}");
    assert!(secure.head.has("strict-transport-security"));
}

#[cfg(feature = "detection")]
#[test]
fn what_looks_like_an_attack_does_not_reach_a_handler() {
    let served = serving(configuration().set("guard", "guard").file("guard", "detect block\n"));
    let (own, token) = served.session();
    for (text, status) in
        [("a+note", 200), ("1%27+OR+%271%27%3D%271%27+--+", 400), ("%3Cscript%3Ealert(1)%3C/script%3E", 400)]
    {
        let response = served.post("/echo", &own, &format!("{TOKEN_FIELD}={token}&text={text}"));
        assert_eq!(response.status(), status, "{text}: {response:?}");
    }
    assert_eq!(served.get("/plain?q=1%27+OR+%271%27%3D%271%27+--+", "").status(), 400);
}

#[cfg(feature = "redis")]
#[test]
fn ours_7_a_store_that_fails_is_503_and_not_403() {
    let guard = format!("store redis://127.0.0.1:{}\n", common::origin::refusing_port());
    let served = serving(configuration().set("guard", "guard").file("guard", guard));
    for _ in 0..8 {
        let response = served.get("/", "");
        assert_eq!((response.status(), response.head.get("retry-after")), (503, Some("1")), "{response:?}");
        let id = "Cookie: session_id=0b4e0e4a-6c52-4f7e-8a4c-3f1f6f1d2e3c\r\n";
        let response = served.post("/echo", id, &format!("{TOKEN_FIELD}=x"));
        assert_eq!(response.status(), 503, "{response:?}");
    }
    assert_eq!(served.get("/plain", "").status(), 200, "what needs no store is answered");
    assert_eq!(served.get("/value?name=a", "").text(), "Failed");
}
