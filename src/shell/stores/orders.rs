//! Orders that wait for a store, and the bans of this process.
//!
//! The bans of this process are remembered from the moment that the store has them, because a server may lose its memory: then
//! it gets them again. Another store gets all of them. They are written behind the orders that wait, and displace none. An unban counts from the moment of the order, even if it waits for a server that is away: a ban that it
//! ends is not remembered any more, and the bans that the server still has are read without it.

use crate::guard::store::StoreOrder;
use ipnet::IpNet;
use std::collections::{HashMap, VecDeque};

/// Orders that wait for a store which is away; the oldest are dropped beyond (chosen: minutes of bans).
pub const ORDERS_MAX: usize = 10_000;

/// Bans of this process that are remembered; the others are not brought back, and of their end in another process only the
/// message tells (chosen).
const OWN_MAX: usize = 100_000;

/// The end of each ban, `None` for ever, and its reason.
pub type Bans = HashMap<IpNet, (Option<u64>, Box<str>)>;

/// A ban of this process that the store has, or is to get again.
#[derive(Debug)]
struct Own {
    until_unix_ms: Option<u64>,
    reason: Box<str>,
    writing: Writing,
}

/// What a load may expect of a ban.
#[derive(Debug, PartialEq, Eq)]
enum Writing {
    /// It is to be written (again), in a waiting order or in [`Orders::again`].
    Waits,
    /// It was written after the present load began, which may find it.
    New,
    /// It was written before, so that the load must find it.
    Settled,
}

/// An unban by this process: whether it was carried out.
#[derive(Debug, PartialEq, Eq)]
enum Unban {
    Waits,
    Done,
}

/// What an order makes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Banned until then, `None` for ever.
    Ban(Option<u64>),
    Unban,
}

/// The orders for one network that are not done.
#[derive(Debug)]
struct Pending {
    orders: usize,
    /// The last one of them.
    last: Act,
    /// Whether the message about the last one came back: the processes hear of it before it is written while a store refuses writes.
    is_told: bool,
    /// Whether another process has acted behind that message, so that the orders are void.
    is_superseded: bool,
}

/// The queue of orders, and what is remembered of those that are done.
#[derive(Debug, Default)]
pub struct Orders {
    waiting: VecDeque<StoreOrder>,
    /// The networks of bans and unbans that were taken to be carried out, and are not done.
    in_flight: Vec<IpNet>,
    /// The networks of the bans and unbans that wait or are in flight.
    pending: HashMap<IpNet, Pending>,
    /// Bans of this process that the store is to get (again), behind the orders that wait.
    again: VecDeque<IpNet>,
    own: HashMap<IpNet, Own>,
    /// Unbans that a load may not have seen.
    unbans: HashMap<IpNet, Unban>,
}

