//! Walkers, in tables: the parts of a body, for any ends of its pieces.

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=xyz";

/// The parts of a body in these pieces: `kind field=bytes`.
fn shown<'a>(media_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut walker = Walker::new([media_type.as_bytes()]);
    let mut shown = Vec::new();
    let mut take = |part: Part<'_>| {
        let letter = match part.kind {
            PartKind::Name => 'N',
            PartKind::Value => 'V',
            PartKind::Header => 'H',
            PartKind::FileName => 'F',
            PartKind::Text => 'T',
            PartKind::Operator => 'O',
        };
        let (field, header) = (part.field.escape_ascii(), part.header.escape_ascii());
        let colon = if part.field.is_empty() || part.header.is_empty() { "" } else { ":" };
        shown.push(format!("{letter} {field}{colon}{header}={}", part.bytes.escape_ascii()));
    };
    pieces.into_iter().for_each(|piece| walker.push(piece, &mut take));
    walker.end(&mut take);
    assert!(!walker.is_pending(), "{media_type}");
    shown
}

/// Checks the parts for every way to cut the body in two, and byte by byte.
#[track_caller]
fn check(media_type: &str, body: &[u8], expected: &[&str]) {
    assert_eq!(shown(media_type, [body]), expected, "{media_type}: {}", body.escape_ascii());
    for at in 0..=body.len() {
        assert_eq!(shown(media_type, [&body[..at], &body[at..]]), expected, "cut at {at}");
    }
    assert_eq!(shown(media_type, body.chunks(1)), expected, "byte by byte");
}

#[test]
fn guard_11_forms_are_shown_by_field() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("a=1&b=two", &["N a=a", "V a=1", "N b=b", "V b=two"]),
        ("a=1&a=2&a=", &["N a=a", "V a=1", "N a=a", "V a=2", "N a=a"]),
        ("a+b=c%20d%2Be", &["N a b=a b", "V a b=c d+e"]),
        ("a=b=c&&=d", &["N a=a", "V a=b=c", "V =d"]),
        ("a", &["N a=a"]),
        ("q=%27%20or%201%3d1", &["N q=q", "V q=\\' or 1=1"]),
        ("q=%u0027%2&r=%", &["N q=q", "V q=%u0027%2", "N r=r", "V r=%"]),
        ("q=%%27%4", &["N q=q", "V q=%\\'%4"]),
        ("u[$ne]=1", &["N u[$ne]=u[$ne]", "V u[$ne]=1"]),
    ];
    for (body, expected) in cases {
        check(FORM, body.as_bytes(), expected);
    }
}

