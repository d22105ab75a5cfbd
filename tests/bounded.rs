//! `--memory`: the process keeps to its size while everything that has a bound is used up at once, and says what it gave up.

mod common;

use common::{FakeDns, Origin, Raw, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// KiB of code that count in any build: in one without optimisation there is several times as much.
const CODE_KIB: u64 = 5 << 10;

/// The most memory that a daemon has while `work` goes on, beside its code, in KiB.
fn peak_during(weir: &Weir, work: impl FnOnce()) -> u64 {
    let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                peak.fetch_max(weir.resident_kib(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // The other thread ends even if the work fails.
        let _end = Over(&over);
        work();
    });
    peak.into_inner().max(weir.resident_kib())
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An origin whose `/never` has an end that no client reads, and whose `/N` are N bytes that can be stored.
fn origin() -> Origin {
    Origin::serve(|conn| {
        while let Some(request) = conn.request()? {
            let last = request.head.target().rsplit('/').next().unwrap_or("").to_owned();
            let bytes = last.parse().unwrap_or(1 << 30);
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {bytes}\r\n\r\n"
            ))?;
            if last == "never" {
                conn.send_until_stuck()?;
                return Ok(());
            }
            conn.send(vec![b'x'; bytes])?;
        }
        Ok(())
    })
}

/// Clients that ask for something large and read nothing of it.
fn never_readers(weir: &Weir, origin: &Origin, count: usize) -> Vec<TcpStream> {
    let client = |number| {
        let mut stream = TcpStream::connect(weir.address()).expect("a connection");
        std::io::Write::write_all(&mut stream, &origin.get(&format!("/{number}/never"))).expect("a request");
        stream
    };
    (0..count).map(client).collect()
}

fn stored(client: &mut Raw, origin: &Origin, path: &str) {
    let answer = client.ask(origin.get(path));
    assert_eq!(answer.status(), 200, "{path}: {answer:?}");
}

/// Everything at once, with one loop and with two. There are fewer clients that never read than would take the last blocks,
/// also if one loop gets them all.
#[test]
fn everything_at_once_stays_within_the_size() {
    for (workers, size_mib, silent_clients) in [("1", 20, 100), ("2", 32, 60)] {
        let (size, size_kib) = (format!("{size_mib}M"), size_mib << 10);
        let (scratch, dns, origin) = (Scratch::new(), FakeDns::start(&[]), origin());
        let rules = "limit 100000/10m per client\nescalate 100000/10m block 15m after 1 per client+path\n";
        let guard = scratch.file("guard", rules);
        let options = [
            &["--memory", &size, "--workers", workers, "--cache", "--guard", &guard][..],
            &["--dns", &dns.address(), "--log-dir", &scratch.join("log"), "--idle-origin-timeout", "1"],
        ];
        let weir = Weir::start(&options.concat());
        weir.wait_for_error(|line| line.contains(&format!("memory: {size_kib} KB")));
        let mut silent = Vec::new();
        let peak = peak_during(&weir, || {
            silent = never_readers(&weir, &origin, silent_clients);
            origin.wait_for_connections(silent_clients);
            for client in 0..12 {
                let mut client = (client, weir.connect_from(&format!("127.1.1.{}", client + 1)));
                for (turn, bytes) in [400, 5_000, 60_000, 250_000].into_iter().cycle().take(24).enumerate() {
                    stored(&mut client.1, &origin, &format!("/{}x{turn}/{bytes}", client.0));
                }
            }
            for at in 0..300 {
                let mut client = weir.connect_from(&format!("127.2.{}.{}", at / 250, at % 250 + 1));
                let request = format!("GET http://n{at}.test/ HTTP/1.1\r\nHost: n{at}.test\r\n\r\n");
                let status = client.ask(request).status();
                assert!(status == 502 || status == 504 || status == 503, "{status}");
            }
        });
        let statistics = weir.statistics();
        assert!(peak + CODE_KIB <= size_kib, "{peak} KiB beside the code: {statistics:?}");
        if !cfg!(debug_assertions) {
            let peak = weir.footprint().peak_kib;
            assert!(peak <= size_kib, "{peak} KiB: {statistics:?}");
        }
        assert!(statistics.get("cache_evicted") > 0 && statistics.get("accepted") > 300, "{statistics:?}");
        // Those who let go make room, and all is well.
        drop(silent);
        weir.wait_until_idle();
        stored(&mut weir.connect(), &origin, "/100");
    }
}

