use super::cors::Preflight;
use super::report::{BODY_BYTES_MAX, Invalid, REPORTS_MAX};
use super::*;
use crate::guard::directives::parse;
use crate::http::forwarding::Edits;

fn headers(file: &str) -> SecurityHeaders {
    let directives = parse(file.as_bytes()).unwrap_or_else(|problems| panic!("{file}: {problems:?}"));
    SecurityHeaders::new(&directives.headers)
}

/// The fields that are added to a response with these lines.
fn answer(headers: &SecurityHeaders, author: Author, how: Circumstances, has: &[(&str, &str)]) -> String {
    let names = has.iter().map(|(name, value)| (*name, value.as_bytes()));
    let additions = headers.for_answer(author, how, names);
    let mut out = Vec::new();
    for (name, value) in has.iter().filter(|(name, _)| !additions.removes(name)) {
        write_field(&mut out, name, value.as_bytes());
    }
    if additions.removes_nothing() {
        assert!(!has.iter().any(|(name, _)| additions.removes(name)));
    }
    additions.write_added(&mut out);
    String::from_utf8(out).unwrap()
}

const PLAIN: Circumstances = Circumstances { secure: false, admitted: Admitted::No };
const SECURE: Circumstances = Circumstances { secure: true, admitted: Admitted::No };

#[test]
fn guard_9_the_default_set() {
    let found = answer(&headers("headers on"), Author::Server, PLAIN, &[]);
    let expected = "X-Content-Type-Options: nosniff\r\n\
        X-Frame-Options: SAMEORIGIN\r\n\
        X-XSS-Protection: 1; mode=block\r\n\
        Referrer-Policy: strict-origin-when-cross-origin\r\n\
        Permissions-Policy: geolocation=(), microphone=(), camera=()\r\n\
        X-Permitted-Cross-Domain-Policies: none\r\n\
        X-Download-Options: noopen\r\n\
        Cross-Origin-Embedder-Policy: require-corp\r\n\
        Cross-Origin-Opener-Policy: same-origin\r\n\
        Cross-Origin-Resource-Policy: same-origin\r\n";
    assert_eq!(found, expected);
}

#[test]
fn guard_9_which_answers_carry_them() {
    for (file, own, servers) in [
        ("", true, false),
        ("headers own", true, false),
        ("headers on", true, true),
        ("headers off", false, false),
    ] {
        let headers = headers(file);
        for (author, carries) in [(Author::Own, own), (Author::Server, servers)] {
            assert_eq!(!answer(&headers, author, SECURE, &[]).is_empty(), carries, "{file} {author:?}");
        }
    }
}

#[test]
fn guard_9_other_values_other_fields_and_none() {
    let headers = headers(
        "headers on\nheader x-frame-options DENY\nheader off X-XSS-Protection\nheader Permissions-Policy \"usb=()\"\n\
         header X-Mine \"a b\"\ncsp default-src 'self' https://cdn.example; upgrade-insecure-requests\ncsp img-src *",
    );
    let found = answer(&headers, Author::Server, PLAIN, &[]);
    for line in [
        "x-frame-options: DENY\r\n",
        "Permissions-Policy: usb=()\r\n",
        "X-Mine: a b\r\n",
        "Content-Security-Policy: default-src 'self' https://cdn.example; upgrade-insecure-requests; img-src *\r\n",
    ] {
        assert_eq!(found.matches(line).count(), 1, "{line} {found}");
    }
    assert!(
        !found.contains("XSS") && !found.contains("SAMEORIGIN") && !found.contains("geolocation"),
        "{found}"
    );
}

#[test]
fn ours_9_a_servers_own_fields_stay_unless_they_are_overwritten() {
    let own = [("content-security-policy", "default-src *"), ("X-FRAME-OPTIONS", "DENY"), ("X-Mine", "1")];
    let file = "headers on\ncsp default-src 'none'\nheader X-Mine 2";
    let found = answer(&headers(file), Author::Server, PLAIN, &own);
    assert!(
        found.starts_with("content-security-policy: default-src *\r\nX-FRAME-OPTIONS: DENY\r\nX-Mine: 1\r\n")
    );
    assert!(
        !found.contains("'none'") && !found.contains("SAMEORIGIN") && !found.contains("X-Mine: 2"),
        "{found}"
    );
    let file = "headers on\ncsp default-src 'none'\ncsp overwrite\nheader X-Mine 2 overwrite\n\
                header X-Frame-Options SAMEORIGIN if-absent";
    let found = answer(&headers(file), Author::Server, PLAIN, &own);
    assert!(found.starts_with("X-FRAME-OPTIONS: DENY\r\n"), "{found}");
    assert!(
        found.contains("X-Mine: 2\r\n") && found.contains("Content-Security-Policy: default-src 'none'\r\n")
    );
    assert!(
        !found.contains("X-Mine: 1") && !found.contains("src *") && !found.contains("SAMEORIGIN"),
        "{found}"
    );
}