#[test]
fn guard_11_json_in_a_value_is_walked_as_well() {
    check(
        FORM,
        br#"f={"user":{"$ne":"x"}}"#,
        &["N f=f", r#"V f={\"user\":{\"$ne\":\"x\"}}"#, "N user=user", "O $ne=$ne", "N $ne=$ne", "V $ne=x"],
    );
    // As command-line clients send it without a configured type.
    check(FORM, br#"{"$gt":1}"#, &[r#"N {\"$gt\":1}={\"$gt\":1}"#, "O $gt=$gt", "N $gt=$gt"]);
    check("text/plain", br#" {"$gt":1}"#, &["O $gt=$gt", "N $gt=$gt"]);
    check(JSON, br#"{"a":"[{\"$in\":0}]"}"#, &["N a=a", r#"V a=[{\"$in\":0}]"#, "O $in=$in", "N $in=$in"]);
}

#[test]
fn guard_11_json_is_shown_by_key_and_leaf() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        (" [1, -2.5e+7, true, false, null] ", &[]),
        (r#"{"a":"b","c":["d",{"e":"f"}]}"#, &["N a=a", "V a=b", "N c=c", "V c=d", "N e=e", "V e=f"]),
        (r#""alone""#, &["V =alone"]),
        ("\u{feff}{\"a\":\"b\"}", &["N a=a", "V a=b"]),
        ("{\"a\":\"b\"}\n{\"c\":\"d\"}\n", &["N a=a", "V a=b", "N c=c", "V c=d"]),
        (r#"["a\"b\\c\/d\n\t\u0041\u00e9"]"#, &[r#"V =a\"b\\c/d\n\tA\xc3\xa9"#]),
        (
            r#"["\ud83d\ude00 \ud83d \ude00\ud83d"]"#,
            &[r"V =\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd"],
        ),
        (r#"["\u00g1\x41\u"]"#, &[r"V =\\u00g1\\x41\\u"]),
        (r#"{"a":{},"b":[],"c":""}"#, &["N a=a", "N b=b", "N c=c"]),
    ];
    for (body, expected) in cases {
        check(JSON, body.as_bytes(), expected);
    }
}

/// An interface that takes queries takes operators: below the name of a field, or where they join conditions.
#[test]
fn ours_11_operators_of_a_clients_query_are_none() {
    for (body, is_hit) in [
        (r#"{"filter":{"price":{"$gte":1,"$lt":5}}}"#, false),
        (r#"{"query":{"$or":[{"a":{"$in":[1]}},{"$text":{"$search":"x"}}]}}"#, false),
        (r#"{"pipeline":[{"$match":{"a":{"$ne":1}}}]}"#, false),
        (r#"{"filter":{"$ne":null}}"#, true),
        (r#"{"filter":{"a":{"$where":"sleep(1)"}}}"#, true),
        (r#"{"filter":{"a":1},"password":{"$ne":1}}"#, true),
        (r#"{"user":{"$ne":"x"}}"#, true),
    ] {
        let (mut walker, mut hits) = (Walker::new([&b"application/json"[..]]), 0);
        let mut count = |part: Part<'_>| hits += usize::from(part.kind == PartKind::Operator);
        walker.push(body.as_bytes(), &mut count);
        walker.end(&mut count);
        assert_eq!(hits > 0, is_hit, "{body}");
    }
}

#[test]
fn guard_11_mongodb_operators_are_hits_by_themselves() {
    for (key, is_hit) in [
        ("$ne", true),
        ("$where", true),
        ("$gt", true),
        ("$regex", true),
        ("$ref", false),
        ("$set", false),
        ("ne", false),
    ] {
        let body = format!("{{\"{key}\":0}}");
        let found = shown(JSON, [body.as_bytes()]);
        assert_eq!(found.iter().any(|part| part.starts_with('O')), is_hit, "{key}");
    }
    // A value is no key, an escaped key is one.
    check(JSON, br#"["$ne",{"a":"$ne"}]"#, &["V =$ne", "N a=a", "V a=$ne"]);
    check(JSON, br#"{"\u0024ne":0}"#, &["O $ne=$ne", "N $ne=$ne"]);
}

#[test]
fn ours_11_broken_json_is_text_from_there_on() {
    let cases: &[(&str, &[&str])] = &[
        ("{'a':1}", &["T ={\\'a\\':1}"]),
        (r#"{"a":sleep(1)}"#, &["N a=a", r#"T ={\"a\":sleep(1)}"#]),
        (r#"{"a":"b"} union"#, &["N a=a", "V a=b", r#"T ={\"a\":\"b\"} union"#]),
        ("trux", &["T =trux"]),
        (r#"{"a":"never ends"#, &["N a=a", "V a=never ends"]),
        ("[[[", &[]),
        ("]]", &["T =]]"]),
        ("[tru", &[]),
    ];
    for (body, expected) in cases {
        check(JSON, body.as_bytes(), expected);
    }
    check(JSON, b"[\"\xff\xfe\"]\x80x", &[r"V =\xff\xfe", r#"T =[\"\xff\xfe\"]\x80x"#]);
}

#[test]
fn fault_13_4_long_runs_of_digits_raise_nothing() {
    let digits = "9".repeat(10_000);
    assert_eq!(shown(JSON, [format!("[{digits},\"a\"]").as_bytes()]), ["V =a"]);
    let form = shown(FORM, [format!("a={digits}").as_bytes()]);
    assert_eq!(form.len(), 3, "name, and two windows");
}

#[test]
fn guard_11_json_below_depth_32_is_text() {
    let deep =
        |levels: usize, inside: &str| format!("{}{inside}{}\"z\"", "[".repeat(levels), "]".repeat(levels));
    check(JSON, deep(32, r#""a""#).as_bytes(), &["V =a", "V =z"]);
    check(JSON, deep(33, r#""a""#).as_bytes(), &[r#"T =[\"a\"]"#, "V =z"]);
    check(JSON, deep(34, r#"{"a]":"\"]"}"#).as_bytes(), &[r#"T =[[{\"a]\":\"\\\"]\"}]]"#, "V =z"]);
    // At any depth no memory is used for a level, and nothing recurses.
    let body = "[".repeat(300_000);
    assert!(!shown(JSON, [body.as_bytes()]).is_empty());
}

#[test]
fn guard_11_multipart_is_shown_by_header_and_payload() {
    let body = b"--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\ntwo\r\n--xyz\r\n\
        content-disposition: form-data; name=\"f\"; filename=\"..\\evil\\\".php\"\r\nContent-Type: application/json\r\n\
        \r\n{\"k\":\"v\"}\r\n--xyz--\r\n";
    check(
        MULTIPART,
        body,
        &[
            "N a=a",
            r#"H a:Content-Disposition=form-data; name=\"a\""#,
            r"V a=one\r\ntwo",
            "N f=f",
            r#"F f=..\\evil\".php"#,
            r#"H f:content-disposition=form-data; name=\"f\"; filename=\"..\\evil\\\".php\""#,
            "H f:Content-Type=application/json",
            "N k=k",
            "V k=v",
        ],
    );
}

#[test]
fn guard_11_binary_parts_show_their_printable_runs() {
    let mut body =
        b"--xyz\r\nContent-Disposition: form-data; name=f; filename=x.png\r\nContent-Type: image/png\r\n\r\n"
            .to_vec();
    body.extend_from_slice(b"\x89PNG\x00short run\x00<?php system(1);?>\xff--xy\r\n--xyz--");
    check(
        MULTIPART,
        &body,
        &[
            "N f=f",
            "F f=x.png",
            "H f:Content-Disposition=form-data; name=f; filename=x.png",
            "H f:Content-Type=image/png",
            "T f=<?php system(1);?>",
        ],
    );
    check("image/png", b"\x00<?php eval(1234);\x00abc", &["T =<?php eval(1234);"]);
    check("image/png", b"cmd=;ls", &["T =cmd=;ls"]);
    // At every position of a run among bytes that are skipped sixteen at a time.
    for before in 1..40 {
        let body =
            [&vec![0; before][..], b"0123456789abcdef\x00short\x00", &[1; 33], b"\x00ghijklmnopqrstuvw"]
                .concat();
        check("image/png", &body, &["T =0123456789abcdef", "T =ghijklmnopqrstuvw"]);
    }
}

#[test]
fn ours_11_multipart_hides_nothing() {
    let cases: &[(&str, &[&str])] = &[
        // Before the first delimiter and behind the last.
        ("before\r\n--xyz--\r\nbehind", &["T =before", "T =behind"]),
        ("no delimiter at all --xyz", &["T =no delimiter at all --xyz"]),
        // Line feeds alone, no empty line, no end.
        ("--xyz\nA: b\n\npay\n--xyz\nC: d\n--xyz\nE: f", &["H A=b", "V =pay", "H C=d", "H E=f"]),
        // Bytes that begin like a delimiter.
        ("--xyz\r\n\r\n--xy\r\n--x", &["V =--xy\\r\\n--x"]),
        ("--xyz odd\r\n\r\npay", &["T = odd", "V =pay"]),
        // A folded line.
        (
            "--xyz\r\nContent-Disposition: form-data;\r\n name=\"a\"; filename=b\r\n\r\nc",
            &[
                "H Content-Disposition=form-data;",
                "N a=a",
                "F a=b",
                r#"H a:Content-Disposition=name=\"a\"; filename=b"#,
                "V a=c",
            ],
        ),
    ];
    for (body, expected) in cases {
        let found = shown(MULTIPART, [body.as_bytes()]);
        assert_eq!(found, *expected, "{body:?}");
        check(MULTIPART, body.as_bytes(), expected);
    }
}

#[test]
fn ours_11_texts_are_shown_in_windows_that_overlap() {
    let needle = "union select password from users";
    for before in [0, 1, WINDOW_BYTES - OVERLAP_BYTES - 10, WINDOW_BYTES - 5, 3 * WINDOW_BYTES] {
        for media_type in ["text/plain", FORM, JSON, MULTIPART, "image/png"] {
            let padding = "a".repeat(before);
            let body = match media_type {
                JSON => format!("[\"{padding}{needle}\"]"),
                MULTIPART => format!("--xyz\r\n\r\n{padding}{needle}\r\n--xyz--"),
                _ => format!("{padding}{needle}"),
            };
            let found = shown(media_type, body.as_bytes().chunks(1000));
            assert!(found.iter().any(|part| part.contains(needle)), "{media_type} {before}");
            assert!(found.iter().all(|part| part.len() <= WINDOW_BYTES + 200), "{media_type} {before}");
        }
    }
}

#[test]
fn several_media_types_are_none() {
    let walk = |media_types: &[&str]| {
        let mut walker = Walker::new(media_types.iter().map(|media_type| media_type.as_bytes()));
        let mut count = 0;
        walker.push(b"a=1&b=2", &mut |_| count += 1);
        walker.end(&mut |_| count += 1);
        count
    };
    assert_eq!(walk(&[FORM]), 4);
    assert_eq!(walk(&[FORM, FORM]), 4);
    assert_eq!(walk(&[FORM, JSON]), 1, "as one text");
    assert_eq!(walk(&[]), 1);
}

/// The memory of a body counts as blocks: a decoded part has a window of its own, until the part ends.
#[test]
fn ours_11_a_part_that_is_decoded_counts_twice() {
    let mut walker = Walker::new([&b"multipart/form-data; boundary=x"[..]]);
    let mut windows = |piece: &[u8]| {
        walker.push(piece, &mut |_| {});
        walker.windows()
    };
    assert_eq!(windows(b"--x\r\nContent-Transfer-Encoding: 8bit\r\n\r\na\r\n"), 1);
    assert_eq!(windows(b"--x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na"), 2);
    assert_eq!(windows(b"\r\n--x\r\n"), 1);
}
