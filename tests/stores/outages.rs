//! A store that is away, stands still, and comes back.

use crate::common::eventually;
use crate::node::{Node, patient, sessions_keep_the_contract, values_are_added_once, window};
use crate::redis_server::RedisServer;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use weir::guard::store::{Answer, StoreFailure, StoreNews, StoreOrder};
use weir::guard::values::ValueRequest;
use weir::shell::stores::{StoreClient, StoreSettings};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_killed_server_is_unreachable_and_is_found_again() {
    let Some(mut server) = RedisServer::start() else { return };
    let node = Node::reaching(patient(&server.url()));
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    server.kill();
    let job = jobs.next().expect("a number");
    assert_eq!(node.ask(job, vec![window("w", 1, HOUR_MS)]), Err(StoreFailure::Unreachable));
    node.news_until(|news| matches!(news, StoreNews::Lost(_)));
    server.restart();
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    node.news_until(|news| *news == StoreNews::Reached);
}

#[test]
fn a_server_that_stands_still_costs_its_questions_and_no_connection() {
    let Some(server) = RedisServer::start() else { return };
    let mut settings = patient(&server.url());
    settings.deadline = Duration::from_millis(50);
    let node = Node::reaching(settings);
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    let before = node.client.counters().connections;
    server.signal(Signal::STOP);
    let frozen: Vec<u64> = jobs.by_ref().take(300).collect();
    for job in &frozen {
        node.client.ask((job % 7) as usize, std::iter::once((*job, vec![window("frozen", 1, HOUR_MS)])));
    }
    for job in &frozen {
        assert_eq!(node.reply(*job), Err(StoreFailure::Late));
    }
    server.signal(Signal::CONT);
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    assert_eq!(node.client.counters().connections, before);
    // Questions whose deadline was over were not sent: one pipeline at most was on its way.
    assert!(node.client.counters().expired >= 44, "{:?}", node.client.counters());
}

/// The deadline is less than two round trips: a question that waited for the answers to those before it would be late.
#[test]
fn questions_to_a_store_far_away_do_not_wait_for_each_other() {
    let Some(server) = RedisServer::start() else { return };
    let mut settings = patient(&far_away(&server, Duration::from_millis(300)));
    settings.deadline = Duration::from_millis(1000);
    let node = Node::reaching(settings);
    eventually("all are connected", || (node.client.counters().connections >= 7).then_some(()));
    node.answered(&mut (1000..), &window("other", 1, HOUR_MS));
    let _ = node.news();
    // Of one loop: three failures in a row are told.
    let jobs: Vec<u64> = (1..=60).map(|number| number * 7).collect();
    for job in &jobs {
        node.client.ask(0, std::iter::once((*job, vec![window("w", 40, HOUR_MS)])));
        // Orders are no obstacle, either.
        node.client.order(StoreOrder::Forget("other".into()));
        std::thread::sleep(Duration::from_millis(15));
    }
    let within = |job: &u64| match node.reply(*job).as_deref() {
        Ok([Answer::Window { within, .. }]) => *within,
        other => panic!("{job}: {other:?}"),
    };
    assert_eq!(jobs.iter().filter(|job| within(job)).count(), 40);
    // Answers behind the deadline would count as failures of the store.
    assert_eq!(node.news(), []);
}

/// The URL of a relay that delivers everything so much later, in both directions.
fn far_away(server: &RedisServer, delay: Duration) -> String {
    let relay = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", relay.local_addr().expect("an address"));
    let address = server.url().replace("redis://", "");
    std::thread::spawn(move || {
        for client in relay.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&address) else { return };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
                deliver_later(from, to, delay);
            }
        }
    });
    url
}

fn deliver_later(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let _ = sender.send((Instant::now() + delay, piece[..count].to_vec()));
        }
    });
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let _ = to.write_all(&piece);
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_server_that_stands_still_for_long_is_given_up() {
    let Some(server) = RedisServer::start() else { return };
    let mut settings = StoreSettings::new(&server.url());
    settings.read_timeout = Duration::from_millis(200);
    settings.connect_timeout = Duration::from_millis(200);
    let node = Node::reaching(settings);
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    server.signal(Signal::STOP);
    eventually("the connection is given up", || {
        let job = jobs.next().expect("a number");
        (node.ask(job, vec![window("w", 1, HOUR_MS)]) == Err(StoreFailure::Unreachable)).then_some(())
    });
    server.signal(Signal::CONT);
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
}

