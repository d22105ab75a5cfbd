//! Which processes have acted on which networks of late.
//!
//! A process writes first, and tells the others then. So two that act on one network at about the same time may write in one order
//! and tell in the other, as all do that wait for a store which was away. And a process that has an order of its own waiting
//! writes last of all. So a message is taken at its word only if its sender alone has acted on the network; otherwise the network is
//! disputed, and the store is asked what holds. Each write has its message behind it, so the last question finds the last write.
//!
//! A store that refuses writes for a while carries messages. If it has neither the ban nor its end, the last message is all that is
//! known, and is taken at its word.

use crate::guard::store::StoreNews;
use ipnet::IpNet;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Messages that are so far apart come in the order of their writes (chosen: longer than a store may be late).
const CROSSING_MAX: Duration = Duration::from_secs(10);

/// Networks that are remembered, and networks that are disputed; beyond this number messages are taken at their word (chosen: as many
/// orders may wait).
const NETWORKS_MAX: usize = 10_000;

/// The latest messages about each network.
#[derive(Debug, Default)]
pub struct Acts {
    /// Which process has acted, `None` for several, and when its message came.
    recent: HashMap<IpNet, (Option<Box<str>>, Instant)>,
    /// What the last message about it says.
    disputed: HashMap<IpNet, StoreNews>,
}

impl Acts {
    /// Another process tells that it has acted on a network; `is_waited_for` says that an order of this process is to be carried
    /// out. Returns the word of the message if it is to be taken at it.
    pub fn note(
        &mut self,
        network: IpNet,
        node: &str,
        word: StoreNews,
        is_waited_for: bool,
        now: Instant,
    ) -> Option<StoreNews> {
        let is_alone = self.remember(network, node, now);
        if is_alone && !is_waited_for || self.disputed.len() >= NETWORKS_MAX {
            return Some(word);
        }
        self.disputed.insert(network, word);
        None
    }

    /// A message of this process came back. Those that came before it were written before, or while its order was waited for.
    pub fn note_own(&mut self, network: IpNet, node: &str, now: Instant) {
        self.remember(network, node, now);
    }

    /// Whether this process alone has acted on the network of late.
    fn remember(&mut self, network: IpNet, node: &str, now: Instant) -> bool {
        if self.recent.len() >= NETWORKS_MAX {
            self.recent.clear();
        }
        let before = self.recent.get(&network).filter(|(_, at)| now.duration_since(*at) < CROSSING_MAX);
        let is_alone = before.is_none_or(|(before, _)| before.as_deref() == Some(node));
        self.recent.insert(network, (is_alone.then(|| node.into()), now));
        is_alone
    }

    /// Forgets messages that are so old that no other can cross them.
    pub fn forget_old(&mut self, now: Instant) {
        self.recent.retain(|_, (_, at)| now.duration_since(*at) < CROSSING_MAX);
    }

    /// The networks for which the store is to be asked.
    pub fn disputed(&self) -> impl Iterator<Item = IpNet> {
        self.disputed.keys().copied()
    }

    /// The store was asked for a network. Returns the word of the last message about it.
    pub fn settle(&mut self, network: IpNet) -> Option<StoreNews> {
        self.disputed.remove(&network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> IpNet {
        "192.0.2.1/32".parse().expect("a network")
    }

    fn word() -> StoreNews {
        StoreNews::Unbanned(net())
    }

    #[test]
    fn a_message_is_taken_at_its_word_if_its_sender_alone_has_acted() {
        let (mut acts, now) = (Acts::default(), Instant::now());
        for (node, is_waited_for, is_taken) in [
            ("one", false, true),
            ("one", true, false),
            ("one", false, true),
            ("two", false, false),
            // The other one may have written last, and told first.
            ("two", false, false),
            ("one", false, false),
        ] {
            let taken = acts.note(net(), node, word(), is_waited_for, now);
            assert_eq!(taken, is_taken.then(word), "{node}");
        }
        assert_eq!(acts.disputed().collect::<Vec<_>>(), [net()]);
        assert_eq!(acts.settle(net()), Some(word()));
        assert_eq!(acts.disputed().count(), 0);
        let other = "192.0.2.2/32".parse().expect("a network");
        assert!(acts.note(other, "two", word(), false, now).is_some());
        acts.note_own(other, "own", now);
        assert_eq!(acts.disputed().count(), 0);
        assert!(acts.note(other, "two", word(), false, now).is_none());
        let later = now + CROSSING_MAX;
        assert!(acts.note(net(), "two", word(), false, later).is_some(), "the others are long past");
        acts.forget_old(later);
        assert_eq!(acts.recent.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut acts, now) = (Acts::default(), Instant::now());
        let network =
            |number: usize| IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(number as u32)));
        for number in 0..2 * NETWORKS_MAX {
            acts.note(network(number), "one", word(), true, now);
        }
        assert!(acts.recent.len() <= NETWORKS_MAX && acts.disputed.len() <= NETWORKS_MAX);
    }
}
