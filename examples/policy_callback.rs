//! A program that decides about every connection and request of the proxy inside it, in one callback each.
//!
//! `cargo run --example policy_callback -- [SECONDS]`: prints what it decides, for five seconds if nothing else is said. The plan: office
//! hours for one host, an answer of the program's own for another one, a note with the plan of the user for all.

use std::error::Error;
use std::time::{Duration, Instant};
use weir::callback::{Answer, ConnectionVerdict, RequestVerdict, RequestView, Ruling};
use weir::{Configuration, Proxy};

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let mut proxy = Proxy::builder()
        .configuration(Configuration::new().text("host 127.0.0.1\nport 0\n"))
        .access_log(|lines| print!("{}", String::from_utf8_lossy(lines)))
        .on_connection(|client| match client.ip().is_loopback() {
            true => ConnectionVerdict::Allow,
            false => ConnectionVerdict::Refuse { status: 403, reason: "not from here".to_owned() },
        })
        .on_request(decide)
        .build()?;
    for address in proxy.control().addresses() {
        println!("curl -x http://{address} http://status.example/");
        println!("curl -x http://{address} http://games.example/");
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        proxy.poll(Some(end.saturating_duration_since(Instant::now())))?;
    }
    Ok(())
}

/// Called in the middle of a turn of the loop: everything that it needs is in memory.
fn decide(request: &RequestView<'_>) -> Ruling {
    let verdict = match request.host {
        "status.example" => RequestVerdict::Answer(Answer {
            status: 200,
            fields: vec![("Content-Type".to_owned(), "text/plain".to_owned())],
            body: format!("{} asks for {}\n", request.client, request.target).into_bytes(),
        }),
        "games.example" => RequestVerdict::Refuse { status: 403, reason: "not in office hours".to_owned() },
        _ => RequestVerdict::Allow,
    };
    let plan = request.field("x-plan").unwrap_or(b"basic");
    Ruling::from(verdict).with_note(format!("plan={}", String::from_utf8_lossy(plan)))
}
