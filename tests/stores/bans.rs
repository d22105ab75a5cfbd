//! Bans that several processes share.

use crate::common::eventually;
use crate::node::{Node, patient, sessions_keep_the_contract, window};
use crate::redis_server::RedisServer;
use ipnet::IpNet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir::guard::store::{StoreNews, StoreOrder};

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn in_an_hour_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now + Duration::from_secs(3600)).as_millis() as u64
}

fn ban(network: &str, until_unix_ms: Option<u64>, reason: &str) -> StoreOrder {
    StoreOrder::Ban { network: net(network), until_unix_ms, reason: reason.into() }
}

/// Loads so often that a test need not wait, or so seldom that messages alone must do.
fn loading_every(url: &str, every: Duration) -> Node {
    let mut settings = patient(url);
    settings.resync_every = every;
    Node::reaching(settings)
}

const SELDOM: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(100);

#[test]
fn ours_4_a_ban_is_heard_by_all_other_processes_and_so_is_its_end() {
    let Some(server) = RedisServer::start() else { return };
    heard_by_others(&server.url());
}

pub fn heard_by_others(url: &str) {
    let (one, other) = (loading_every(url, SELDOM), loading_every(url, SELDOM));
    let until = in_an_hour_ms();
    for (network, until_unix_ms) in [("192.0.2.1/32", Some(until)), ("2001:db8::/32", None)] {
        one.client.order(ban(network, until_unix_ms, "abuse report"));
        let told = StoreNews::Banned { network: net(network), until_unix_ms, reason: "abuse report".into() };
        other.news_until(|news| *news == told);
    }
    // Fault 13.2: the ban ends everywhere.
    other.client.order(StoreOrder::Unban(net("192.0.2.1/32")));
    one.news_until(|news| *news == StoreNews::Unbanned(net("192.0.2.1/32")));
    // Neither has heard of what it did itself.
    for node in [&one, &other] {
        assert!(
            !node.news().iter().any(|news| matches!(news, StoreNews::Banned { .. } | StoreNews::Unbanned(_)))
        );
    }
}