impl Orders {
    /// Queues an order. Returns the number of dropped ones.
    pub fn add(&mut self, order: StoreOrder) -> usize {
        match &order {
            StoreOrder::Ban { network, until_unix_ms, reason } => {
                self.unbans.remove(network);
                // A load that begins before the order is carried out finds the ban as it was.
                if let Some(own) = self.own.get_mut(network) {
                    *own = Own {
                        until_unix_ms: *until_unix_ms,
                        reason: reason.clone(),
                        writing: Writing::Waits,
                    };
                }
            }
            StoreOrder::Unban(network) => {
                self.own.remove(network);
                self.unbans.insert(*network, Unban::Waits);
            }
            StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) | StoreOrder::Unblock(_) => {}
        }
        if let Some((network, act)) = act_of(&order) {
            let orders = self.pending.get(&network).map_or(0, |pending| pending.orders) + 1;
            let pending = Pending { orders, last: act, is_told: false, is_superseded: false };
            self.pending.insert(network, pending);
        }
        self.waiting.push_back(order);
        self.bound()
    }

    /// Orders that were not taken, from a place in the queue on.
    pub fn waiting(&self, from: usize, most: usize) -> Vec<StoreOrder> {
        self.waiting.iter().skip(from).take(most).cloned().collect()
    }

    /// One more order for a network is not done, which is not newer than those that are known.
    fn enlist(&mut self, order: &StoreOrder) {
        if let Some((network, last)) = act_of(order) {
            let new = Pending { orders: 0, last, is_told: false, is_superseded: false };
            self.pending.entry(network).or_insert(new).orders += 1;
        }
    }

    /// One order for a network is done, or dropped.
    fn strike(&mut self, network: IpNet) {
        if let Some(pending) = self.pending.get_mut(&network) {
            pending.orders -= 1;
            if pending.orders == 0 {
                self.pending.remove(&network);
            }
        }
    }

    fn end_flight(&mut self) {
        std::mem::take(&mut self.in_flight).into_iter().for_each(|network| self.strike(network));
    }

    /// The next orders, oldest first, and behind them those that write bans of this process again.
    pub fn take(&mut self, most: usize) -> Vec<StoreOrder> {
        let waiting = most.min(self.waiting.len());
        let mut taken: Vec<StoreOrder> = self.waiting.drain(..waiting).collect();
        while taken.len() < most {
            let Some(network) = self.again.pop_front() else { break };
            // The ban may have ended meanwhile, or an order may have written it.
            if let Some(own) = self.own.get(&network).filter(|own| own.writing == Writing::Waits) {
                let (until_unix_ms, reason) = (own.until_unix_ms, own.reason.clone());
                let order = StoreOrder::Ban { network, until_unix_ms, reason };
                self.enlist(&order);
                taken.push(order);
            }
        }
        self.in_flight = taken.iter().filter_map(|order| Some(act_of(order)?.0)).collect();
        taken
    }

    /// Whether a ban or unban of this network by this process is to be carried out. A ban that is over is not written.
    pub fn is_waited_for(&self, network: IpNet, now_unix_ms: u64) -> bool {
        let is_over = |until: Option<u64>| until.is_some_and(|until| until <= now_unix_ms);
        let is_valid = |pending: &Pending| {
            !pending.is_superseded && !matches!(pending.last, Act::Ban(until) if is_over(until))
        };
        let waits = |own: &Own| own.writing == Writing::Waits && !is_over(own.until_unix_ms);
        // One that is under way is written, also if it has become void meanwhile.
        self.in_flight.contains(&network)
            || self.pending.get(&network).is_some_and(is_valid)
            || self.own.get(&network).is_some_and(waits)
    }

    /// The message about an act of this process came back: up to now the act is the last one.
    pub fn note_told(&mut self, network: IpNet, act: Act) {
        if let Some(pending) = self.pending.get_mut(&network).filter(|pending| pending.last == act) {
            (pending.is_told, pending.is_superseded) = (true, false);
        }
    }

    /// The message about an act of another process came. If it came behind the one about a waiting order, the order is void: all
    /// processes have heard of the other act last.
    pub fn note_others(&mut self, network: IpNet) {
        if let Some(pending) = self.pending.get_mut(&network).filter(|pending| pending.is_told) {
            pending.is_superseded = true;
            self.own.remove(&network);
            self.unbans.remove(&network);
        }
    }

    /// Whether an order is not to be carried out any more: another process has acted since, or the ban is over.
    pub fn is_void(&self, order: &StoreOrder, now_unix_ms: u64) -> bool {
        act_of(order).is_some_and(|(network, act)| {
            let is_over = matches!(act, Act::Ban(Some(until)) if until <= now_unix_ms);
            is_over || self.is_superseded(network)
        })
    }

    fn is_superseded(&self, network: IpNet) -> bool {
        self.pending.get(&network).is_some_and(|pending| pending.is_superseded)
    }

    /// Another client carries the orders out from now on.
    pub fn hand_over(&mut self) -> Orders {
        self.end_flight();
        std::mem::take(self)
    }

    /// Puts orders that could not be carried out back to their old places. Returns the number of dropped ones.
    pub fn put_back(&mut self, orders: Vec<StoreOrder>) -> usize {
        orders.iter().for_each(|order| self.enlist(order));
        self.end_flight();
        orders.into_iter().rev().for_each(|order| self.waiting.push_front(order));
        self.bound()
    }

    fn bound(&mut self) -> usize {
        let beyond = self.waiting.len().saturating_sub(ORDERS_MAX);
        let dropped: Vec<StoreOrder> = self.waiting.drain(..beyond).collect();
        for order in dropped {
            if let Some((network, _)) = act_of(&order) {
                self.strike(network);
            }
            match order {
                StoreOrder::Unban(network) => drop(self.unbans.remove(&network)),
                StoreOrder::Ban { network, .. } => drop(self.own.remove(&network)),
                StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) | StoreOrder::Unblock(_) => {}
            }
        }
        beyond
    }

    /// Whether orders wait.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.again.is_empty()
    }

    /// These orders were carried out, in this order. Bans count as bans of this process only if they were written.
    pub fn note_done(&mut self, orders: &[StoreOrder], are_written: bool) {
        for order in orders {
            match order {
                StoreOrder::Ban { network, .. } | StoreOrder::Unban(network)
                    if self.is_superseded(*network) => {}
                StoreOrder::Ban { network, until_unix_ms, reason } if are_written => {
                    // An unban may have been ordered meanwhile.
                    let is_ended = self.unbans.get(network) == Some(&Unban::Waits);
                    if !is_ended && (self.own.len() < OWN_MAX || self.own.contains_key(network)) {
                        let (until_unix_ms, reason) = (*until_unix_ms, reason.clone());
                        self.own.insert(*network, Own { until_unix_ms, reason, writing: Writing::New });
                    }
                }
                StoreOrder::Unban(network) => {
                    if let Some(unban) = self.unbans.get_mut(network) {
                        *unban = Unban::Done;
                    }
                }
                StoreOrder::Ban { network, .. } => drop(self.own.remove(network)),
                StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) | StoreOrder::Unblock(_) => {}
            }
        }
        self.end_flight();
    }

    /// A ban of this process has ended: another process has ended it, or it has gone from the store.
    pub fn forget_own(&mut self, network: IpNet) {
        self.own.remove(&network);
    }

    /// The bans of this process are in another store.
    pub fn forget_all_own(&mut self) {
        self.own.clear();
        self.again.clear();
    }

    /// Has a ban of this process written that is not remembered: it was made for another store, or without one.
    pub fn adopt(&mut self, network: IpNet, until_unix_ms: Option<u64>, reason: &str) {
        if self.own.len() < OWN_MAX && !self.own.contains_key(&network) {
            self.own.insert(network, Own { until_unix_ms, reason: reason.into(), writing: Writing::Waits });
            self.again.push_back(network);
        }
    }

    /// A load of all bans begins: it will find what was done before.
    pub fn begin_load(&mut self) {
        let is_new = |own: &&mut Own| own.writing == Writing::New;
        self.own.values_mut().filter(is_new).for_each(|own| own.writing = Writing::Settled);
        self.unbans.retain(|_, unban| *unban == Unban::Waits);
    }

    /// A load has ended: removes from it what this process has ended meanwhile, and adds what it is about to write. Returns the
    /// bans of this process that should be there and are not.
    pub fn end_load(&mut self, bans: &mut Bans, now_unix_ms: u64) -> Vec<IpNet> {
        self.unbans.keys().for_each(|network| {
            bans.remove(network);
        });
        self.own.retain(|_, own| own.until_unix_ms.is_none_or(|until| until > now_unix_ms));
        let mut missing = Vec::new();
        for (network, own) in &self.own {
            if own.writing != Writing::Settled {
                bans.insert(*network, (own.until_unix_ms, own.reason.clone()));
            } else if !bans.contains_key(network) {
                missing.push(*network);
            }
        }
        missing
    }

    /// Queues a lost ban of this process again, unless it was ended meanwhile.
    pub fn bring_back(&mut self, network: IpNet) -> Option<(Option<u64>, Box<str>)> {
        let own = self.own.get_mut(&network)?;
        own.writing = Writing::Waits;
        self.again.push_back(network);
        Some((own.until_unix_ms, own.reason.clone()))
    }
}

