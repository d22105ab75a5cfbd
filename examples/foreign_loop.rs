//! A proxy in an epoll loop that is the program's own, beside another descriptor: standard input, which takes commands.
//!
//! `cargo run --example foreign_loop`: type `statistics`, `drain` or `stop`; the end of the input is `drain`.

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::error::Error;
use std::io::Read;
use std::time::Duration;
use weir::{Configuration, Proxy, Status};

/// What the descriptors are called in events.
const PROXY: u64 = 0;
const INPUT: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let configuration = Configuration::new().text("host 127.0.0.1\nport 0\n");
    let mut proxy = Proxy::builder().configuration(configuration).build()?;
    println!("listening on {:?}", proxy.control().addresses());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Level-triggered is enough: a turn of the proxy leaves its descriptor quiet, or has more to do at once.
    epoll::add(&epoll, &proxy, epoll::EventData::new_u64(PROXY), epoll::EventFlags::IN)?;
    let input = std::io::stdin();
    // A file cannot be waited for; then the proxy simply has no commands.
    let has_input =
        epoll::add(&epoll, &input, epoll::EventData::new_u64(INPUT), epoll::EventFlags::IN).is_ok();
    let mut events = Vec::with_capacity(8);
    loop {
        let timeout = proxy.next_timeout().map(rounded_up);
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            // A signal, or the process was stopped and goes on.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if has_input && events.iter().any(|event| { event.data }.u64() == INPUT) && !obey(&input, &proxy) {
            epoll::delete(&epoll, &input)?;
        }
        events.clear();
        // Whatever has woken the loop: a turn with nothing to do costs next to nothing, and deadlines need one as well.
        if proxy.poll(Some(Duration::ZERO))? == Status::Ended {
            return Ok(());
        }
    }
}

/// Does what was typed. False at the end of the input.
fn obey(mut input: &std::io::Stdin, proxy: &Proxy) -> bool {
    let mut typed = [0; 256];
    let count = input.read(&mut typed).unwrap_or(0);
    for line in String::from_utf8_lossy(&typed[..count]).lines() {
        match line.trim() {
            "statistics" => println!("{}", proxy.statistics().line()),
            "stop" => proxy.control().stop(),
            "drain" => proxy.control().drain(),
            other => println!("{other:?}: expected statistics, drain or stop"),
        }
    }
    if count == 0 {
        proxy.control().drain();
    }
    count > 0
}

/// Not a moment too early: the proxy would have nothing to do yet.
fn rounded_up(timeout: Duration) -> Timespec {
    let milliseconds = timeout.as_micros().div_ceil(1000) as i64;
    Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 }
}
