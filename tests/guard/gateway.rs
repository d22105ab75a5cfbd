//! What the guard does for gateways: security headers, CORS, reports of browsers, tokens against forged requests.

use crate::common::{Conn, Origin, Raw, Response, Scratch, Weir};

/// A gateway before one server.
struct Gate {
    weir: Weir,
    origin: Origin,
    _scratch: Scratch,
}

impl Gate {
    #[track_caller]
    fn start(lines: &str) -> Gate {
        Gate::before(Origin::ok(), lines)
    }

    #[track_caller]
    fn before(origin: Origin, lines: &str) -> Gate {
        Gate::with_options(origin, lines, &[])
    }

    #[track_caller]
    fn with_options(origin: Origin, lines: &str, options: &[&str]) -> Gate {
        let scratch = Scratch::new();
        let routes = scratch.file("gateway.conf", format!("*/ -> {}\n", origin.address()));
        let guard = scratch.file("guard.conf", format!("trust 127.0.0.0/8\n{lines}"));
        let weir = Weir::start(&[&["--gateway", &routes, "--guard", &guard][..], options].concat());
        Gate { weir, origin, _scratch: scratch }
    }

    /// The answer to a request with these fields, each with its line end, and a body.
    #[track_caller]
    fn ask(&self, line: &str, fields: &str, body: &str) -> Response {
        let mut raw = self.weir.connect();
        self.ask_over(&mut raw, line, fields, body)
    }

    #[track_caller]
    fn ask_over(&self, raw: &mut Raw, line: &str, fields: &str, body: &str) -> Response {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        raw.send(format!("{line} HTTP/1.1\r\nHost: app.example\r\n{fields}{length}\r\n{body}"));
        raw.read_response_to(line.split(' ').next().unwrap_or_default())
    }
}

/// The head of an answer, as text.
fn head(answer: &Response) -> String {
    String::from_utf8_lossy(&answer.head.raw).into_owned()
}

/// The default set of section 9, by which refusals of a gateway are known.
const SET: [&str; 3] =
    ["X-Frame-Options: SAMEORIGIN", "Referrer-Policy:", "Cross-Origin-Opener-Policy: same-origin"];

#[test]
fn guard_9_every_refusal_of_a_gateway_carries_the_security_headers() {
    let gate = Gate::start("limit 1/10m per client path /limited");
    assert_eq!(gate.ask("GET /limited", "", "").status(), 200);
    let limited = gate.ask("GET /limited", "", "");
    assert_eq!(limited.status(), 429);
    let mut raw = gate.weir.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    let malformed = raw.read_response();
    assert_eq!(malformed.status(), 400);
    let mut raw = gate.weir.connect();
    raw.send("GET / HTTP/1.1\r\nno colon\r\n\r\n");
    let broken = raw.read_response();
    for answer in [limited, malformed, broken] {
        for field in SET {
            assert_eq!(head(&answer).matches(field).count(), 1, "{field}: {}", head(&answer));
        }
        assert_eq!(head(&answer).matches("nosniff").count(), 1, "{}", head(&answer));
        assert!(!head(&answer).contains("Strict-Transport-Security"), "{}", head(&answer));
    }
    // What the server says is its own without `headers on`.
    assert!(!head(&gate.ask("GET /", "", "")).contains("X-Frame-Options"));
}

#[test]
fn ours_9_a_servers_own_fields_survive() {
    let server = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Security-Policy: default-src *\r\nX-Frame-Options: DENY\r\n\r\nok";
    let gate = Gate::before(Origin::answering(server), "headers on\ncsp default-src 'none'\nheader X-Mine 1");
    let found = head(&gate.ask("GET /", "X-Forwarded-Proto: https\r\n", ""));
    for (field, times) in [
        ("Content-Security-Policy: default-src *", 1),
        ("default-src 'none'", 0),
        ("X-Frame-Options: DENY", 1),
        ("SAMEORIGIN", 0),
        ("X-Mine: 1", 1),
        ("X-Content-Type-Options: nosniff", 1),
        ("Strict-Transport-Security: max-age=31536000; includeSubDomains", 1),
    ] {
        assert_eq!(found.matches(field).count(), times, "{field}: {found}");
    }
    assert!(!head(&gate.ask("GET /", "", "")).contains("Strict-Transport-Security"), "no TLS");
}

