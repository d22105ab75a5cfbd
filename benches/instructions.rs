//! Every hot path as a plain loop, so that callgrind can count its instructions: the same number for the same program,
//! however busy the machine is.
//!
//! `scripts/bench-diff` counts and compares; `cargo bench --bench instructions` times the same operations.
//!
//! ```text
//! instructions --list            names, one per line
//! instructions COUNT NAME        warms one up, then does it so often within `counted`
//! instructions                   nanoseconds of each: the best of some batches
//! ```
//!
//! ENTRIES=1000000 in the environment is how many bans or keys the operations `guard/...` begin with, in place of 20,000:
//!
//! ```text
//! ENTRIES=1000000 valgrind --tool=callgrind --toggle-collect='*counted*' instructions 1000 guard/window
//! ```

mod drive;
#[allow(dead_code)]
mod guard;
#[allow(dead_code)]
mod head;
#[allow(dead_code)]
mod log;
#[allow(dead_code)]
mod ring;
#[allow(dead_code)]
mod rules;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;
use weir::http::h1::decode::Decoder;
use weir::http::head::{Limits, Message, RequestHead, Scanner};
use weir::http::target::Host;
use weir::log::format::write_record;
use weir::net::{Pool, Ring};

/// Rules of the look-ups: enough that they are found by their index, few enough to be loaded under callgrind.
const RULES: usize = 20_000;
const WARM_UP: usize = 100;
const BATCH: usize = 1000;
const BATCHES: usize = 50;

type Operation = Box<dyn FnMut()>;
/// Gets ready for an operation.
type Make = Box<dyn FnOnce() -> Operation>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let all = operations();
    match words[..] {
        ["--list"] => all.iter().for_each(|(name, _)| println!("{name}")),
        [count, name] => {
            let make = all.into_iter().find(|(known, _)| known == name).map(|(_, make)| make);
            let mut operation = make.unwrap_or_else(|| panic!("no operation {name:?}"))();
            let count = count.parse().expect("a number of times");
            repeat(WARM_UP, &mut *operation);
            counted(count, &mut *operation);
        }
        _ => {
            for (name, make) in all {
                let mut operation = make();
                repeat(WARM_UP, &mut *operation);
                println!("{name:32} {:10.1} ns", best(&mut *operation));
            }
        }
    }
}

/// The function that callgrind measures.
#[inline(never)]
fn counted(count: usize, operation: &mut dyn FnMut()) {
    for _ in 0..count {
        operation();
    }
}

fn repeat(count: usize, operation: &mut dyn FnMut()) {
    for _ in 0..count {
        operation();
    }
}

fn best(operation: &mut dyn FnMut()) -> f64 {
    let batch = |_| {
        let began = Instant::now();
        repeat(BATCH, operation);
        began.elapsed().as_nanos() as f64 / BATCH as f64
    };
    (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
}

/// Names, and how to get ready for each.
fn operations() -> Vec<(String, Make)> {
    let mut all: Vec<(String, Make)> = Vec::new();
    let mut add = |name: String, make: Make| all.push((name, make));
    for (name, bytes) in head::REQUESTS {
        add(format!("head/scan {name}"), Box::new(move || scan(bytes)));
        add(format!("head/parse {name}"), Box::new(move || parse(bytes)));
        add(format!("head/forward {name}"), Box::new(move || forward(bytes)));
    }
    add("head/forward response".into(), Box::new(forward_response));
    for bytes in [16, 256, 4000] {
        add(format!("chunked/block of {bytes}"), Box::new(move || decode(bytes)));
    }
    for bytes in [64, 4096] {
        add(format!("ring/{bytes}"), Box::new(move || fill(bytes)));
    }
    for format in log::FORMATS {
        let name = format!("{format:?}").to_lowercase();
        add(format!("log/{name}"), Box::new(move || write(format, log::plain())));
        add(format!("log/{name} escaped"), Box::new(move || write(format, log::hostile())));
    }
    add(
        "rules/name listed".into(),
        Box::new(|| judge(&rules::names_text(RULES), rules::name_hosts(RULES, 0))),
    );
    add(
        "rules/name not listed".into(),
        Box::new(|| judge(&rules::names_text(RULES), rules::name_hosts(RULES, 77))),
    );
    add("rules/address".into(), Box::new(|| judge(&rules::networks_text(RULES, false), addresses())));
    for (name, make) in guarded() {
        add(format!("guard/{name}"), make);
    }
    for case in drive::cases() {
        add(format!("engine/{}", case.name), Box::new(move || exchange(case)));
    }
    all
}

/// What the guard does for a request, each time with the next of a thousand addresses or keys.
fn guarded() -> Vec<(&'static str, Make)> {
    const NOW: u64 = 1_700_000_000_000;
    let entries = std::env::var("ENTRIES").map_or(RULES, |count| count.parse().expect("a number of entries"));
    let find = move |lengths: &'static [u8], salt: u64| {
        let make = move || {
            let (bans, addresses) = (guard::bans(entries, lengths), guard::addresses(entries, salt));
            let next = move |turn: usize| {
                black_box(bans.find(addresses[turn % guard::ASKED], NOW));
            };
            in_turn(next)
        };
        Box::new(make) as Make
    };
    let escalation = move || {
        let (escalations, keys) = (guard::escalations(entries, 1), guard::keys(entries));
        let step = move |turn: usize| {
            let key = keys[turn % guard::ASKED];
            black_box(escalations.step(key, NOW + turn as u64, &guard::CONSTANTS));
        };
        in_turn(step)
    };
    let window = move || {
        let (windows, keys) = (guard::windows(entries, 20, 20), guard::keys(entries));
        let hit = move |turn: usize| {
            black_box(windows.record(keys[turn % guard::ASKED], 20, 60_000, 20 + turn as u64));
        };
        in_turn(hit)
    };
    vec![
        ("ban found", find(&guard::LISTED, 0)),
        ("no ban", find(&guard::LISTED, 77 << 20)),
        ("no ban, 17 lengths", find(&guard::MERGED, 77 << 20)),
        ("window", Box::new(window)),
        ("escalation", Box::new(escalation)),
    ]
}

