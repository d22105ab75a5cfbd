//! The settings of the resolver: `resolv.conf` (resolver(5)) and the bounds of its own tables.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use crate::http::target::Name;

/// Most servers; further ones are ignored. Chosen: glibc stops at 3, firmware lists a few more.
pub const SERVERS_MAX: usize = 8;
/// Most search domains. Chosen: glibc had 6 before 2.26 and no limit since.
pub const SEARCH_MAX: usize = 16;
/// Largest `ndots` (glibc's RES_MAXNDOTS).
pub const NDOTS_MAX: u8 = 15;
/// Largest `attempts` (glibc's RES_MAXRETRY).
pub const ATTEMPTS_MAX: u8 = 5;
/// Longest time-out of one attempt, milliseconds (glibc's RES_MAXRETRANS).
pub const TIMEOUT_MS_MAX: u32 = 30_000;
/// Shortest time-out of one attempt, milliseconds. Chosen: with less every distant server looks dead.
pub const TIMEOUT_MS_MIN: u32 = 100;
/// Largest size of the cache. Chosen: some 150 MB.
pub const CACHE_ENTRIES_MAX: usize = 1 << 20;
/// Largest limit on pending look-ups: two queries each, so two sockets. Chosen.
pub const LOOK_UPS_MAX: usize = 1 << 14;
/// The port of DNS (RFC 1035 section 4.2).
pub const PORT: u16 = 53;

/// Servers, retries and cache times. The resolver brings values out of range into range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Recursive servers in order of preference; an empty list means 127.0.0.1:53.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to names with few dots, in order.
    pub search: Vec<Name>,
    /// Whether the targets of CNAMEs are kept, so that the policy can judge them.
    pub aliases: bool,
    /// A name with at least as many dots is tried as it is before the search list.
    pub ndots: u8,
    /// How long one attempt waits for its reply, milliseconds.
    pub timeout_ms: u32,
    /// Rounds over the servers before a question fails.
    pub attempts: u8,
    /// Each look-up begins with another server.
    pub rotate: bool,
    /// The letters of the question get a random case that the reply must repeat (draft-vixie-dnsext-dns0x20).
    pub case_randomised: bool,
    /// Most names in the cache; 0 turns the cache off.
    pub cache_entries_max: usize,
    /// Most pending look-ups; one more is refused as `Full`.
    pub look_ups_max: usize,
    /// Shortest time that an answer is kept, seconds. With 0 a record of TTL 0 answers only the callers that already
    /// wait.
    pub ttl_s_min: u32,
    /// Longest time that addresses are kept, seconds.
    pub ttl_s_max: u32,
    /// Longest time that negative answers are kept, seconds (RFC 2308 section 5).
    pub negative_ttl_s_max: u32,
    /// How long a failure is kept, seconds, so that an outage is not one time-out per request (RFC 2308 section 7).
    pub failure_ttl_s: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: vec![default_server()],
            search: Vec::new(),
            aliases: false,
            ndots: 1,
            // glibc waits 5 s; a browser behind a proxy should not.
            timeout_ms: 2000,
            attempts: 2,
            rotate: false,
            case_randomised: false,
            cache_entries_max: 4096,
            look_ups_max: 512,
            // One second turns a burst of equal questions about records of TTL 0 into one query.
            ttl_s_min: 1,
            ttl_s_max: 86_400,
            negative_ttl_s_max: 300,
            failure_ttl_s: 5,
        }
    }
}

fn default_server() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)
}

impl Settings {
    /// Reads `resolv.conf`: `nameserver`, `search` and `domain` (the last one counts), `options` with `ndots`,
    /// `timeout`, `attempts` and `rotate`. Anything else is skipped, as the system's resolver does. `interface` has the index of
    /// the network interface that is named behind a link-local address.
    pub fn parse_resolv_conf(text: &[u8], interface: &dyn Fn(&str) -> Option<u32>) -> Settings {
        let mut settings = Settings { servers: Vec::new(), ..Settings::default() };
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = words(line);
            let Some(keyword) = words.next() else { continue };
            match keyword {
                b"nameserver" => {
                    let server = words.next().and_then(|word| std::str::from_utf8(word).ok());
                    let room = SERVERS_MAX - settings.servers.len();
                    let server = server.and_then(|text| parse_address(text, interface));
                    settings.servers.extend(server.filter(|_| room > 0));
                }
                b"domain" => settings.search = parse_search(words.take(1)),
                b"search" => settings.search = parse_search(words),
                b"options" => words.for_each(|word| settings.set_option(word)),
                _ => {}
            }
        }
        settings.bounded()
    }

    /// Brings all values into range.
    pub(super) fn bounded(mut self) -> Settings {
        self.servers.truncate(SERVERS_MAX);
        if self.servers.is_empty() {
            self.servers.push(default_server());
        }
        self.search.truncate(SEARCH_MAX);
        self.ndots = self.ndots.min(NDOTS_MAX);
        self.timeout_ms = self.timeout_ms.clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX);
        self.attempts = self.attempts.clamp(1, ATTEMPTS_MAX);
        self.cache_entries_max = self.cache_entries_max.min(CACHE_ENTRIES_MAX);
        self.look_ups_max = self.look_ups_max.clamp(1, LOOK_UPS_MAX);
        self.ttl_s_max = self.ttl_s_max.max(self.ttl_s_min);
        self.negative_ttl_s_max = self.negative_ttl_s_max.max(self.ttl_s_min);
        self
    }

    fn set_option(&mut self, word: &[u8]) {
        let Ok(word) = std::str::from_utf8(word) else { return };
        let Some((option, value)) = word.split_once(':') else {
            self.rotate |= word == "rotate";
            return;
        };
        // A number that does not fit counts as the largest one.
        let value = match value.parse::<u64>() {
            Ok(value) => u32::try_from(value).unwrap_or(u32::MAX),
            Err(_) => return,
        };
        match option {
            "ndots" => self.ndots = u8::try_from(value).unwrap_or(NDOTS_MAX),
            "timeout" => self.timeout_ms = value.max(1).saturating_mul(1000),
            "attempts" => self.attempts = u8::try_from(value).unwrap_or(ATTEMPTS_MAX),
            _ => {}
        }
    }
}

