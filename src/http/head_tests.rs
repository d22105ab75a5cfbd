//! Heads of requests and responses, well formed and not.

use super::*;

fn request(text: &[u8]) -> Result<String, Fault> {
    let mut storage = Message::new();
    let head = RequestHead::parse(text, &mut storage, &Limits::default())?;
    let target = String::from_utf8_lossy(head.target);
    Ok(format!("{} {target} {:?} {}", head.method, head.version, show(head.fields)))
}

fn response(text: &[u8]) -> Result<String, Fault> {
    let mut storage = Message::new();
    let head = ResponseHead::parse(text, &mut storage, &Limits::default())?;
    let reason = head.reason.escape_ascii();
    Ok(format!("{:?} {} {reason} {}", head.version, head.status, show(head.fields)))
}

fn show(fields: Fields<'_, '_>) -> String {
    fields.iter().map(|(name, value)| format!("[{name}={}]", value.escape_ascii())).collect()
}

#[test]
fn requests() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "GET / Http11 "),
        ("\r\n\r\nget /?a HTTP/1.0\r\nA:b\r\n\r\n", "get /?a Http10 [A=b]"),
        ("GET / HTTP/1.1\r\nA: \t b c\t \r\nA:\r\nB: \r\n\r\nrest", "GET / Http11 [A=b c][A=][B=]"),
        ("X!#$%&'*+-.^_`|~ /\"<>\\^{|} HTTP/1.1\r\n\r\n", "X!#$%&'*+-.^_`|~ /\"<>\\^{|} Http11 "),
        // A later minor version (rule 3).
        ("\r\nGET / HTTP/1.2\r\nA: b\r\n\r\n", "GET / Http11 [A=b]"),
        ("POST http://a/ HTTP/1.9\r\nA: b\r\nC:  d \r\n\r\nrest", "POST http://a/ Http11 [A=b][C=d]"),
    ] {
        assert_eq!(request(text.as_bytes()).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn rule_27_obs_text_passes() {
    assert_eq!(
        request(b"GET / HTTP/1.1\r\nA: \xFF\x80x\tx\r\n\r\n").unwrap(),
        "GET / Http11 [A=\\xff\\x80x\\tx]"
    );
}

#[test]
fn rule_5_any_bytes_in_targets() {
    for (minor, version) in [(0, "Http10"), (1, "Http11"), (2, "Http11")] {
        for target in [&b"/\xc3\xa4"[..], b"/\xff", b"http://a/\x80\x9f?\xe4"] {
            let text = [b"GET ", target, format!(" HTTP/1.{minor}\r\nA: b\r\n\r\n").as_bytes()].concat();
            let mut storage = Message::new();
            let head = RequestHead::parse(&text, &mut storage, &Limits::default()).unwrap();
            assert_eq!((head.method, head.target), ("GET", target));
            assert_eq!((format!("{:?}", head.version).as_str(), head.fields.len()), (version, 1));
        }
    }
    for (text, fault) in [
        (&b"GET /\xff\x7f HTTP/1.1\r\n\r\n"[..], Fault::ControlCharacter),
        (b"GET /\xff x HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        (b"GET /\xff HTTP/1.1\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
        (b"GET /\xff HTTP/1.1\r\nA: b\r\n", Fault::HeadIncomplete),
        (b"G\xffT /\xff HTTP/1.1\r\n\r\n", Fault::Method),
    ] {
        assert_eq!(request(text), Err(fault));
    }
}

#[test]
fn rules_1_to_4_and_17_requests_at_fault() {
    for (text, fault) in [
        ("GET / HTTP/1.1\r\nA: b\r\n", Fault::HeadIncomplete),
        ("", Fault::HeadIncomplete),
        ("G(T / HTTP/1.1\r\n\r\n", Fault::Method),
        ("G\u{e9}T / HTTP/1.1\r\n\r\n", Fault::Method),
        (" GET / HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        ("GET  / HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        ("GET /  HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        ("GET\t/ HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        ("GET / HTTP/1.1 \r\n\r\n", Fault::VersionMissing),
        ("GET /a b HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
        ("GET /\r\n\r\n", Fault::VersionMissing),
        ("GET / http/1.1\r\n\r\n", Fault::VersionMalformed),
        ("GET / HTTP/2.0\r\n\r\n", Fault::VersionUnsupported),
        ("GET /a b HTTP/1.2\r\n\r\n", Fault::RequestLineBlank),
        ("GET  HTTP/1.2\r\n\r\n", Fault::RequestLineBlank),
        ("GET /\x01 HTTP/1.2\r\n\r\n", Fault::ControlCharacter),
        ("GET / HTTP/1.2\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
        ("GET /\0 HTTP/1.1\r\n\r\n", Fault::ControlCharacter),
        ("GET /\rx HTTP/1.1\r\n\r\n", Fault::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nA b\r\n\r\n", Fault::FieldColon),
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
        ("GET / HTTP/1.1\r\nA\t: b\r\n\r\n", Fault::FieldNameBlank),
        ("GET / HTTP/1.1\r\n: b\r\n\r\n", Fault::FieldName),
        ("GET / HTTP/1.1\r\nA(: b\r\n\r\n", Fault::FieldName),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Fault::LineFolding),
        ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Fault::LineFolding),
        ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Fault::ControlCharacter),
        ("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", Fault::ControlCharacter),
        ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Fault::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Fault::BareCarriageReturn),
    ] {
        assert_eq!(request(text.as_bytes()), Err(fault), "{text:?}");
    }
}

#[test]
fn responses() {
    for (text, expected) in [
        (&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"[..], "Http11 200 OK [A=b]"),
        (b"HTTP/1.0 404 Not  Found \r\n\r\n", "Http10 404 Not  Found  "),
        (b"HTTP/1.1 200\r\n\r\n", "Http11 200  "),
        (b"HTTP/1.1 200 \r\n\r\n", "Http11 200  "),
        (b"HTTP/1.1 999 \xE9t\xE9\r\n\r\n", "Http11 999 \\xe9t\\xe9 "),
        (b"HTTP/1.3 200 Fine\r\nA: b\r\n\r\nrest", "Http11 200 Fine [A=b]"),
    ] {
        assert_eq!(response(text).as_deref(), Ok(expected));
    }
}

#[test]
fn rule_34_responses_at_fault() {
    for (text, fault) in [
        ("HTTP/1.1 099 x\r\n\r\n", Fault::StatusCode),
        ("HTTP/1.2 099 x\r\n\r\n", Fault::StatusCode),
        ("HTTP/1.1 20 x\r\n\r\n", Fault::StatusLine),
        ("HTTP/1.1 2000\r\n\r\n", Fault::StatusLine),
        ("HTTP/1.2 2000\r\n\r\n", Fault::StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", Fault::StatusLine),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Fault::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Fault::ControlCharacter),
        ("HTTP/1.1 200 O\rK\r\n\r\n", Fault::BareCarriageReturn),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Fault::LineFolding),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Fault::FieldName),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Fault::FieldColon),
    ] {
        assert_eq!(response(text.as_bytes()), Err(fault), "{text:?}");
    }
}

#[test]
fn rule_13_number_of_fields() {
    for minor in [1, 2] {
        for (count, fits) in [(FIELDS_USUAL, true), (FIELDS_USUAL + 1, true), (200, true), (201, false)] {
            let text = format!("GET / HTTP/1.{minor}\r\n{}\r\n", "A: b\r\n".repeat(count));
            let expected = if fits { None } else { Some(Fault::TooManyFields) };
            let found = request(text.as_bytes());
            assert_eq!(found.as_ref().err(), expected.as_ref(), "1.{minor} {count}");
            assert!(!fits || found.is_ok_and(|found| found.ends_with(&"[A=b]".repeat(count))));
            let found =
                response(format!("HTTP/1.{minor} 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count)).as_bytes());
            assert_eq!(found.as_ref().err(), expected.as_ref(), "1.{minor} {count}");
            assert!(!fits || found.is_ok_and(|found| found.ends_with(&"[A=b]".repeat(count))));
        }
    }
    let limits = Limits { fields_max: usize::MAX, ..Limits::default() };
    let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_CEILING + 1));
    let mut storage = Message::new();
    assert_eq!(RequestHead::parse(text.as_bytes(), &mut storage, &limits).err(), Some(Fault::TooManyFields));
}

#[test]
fn connection_options_are_bounded() {
    let text = |options: usize| {
        let list = vec!["a"; options / 2].join(",");
        format!("GET / HTTP/1.1\r\nConnection: {list}\r\ncONNECTION: {list}\r\n\r\n")
    };
    assert!(request(text(CONNECTION_OPTIONS_MAX).as_bytes()).is_ok());
    assert_eq!(request(text(CONNECTION_OPTIONS_MAX + 2).as_bytes()), Err(Fault::ConnectionOptions));
}

#[test]
fn look_ups_ignore_case_and_keep_order() {
    let mut storage = Message::new();
    let text = b"GET / HTTP/1.1\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\n";
    let head = RequestHead::parse(text, &mut storage, &Limits::default()).unwrap();
    assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!((head.fields.get("B"), head.fields.get("c")), (Some(&b"2"[..]), None));
    assert_eq!((head.fields.count("A"), head.fields.len(), head.fields.is_empty()), (2, 3, false));
}

/// Heads, each with one byte left out or changed, and cut anywhere: what is read without the scanner is what the scanner lets
/// pass, to the byte.
#[test]
fn whole_heads_are_read_as_scanned_ones() {
    let small = Limits { head_bytes_max: 60, target_bytes_max: 9, fields_max: 2, ..Limits::default() };
    let lenient = Limits { accept_bare_lf: true, ..Limits::default() };
    let mut read = 0;
    for head in [
        "GET http://a/b HTTP/1.1\r\nHost: a\r\nA:b\r\nB:  \r\nC: d \t\r\n\r\nGET",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /123456789 HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\nB:\r\nC:d\r\n\r\nbody\r\n\r\n",
        "HTTP/1.0 404\r\n\r\n",
        "HTTP/1.1 099 x\r\n\r\n",
    ] {
        let changed = (0..head.len()).flat_map(|at| {
            ["", "\n", "\r", " ", ":", "\0", "2"].map(|new| [&head[..at], new, &head[at + 1..]].concat())
        });
        let cut = (0..=head.len()).map(|end| head[..end].to_owned());
        for text in changed.chain(cut) {
            for limits in [Limits::default(), small, lenient] {
                let bytes = text.as_bytes();
                let (mut message, mut again) = (Message::new(), Message::new());
                let (mut one, mut other) = (Scanner::default(), Scanner::default());
                let found = message.receive_request(&mut one, bytes, &limits);
                assert_eq!(found, other.scan_request(bytes, &limits), "{text:?}");
                if !message.is_unread() {
                    again.read_request(bytes, &limits).unwrap();
                    assert_eq!(format!("{message:?}"), format!("{again:?}"), "{text:?}");
                    read += 1;
                }
                (one, other) = (Scanner::default(), Scanner::default());
                let found = message.receive_response(&mut one, bytes, &limits);
                assert_eq!(found, other.scan_response(bytes, &limits), "{text:?}");
                if !message.is_unread() {
                    again.clear();
                    again.read_response(bytes, &limits).unwrap();
                    assert_eq!(format!("{message:?}"), format!("{again:?}"), "{text:?}");
                    read += 1;
                }
            }
        }
    }
    assert!(read > 100, "{read}");
}

/// Heads with some bytes changed: what is taken for a plain head is one for httparse too, with the same parts.
#[test]
fn plain_heads_are_read_as_httparse_reads_them() {
    const PIECES: [&[u8]; 24] = [
        b"",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b": ",
        b":\t \t",
        b"\0",
        b"\x7f",
        b"\x80",
        b"\xc3\xa4",
        b"-",
        b"_",
        b"(",
        b"/",
        b"\"",
        b"Host:",
        b"Connection: a, b\r\n",
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"200",
        b"99",
    ];
    let (mut seed, mut plain_ones) = (1_u64, 0);
    let mut below = |limit: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % limit
    };
    let heads = [
        &b"GET http://a.example/b?c=d HTTP/1.1\r\nHost: a.example\r\nX-A:b\r\nB:  \r\nC: d \t\r\nE:\r\n\r\nGET"[..],
        b"POST / HTTP/1.0\r\nContent-Length: 12\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer: x\r\nX-B:\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\r\nbody\r\n\r\n",
        b"HTTP/1.0 404\r\n\r\n",
    ];
    for step in 0..40_000 {
        let mut bytes = heads[step % heads.len()].to_vec();
        for _ in 0..below(3) {
            let at = below(bytes.len());
            let end = (at + below(4)).min(bytes.len());
            bytes.splice(at..end, PIECES[below(PIECES.len())].iter().copied());
        }
        let (mut message, mut other) = (Message::new(), Message::new());
        let mut room: Room<'_> = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
        for is_request in [true, false] {
            let (found, expected) = if is_request {
                (plain::read_request(&mut message, &bytes, 9), other.try_request(&bytes, &mut room[..9]))
            } else {
                (plain::read_response(&mut message, &bytes, 9), other.try_response(&bytes, &mut room[..9]))
            };
            let Some(found) = found else { continue };
            plain_ones += 1;
            assert_eq!(Ok(found), expected, "{}", bytes.escape_ascii());
            assert_eq!(format!("{message:?}"), format!("{other:?}"), "{}", bytes.escape_ascii());
            message.clear();
            other.clear();
        }
    }
    assert!(plain_ones > 10_000, "{plain_ones}");
}

#[test]
fn a_message_is_read_once_and_again_when_it_was_emptied() {
    let (one, other) = (b"GET /a HTTP/1.1\r\nA: b\r\n\r\n", b"GET /b HTTP/1.0\r\nB: c\r\n\r\n");
    let (limits, mut message) = (Limits::default(), Message::new());
    assert!(message.request(one).is_none() && message.response(one).is_none());
    message.read_request(one, &limits).unwrap();
    let head = message.request(one).unwrap();
    assert_eq!((head.target, head.fields.get("a")), (&b"/a"[..], Some(&b"b"[..])));
    assert!(message.response(one).is_none());
    message.clear();
    assert!(message.is_unread() && message.request(one).is_none());
    message.read_request(other, &limits).unwrap();
    let head = message.request(other).unwrap();
    assert_eq!((head.target, head.version, head.fields.get("a")), (&b"/b"[..], Version::Http10, None));
}