#[test]
fn ours_9_hsts_is_for_tls_alone() {
    for (file, value) in [
        ("headers on", Some("max-age=31536000; includeSubDomains")),
        ("headers on\nhsts max-age=60", Some("max-age=60")),
        ("headers on\nhsts max-age=1d include-subdomains", Some("max-age=86400; includeSubDomains")),
        ("headers on\nhsts max-age=31536000 preload", Some("max-age=31536000; includeSubDomains; preload")),
        ("headers on\nhsts max-age=31535999 preload", Some("max-age=31535999")),
        ("headers on\nhsts max-age=0", Some("max-age=0")),
        ("headers on\nhsts off", None),
    ] {
        let headers = headers(file);
        let found = answer(&headers, Author::Server, SECURE, &[]);
        let found = found.lines().find_map(|line| line.strip_prefix("Strict-Transport-Security: "));
        assert_eq!(found, value, "{file}");
        assert!(!answer(&headers, Author::Server, PLAIN, &[]).contains("Strict"), "{file}");
    }
}

fn admitted(headers: &SecurityHeaders, origin: &str) -> Circumstances {
    let admitted = headers
        .cors()
        .map_or(Admitted::No, |cors| cors.admit(Some(origin.as_bytes()).filter(|origin| !origin.is_empty())));
    Circumstances { secure: false, admitted }
}

#[test]
fn guard_9_cors_on_answers() {
    const LISTED: &str = "headers off\ncors origins https://a.example,http://localhost:3000";
    const ANY: &str = "headers off\ncors origins *";
    const FULL: &str =
        "headers off\ncors origins *,https://a.example methods PUT headers X-A,X-B expose X-C max-age 1m";
    const USER: &str = "headers off\ncors origins https://a.example credentials";
    let usual = "Access-Control-Allow-Methods: GET, POST\r\nAccess-Control-Allow-Headers: *\r\n\
                 Access-Control-Max-Age: 3600\r\n";
    let allow = |origin: &str| format!("Access-Control-Allow-Origin: {origin}\r\n");
    let vary = "Vary: Origin\r\n";
    let full = "Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: X-A, X-B\r\n\
                Access-Control-Max-Age: 60\r\nAccess-Control-Expose-Headers: X-C\r\n";
    let credentials = "Access-Control-Allow-Credentials: true\r\n";
    for (file, origin, expected) in [
        (LISTED, "https://a.example", allow("https://a.example") + usual + vary),
        (LISTED, "http://localhost:3000", allow("http://localhost:3000") + usual + vary),
        (LISTED, "https://A.example", vary.to_owned()),
        (LISTED, "https://a.example:8443", vary.to_owned()),
        (LISTED, "https://a.example.evil.test", vary.to_owned()),
        (LISTED, "null", vary.to_owned()),
        (LISTED, "", vary.to_owned()),
        (ANY, "https://a.example", allow("*") + usual),
        (ANY, "", allow("*") + usual),
        (FULL, "https://a.example", allow("https://a.example") + full + vary),
        (FULL, "https://b.example", allow("*") + full + vary),
        (USER, "https://a.example", allow("https://a.example") + usual + credentials + vary),
    ] {
        let headers = headers(file);
        let found = answer(&headers, Author::Server, admitted(&headers, origin), &[]);
        assert_eq!(found, expected, "{file} {origin}");
    }
    assert!(headers("headers on").cors().is_none());
}

