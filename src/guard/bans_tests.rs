use super::*;
use std::collections::HashMap;

const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()))
}

fn ban(until_unix_ms: Option<u64>, origin: BanOrigin) -> Ban {
    Ban { until_unix_ms, reason: "test".into(), origin, line: 0 }
}

fn control(bans: &mut Bans, network: &str, until: Option<u64>) -> Result<bool, BanError> {
    bans.insert(net(network), ban(until, BanOrigin::Control), NOW)
}

fn found(bans: &Bans, address: &str, now: u64) -> Option<String> {
    bans.find(address.parse().unwrap(), now).map(|(network, _)| network.to_string())
}

/// When the next ban expires.
fn next_expiry(bans: &Bans) -> Option<u64> {
    bans.heap.first().map(|&(until, _)| until)
}

/// What must hold after every step.
fn check(bans: &Bans) {
    assert_eq!(bans.table.len(), bans.entries.len());
    assert!(bans.len() <= bans.bans_max);
    for (place, &(until, at)) in bans.heap.iter().enumerate() {
        let entry = &bans.entries[at as usize];
        assert_eq!((entry.place, entry.ban.until_unix_ms), (place as u32, Some(until)));
        assert!(place == 0 || bans.heap[(place - 1) / 2].0 <= until);
    }
    let expiring = bans.iter().filter(|(_, ban)| ban.until_unix_ms.is_some()).count();
    assert_eq!(bans.heap.len(), expiring);
    let of = |is_v4: bool| bans.iter().filter(move |(network, _)| network.addr().is_ipv4() == is_v4);
    for (is_v4, lengths) in [(true, &bans.lengths_v4), (false, &bans.lengths_v6)] {
        let mut expected: Vec<u8> = of(is_v4).map(|(network, _)| network.prefix_len()).collect();
        expected.sort_by(|a, b| b.cmp(a));
        expected.dedup();
        assert_eq!(lengths.in_use, expected);
    }
}

#[test]
fn ours_4_the_longest_prefix_is_found() {
    let mut bans = Bans::new(100, 1);
    let networks = [
        "203.0.113.0/24",
        "203.0.113.9",
        "203.0.0.0/16",
        "198.51.100.77/25",
        "2001:db8::/32",
        "2001:db8:1::/48",
        "2001:db8:1::5",
        "::ffff:192.0.2.0/120",
    ];
    for network in networks {
        assert_eq!(control(&mut bans, network, None), Ok(true), "{network}");
        check(&bans);
    }
    let cases = [
        ("203.0.113.9", Some("203.0.113.9/32")),
        ("203.0.113.8", Some("203.0.113.0/24")),
        ("203.0.112.255", Some("203.0.0.0/16")),
        ("203.1.0.0", None),
        ("198.51.100.0", Some("198.51.100.0/25")),
        ("198.51.100.128", None),
        ("::ffff:203.0.113.9", Some("203.0.113.9/32")),
        ("192.0.2.200", Some("192.0.2.0/24")),
        ("::ffff:192.0.2.1", Some("192.0.2.0/24")),
        ("2001:db8:1::5", Some("2001:db8:1::5/128")),
        ("2001:db8:1::6", Some("2001:db8:1::/48")),
        ("2001:db8:2::6", Some("2001:db8::/32")),
        ("2001:db9::", None),
    ];
    for (address, expected) in cases {
        assert_eq!(found(&bans, address, NOW).as_deref(), expected, "{address}");
    }
    assert!(bans.remove(net("::ffff:203.0.113.9")) && !bans.remove(net("203.0.113.9")));
    assert_eq!(found(&bans, "203.0.113.9", NOW).as_deref(), Some("203.0.113.0/24"));
    assert!(!bans.remove(net("203.0.113.0/25")), "only exactly this network");
    let all: Vec<_> = bans.iter().map(|(network, _)| network).collect();
    all.into_iter().for_each(|network| assert!(bans.remove(network)));
    assert!(bans.is_empty() && found(&bans, "203.0.113.9", NOW).is_none());
    check(&bans);
}