#[test]
fn ours_3_keys_are_scanned_and_never_listed_at_once() {
    let Some(server) = RedisServer::start() else { return };
    let one = Node::reaching(patient(&server.url()));
    one.client.order(ban("192.0.2.1/32", None, ""));
    eventually("the ban is written", || (server.query::<u32>(&["DBSIZE"]) > 0).then_some(()));
    let key = format!("guard_core:escalation:192.0.2.1:{}", "ab".repeat(32));
    server.query::<()>(&["SET", &key, "x"]);
    one.client.order(StoreOrder::ForgetAll("escalation:192.0.2.1".into()));
    eventually("the key is gone", || (!server.query::<bool>(&["EXISTS", &key])).then_some(()));
    Node::reaching(patient(&server.url()));
    let commands: String = server.query(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_scan:") && !commands.contains("cmdstat_keys:"), "{commands}");
}

#[test]
fn fault_13_1_bans_of_networks_are_loaded_by_processes_that_start_later() {
    let Some(server) = RedisServer::start() else { return };
    let one = Node::reaching(patient(&server.url()));
    let until = in_an_hour_ms();
    one.client.order(ban("192.0.2.0/24", Some(until), "a network"));
    one.client.order(ban("2001:db8::1/128", None, ""));
    eventually("both are written", || {
        (server.query::<Vec<String>>(&["KEYS", "*:ban_reasons:*"]).len() == 2).then_some(())
    });
    let other = Node::start(patient(&server.url()));
    let news = other.news_until(|news| *news == StoreNews::Reached);
    let Some(StoreNews::AllBans(all)) = news.first() else { panic!("{news:?}") };
    let mut all = all.clone();
    all.sort();
    assert_eq!(
        all,
        [(net("192.0.2.0/24"), Some(until), "a network".into()), (net("2001:db8::1/128"), None, "".into())]
    );
}

#[test]
fn guard_3_keys_are_as_the_reference_library_writes_and_reads_them() {
    let Some(server) = RedisServer::start() else { return };
    let until = in_an_hour_ms();
    let seconds = until / 1000;
    // As it writes them: seconds with the digits of its language, and the duration as expiry.
    for key in ["banned_ips:192.0.2.1", "banned_networks:198.51.100.0/24", "banned_ips:[2001:DB8::1]"] {
        server.query::<()>(&["SET", &format!("guard_core:{key}"), &format!("{seconds}.25"), "EX", "3600"]);
    }
    server.query::<()>(&["SET", "guard_core:banned_ips:192.0.2.9", "1.5"]);
    server.query::<()>(&["SET", "guard_core:banned_ips:192.0.2.10", "no time"]);
    server.query::<()>(&["LPUSH", "guard_core:banned_ips:192.0.2.11", "no text"]);
    let node = Node::start(patient(&server.url()));
    let news = node.news_until(|news| *news == StoreNews::Reached);
    let Some(StoreNews::AllBans(all)) = news.first() else { panic!("{news:?}") };
    let mut all: Vec<_> = all.iter().map(|(network, until, _)| (*network, *until)).collect();
    all.sort();
    let expected = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128"];
    assert_eq!(all, expected.map(|network| (net(network), Some(seconds * 1000 + 250))));
    // The old spelling was renamed, so that an unban finds it.
    assert!(!server.query::<bool>(&["EXISTS", "guard_core:banned_ips:[2001:DB8::1]"]));
    assert!(server.query::<u64>(&["TTL", "guard_core:banned_ips:2001:db8::1"]) > 3000);
    // As it reads them: a number of seconds, and an expiry.
    node.client.order(ban("203.0.113.9/32", Some(until), "r"));
    node.client.order(ban("203.0.113.0/24", None, "r"));
    let text = eventually("the bans are written", || {
        server
            .query::<bool>(&["EXISTS", "guard_core:banned_networks:203.0.113.0/24"])
            .then(|| server.query::<String>(&["GET", "guard_core:banned_ips:203.0.113.9"]))
    });
    assert_eq!(text, format!("{}.{:03}", until / 1000, until % 1000));
    let life: u64 = server.query(&["TTL", "guard_core:banned_ips:203.0.113.9"]);
    assert!((3000..=3600).contains(&life), "{life}");
    assert_eq!(server.query::<String>(&["GET", "guard_core:banned_networks:203.0.113.0/24"]), "253402300799");
    assert_eq!(server.query::<i64>(&["TTL", "guard_core:banned_networks:203.0.113.0/24"]), -1);
}

#[test]
fn ours_4_bans_are_loaded_again_and_again() {
    let Some(server) = RedisServer::start() else { return };
    let node = loading_every(&server.url(), OFTEN);
    let end = (in_an_hour_ms() / 1000).to_string();
    // Without a message, as the reference library does it.
    server.query::<()>(&["SET", "guard_core:banned_ips:192.0.2.1", &end]);
    node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 1));
    server.query::<()>(&["DEL", "guard_core:banned_ips:192.0.2.1"]);
    node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.is_empty()));
}

#[test]
fn an_own_ban_that_another_program_has_ended_is_told_with_the_next_load() {
    let Some(server) = RedisServer::start() else { return };
    let node = loading_every(&server.url(), OFTEN);
    node.client.order(ban("192.0.2.1/32", None, "r"));
    node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 1));
    server.query::<()>(&["DEL", "guard_core:banned_ips:192.0.2.1"]);
    node.news_until(|news| *news == StoreNews::Vanished(vec![net("192.0.2.1/32")]));
}

#[test]
fn a_server_that_was_emptied_gets_the_bans_back() {
    let Some(server) = RedisServer::start() else { return };
    emptied(&server.url(), &[&server]);
}

