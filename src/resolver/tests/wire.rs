//! Messages byte by byte.

use std::net::{IpAddr, Ipv4Addr};

use super::super::message::{Family, Reply, SentQuery, WireName, read_reply};
use super::{addresses, ip, name};
use crate::http::target::Name;
use crate::resolver::{Addresses, Transport};

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const AAAA: u16 = 28;

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) kind: u16,
    pub(super) ttl_s: u32,
    pub(super) rdata: Vec<u8>,
    class: u16,
    target: String,
}

impl Record {
    pub(super) fn new(owner: &str, kind: u16, ttl_s: u32, value: &str) -> Record {
        let rdata = match kind {
            A | AAAA => match ip(value) {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            },
            CNAME => labels(value),
            _ => vec![0],
        };
        let target = value.to_ascii_lowercase();
        Record { owner: owner.to_owned(), kind, ttl_s, rdata, class: 1, target }
    }

    pub(super) fn target(&self) -> String {
        self.target.clone()
    }

    fn write(&self, bytes: &mut Vec<u8>, sent: &str) {
        if self.owner.eq_ignore_ascii_case(sent) {
            bytes.extend_from_slice(&[0xc0, 12]);
        } else {
            bytes.extend_from_slice(&labels(&self.owner));
        }
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.class.to_be_bytes());
        bytes.extend_from_slice(&self.ttl_s.to_be_bytes());
        bytes.extend_from_slice(&(self.rdata.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&self.rdata);
    }
}

pub(super) fn soa(zone: &str, ttl_s: u32, minimum_s: u32) -> Record {
    let mut rdata = [labels("ns.example"), labels("root.example"), vec![0; 16]].concat();
    rdata.extend_from_slice(&minimum_s.to_be_bytes());
    Record { rdata, ..Record::new(zone, SOA, ttl_s, "") }
}

fn labels(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Name and type that a query asks for.
pub(super) fn name_of(query: &[u8]) -> (String, u16) {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]))
}

/// A reply to a query, which repeats its question.
pub(super) fn reply(query: &[u8], flags: u16, answers: &[Record], authorities: &[Record]) -> Vec<u8> {
    let (sent, _) = name_of(query);
    let question_end = 12 + labels(&sent).len() + 4;
    let mut bytes = query[0..2].to_vec();
    let counts = [flags, 1, answers.len() as u16, authorities.len() as u16, 0];
    counts.iter().for_each(|count| bytes.extend_from_slice(&count.to_be_bytes()));
    bytes.extend_from_slice(&query[12..question_end]);
    answers.iter().chain(authorities).for_each(|record| record.write(&mut bytes, &sent));
    bytes
}

fn ask<T>(text: &str, family: Family, cases: Option<[u64; 4]>, then: impl FnOnce(&SentQuery) -> T) -> T {
    let owner = WireName::from_name(&name(text)).unwrap();
    let transport = Transport::Udp;
    then(&SentQuery { id: 0x1234, owner: &owner, family, case_bits: cases, transport, edns: true, links: 0 })
}

fn found(list: &[&str], ttl_s: u32) -> Reply {
    Reply::Found { addresses: list.iter().map(|text| ip(text)).collect(), ttl_s, aliases: Vec::new() }
}

#[test]
fn writes_a_query() {
    let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x07example\x00\x00\x1c\x00\x01\
        \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    ask("www.example", Family::V6, None, |sent| assert_eq!(sent.write().as_bytes(), expected));
    let cases = Some([0b10_0011, 0, 0, 0]);
    ask("www.example", Family::V4, cases, |sent| {
        assert_eq!(&sent.write().as_bytes()[12..29], b"\x03Www\x07Example\x00\x00\x01\x00\x01");
    });
}

#[test]
fn names_have_their_limits() {
    let label = "a".repeat(63);
    let longest = [&label[..], &label, &label, &label[..61]].join(".");
    assert_eq!(longest.len(), 253);
    let wire = WireName::from_name(&name(&longest)).unwrap();
    assert_eq!(wire.as_bytes().len(), 255);
    assert!(name(&longest).in_domain(&name("x")).is_none());
    assert!(
        name(&longest[..251]).in_domain(&name("x")).is_some_and(|name| WireName::from_name(&name).is_some())
    );
    ask(&longest, Family::V4, Some([u64::MAX; 4]), |sent| {
        let query = sent.write();
        assert_eq!(query.as_bytes().len(), 282);
        let answer = reply(query.as_bytes(), 0x8180, &[Record::new(&longest, A, 9, "192.0.2.1")], &[]);
        assert_eq!(read_reply(&answer, sent), found(&["192.0.2.1"], 9));
    });
}