#[test]
fn guard_4_prefixes_of_length_zero_and_full_length_are_networks_too() {
    // Everything overlaps loopback, so these are refused; the neighbours at the edges are not.
    let mut bans = Bans::new(10, 1);
    assert_eq!(control(&mut bans, "0.0.0.0/0", None), Err(BanError::Loopback));
    assert_eq!(control(&mut bans, "::/0", None), Err(BanError::Loopback));
    for network in ["128.0.0.0/1", "8000::/1", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert_eq!(control(&mut bans, network, None), Ok(true), "{network}");
    }
    assert_eq!(found(&bans, "255.255.255.255", NOW).as_deref(), Some("255.255.255.255/32"));
    assert_eq!(found(&bans, "255.255.255.254", NOW).as_deref(), Some("128.0.0.0/1"));
    assert_eq!(found(&bans, "fe80::1", NOW).as_deref(), Some("8000::/1"));
    assert_eq!(found(&bans, "127.255.255.255", NOW), None);
}

#[test]
fn guard_4_what_must_not_be_banned_is_refused() {
    let mut bans = Bans::new(10, 1);
    bans.set_trusted(&[net("10.1.0.0/16"), net("2001:db8:7::/48"), net("::ffff:192.0.2.7")], NOW);
    let trusted = |text: &str| Err(BanError::Trusted(net(text)));
    let cases = [
        ("127.0.0.1", None, Err(BanError::Loopback)),
        ("127.9.0.0/16", None, Err(BanError::Loopback)),
        ("126.0.0.0/7", None, Err(BanError::Loopback)),
        ("::ffff:127.0.0.1", None, Err(BanError::Loopback)),
        ("::1", None, Err(BanError::Loopback)),
        ("::/127", None, Err(BanError::Loopback)),
        ("10.1.2.3", None, trusted("10.1.0.0/16")),
        ("10.0.0.0/8", None, trusted("10.1.0.0/16")),
        ("2001:db8:7::1", None, trusted("2001:db8:7::/48")),
        ("192.0.2.0/24", None, trusted("192.0.2.7")),
        ("203.0.113.9", Some(NOW), Err(BanError::NoDuration)),
        ("203.0.113.9", Some(0), Err(BanError::NoDuration)),
        ("203.0.113.9", Some(NOW + 1), Ok(true)),
        ("10.2.0.0/16", Some(NOW + 1), Ok(true)),
        ("128.0.0.0/8", None, Ok(true)),
        ("::2", None, Ok(true)),
    ];
    for (network, until, expected) in cases {
        assert_eq!(control(&mut bans, network, until), expected, "{network}");
    }
    // What becomes trusted is no longer banned.
    bans.insert(net("10.2.3.4"), ban(None, BanOrigin::BanFile), NOW).unwrap();
    control(&mut bans, "10.2.3.5", Some(NOW + 1)).unwrap();
    let trusted = [net("10.2.3.4/31"), net("128.1.0.0/16")];
    let mut ended = bans.set_trusted(&trusted, NOW + 1);
    ended.sort();
    assert_eq!(ended, [net("128.0.0.0/8")], "files tell of theirs, and what is over has ended before");
    assert_eq!((found(&bans, "10.2.3.4", NOW), found(&bans, "128.0.0.1", NOW)), (None, None));
    assert_eq!(bans.len(), 2);
    check(&bans);
}

#[test]
fn guard_4_private_networks_are_known() {
    let private = ["10.0.0.0/8", "172.31.255.255", "192.168.1.0/24", "169.254.1.1", "fc00::/7", "fe80::1"];
    private.iter().for_each(|network| assert!(is_private(net(network)), "{network}"));
    let public = ["8.0.0.0/7", "172.32.0.0/16", "192.0.0.0/8", "11.0.0.1", "2001:db8::/32", "fc00::/6"];
    public.iter().for_each(|network| assert!(!is_private(net(network)), "{network}"));
    assert!(is_private(net("::ffff:10.0.0.1")));
}