#[test]
fn a_store_that_was_never_there_is_found_later() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let node = Node::start(patient(&server.url()));
    node.news_until(|news| matches!(news, StoreNews::Lost(_)));
    assert_eq!(node.ask(1, vec![window("w", 1, HOUR_MS)]), Err(StoreFailure::Unreachable));
    node.client.order(StoreOrder::Unban("192.0.2.1/32".parse().expect("a network")));
    server.restart();
    node.news_until(|news| *news == StoreNews::Reached);
    node.answered(&mut (2..), &window("w", 1, HOUR_MS));
}

#[test]
fn a_queue_that_is_full_answers_at_once() {
    // Something that accepts and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let node = Node::start(patient(&url));
    let jobs: Vec<u64> = (0..6000).collect();
    for job in &jobs {
        node.client.ask((job % 7) as usize, std::iter::once((*job, vec![window("w", 1, HOUR_MS)])));
    }
    assert!(node.client.counters().queue_full >= 1900, "{:?}", node.client.counters());
    assert_eq!(node.reply(5999), Err(StoreFailure::Late));
}

#[test]
fn the_threads_end_with_the_last_client() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::reaching(patient(&server.url()));
    node.answered(&mut (1..), &window("w", 1, HOUR_MS));
    let another = node.client.clone();
    drop(node);
    let clients = || server.query::<String>(&["CLIENT", "LIST"]).lines().count();
    assert_eq!(
        clients(),
        8,
        "four for questions, one for orders, one for the channel, one to load bans, and the one that asks here"
    );
    drop(another);
    eventually("only the question here is connected", || (clients() == 1).then_some(()));
}

/// A server without TLS takes the handshake for the beginning of a command.
#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn a_server_without_tls_is_told_as_such() {
    let Some(server) = RedisServer::start() else { return };
    let mut settings = StoreSettings::new(&format!("rediss://127.0.0.1:{}", server.port));
    settings.connect_timeout = Duration::from_millis(200);
    let node = Node::start(settings);
    let news = node.news_until(|news| matches!(news, StoreNews::Lost(_)));
    assert!(format!("{news:?}").contains("to the TLS handshake"), "{news:?}");
}

#[test]
fn a_url_that_leads_nowhere_is_an_error_without_its_password() {
    for url in ["", "http://h", "redis-ring://h", "redis-sentinel://u:secret@h"] {
        let error = StoreClient::start(StoreSettings::new(url), |_, _| {}, |_| {}, Box::new(|| {}))
            .err()
            .expect("an error")
            .to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_password_comes_from_the_settings() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "from-a-file"]) else { return };
    let mut settings = patient(&server.url());
    let stranger = Node::start(settings.clone());
    let lost = stranger.news_until(|news| matches!(news, StoreNews::Lost(_)));
    assert!(format!("{lost:?}").contains("NOAUTH"), "{lost:?}");
    settings.password = Some("from-a-file".into());
    Node::reaching(settings).answered(&mut (1..), &window("w", 1, HOUR_MS));
}

#[test]
fn ours_7_values_are_added_once_in_redis() {
    let Some(server) = RedisServer::start() else { return };
    values_are_added_once(&Node::reaching(patient(&server.url())));
    assert_eq!(server.query::<i64>(&["TTL", "guard_core:weir:link:name"]), -1, "it stays");
}

#[test]
fn guard_7_sessions_keep_their_contract_in_redis() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::reaching(patient(&server.url()));
    sessions_keep_the_contract(&node, |key, payload| {
        server.query::<()>(&["SET", &format!("guard_core:{key}"), payload]);
    });
}

#[test]
fn ours_7_the_server_drops_what_has_expired_itself_as_well() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::reaching(patient(&server.url()));
    let request =
        ValueRequest::Save { key: "sess:s".into(), payload: serde_json::json!({}), ttl_s: Some(60) };
    node.client.value(request, |_| {});
    let life = eventually("the session is there", || {
        Some(server.query::<i64>(&["TTL", "guard_core:sess:s"])).filter(|life| *life > 0)
    });
    assert!(life <= 60, "{life}");
}