#[track_caller]
pub fn emptied(url: &str, servers: &[&RedisServer]) {
    let node = loading_every(url, OFTEN);
    let networks: Vec<String> = (0..9).map(|number| format!("192.0.2.{number}/32")).collect();
    networks.iter().for_each(|network| node.client.order(ban(network, None, "r")));
    let own = |news: &StoreNews| match news {
        StoreNews::AllBans(all) => {
            Some(all.iter().filter(|(ban, ..)| net("192.0.2.0/24").contains(ban)).count())
        }
        _ => None,
    };
    node.news_until(|news| own(news) == Some(9));
    servers.iter().for_each(|server| server.query::<()>(&["FLUSHALL"]));
    let mut news = eventually("the bans are written again", || {
        let count = |server: &&RedisServer| {
            server.query::<Vec<String>>(&["KEYS", "guard_core:banned_ips:192.0.2.*"]).len()
        };
        (servers.iter().map(count).sum::<usize>() == 9).then(|| node.news())
    });
    news.extend(node.news_until(|news| own(news).is_some()));
    let is_end = |news: &StoreNews| matches!(news, StoreNews::Unbanned(_) | StoreNews::Vanished(_));
    let is_less = |news: &StoreNews| own(news).is_some_and(|count| count < 9);
    assert!(!news.iter().any(|news| is_end(news) || is_less(news)), "the bans hold all the time: {news:?}");
    let is_warning = |news: &StoreNews| matches!(news, StoreNews::Warning(text) if text.contains("memory"));
    assert!(news.iter().any(is_warning), "{news:?}");
}

#[test]
fn a_server_that_has_lost_its_memory_gets_the_bans_back() {
    let Some(mut server) = RedisServer::start() else { return };
    let node = loading_every(&server.url(), OFTEN);
    node.client.order(ban("192.0.2.1/32", None, "r"));
    node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 1));
    server.kill();
    node.news_until(|news| matches!(news, StoreNews::Lost(_)));
    // An order that finds no server waits for one.
    node.client.order(ban("192.0.2.0/24", None, "r"));
    server.restart();
    let news = node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 2));
    let is_end = |news: &StoreNews| match news {
        StoreNews::Unbanned(_) => true,
        StoreNews::AllBans(all) => all.is_empty(),
        _ => false,
    };
    assert!(!news.iter().any(is_end), "the ban holds all the time: {news:?}");
    eventually("the ban is written again", || {
        server.query::<bool>(&["EXISTS", "guard_core:banned_ips:192.0.2.1"]).then_some(())
    });
}

#[test]
fn guard_4_an_old_key_of_a_mapped_network_is_renamed_and_an_unban_finds_it() {
    let Some(server) = RedisServer::start() else { return };
    let end = (in_an_hour_ms() / 1000).to_string();
    let (old, key) =
        ("guard_core:banned_networks:::ffff:88.0.0.0/104", "guard_core:banned_networks:88.0.0.0/8");
    server.query::<()>(&["SET", old, &end]);
    let node = loading_every(&server.url(), OFTEN);
    assert!(server.query::<bool>(&["EXISTS", key]) && !server.query::<bool>(&["EXISTS", old]));
    node.client.order(StoreOrder::Unban(net("88.0.0.0/8")));
    eventually("the ban has ended", || (!server.query::<bool>(&["EXISTS", key])).then_some(()));
    loads_without_bans(&node);
}

#[test]
fn a_ban_keeps_its_old_key_until_it_stands_under_the_other() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let end = (in_an_hour_ms() / 1000).to_string();
    let olds = ["banned_ips:::ffff:192.0.2.1", "banned_networks:192.0.2.1/32", "banned_ips:[2001:DB8::1]"]
        .map(|key| format!("guard_core:{key}"));
    olds.iter().for_each(|old| server.query::<()>(&["SET", old, &end]));
    let exists = |key: &str| server.query::<bool>(&["EXISTS", key]);
    // The server refuses a SET, and carries out a DEL.
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let node = loading_every(&server.url(), OFTEN);
    loads_with(&node, 2);
    assert!(olds.iter().all(|old| exists(old)));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("all bans are renamed", || {
        let keys = ["guard_core:banned_ips:192.0.2.1", "guard_core:banned_ips:2001:db8::1"];
        (keys.iter().all(|key| exists(key)) && !olds.iter().any(|old| exists(old))).then_some(())
    });
    loads_with(&node, 2);
}

