//! Bodies before the detector: what is refused, and what reaches the origin.

use super::Guarded;
use crate::common::{Origin, Raw, Scratch, Weir, bytes::contains, eventually, run};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write as _;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=xyz";
const ATTACK: &str = "1' UNION SELECT user, password FROM users-- -";

/// `id=1 union select password from users`, as the encoder of brotli in Node has it.
const BROTLI: &str = "1b2400f8a5637ac8d2f4208518328ad68498755ef24913cdfe1300";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn brotli() -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
    BROTLI.as_bytes().chunks(2).map(|pair| byte(pair).expect("digits")).collect()
}

fn head(origin: &Origin, fields: &str) -> String {
    let (url, host) = (origin.url("/f"), origin.address());
    format!("POST {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n{fields}\r\n")
}

/// The status of the answer to a POST.
fn post(guarded: &Guarded, fields: &str, body: &[u8]) -> u16 {
    let mut raw = guarded.weir.connect();
    post_over(&mut raw, &guarded.origin, fields, body)
}

fn post_over(raw: &mut Raw, origin: &Origin, fields: &str, body: &[u8]) -> u16 {
    let fields = format!("{fields}Content-Length: {}\r\n", body.len());
    raw.send([head(origin, &fields).as_bytes(), body].concat());
    raw.read_response().status()
}

fn of_type(media_type: &str) -> String {
    format!("Content-Type: {media_type}\r\n")
}

/// The attack, as that type has it.
fn attack_in(media_type: &str) -> String {
    match media_type {
        FORM => "a=b&id=1%27+UNION+SELECT+user%2C+password+FROM+users--+-&c=d".to_owned(),
        JSON => format!(r#"{{"a":["b",{{"id":"{ATTACK}"}}]}}"#),
        MULTIPART => {
            format!("--xyz\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n{ATTACK}\r\n--xyz--\r\n")
        }
        _ => ATTACK.to_owned(),
    }
}

/// Some servers decode parts in quoted-printable, others read them as they are.
#[test]
fn guard_11_parts_in_quoted_printable_are_looked_at_in_both_forms() {
    let guarded = Guarded::start("detect block\n");
    let part = |encoding: &str, payload: &str| {
        format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
             {payload}\r\n--xyz--\r\n"
        )
    };
    let escaped: String = ATTACK.bytes().map(|byte| format!("={byte:02X}")).collect();
    let broken: String = ATTACK.chars().map(|c| format!("{c}=\r\n")).collect();
    for (encoding, payload, status) in [
        ("quoted-printable", escaped.as_str(), 400),
        ("Quoted-Printable", &broken, 400),
        ("\"quoted-printable\" (x); y=z", &escaped, 400),
        ("quoted-printable", ATTACK, 400),
        ("8bit", &escaped, 200),
        ("quoted-printable", "caf=C3=A9 costs 1=2E50", 200),
    ] {
        let body = part(encoding, payload);
        assert_eq!(post(&guarded, &of_type(MULTIPART), body.as_bytes()), status, "{body}");
    }
}

/// A part of a form is its field, with the name of its file, which stands in a header line.
#[test]
fn guard_11_an_upload_is_allowed_by_the_name_of_its_field() {
    let part = |disposition: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; {disposition}\r\n\r\nhello\r\n--xyz--\r\n")
    };
    let (own, other) = (UPLOAD, part("name=\"g\"; filename=\"a.php\""));
    let turned = part("filename=a.php; name=f");
    for (lines, own_status, other_status) in [
        ("detect allow file_upload path / param f", 200, 400),
        ("detect allow file_upload path / param content-disposition", 200, 200),
        ("detect allow file_upload path / param h", 400, 400),
        ("detect allow sqli path / param f", 400, 400),
    ] {
        let guarded = Guarded::start(&format!("detect block\n{lines}\n"));
        for (body, status) in [(own, own_status), (&turned, own_status), (&other, other_status)] {
            assert_eq!(post(&guarded, &of_type(MULTIPART), body.as_bytes()), status, "{lines}: {body}");
        }
    }
}

/// A form with one file.
const UPLOAD: &str =
    "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\nhello\r\n--xyz--\r\n";

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn guard_11_the_event_of_an_upload_names_its_field() {
    let scratch = Scratch::new();
    let control = scratch.join("control");
    let guarded = Guarded::with_options("detect block\n", &["--control", &control]);
    assert_eq!(post(&guarded, &of_type(MULTIPART), UPLOAD.as_bytes()), 400);
    let told = run(&["ctl", "--control", &control, "--json", "events"]).out;
    assert!(told.contains("\"context\":\"body:f:Content-Disposition\""), "{told}");
}