#[test]
fn ours_4_durations_are_not_cut_and_expired_bans_are_not_found() {
    let mut bans = Bans::new(100, 1);
    let until = NOW + 400 * DAY;
    control(&mut bans, "203.0.113.0/24", Some(until)).unwrap();
    control(&mut bans, "203.0.113.9", Some(NOW + 1000)).unwrap();
    control(&mut bans, "2001:db8::1", None).unwrap();
    assert_eq!(found(&bans, "203.0.113.9", NOW + 999).as_deref(), Some("203.0.113.9/32"));
    // The shorter prefix shines through.
    assert_eq!(found(&bans, "203.0.113.9", NOW + 1000).as_deref(), Some("203.0.113.0/24"));
    assert_eq!(found(&bans, "203.0.113.9", until - 1).as_deref(), Some("203.0.113.0/24"));
    assert_eq!(found(&bans, "203.0.113.9", until), None);
    assert_eq!(found(&bans, "2001:db8::1", u64::MAX).as_deref(), Some("2001:db8::1/128"));
    assert_eq!((next_expiry(&bans), bans.expire(NOW + 999, 9)), (Some(NOW + 1000), 0));
    assert_eq!((bans.expire(NOW + 1000, 9), next_expiry(&bans)), (1, Some(until)));
    assert_eq!((bans.expire(u64::MAX, 9), next_expiry(&bans), bans.len()), (1, None, 1));
    assert_eq!(bans.dropped(), 0, "an end is no drop");
    check(&bans);
}

#[test]
fn ours_4_expiry_goes_in_steps() {
    let mut bans = Bans::new(1000, 1);
    for number in 0..1000u32 {
        let network = IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(0x0B00_0000 | number)));
        let until = NOW + 1 + u64::from(number.wrapping_mul(7919) % 1000);
        bans.insert(network, ban(Some(until), BanOrigin::Automatic), NOW).unwrap();
    }
    check(&bans);
    assert_eq!(bans.expire(NOW + 500, 64), 64);
    check(&bans);
    assert_eq!(next_expiry(&bans), Some(NOW + 65));
    assert_eq!((bans.expire(NOW + 500, 10_000), bans.len()), (436, 500));
}

#[test]
fn ours_4_a_full_table_drops_the_soonest_to_expire_and_counts() {
    let mut bans = Bans::new(3, 1);
    control(&mut bans, "203.0.113.1", Some(NOW + 3000)).unwrap();
    control(&mut bans, "203.0.113.2", Some(NOW + 1000)).unwrap();
    control(&mut bans, "203.0.113.3", None).unwrap();
    // The same network again needs no room.
    control(&mut bans, "203.0.113.1", Some(NOW + 3000)).unwrap();
    assert_eq!(bans.dropped(), 0);
    control(&mut bans, "203.0.113.4", Some(NOW + 10)).unwrap();
    assert_eq!((bans.dropped(), found(&bans, "203.0.113.2", NOW)), (1, None));
    control(&mut bans, "203.0.113.5", None).unwrap();
    control(&mut bans, "203.0.113.6", None).unwrap();
    assert_eq!((bans.dropped(), bans.len()), (3, 3));
    // Bans for ever do not make room.
    assert_eq!(control(&mut bans, "203.0.113.7", Some(NOW + 1)), Err(BanError::Full));
    assert_eq!(control(&mut bans, "203.0.113.7", None), Err(BanError::Full));
    assert_eq!((bans.dropped(), bans.len()), (5, 3));
    for address in ["203.0.113.3", "203.0.113.5", "203.0.113.6"] {
        assert!(found(&bans, address, NOW).is_some(), "{address}");
    }
    check(&bans);
    // What has expired makes room without being counted.
    let mut bans = Bans::new(1, 1);
    control(&mut bans, "203.0.113.1", Some(NOW + 1)).unwrap();
    bans.insert(net("203.0.113.2"), ban(None, BanOrigin::Store), NOW + 1).unwrap();
    assert_eq!((bans.dropped(), bans.len()), (0, 1));
    // A smaller bound after a reload.
    let mut bans = Bans::new(10, 1);
    for last in 1..=6 {
        let until = (last % 2 == 0).then_some(NOW + last);
        control(&mut bans, &format!("203.0.113.{last}"), until).unwrap();
    }
    bans.set_bans_max(4);
    assert_eq!((bans.len(), bans.dropped(), next_expiry(&bans)), (4, 2, Some(NOW + 6)));
    bans.set_bans_max(1);
    assert_eq!((bans.len(), bans.dropped()), (3, 3), "bans for ever stay");
}

