//! Attacks on the parts that keep something of clients and their requests: the tables of the guard, the detector, the cache and
//! the resolver.

use crate::BASE_KIB;
use crate::common::{FakeDns, Origin, Scratch, Weir};
use crate::scene::{Attack, Stop, memory, repeat};
#[cfg(feature = "detection")]
use crate::scene::{Crowd, finally, tick};
#[cfg(feature = "detection")]
use crate::{blocks_of, crowd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two clients that ask as fast as they can, whatever they are answered. No two requests have the same number.
fn ask_all_the_time(weir: &Weir, stop: &Stop, request: impl Fn(usize) -> Vec<u8> + Sync) {
    let number = AtomicUsize::new(0);
    repeat(stop, 2, || {
        let mut client = weir.connect();
        for _ in 0..100 {
            client.send_if_open(request(number.fetch_add(1, Ordering::Relaxed)));
            let answer = client.try_read_response("GET");
            if answer.is_ok_and(|answer| !answer.head.lists("Connection", "close")) {
                continue;
            }
            break;
        }
    });
}

/// Every request is of another client and for another path, and the keys of the guard do not suffice.
#[test]
fn forged_clients() {
    let scratch = Scratch::new();
    let keys = if memory().is_some() { "" } else { "guard-keys 400\n" };
    let detect = if cfg!(feature = "detection") { "detect block\n" } else { "" };
    let rules = "trust 127.0.0.1\nexempt 127.0.0.9\nlimit 10/10m per client+path\nescalate 5/10m block 15m after 3 per client+path\n";
    let guard = scratch.file("guard", format!("{keys}{detect}{rules}"));
    let attack = Attack {
        name: "every request of another client",
        bound: "guard-keys",
        counter: "requests",
        options: &["--guard", &guard],
        growth_kib_max: BASE_KIB + 10_000,
    };
    let origin = Origin::ok();
    let Some((weir, _)) = attack.run(|weir, stop| {
        ask_all_the_time(weir, stop, |number| {
            let client = format!("198.{}.{}.{}", 18 + (number >> 16 & 1), number >> 8 & 255, number & 255);
            let head = "GET http://{o}/NUMBER HTTP/1.1\r\nHost: {o}\r\nX-Forwarded-For: CLIENT\r\n\r\n";
            origin.fill(head.replace("NUMBER", &number.to_string()).replace("CLIENT", &client))
        });
    }) else {
        return;
    };
    weir.wait_until_idle();
}

/// Every response is of another URL, and may be stored.
#[test]
fn a_cache_filled_with_rubbish() {
    let attack = Attack {
        name: "responses that are asked for once",
        bound: "--cache-size",
        counter: "cache_evicted",
        options: if memory().is_some() { &["--cache"] } else { &["--cache", "--cache-size", "2M"] },
        growth_kib_max: 2 * BASE_KIB,
    };
    let origin = Origin::serve(|conn| {
        while let Some(request) = conn.request()? {
            let number: usize = request.head.target().trim_matches('/').parse().unwrap_or(0);
            let bytes = [100, 3_000, 20_000, 150_000, 700_000][number % 5];
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {bytes}\r\n\r\n"
            ))?;
            conn.send(vec![b'x'; bytes])?;
        }
        Ok(())
    });
    let Some((weir, _)) = attack.run(|weir, stop| {
        ask_all_the_time(weir, stop, |number| origin.get(&format!("/{number}")));
    }) else {
        return;
    };
    weir.wait_until_idle();
}

/// Names that do not exist, each asked for once.
#[test]
fn names_without_end() {
    let dns = FakeDns::start(&[]);
    let address = dns.address();
    let attack = Attack {
        name: "names that do not exist",
        bound: "the resolver's cache",
        counter: "dns_queries",
        options: &["--dns", &address],
        growth_kib_max: BASE_KIB,
    };
    let Some((weir, _)) = attack.run(|weir, stop| {
        ask_all_the_time(weir, stop, |number| {
            let host = format!("{}{number}.test", "n".repeat(50));
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
        });
    }) else {
        return;
    };
    weir.wait_until_idle();
}

/// A thing in br that keeps a window of 16 MB in use: a head, and so many bytes of content as they are (RFC 7932 section 9).
#[cfg(feature = "detection")]
fn brotli(content: &[u8]) -> Vec<u8> {
    let head = 0xf | (content.len() as u32 - 1) << 7 | 1 << 23;
    [&head.to_le_bytes()[..3], content].concat()
}

#[cfg(feature = "detection")]
fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

/// Bodies that are inspected and come slowly, each with a decoder and a value that has not ended.
#[test]
#[cfg(feature = "detection")]
fn inspected_bodies() {
    let scratch = Scratch::new();
    let guard = scratch.file("guard", "detect block\n");
    let few = ["--guard", &guard, "--timeout", "3", "--head-timeout", "2", "--buffers", "512"];
    let attack = Attack {
        name: "slow bodies in br, gzip and JSON",
        bound: "--buffers",
        counter: "limit_blocks",
        options: if memory().is_some() { &few[..6] } else { &few },
        // 512 blocks and what counts as such, the detector, and one connection for each.
        growth_kib_max: blocks_of(crowd(), 0) + 512 * 4 + 10_000,
    };
    let sink = Origin::sink();
    let words: Vec<u8> = (0..60_000_u32)
        .flat_map(|number| format!("{} ", number.wrapping_mul(2_654_435_761)).into_bytes())
        .take(60_000)
        .collect();
    let json = [b"{\"a\":[\"", &words[..], b"\"]}"].concat();
    let contents = [("br", brotli(&words)), ("gzip", gzip(&words)), ("identity", json)];
    let requests = contents.map(|(coding, content)| {
        let media_type = if coding == "identity" { "application/json" } else { "text/plain" };
        let head = format!(
            "POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nContent-Type: {media_type}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        [&sink.fill(head)[..], &content[..content.len() / 2]].concat()
    });
    let Some((weir, _)) = attack.run(|weir, stop| {
        let mut slow = requests.each_ref().map(|request| Crowd::connect(weir, crowd() / 3, request));
        while !stop.is_set() {
            slow.iter_mut().for_each(|slow| {
                slow.send_next(b"1");
            });
            std::thread::sleep(tick());
        }
        let all = 3 * (crowd() / 3);
        finally("all of them are closed", || slow.iter_mut().map(Crowd::closed).sum::<usize>() == all);
    }) else {
        return;
    };
    weir.wait_until_idle();
}

/// Requests with attacks, each of which is refused and told of.
#[test]
#[cfg(feature = "detection")]
fn refused_attacks() {
    let scratch = Scratch::new();
    let (events, patterns) = (scratch.join("events"), "detect pattern own (a|b)*c[0-9]{1,20}d\n");
    let guard = scratch.file("guard", format!("detect block\n{patterns}events {events}\n"));
    let attack = Attack {
        name: "requests with attacks",
        bound: "the detector's states",
        counter: "guard_suspicious",
        options: &["--guard", &guard],
        growth_kib_max: BASE_KIB + 10_000,
    };
    let sets = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/detection/attacks");
    let texts: Vec<String> = std::fs::read_dir(sets)
        .expect("labelled sets")
        .flat_map(|set| {
            std::fs::read_to_string(set.expect("a set").path())
                .expect("UTF-8")
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let origin = Origin::ok();
    let Some((weir, _)) = attack.run(|weir, stop| {
        ask_all_the_time(weir, stop, |number| {
            origin.get(&format!("/a?n={number}&q={}", escaped(&texts[number % texts.len()])))
        });
    }) else {
        return;
    };
    weir.wait_until_idle();
}
