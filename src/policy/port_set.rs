//! Sets of TCP ports: the ports that CONNECT may name, and the ports of plain requests.

use super::parse_error::ParseError;
use std::fmt;

/// Default ports for CONNECT: https, secure news, and the unprivileged ports (chosen; tunnels to the lower ports are
/// mostly abuse, above all of mail servers).
pub const DEFAULT_CONNECT_PORTS: &str = "443,563,1024-65535";

/// Default ports for other requests: all but those of line protocols that would read a forwarded request as commands.
/// Chosen from the port list of the Fetch standard (section 2.9, "port blocking"): echo, discard, chargen, FTP, SSH,
/// telnet, SMTP and submission, finger, POP, NNTP, IMAP, printers, IRC, ManageSieve; and 2525, the usual alternative
/// for SMTP.
pub const DEFAULT_PLAIN_PORTS: &str =
    "any,!7,!9,!19-23,!25,!79,!109-110,!119,!143,!465,!515,!563,!587,!993,!995,!2525,!4190,!6665-6669,!6697";

/// Longest text of a port list in bytes (chosen).
pub const PORT_LIST_BYTES_MAX: usize = 4096;

/// Most characters of an item that an error shows (chosen).
const FOUND_CHARS_MAX: usize = 40;

/// The expectation that an error names.
const EXPECTED: &str = "a port list such as 443,563,1024-65535 or any,!25 (ports 1 to 65535)";

/// A first and a last port, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, not below `first`.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: PortRange = PortRange { first: 1, last: u16::MAX };

    /// Reads `443` or `1000-2000`: decimal digits only, 1 to 65535, ascending.
    pub fn parse(text: &str) -> Option<PortRange> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (parse_port(first)?, parse_port(last)?),
            None => (parse_port(text)?, parse_port(text)?),
        };
        (first <= last).then_some(PortRange { first, last })
    }

    /// Whether the range contains the port.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether the range is exactly this port.
    pub fn is_only(self, port: u16) -> bool {
        self.first == port && self.last == port
    }

    /// Number of ports.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { text.parse().ok()? } else { 0 };
    (port != 0).then_some(port)
}

/// A set of ports: sorted ranges with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ranges: Vec<PortRange>,
}

impl PortSet {
    /// Every port.
    pub fn any() -> PortSet {
        PortSet { ranges: vec![PortRange::ANY] }
    }

    /// Reads a comma-separated list from left to right: a port or range adds, `!` in front removes, `any` adds all. A
    /// list that begins with a removal starts from all ports.
    pub fn parse(text: &str) -> Result<PortSet, ParseError> {
        if text.len() > PORT_LIST_BYTES_MAX {
            return Err(ParseError::new(text, FOUND_CHARS_MAX, "a port list of at most 4096 bytes"));
        }
        let mut set = PortSet::default();
        for (index, item) in text.split(',').enumerate() {
            let item = item.trim();
            let (item_ports, adds) = match item.strip_prefix('!') {
                Some(rest) => (PortRange::parse(rest.trim_start()), false),
                None if item.eq_ignore_ascii_case("any") => (Some(PortRange::ANY), true),
                None => (PortRange::parse(item), true),
            };
            let Some(ports) = item_ports else {
                return Err(ParseError::new(item, FOUND_CHARS_MAX, EXPECTED));
            };
            if index == 0 && !adds {
                set = PortSet::any();
            }
            if adds {
                set.insert(ports);
            } else {
                set.remove(ports);
            }
        }
        Ok(set)
    }

    /// The default for CONNECT.
    pub fn connect_default() -> PortSet {
        PortSet::parse(DEFAULT_CONNECT_PORTS).unwrap_or_default()
    }

    /// The default for plain requests.
    pub fn plain_default() -> PortSet {
        PortSet::parse(DEFAULT_PLAIN_PORTS).unwrap_or_default()
    }

    /// Whether the set contains the port.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.ranges.partition_point(|range| range.first <= port);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|range| range.contains(port))
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[PortRange] {
        &self.ranges
    }