/// A client puts the fields of a 304 in the place of those that it has (RFC 9111 section 4.3.4): weir's must not replace the server's.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn ours_9_a_servers_own_fields_survive_a_304() {
    let origin = || {
        Origin::serve(|conn: &mut Conn| {
            while let Some(request) = conn.request()? {
                conn.send(match request.head.get("if-none-match") {
                    Some(_) => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                    None => {
                        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\
                         Content-Security-Policy: default-src *\r\nAccess-Control-Allow-Origin: https://b.example\r\n\r\nok"
                    }
                })?;
            }
            Ok(())
        })
    };
    let lines =
        "headers on\ncsp default-src 'none'\nheader X-Mine 1 overwrite\ncors origins https://a.example";
    let fields = "Origin: https://a.example\r\nIf-None-Match: \"a\"\r\n";
    let is_none_of_weirs = |found: &str| !found.contains("Content-Security") && !found.contains("Allow-");
    let forwarded = head(&Gate::before(origin(), lines).ask("GET /", fields, ""));
    assert!(forwarded.starts_with("HTTP/1.1 304 ") && is_none_of_weirs(&forwarded), "{forwarded}");
    assert!(!forwarded.contains("X-Frame-Options"), "{forwarded}");
    for field in ["X-Mine: 1\r\n", "Vary: Origin\r\n"] {
        assert_eq!(forwarded.matches(field).count(), 1, "{field}: {forwarded}");
    }
    // What is stored tells which fields the server has sent.
    let gate = Gate::with_options(origin(), lines, &["--cache"]);
    assert_eq!(gate.ask("GET /", "", "").status(), 200);
    let hit = head(&gate.ask("GET /", fields, ""));
    assert!(hit.starts_with("HTTP/1.1 304 ") && hit.contains("; hit") && is_none_of_weirs(&hit), "{hit}");
    assert!(!hit.contains("Vary"), "{hit}");
    for field in ["X-Mine: 1\r\n", "X-Frame-Options: SAMEORIGIN\r\n"] {
        assert_eq!(hit.matches(field).count(), 1, "{field}: {hit}");
    }
}

/// A field that Connection names belongs to the connection of the server, and does not reach the client.
#[test]
fn ours_9_fields_that_end_at_weir_are_not_the_servers_own() {
    let server = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Frame-Options, Access-Control-Allow-Origin\r\n\
        X-Frame-Options: DENY\r\nAccess-Control-Allow-Origin: *\r\n\r\nok";
    let gate = Gate::before(Origin::answering(server), "headers on\ncors origins https://a.example");
    let found = head(&gate.ask("GET /", "Origin: https://a.example\r\n", ""));
    for field in ["X-Frame-Options: SAMEORIGIN\r\n", "Access-Control-Allow-Origin: https://a.example\r\n"] {
        assert_eq!(found.matches(field).count(), 1, "{field}: {found}");
    }
    assert!(!found.contains("DENY") && !found.contains("Origin: *"), "{found}");
}

#[test]
fn guard_9_preflights_and_answers_to_other_origins() {
    let gate = Gate::start("cors origins https://a.example credentials");
    let preflight = |origin: &str, method: &str| {
        let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n");
        gate.ask("OPTIONS /x", &fields, "")
    };
    let allowed = preflight("https://a.example", "PUT");
    assert_eq!((allowed.status(), &*allowed.text()), (200, "OK"));
    assert_eq!(head(&allowed).matches("Access-Control-Allow-Origin: https://a.example").count(), 1);
    assert_eq!(head(&allowed).matches("Vary: Origin").count(), 1, "{}", head(&allowed));
    let denied = preflight("https://b.example", "TRACE");
    assert_eq!((denied.status(), &*denied.text()), (400, "Disallowed CORS: origin, method"));
    assert_eq!(gate.origin.heads().len(), 0, "a preflight goes no further");
    let answer = gate.ask("GET /", "Origin: https://a.example\r\n", "");
    assert!(
        head(&answer).contains("Access-Control-Allow-Origin: https://a.example\r\n"),
        "{}",
        head(&answer)
    );
    let other = gate.ask("GET /", "Origin: https://b.example\r\n", "");
    assert!(
        head(&other).contains("Vary: Origin") && !head(&other).contains("Allow-Origin"),
        "{}",
        head(&other)
    );
}