/// The network that an order bans, or whose ban it ends.
fn act_of(order: &StoreOrder) -> Option<(IpNet, Act)> {
    match order {
        StoreOrder::Ban { network, until_unix_ms, .. } => Some((*network, Act::Ban(*until_unix_ms))),
        StoreOrder::Unban(network) => Some((*network, Act::Unban)),
        StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) | StoreOrder::Unblock(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const LATER: u64 = 1000;

    fn net() -> IpNet {
        "192.0.2.1/32".parse().expect("a network")
    }

    fn ban() -> StoreOrder {
        StoreOrder::Ban { network: net(), until_unix_ms: None, reason: "r".into() }
    }

    fn found() -> Bans {
        Bans::from([(net(), (None, "r".into()))])
    }

    /// The orders are carried out.
    fn carry_out(orders: &mut Orders) {
        let taken = orders.take(usize::MAX);
        orders.note_done(&taken, true);
    }

    /// The bans that a load of these reads, and those that are missing.
    fn load(orders: &mut Orders, mut bans: Bans, meanwhile: impl FnOnce(&mut Orders)) -> (usize, usize) {
        orders.begin_load();
        meanwhile(orders);
        let missing = orders.end_load(&mut bans, LATER);
        (bans.len(), missing.len())
    }

    #[test]
    fn orders_are_bounded_and_keep_their_order() {
        let mut orders = Orders::default();
        let dropped: usize =
            (0..ORDERS_MAX + 2).map(|number| orders.add(StoreOrder::Forget(number.to_string().into()))).sum();
        assert_eq!(dropped, 2);
        let taken = orders.take(3);
        assert_eq!(taken[0], StoreOrder::Forget("2".into()));
        orders.add(StoreOrder::Forget("late".into()));
        // The bound holds when they come back, too: the oldest, 2, is gone.
        assert_eq!(orders.put_back(taken), 1);
        assert_eq!(orders.take(2)[0], StoreOrder::Forget("3".into()));
        assert_eq!(orders.take(usize::MAX).len(), ORDERS_MAX - 2);
        assert!(orders.is_empty());
    }

    #[test]
    fn a_ban_is_missing_if_it_was_written_before_the_load() {
        let mut orders = Orders::default();
        orders.add(ban());
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0), "it waits");
        assert_eq!(load(&mut orders, Bans::new(), carry_out), (1, 0), "written behind the reading");
        assert_eq!(load(&mut orders, found(), |_| {}), (1, 0));
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 1));
        orders.forget_own(net());
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0));
    }

    #[test]
    fn a_lost_ban_holds_while_it_is_written_again() {
        let mut orders = Orders::default();
        orders.add(ban());
        carry_out(&mut orders);
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 1));
        assert_eq!(orders.bring_back(net()), Some((None, "r".into())));
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (1, 0), "it waits");
        assert_eq!(load(&mut orders, Bans::new(), carry_out), (1, 0));
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 1), "lost again");
        orders.add(StoreOrder::Unban(net()));
        assert_eq!(orders.bring_back(net()), None, "it was ended meanwhile");
    }

    #[test]
    fn another_store_gets_the_bans_of_this_process_and_they_displace_no_order() {
        let mut orders = Orders::default();
        orders.add(ban());
        carry_out(&mut orders);
        orders.add(StoreOrder::Forget("k".into()));
        orders.forget_all_own();
        orders.adopt(net(), None, "r");
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (1, 0), "it waits");
        let network = |number: u32| IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | number)));
        (0..20_000).for_each(|number| orders.adopt(network(number), Some(2 * LATER), ""));
        assert_eq!(orders.add(StoreOrder::Unblock(net().addr())), 0);
        let taken = orders.take(3);
        assert_eq!(taken, [StoreOrder::Forget("k".into()), StoreOrder::Unblock(net().addr()), ban()]);
        // What is ended or made anew meanwhile is not written from memory.
        assert_eq!(orders.put_back(taken), 0);
        orders.add(StoreOrder::Unban(network(7)));
        let longer = StoreOrder::Ban { network: network(8), until_unix_ms: None, reason: "longer".into() };
        orders.add(longer.clone());
        let taken = orders.take(5);
        assert_eq!(taken[3..], [StoreOrder::Unban(network(7)), longer.clone()]);
        orders.note_done(&taken, true);
        let rest = orders.take(usize::MAX);
        let is_of = |order: &StoreOrder, number| matches!(order, StoreOrder::Ban { network: found, .. } if *found == network(number));
        assert!(!rest.iter().any(|order| is_of(order, 7) || is_of(order, 8)));
        assert_eq!(rest.len(), 19_998);
        assert!(orders.is_empty());
    }

    #[test]
    fn a_load_that_finds_an_own_ban_as_it_was_before_its_last_order_does_not_shorten_it() {
        let mut orders = Orders::default();
        orders.add(StoreOrder::Ban { network: net(), until_unix_ms: Some(2 * LATER), reason: "r".into() });
        carry_out(&mut orders);
        let short = || Bans::from([(net(), (Some(2 * LATER), "r".into()))]);
        orders.begin_load();
        orders.add(ban());
        for _ in 0..2 {
            let mut bans = short();
            assert_eq!((orders.end_load(&mut bans, LATER), bans), (Vec::new(), found()));
            // The order is carried out while the load is under way.
            carry_out(&mut orders);
        }
    }

    #[test]
    fn bans_that_are_over_or_refused_or_ended_by_others_are_not_missing() {
        for case in 0..3 {
            let mut orders = Orders::default();
            let until_unix_ms = (case == 0).then_some(LATER);
            orders.add(StoreOrder::Ban { network: net(), until_unix_ms, reason: "".into() });
            let taken = orders.take(1);
            orders.note_done(&taken, case != 1);
            if case == 2 {
                orders.forget_own(net());
            }
            assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0), "case {case}");
        }
    }

    #[test]
    fn an_unban_counts_from_its_order_on() {
        let mut orders = Orders::default();
        orders.add(ban());
        carry_out(&mut orders);
        orders.add(StoreOrder::Unban(net()));
        // The server still has the ban, or has lost it.
        assert_eq!(load(&mut orders, found(), |_| {}), (0, 0));
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0));
        assert_eq!(load(&mut orders, found(), carry_out), (0, 0), "read before it was carried out");
        // From now on it is another's ban.
        assert_eq!(load(&mut orders, found(), |_| {}), (1, 0));
    }

    #[test]
    fn the_last_of_ban_and_unban_counts() {
        let mut orders = Orders::default();
        orders.add(StoreOrder::Unban(net()));
        orders.add(ban());
        assert_eq!(load(&mut orders, found(), |_| {}), (1, 0));
        carry_out(&mut orders);
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 1));
        // The unban is ordered while the ban is under way.
        orders.add(ban());
        let taken = orders.take(1);
        orders.add(StoreOrder::Unban(net()));
        orders.note_done(&taken, true);
        assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0));
    }

    #[test]
    fn an_order_is_waited_for_until_it_is_done() {
        for order in [ban(), StoreOrder::Unban(net())] {
            let mut orders = Orders::default();
            assert!(!orders.is_waited_for(net(), LATER));
            orders.add(order);
            assert!(orders.is_waited_for(net(), LATER));
            let taken = orders.take(1);
            assert!(orders.is_waited_for(net(), LATER));
            orders.put_back(taken);
            let taken = orders.take(1);
            orders.note_done(&taken, true);
            assert!(!orders.is_waited_for(net(), LATER));
        }
        let mut orders = Orders::default();
        orders.adopt(net(), None, "r");
        assert!(orders.is_waited_for(net(), LATER));
        carry_out(&mut orders);
        orders.bring_back(net());
        assert!(orders.is_waited_for(net(), LATER));
        orders.take(1);
        orders.hand_over();
        assert!(!orders.is_waited_for(net(), LATER));
    }

    /// Orders wait while a store refuses them, and their messages are sent before.
    #[test]
    fn an_order_is_void_when_another_process_has_acted_behind_its_message() {
        for (order, act) in [(ban(), Act::Ban(None)), (StoreOrder::Unban(net()), Act::Unban)] {
            let mut orders = Orders::default();
            orders.add(order.clone());
            orders.note_others(net());
            assert!(!orders.is_void(&order, LATER), "its message comes behind the other one");
            orders.note_told(net(), Act::Ban(Some(1)));
            orders.note_others(net());
            assert!(!orders.is_void(&order, LATER), "the message was about an earlier order");
            orders.note_told(net(), act);
            // The order may be under way meanwhile.
            let taken = orders.take(1);
            orders.note_others(net());
            assert!(orders.is_void(&order, LATER) && orders.is_waited_for(net(), LATER));
            assert_eq!(load(&mut orders, found(), |_| {}), (1, 0), "the other one has banned it");
            orders.put_back(taken);
            assert!(orders.is_void(&order, LATER) && !orders.is_waited_for(net(), LATER));
            carry_out(&mut orders);
            assert_eq!(load(&mut orders, Bans::new(), |_| {}), (0, 0), "it is not a ban of this process");
            assert!(orders.pending.is_empty());
            orders.add(order.clone());
            assert!(!orders.is_void(&order, LATER), "a new order counts");
        }
    }

    #[test]
    fn a_ban_that_is_over_is_not_waited_for() {
        let mut orders = Orders::default();
        let order = StoreOrder::Ban { network: net(), until_unix_ms: Some(LATER), reason: "".into() };
        orders.add(order.clone());
        assert!(orders.is_waited_for(net(), LATER - 1) && !orders.is_void(&order, LATER - 1));
        assert!(!orders.is_waited_for(net(), LATER) && orders.is_void(&order, LATER));
    }

    #[test]
    fn a_dropped_unban_hides_no_ban() {
        let mut orders = Orders::default();
        orders.add(StoreOrder::Unban(net()));
        for _ in 0..ORDERS_MAX {
            orders.add(StoreOrder::Forget("k".into()));
        }
        assert_eq!(load(&mut orders, found(), |_| {}), (1, 0));
    }
}