/// The server carries out a DEL and refuses the SET that would rename the ban.
#[test]
fn an_unban_finds_a_ban_that_could_not_be_renamed() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let old = "guard_core:banned_ips:[2001:DB8::1]";
    server.query::<()>(&["SET", old, &(in_an_hour_ms() / 1000).to_string()]);
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let node = loading_every(&server.url(), OFTEN);
    loads_with(&node, 1);
    node.client.order(StoreOrder::Unban(net("2001:db8::1/128")));
    eventually("the ban has ended", || (!server.query::<bool>(&["EXISTS", old])).then_some(()));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("its end is told", || {
        server.query::<bool>(&["EXISTS", "guard_core:ban_ends:2001:db8::1"]).then_some(())
    });
    node.news();
    loads_without_bans(&node);
}

#[test]
fn a_ban_under_an_old_key_takes_the_place_of_none_that_cannot_be_read() {
    let Some(server) = RedisServer::start() else { return };
    let (old, key) = ("guard_core:banned_ips:::ffff:192.0.2.1", "guard_core:banned_ips:192.0.2.1");
    let end = in_an_hour_ms() / 1000;
    server.query::<()>(&["SET", old, &end.to_string()]);
    let longer = (end + 3600).to_string();
    server.query::<()>(&["SET", key, &longer]);
    let rights = format!("%W~{key} ~{old} ~guard_core:ban_* &* +@all");
    let words = format!("ACL SETUSER weir on >pw resetkeys {rights}");
    server.query::<()>(&words.split_whitespace().collect::<Vec<_>>());
    let node = loading_every(&format!("redis://weir:pw@127.0.0.1:{}", server.port), OFTEN);
    loads_with(&node, 1);
    assert_eq!(server.query::<String>(&["GET", key]), longer);
    assert!(server.query::<bool>(&["EXISTS", old]));
}

/// Channels belong to all databases of a server.
#[test]
fn ours_4_bans_of_another_database_are_not_heard() {
    let Some(server) = RedisServer::start() else { return };
    let [zero, one, another] =
        ["0", "1", "1"].map(|database| loading_every(&format!("{}/{database}", server.url()), SELDOM));
    zero.client.order(ban("192.0.2.1/32", None, ""));
    one.client.order(ban("192.0.2.2/32", None, ""));
    let heard = another.news_until(|news| matches!(news, StoreNews::Banned { .. }));
    zero.client.order(StoreOrder::Unblock("192.0.2.3".parse().expect("an address")));
    eventually("all is written", || (server.query::<u64>(&["DBSIZE"]) == 3).then_some(()));
    let is_of_zero = |news: &StoreNews| matches!(news, StoreNews::Banned { network, .. } if *network == net("192.0.2.1/32"));
    assert!(!heard.iter().chain(&one.news()).any(is_of_zero), "{heard:?}");
    assert!(!zero.news().iter().any(|news| matches!(news, StoreNews::Banned { .. })));
}

#[test]
fn a_user_without_the_channel_is_told_which_right_it_needs_and_loads_the_bans() {
    let Some(server) = RedisServer::start() else { return };
    server.query::<()>(&["ACL", "SETUSER", "weir", "on", ">pw", "~guard_core:*", "resetchannels", "+@all"]);
    let url = format!("redis://weir:pw@127.0.0.1:{}", server.port);
    let other = loading_every(&server.url(), SELDOM);
    let mut settings = patient(&url);
    settings.resync_every = OFTEN;
    let node = Node::start(settings);
    let is_warning = |news: &StoreNews| matches!(news, StoreNews::Warning(text) if text.contains("needs the right &guard_core:bans"));
    node.news_until(is_warning);
    other.client.order(ban("192.0.2.1/32", None, "r"));
    let mut later = node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 1));
    // With the right the channel is used, from the next load on.
    server.query::<()>(&["ACL", "SETUSER", "weir", "&guard_core:bans"]);
    later.extend(eventually("the node hears of a ban", || {
        other.client.order(ban("192.0.2.2/32", None, "r"));
        std::thread::sleep(Duration::from_millis(50));
        let news = node.news();
        news.iter().any(|news| matches!(news, StoreNews::Banned { .. })).then_some(news)
    }));
    assert!(!later.iter().any(is_warning), "once: {later:?}");
}