#[test]
fn guard_9_reports_of_browsers() {
    let gate = Gate::start("csp-report /csp-report");
    let report = r#"{"csp-report":{"document-uri":"https://a.example/?token=1","violated-directive":"img-src","blocked-uri":"https://b.example"}}"#;
    let of_type = "Content-Type: application/csp-report\r\n";
    let mut raw = gate.weir.connect();
    let long = "x".repeat(70_000);
    for (line, fields, body, status) in [
        ("POST /csp-report", of_type, report, 204),
        ("POST /csp-report?x", of_type, "{}", 400),
        ("POST /csp-report", "Content-Type: text/plain\r\n", report, 415),
        ("GET /csp-report", "", "", 405),
        ("POST /other", of_type, report, 200),
    ] {
        assert_eq!(gate.ask_over(&mut raw, line, fields, body).status(), status, "{line}");
    }
    assert_eq!(gate.ask("POST /csp-report", of_type, &long).status(), 413);
    // In pieces, chunked, and with a client that waits to be asked for it.
    let mut raw = gate.weir.connect();
    raw.send(format!("POST /csp-report HTTP/1.1\r\nHost: app.example\r\n{of_type}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert_eq!(raw.read_head().status(), 100);
    let (first, second) = report.split_at(20);
    raw.send(format!("{:x}\r\n{first}\r\n", first.len()));
    raw.send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()));
    assert_eq!(raw.read_response().status(), 204);
}

/// Answers of weir itself to a page of another origin, and to a client that is counted.
#[test]
fn guard_9_answers_of_weir_are_for_other_origins_too_and_tell_the_quota() {
    let gate = Gate::start(
        "rate-limit-fields\nlimit 90/10m per client\ncsp-report /csp-report\ncors origins https://a.example",
    );
    let (of_type, origin) = ("Content-Type: application/csp-report\r\n", "Origin: https://a.example\r\n");
    let preflight = "Access-Control-Request-Method: POST\r\n";
    for (line, fields, status, allows) in [
        ("POST /csp-report", [of_type, origin, ""], 400, true),
        ("POST /csp-report", [of_type, "", ""], 400, false),
        ("POST /csp-report", ["", origin, ""], 415, true),
        ("GET /csp-report", [origin, "", ""], 405, true),
        ("OPTIONS /csp-report", [origin, preflight, ""], 200, true),
        ("OPTIONS *", [origin, "", ""], 200, true),
        ("TRACE /", ["Max-Forwards: 0\r\n", origin, ""], 200, true),
    ] {
        let answer = gate.ask(line, &fields.concat(), if line.starts_with("POST") { "{}" } else { "" });
        let head = head(&answer);
        assert_eq!(answer.status(), status, "{line}: {head}");
        let count = |text: &str| head.matches(text).count();
        let (allowed, varies) =
            (count("Access-Control-Allow-Origin: https://a.example\r\n"), count("Vary: Origin"));
        assert_eq!((allowed, varies), (usize::from(allows), 1), "{line}: {head}");
        assert_eq!((count("\r\nRateLimit: "), count("\r\nRateLimit-Policy: ")), (1, 1), "{line}: {head}");
    }
}

/// A request for weir itself is counted as any other, and a gateway has no tunnels.
#[test]
fn ours_5_a_request_for_the_gateway_itself_is_counted() {
    let gate = Gate::start("limit 1/10m per client+host methods OPTIONS");
    let answer = gate.ask("OPTIONS *", "", "");
    assert_eq!(answer.status(), 200);
    assert!(head(&answer).contains("Allow: GET,") && !head(&answer).contains("CONNECT"), "{}", head(&answer));
    assert_eq!(gate.ask("OPTIONS *", "", "").status(), 429);
    assert_eq!(gate.ask("GET /", "", "").status(), 200);
}