/// The owner of a zone may give a CNAME a target that is no host name.
#[test]
fn kind_05_names_on_the_way_may_have_any_bytes() {
    let longest = [&[63][..], &[0xff; 63], &[63], &[b'*'; 63], &[63], &[b'.'; 63], &[61], &[b'X'; 61], &[0]];
    for (target, expected) in [
        (&b"\x01x\x03Ads\x04test\0"[..], "x.ads.test"),
        (b"\x01*\x03ads\x04test\0", "?.ads.test"),
        (b"\x03a b\x03ads\x04test\0", "a?b.ads.test"),
        (b"\x02\xc3\xa4\x03ads\x04test\0", "??.ads.test"),
        (b"\x05x.ads\x04test\0", "x?ads.test"),
        (
            &longest.concat(),
            &[&"?".repeat(63)[..], &"?".repeat(63), &"?".repeat(63), &"x".repeat(61)].join("."),
        ),
    ] {
        ask("www.example", Family::V4, None, |sent| {
            let record =
                Record { rdata: target.to_vec(), ..Record::new("www.example", CNAME, 5, "x.example") };
            let answer = reply(sent.write().as_bytes(), 0x8180, &[record], &[]);
            let Reply::Alias { aliases, .. } = read_reply(&answer, sent) else { panic!("{target:?}") };
            let names: Vec<_> = aliases.into_iter().filter_map(WireName::to_name).collect();
            assert_eq!(names.iter().map(Name::as_str).collect::<Vec<_>>(), [expected]);
        });
    }
}

/// The reply without aliases.
fn without_path(reply: Reply) -> Reply {
    match reply {
        Reply::Found { addresses, ttl_s, .. } => Reply::Found { addresses, ttl_s, aliases: vec![] },
        Reply::Truncated { addresses, ttl_s, .. } => Reply::Truncated { addresses, ttl_s, aliases: vec![] },
        Reply::Alias { mut aliases, links, ttl_s } => {
            aliases.drain(..aliases.len() - 1);
            Reply::Alias { aliases, links, ttl_s }
        }
        other => other,
    }
}

