//! Where messages end: fields that say so, and whole connections whose every byte has to find its message.

use std::net::IpAddr;

use weir::http::fault::Fault;
use weir::http::forwarding::{
    ForwardedPolicy, RequestRoute, ResponseRoute, route_target, write_request, write_response,
};
use weir::http::framing::{Body, request_body, response_body};
use weir::http::h1::decode::Decoder;
use weir::http::h1::encode::{LAST_CHUNK, chunk_header};
use weir::http::head::{Limits, Message, RequestHead, ResponseHead, Scanner, Version};
use weir::http::repair::repair_response;
use weir::http::target::Target;

use super::pieces::{options, shown, ways};
use super::reference;

/// Any bytes as the field lines of a request and of a response, where the framing is judged; the first byte chooses
/// method and version.
pub fn request_framing(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let method = ["POST", "GET", "CONNECT"][usize::from(options & 3) % 3];
    let minor = options >> 2 & 1 ^ 1;
    let mut head = format!("{method} / HTTP/1.{minor}\r\n").into_bytes();
    head.extend_from_slice(bytes);
    head.extend_from_slice(b"\r\n\r\n");
    let Some(((_, fields), _)) = reference::head(&head) else { return };
    let mut storage = Message::new();
    let Ok(parsed) = RequestHead::parse(&head, &mut storage, &Limits::default()) else { return };
    let found = request_body(&parsed);
    let expected = reference::framing(minor, &fields);
    let agree = match (found, expected) {
        // The bytes that follow belong to the tunnel.
        (Ok(Body::None), _) if method == "CONNECT" => true,
        (Ok(Body::None), Some(reference::Framing::None)) | (Err(_), None) => true,
        (Ok(Body::Length(found)), Some(reference::Framing::Length(length))) => found == length,
        (Ok(Body::Chunked), Some(reference::Framing::Chunked)) => true,
        _ => false,
    };
    assert!(agree, "{found:?}, expected {expected:?}: {}", shown(&head));
    // A response with the same fields may be read although a request may not.
    let start = format!("HTTP/1.{minor} 200 OK\r\n").into_bytes();
    let line_end = head.windows(2).position(|pair| pair == b"\r\n").expect("was written above") + 2;
    let head = [&start, &head[line_end..]].concat();
    let mut storage = Message::new();
    let parsed = ResponseHead::parse(&head, &mut storage, &Limits::default()).expect("the same fields");
    let expected = reference::response_framing(minor, &fields).map(|framing| match framing {
        reference::Framing::None => Body::UntilClose,
        reference::Framing::Length(length) => Body::Length(length),
        reference::Framing::Chunked => Body::Chunked,
    });
    assert_eq!(response_body("GET", &parsed).ok(), expected, "{}", shown(&head));
    assert_eq!(response_body("HEAD", &parsed), Ok(Body::None));
}

/// How the next bytes are read.
enum State {
    Head(Scanner),
    Length(u64),
    Chunked(Box<Decoder>),
    UntilClose,
    /// Nothing more is read: a fault, or a tunnel.
    Over(&'static str),
}

/// The messages of one connection, as they would be forwarded.
#[derive(Debug, PartialEq, Eq)]
struct Carried {
    heads: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    end: &'static str,
}

/// Reads the head and says how it goes on, or that it ends here.
type ReadHead = dyn Fn(&[u8], usize) -> Result<(Vec<u8>, Body), &'static str>;
type Scan = fn(&mut Scanner, &[u8], &Limits) -> Result<Option<usize>, Fault>;

/// Whose messages they are.
#[derive(Clone, Copy)]
struct Side {
    scan: Scan,
    decoder: fn() -> Decoder,
}

const CLIENT: Side = Side { scan: Scanner::scan_request, decoder: Decoder::new };
const ORIGIN: Side = Side { scan: Scanner::scan_response, decoder: Decoder::of_response };

/// Carries all bytes, which come in these pieces.
fn carry(bytes: &[u8], pieces: &[usize], side: Side, read_head: &ReadHead) -> Carried {
    let mut carried = Carried { heads: Vec::new(), bodies: Vec::new(), end: "" };
    let mut state = State::Head(Scanner::default());
    let (mut buffer, mut start) = (Vec::new(), 0);
    let mut body = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(&bytes[start..start + piece]);
        start += piece;
        loop {
            let done = match &mut state {
                State::Head(scanner) => match (side.scan)(scanner, &buffer, &Limits::default()) {
                    Ok(None) => break,
                    Err(_) => {
                        state = State::Over("fault");
                        break;
                    }
                    Ok(Some(len)) => {
                        let (head, framing) = match read_head(&buffer[..len], carried.heads.len()) {
                            Ok(read) => read,
                            Err(why) => {
                                state = State::Over(why);
                                break;
                            }
                        };
                        buffer.drain(..len);
                        carried.heads.push(head);
                        state = match framing {
                            Body::None => State::Length(0),
                            Body::Length(length) => State::Length(length),
                            Body::Chunked => State::Chunked(Box::new((side.decoder)())),
                            Body::UntilClose => State::UntilClose,
                        };
                        continue;
                    }
                },
                State::Length(left) => {
                    let taken = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    body.extend(buffer.drain(..taken));
                    *left -= taken as u64;
                    *left == 0
                }
                State::Chunked(decoder) => match decoder.decode(&mut buffer) {
                    Err(_) => {
                        state = State::Over("fault");
                        break;
                    }
                    Ok(decoded) => {
                        body.extend_from_slice(&buffer[..decoded.payload]);
                        buffer.drain(..decoded.consumed);
                        decoded.finished
                    }
                },
                State::UntilClose => {
                    body.append(&mut buffer);
                    break;
                }
                State::Over(_) => break,
            };
            if !done {
                break;
            }
            carried.bodies.push(std::mem::take(&mut body));
            state = State::Head(Scanner::default());
        }
    }
    carried.end = match state {
        State::Head(_) if buffer.is_empty() => "between",
        State::Head(_) => "in a head",
        State::Length(_) | State::Chunked(_) => "in a body",
        State::UntilClose => {
            carried.bodies.push(body);
            "until close"
        }
        State::Over(why) => why,
    };
    if carried.end != "fault" {
        return carried;
    }
    // The whole connection is given up: how much of the message at fault had been read depends on the pieces.
    carried.heads.truncate(carried.bodies.len());
    carried
}

