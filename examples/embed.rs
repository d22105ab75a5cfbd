//! A proxy inside another program: settings and users from memory, the access log and the statistics where the program wants
//! them, and an end that waits for what is under way.
//!
//! `cargo run --example embed -- [SECONDS]`: serves user `ann` with password `secret` on a free port of 127.0.0.1, for five
//! seconds if nothing else is said.

use std::error::Error;
use std::time::{Duration, Instant};
use weir::{Configuration, Proxy, Status};

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let configuration = Configuration::new()
        .text("host 127.0.0.1\nport 0\nauth-file users\nblock ads.example.com\n")
        .file("users", "ann:secret\n");
    let mut proxy = Proxy::builder()
        .configuration(configuration)
        .access_log(|lines| print!("{}", String::from_utf8_lossy(lines)))
        .build()?;
    for address in proxy.control().addresses() {
        println!("curl -x http://ann:secret@{address} http://example.com/");
    }
    // The loop of this program: here it has nothing else to do.
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        proxy.poll(Some(end.saturating_duration_since(Instant::now())))?;
    }
    proxy.control().drain();
    while proxy.poll(None)? == Status::Running {}
    println!("{}", proxy.statistics().line());
    Ok(())
}
