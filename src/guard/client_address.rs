//! The address that identifies a client (guard semantics, section 2).
//!
//! A field alone is no evidence, because every client can send it: the peer decides. Fields of trusted peers are read in the
//! order of the `trust` line. X-Forwarded-For and Forwarded are chains: each proxy appends the address of its own peer, so
//! the entry that counts is found from the right, and entries invented by a client are left of it. Other fields have one
//! address.
//!
//! With PROXY protocol the conveyed address is the peer.

use super::directives::Trust;
use crate::http::fields::{split_last_unquoted, trim};
use crate::http::head::Fields;
use crate::net::AddressSteps;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest address that is read, in bytes (chosen): one of IPv6 with brackets and port has 47.
const NODE_BYTES_MAX: usize = 128;

/// The identity of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// In canonical form.
    pub address: IpAddr,
    /// A peer that is not trusted has sent a field that only trusted ones may send: event `suspicious_request`.
    pub spoofed: bool,
}

/// The trusted peers, whose fields name the client.
#[derive(Debug, Default)]
pub struct TrustTable {
    networks: AddressSteps,
    /// The line of each network.
    line_of: Vec<u16>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    depth: usize,
    /// X-Forwarded-For where the line names none.
    fields: Vec<Field>,
    /// The proxies append the address that counts to X-Forwarded-For.
    is_usual: bool,
}

/// A field in which an address is looked for.
#[derive(Debug)]
enum Field {
    /// Addresses with commas, the latest at the right.
    XForwardedFor,
    /// `for=` (RFC 7239), the latest at the right.
    Forwarded,
    /// One address, in the field of this name.
    Single(Box<str>),
}

impl Field {
    fn new(name: &str) -> Field {
        match name.to_ascii_lowercase().as_str() {
            "forwarded" => Field::Forwarded,
            "x-forwarded-for" => Field::XForwardedFor,
            name => Field::Single(name.into()),
        }
    }

    fn is_in(&self, fields: Fields<'_, '_>) -> bool {
        match self {
            Field::XForwardedFor => fields.x_forwarded_for().next().is_some(),
            Field::Forwarded => fields.forwarded().next().is_some(),
            Field::Single(name) => fields.get(name).is_some(),
        }
    }
}

impl TrustTable {
    /// Compiles the lines of a guard file. For a peer in several networks the most specific network counts.
    pub fn new(trusts: &[Trust]) -> TrustTable {
        let networks = trusts.iter().flat_map(|trust| &trust.networks).copied();
        let numbered = trusts.iter().zip(0..);
        let line_of = numbered.flat_map(|(trust, line)| trust.networks.iter().map(move |_| line)).collect();
        let fields = |trust: &Trust| match trust.fields.as_slice() {
            [] => vec![Field::XForwardedFor],
            names => names.iter().map(|name| Field::new(name)).collect(),
        };
        let line = |trust: &Trust| {
            let (depth, fields) = (usize::from(trust.depth.max(1)), fields(trust));
            let is_usual = depth == 1 && matches!(fields[..], [Field::XForwardedFor, ..]);
            Line { depth, fields, is_usual }
        };
        TrustTable {
            networks: AddressSteps::new(networks),
            line_of,
            lines: trusts.iter().map(line).collect(),
        }
    }