/// The client is refused before the authority of its request counts, and its request is recorded as others are.
#[test]
fn guard_12_the_request_of_a_banned_client_has_its_url() {
    let gate = Gate::start("ban 203.0.113.9");
    assert_eq!(gate.ask("GET /x", "X-Forwarded-For: 203.0.113.9\r\n", "").status(), 403);
    gate.weir.wait_for_log(|line| line.contains(" 403 GET http://app.example/x "));
}

/// Forms that are read before they are judged, of more clients than memory is for at once.
#[test]
fn ours_7_large_forms_wait_for_each_other_and_all_are_judged() {
    let gate = Gate::with_options(Origin::ok(), "csrf protect path /forms/", &["--buffers", "96"]);
    let page = gate.ask("GET /forms/new", "", "");
    let line =
        head(&page).lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=").map(str::to_owned));
    let token = line.expect("a token").split(';').next().unwrap_or_default().to_owned();
    let parts = [format!("a={}", "x".repeat(14_000)), format!("{}&csrf_token={token}", "x".repeat(30_000))];
    let length = parts.concat().len();
    let head = format!(
        "POST /forms/new HTTP/1.1\r\nHost: app.example\r\nCookie: csrf_token={token}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut clients: Vec<Raw> = (0..24).map(|_| gate.weir.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(format!("{head}{}", parts[0])));
    std::thread::sleep(std::time::Duration::from_millis(100));
    clients.iter_mut().for_each(|client| client.send(&parts[1]));
    let statuses: Vec<u16> = clients.iter_mut().map(|client| client.read_response().status()).collect();
    assert_eq!(statuses, [200; 24]);
    assert!(gate.weir.statistics().get("limit_blocks") > 0, "all had room at once");
}

#[test]
fn ours_7_forms_need_a_token_of_the_session() {
    let gate = Gate::start("csrf protect path /forms/");
    let page = gate.ask("GET /forms/new", "Cookie: session_id=s1\r\n", "");
    let page = head(&page);
    let line = page.lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=")).expect("a token");
    assert!(line.ends_with("; Path=/; SameSite=Strict"), "{line}");
    let token = line.split(';').next().unwrap_or_default().to_owned();
    let cookies = format!("Cookie: session_id=s1; csrf_token={token}\r\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let other = format!("Cookie: session_id=s2; csrf_token={token}\r\n");
    let field = format!("X-CSRF-Token: {token}\r\n");
    let body = format!("a=1&csrf_token={token}");
    let own = "Origin: http://app.example\r\n";
    let foreign = "Origin: http://evil.example\r\n";
    let json = "Content-Type: application/json\r\n";
    for (fields, body, status) in [
        (vec![own, &cookies, form], &*body, 200),
        (vec![&cookies, form], &body, 200),
        (vec![own, &cookies, &field, json], "{}", 200),
        (vec![own, &cookies, form], "a=1", 403),
        (vec![own, &cookies, json], "{}", 403),
        (vec![own, form], &body, 403),
        (vec![own, &other, form], &body, 403),
        (vec![foreign, &cookies, form], &body, 403),
        (vec![foreign, &cookies, &field], "", 403),
    ] {
        let answer = gate.ask("POST /forms/new", &fields.concat(), body);
        assert_eq!(answer.status(), status, "{fields:?} {body}");
    }
    assert_eq!(gate.ask("POST /other", form, "a=1").status(), 200, "not protected");
    let known = gate.ask("GET /forms/new", &cookies, "");
    assert!(!head(&known).contains("csrf_token"), "a valid token stays: {}", head(&known));
    // A site that can plant cookies must not turn the session off: a token without a session does not go with two of them.
    let page = gate.ask("GET /forms/new", "", "");
    let line =
        head(&page).lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=").map(str::to_owned));
    let token = line.expect("a token").split(';').next().unwrap_or_default().to_owned();
    for (session, status) in [("", 200), ("session_id=s1; ", 403), ("session_id=s1; session_id=x; ", 403)] {
        let fields = format!("Cookie: {session}csrf_token={token}\r\nX-CSRF-Token: {token}\r\n");
        assert_eq!(gate.ask("POST /forms/again", &fields, "").status(), status, "{session}");
    }
    // Servers that match prefixes before they resolve dot segments read these as paths below /forms. The gateway itself refuses
    // `..` beside escapes.
    for (path, status) in [("/forms/../x", 403), ("/forms/..%2fx", 400), ("/forms/%252e%252e/x", 400)] {
        assert_eq!(gate.ask(&format!("POST {path}"), form, "a=1").status(), status, "{path}");
    }
    gate.weir.wait_for_log(|line| line.contains("csrf:guard:2"));
    let heads = gate.origin.heads();
    let last = heads.iter().filter(|head| head.start.starts_with("POST /forms/new")).count();
    assert_eq!(last, 3, "what was refused has not reached the server");
}

/// A client whose token has ended, because weir was started again, gets another one with the refusal.
#[test]
fn ours_7_a_refusal_brings_a_token_to_a_client_that_has_no_valid_one() {
    let gate = Gate::start("csrf protect path /forms/");
    let token_of = |answer: &Response| {
        let head = head(answer);
        let line = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token="))?;
        Some(line.split(';').next().unwrap_or_default().to_owned())
    };
    for cookie in ["", "Cookie: session_id=s1; csrf_token=AA\r\n"] {
        let refused = gate.ask("POST /forms/x", cookie, "a=1");
        assert_eq!(refused.status(), 403);
        let token = token_of(&refused).expect("a token");
        let session = if cookie.is_empty() { "" } else { "session_id=s1; " };
        let fields = format!("Cookie: {session}csrf_token={token}\r\nX-CSRF-Token: {token}\r\n");
        assert_eq!(gate.ask("POST /forms/x", &fields, "a=1").status(), 200);
        let foreign = format!("{fields}Origin: http://evil.example\r\n");
        let refused = gate.ask("POST /forms/x", &foreign, "a=1");
        assert_eq!((refused.status(), token_of(&refused)), (403, None), "a valid token stays");
    }
    assert_eq!(token_of(&gate.ask("POST /other", "", "a=1")), None);
}

/// Of a path with several readings all lines hold, so that a line that observes is no exception from the next one.
#[test]
fn ours_7_a_line_that_observes_excuses_no_other_reading() {
    let gate = Gate::start("csrf protect path /try/ observe\ncsrf protect path /admin/");
    let form = "Origin: http://evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    for (path, status) in [
        ("/try/x", 200),
        ("/admin/delete", 403),
        ("/try/..%2fadmin/delete", 400),
        ("/try/../admin/delete", 403),
    ] {
        assert_eq!(gate.ask(&format!("POST {path}"), form, "a=1").status(), status, "{path}");
    }
}

/// What a browser sends of a form with a file, and what a server in Java reads in other spellings of the path.
#[test]
fn ours_7_forms_with_files_and_paths_with_parameters() {
    let gate = Gate::start("csrf protect path /forms/");
    let page = head(&gate.ask("GET /forms/new", "Cookie: session_id=s1\r\n", ""));
    let line = page.lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=")).expect("a token");
    let token = line.split(';').next().unwrap_or_default();
    let fields = format!(
        "Cookie: session_id=s1; csrf_token={token}\r\nContent-Type: multipart/form-data; boundary=\"B x\"\r\n"
    );
    let part = |disposition: &str, value: &str| {
        format!("--B x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    };
    let own = part("name=\"csrf_token\"", token);
    let file = |bytes: usize| part("name=\"f\"; filename=\"a.bin\"", &"x".repeat(bytes));
    for (what, body, status) in [
        ("small", format!("{own}{}--B x--\r\n", file(10)), 200),
        ("large", format!("{own}{}--B x--\r\n", file(300_000)), 200),
        ("behind a large file", format!("{}{own}--B x--\r\n", file(300_000)), 403),
        ("none", format!("{}--B x--\r\n", file(10)), 403),
        ("twice", format!("{own}{own}--B x--\r\n"), 403),
        ("as a file", format!("{}--B x--\r\n", part("name=\"csrf_token\"; filename=\"t\"", token)), 403),
        ("of another", format!("{}--B x--\r\n", part("name=\"csrf_token\"", &token.to_uppercase())), 403),
    ] {
        let mut raw = gate.weir.connect();
        let length = body.len();
        raw.send(format!(
            "POST /forms/new HTTP/1.1\r\nHost: app.example\r\n{fields}Content-Length: {length}\r\n\r\n"
        ));
        // What is refused may be refused before all of it has come.
        raw.send_if_open(body);
        assert_eq!(raw.read_response().status(), status, "{what}");
    }
    for path in ["/forms;x/new", "/forms%3bx/new", "//forms/new", "/%66orms/new"] {
        assert_eq!(gate.ask(&format!("POST {path}"), "", "a=1").status(), 403, "{path}");
    }
    // Some servers take `..;` for a name.
    assert_eq!(gate.ask("POST /x/..;/forms/new", "", "a=1").status(), 400);
}

#[test]
fn ours_9_a_forward_proxy_adds_none_of_these_fields() {
    let scratch = Scratch::new();
    let guard =
        scratch.file("guard.conf", "headers on\ncors origins *\nlimit 1/10m per client path /limited\n");
    let (weir, origin) = (Weir::start(&["--guard", &guard]), Origin::ok());
    for (path, status) in [("/", 200), ("/limited", 200), ("/limited", 429)] {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nOrigin: https://a.example\r\n\r\n",
            origin.url(path),
            origin.address()
        );
        let answer = weir.connect().ask(request);
        assert_eq!(answer.status(), status, "{path}");
        for field in ["X-Frame-Options", "Access-Control", "Strict-Transport", "Cross-Origin"] {
            assert!(!head(&answer).contains(field), "{field}: {}", head(&answer));
        }
    }
}

#[test]
fn ours_9_reports_have_64_kib_and_two_media_types() {
    let gate = Gate::start("csp-report /csp-report");
    let report = r#"{"csp-report":{"document-uri":"a","violated-directive":"b","blocked-uri":"c"}}"#;
    let batch =
        r#"[{"type":"csp-violation","body":{"documentURL":"a","effectiveDirective":"b","blockedURL":"c"}}]"#;
    let padded = |bytes: usize| format!("{report}{}", " ".repeat(bytes - report.len()));
    for (media_type, body, status) in [
        ("application/csp-report", padded(65_536), 204),
        ("application/csp-report", padded(65_537), 413),
        ("Application/CSP-Report; charset=utf-8", report.to_owned(), 204),
        ("application/reports+json", batch.to_owned(), 204),
        ("application/reports+json", "[]".to_owned(), 400),
        ("application/csp-report", "[".repeat(30_000), 400),
        ("application/csp-report", "\u{0}\u{fffd}".to_owned(), 400),
        ("application/json", report.to_owned(), 415),
    ] {
        let answer = gate.ask("POST /csp-report", &format!("Content-Type: {media_type}\r\n"), &body);
        assert_eq!(answer.status(), status, "{media_type} {body:.40}");
    }
    let unsupported = gate.ask("POST /csp-report", "", report);
    assert!(
        head(&unsupported).starts_with("HTTP/1.1 415 Unsupported Media Type\r\n"),
        "{}",
        head(&unsupported)
    );
}

/// Tokens of an unsafe request come from a page of the site: what the field Origin says is believed before them.
#[test]
fn guard_7_origins_of_unsafe_requests_are_those_that_a_trusted_proxy_tells() {
    let gate = Gate::start("csrf protect path /");
    let page = head(&gate.ask("GET /", "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n", ""));
    let line = page.lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=")).expect("a token");
    assert!(line.ends_with("; Path=/; SameSite=Strict; Secure"), "{line}");
    let token = line.split(';').next().unwrap_or_default();
    let said =
        format!("Cookie: csrf_token={token}\r\nX-CSRF-Token: {token}\r\nX-Forwarded-Host: shop.example\r\n");
    for (origin, proto, status) in [
        ("https://shop.example", "https", 200),
        ("http://shop.example", "http", 200),
        ("http://shop.example", "https", 403),
        ("https://app.example", "https", 403),
    ] {
        let fields = format!("{said}X-Forwarded-Proto: {proto}\r\nOrigin: {origin}\r\n");
        assert_eq!(gate.ask("POST /", &fields, "a=1").status(), status, "{origin} {proto}");
    }
}

/// An origin is scheme, host and port (RFC 6454): a port that is the scheme's own may be written, or left out, in each field.
#[test]
fn ours_7_origins_are_compared_with_the_default_ports_of_their_schemes() {
    let gate = Gate::start("csrf protect path /");
    let page = head(&gate.ask("GET /", "", ""));
    let line = page.lines().find_map(|line| line.strip_prefix("Set-Cookie: csrf_token=")).expect("a token");
    let token = line.split(';').next().unwrap_or_default();
    let said = format!("Cookie: csrf_token={token}\r\nX-CSRF-Token: {token}\r\n");
    let tls = "X-Forwarded-Proto: https\r\n";
    let absolute = "http://site.example/";
    for (target, host, told, origin, status) in [
        ("/", "site.example", tls.to_owned(), "https://site.example", 200),
        ("/", "site.example:443", tls.to_owned(), "https://site.example", 200),
        ("/", "SITE.example:", tls.to_owned(), "https://site.example:443", 200),
        ("/", "site.example:8443", tls.to_owned(), "https://site.example:8443", 200),
        ("/", "site.example", String::new(), "http://site.example", 200),
        ("/", "site.example:80", String::new(), "http://site.example", 200),
        (absolute, "site.example", tls.to_owned(), "https://site.example", 200),
        (absolute, "other.example", String::new(), "http://site.example", 200),
        ("/", "a", format!("{tls}X-Forwarded-Host: site.example:443\r\n"), "https://site.example", 200),
        ("/", "a", format!("{tls}X-Forwarded-Host: Site.example\r\n"), "https://site.example", 200),
        ("/", "a", "X-Forwarded-Host: site.example:80\r\n".into(), "http://site.example", 200),
        ("/", "a", format!("{tls}X-Forwarded-Host: site.example:8443\r\n"), "https://site.example:8443", 200),
        (
            "/",
            "site.example",
            format!("{tls}X-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\n"),
            "https://site.example",
            200,
        ),
        (
            "/",
            "site.example",
            format!("{tls}X-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\n"),
            "https://a",
            403,
        ),
        (
            "/",
            "site.example",
            format!("{tls}X-Forwarded-Host: a\r\nConnection: X-Forwarded-Host\r\n"),
            "https://a",
            403,
        ),
        ("/", "site.example", format!("{tls}{tls}"), "https://site.example", 403),
        ("/", "site.example", tls.to_owned(), "http://site.example", 403),
        ("/", "site.example", tls.to_owned(), "https://site.example:80", 403),
        ("/", "site.example:80", tls.to_owned(), "https://site.example", 403),
        ("/", "site.example:8443", tls.to_owned(), "https://site.example", 403),
        ("/", "site.example", String::new(), "http://site.example:443", 403),
        ("/", "site.example", format!("{tls}X-Forwarded-Host: a\r\n"), "https://site.example", 403),
        ("/", "site.example", format!("{tls}X-Forwarded-Host: a b\r\n"), "https://site.example", 403),
        ("/", "site.example", tls.to_owned(), "https://site.example\r\nOrigin: https://evil.example", 403),
    ] {
        for version in ["1.0", "1.1"] {
            let mut raw = gate.weir.connect();
            raw.send(format!(
                "POST {target} HTTP/{version}\r\nHost: {host}\r\n{said}{told}Origin: {origin}\r\nContent-Length: 3\r\n\r\na=1"
            ));
            assert_eq!(raw.read_response().status(), status, "{target} {host} {told} {origin} {version}");
        }
    }
}
