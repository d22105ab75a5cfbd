use super::super::upstream::FailOn;
use super::*;

const PASSIVE: PassiveRules = PassiveRules {
    failures: 1,
    within_ms: 10_000,
    down_ms: 5_000,
    on: FailOn { connect: true, reset: true, timeout: true, statuses: [false; 3] },
};
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn members(weights: &[u32], balance: Balance, slow_start_ms: u64) -> Members {
    let member = |(index, weight): (usize, &u32)| {
        let authority = Authority::parse(format!("10.0.0.{index}:80").as_bytes(), None).unwrap();
        Member { upstream: Arc::new(Upstream::new(authority)), weight: *weight, backup: false }
    };
    Members::new(weights.iter().enumerate().map(member).collect(), balance, slow_start_ms, PASSIVE)
}

/// The indices of so many choices, each of which has ended before the next one.
fn choices(members: &Members, count: usize, now_ms: u64) -> String {
    let choice =
        |_| members.choose(CLIENT, 0, now_ms).map_or('-', |chosen| (b'a' + chosen.index as u8) as char);
    (0..count).map(choice).collect()
}

fn fail(members: &Members, index: usize, now_ms: u64) {
    members.members[index].upstream.begin();
    let lease = Lease { upstream: Arc::clone(&members.members[index].upstream), passive: PASSIVE };
    assert!(lease.fail(Failed::Connect, now_ms));
}

#[test]
fn turns_go_by_weight() {
    for (weights, expected) in [
        ([1].as_slice(), "aaaa"),
        (&[1, 1], "abababab"),
        (&[5, 5, 5], "abcabcabc"),
        (&[5, 1, 1], "aabacaaaabacaa"),
        (&[1, 3], "babbbabb"),
        (&[100, 50], "abaaba"),
    ] {
        assert_eq!(
            choices(&members(weights, Balance::RoundRobin, 0), expected.len(), 1),
            expected,
            "{weights:?}"
        );
    }
}

#[test]
fn who_is_down_is_passed_over_evenly() {
    let members = members(&[1, 1, 1], Balance::RoundRobin, 0);
    fail(&members, 1, 10);
    assert_eq!(choices(&members, 6, 20), "acacac");
    members.members[0].upstream.set_drained(true, 20);
    assert_eq!(choices(&members, 3, 20), "ccc");
    let returned = choices(&members, 4, 5_010);
    assert_eq!((returned.matches('b').count(), returned.matches('c').count()), (2, 2));
}

#[test]
fn what_was_tried_is_not_tried_again() {
    for balance in [Balance::RoundRobin, Balance::Least, Balance::HashClient] {
        let members = members(&[1, 1, 1], balance, 0);
        let mut tried = 0;
        for _ in 0..3 {
            let chosen = members.choose(CLIENT, tried, 1).unwrap();
            assert_eq!(tried & (1 << chosen.index), 0);
            tried |= 1 << chosen.index;
        }
        assert!(members.choose(CLIENT, tried, 1).is_none());
    }
}

#[test]
fn the_least_busy_for_its_weight() {
    let members = members(&[1, 2], Balance::Least, 0);
    let held: Vec<Chosen> = (0..6).map(|_| members.choose(CLIENT, 0, 1).unwrap()).collect();
    assert_eq!(held.iter().filter(|chosen| chosen.index == 1).count(), 4);
    drop(held);
    assert!(members.iter().all(|member| member.upstream.in_flight() == 0));
    // Among equals it goes by turns.
    let idle = choices(&members, 6, 1);
    assert_eq!(idle.matches('b').count(), 4, "{idle}");
}

#[test]
fn a_client_stays_where_it_is() {
    let members = members(&[1, 1, 2], Balance::HashClient, 0);
    let client = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
    let choose = |n| members.choose(client(n), 0, 1).unwrap().index;
    let before: Vec<usize> = (0..4000).map(choose).collect();
    let count = |index| before.iter().filter(|chosen| **chosen == index).count();
    for (index, share) in [(0, 1000), (1, 1000), (2, 2000)] {
        assert!(count(index).abs_diff(share) < 150, "{index}: {}", count(index));
    }
    members.members[0].upstream.set_drained(true, 1);
    let after: Vec<usize> = (0..4000).map(choose).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| *before == 0 || before == after));
    assert!(after.iter().all(|index| *index != 0));
    // Addresses of one network of IPv6 are one client.
    let six = |text: &str| members.choose(text.parse().unwrap(), 0, 1).unwrap().index;
    assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
    assert_eq!(six("::ffff:10.0.0.5"), choose(5));
}

#[test]
fn one_that_has_come_back_gets_a_part_of_its_turns() {
    let members = members(&[1, 1], Balance::RoundRobin, 1_000);
    fail(&members, 1, 0);
    let share = |now_ms| choices(&members, 100, now_ms).matches('b').count();
    assert_eq!(share(4_999), 0);
    assert_eq!(share(5_000), 20, "a quarter of what the other one gets");
    assert!((35..=45).contains(&share(5_500)));
    assert_eq!(share(6_000), 50);
}

#[test]
fn those_that_have_come_back_together_take_turns() {
    for balance in [Balance::RoundRobin, Balance::Least] {
        let members = members(&[1, 1], balance, 1_000_000);
        [0, 1].into_iter().for_each(|index| fail(&members, index, 0));
        assert_eq!(choices(&members, 60, 5_000).matches('a').count(), 30, "{balance:?}");
    }
}

#[test]
fn backups_stand_in() {
    let mut list = members(&[1, 1, 1], Balance::RoundRobin, 0).members.into_vec();
    list[2].backup = true;
    let members = Members::new(list, Balance::RoundRobin, 0, PASSIVE);
    assert!(!choices(&members, 12, 1).contains('c'));
    fail(&members, 0, 1);
    fail(&members, 1, 2);
    assert_eq!(choices(&members, 3, 3), "ccc");
    fail(&members, 2, 3);
    // Of those that are down, the one that is due first.
    assert_eq!(choices(&members, 3, 4), "aaa");
}

#[test]
fn a_lone_upstream_that_is_down_is_tried_but_not_an_ill_one() {
    let members = members(&[1], Balance::RoundRobin, 0);
    fail(&members, 0, 1);
    assert_eq!(choices(&members, 2, 2), "aa");
    members.members[0].upstream.note_check(false, 1, 1, 3);
    assert_eq!(choices(&members, 2, 4), "--");
    members.members[0].upstream.note_check(true, 1, 1, 5);
    assert_eq!(choices(&members, 1, 6), "a");
    members.members[0].upstream.set_drained(true, 7);
    assert_eq!(choices(&members, 1, 8), "-");
}
