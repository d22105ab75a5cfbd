//! The form of bans in Redis (guard semantics, section 3), and the messages about bans between processes.
//!
//! `PREFIX banned_ips:ADDRESS` and `PREFIX banned_networks:NETWORK` contain the end of the ban, in seconds since 1970 as
//! decimal text, and expire then: the reference library reads and writes the same. It has no bans for ever; such a ban ends
//! with the year 9999, the last time that its language can show, and its key does not expire. It has no reasons either: a
//! reason is a separate key, `PREFIX ban_reasons:ADDRESS or NETWORK`, with the same life. `PREFIX ban_ends:ADDRESS or NETWORK` says
//! for a day that a process has ended the ban: another one that missed the message would take it for lost.
//!
//! `PREFIX ban_memory` names the memory of a server; a server that was emptied has lost it.
//!
//! The channel is `PREFIX bans`, and `PREFIX bans:DATABASE` for another database than 0. A message is `NODE ban NETWORK MILLISECONDS REASON`, with `-` for ever, `NODE unban NETWORK`,
//! or `NODE unblock NETWORK`: what was counted of a client, a network of one, is forgotten. Processes ignore other verbs.

use super::command::Command;
use crate::guard::networks::{canonical, network_text};
use crate::guard::store::StoreOrder;
use crate::text::shortened;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The end of a ban for ever, in seconds: the last second of the year 9999.
const FOR_EVER: u64 = 253_402_300_799;

/// Longest reason in bytes (chosen).
const REASON_BYTES_MAX: usize = 256;

/// Longest name of a process in bytes, because names are remembered (chosen: weir's have 16).
const NODE_BYTES_MAX: usize = 64;

/// How long an unban is told from a loss, in seconds (chosen: longer than a process is without its store as a rule).
const END_KEPT_S: u64 = 86_400;

/// SHA-256 in hexadecimal digits.
const HASH_CHARS: usize = 64;

/// Names of keys and of the channel, and of this process.
#[derive(Clone)]
pub struct BanKeys {
    prefix: Box<str>,
    node: Box<str>,
    database: i64,
    old: Arc<Mutex<OldKeys>>,
}

/// The keys of networks in old spellings.
pub type OldKeys = HashMap<IpNet, Vec<String>>;

/// A message of the channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The process that sent it.
    pub node: &'a str,
    pub network: IpNet,
    pub deed: Deed<'a>,
}

/// The action of a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    Banned { until_unix_ms: Option<u64>, reason: &'a str },
    Unbanned,
    Unblocked,
}