/// A smaller size holds at once for what can change; what cannot is named, and what is too much goes.
#[test]
fn a_smaller_size_sheds_the_cache_and_says_what_needs_a_restart() {
    let (scratch, origin) = (Scratch::new(), origin());
    let file = |size: &str| scratch.file("conf", format!("memory {size}\ncache yes\nstats-every 0\n"));
    let weir = Weir::start(&["-c", &file("64M")]);
    let mut client = weir.connect();
    let mut filled = 0;
    while weir.statistics().get("cache_bytes") < 14 << 20 {
        filled += 1;
        assert!(filled < 100, "the cache has no room");
        stored(&mut client, &origin, &format!("/{filled}/500000"));
    }
    file("16M");
    weir.signal(Signal::HUP);
    let told = weir.wait_for_error(|line| line.contains("needs a restart: "));
    assert!(["buffers", "cache-size"].iter().all(|name| told.contains(name)), "{told}");
    assert!(!told.contains("max-connections"), "{told}");
    weir.wait_for_error(|line| line.contains("reloaded: ") && line.contains("max-connections"));
    // It turns, and looks.
    eventually("the cache gives up entries", || {
        stored(&mut client, &origin, "/again/100");
        (weir.statistics().get("limit_memory_cache") > 0).then_some(())
    });
    eventually("memory goes back", || (weir.resident_kib() + CODE_KIB <= 16 << 10).then_some(()));
    stored(&mut client, &origin, "/still/20000");
}

/// What runs and cannot shrink is divided with every reload, not only with the one that asked for less.
#[test]
fn what_cannot_shrink_is_told_with_each_reload() {
    let scratch = Scratch::new();
    let file = |size: &str| scratch.file("conf", format!("memory {size}\ncache yes\n"));
    let weir = Weir::start(&["-c", &file("256M")]);
    let count = |text: &str| weir.error_lines().iter().filter(|line| line.contains(text)).count();
    for (reloads, size) in (1..).zip(["20M", "20M", "64M"]) {
        file(size);
        weir.signal(Signal::HUP);
        eventually("it has reloaded", || (count(" reloaded: ") == reloads).then_some(()));
        assert_eq!(count("memory needs a restart for what cannot shrink"), reloads, "{size}");
    }
    file("300M");
    weir.signal(Signal::HUP);
    eventually("it has reloaded", || (count(" reloaded: ") == 4).then_some(()));
    assert_eq!(count("memory needs a restart for what cannot shrink"), 3, "there is room for it");
}

/// Each refusal is an event with texts of the client. (As long as events were counted and not their bytes, all later requests waited
/// for memory that nothing gave back.)
#[test]
fn refusals_with_long_texts_leave_room_for_others() {
    let (scratch, origin) = (Scratch::new(), origin());
    let guard = scratch.file("guard", "exempt 127.0.0.9\nlimit 1/10m per client\n");
    let weir = Weir::start(&["--memory", "16M", "--guard", &guard]);
    let peak = peak_during(&weir, || {
        let path = "p".repeat(7000);
        let head = format!("GET http://{{o}}/{path} HTTP/1.1\r\nHost: {{o}}\r\nUser-Agent: ");
        let request = [&origin.fill(head)[..], &[0xff; 4000], b"\r\n\r\n"].concat();
        let mut client = weir.connect();
        for number in 0..5000 {
            // Some refusals close their connection.
            client.send_if_open(&request);
            match client.try_read_response("GET") {
                Ok(answer) if number > 0 => assert_eq!(answer.status(), 429, "{number}"),
                Ok(_) => {}
                Err(_) => client = weir.connect(),
            }
        }
    });
    let statistics = weir.statistics();
    assert!(peak + CODE_KIB <= 16 << 10, "{peak} KiB beside the code: {statistics:?}");
    assert_eq!(statistics.get("limit_memory_clients"), 0, "{statistics:?}");
    assert!(statistics.get("guard_limited") > 4000, "{statistics:?}");
    stored(&mut weir.connect_from("127.0.0.9"), &origin, "/100");
}

