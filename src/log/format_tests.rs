use super::*;

const ALL: [Format; 4] = [Format::Weir, Format::Combined, Format::Squid, Format::Json];

fn sample() -> LogRecord {
    let mut record = LogRecord::new("127.0.0.1:50123".parse().unwrap());
    record.started_unix_us = 1_763_766_541_123_456;
    record.duration_us = 12_345;
    record.minor_version = Some(1);
    record.status = 200;
    record.client_bytes = 210;
    record.sent_bytes = 1450;
    record.upstream = Some("192.0.2.7:80".parse().unwrap());
    record.client_reused = true;
    record.origin_reused = true;
    record.waits = Waits { dns_us: Some(1_250), connect_us: None, ttfb_us: Some(7_005) };
    record.set(Text::User, b"alice");
    record.set(Text::Method, b"GET");
    record.set(Text::Target, b"http://a.example/?q=1");
    record.set(Text::Agent, b"curl/8 (x)");
    record.set(Text::Referrer, b"http://b.example/");
    record.set(Text::ContentType, b"text/html");
    record
}

fn refused() -> LogRecord {
    let mut record = LogRecord::new("[2001:db8::1]:5".parse().unwrap());
    record.verdict = Verdict::Refused;
    record.status = 403;
    record.sent_bytes = 99;
    record.minor_version = Some(0);
    record.set(Text::Method, b"CONNECT");
    record.set(Text::Target, b"b.example:443");
    record.set(Text::Reason, b"block list.txt:12");
    record
}

fn line(format: Format, record: &LogRecord) -> String {
    let mut out = b"before\n".to_vec();
    write_record(&mut out, format, record);
    String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned()
}

#[test]
fn a_line_needs_the_texts_that_are_named() {
    let mut full = sample();
    full.set(Text::Reason, b"a rule");
    full.set(Text::Note, b"a note");
    for format in [Format::Weir, Format::Combined, Format::Squid, Format::Json, Format::None] {
        let with = |texts: &[Text]| {
            let mut record = sample();
            Text::ALL.into_iter().for_each(|which| record.set(which, b""));
            texts.iter().for_each(|which| record.set(*which, full.text(*which)));
            let mut out = Vec::new();
            write_record(&mut out, format, &record);
            out
        };
        let needed = format.texts();
        assert_eq!(with(needed), with(&Text::ALL), "{format:?}");
        for spared in needed {
            let others: Vec<Text> = needed.iter().copied().filter(|which| which != spared).collect();
            assert_ne!(with(needed), with(&others), "{format:?} needs {spared:?}");
        }
    }
}