#[test]
fn ours_9_vary_once_and_a_servers_own_cors() {
    let file = "headers off\ncors origins https://a.example";
    let headers_kept = headers(file);
    let how = admitted(&headers_kept, "https://a.example");
    for (vary, times) in
        [("origin", 0), ("Accept-Encoding, ORIGIN", 0), ("*", 0), ("Accept", 1), ("X-Origin", 1)]
    {
        let found = answer(&headers_kept, Author::Server, how, &[("Vary", vary)]);
        assert_eq!(found.matches("Vary: Origin\r\n").count(), times, "{vary} {found}");
    }
    let own = [("access-control-allow-origin", "*"), ("Access-Control-Max-Age", "1")];
    let found = answer(&headers_kept, Author::Server, how, &own);
    assert_eq!(found, "access-control-allow-origin: *\r\nAccess-Control-Max-Age: 1\r\n");
    // Without an origin the other fields of a server mean nothing: a browser must not read them beside weir's.
    let alone = [("Access-Control-Allow-Credentials", "true"), ("Access-Control-Allow-Methods", "DELETE")];
    let found = answer(&headers_kept, Author::Server, how, &alone);
    assert!(!found.contains("Credentials") && !found.contains("DELETE"), "{found}");
    assert_eq!(found.matches("Access-Control-Allow-Methods:").count(), 1, "{found}");
    let overwriting = headers(&format!("{file} overwrite"));
    let found = answer(&overwriting, Author::Server, admitted(&overwriting, "https://b.example"), &own);
    assert_eq!(found, "Vary: Origin\r\n");
}

#[test]
fn guard_9_preflight() {
    const LISTED: &str = "cors origins https://a.example";
    const NARROW: &str =
        "cors origins https://a.example methods GET,PUT headers X-Token credentials max-age 10";
    const EVERY: &str = "cors origins * methods *";
    let ok = |lines: &str| (200, format!("Vary: Origin\r\n{lines}"), "OK".to_owned());
    let no = |lines: &str, what: &str| {
        (400, format!("Vary: Origin\r\n{lines}"), format!("Disallowed CORS: {what}"))
    };
    let allow = "Access-Control-Allow-Origin: https://a.example\r\n";
    let methods = "Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n";
    let age = "Access-Control-Max-Age: 600\r\n";
    for (file, origin, method, fields, expected) in [
        (LISTED, "https://a.example", "PUT", "", ok(&format!("{allow}{methods}{age}"))),
        (
            LISTED,
            "https://a.example",
            "PUT",
            "x-a, content-type",
            ok(&format!("{allow}{methods}Access-Control-Allow-Headers: x-a, content-type\r\n{age}")),
        ),
        (LISTED, "https://b.example", "PUT", "", no("", "origin")),
        (LISTED, "https://a.example", "TRACE", "", no(allow, "method")),
        (LISTED, "https://b.example", "put", "a b", no("", "origin, method, headers")),
        (LISTED, "", "PUT", "", no("", "origin")),
        (
            NARROW,
            "https://a.example",
            "PUT",
            "x-token, Content-Type",
            ok(&format!(
                "{allow}Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Allow-Headers: X-Token\r\n\
                 Access-Control-Max-Age: 10\r\nAccess-Control-Allow-Credentials: true\r\n"
            )),
        ),
        (NARROW, "https://a.example", "POST", "x-other", no(allow, "method, headers")),
        (
            EVERY,
            "https://b.example",
            "PURGE",
            "",
            ok(&format!("Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: PURGE\r\n{age}")),
        ),
    ] {
        let headers = headers(file);
        let how = admitted(&headers, origin);
        let list = [fields.as_bytes()];
        let Preflight { status, fields: lines, body } =
            headers.cors().unwrap().preflight(how.admitted, method.as_bytes(), &list);
        assert_eq!(
            (status, String::from_utf8(lines).unwrap(), body),
            expected,
            "{file} {origin} {method} {fields}"
        );
    }
}