/// What a rule `behaviour` keeps of a response counts as blocks: where there are none, the response passes unseen. (It did not
/// count, and 54 responses filled 16 MB.)
#[cfg(feature = "detection")]
#[test]
fn documents_that_are_watched_stay_within_the_size() {
    let scratch = Scratch::new();
    let guard = scratch.file("guard", "behaviour return json:a==b 5 in 1d action log\n");
    let weir = Weir::start(&["--memory", "16M", "--guard", &guard]);
    let text = "x".repeat(250_000);
    let slow = Origin::serve(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 262000\r\n\r\n{\"x\":\"")?;
        conn.send(&text)?;
        // The rest never comes.
        conn.read_to_end().map(drop)
    });
    let mut clients = Vec::new();
    let peak = peak_during(&weir, || {
        for _ in 0..150 {
            let mut client = weir.connect();
            client.send(slow.get("/document"));
            assert_eq!(client.read_head().status(), 200);
            client.read_exact(250_000);
            clients.push(client);
        }
    });
    let statistics = weir.statistics();
    assert!(peak + CODE_KIB <= 16 << 10, "{peak} KiB beside the code: {statistics:?}");
    assert_eq!(statistics.get("limit_memory_clients"), 0, "{statistics:?}");
    clients.into_iter().for_each(Raw::reset);
    weir.wait_until_idle();
}

/// The start maps most of the program's code, which is used once.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "pages of code are given back on Linux only")]
fn code_of_the_start_is_given_back() {
    for size in [&[][..], &["--memory", "1G"]] {
        let footprint = Weir::start(size).footprint();
        assert!(footprint.resident_kib + 2048 <= footprint.peak_kib, "{footprint:?}");
    }
}

/// The smallest size that is accepted with these options, as the errors of smaller ones say.
fn smallest_size(options: &[&str]) -> String {
    let mut size = "1M".to_owned();
    // Files are read, and so counted, once the rest is in order.
    for _ in 0..3 {
        let tried = run(&[&["--check", "--memory", &size], options].concat());
        if tried.code == 0 {
            return size;
        }
        assert_eq!(tried.code, 64, "{options:?} {size}: {tried:?}");
        let wanted = tried.err.split("--memory: expected ").nth(1).and_then(|text| text.split(' ').next());
        size = wanted.unwrap_or_else(|| panic!("{options:?} {size}: {tried:?}")).to_owned();
    }
    panic!("{options:?}: {size} is told, and refused");
}

/// What cannot fit is no configuration, and the size that is told is one.
#[test]
fn a_size_that_is_too_small_is_an_error_with_the_smallest_that_works() {
    let scratch = Scratch::new();
    let rules: String = (0..20_000).map(|number| format!("host{number}.example\n")).collect();
    let list = scratch.file("list", rules);
    for more in common::built([
        &[][..],
        &["--cache"],
        &["--blocklist", &list],
        &["--workers", "2", "--buffers", "1000"],
    ]) {
        let wanted = smallest_size(more);
        assert_ne!(wanted, "1M", "{more:?}");
    }
    let tried = run(&["--check", "--memory", "32M", "--cache", "--cache-size", "30M"]);
    assert!(tried.code == 64 && tried.err.contains("30720K for 31457280 bytes of cache"), "{tried:?}");
    let shown = run(&["--print-config", "--memory", "32M", "--buffers", "100"]);
    assert!(shown.out.contains("# by --memory") && shown.out.contains("buffers 100 "), "{shown:?}");
}