#[test]
fn whole_lines() {
    let bare = LogRecord::new("[::ffff:192.0.2.1]:9".parse().unwrap());
    let mut unread_version = bare.clone();
    unread_version.set(Text::Method, b"GET");
    unread_version.set(Text::Target, b"http://a.example/");
    let cases = [
        (
            Format::Weir,
            sample(),
            "2025-11-21T23:09:01.123Z exchange allowed 200 GET http://a.example/?q=1 client=127.0.0.1:50123 user=alice \
             received=210 sent=1450 ms=12.345 dns_ms=1.250 connect_ms=- ttfb_ms=7.005 upstream=192.0.2.7:80 \
             reused=client,origin reason=- cache=-\n",
        ),
        (
            Format::Weir,
            refused(),
            "1970-01-01T00:00:00.000Z exchange refused 403 CONNECT b.example:443 client=[2001:db8::1]:5 user=- received=0 \
             sent=99 ms=0.000 dns_ms=- connect_ms=- ttfb_ms=- upstream=- reused=- \
             reason=block\\x20list.txt:12 cache=-\n",
        ),
        (
            Format::Weir,
            bare.clone(),
            "1970-01-01T00:00:00.000Z exchange allowed - - - client=192.0.2.1:9 user=- received=0 sent=0 ms=0.000 \
             dns_ms=- connect_ms=- ttfb_ms=- upstream=- reused=- reason=- cache=-\n",
        ),
        (
            Format::Combined,
            sample(),
            "127.0.0.1 - alice [21/Nov/2025:23:09:01 +0000] \"GET http://a.example/?q=1 HTTP/1.1\" 200 1450 \
             \"http://b.example/\" \"curl/8 (x)\"\n",
        ),
        (
            Format::Combined,
            refused(),
            "2001:db8::1 - - [01/Jan/1970:00:00:00 +0000] \"CONNECT b.example:443 HTTP/1.0\" 403 99 \"-\" \"-\"\n",
        ),
        (
            Format::Combined,
            bare.clone(),
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"-\" 000 - \"-\" \"-\"\n",
        ),
        (
            Format::Combined,
            unread_version,
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET http://a.example/ -\" 000 - \"-\" \"-\"\n",
        ),
        (
            Format::Squid,
            sample(),
            "1763766541.135     12 127.0.0.1 TCP_MISS/200 1450 GET http://a.example/?q=1 alice HIER_DIRECT/192.0.2.7 text/html\n",
        ),
        (
            Format::Squid,
            refused(),
            "0.000      0 2001:db8::1 TCP_DENIED/403 99 CONNECT b.example:443 - HIER_NONE/- -\n",
        ),
        (Format::Squid, bare.clone(), "0.000      0 192.0.2.1 TCP_MISS_ABORTED/000 0 - - - HIER_NONE/- -\n"),
        (
            Format::Json,
            sample(),
            "{\"time\":\"2025-11-21T23:09:01.123Z\",\"kind\":\"exchange\",\"verdict\":\"allowed\",\"status\":200,\
             \"method\":\"GET\",\"target\":\"http://a.example/?q=1\",\"version\":\"1.1\",\"client\":\"127.0.0.1:50123\",\
             \"user\":\"alice\",\"received\":210,\"sent\":1450,\"duration_us\":12345,\"dns_ms\":1.250,\"connect_ms\":null,\"ttfb_ms\":7.005,\"upstream\":\"192.0.2.7:80\",\
             \"client_reused\":true,\"origin_reused\":true,\"reason\":null,\"cache\":null,\"cache_reason\":null,\"referrer\":\"http://b.example/\",\
             \"agent\":\"curl/8 (x)\",\"content_type\":\"text/html\"}\n",
        ),
        (
            Format::Json,
            bare,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"kind\":\"exchange\",\"verdict\":\"allowed\",\"status\":null,\
             \"method\":null,\"target\":null,\"version\":null,\"client\":\"192.0.2.1:9\",\"user\":null,\"received\":0,\
             \"sent\":0,\"duration_us\":0,\"dns_ms\":null,\"connect_ms\":null,\"ttfb_ms\":null,\"upstream\":null,\"client_reused\":false,\"origin_reused\":false,\
             \"reason\":null,\"cache\":null,\"cache_reason\":null,\"referrer\":null,\"agent\":null,\"content_type\":null}\n",
        ),
    ];
    for (format, record, expected) in cases {
        assert_eq!(line(format, &record), expected, "{format:?}");
    }
}

#[test]
fn a_dash_is_not_nothing() {
    let mut record = sample();
    record.set(Text::Referrer, b"-");
    record.set(Text::Agent, b"");
    assert!(line(Format::Combined, &record).ends_with(" \"\\x2d\" \"-\"\n"));
}