    /// Whether this peer is trusted: for PROXY headers, too.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.line(peer.to_canonical()).is_some()
    }

    #[inline]
    fn line(&self, peer: IpAddr) -> Option<&Line> {
        let number = self.networks.find(peer)?;
        self.lines.get(usize::from(*self.line_of.get(number as usize)?))
    }

    /// The address of the client in the usual case: the only entry, or the last of a list, in X-Forwarded-For of a trusted
    /// IPv4 peer. `None` decides nothing.
    #[inline]
    pub fn find_usual(&self, peer: &IpAddr, fields: Fields<'_, '_>) -> Option<Ipv4Addr> {
        match peer {
            IpAddr::V4(v4) => {
                self.line(IpAddr::V4(*v4)).filter(|line| line.is_usual)?;
                fields.x_forwarded_for().next_back().and_then(last_ipv4)
            }
            IpAddr::V6(_) => None,
        }
    }

    /// The address of the client, from the peer and the fields of its request.
    pub fn find(&self, peer: IpAddr, fields: Fields<'_, '_>) -> ClientAddress {
        let peer = peer.to_canonical();
        match self.line(peer) {
            Some(line) => {
                let found = line.fields.iter().find_map(|field| self.address_in(field, line.depth, fields));
                ClientAddress { address: found.unwrap_or(peer), spoofed: false }
            }
            None => {
                let mut known = self.lines.iter().flat_map(|line| &line.fields);
                ClientAddress { address: peer, spoofed: known.any(|field| field.is_in(fields)) }
            }
        }
    }

    fn address_in(&self, field: &Field, depth: usize, fields: Fields<'_, '_>) -> Option<IpAddr> {
        match field {
            Field::XForwardedFor => {
                self.entry_that_counts(Entries::of(fields.x_forwarded_for(), split_last).map(node), depth)
            }
            Field::Forwarded => {
                let elements = Entries::of(fields.forwarded(), |list| split_last_unquoted(list, b','));
                self.entry_that_counts(elements.map(forwarded_for), depth)
            }
            Field::Single(name) => {
                let mut found = Entries::of(fields.all(name), split_last);
                let address = bare_address(found.next()?);
                // Of two fields it is unknown which one the proxy has set.
                if found.next().is_none() { address } else { None }
            }
        }
    }

    /// The entry that counts: the one at `depth`, or the first from the right that is not a trusted proxy's. `None` if there
    /// are fewer than `depth`, or if the entry is no address. Entries left of that depth are not read.
    fn entry_that_counts(
        &self,
        mut entries: impl Iterator<Item = Option<IpAddr>>,
        depth: usize,
    ) -> Option<IpAddr> {
        let mut not_trusted = None;
        for _ in 1..depth {
            let entry = entries.next()?;
            if not_trusted.is_none() && !entry.is_some_and(|address| self.trusts(address)) {
                not_trusted = Some(entry);
            }
        }
        let deepest = entries.next()?;
        not_trusted.unwrap_or(deepest)
    }
}

/// The entries of all lines of a field, from the right. Empty entries are skipped (RFC 9110 5.6.1).
struct Entries<'f, L> {
    lines: L,
    /// Splits a list before its last entry.
    split: SplitLast,
    /// The unread rest of the current line.
    rest: Option<&'f [u8]>,
}

/// What is before the last separator, if there is one, and what is behind it.
type SplitLast = fn(&[u8]) -> (Option<&[u8]>, &[u8]);

impl<'f, L: DoubleEndedIterator<Item = &'f [u8]>> Entries<'f, L> {
    fn of(lines: L, split: SplitLast) -> Entries<'f, L> {
        Entries { lines, split, rest: None }
    }
}

impl<'f, L: DoubleEndedIterator<Item = &'f [u8]>> Iterator for Entries<'f, L> {
    type Item = &'f [u8];

    fn next(&mut self) -> Option<&'f [u8]> {
        loop {
            let list = self.rest.take().or_else(|| self.lines.next_back())?;
            let (rest, entry) = (self.split)(list);
            self.rest = rest;
            let entry = trim(entry);
            if !entry.is_empty() {
                return Some(entry);
            }
        }
    }
}

fn split_last(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match memchr::memrchr(b',', list) {
        Some(comma) => (Some(&list[..comma]), &list[comma + 1..]),
        None => (None, list),
    }
}

/// Reads `v4`, `v6` or `[v6]`, each with an optional port behind a colon (for IPv6 only behind brackets), in canonical form.
/// `None` for names, `unknown`, and addresses with a zone, which have a meaning on one machine only.
fn node(entry: &[u8]) -> Option<IpAddr> {
    if entry.len() > NODE_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(entry).ok()?;
    if let Some(inside) = text.strip_prefix('[') {
        let (address, port) = inside.split_once(']')?;
        let is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if is_fine {
            address.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical())
        } else {
            None
        };
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => {
            if is_port(port) {
                address.parse().ok().map(IpAddr::V4)
            } else {
                None
            }
        }
        Some(_) | None => text.parse::<IpAddr>().ok().map(|address| address.to_canonical()),
    }
}