fn in_turn(mut each: impl FnMut(usize) + 'static) -> Operation {
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        each(turn);
    })
}

fn scan(bytes: &'static [u8]) -> Operation {
    let limits = Limits::default();
    Box::new(move || {
        let _ = black_box(Scanner::default().scan_request(black_box(bytes), &limits));
    })
}

fn parse(bytes: &'static [u8]) -> Operation {
    let (limits, mut message) = (Limits::default(), Message::new());
    Box::new(move || {
        let _ = black_box(RequestHead::parse(black_box(bytes), &mut message, &limits));
    })
}

fn forward(bytes: &'static [u8]) -> Operation {
    let (limits, mut message, mut out) = (Limits::default(), Message::new(), Vec::with_capacity(4096));
    Box::new(move || {
        black_box(head::forward(black_box(bytes), &limits, &mut message, &mut out));
    })
}

fn forward_response() -> Operation {
    let (limits, mut message, mut out) = (Limits::default(), Message::new(), Vec::with_capacity(4096));
    Box::new(move || {
        black_box(head::forward_response(black_box(head::RESPONSE), &limits, &mut message, &mut out));
    })
}

/// Decoding moves the bytes, so each time begins with a copy.
fn decode(chunk: usize) -> Operation {
    let (coding, mut block) = (head::chunks(chunk), Vec::with_capacity(8192));
    Box::new(move || {
        block.clear();
        block.extend_from_slice(&coding);
        let _ = black_box(Decoder::new().decode(&mut block));
    })
}

fn fill(bytes: usize) -> Operation {
    let (mut pool, mut ring, payload) = (Pool::new(64), Ring::default(), vec![7; bytes]);
    Box::new(move || ring::step_once(&mut pool, &mut ring, &payload))
}

fn write(
    format: weir::log::format::Format,
    record: weir::engine::transaction::log_record::LogRecord,
) -> Operation {
    let mut line = Vec::with_capacity(4096);
    Box::new(move || {
        line.clear();
        write_record(&mut line, format, black_box(&record));
        black_box(line.len());
    })
}

fn addresses() -> Vec<Host> {
    let address = |number: u32| Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B9));
    (0..rules::ASKED as u32).map(|number| Host::Address(IpAddr::V4(address(number)))).collect()
}

fn judge(text: &str, hosts: Vec<Host>) -> Operation {
    let (acl, mut at) = (rules::acl(text), 0);
    Box::new(move || {
        rules::judge(&acl, &hosts[at]);
        at = (at + 1) % hosts.len();
    })
}

fn exchange(case: drive::Case) -> Operation {
    let mut case = case.warm_up();
    Box::new(move || case.run())
}