/// Too few replicas, no memory left, and no master: states that pass by.
#[test]
fn ours_4_a_ban_that_the_server_refuses_for_a_while_is_written_later() {
    for [refusing, taking] in [
        ["CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"],
        ["CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"],
        ["REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"],
    ] {
        let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
        let set = |words: &str| server.query::<()>(&words.split(' ').collect::<Vec<_>>());
        // From the start, so that the memory has no name yet.
        set(refusing);
        let (node, other) = (loading_every(&server.url(), OFTEN), loading_every(&server.url(), SELDOM));
        node.client.order(ban("192.0.2.1/32", None, "r"));
        node.client.order(ban("192.0.2.2/32", None, "r"));
        node.client.order(StoreOrder::Unban(net("192.0.2.1/32")));
        node.client.order(ban("192.0.2.3/32", None, "r"));
        // The others hear of it all the same.
        other.news_until(
            |news| matches!(news, StoreNews::Banned { network, .. } if *network == net("192.0.2.3/32")),
        );
        let mut news = node.news_until(|news| matches!(news, StoreNews::AllBans(_)));
        assert_eq!(server.query::<u64>(&["DBSIZE"]), 0, "{refusing}");
        set(taking);
        let exists =
            |address: &str| server.query::<bool>(&["EXISTS", &format!("guard_core:banned_ips:{address}")]);
        eventually("the bans are written", || (exists("192.0.2.2") && exists("192.0.2.3")).then_some(()));
        assert!(!exists("192.0.2.1"), "orders keep their order");
        news.extend(node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 2)));
        news.extend(node.news_until(|news| matches!(news, StoreNews::AllBans(_))));
        let is_untrue = |news: &StoreNews| {
            matches!(news, StoreNews::Warning(_) | StoreNews::Vanished(_) | StoreNews::Unbanned(_))
        };
        assert!(!news.iter().any(is_untrue), "{refusing}: {news:?}");
        assert_eq!(node.client.counters().orders_dropped, 0, "{refusing}");
        // It is remembered as one of this process.
        server.query::<()>(&["DEL", "guard_core:banned_ips:192.0.2.2"]);
        node.news_until(|news| *news == StoreNews::Vanished(vec![net("192.0.2.2/32")]));
    }
}

/// A refusal that does not pass by: the right to write is missing.
#[test]
fn an_order_that_the_server_refuses_for_good_is_dropped_and_counted() {
    let Some(server) = RedisServer::start() else { return };
    server.query::<()>(&["ACL", "SETUSER", "weak", "on", ">pw", "~*", "&*", "+@all", "-set"]);
    let node = Node::start(patient(&format!("redis://weak:pw@127.0.0.1:{}", server.port)));
    node.client.order(ban("192.0.2.1/32", None, "r"));
    eventually("the order is dropped", || (node.client.counters().orders_dropped > 0).then_some(()));
}

/// As docs/stores.md has it.
#[test]
fn the_documented_rights_of_a_user_are_enough() {
    let Some(server) = RedisServer::start() else { return };
    let words = "ACL SETUSER weir on >pw ~guard_core:* &guard_core:bans* +@read +@write +@scripting +@connection \
                 +@pubsub +info +time";
    server.query::<()>(&words.split_whitespace().collect::<Vec<_>>());
    let url = format!("redis://weir:pw@127.0.0.1:{}", server.port);
    heard_by_others(&url);
    let node = loading_every(&url, OFTEN);
    node.answered(&mut (1..), &window("rate_limit:rate:192.0.2.1", 9, 1000));
    node.client.order(StoreOrder::ForgetAll("escalation:192.0.2.1".into()));
    node.client.order(StoreOrder::Unblock("192.0.2.1".parse().expect("an address")));
    sessions_keep_the_contract(&node, |key, payload| {
        server.query::<()>(&["SET", &format!("guard_core:{key}"), payload]);
    });
    loads_with(&node, 1);
    let log: Vec<String> =
        server.query::<Vec<redis::Value>>(&["ACL", "LOG"]).iter().map(|entry| format!("{entry:?}")).collect();
    assert!(log.is_empty(), "{log:?}");
}