/// Reads an address alone, in canonical form: fields with one address have no port.
fn bare_address(value: &[u8]) -> Option<IpAddr> {
    let address = std::str::from_utf8(value).ok()?.parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

/// The last entry of a list, if it is an address in dotted decimal without a port: this usual form is read in one pass over
/// its bytes.
#[inline]
fn last_ipv4(list: &[u8]) -> Option<Ipv4Addr> {
    let (mut before, mut bits) = (list, 0);
    for shift in [0, 8, 16, 24] {
        let (number, rest) = last_octet(before)?;
        bits |= number << shift;
        before = if shift < 24 { rest.strip_suffix(b".")? } else { rest };
    }
    before = before.trim_ascii_end();
    let is_whole = before.is_empty() || before.ends_with(b",");
    if is_whole { Some(Ipv4Addr::from_bits(bits)) } else { None }
}

/// One to three digits at the end: 0 to 255, without leading zeros.
#[inline]
fn last_octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    let (&ones, rest) = text.split_last().filter(|(ones, _)| digit(**ones) <= 9)?;
    let Some((&tens, before_tens)) = rest.split_last().filter(|(tens, _)| digit(**tens) <= 9) else {
        return Some((digit(ones), rest));
    };
    let number = 10 * digit(tens) + digit(ones);
    match before_tens.split_last().filter(|(hundreds, _)| digit(**hundreds) <= 9) {
        Some((&hundreds @ b'1'..=b'2', before)) if number + 100 * digit(hundreds) <= 255 => {
            Some((number + 100 * digit(hundreds), before))
        }
        None if tens > b'0' => Some((number, before_tens)),
        Some(_) | None => None,
    }
}

/// A port, or a word that stands for one (RFC 7239 6.2).
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number || text.len() > 1 && text.starts_with('_')
}