/// Squid's result codes, with `_ABORTED` for incomplete responses.
#[test]
fn kind_25_squid_codes() {
    use {Kind::*, Verdict::*};
    for (verdict, kind, method, status, expected) in [
        (Allowed, Transaction, "GET", 200, "TCP_MISS/200"),
        (Allowed, Transaction, "GET", 0, "TCP_MISS_ABORTED/000"),
        (Failed, Transaction, "GET", 502, "TCP_MISS/502"),
        (Failed, Transaction, "CONNECT", 502, "TCP_TUNNEL/502"),
        (Allowed, Tunnel, "CONNECT", 200, "TCP_TUNNEL/200"),
        (Allowed, TunnelStart, "CONNECT", 200, "TCP_TUNNEL_START/200"),
        (Allowed, Tunnel, "GET", 101, "TCP_TUNNEL/101"),
        (Refused, Transaction, "GET", 407, "TCP_DENIED/407"),
        (Refused, Transaction, "CONNECT", 403, "TCP_DENIED/403"),
        (Malformed, Transaction, "GET", 400, "NONE_NONE/400"),
        (Malformed, Transaction, "", 400, "NONE_NONE/400"),
    ] {
        let mut record = sample();
        (record.verdict, record.kind, record.status) = (verdict, kind, status);
        record.set(Text::Method, method.as_bytes());
        assert_eq!(squid_word(&record), expected);
    }
    // A request that never was complete is nothing of the cache.
    let mut record = sample();
    (record.verdict, record.status, record.aborted) = (Malformed, 0, true);
    record.set(Text::Method, b"");
    assert_eq!(squid_word(&record), "NONE_NONE/000");
    for (verdict, kind, status, expected) in [
        (Failed, Transaction, 200, "TCP_MISS_ABORTED/200"),
        (Failed, Transaction, 0, "TCP_MISS_ABORTED/000"),
        (Malformed, Transaction, 0, "TCP_MISS_ABORTED/000"),
        (Refused, Transaction, 403, "TCP_DENIED_ABORTED/403"),
        (Allowed, Tunnel, 200, "TCP_TUNNEL_ABORTED/200"),
    ] {
        let mut record = sample();
        (record.verdict, record.kind, record.status, record.aborted) = (verdict, kind, status, true);
        assert_eq!(squid_word(&record), expected);
    }
    for (cache, forward, status, aborted, expected) in [
        (CacheUse::Hit, None, 200, false, "TCP_MEM_HIT/200"),
        (CacheUse::Hit, None, 200, true, "TCP_MEM_HIT_ABORTED/200"),
        (CacheUse::Hit, None, 304, false, "TCP_IMS_HIT/304"),
        (CacheUse::Collapsed, None, 200, false, "TCP_CF_HIT/200"),
        (CacheUse::Stale, None, 200, false, "TCP_STALE_HIT/200"),
        (CacheUse::Stale, Some(Forward::Stale), 200, false, "TCP_REFRESH_FAIL_OLD/200"),
        (CacheUse::Revalidated, Some(Forward::Stale), 200, false, "TCP_REFRESH_UNMODIFIED/200"),
        (CacheUse::Miss, Some(Forward::Stale), 200, false, "TCP_REFRESH_MODIFIED/200"),
        (CacheUse::Miss, Some(Forward::Request), 200, false, "TCP_CLIENT_REFRESH_MISS/200"),
        (CacheUse::Miss, Some(Forward::UriMiss), 200, true, "TCP_MISS_ABORTED/200"),
        (CacheUse::Bypass, Some(Forward::Method), 200, false, "TCP_MISS/200"),
        (CacheUse::Refresh, None, 0, false, "TCP_ASYNC_MISS/000"),
    ] {
        let mut record = sample();
        (record.cache, record.forward, record.status, record.aborted) = (cache, forward, status, aborted);
        assert_eq!(squid_word(&record), expected);
    }
}

/// A refresh is told where it has a word, and not where it would pass for a request of the client.
#[test]
fn a_refresh_is_no_request_of_a_client() {
    let mut record = sample();
    (record.cache, record.status) = (CacheUse::Refresh, 0);
    assert_eq!(line(Format::Combined, &record), "");
    for (format, word) in [
        (Format::Weir, " cache=refresh"),
        (Format::Json, "\"cache\":\"refresh\""),
        (Format::Squid, " TCP_ASYNC_MISS/000 "),
    ] {
        assert!(line(format, &record).contains(word), "{format:?}");
    }
}

/// The word with code and status.
fn squid_word(record: &LogRecord) -> String {
    line(Format::Squid, record).split_whitespace().nth(3).unwrap_or_default().to_owned()
}