    fn insert(&mut self, mut new: PortRange) {
        self.ranges.retain(|range| {
            let apart = u32::from(range.last) + 1 < u32::from(new.first)
                || u32::from(new.last) + 1 < u32::from(range.first);
            if !apart {
                new.first = new.first.min(range.first);
                new.last = new.last.max(range.last);
            }
            apart
        });
        let at = self.ranges.partition_point(|range| range.first < new.first);
        self.ranges.insert(at, new);
    }

    fn remove(&mut self, gone: PortRange) {
        let mut left = Vec::with_capacity(self.ranges.len() + 1);
        for range in &self.ranges {
            if range.first < gone.first {
                left.push(PortRange { first: range.first, last: range.last.min(gone.first - 1) });
            }
            if range.last > gone.last {
                left.push(PortRange { first: range.first.max(gone.last + 1), last: range.last });
            }
        }
        self.ranges = left;
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges == [PortRange::ANY] {
            return f.write_str("any");
        }
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_from_left_to_right() {
        let cases = [
            ("443", "443"),
            (" 443 , 563 ", "443,563"),
            (DEFAULT_CONNECT_PORTS, "443,563,1024-65535"),
            ("any", "any"),
            ("ANY", "any"),
            ("any,!25", "1-24,26-65535"),
            ("!25", "1-24,26-65535"),
            ("!100-200,150", "1-99,150,201-65535"),
            ("10-20,15-30", "10-30"),
            ("15-30,10-20", "10-30"),
            ("1-2,3-4", "1-4"),
            ("5,1,3,2,4", "1-5"),
            ("10-20,!10", "11-20"),
            ("10-20,!20", "10-19"),
            ("10-20,!1-65535", ""),
            ("1-65535", "any"),
            ("65535,!65535,1", "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(PortSet::parse(text).map(|set| set.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_item() {
        let cases = [
            ("", ""),
            ("443,", ""),
            ("0", "0"),
            ("65536", "65536"),
            ("4294967739", "4294967739"),
            ("+80", "+80"),
            ("0x50", "0x50"),
            ("80,20-10", "20-10"),
            ("1-2-3", "1-2-3"),
            ("-5", "-5"),
            ("http", "http"),
            ("!", "!"),
            ("!any", "!any"),
        ];
        for (text, found) in cases {
            let error = PortSet::parse(text).unwrap_err();
            assert_eq!((error.found.as_str(), error.expected), (found, EXPECTED), "{text}");
        }
        assert!(PortSet::parse(&"1,".repeat(3000)).is_err());
    }

    #[test]
    fn membership_agrees_with_a_plain_array() {
        for text in [DEFAULT_CONNECT_PORTS, DEFAULT_PLAIN_PORTS, "!1-3,2,65535", "7-9,1-2,5,!8,4", "!65535"] {
            let mut plain = vec![text.starts_with('!'); 65536];
            for item in text.split(',') {
                let ports = match item.trim_start_matches('!') {
                    "any" => PortRange::ANY,
                    range => PortRange::parse(range).unwrap(),
                };
                (ports.first..=ports.last).for_each(|port| plain[usize::from(port)] = !item.starts_with('!'));
            }
            let set = PortSet::parse(text).unwrap();
            for port in 1..=u16::MAX {
                assert_eq!(set.contains(port), plain[usize::from(port)], "{text}: {port}");
            }
            assert!(!set.contains(0));
        }
    }

    #[test]
    fn defaults_keep_mail_out_and_the_web_in() {
        for port in [25, 110, 119, 143, 465, 587, 993, 995, 2525] {
            assert!(!PortSet::plain_default().contains(port), "{port}");
        }
        for port in [80, 443, 8080, 3128, 1024, 65535, 8000, 3000, 5000, 9000] {
            assert!(PortSet::plain_default().contains(port), "{port}");
        }
        for (port, expected) in
            [(443, true), (563, true), (1023, false), (80, false), (25, false), (8443, true)]
        {
            assert_eq!(PortSet::connect_default().contains(port), expected, "{port}");
        }
    }
}