/// The same in every way of arriving.
fn carry_all_ways(bytes: &[u8], side: Side, read_head: &ReadHead) -> Carried {
    let [whole, others @ ..] = ways(bytes);
    let carried = carry(bytes, &whole, side, read_head);
    for pieces in others {
        assert_eq!(carry(bytes, &pieces, side, read_head), carried, "in pieces: {}", shown(bytes));
    }
    carried
}

/// The message with its body as another hop would send it.
fn sent(head: &[u8], body: &[u8]) -> Vec<u8> {
    let ((_, fields), _) = reference::head(head).unwrap_or_else(|| panic!("unreadable: {}", shown(head)));
    if reference::values(&fields, "transfer-encoding").is_empty() {
        return [head, body].concat();
    }
    let mut out = head.to_vec();
    for chunk in body.chunks(5) {
        let (header, len) = chunk_header(chunk.len());
        out.extend_from_slice(&header[..len]);
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// Any bytes as all that a client sends on one connection: the origin must see the same requests, and only those.
pub fn request_stream(bytes: &[u8]) {
    let carried = carry_all_ways(bytes, CLIENT, &read_request);
    let pairs = || carried.heads.iter().zip(&carried.bodies);
    let out: Vec<u8> = pairs().flat_map(|(head, body)| sent(head, body)).collect();
    let seen = reference::requests(&out).unwrap_or_else(|| panic!("unreadable: {}", shown(&out)));
    assert_eq!(seen.len(), carried.bodies.len(), "{}", shown(&out));
    for (request, (head, body)) in seen.iter().zip(pairs()) {
        assert_eq!(request.body, *body, "{}", shown(&out));
        let ((line, fields), _) = reference::head(head).expect("was read above");
        assert_eq!(request.line, line);
        assert_eq!(reference::values(&fields, "host"), [&request.host[..]]);
    }
}

fn read_request(bytes: &[u8], _: usize) -> Result<(Vec<u8>, Body), &'static str> {
    let mut storage = Message::new();
    let head = RequestHead::parse(bytes, &mut storage, &Limits::default()).map_err(|_| "fault")?;
    let target = Target::parse(head.method, head.target, false).map_err(|_| "fault")?;
    let authority = route_target(&head, &target).map_err(|_| "fault")?;
    let body = request_body(&head).map_err(|_| "fault")?;
    let (Some(authority), Target::Absolute { path, .. } | Target::Origin { path }) = (authority, target)
    else {
        return Err("a tunnel, or for the proxy itself");
    };
    let route = RequestRoute {
        asked: None,
        authority: &authority,
        path,
        body,
        upgrade: false,
        expects: true,
        max_forwards: None,
        via: Some("weir"),
        forwarded: ForwardedPolicy::Append,
        client: IpAddr::from([192, 0, 2, 1]),
        edits: &(),
    };
    let mut out = Vec::new();
    write_request(&mut out, &head, &route);
    Ok((out, body))
}

/// Any bytes as all that an origin sends on one connection; the first byte chooses the methods that were asked with.
pub fn response_stream(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let methods = move |at: usize| ["GET", "HEAD", "POST"][(usize::from(options) >> (at % 4)) % 3];
    let carried = carry_all_ways(bytes, ORIGIN, &move |head, at| read_response(head, methods(at)));
    for (at, (head, body)) in carried.heads.iter().zip(&carried.bodies).enumerate() {
        let out = sent(head, body);
        let ((line, fields), rest) = reference::head(&out).expect("a head");
        let (_, status, _) = reference::status_line(&line).expect("a status line");
        let bodiless = methods(at) == "HEAD" || status < 200 || [204, 304].contains(&status);
        if bodiless {
            assert_eq!(*body, b"");
            continue;
        }
        match reference::framing(1, &fields).expect("one framing") {
            reference::Framing::Length(length) => assert_eq!(length, rest.len() as u64),
            reference::Framing::Chunked => {
                let chunked = reference::Chunked::Complete(body.clone(), Vec::new(), rest.len());
                assert_eq!(reference::chunked(rest, true), chunked);
            }
            reference::Framing::None => panic!("no end: {}", shown(&out)),
        }
    }
}

fn read_response(bytes: &[u8], method: &str) -> Result<(Vec<u8>, Body), &'static str> {
    let mut bytes = bytes.to_vec();
    repair_response(&mut bytes);
    let mut storage = Message::new();
    let head = ResponseHead::parse(&bytes, &mut storage, &Limits::default()).map_err(|_| "fault")?;
    let body = response_body(method, &head).map_err(|_| "fault")?;
    let route = ResponseRoute {
        body: if body == Body::UntilClose { Body::Chunked } else { body },
        client_version: Version::Http11,
        keep_alive: true,
        upgrade: false,
        via: Some("weir"),
        date: None,
        edits: &(),
    };
    let mut out = Vec::new();
    write_response(&mut out, &head, &route);
    Ok((out, body))
}