#[test]
fn texts_are_escaped() {
    let cases: [(&[u8], &str, &str); 17] = [
        (b"plain/%20~", "plain/%20~", "plain/%20~"),
        (b"a b", "a\\x20b", "a b"),
        (b"a\"b", "a\\\"b", "a\\\"b"),
        (b"a\\b", "a\\\\b", "a\\\\b"),
        (b"\\x20", "\\\\x20", "\\\\x20"),
        (
            b"a\r\nb\0\t\x1b\x7f",
            "a\\x0d\\x0ab\\x00\\x09\\x1b\\x7f",
            "a\\u000d\\u000ab\\u0000\\u0009\\u001b\\u007f",
        ),
        (b"\xff\xfe", "\\xff\\xfe", "\\ufffd\\ufffd"),
        (b"a\xc3", "a\\xc3", "a\\ufffd"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"),
        ("é漢😀".as_bytes(), "é漢😀", "é漢😀"),
        ("a\u{85}b".as_bytes(), "a\\xc2\\x85b", "a\\u0085b"),
        ("\u{2028}\u{2029}".as_bytes(), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9", "\\u2028\\u2029"),
        ("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex", "\\u202ex"),
        ("\u{2066}".as_bytes(), "\\xe2\\x81\\xa6", "\\u2066"),
        ("\u{a0}\u{3000}".as_bytes(), "\\xc2\\xa0\\xe3\\x80\\x80", "\\u00a0\\u3000"),
        ("\u{e0041}".as_bytes(), "\\xf3\\xa0\\x81\\x81", "\\udb40\\udc41"),
        (b"-", "\\x2d", "-"),
    ];
    for (text, in_word, in_json) in cases {
        let mut out = Vec::new();
        write_word(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), in_word, "{text:?}");
        let mut out = Vec::new();
        write_json_text(&mut out, b"k", text);
        assert_eq!(String::from_utf8(out).unwrap(), format!(",\"k\":\"{in_json}\""), "{text:?}");
    }
}

/// Undoes the escapes of the text formats.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                out.push(u8::from_str_radix(std::str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap());
                after
            }
            (b'\\', [char, after @ ..]) => {
                out.push(*char);
                after
            }
            (byte, after) => {
                out.push(*byte);
                after
            }
        };
    }
    out
}

/// Bytes of every kind, by a small generator from a fixed seed.
fn hostile(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pieces: [&[u8]; 12] = [
        b" ",
        b"\"",
        b"\\",
        b"\n",
        b"\r",
        b"] \"GET ",
        b" user=root",
        b"\xff",
        "\u{202e}".as_bytes(),
        "é".as_bytes(),
        b"-",
        b"\",\"a\":\"",
    ];
    let mut text = Vec::new();
    for _ in 0..next() % 12 {
        match next() % 3 {
            0 => text.push(next() as u8),
            1 => text.extend_from_slice(pieces[next() as usize % pieces.len()]),
            _ => text.extend(char::from_u32(next() as u32 % 0x11_0000).unwrap_or('x').to_string().bytes()),
        }
    }
    text
}

#[test]
fn no_text_forges_a_line_or_a_field() {
    let texts = Text::ALL;
    for seed in 0..2000 {
        let mut record = sample();
        for (index, which) in texts.into_iter().enumerate() {
            record.set(which, &hostile(seed * 7 + index as u64));
        }
        for format in ALL {
            let line = line(format, &record);
            assert_eq!(line.matches('\n').count(), 1);
            let body = line.strip_suffix('\n').unwrap();
            assert!(
                !body.chars().any(|char| char.is_control() || (char.is_whitespace() && char != ' ')),
                "{line}"
            );
            assert!(!body.contains(['\u{202e}', '\u{2066}', '\u{feff}', '\u{200b}']), "{line}");
        }
        // The number of fields does not change, and each field gives its bytes back.
        let line = line(Format::Weir, &record);
        let fields: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        let count = 18 + usize::from(!record.text(Text::Note).is_empty());
        assert_eq!(fields.len(), count, "{line}");
        if count > 18 {
            let note = fields[18].strip_prefix("note=").unwrap();
            assert_eq!(unescaped(note.as_bytes()), record.text(Text::Note), "{line}");
        }
        for (field, key, which) in [
            (4, "", Text::Method),
            (5, "", Text::Target),
            (7, "user=", Text::User),
            (16, "reason=", Text::Reason),
        ] {
            let field = fields[field].strip_prefix(key).unwrap();
            let expected = if field == "-" { b"" } else { record.text(which) };
            assert_eq!(if field == "-" { vec![] } else { unescaped(field.as_bytes()) }, expected, "{line}");
            assert_eq!(field == "-", record.text(which).is_empty());
        }
        assert_eq!(self::line(Format::Squid, &record).split_whitespace().count(), 10);
        let json = self::line(Format::Json, &record);
        assert!(is_json_object(json.trim_end_matches('\n')), "{json}");
        let combined = self::line(Format::Combined, &record);
        let quotes = combined.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes, 6, "{combined}");
    }
}