impl BanKeys {
    pub fn new(prefix: &str, node: String, database: i64) -> BanKeys {
        BanKeys { prefix: prefix.into(), node: node.into(), database, old: Arc::default() }
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    /// Channels do not belong to a database, and bans do.
    pub fn channel(&self) -> String {
        match self.database {
            0 => format!("{}bans", self.prefix),
            database => format!("{}bans:{database}", self.prefix),
        }
    }

    /// A load has found bans under these old keys. A server that is full keeps them there, so that an unban has to delete them.
    pub fn set_old(&self, old: OldKeys) {
        *self.old.lock().unwrap_or_else(PoisonError::into_inner) = old;
    }

    fn old_of(&self, network: IpNet) -> Vec<String> {
        self.old.lock().unwrap_or_else(PoisonError::into_inner).get(&network).cloned().unwrap_or_default()
    }

    /// The key that names the memory of a server.
    pub fn memory_key(&self) -> String {
        format!("{}ban_memory", self.prefix)
    }

    /// The pattern of SCAN for all bans.
    pub fn pattern(&self) -> String {
        format!("{}banned_*", self.literal_prefix())
    }

    /// The pattern of SCAN for the keys of `ForgetAll`. Addresses of IPv6 contain colons, so the length of the text behind
    /// the last colon shows that it is a hash.
    pub fn hashed_pattern(&self, key: &str) -> String {
        format!("{}{key}:{}", self.literal_prefix(), "?".repeat(HASH_CHARS))
    }

    /// The prefix, escaped: the operator may use any characters in it.
    fn literal_prefix(&self) -> String {
        let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
        let each = |c: char| if special(c) { format!("\\{c}") } else { c.to_string() };
        self.prefix.chars().map(each).collect()
    }

    pub fn key(&self, network: IpNet) -> String {
        if is_address(network) {
            format!("{}banned_ips:{}", self.prefix, network.addr())
        } else {
            format!("{}banned_networks:{network}", self.prefix)
        }
    }

    pub fn reason_key(&self, network: IpNet) -> String {
        format!("{}ban_reasons:{}", self.prefix, network_text(network))
    }

    /// The key that says that a ban was ended.
    pub fn end_key(&self, network: IpNet) -> String {
        format!("{}ban_ends:{}", self.prefix, network_text(network))
    }

    /// The network that a key bans, in any spelling: IPv6 in brackets, long or in capitals, IPv4 mapped into IPv6, host bits
    /// behind a prefix.
    pub fn network(&self, key: &str) -> Option<IpNet> {
        let (kind, text) = key.strip_prefix(&*self.prefix)?.split_once(':')?;
        let text = text.trim();
        let network = match kind {
            "banned_ips" => {
                let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
                IpNet::from(bare.parse::<IpAddr>().ok()?.to_canonical())
            }
            "banned_networks" => {
                text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?
            }
            _ => return None,
        };
        Some(canonical(network).trunc())
    }

    /// The commands that carry an order out.
    pub fn writes(&self, order: &StoreOrder, prefix: &str, now_ms: u64) -> Vec<Command> {
        match order {
            StoreOrder::Ban { network, until_unix_ms, reason } => {
                let life_ms = until_unix_ms.map(|until| until.saturating_sub(now_ms));
                if life_ms == Some(0) {
                    return Vec::new();
                }
                let set = |key: String, value: String| {
                    let command = Command::new("SET").key(key).arg(value);
                    life_ms.map_or(command.clone(), |life| command.arg("EX").arg(life.div_ceil(1000)))
                };
                vec![
                    set(self.key(*network), end_text(*until_unix_ms)),
                    set(self.reason_key(*network), short(reason).to_owned()),
                    Command::new("DEL").key(self.end_key(*network)),
                ]
            }
            StoreOrder::Unban(network) => {
                let delete = |key| Command::new("DEL").key(key);
                let end = Command::new("SET").key(self.end_key(*network)).arg(1).arg("EX").arg(END_KEPT_S);
                let keys = [self.key(*network), self.reason_key(*network)];
                keys.into_iter().chain(self.old_of(*network)).map(delete).chain([end]).collect()
            }
            StoreOrder::Forget(key) => vec![Command::new("DEL").key(format!("{prefix}{key}"))],
            // The thread of the bans sweeps the keys of the former; the latter is a message.
            StoreOrder::ForgetAll(_) | StoreOrder::Unblock(_) => Vec::new(),
        }
    }

    /// The message to all processes, for an order that concerns them.
    pub fn message(&self, order: &StoreOrder) -> Option<Command> {
        let node = &self.node;
        let text = match order {
            StoreOrder::Ban { network, until_unix_ms, reason } => {
                let until = until_unix_ms.map_or("-".to_owned(), |until| until.to_string());
                format!("{node} ban {network} {until} {}", short(reason))
            }
            StoreOrder::Unban(network) => format!("{node} unban {network}"),
            StoreOrder::Unblock(client) => format!("{node} unblock {}", IpNet::from(*client)),
            StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) => return None,
        };
        Some(Command::new("PUBLISH").arg(self.channel()).arg(text))
    }
}

impl Message<'_> {
    /// Understands a message; anything else on the channel is none.
    pub fn parse(text: &str) -> Option<Message<'_>> {
        let mut words = text.splitn(5, ' ');
        let (node, verb) = (words.next().filter(|node| node.len() <= NODE_BYTES_MAX)?, words.next()?);
        let network = canonical(words.next()?.parse::<IpNet>().ok()?).trunc();
        let deed = match verb {
            "ban" => {
                let until_unix_ms = match words.next()? {
                    "-" => None,
                    number => Some(number.parse().ok()?),
                };
                Deed::Banned { until_unix_ms, reason: short(words.next().unwrap_or_default()) }
            }
            "unban" => Deed::Unbanned,
            "unblock" => Deed::Unblocked,
            _ => return None,
        };
        Some(Message { node, network, deed })
    }
}