#[test]
fn guard_9_reports() {
    let one = r#"{"csp-report":{"document-uri":"https://a.example/?token=1","violated-directive":"img-src",
        "blocked-uri":"https://b.example","source-file":"a.js","line-number":7}}"#;
    let listed = r#"[{"type":"deprecation","body":{}},{"type":"csp-violation","url":"https://a.example/","body":
        {"effectiveDirective":"img-src","blockedURL":"inline","lineNumber":1}}]"#;
    let report = |document: &str, blocked: &str, file: &str, line: &str| report::Report {
        document_uri: document.into(),
        violated_directive: "img-src".into(),
        blocked_uri: blocked.into(),
        source_file: file.into(),
        line_number: line.into(),
    };
    let first = report("https://a.example/?token=1", "https://b.example", "a.js", "7");
    let many = format!("[{}]", vec![&listed[1..listed.len() - 1]; 100].join(","));
    let long = format!("{}{one}", " ".repeat(BODY_BYTES_MAX));
    let deep = "[".repeat(10_000);
    for (media_type, body, expected) in [
        ("application/csp-report", one, Ok(vec![first.clone()])),
        ("Application/CSP-Report; charset=utf-8", one, Ok(vec![first.clone()])),
        ("application/reports+json", listed, Ok(vec![report("https://a.example/", "inline", "", "1")])),
        ("application/json", one, Err(Invalid::MediaType)),
        ("", one, Err(Invalid::MediaType)),
        ("application/csp-report", listed, Err(Invalid::Malformed)),
        ("application/reports+json", one, Err(Invalid::Malformed)),
        ("application/csp-report", "", Err(Invalid::Malformed)),
        ("application/csp-report", "{\"csp-report\":{\"document-uri\":\"a\"}}", Err(Invalid::Malformed)),
        (
            "application/csp-report",
            r#"{"csp-report":{"document-uri":1,"violated-directive":"a","blocked-uri":"b"}}"#,
            Err(Invalid::Malformed),
        ),
        ("application/csp-report", &deep, Err(Invalid::Malformed)),
        ("application/csp-report", &long, Err(Invalid::TooLong)),
    ] {
        let found = report::read(media_type.as_bytes(), body.as_bytes());
        assert_eq!(found, expected, "{media_type} {}", &body[..body.len().min(80)]);
    }
    assert_eq!(report::read(b"application/reports+json", many.as_bytes()).unwrap().len(), REPORTS_MAX);
    let line = first
        .event(&crate::guard::told::Asker::by("192.0.2.1".parse().unwrap()), crate::time::Now::default())
        .json();
    assert!(
        line.contains("\"event_type\":\"csp_violation\"") && line.contains("\"action_taken\":\"logged\""),
        "{line}"
    );
    assert!(line.contains("token=[redacted]") && line.contains("\"line_number\":\"7\""), "{line}");
}

#[test]
fn guard_9_faulty_lines() {
    for (line, message) in [
        ("headers maybe", "on, own or off"),
        ("headers on\nheaders off", "line 1 has it"),
        ("header \"X Y\" 1", "name of a field"),
        ("header X-A", "found the end of the line"),
        ("header X-A \"\"", "expected a value"),
        ("header X-A 1 sometimes", "end of the line"),
        ("header X-A 1\nheader x-a 2", "line 1 has it"),
        ("header Content-Length 1", "weir's own"),
        ("header Strict-Transport-Security a", "line hsts"),
        ("header Content-Security-Policy a", "lines csp"),
        ("csp", "a directive"),
        ("csp ;", "a directive"),
        ("csp default-src a,b", "without commas"),
        ("csp default-src 'self'\ncsp default-src *", "line 1 has it"),
        ("hsts 60", "max-age=31536000"),
        ("hsts max-age=-1", "expected"),
        ("hsts max-age=60 always", "include-subdomains"),
        ("cors", "origins"),
        ("cors origins https://a.example/", "without a path"),
        ("cors origins https://A.example", "lower case"),
        ("cors origins https://a.example:443", "origins such as"),
        ("cors origins null", "origins such as"),
        ("cors origins https://a.example,https://a.example", "each origin once"),
        ("cors origins * credentials", "every site"),
        ("cors origins *,https://a.example credentials", "every site"),
        ("csp-report reports", "beginning of a path"),
    ] {
        let problems = parse(line.as_bytes()).expect_err(line);
        assert!(problems.iter().any(|problem| problem.message.contains(message)), "{line}: {problems:?}");
    }
    let warned = parse(b"csp script-src 'unsafe-inline'\nhsts max-age=1 preload").unwrap().warnings;
    assert_eq!(warned.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2], "{warned:?}");
}

#[test]
fn guard_9_values_of_fields() {
    use crate::guard::directives::field_value;
    for (text, expected) in [
        ("a", Some("a")),
        ("a\tb \u{1}c\u{7F}", Some("a\tb c")),
        (" a ", Some("a")),
        ("\u{e9}", Some("\u{e9}")),
        ("a\r\nX: b", None),
        ("a\nb", None),
        ("\u{1}", None),
    ] {
        assert_eq!(field_value(text).ok().as_deref(), expected, "{text:?}");
    }
    assert!(field_value(&"x".repeat(8192)).is_ok());
    assert!(field_value(&"x".repeat(8193)).is_err());
}