/// Whether a text is one flat JSON object (RFC 8259), read strictly.
fn is_json_object(text: &str) -> bool {
    let mut rest = match text.strip_prefix('{') {
        Some(rest) => rest,
        None => return false,
    };
    loop {
        let Some(after) = json_string(rest).and_then(|after| after.strip_prefix(':')) else { return false };
        let literals = ["null", "true", "false"];
        let after = match literals.iter().find_map(|literal| after.strip_prefix(literal)) {
            Some(after) => after,
            None if after.starts_with('"') => match json_string(after) {
                Some(after) => after,
                None => return false,
            },
            None => {
                let digits =
                    |text: &'_ str| text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
                let number = &after[digits(after)..];
                let number = match number.strip_prefix('.') {
                    Some(fraction) if digits(fraction) > 0 => &fraction[digits(fraction)..],
                    Some(_) | None => number,
                };
                if digits(after) == 0 {
                    return false;
                }
                number
            }
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after == "}",
        }
    }
}

/// The text behind a string.
fn json_string(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('"')?;
    loop {
        let char = rest.chars().next()?;
        rest = &rest[char.len_utf8()..];
        match char {
            '"' => return Some(rest),
            '\\' => {
                let escape = rest.chars().next()?;
                let len = match escape {
                    'u' if rest.len() >= 5 && rest.as_bytes()[1..5].iter().all(u8::is_ascii_hexdigit) => 5,
                    '"' | '\\' => 1,
                    _ => return None,
                };
                rest = &rest[len..];
            }
            control if control < ' ' => return None,
            _ => {}
        }
    }
}

#[test]
fn json_reader_of_these_tests_is_strict() {
    for (text, good) in [
        ("{\"a\":1}", true),
        ("{\"a\":\"\\u00e9\",\"b\":null}", true),
        ("{\"a\":}", false),
        ("{\"a\":\"\\x\"}", false),
        ("{\"a\":\"\n\"}", false),
        ("{\"a\":1", false),
        ("{\"a\":1,}", false),
        ("{\"a\":1.250,\"b\":0.001}", true),
        ("{\"a\":1.}", false),
        ("{\"a\":.5}", false),
    ] {
        assert_eq!(is_json_object(text), good, "{text}");
    }
}

#[test]
fn dates() {
    for (unix_s, timestamp, common) in [
        (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        (68_169_599, "1972-02-28T23:59:59.000Z", "28/Feb/1972:23:59:59 +0000"),
        (951_782_400, "2000-02-29T00:00:00.000Z", "29/Feb/2000:00:00:00 +0000"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z", "31/Dec/2024:23:59:59 +0000"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
        (253_402_300_800, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000"),
        (u64::MAX / 1_000_000, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000"),
    ] {
        let mut out = Vec::new();
        write_timestamp(&mut out, unix_s * 1_000_000);
        assert_eq!(String::from_utf8(out).unwrap(), timestamp);
        let mut out = Vec::new();
        write_common_date(&mut out, unix_s);
        assert_eq!(String::from_utf8(out).unwrap(), common);
    }
}

#[test]
fn every_day_of_four_centuries_follows_the_one_before() {
    let mut expected = (1970, 1, 1);
    for day in 0..146_097 * 2 {
        assert_eq!(civil(day), expected);
        let (year, month, date) = expected;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        expected = match (date == length, month) {
            (false, _) => (year, month, date + 1),
            (true, 12) => (year + 1, 1, 1),
            (true, _) => (year, month + 1, 1),
        };
    }
}

#[test]
fn extremes() {
    let mut record = sample();
    (record.started_unix_us, record.duration_us) = (u64::MAX, u64::MAX);
    (record.client_bytes, record.sent_bytes, record.status) = (u64::MAX, u64::MAX, u16::MAX);
    for format in ALL {
        assert!(line(format, &record).contains("18446744073709551615"), "{format:?}");
    }
    for (value, width, expected) in [(0, 1, "0"), (7, 3, "007"), (1234, 3, "1234"), (10, 1, "10")] {
        let mut out = Vec::new();
        write_decimal(&mut out, value, width);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn nothing_is_allocated_beyond_the_line() {
    let mut out = Vec::with_capacity(1 << 12);
    let before = out.as_ptr();
    for format in ALL {
        write_record(&mut out, format, &sample());
    }
    assert_eq!(out.as_ptr(), before);
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
}

#[test]
fn names() {
    for (name, expected) in [
        ("weir", Some(Format::Weir)),
        ("combined", Some(Format::Combined)),
        ("squid", Some(Format::Squid)),
        ("json", Some(Format::Json)),
        ("none", Some(Format::None)),
        ("", None),
        ("JSON", None),
    ] {
        assert_eq!(Format::parse(name), expected);
    }
}