/// Trailers are looked at like the fields of a head, for servers that make no difference.
#[test]
fn guard_11_trailers_are_looked_at() {
    for (lines, trailers, status) in [
        ("detect block", "X-Note: <script>alert(1)</script>\r\n", 400),
        ("detect block", "X-Sum: 1\r\nUser-Agent: sqlmap/1.7\r\n", 400),
        ("detect block", "X-Sum: 1\r\n", 200),
        ("detect observe", "X-Note: <script>alert(1)</script>\r\n", 200),
    ] {
        let guarded = Guarded::start(lines);
        for whole in [true, false] {
            let mut raw = guarded.weir.connect();
            raw.send(head(&guarded.origin, "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n"));
            let body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
            let pieces: Vec<&[u8]> =
                if whole { vec![body.as_bytes()] } else { body.as_bytes().chunks(1).collect() };
            pieces.into_iter().for_each(|piece| raw.send_if_open(piece));
            assert_eq!(raw.read_response().status(), status, "{lines} {trailers} {whole}");
        }
    }
}

#[test]
fn guard_11_bodies_are_looked_at_by_their_type() {
    let guarded = Guarded::start("detect block");
    for media_type in [FORM, JSON, MULTIPART, "text/plain", "application/xml"] {
        let harmless =
            attack_in(media_type).replace("UNION", "union").replace("SELECT", "of").replace("--", "-x");
        let harmless = harmless.replace("-xxyz", "--xyz").replace("xyz-x", "xyz--").replace('\'', "");
        let harmless = harmless.replace("%27", "");
        assert_eq!(post(&guarded, &of_type(media_type), harmless.as_bytes()), 200, "{harmless}");
        assert_eq!(
            post(&guarded, &of_type(media_type), attack_in(media_type).as_bytes()),
            400,
            "{media_type}"
        );
    }
    assert_eq!(post(&guarded, &of_type(JSON), br#"{"user":"a","password":{"$ne":null}}"#), 400);
    let line = guarded.weir.wait_for_log(|line| line.contains(" 400 "));
    assert!(line.contains("suspicious:guard:2") && line.contains("192.0.2.1"), "{line}");
}

/// A reload counts from the next request on, whole.
#[test]
fn ours_1_a_request_keeps_the_guard_with_which_it_began() {
    let scratch = Scratch::new();
    let (with, without) = ("trust 127.0.0.0/8\ndetect block\n", "trust 127.0.0.0/8\n");
    for (before, after, status) in [(with, without, 400), (without, with, 200)] {
        let (weir, origin) =
            (Weir::start(&["--workers", "1", "--guard", &scratch.file("guard.conf", before)]), Origin::ok());
        let (body, mut raw) = (attack_in(FORM), weir.connect());
        let fields = format!("{}Content-Length: {}\r\n", of_type(FORM), body.len());
        raw.send([head(&origin, &fields).as_bytes(), &body.as_bytes()[..4]].concat());
        // Another connection's answer: the head before it has been read.
        assert_eq!(post_over(&mut weir.connect(), &origin, &of_type(FORM), b"a=b"), 200);
        scratch.file("guard.conf", after);
        weir.signal(rustix::process::Signal::HUP);
        weir.wait_for_error(|line| line.contains("reloaded"));
        let next = post_over(&mut weir.connect(), &origin, &of_type(FORM), body.as_bytes());
        assert_eq!(next, if status == 400 { 200 } else { 400 }, "the next request");
        raw.send(&body.as_bytes()[4..]);
        assert_eq!(raw.read_response().status(), status);
    }
}

#[test]
fn ours_11_an_attack_is_found_wherever_reads_end() {
    let guarded = Guarded::start("detect block");
    for media_type in [FORM, JSON, MULTIPART] {
        let (body, fields) = (attack_in(media_type), of_type(media_type));
        let mut raw = guarded.weir.connect();
        raw.send(head(&guarded.origin, &format!("{fields}Content-Length: {}\r\n", body.len())));
        for byte in body.as_bytes().chunks(1) {
            raw.send(byte);
        }
        assert_eq!(raw.read_response().status(), 400, "{media_type}, byte by byte");
        let mut raw = guarded.weir.connect();
        raw.send(head(&guarded.origin, &format!("{fields}Transfer-Encoding: chunked\r\n")));
        for piece in body.as_bytes().chunks(7) {
            raw.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        raw.send("0\r\n\r\n");
        assert_eq!(raw.read_response().status(), 400, "{media_type} in chunks");
    }
    for connection in 0..guarded.origin.connections() {
        let received = guarded.origin.received(connection);
        assert!(!contains(&received, b"FROM"), "the signature has reached the origin");
        // The size of a chunk may end with 0 as well, and its first bytes may end a line.
        assert!(!contains(&received, b"\r\n0\r\n\r\n"), "the end of a body has reached the origin");
    }
}

#[test]
fn guard_11_coded_bodies_are_decoded() {
    let guarded = Guarded::start("detect block");
    let form = attack_in(FORM);
    let bomb = gzip(&vec![b'a'; 1_000_000]);
    let cases: [(&str, Vec<u8>, u16); 9] = [
        ("gzip", gzip(form.as_bytes()), 400),
        ("gzip", gzip(b"a=b&c=d"), 200),
        ("deflate", deflate(form.as_bytes()), 400),
        ("deflate", deflate(b"a=b&c=d"), 200),
        ("br", brotli(), 400),
        // What cannot be looked at is refused, unless the guard file says otherwise.
        ("zstd", b"a=b".to_vec(), 400),
        ("gzip", b"no gzip".to_vec(), 400),
        ("gzip", gzip(b"a=b")[..8].to_vec(), 400),
        ("gzip", bomb, 400),
    ];
    for (coding, body, status) in &cases {
        let fields = format!("{}Content-Encoding: {coding}\r\n", of_type(FORM));
        assert_eq!(post(&guarded, &fields, body), *status, "{coding}, {} bytes", body.len());
    }
    let lenient = Guarded::start("detect block\ndetect exhausted pass");
    for (coding, body, _) in &cases[5..] {
        let fields = format!("{}Content-Encoding: {coding}\r\n", of_type(FORM));
        assert_eq!(post(&lenient, &fields, body), 200, "{coding}, {} bytes", body.len());
    }
}

/// The texts are an attack in EBCDIC, `q=<script>` in code page 037, and plain words with the name of such a page.
#[test]
fn ours_11_bodies_in_other_character_sets_are_an_exhaustion() {
    const EBCDIC: &[u8] = b"\x98\x7e\x4c\xa2\x83\x99\x89\x97\xa3\x6e";
    const EBCDIC_XML: &[u8] = b"\x4c\x6f\xa7\x94\x93\x40\xa5\x85\x99";
    let part = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=cp500\r\n\r\nb\r\n--xyz--\r\n";
    let declared = b"<?xml version='1.0' encoding='IBM037'?><a>b</a>";
    let strict = Guarded::start("detect block");
    let lenient = Guarded::start("detect block\ndetect exhausted pass");
    for (media_type, body) in [
        ("application/x-www-form-urlencoded; charset=ibm037", EBCDIC),
        ("application/x-www-form-urlencoded; charset=ibm037", b"a=b"),
        ("application/json; charset=\"cp1026\"", b"{}"),
        ("text/xml", EBCDIC_XML),
        ("text/xml", declared),
        (MULTIPART, part.as_bytes()),
    ] {
        assert_eq!(post(&strict, &of_type(media_type), body), 400, "{media_type}");
        assert_eq!(post(&lenient, &of_type(media_type), body), 200, "{media_type}");
    }
    assert_eq!(post(&strict, &of_type("application/x-www-form-urlencoded; charset=ISO-8859-1"), b"a=b"), 200);
    // A name alone hides no attack.
    let named = of_type("application/x-www-form-urlencoded; charset=cp500");
    assert_eq!(post(&lenient, &named, attack_in(FORM).as_bytes()), 400);
}

#[test]
fn fault_13_8_padding_ends_no_scan_without_a_verdict() {
    let guarded = Guarded::start("detect block");
    let values: String = (0..512).map(|n| format!("v{n}=harmless&")).collect();
    assert_eq!(post(&guarded, &of_type(FORM), format!("{values}x=y").as_bytes()), 200);
    assert_eq!(post(&guarded, &of_type(FORM), format!("{values}{}", attack_in(FORM)).as_bytes()), 400);
    let text = "all work and no play ".repeat(64 * 1024 / 21);
    assert_eq!(post(&guarded, &of_type("text/plain"), text.as_bytes()), 200);
    assert_eq!(post(&guarded, &of_type("text/plain"), format!("{text}{ATTACK}").as_bytes()), 400);
    // Beyond the limit it is the configured verdict.
    let text = text.repeat(5);
    assert_eq!(post(&guarded, &of_type("text/plain"), text.as_bytes()), 400);
    let lenient = Guarded::start("detect block\ndetect exhausted pass");
    assert_eq!(post(&lenient, &of_type("text/plain"), text.as_bytes()), 200);
}

/// The counter of a category.
fn counted(control: &str, category: &str) -> u64 {
    number(control, "guard_detected_total", category)
}

fn number(control: &str, name: &str, category: &str) -> u64 {
    let told = run(&["ctl", "--control", control, "stats", "--openmetrics"]).out;
    let name = format!("weir_{name}{{category=\"{category}\"}} ");
    let line = told.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {told}"))
}

/// One duration for each head and each body, under what was found there.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_11_durations_are_counted_for_each_category() {
    let scratch = Scratch::new();
    let control = scratch.join("control");
    let guarded = Guarded::with_options("detect block\nexclude /out\n", &["--control", &control]);
    let count = |category| number(&control, "guard_detection_seconds_count", category);
    assert_eq!(count("none"), 0);
    assert_eq!(guarded.get("192.0.2.1", "/a").0, 200);
    assert_eq!(guarded.get("192.0.2.1", "/out?q=%27%20or%201%3D1--").0, 200);
    assert_eq!(count("none"), 1, "nothing is looked at below an excluded path");
    assert_eq!(guarded.get("192.0.2.1", "/a?q=%27%20or%201%3D1--").0, 400);
    assert_eq!((count("none"), count("sqli")), (1, 1));
    assert_eq!(post(&guarded, &of_type(FORM), b"a=b&c=d"), 200);
    assert_eq!((count("none"), count("sqli")), (3, 1), "a head and a body");
    assert_eq!(post(&guarded, &of_type(FORM), b"a=b&q=%27%20or%201%3D1--"), 400);
    assert_eq!((count("none"), count("sqli")), (4, 2));
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_11_nothing_passes_without_being_counted() {
    let scratch = Scratch::new();
    let control = scratch.join("control");
    let guarded = Guarded::with_options("detect block\ndetect exhausted pass\n", &["--control", &control]);
    assert_eq!(guarded.get("192.0.2.1", "/a?q=%27%20or%201%3D1--").0, 400);
    assert_eq!(guarded.get("192.0.2.1", "/a?q=%3Csvg%20onload%3Dalert(1)%3E").0, 400);
    assert_eq!(post(&guarded, &of_type(FORM), attack_in(FORM).as_bytes()), 400);
    let text = "all work and no play ".repeat(16 * 1024);
    assert_eq!(post(&guarded, &of_type("text/plain"), text.as_bytes()), 200);
    // Of a picture the beginning is looked at; a short one is looked at as a whole.
    for bytes in [300_000, 1000] {
        assert_eq!(post(&guarded, &of_type("image/png"), &vec![0x89; bytes]), 200);
    }
    let wanted = [("sqli", 2), ("xss", 1), ("nosql", 0), ("exhausted", 1), ("unseen", 1)];
    for (category, count) in wanted {
        eventually(category, || (counted(&control, category) == count).then_some(()));
    }
}

#[test]
fn guard_11_an_observer_lets_everything_pass() {
    let guarded = Guarded::start("detect observe\nban-after detect 2 in 1h for 1h observe");
    let mut raw = guarded.weir.connect();
    for _ in 0..3 {
        assert_eq!(post_over(&mut raw, &guarded.origin, &of_type(FORM), attack_in(FORM).as_bytes()), 200);
    }
    assert!(contains(&guarded.origin.received(0), attack_in(FORM).as_bytes()));
    let passive = Guarded::start("passive\ndetect block");
    assert_eq!(post(&passive, &of_type(FORM), attack_in(FORM).as_bytes()), 200);
}

#[test]
fn guard_1_a_suspicious_request_that_crosses_the_threshold_is_403() {
    let guarded = Guarded::start("detect block\nban-after detect 3 in 1h for 1h");
    let statuses: Vec<u16> =
        (0..4).map(|_| post(&guarded, &of_type(FORM), attack_in(FORM).as_bytes())).collect();
    assert_eq!(statuses, [400, 400, 403, 403]);
    assert_eq!(guarded.get("192.0.2.1", "/").0, 403);
    assert_eq!(guarded.get("192.0.2.2", "/").0, 200);
}

#[test]
fn requests_behind_a_body_are_found() {
    let guarded = Guarded::start("detect block");
    let mut raw = guarded.weir.connect();
    let fields = format!("{}Content-Length: 3\r\n", of_type(FORM));
    let one = format!("{}a=b", head(&guarded.origin, &fields));
    raw.send(one.repeat(3));
    for _ in 0..3 {
        assert_eq!(raw.read_response().status(), 200);
    }
}

#[test]
fn guard_10_patterns_look_at_the_beginning_of_a_response() {
    for coding in ["", "gzip"] {
        let mut guarded = Guarded::start("behaviour return \"no such user\" 2 in 10m together action ban");
        let text = b"{\"error\":\"No such user\"}";
        let body = if coding.is_empty() { text.to_vec() } else { gzip(text) };
        let field = if coding.is_empty() { "" } else { "Content-Encoding: gzip\r\n" };
        let head = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: {}\r\n\r\n", body.len());
        guarded.origin = Origin::answering([head.as_bytes(), &body].concat());
        let statuses: Vec<u16> = (0..4).map(|_| guarded.get("192.0.2.1", "/login").0).collect();
        assert_eq!(statuses, [200, 200, 200, 403], "{coding}");
        assert_eq!(guarded.get("192.0.2.2", "/login").0, 200);
    }
}

/// Bodies whose decoders take much memory, and that never end: they are refused, not the requests of others.
#[test]
fn ours_11_bodies_that_do_not_end_stop_no_other_client() {
    let guarded = Guarded::with_options("detect block", &["--buffers", "1024"]);
    let host = guarded.origin.address();
    // A meta-block without compression, in a window of 4 MB (RFC 7932 9.1).
    let length: u32 = 60_000;
    let content = [&(0xf | (length - 1) << 7 | 1 << 23_u32).to_le_bytes()[..3], &[b'a'; 30_000]].concat();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n",
        guarded.origin.url("/up"),
        length + 4,
    );
    let mut slow: Vec<_> = (0..40).map(|_| guarded.weir.connect()).collect();
    slow.iter_mut().for_each(|client| client.send([head.as_bytes(), &content].concat()));
    guarded.weir.wait_for_logs(5, |line| line.contains("/up") && line.contains("reason=buffers_max"));
    assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
}

/// A media type, whether the body is one value, and what makes a body of so many bytes.
type Kind<'a> = (&'a str, bool, &'a dyn Fn(usize) -> String);

/// Bodies of 256 KB are looked at as a whole, whatever they are made of; longer ones are an exhaustion.
#[test]
fn guard_11_the_bound_of_a_body_is_that_of_its_bytes() {
    const BOUND: usize = 262_144;
    let guarded = Guarded::start("detect block");
    let of = |part: &str, len: usize| part.repeat(len.div_ceil(part.len()))[..len].to_owned();
    let array = |len: usize| format!("[{}\"end\"]", of("\"word\",", (len - 7) / 7 * 7));
    // What is between names and values does not count, so only a body of one value has the exact bound.
    let kinds: [Kind<'_>; 5] = [
        ("text/plain", true, &|len| of("nothing to see here. ", len)),
        ("application/x-www-form-urlencoded", true, &|len| {
            format!("text={}", of("nothing+to+see.", len - 5))
        }),
        ("application/x-www-form-urlencoded", false, &|len| of("a=1&", len)),
        ("application/json", false, &array),
        ("application/json", true, &|len| format!("{{\"a\":\"{}\"}}", of("nothing to see. ", len - 8))),
    ];
    for (media_type, is_one, body) in kinds {
        let ask = |len: usize| {
            let fields = format!("Content-Type: {media_type}\r\n");
            post(&guarded, &fields, body(len).as_bytes())
        };
        assert_eq!(ask(BOUND - 8), 200, "{media_type} {}", &body(40));
        if is_one {
            assert_eq!(ask(BOUND + BOUND / 4), 400, "{media_type}");
        }
    }
}