#[test]
fn ours_4_a_ban_is_not_lost_when_the_same_is_ordered_in_a_table_beyond_its_bound() {
    let mut bans = Bans::new(10, 1);
    (1..=4).for_each(|last| assert_eq!(control(&mut bans, &format!("203.0.113.{last}"), None), Ok(true)));
    bans.set_bans_max(2);
    assert_eq!(control(&mut bans, "203.0.113.1", None), Ok(false));
    assert_eq!(control(&mut bans, "203.0.113.2", Some(NOW + DAY)), Ok(false), "an operator may shorten");
    assert_eq!(control(&mut bans, "203.0.113.9", None), Err(BanError::Full));
    let held = |bans: &Bans, last| found(bans, &format!("203.0.113.{last}"), NOW).is_some();
    assert!((1..=4).all(|last| held(&bans, last)));
    assert_eq!((bans.len(), bans.dropped()), (4, 1));
}

#[test]
fn guard_4_the_newer_word_counts_within_a_layer() {
    let mut bans = Bans::new(10, 1);
    let until = |bans: &Bans| bans.find("203.0.113.9".parse().unwrap(), NOW).unwrap().1.until_unix_ms;
    control(&mut bans, "203.0.113.9", Some(NOW + DAY)).unwrap();
    assert_eq!(control(&mut bans, "203.0.113.9", Some(NOW + 1000)), Ok(false), "an operator may shorten");
    assert_eq!((until(&bans), next_expiry(&bans), bans.len()), (Some(NOW + 1000), Some(NOW + 1000), 1));
    bans.insert(net("203.0.113.9"), ban(Some(NOW + 9), BanOrigin::Automatic), NOW).unwrap();
    assert_eq!(until(&bans), Some(NOW + 9));
    // The files have a word of their own, and the longest ban of a network counts.
    bans.insert(net("203.0.113.9"), ban(Some(NOW + 7), BanOrigin::GuardFile), NOW).unwrap();
    assert_eq!((until(&bans), bans.len()), (Some(NOW + 9), 2));
    bans.insert(net("203.0.113.9"), ban(None, BanOrigin::BanFile), NOW).unwrap();
    assert_eq!((until(&bans), bans.len()), (None, 3));
    check(&bans);
    assert!(bans.remove(net("203.0.113.9")));
    assert!(bans.is_empty(), "the end of a ban is the end in all layers");
    check(&bans);
}

#[test]
fn ours_4_a_reload_replaces_what_came_from_the_files() {
    let mut bans = Bans::new(100, 1);
    let line = |text: &str, until: Option<u64>| (net(text), ban(until, BanOrigin::BanFile));
    let first = [line("203.0.113.1", None), line("203.0.113.2", Some(NOW + 5)), line("127.0.0.1", None)];
    let refused = bans.replace(BanOrigin::BanFile, first, NOW);
    assert_eq!(refused, [(net("127.0.0.1"), BanError::Loopback)]);
    bans.insert(net("203.0.113.1"), ban(Some(NOW + 9), BanOrigin::Automatic), NOW).unwrap();
    bans.insert(net("203.0.113.3"), ban(None, BanOrigin::GuardFile), NOW).unwrap();
    assert_eq!(bans.replace(BanOrigin::BanFile, [line("203.0.113.4", None)], NOW), []);
    check(&bans);
    let cases = [
        ("203.0.113.1", Some(BanOrigin::Automatic)),
        ("203.0.113.2", None),
        ("203.0.113.3", Some(BanOrigin::GuardFile)),
        ("203.0.113.4", Some(BanOrigin::BanFile)),
    ];
    for (address, expected) in cases {
        let origin = bans.find(address.parse().unwrap(), NOW).map(|(_, ban)| ban.origin);
        assert_eq!(origin, expected, "{address}");
    }
    bans.replace(BanOrigin::GuardFile, [], NOW);
    assert_eq!(bans.len(), 2);
}

#[test]
fn fault_13_1_a_banned_network_is_enforced_in_every_process() {
    let (mut here, mut there) = (Bans::new(10, 1), Bans::new(10, 2));
    let network = net("203.0.113.0/24");
    here.insert(network, ban(Some(NOW + DAY), BanOrigin::Control), NOW).unwrap();
    let news = StoreNews::Banned { network, until_unix_ms: Some(NOW + DAY), reason: "abuse".into() };
    assert_eq!(there.apply_news(&news, NOW), []);
    for bans in [&here, &there] {
        assert_eq!(found(bans, "203.0.113.200", NOW).as_deref(), Some("203.0.113.0/24"));
    }
    // A process that connects later gets it with all bans of the store.
    let mut late = Bans::new(10, 3);
    let all =
        StoreNews::AllBans(vec![(network, Some(NOW + DAY), "abuse".into()), (net("::1"), None, "".into())]);
    let refused = late.apply_news(&all, NOW);
    assert_eq!(refused, [(net("::1"), BanError::Loopback)], "loopback is refused from all processes");
    let (_, ban) = late.find("203.0.113.1".parse().unwrap(), NOW).unwrap();
    assert_eq!((&*ban.reason, ban.origin), ("abuse", BanOrigin::Store));
}