fn is_address(network: IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// A reason, shortened to [`REASON_BYTES_MAX`] bytes.
pub fn short(reason: &str) -> &str {
    shortened(reason, REASON_BYTES_MAX)
}

/// The end of a ban in its written form.
pub fn end_text(until_unix_ms: Option<u64>) -> String {
    match until_unix_ms {
        Some(until) => format!("{}.{:03}", until / 1000, until % 1000),
        None => FOR_EVER.to_string(),
    }
}

/// Parses the end of a ban, in milliseconds; `Some(None)` is for ever. The reference library writes as many digits as its
/// language shows.
pub fn end_of(text: &str) -> Option<Option<u64>> {
    let seconds: f64 = text.trim().parse().ok()?;
    if seconds >= FOR_EVER as f64 {
        return Some(None);
    }
    // Negative and NaN become 0: such a ban is over.
    Some(Some((seconds * 1000.0).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> BanKeys {
        BanKeys::new("guard_core:", "n1".to_owned(), 0)
    }

    #[test]
    fn guard_3_bans_stand_where_the_reference_library_looks() {
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        for (network, key) in [
            ("192.0.2.1/32", "guard_core:banned_ips:192.0.2.1"),
            ("2001:db8::1/128", "guard_core:banned_ips:2001:db8::1"),
            ("192.0.2.0/24", "guard_core:banned_networks:192.0.2.0/24"),
            ("2001:db8::/32", "guard_core:banned_networks:2001:db8::/32"),
        ] {
            assert_eq!(keys().key(net(network)), key);
            assert_eq!(keys().network(key), Some(net(network)));
        }
        assert_eq!(keys().pattern(), "guard_core:banned_*");
        assert_eq!(keys().channel(), "guard_core:bans");
        assert_eq!(BanKeys::new("p:", String::new(), 3).channel(), "p:bans:3");
        assert_eq!(BanKeys::new("a*b:", String::new(), 0).pattern(), "a\\*b:banned_*");
    }

    #[test]
    fn guard_4_old_spellings_are_read() {
        for (key, network) in [
            ("guard_core:banned_ips:[2001:DB8:0::1]", Some("2001:db8::1/128")),
            ("guard_core:banned_ips:::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("guard_core:banned_networks:192.0.2.77/24", Some("192.0.2.0/24")),
            ("guard_core:banned_networks:192.0.2.77", Some("192.0.2.77/32")),
            ("guard_core:banned_networks:::ffff:88.0.0.0/104", Some("88.0.0.0/8")),
            ("guard_core:banned_networks:::FFFF:5801:203/120", Some("88.1.2.0/24")),
            ("guard_core:banned_networks:::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("guard_core:banned_ips:unknown", None),
            ("guard_core:banned_ipsX:192.0.2.1", None),
            ("other:banned_ips:192.0.2.1", None),
            ("", None),
        ] {
            assert_eq!(keys().network(key), network.map(|text| text.parse().expect("a network")), "{key}");
        }
    }

    #[test]
    fn guard_3_ends_are_seconds_as_decimal_text() {
        assert_eq!(end_text(Some(1_764_421_349_120)), "1764421349.120");
        for (text, end) in [
            ("1764421349.120", Some(Some(1_764_421_349_120))),
            ("1764421349", Some(Some(1_764_421_349_000))),
            ("1764421349.1234567", Some(Some(1_764_421_349_123))),
            ("-5", Some(Some(0))),
            ("nan", Some(Some(0))),
            ("253402300799", Some(None)),
            ("inf", Some(None)),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(end_of(text), end, "{text}");
        }
        assert_eq!(end_of(&end_text(None)), Some(None));
    }

    #[test]
    fn messages_say_what_orders_do() {
        let network: IpNet = "192.0.2.0/24".parse().expect("a network");
        let ban =
            |until_unix_ms, reason: &str| StoreOrder::Ban { network, until_unix_ms, reason: reason.into() };
        for (order, text) in [
            (ban(Some(5), "abuse report"), "n1 ban 192.0.2.0/24 5 abuse report"),
            (ban(None, ""), "n1 ban 192.0.2.0/24 - "),
            (StoreOrder::Unban(network), "n1 unban 192.0.2.0/24"),
            (StoreOrder::Unblock(network.addr()), "n1 unblock 192.0.2.0/32"),
        ] {
            let expected = Command::new("PUBLISH").arg("guard_core:bans").arg(text);
            assert_eq!(keys().message(&order), Some(expected));
            let message = Message::parse(text).expect("a message");
            assert_eq!((message.node, message.network.addr()), ("n1", network.addr()));
            let deed = match order {
                StoreOrder::Unblock(_) => Deed::Unblocked,
                StoreOrder::Ban { until_unix_ms, ref reason, .. } => Deed::Banned { until_unix_ms, reason },
                StoreOrder::Unban(_) | StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) => Deed::Unbanned,
            };
            assert_eq!(message.deed, deed);
        }
        let mapped = Message::parse("n unban ::ffff:192.0.2.0/120").expect("a message");
        assert_eq!(mapped.network, network);
        assert_eq!(keys().message(&StoreOrder::Forget("k".into())), None);
        for text in [
            "",
            "n",
            "n ban",
            "n ban x 5 r",
            "n ban 192.0.2.0/24",
            "n ban 192.0.2.0/24 x r",
            "n praise 192.0.2.0/24",
        ] {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_message_of_a_long_name_is_none() {
        for (bytes, is_one) in [(NODE_BYTES_MAX, true), (NODE_BYTES_MAX + 1, false)] {
            let text = format!("{} unban 192.0.2.0/24", "n".repeat(bytes));
            assert_eq!(Message::parse(&text).is_some(), is_one, "{bytes}");
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(short("short"), "short");
        let long = "ä".repeat(200);
        assert_eq!(short(&long).len(), 256);
        assert_eq!(short(&format!("x{long}")).len(), 255);
    }
}
