//! Load for measurements, both ends of it: an origin that costs little, and clients. One thread and one poll loop each.
//!
//! `load origin [ADDRESS:PORT]` answers `GET /BYTES` with a body of that size (`/fresh/BYTES`: one that may be cached) and
//! checks what comes with `POST /BYTES`. It prints its address.
//!
//! `load client --via PROXY --to ORIGIN [OPTION]...` prints one line of `key=value`:
//!
//! ```text
//! --connections N  so many at once (1)            --bytes N    size of bodies (1024)
//! --upload         bodies go up, not down         --once       a new connection for each request
//! --tunnel         through a CONNECT tunnel       --direct     no proxy: what is at PROXY relays bytes
//! --seconds S      begin no more after that (2)   --rate R     so many requests a second, not as many as possible
//! --fresh          answers may be cached          --sources N  client addresses 127.0.0.2, 127.0.0.3... (1: 127.0.0.1)
//! --field LINE     a field of every request, behind those that it has anyway; any number of them
//! --hold           one request for each connection (none in a tunnel), then idle until standard input ends
//! ```
//!
//! Every body is compared byte by byte. With a rate, latency counts from the moment at which a request was due if all
//! connections were busy then, so that a stall is charged with everything that it held up.

mod client;
mod origin;
mod pattern;

use std::io::{Error, ErrorKind, Result};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("origin") => origin::run(words.next().as_deref().unwrap_or("127.0.0.1:0")),
        Some("client") => client::run(&client::Options::parse(words)?),
        Some(_) | None => Err(wrong("origin or client")),
    }
}

fn wrong(expected: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("expected {expected}"))
}

/// The end of a message head, if it has come.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a field, without looking closely: heads come from programs that are being measured, not from attackers.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