/// What pages keep is part of the size, and so are their sessions: what has no room is refused, or makes room.
#[cfg(feature = "pages")]
#[test]
fn values_of_pages_stay_within_their_share() {
    use weir::callback::Answer;
    use weir::pages::{Ask, PageReply, Pages, Told};
    use weir::{Configuration, Proxy};
    let big = "x".repeat(30_000);
    let pages = Pages::new(move |request| {
        let answer = |status| PageReply::Answer(Answer { status, ..Answer::default() });
        match (request.path, request.told) {
            ("/session", _) => {
                request.session.set("big", &big);
                answer(200)
            }
            (_, None) => PageReply::Ask(Ask::Put { name: request.path[1..].to_owned(), text: big.clone() }),
            (_, Some(Told::Failed)) => answer(507),
            (_, Some(_)) => answer(200),
        }
    });
    let configuration = Configuration::new().text("host 127.0.0.1\nport 0\nmemory 24M\n");
    let builder = Proxy::builder().configuration(configuration).pages(pages);
    let mut proxy = builder.build().expect("a proxy");
    let control = proxy.control().clone();
    let turns = std::thread::spawn(move || proxy.run());
    let at = control.addresses()[0];
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        Raw::connect(at).ask(request).status()
    };
    // 24 MB have room for more than five values of 30 KB, and for fewer than a hundred.
    let taken = (0..100).take_while(|number| ask(&format!("/value{number}")) == 200).count();
    assert!((5..100).contains(&taken), "{taken}");
    assert!((0..100).all(|_| ask("/session") == 200));
    let values = control.statistics().values.expect("pages");
    assert!(values.page_values_refused >= 1 && values.page_values_dropped >= 1, "{values:?}");
    assert!(values.page_values_bytes < 3 << 20, "{values:?}");
    // What is kept is there for a session that comes, and can be written again.
    assert_eq!((ask("/value0"), ask("/value-more")), (200, 507));
    control.stop();
    assert!(turns.join().is_ok());
}

/// A file that is larger than what files may have is not read, neither at the start nor with a reload.
#[test]
fn files_that_are_too_large_are_not_read() {
    let scratch = Scratch::new();
    let list = scratch.file("list", "blocked.test\n");
    let options = ["--memory", "64M", "--blocklist", &list, "--sandbox=no"];
    let weir = Weir::start(&options);
    std::fs::File::create(&list).and_then(|file| file.set_len(3 << 30)).expect("a file with a hole");
    let told = format!("expected at most {} bytes", (64 << 20) / 4);
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains(&told));
    assert!(weir.footprint().peak_kib < 64 << 10, "{:?}", weir.footprint());
    let refused = common::run(&options);
    assert!(refused.code != 0 && refused.err.contains(&told), "{}", refused.err);
}

/// Entries of short lines take many times as much as their text. Each reload has the old ones and the new ones.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "bans need the guard")]
fn reloads_of_files_with_many_short_lines_stay_within_the_size() {
    let scratch = Scratch::new();
    let file = |name: &str, count: u32, line: &dyn Fn(u32) -> String| {
        scratch.file(name, (0..count).map(|number| line(number) + "\n").collect::<String>())
    };
    let v4 = |number: u32| {
        format!("{}.{}.{}.{}", number % 9 + 1, number / 9 % 10, number / 90 % 100, number / 9000)
    };
    let v6 = |number: u32| format!("{:x}:{:x}::", number / 256 + 1, number % 256);
    file("bans", 100_000, &v4);
    for options in [
        ["--auth-file", &file("users", 100_000, &|number| format!("{number:x}:p"))],
        ["--blocklist", &file("v4", 100_000, &v4)],
        ["--blocklist", &file("v6", 100_000, &v6)],
        ["--blocklist", &file("names", 100_000, &|number| format!("{number:x}.a"))],
        ["--guard", &file("ban-lines", 40_000, &|number| format!("ban {}", v4(number)))],
        ["--guard", &scratch.file("guard", "ban-file bans\n")],
    ] {
        let size = smallest_size(&options);
        let size_kib: u64 = size.trim_end_matches('K').parse().expect("KiB");
        let weir = Weir::start(&[&["--memory", &size], &options[..]].concat());
        let peak = peak_during(&weir, || {
            for turn in 1..=3 {
                weir.signal(Signal::HUP);
                let lines = || weir.error_lines().iter().filter(|line| line.contains("reloaded: ")).count();
                eventually("the reload", || (lines() == turn).then_some(()));
            }
        });
        assert!(peak + CODE_KIB <= size_kib, "{options:?}: {peak} KiB beside the code, of {size_kib}");
    }
}