#[test]
fn fault_13_2_an_unban_ends_the_ban_in_every_process_at_once() {
    let mut bans = Bans::new(10, 1);
    let network = net("203.0.113.9");
    bans.apply_news(&StoreNews::Banned { network, until_unix_ms: None, reason: "".into() }, NOW);
    control(&mut bans, "203.0.113.8", None).unwrap();
    bans.apply_news(&StoreNews::Unbanned(network), NOW);
    assert_eq!(found(&bans, "203.0.113.9", NOW), None);
    // A missed message: the next list of all bans says it, and leaves alone what the store never had.
    bans.apply_news(&StoreNews::Banned { network, until_unix_ms: None, reason: "".into() }, NOW);
    bans.apply_news(&StoreNews::Reached, NOW);
    bans.apply_news(&StoreNews::AllBans(Vec::new()), NOW);
    assert_eq!(found(&bans, "203.0.113.9", NOW), None);
    assert!(found(&bans, "203.0.113.8", NOW).is_some());
}

#[test]
fn ours_4_a_ban_of_this_process_stays_its_own_when_the_store_lists_it() {
    let mut bans = Bans::new(10, 1);
    let (network, until) = (net("203.0.113.9"), Some(NOW + DAY));
    let origin = |bans: &Bans| bans.find(network.addr(), NOW).map(|(_, ban)| (ban.origin, ban.line));
    let own = Ban { line: 7, ..ban(until, BanOrigin::Automatic) };
    bans.insert(network, own, NOW).unwrap();
    let all = |until| StoreNews::AllBans(vec![(network, until, "test".into())]);
    bans.apply_news(&all(until), NOW);
    assert_eq!(origin(&bans), Some((BanOrigin::Automatic, 7)));
    assert_eq!(bans.own(NOW).count(), 1);
    // Another store does not have it.
    bans.apply_news(&StoreNews::AllBans(Vec::new()), NOW);
    assert_eq!(origin(&bans), Some((BanOrigin::Automatic, 7)));
    // Another process has banned the same network for another time.
    bans.apply_news(&all(None), NOW);
    assert_eq!((origin(&bans), bans.own(NOW).count()), (Some((BanOrigin::Store, 0)), 0));
    assert_eq!(control(&mut bans, "203.0.113.9", until), Ok(false));
    assert_eq!((bans.own(NOW).count(), bans.own(NOW + DAY).count()), (1, 0));
}

#[test]
fn guard_4_a_ban_that_has_gone_from_the_store_leaves_that_of_a_file() {
    let mut bans = Bans::new(10, 1);
    let network = net("203.0.113.9");
    let origin = |bans: &Bans| bans.find(network.addr(), NOW).map(|(_, ban)| ban.origin);
    bans.insert(network, ban(None, BanOrigin::GuardFile), NOW).unwrap();
    bans.insert(network, ban(Some(NOW + DAY), BanOrigin::BanFile), NOW).unwrap();
    control(&mut bans, "203.0.113.9", Some(NOW + 9)).unwrap();
    bans.apply_news(&StoreNews::Vanished(vec![network, net("203.0.113.8")]), NOW);
    assert_eq!((origin(&bans), bans.len()), (Some(BanOrigin::GuardFile), 2));
    control(&mut bans, "203.0.113.8", None).unwrap();
    bans.apply_news(&StoreNews::Vanished(vec![net("203.0.113.8")]), NOW);
    assert_eq!(bans.len(), 2);
    check(&bans);
}

#[test]
fn fault_13_7_two_tables_share_nothing() {
    let (mut one, other) = (Bans::new(10, 1), Bans::new(10, 1));
    control(&mut one, "203.0.113.9", None).unwrap();
    assert!(found(&one, "203.0.113.9", NOW).is_some() && found(&other, "203.0.113.9", NOW).is_none());
}