/// The order is carried out when the store takes it, and is the last word then. So many orders wait before it that its message does
/// not go ahead at once.
#[test]
fn messages_about_a_network_with_a_waiting_order_do_not_count() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let node = loading_every(&server.url(), SELDOM);
    let publish = |text: &str| server.query::<()>(&["PUBLISH", "guard_core:bans", text]);
    publish("another ban 192.0.2.1/32 - r");
    node.news_until(|news| matches!(news, StoreNews::Banned { .. }));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for number in 0..3000 {
        let network = format!("10.0.{}.{}/32", number / 256, number % 256);
        node.client.order(ban(&network, None, "r"));
    }
    node.client.order(StoreOrder::Unban(net("192.0.2.1/32")));
    publish("another ban 192.0.2.1/32 - brought back");
    publish("another ban 192.0.2.2/32 - r");
    let mut news = node.news_until(|news| is_ban_of(news, "192.0.2.2/32"));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    news.extend(node.news_until(|news| *news == StoreNews::Unbanned(net("192.0.2.1/32"))));
    assert!(!news.iter().any(|news| is_ban_of(news, "192.0.2.1/32")), "{news:?}");
}

/// More than are carried out at once.
#[test]
fn all_orders_are_heard_while_the_store_refuses_them() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let (node, other) = (loading_every(&server.url(), SELDOM), loading_every(&server.url(), SELDOM));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let network = |number: usize| format!("198.51.100.{number}/32");
    (0..200).for_each(|number| node.client.order(ban(&network(number), None, "r")));
    let news = other.news_until(|news| is_ban_of(news, &network(199)));
    let heard = (0..200).filter(|number| news.iter().any(|news| is_ban_of(news, &network(*number))));
    assert_eq!(heard.count(), 200);
}

/// While the store refuses orders, the last message about a network counts, and so does its order later.
#[test]
fn a_waiting_order_is_void_when_another_process_acts_behind_its_message() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let (node, other) = (loading_every(&server.url(), SELDOM), loading_every(&server.url(), SELDOM));
    let publish = |text: &str| server.query::<()>(&["PUBLISH", "guard_core:bans", text]);
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    node.client.order(StoreOrder::Unban(net("192.0.2.1/32")));
    node.client.order(ban("192.0.2.2/32", None, "own"));
    let news = other.news_until(|news| is_ban_of(news, "192.0.2.2/32"));
    assert!(news.contains(&StoreNews::Unbanned(net("192.0.2.1/32"))), "{news:?}");
    publish("another ban 192.0.2.1/32 - r");
    node.news_until(|news| is_ban_of(news, "192.0.2.1/32"));
    publish("another unban 192.0.2.2/32");
    for each in [&node, &other] {
        each.news_until(|news| *news == StoreNews::Unbanned(net("192.0.2.2/32")));
    }
    node.client.order(ban("192.0.2.3/32", None, "own"));
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let exists = |key: &str| server.query::<bool>(&["EXISTS", &format!("guard_core:{key}")]);
    eventually("a later order is carried out", || exists("banned_ips:192.0.2.3").then_some(()));
    assert!(!exists("ban_ends:192.0.2.1") && !exists("banned_ips:192.0.2.2"));
}

fn is_ban_of(news: &StoreNews, text: &str) -> bool {
    matches!(news, StoreNews::Banned { network, .. } if *network == net(text))
}

