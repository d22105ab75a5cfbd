//! The cost of a head: finding its end, parsing it, and writing the forwarded head.
//!
//! `cargo bench --bench head`

use std::net::IpAddr;

use divan::{Bencher, black_box};
use weir::http::forwarding::{
    ForwardedPolicy, RequestRoute, ResponseRoute, route_target, wants_keep_alive, write_request,
    write_response,
};
use weir::http::framing::{Body, request_body, response_body};
use weir::http::h1::decode::Decoder;
use weir::http::head::{Limits, Message, RequestHead, Scanner, Version};
use weir::http::target::Target;

const MINIMAL: &[u8] = b"GET http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n";

const CURL: &[u8] = b"GET http://origin.example/path/to/a/file.html?query=1 HTTP/1.1\r\n\
Host: origin.example\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\nProxy-Connection: Keep-Alive\r\n\
X-One: 0123456789012345678901234567890123456789\r\nX-Two: 0123456789012345678901234567890123456789\r\n\
X-Three: 0123456789\r\n\r\n";

const BROWSER: &[u8] =
    b"GET http://www.example.com/articles/2024/some-long-title?utm_source=sender HTTP/1.1\r\n\
Host: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
Accept-Encoding: gzip, deflate\r\n\
Referer: http://www.example.com/articles/\r\n\
Connection: keep-alive\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Priority: u=0, i\r\n\r\n";

/// A response as servers send it.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx\r\n\
Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Content-Length: 1024\r\n\
Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"0123456789abcdef\"\r\n\
Cache-Control: max-age=3600\r\n\
Accept-Ranges: bytes\r\n\r\n";

/// Requests, by name.
pub const REQUESTS: [(&str, &[u8]); 3] = [("minimal", MINIMAL), ("curl", CURL), ("browser", BROWSER)];

fn main() {
    divan::main();
}

fn named(name: &str) -> &'static [u8] {
    REQUESTS.iter().find(|(known, _)| *known == name).map_or(MINIMAL, |(_, head)| head)
}

fn names() -> impl Iterator<Item = &'static str> {
    REQUESTS.iter().map(|(name, _)| *name)
}

#[divan::bench(args = names())]
fn scan(bencher: Bencher<'_, '_>, name: &str) {
    let (head, limits) = (named(name), Limits::default());
    bencher.bench(|| Scanner::default().scan_request(black_box(head), &limits));
}

#[divan::bench(args = names())]
fn parse(bencher: Bencher<'_, '_>, name: &str) {
    let (head, limits) = (named(name), Limits::default());
    let mut message = Message::new();
    bencher.bench_local(|| {
        RequestHead::parse(black_box(head), &mut message, &limits).map(|head| head.fields.len())
    });
}

#[divan::bench(args = names())]
fn target_and_framing(bencher: Bencher<'_, '_>, name: &str) {
    let (head, limits) = (named(name), Limits::default());
    let mut storage = Message::new();
    let head = RequestHead::parse(head, &mut storage, &limits).expect("a valid head");
    bencher.bench(|| {
        let head = black_box(&head);
        let target = Target::parse(head.method, head.target, false);
        let authority = target.and_then(|target| route_target(head, &target));
        (authority.is_ok(), request_body(head), wants_keep_alive(head.version, head.fields))
    });
}

fn route<'a>(path: &'a [u8], target: &'a Target<'_>) -> Option<RequestRoute<'a>> {
    let Target::Absolute { authority, .. } = target else { return None };
    Some(RequestRoute {
        asked: None,
        authority,
        path,
        body: Body::None,
        upgrade: false,
        expects: true,
        max_forwards: None,
        via: Some("weir"),
        forwarded: ForwardedPolicy::Off,
        client: IpAddr::from([192, 0, 2, 1]),
        edits: &(),
    })
}

#[divan::bench(args = names())]
fn write(bencher: Bencher<'_, '_>, name: &str) {
    let (head, limits) = (named(name), Limits::default());
    let mut storage = Message::new();
    let head = RequestHead::parse(head, &mut storage, &limits).expect("a valid head");
    let target = Target::parse(head.method, head.target, false).expect("a valid target");
    let route = route(b"/path", &target).expect("absolute-form");
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        write_request(&mut out, black_box(&head), &route);
        out.len()
    });
}

/// All of it, as for each request on a persistent connection.
pub fn forward(bytes: &[u8], limits: &Limits, message: &mut Message, out: &mut Vec<u8>) -> Option<usize> {
    out.clear();
    let len = message.receive_request(&mut Scanner::default(), bytes, limits).ok()??;
    let head = message.read_request(&bytes[..len], limits).ok()?;
    let target = Target::parse(head.method, head.target, false).ok()?;
    route_target(&head, &target).ok()?;
    let body = request_body(&head).ok()?;
    let Target::Absolute { path, .. } = target else { return None };
    write_request(out, &head, &RequestRoute { body, ..route(path, &target)? });
    Some(out.len())
}

/// The same for a response.
pub fn forward_response(
    bytes: &[u8],
    limits: &Limits,
    message: &mut Message,
    out: &mut Vec<u8>,
) -> Option<usize> {
    out.clear();
    let len = message.receive_response(&mut Scanner::default(), bytes, limits).ok()??;
    let head = message.read_response(&bytes[..len], limits).ok()?;
    let route = ResponseRoute {
        body: response_body("GET", &head).ok()?,
        client_version: Version::Http11,
        keep_alive: true,
        upgrade: false,
        via: Some("weir"),
        date: None,
        edits: &(),
    };
    write_response(out, &head, &route);
    Some(out.len())
}

/// Chunks of that size, a 4 KB block of them.
pub fn chunks(bytes: usize) -> Vec<u8> {
    format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes)).repeat(4096 / (bytes + 7)).into_bytes()
}

#[divan::bench(args = names())]
fn whole(bencher: Bencher<'_, '_>, name: &str) {
    let (bytes, limits) = (named(name), Limits::default());
    let (mut message, mut out) = (Message::new(), Vec::with_capacity(4096));
    bencher.bench_local(|| forward(black_box(bytes), &limits, &mut message, &mut out));
}

#[divan::bench]
fn whole_response(bencher: Bencher<'_, '_>) {
    let limits = Limits::default();
    let (mut message, mut out) = (Message::new(), Vec::with_capacity(4096));
    bencher.bench_local(|| forward_response(black_box(RESPONSE), &limits, &mut message, &mut out));
}

/// One 4 KB block that holds chunks of the given size.
#[divan::bench(args = [16, 256, 4000])]
fn decode_block(bencher: Bencher<'_, '_>, chunk: usize) {
    let coding = chunks(chunk);
    bencher.with_inputs(|| coding.clone()).bench_local_refs(|block| Decoder::new().decode(block));
}