#[test]
fn guard_4_reasons_are_bounded() {
    let mut bans = Bans::new(10, 1);
    let reason = "é".repeat(1000).into();
    let long = Ban { reason, ..ban(None, BanOrigin::Control) };
    bans.insert(net("203.0.113.9"), Ban { reason: format!("x{}", long.reason).into(), ..long }, NOW).unwrap();
    let (_, ban) = bans.find("203.0.113.9".parse().unwrap(), NOW).unwrap();
    assert_eq!(ban.reason.len(), REASON_BYTES_MAX - 1, "cut between two characters");
}

#[test]
fn a_reason_loses_its_control_characters() {
    let mut bans = Bans::new(10, 1);
    let reason: Box<str> = "a\r\n203.0.113.99  for ever  control  forged\u{1b}[31m\u{85}é".into();
    let network = net("192.0.2.50");
    for news in [
        StoreNews::Banned { network, until_unix_ms: None, reason: reason.clone() },
        StoreNews::AllBans(vec![(network, None, reason)]),
    ] {
        bans.apply_news(&news, NOW);
        let (_, ban) = bans.find("192.0.2.50".parse().expect("an address"), NOW).expect("a ban");
        assert_eq!(&*ban.reason, "a203.0.113.99  for ever  control  forged[31mé");
        bans.remove(network);
    }
}

/// A list of bans, looked through from end to end.
#[derive(Default)]
struct Model(HashMap<(IpNet, u8), Ban>);

impl Model {
    fn find(&self, address: IpAddr, now: u64) -> Option<(IpNet, Option<u64>)> {
        let live = self.0.iter().filter(|((network, _), ban)| {
            network.contains(&address) && ban.until_unix_ms.is_none_or(|until| now < until)
        });
        let ranked = live.map(|((network, _), ban)| {
            (network.prefix_len(), ban.until_unix_ms.unwrap_or(u64::MAX), *network, ban.until_unix_ms)
        });
        ranked.max().map(|(_, _, network, until)| (network, until))
    }
}

#[test]
fn ours_4_a_table_agrees_with_a_list() {
    for seed in 1..40u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
        };
        let (mut bans, mut model, mut now) = (Bans::new(10_000, seed), Model::default(), NOW);
        for step in 0..600 {
            let bits = below(1 << 6) as u32;
            let v4 = Ipv4Addr::from_bits(0xCB00_0000 | (bits & 7) << 13 | bits >> 3);
            let v6 =
                Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits & 7) << 61 | u128::from(bits >> 3));
            let address = if below(2) == 0 { IpAddr::V4(v4) } else { IpAddr::V6(v6) };
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let network = IpNet::new(address, longest - below(20) as u8).unwrap().trunc();
            let origins = [BanOrigin::GuardFile, BanOrigin::BanFile, BanOrigin::Control, BanOrigin::Store];
            let origin = origins[below(4) as usize];
            let layer = origin.layer() as u8;
            match below(10) {
                0 => {
                    let known = (0..3).filter_map(|layer| model.0.remove(&(network, layer)));
                    // Those that have expired may be there or not.
                    let live = known.filter(|ban| ban.is_live(now)).count();
                    assert!(bans.remove(network) || live == 0, "seed {seed}, step {step}");
                }
                1 => {
                    bans.expire(now, below(5) as usize);
                }
                2 => now += below(50),
                3 if step % 7 == 0 => {
                    model.0.retain(|_, ban| ban.origin != origin);
                    model.0.insert((network, layer), ban(None, origin));
                    bans.replace(origin, [(network, ban(None, origin))], now);
                }
                _ => {
                    let until = (below(4) > 0).then(|| now + 1 + below(200));
                    let known = model.0.get(&(network, layer)).filter(|ban| ban.is_live(now));
                    if origin == BanOrigin::Store
                        && known.is_some_and(|known| known.is_own() && known.until_unix_ms == until)
                    {
                        bans.insert(network, ban(until, origin), now).unwrap();
                        continue;
                    }
                    model.0.insert((network, layer), ban(until, origin));
                    bans.insert(network, ban(until, origin), now).unwrap();
                }
            }
            let found = bans.find(address, now).map(|(network, ban)| (network, ban.until_unix_ms));
            assert_eq!(found, model.find(address, now), "seed {seed}, step {step}, {address}");
        }
        check(&bans);
    }
}