/// The words of a line up to a comment.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let comment = line.iter().position(|&byte| byte == b'#' || byte == b';');
    let line = line.get(..comment.unwrap_or(line.len())).unwrap_or(line);
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn parse_search<'a>(words: impl Iterator<Item = &'a [u8]>) -> Vec<Name> {
    words.filter_map(|word| Name::parse(word).ok()).take(SEARCH_MAX).collect()
}

/// An address with port 53. A link-local server has its interface behind the address; one that is not known counts as none, as in
/// glibc.
fn parse_address(text: &str, interface: &dyn Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, ""));
    match address.parse().ok()? {
        IpAddr::V4(address) => Some(SocketAddr::new(IpAddr::V4(address), PORT)),
        IpAddr::V6(address) => {
            Some(SocketAddrV6::new(address, PORT, 0, interface(zone).unwrap_or_default()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Settings {
        Settings::parse_resolv_conf(text, &|_| None)
    }

    fn names(settings: &Settings) -> Vec<&str> {
        settings.search.iter().map(Name::as_str).collect()
    }

    #[test]
    fn reads_a_whole_file() {
        let text = b"# by hand\n; old style\nnameserver 192.0.2.1 # first\r\n nameserver\t2001:db8::1\n\
            nameserver fe80::1%2\nnameserver fe80::1%eth0\nnameserver fe80::1%gone\nnameserver nonsense\nnameserver\n\
            domain Ignored.example\nsearch Corp.Example. lab.example bad..name\n\
            options ndots:3 timeout:4 attempts:3 rotate edns0 ndots:x\nsortlist 1.2.3.4\n\xff\xfe";
        let interface =
            |zone: &str| [("2", 2), ("eth0", 7)].iter().find(|known| known.0 == zone).map(|known| known.1);
        let settings = Settings::parse_resolv_conf(text, &interface);
        let servers: Vec<String> = settings.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            servers,
            ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53", "[fe80::1%7]:53", "[fe80::1]:53"]
        );
        assert_eq!(names(&settings), ["corp.example", "lab.example"]);
        assert_eq!((settings.ndots, settings.timeout_ms, settings.attempts), (3, 4000, 3));
        assert!(settings.rotate);
        assert!(!settings.case_randomised);
    }

    #[test]
    fn defaults_and_bounds() {
        for text in [&b""[..], b"\n\n", b"nameserver", b"nameserver 300.1.1.1", b"options", b"options :"] {
            assert_eq!(parse(text), Settings::default(), "{text:?}");
        }
        let mut text = b"options ndots:99 timeout:99999999999 attempts:0\nsearch".to_vec();
        (0..30).for_each(|n| text.extend_from_slice(format!(" d{n}.example").as_bytes()));
        (0..30).for_each(|n| text.extend_from_slice(format!("\nnameserver 192.0.2.{n}").as_bytes()));
        let settings = parse(&text);
        assert_eq!((settings.ndots, settings.timeout_ms, settings.attempts), (15, 30_000, 1));
        assert_eq!((settings.search.len(), settings.servers.len()), (SEARCH_MAX, SERVERS_MAX));
        assert_eq!(parse(b"options timeout:0").timeout_ms, 1000);
        assert_eq!(names(&parse(b"search a.b\ndomain c.d e.f")), ["c.d"]);
    }

    #[test]
    fn no_truncation_of_a_file_panics() {
        let text = b"nameserver ::1%9\nsearch a b\noptions ndots:2 rotate\n";
        (0..=text.len()).for_each(|end| drop(parse(&text[..end])));
    }
}