/// The messages come in another order than the writes, or in the same.
#[test]
fn the_store_says_what_holds_when_several_processes_have_acted_on_a_network() {
    let Some(server) = RedisServer::start() else { return };
    let node = loading_every(&server.url(), SELDOM);
    let publish = |text: &str| server.query::<()>(&["PUBLISH", "guard_core:bans", text]);
    let (key, ended) = ("guard_core:banned_ips:192.0.2.1", "guard_core:ban_ends:192.0.2.1");
    let until = in_an_hour_ms() / 1000;
    server.query::<()>(&["SET", key, &until.to_string()]);
    server.query::<()>(&["SET", "guard_core:ban_reasons:192.0.2.1", "the last"]);
    let network = net("192.0.2.1/32");
    let holds = StoreNews::Banned { network, until_unix_ms: Some(until * 1000), reason: "the last".into() };
    publish("one ban 192.0.2.1/32 - the first");
    publish("two unban 192.0.2.1/32");
    let news = node.news_until(|news| *news == holds);
    assert!(!news.contains(&StoreNews::Unbanned(network)), "{news:?}");
    server.query::<()>(&["SET", ended, "1"]);
    server.query::<()>(&["DEL", key]);
    publish("one ban 192.0.2.1/32 - the first");
    let news = node.news_until(|news| *news == StoreNews::Unbanned(network));
    assert!(!news.iter().any(|news| matches!(news, StoreNews::Banned { .. })), "{news:?}");
    // An order of the process itself is one of them.
    node.client.order(ban("192.0.2.2/32", None, "own"));
    eventually("the ban is written", || {
        server.query::<bool>(&["EXISTS", "guard_core:banned_ips:192.0.2.2"]).then_some(())
    });
    let told = StoreNews::Banned { network: net("192.0.2.2/32"), until_unix_ms: None, reason: "own".into() };
    publish("one ban 192.0.2.2/32 1 short");
    let news = node.news_until(|news| *news == told);
    assert_eq!(news.len(), 1, "{news:?}");
}

/// Some loads of all bans, of which none has a ban.
#[track_caller]
fn loads_without_bans(node: &Node) {
    loads_with(node, 0);
}

/// Some loads of so many bans.
#[track_caller]
fn loads_with(node: &Node, bans: usize) {
    for _ in 0..5 {
        let news = node.news_until(|news| matches!(news, StoreNews::AllBans(_)));
        let is_whole = |news: &StoreNews| matches!(news, StoreNews::AllBans(all) if all.len() == bans);
        assert!(news.last().is_some_and(is_whole), "{news:?}");
    }
}

/// The server comes back with what it knew, or without.
#[test]
fn a_ban_that_is_ended_during_an_outage_stays_ended() {
    let keeps = ["--appendonly", "yes", "--appendfsync", "always"];
    for options in [&keeps[..], &[]] {
        let Some(mut server) = RedisServer::start_with(options) else { return };
        let (one, other) = (loading_every(&server.url(), OFTEN), loading_every(&server.url(), OFTEN));
        let (own, others) = ("192.0.2.1/32", "192.0.2.0/24");
        one.client.order(ban(own, None, "r"));
        other.client.order(ban(others, None, "r"));
        for node in [&one, &other] {
            node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 2));
        }
        server.kill();
        for node in [&one, &other] {
            node.news_until(|news| matches!(news, StoreNews::Lost(_)));
        }
        one.client.order(StoreOrder::Unban(net(own)));
        one.client.order(StoreOrder::Unban(net(others)));
        server.restart();
        // The one that has ended them never hears of them again.
        loads_without_bans(&one);
        let exists = |key: &str| server.query::<bool>(&["EXISTS", &format!("guard_core:{key}")]);
        let (own, others) = ("banned_ips:192.0.2.1", "banned_networks:192.0.2.0/24");
        eventually("both have ended", || (!exists(own) && !exists(others)).then_some(()));
        other.news_until(|news| *news == StoreNews::AllBans(Vec::new()));
        loads_without_bans(&other);
        loads_without_bans(&one);
        assert!(!exists(own) && !exists(others), "{options:?}");
    }
}

#[test]
fn a_ban_that_is_made_during_an_outage_is_brought_back_after_the_next_one() {
    let Some(mut server) = RedisServer::start() else { return };
    let node = loading_every(&server.url(), OFTEN);
    for _ in 0..2 {
        server.kill();
        node.news_until(|news| matches!(news, StoreNews::Lost(_)));
        node.client.order(ban("192.0.2.1/32", None, "r"));
        server.restart();
        node.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 1));
    }
    server.kill();
    server.restart();
    eventually("the ban is written again", || {
        server.query::<bool>(&["EXISTS", "guard_core:banned_ips:192.0.2.1"]).then_some(())
    });
}
