//! Tests of the harness itself: properties that other tests rely on, shown without the daemon.

mod common;

use common::dns::{A, AAAA};
use common::{Answer, FakeDns, Framing, Hash, Origin, Raw, bytes};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

/// The raw client and the echoing origin agree on every framing.
#[test]
fn raw_client_and_origin_agree() {
    let origin = Origin::echo();
    let mut client = Raw::connect(origin.address());
    let plain = client.ask("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((plain.status(), plain.text().as_str()), (200, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
    let counted = client.ask("POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(counted.text().ends_with("\r\n\r\nabc"));
    let chunked = client
        .ask("POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: v\r\n\r\n");
    assert!(chunked.text().ends_with("\r\n\r\nabc"));
    let head = client.ask("HEAD /d HTTP/1.1\r\n\r\n");
    assert_eq!(head.body.framing, Framing::Empty);
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.heads().len(), 4);
    assert!(common::contains(&origin.received(0), b"POST /c"));
}

/// Generated bodies hash the same in every framing, and an upload's hash comes back.
#[test]
fn generator_and_sink_hash_alike() {
    let generator = Origin::generator();
    for (form, framing) in
        [("length", Framing::Length), ("chunked", Framing::Chunked), ("close", Framing::UntilClose)]
    {
        let mut client = Raw::connect(generator.address());
        client.send(format!("GET /{form}/200000 HTTP/1.1\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(client.hash_body(&head), (Hash::of_pattern(200_000), framing), "{form}");
    }
    let sink = Origin::sink();
    let mut client = Raw::connect(sink.address());
    client.send("POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
    client.send_pattern(100_000);
    assert_eq!(client.read_response().text(), Hash::of_pattern(100_000).to_string());
}

/// Ends are told apart: a FIN, a reset, a body that is too short.
#[test]
fn ends_are_told_apart() {
    let origin = Origin::serve_owned(|mut conn| {
        let target = conn.head()?.target().to_owned();
        match target.as_str() {
            "/fin" => Ok(()),
            "/reset" => {
                conn.reset();
                Ok(())
            }
            _ => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        }
    });
    let ask = |path: &str| {
        let mut client = Raw::connect(origin.address());
        client.send(format!("GET {path} HTTP/1.1\r\n\r\n"));
        client
    };
    ask("/fin").expect_fin();
    ask("/reset").expect_reset();
    assert!(ask("/short").try_read_response("GET").is_err());
    origin.wait_for_ends(3);
}

/// An origin whose bytes are not read blocks, and reports how far it came.
#[test]
fn origin_notices_back_pressure() {
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send_until_stuck().map(drop)
    });
    let mut client = Raw::connect_small(origin.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    origin.wait_for_ends(1);
    assert!(origin.sent_bytes() > 0);
    assert!(origin.sent_bytes() < 64 << 20, "{} bytes", origin.sent_bytes());
}

fn ask_udp(dns: &FakeDns, name: &str, kind: u16) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
    socket.send_to(&query(name, kind), dns.address()).expect("sending");
    let mut packet = [0; 512];
    let length = socket.recv(&mut packet).unwrap_or(0);
    packet[..length].to_vec()
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, kind as u8, 0, 1]);
    packet
}

/// The name server answers each kind of question over UDP and TCP, and counts.
#[test]
fn name_server_answers() {
    let dns = FakeDns::start(&[
        ("a.test", Answer::addresses(&["192.0.2.1", "2001:db8::1"])),
        ("alias.test", Answer::Alias(5, "a.test".into())),
        ("cut.test", Answer::Truncated(5, common::dns::parse(&["192.0.2.2"]))),
        ("mute.test", Answer::Silent),
    ]);
    let plain = ask_udp(&dns, "a.test", A);
    assert_eq!(plain[..4], [0x12, 0x34, 0x81, 0x80]);
    assert_eq!(plain[6..8], [0, 1]);
    assert!(plain.ends_with(&[0, 4, 192, 0, 2, 1]));
    assert!(
        ask_udp(&dns, "A.test", AAAA).ends_with(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    );
    assert_eq!(ask_udp(&dns, "alias.test", A)[6..8], [0, 2]);
    assert_eq!(ask_udp(&dns, "cut.test", A)[2], 0x83);
    assert_eq!(ask_udp(&dns, "none.test", A)[3] & 15, 3);
    assert!(ask_udp(&dns, "mute.test", A).is_empty());
    assert_eq!((dns.count("a.test", A), dns.count("a.test", AAAA)), (1, 1));

    let mut tcp = std::net::TcpStream::connect(dns.address()).expect("a connection");
    let packet = query("cut.test", A);
    tcp.write_all(&[&[0, packet.len() as u8][..], &packet].concat()).expect("sending");
    let mut length = [0; 2];
    tcp.read_exact(&mut length).expect("a length");
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    tcp.read_exact(&mut reply).expect("a reply");
    assert!(reply.ends_with(&[0, 4, 192, 0, 2, 2]));
    assert!(dns.queries().iter().any(|query| query.tcp && query.name == "cut.test"));
}

/// Templates keep every byte that is no place-holder.
#[test]
fn templates_are_filled() {
    assert_eq!(bytes::replace(b"a{o}\xff{o}", b"{o}", b"xy"), b"axy\xffxy");
    assert_eq!(bytes::replace(b"", b"{o}", b"x"), b"");
    assert_eq!(bytes::find(b"abc", b"bc"), Some(1));
}