/// The test case, flags, answers, authorities, the expected reading.
type Case = (&'static str, u16, Vec<Record>, Vec<Record>, Reply);

#[test]
fn reads_answers() {
    let a = |owner: &str, ttl_s, value: &str| Record::new(owner, A, ttl_s, value);
    let cname = |owner: &str, ttl_s, value: &str| Record::new(owner, CNAME, ttl_s, value);
    let soa = |zone: &str| soa(zone, 300, 60);
    let foreign = Record { class: 3, ..a("www.example", 5, "192.0.2.9") };
    let alias = |text: &str, links, ttl_s| Reply::Alias {
        aliases: vec![WireName::from_name(&name(text)).unwrap()],
        links,
        ttl_s,
    };
    let cases: Vec<Case> = vec![
        ("one", 0x8180, vec![a("www.example", 9, "192.0.2.1")], vec![], found(&["192.0.2.1"], 9)),
        (
            "least TTL, any case",
            0x8180,
            vec![a("WWW.example", 9, "192.0.2.1"), a("www.EXAMPLE", 7, "192.0.2.2")],
            vec![],
            found(&["192.0.2.1", "192.0.2.2"], 7),
        ),
        (
            "strangers do not count",
            0x8180,
            vec![a("bank.example", 1, "192.0.2.9"), foreign, a("www.example", 9, "192.0.2.1")],
            vec![],
            found(&["192.0.2.1"], 9),
        ),
        (
            "only strangers",
            0x8180,
            vec![a("bank.example", 1, "192.0.2.9")],
            vec![],
            Reply::NoSuchRecord { ttl_s: None },
        ),
        (
            "a chain in any order",
            0x8180,
            vec![
                a("c.example", 9, "192.0.2.1"),
                cname("b.example", 4, "C.example"),
                cname("www.example", 6, "b.example"),
            ],
            vec![],
            found(&["192.0.2.1"], 4),
        ),
        (
            "a chain that leaves",
            0x8180,
            vec![cname("www.example", 6, "b.example")],
            vec![],
            alias("b.example", 1, 6),
        ),
        (
            "a chain that leaves, with addresses of another name",
            0x8180,
            vec![cname("www.example", 6, "b.example"), a("c.example", 9, "192.0.2.1")],
            vec![],
            alias("b.example", 1, 6),
        ),
        (
            "a chain to nothing",
            0x8180,
            vec![cname("www.example", 6, "b.example")],
            vec![soa("example")],
            Reply::NoSuchRecord { ttl_s: Some(6) },
        ),
        (
            "a chain to no name",
            0x8183,
            vec![cname("www.example", 600, "b.example")],
            vec![soa("")],
            Reply::NoSuchName { ttl_s: Some(60) },
        ),
        ("no name", 0x8183, vec![], vec![soa("example")], Reply::NoSuchName { ttl_s: Some(60) }),
        ("no name, stranger's SOA", 0x8183, vec![], vec![soa("xample")], Reply::NoSuchName { ttl_s: None }),
        ("SOA of a child", 0x8180, vec![], vec![soa("a.www.example")], Reply::NoSuchRecord { ttl_s: None }),
        ("no record", 0x8180, vec![], vec![soa("www.example")], Reply::NoSuchRecord { ttl_s: Some(60) }),
        ("lame", 0x8000, vec![], vec![], Reply::Refused),
        ("authoritative", 0x8400, vec![], vec![], Reply::NoSuchRecord { ttl_s: None }),
        ("loop", 0x8180, vec![cname("www.example", 6, "www.example")], vec![], Reply::ChainTooLong),
        ("SERVFAIL", 0x8182, vec![], vec![], Reply::ServerFailure),
        ("REFUSED", 0x8185, vec![], vec![], Reply::Refused),
        ("FORMERR", 0x8181, vec![], vec![], Reply::NotUnderstood),
        ("NOTIMP", 0x8184, vec![], vec![], Reply::NotUnderstood),
        (
            "TC",
            0x8380,
            vec![a("www.example", 9, "192.0.2.1")],
            vec![],
            Reply::Truncated { addresses: vec![ip("192.0.2.1")], ttl_s: 9, aliases: vec![] },
        ),
        (
            "TC behind a chain",
            0x8380,
            vec![cname("www.example", 6, "b.example"), a("b.example", 9, "192.0.2.1")],
            vec![],
            Reply::Truncated { addresses: vec![ip("192.0.2.1")], ttl_s: 6, aliases: vec![] },
        ),
        (
            "TC within a chain",
            0x8380,
            vec![cname("www.example", 6, "b.example")],
            vec![],
            Reply::Truncated { addresses: vec![], ttl_s: 6, aliases: vec![] },
        ),
        ("no reply", 0x0180, vec![a("www.example", 9, "192.0.2.1")], vec![], Reply::Mismatched),
        ("opcode", 0x9180, vec![a("www.example", 9, "192.0.2.1")], vec![], Reply::Mismatched),
        (
            "bad address",
            0x8180,
            vec![Record { rdata: vec![1, 2, 3], ..a("www.example", 9, "192.0.2.1") }],
            vec![],
            Reply::Malformed,
        ),
        (
            "bytes behind a target",
            0x8180,
            vec![Record { rdata: vec![1, b'b', 0, 0], ..cname("www.example", 9, "b") }],
            vec![],
            Reply::Malformed,
        ),
    ];
    for (what, flags, answers, authorities, expected) in cases {
        ask("www.example", Family::V4, None, |sent| {
            let mut message = reply(sent.write().as_bytes(), flags, &answers, &authorities);
            assert_eq!(without_path(read_reply(&message, sent)), expected, "{what}");
            message.extend_from_slice(b"\xff\xc0\x0cgarbage");
            assert_eq!(without_path(read_reply(&message, sent)), expected, "{what}, with bytes that follow");
        });
    }
}

#[test]
fn only_the_reply_to_the_question_counts() {
    let answer = [Record::new("www.example", A, 9, "192.0.2.1")];
    ask("www.example", Family::V4, None, |sent| {
        let good = reply(sent.write().as_bytes(), 0x8180, &answer, &[]);
        assert_eq!(read_reply(&good, sent), found(&["192.0.2.1"], 9));
        // Id, QR, opcode, number of questions, name, type, class.
        for (at, value) in
            [(0, 1), (1, 1), (2, 0x01), (2, 0x91), (5, 0), (5, 2), (13, b'x'), (26, 28), (28, 3)]
        {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(read_reply(&bad, sent), Reply::Mismatched, "byte {at}");
        }
        let mut upper = good;
        upper[13] = b'W';
        assert_eq!(read_reply(&upper, sent), found(&["192.0.2.1"], 9));
    });
    // With random case, the case of the letters must match.
    ask("www.example", Family::V4, Some([0b10, 0, 0, 0]), |sent| {
        let good = reply(sent.write().as_bytes(), 0x8180, &answer, &[]);
        assert_eq!(good[13], b'W');
        assert_eq!(read_reply(&good, sent), found(&["192.0.2.1"], 9));
        for at in 13..16 {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert_eq!(read_reply(&bad, sent), Reply::OtherCase, "byte {at}");
            let over_tcp = SentQuery { transport: Transport::Tcp, ..*sent };
            assert_eq!(read_reply(&bad, &over_tcp), found(&["192.0.2.1"], 9), "byte {at}");
            assert!(over_tcp.has_letters(&good) && !over_tcp.has_letters(&bad), "byte {at}");
        }
    });
    // A server that cannot read the query may leave out the question; such a reply can mean nothing else.
    ask("www.example", Family::V4, None, |sent| {
        assert_eq!(read_reply(b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0", sent), Reply::NotUnderstood);
        assert_eq!(read_reply(b"\x12\x34\x81\x82\0\0\0\0\0\0\0\0", sent), Reply::Mismatched);
        assert_eq!(read_reply(b"\x12\x34\x81\x83\0\0\0\0\0\0\0\0", sent), Reply::Mismatched);
    });
}

/// A reply to `www.example` whose single answer has this owner (raw) and is an A record.
fn with_owner(sent: &SentQuery, owner: &[u8]) -> Vec<u8> {
    let mut message = reply(sent.write().as_bytes(), 0x8180, &[], &[]);
    message[7] = 1;
    message.extend_from_slice(owner);
    message.extend_from_slice(b"\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01");
    message
}

#[test]
fn pointers_only_go_back() {
    // The answer's owner begins at byte 29; the question's name at 12, its `example` at 16.
    let cases: [(&str, &[u8], bool); 12] = [
        ("plain", b"\x03www\x07example\0", true),
        ("to the name", b"\xc0\x0c", true),
        ("to its tail", b"\x03WWW\xc0\x10", true),
        ("to itself", b"\xc0\x1d", false),
        ("ahead", b"\xc0\x1f", false),
        ("to the start of its own piece", b"\x03www\xc0\x1d", false),
        ("into its own piece", b"\x03www\xc0\x21", false),
        ("into the header", b"\xc0\x00", false),
        ("to the header's end", b"\xc0\x0b", false),
        ("far beyond", b"\xff\xff", false),
        ("reserved 01", b"\x41w\0", false),
        ("reserved 10", b"\x81w\0", false),
    ];
    for (what, owner, good) in cases {
        ask("www.example", Family::V4, None, |sent| {
            let expected = if good { found(&["192.0.2.1"], 9) } else { Reply::Malformed };
            assert_eq!(read_reply(&with_owner(sent, owner), sent), expected, "{what}");
        });
    }
    // Two pointers at each other, the first of them inside an earlier record's contents.
    ask("www.example", Family::V4, None, |sent| {
        let mut message = reply(sent.write().as_bytes(), 0x8180, &[], &[]);
        message[7] = 2;
        message.extend_from_slice(b"\xc0\x0c\0\x10\0\x01\0\0\0\x09\0\x02\xc0\x2b");
        message.extend_from_slice(b"\xc0\x29\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01");
        assert_eq!(read_reply(&message, sent), Reply::Malformed);
    });
}

#[test]
fn names_longer_than_255_bytes_are_malformed() {
    ask("www.example", Family::V4, None, |sent| {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let long = [label.repeat(4), vec![0]].concat();
        assert_eq!(read_reply(&with_owner(sent, &long), sent), Reply::Malformed);
        let fits = [label.repeat(3), vec![61], vec![b'a'; 61], vec![0]].concat();
        assert_eq!(read_reply(&with_owner(sent, &fits), sent), Reply::NoSuchRecord { ttl_s: None });
    });
}

#[test]
fn addresses_are_bounded() {
    let many: Vec<Record> =
        (0..200u8).map(|n| Record::new("www.example", A, 9, &format!("192.0.2.{n}"))).collect();
    ask("www.example", Family::V4, None, |sent| {
        match read_reply(&reply(sent.write().as_bytes(), 0x8180, &many, &[]), sent) {
            Reply::Found { addresses, .. } => assert_eq!(addresses.len(), 16),
            other => panic!("{other:?}"),
        }
        assert_eq!(read_reply(&vec![0; 70_000], sent), Reply::Mismatched);
    });
}

#[test]
fn every_truncation_is_noticed() {
    let answers = [
        Record::new("www.example", CNAME, 9, "b.example"),
        Record::new("b.example", A, 9, "192.0.2.1"),
        Record::new("b.example", A, 9, "192.0.2.2"),
    ];
    let negative = [soa("example", 300, 60)];
    ask("www.example", Family::V4, None, |sent| {
        for (whole, flags) in [(&answers[..], 0x8180), (&answers[..1], 0x8183), (&[], 0x8183), (&[], 0x8180)]
        {
            let authorities = if whole.len() == 3 { &[][..] } else { &negative[..] };
            let message = reply(sent.write().as_bytes(), flags, whole, authorities);
            for end in 0..message.len() {
                let expected = if end < 29 { Reply::Mismatched } else { Reply::Malformed };
                assert_eq!(read_reply(&message[..end], sent), expected, "{flags:x}, {end} bytes");
            }
        }
    });
}

#[test]
fn no_mutation_panics_or_makes_up_addresses() {
    let answers = [
        Record::new("www.example", CNAME, 9, "b.example"),
        Record::new("b.example", CNAME, 9, "c.www.example"),
        Record::new("c.www.example", AAAA, 9, "2001:db8::1"),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut seen = [0usize; 3];
    ask("www.example", Family::V6, None, |sent| {
        let whole = reply(sent.write().as_bytes(), 0x8180, &answers, &[soa("example", 300, 60)]);
        for _ in 0..20_000 {
            let mut message = whole.clone();
            for _ in 0..=random(4) {
                // Mostly behind the question, so that it is read at all.
                let at = if random(8) == 0 { random(message.len()) } else { 29 + random(message.len() - 29) };
                message[at] = match random(4) {
                    0 => 0xc0,
                    1 => message[at] ^ (1 << random(8)),
                    _ => random(256) as u8,
                };
            }
            message.truncate(if random(4) == 0 { random(message.len()) } else { message.len() });
            match read_reply(&message, sent) {
                Reply::Found { addresses, .. } => {
                    assert!(addresses.len() == 1 && addresses[0].is_ipv6());
                    seen[0] += 1;
                }
                Reply::Malformed => seen[1] += 1,
                _ => seen[2] += 1,
            }
        }
    });
    assert!(seen.iter().all(|&count| count > 500), "{seen:?}");
}

#[test]
fn addresses_take_turns() {
    let (v4, v6) = (["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["2001:db8::1", "2001:db8::2"]);
    let cases: [(Vec<&str>, Vec<&str>); 5] = [
        (vec![], vec![]),
        (v4.to_vec(), v4.to_vec()),
        ([&v4[..], &v6].concat(), vec![v6[0], v4[0], v6[1], v4[1], v4[2]]),
        (vec![v4[0], v4[0], v6[0], v6[0]], vec![v6[0], v4[0]]),
        (vec!["::ffff:192.0.2.1", v4[0], "::ffff:c000:202"], vec![v4[0], v4[1]]),
    ];
    for (given, expected) in cases {
        let list = Addresses::new(given.iter().map(|text| ip(text)));
        assert_eq!(crate::resolver::Outcome::Addresses(list), addresses(&expected));
    }
    let many = (0..100u8).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)));
    assert_eq!(Addresses::new(many).as_slice().len(), 16);
}