/// The address behind `for=` in an element of Forwarded. `None` without one, or if it occurs twice.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let (before, pair) = split_last_unquoted(pairs, b';');
        rest = before;
        let Some((name, value)) = trim(pair).split_at_checked(4) else { continue };
        if name.eq_ignore_ascii_case(b"for=") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    node(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::directives::parse;
    use crate::http::head::{Limits, Message, RequestHead};

    fn table(lines: &str) -> TrustTable {
        TrustTable::new(&parse(lines.as_bytes()).unwrap().trust)
    }

    fn find(lines: &str, peer: &str, fields: &str) -> (String, bool) {
        let head = format!("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        let mut message = Message::new();
        let request = RequestHead::parse(head.as_bytes(), &mut message, &Limits::default()).unwrap();
        let (table, peer) = (table(lines), peer.parse().unwrap());
        let found = table.find(peer, request.fields);
        if let Some(usual) = table.find_usual(&peer, request.fields) {
            assert_eq!(found, ClientAddress { address: usual.into(), spoofed: false }, "{lines}: {fields}");
        }
        (found.address.to_string(), found.spoofed)
    }

    /// Trusted lines, value of X-Forwarded-For, address.
    #[track_caller]
    fn expect(lines: &str, fields: &str, expected: &str) {
        let fields: String = fields.split('|').map(|line| format!("{line}\r\n")).collect();
        assert_eq!(find(lines, "10.0.0.1", &fields), (expected.to_owned(), false), "{lines}: {fields}");
    }

    #[test]
    fn guard_2_only_trusted_peers_are_believed() {
        let xff = "X-Forwarded-For: 192.0.2.1\r\n";
        assert_eq!(find("", "203.0.113.9", xff), ("203.0.113.9".into(), false));
        let lines = "trust 10.0.0.0/8\ntrust 2001:db8::1 fields X-Real-IP";
        assert_eq!(find(lines, "203.0.113.9", xff), ("203.0.113.9".into(), true));
        assert_eq!(find(lines, "203.0.113.9", "X-Real-IP: 192.0.2.1\r\n"), ("203.0.113.9".into(), true));
        assert_eq!(find(lines, "203.0.113.9", "Forwarded: for=192.0.2.1\r\n"), ("203.0.113.9".into(), false));
        assert_eq!(find(lines, "203.0.113.9", ""), ("203.0.113.9".into(), false));
        assert_eq!(find(lines, "10.255.255.255", xff), ("192.0.2.1".into(), false));
        assert_eq!(find(lines, "::ffff:10.0.0.1", xff), ("192.0.2.1".into(), false));
        // The peer's line does not name that field.
        assert_eq!(find(lines, "2001:db8::1", xff), ("2001:db8::1".into(), false));
        assert!(table(lines).trusts("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!table(lines).trusts("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn fault_13_9_no_field_is_evidence_by_itself() {
        let fields = "CF-Ray: 1\r\nCF-Connecting-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n";
        assert_eq!(find("trust cloudflare", "203.0.113.9", fields), ("203.0.113.9".into(), true));
        assert_eq!(find("trust cloudflare", "104.16.0.1", fields), ("192.0.2.1".into(), false));
        assert_eq!(find("trust cloudflare", "2606:4700::1", fields), ("192.0.2.1".into(), false));
    }

    #[test]
    fn guard_2_the_entry_at_the_depth_counts() {
        let one = "trust 10.0.0.0/8";
        expect(one, "A: b", "10.0.0.1");
        expect(one, "X-Forwarded-For: 192.0.2.1", "192.0.2.1");
        expect(one, "X-Forwarded-For: 198.51.100.1, 192.0.2.1", "192.0.2.1");
        expect(one, "X-Forwarded-For: 192.0.2.1, 10.0.0.2", "10.0.0.2");
        let two = "trust 10.0.0.0/8 depth 2";
        expect(two, "X-Forwarded-For: 192.0.2.1, 10.0.0.2", "192.0.2.1");
        expect(two, "X-Forwarded-For: 198.51.100.1,192.0.2.1,10.0.0.2", "192.0.2.1");
        // Fewer entries than that: the peer.
        expect(two, "X-Forwarded-For: 10.0.0.2", "10.0.0.1");
        expect(two, "X-Forwarded-For: 192.0.2.1", "10.0.0.1");
        // One on the right is not trusted: it is what the nearest trusted proxy has seen.
        expect(two, "X-Forwarded-For: 192.0.2.1, 203.0.113.5", "203.0.113.5");
        let three = "trust 10.0.0.0/8 depth 3\ntrust 2001:db8::/32";
        expect(three, "X-Forwarded-For: 192.0.2.1, 10.0.0.3, [2001:db8::2]:443", "192.0.2.1");
        expect(three, "X-Forwarded-For: 192.0.2.1, 203.0.113.5, 10.0.0.2", "203.0.113.5");
        expect(three, "X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2", "10.0.0.1");
        expect(three, "X-Forwarded-For: 192.0.2.1, 10.0.0.2", "10.0.0.1");
        expect(three, "X-Forwarded-For: x, 203.0.113.5, 10.0.0.2", "203.0.113.5");
        // The most specific line has the depth.
        expect(
            "trust 10.0.0.0/8 depth 2\ntrust 10.0.0.1",
            "X-Forwarded-For: 192.0.2.1, 10.0.0.2",
            "10.0.0.2",
        );
    }

    #[test]
    fn ours_2_repeated_lines_are_one_list() {
        let two = "trust 10.0.0.0/8 depth 2";
        expect(
            two,
            "X-Forwarded-For: 198.51.100.1|X-Forwarded-For: 192.0.2.1|x-forwarded-for: 10.0.0.2",
            "192.0.2.1",
        );
        expect(two, "X-Forwarded-For: 192.0.2.1, 10.0.0.2|X-Forwarded-For: ", "192.0.2.1");
        expect(two, "X-Forwarded-For: 192.0.2.1, , 10.0.0.2, ,", "192.0.2.1");
        // Not two addresses of which one may be chosen.
        expect("trust 10.0.0.0/8 fields X-Real-IP", "X-Real-IP: 192.0.2.1|X-Real-IP: 192.0.2.2", "10.0.0.1");
        expect("trust 10.0.0.0/8 fields X-Real-IP", "X-Real-IP: 192.0.2.1, 192.0.2.2", "10.0.0.1");
    }

    #[test]
    fn guard_2_every_spelling_of_an_address() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:8080", Some("192.0.2.1")),
            ("[2001:DB8::1]:8080", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::1", Some("::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1%eth0]", None),
            ("fe80::1%eth0", None),
            ("unknown", None),
            ("_hidden", None),
            ("a.example", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:x", None),
            ("192.0.2.1:123456", None),
            ("192.0.2.01", None),
            ("192.0.2.00", None),
            ("192.0.2.256", None),
            ("2561.0.2.1", None),
            ("192.0.2.", None),
            ("192.0.2.1.", None),
            (".192.0.2.1", None),
            ("192..2.1", None),
            ("192.0.2.1.1", None),
            ("0.0.0.0", Some("0.0.0.0")),
            ("255.255.255.255", Some("255.255.255.255")),
            ("192.0.2", None),
            ("3221225985", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]8080", None),
            ("\"192.0.2.1\"", None),
            ("192.0.2.1 198.51.100.1", None),
        ];
        for (text, expected) in cases {
            expect("trust 10.0.0.0/8", &format!("X-Forwarded-For: {text}"), expected.unwrap_or("10.0.0.1"));
            assert_eq!(node(text.as_bytes()).map(|found| found.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(node(b"\xff"), None);
    }

    #[test]
    fn the_last_ipv4_address_of_a_list_is_what_the_library_takes_for_one() {
        let mut texts: Vec<String> = vec!["".into(), "0".into(), "1.2.3.4".into(), "10.20.30.40".into()];
        // Every single change of some of them, by each byte that could matter.
        for (text, at, byte) in ["1.2.3.4", "250.0.10.255", "199.99.100.249"]
            .into_iter()
            .flat_map(|text| (0..=text.len()).map(move |at| (text, at)))
            .flat_map(|(text, at)| "0123456789./:;x-".chars().map(move |byte| (text, at, byte)))
        {
            texts.push(format!("{}{byte}{}", &text[..at], &text[at..]));
            texts.extend((at < text.len()).then(|| format!("{}{byte}{}", &text[..at], &text[at + 1..])));
            texts.extend((at < text.len()).then(|| format!("{}{}", &text[..at], &text[at + 1..])));
        }
        for text in texts {
            let expected: Option<Ipv4Addr> = text.parse().ok();
            for before in ["", ",", "a,", "a, ", "192.0.2.1,\t ", " "] {
                let list = format!("{before}{text}");
                assert_eq!(last_ipv4(list.as_bytes()), expected, "{list}");
            }
            for before in ["a", "a ", "1.", "a;"] {
                let list = format!("{before}{text}");
                let is_other = list.parse::<Ipv4Addr>().is_err();
                assert!(!is_other || last_ipv4(list.as_bytes()).is_none(), "{list}");
            }
        }
    }

    #[test]
    fn guard_2_forwarded_is_a_list_as_well() {
        let lines = "trust 10.0.0.0/8 fields Forwarded";
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:80\"; proto=http;by=203.0.113.43", "192.0.2.1"),
            ("proto=http;for=\"[2001:db8::1]:_port\"", "2001:db8::1"),
            ("for=198.51.100.1, for=192.0.2.1", "192.0.2.1"),
            // Whatever quote a client leaves open.
            ("for=\"x, for=192.0.2.1", "192.0.2.1"),
            ("for=6.6.6.6;x=\", for=192.0.2.1;host=\"h\"", "192.0.2.1"),
            // Whatever Host a client has, which its proxy quotes.
            ("for=192.0.2.1;host=\"x,for=6.6.6.6;y\";proto=http", "192.0.2.1"),
            ("host=\"x;for=6.6.6.6\";for=192.0.2.1", "192.0.2.1"),
            ("host=\"x\\\",for=6.6.6.6\\\\\";for=\"192.0.2.1\"", "192.0.2.1"),
            (&format!("for=192.0.2.1;host=\"{}\"", "h".repeat(4000)), "192.0.2.1"),
            ("for=192.0.2.1;host=h\"", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for", "10.0.0.1"),
            ("by=192.0.2.1", "10.0.0.1"),
            ("xfor=192.0.2.1", "10.0.0.1"),
            ("for=\"192.0.2.1", "10.0.0.1"),
        ] {
            expect(lines, &format!("Forwarded: {value}"), expected);
        }
        expect(
            "trust 10.0.0.0/8 depth 2 fields Forwarded",
            "Forwarded: for=192.0.2.1|Forwarded: for=10.0.0.2",
            "192.0.2.1",
        );
    }

    #[test]
    fn guard_2_fields_are_tried_in_their_order() {
        let lines = "trust 10.0.0.0/8 fields CF-Connecting-IP,True-Client-IP,X-Forwarded-For,X-Real-IP";
        expect(
            lines,
            "X-Real-IP: 192.0.2.4|True-Client-IP: 192.0.2.2|CF-Connecting-IP: 192.0.2.1",
            "192.0.2.1",
        );
        expect(lines, "X-Real-IP: 192.0.2.4|CF-Connecting-IP: none|True-Client-IP: 192.0.2.2", "192.0.2.2");
        expect(lines, "X-Real-IP: 192.0.2.4|X-Forwarded-For: 192.0.2.5, 192.0.2.3", "192.0.2.3");
        expect(lines, "X-Real-IP: 192.0.2.4|X-Forwarded-For: x", "192.0.2.4");
        expect(lines, "X-Real-IP: x", "10.0.0.1");
        // A port makes it invalid, and brackets do.
        expect(lines, "CF-Connecting-IP: 192.0.2.1:80|X-Real-IP: 192.0.2.4", "192.0.2.4");
        expect(lines, "CF-Connecting-IP: [2001:db8::1]|True-Client-IP: ::ffff:192.0.2.9", "192.0.2.9");
    }

    #[test]
    fn ours_2_cloudflare_is_trusted_networks_and_a_list_of_fields() {
        let all = ["CF-Connecting-IP", "True-Client-IP", "X-Forwarded-For", "X-Real-IP"];
        for (first, _) in all.iter().enumerate() {
            let line = |(number, name): (usize, &&str)| format!("{name}: 192.0.2.{number}\r\n");
            let fields: String = all.iter().enumerate().skip(first).map(line).rev().collect();
            let client = (format!("192.0.2.{first}"), false);
            assert_eq!(find("trust cloudflare", "104.16.0.1", &fields), client, "{fields}");
            // The same as a line of networks and fields, for that network.
            let spelt = format!("trust 104.16.0.0/13 fields {}", all.join(","));
            assert_eq!(find(&spelt, "104.16.0.1", &fields), client, "{fields}");
            assert_eq!(find("trust cloudflare", "104.28.0.0", &fields).0, "104.28.0.0", "{fields}");
        }
    }

    /// An unknown client counts as its peer: such clients share no counter, and cannot use another client's.
    #[test]
    fn fault_13_9_a_client_that_cannot_be_told_is_its_peer() {
        for lines in
            ["trust 10.0.0.0/8", "trust 10.0.0.0/8 fields CF-Connecting-IP,X-Real-IP,X-Forwarded-For"]
        {
            for fields in
                ["", "X-Forwarded-For: unknown", "X-Forwarded-For: ,", "CF-Ray: 1|X-Forwarded-For: 1.2.3"]
            {
                expect(lines, fields, "10.0.0.1");
            }
        }
    }

    #[test]
    fn guard_2_long_fields_are_read_entry_that_counts() {
        let many = format!("X-Forwarded-For: {}192.0.2.1, 10.0.0.2", "203.0.113.1, ".repeat(1000));
        expect("trust 10.0.0.0/8 depth 2", &many, "192.0.2.1");
        let long = format!("X-Forwarded-For: 192.0.2.1, {}", "x".repeat(NODE_BYTES_MAX + 1));
        expect("trust 10.0.0.0/8", &long, "10.0.0.1");
        let commas = format!("X-Forwarded-For: 192.0.2.1{}", ",".repeat(5000));
        expect("trust 10.0.0.0/8", &commas, "192.0.2.1");
    }
}
