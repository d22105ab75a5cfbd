//! Origins for the soak: bodies that are told by the path, uploads that are hashed, and a tunnel's other end. Unlike the
//! scripted origins of the other tests they remember nothing, however long they run.

use crate::common::{DEADLINE, Hash, Wire, pattern};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stack of a connection's thread; there are hundreds.
const STACK_BYTES: usize = 256 << 10;

/// Bytes sent at a time.
const PIECE: usize = 32 << 10;

/// Pushing tunnels whose other direction did not arrive whole.
pub static CUT_SHORT: AtomicU64 = AtomicU64::new(0);

/// Where the bytes of a body begin in the endless pattern, so that no two bodies are alike.
pub fn offset_of(seed: u64) -> u64 {
    seed.wrapping_mul(1_000_003) & (u64::MAX >> 1)
}

/// An origin that speaks HTTP.
pub fn start_http() -> SocketAddr {
    start(|stream| serve_http(Wire::new(stream, None)?))
}

/// The far end of tunnels: the first line says what it does.
pub fn start_tunnel() -> SocketAddr {
    start(|stream| serve_tunnel(Wire::new(stream, None)?))
}

fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an origin's port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that ends early ends its thread; what should have come, the client checks.
            let run = move || drop(serve(stream));
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
        }
    });
    address
}

fn serve_http(mut wire: Wire) -> io::Result<()> {
    // An idle connection is for the proxy to end.
    wire.stream().set_read_timeout(Some(6 * DEADLINE))?;
    while let Some(head) = wire.read_head_or_end()? {
        let path: Vec<_> = head.target().split('/').skip(1).map(str::to_owned).collect();
        let number = |at: usize| path.get(at).and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
        let (length, offset) = (number(1), offset_of(number(2)));
        let is_head = head.method() == "HEAD";
        match path[0].as_str() {
            "sink" => {
                if head.lists("expect", "100-continue") {
                    wire.send("HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let mut hash = Hash::new();
                wire.read_body_into(&head, false, &mut |part| hash.update(part))?;
                let text = hash.to_string();
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))?;
            }
            "chunked" => {
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                send_chunks(&mut wire, offset, length)?;
            }
            "close" => {
                wire.send("HTTP/1.1 200 OK\r\n\r\n")?;
                return send_plain(&mut wire, offset, length, Duration::ZERO);
            }
            form @ ("shared" | "shared-chunked") => {
                let tag = format!("\"{}\"", number(2));
                let fields = format!("ETag: {tag}\r\nCache-Control: max-age=2\r\n");
                if head.get("if-none-match") == Some(&tag) {
                    wire.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))?;
                } else if form == "shared" {
                    wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"))?;
                    send_plain(&mut wire, offset, length, Duration::ZERO)?;
                } else {
                    wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"))?;
                    send_chunks(&mut wire, offset, length)?;
                }
            }
            "reset" => {
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
                send_plain(&mut wire, offset, length / 2, Duration::ZERO)?;
                wire.reset();
                return Ok(());
            }
            form => {
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
                let pause = Duration::from_millis(if form == "trickle" { 15 } else { 0 });
                send_plain(&mut wire, offset, if is_head { 0 } else { length }, pause)?;
            }
        }
    }
    Ok(())
}

/// In pieces of a tenth where it pauses between them.
fn send_plain(wire: &mut Wire, offset: u64, length: u64, pause: Duration) -> io::Result<()> {
    let piece = if pause.is_zero() { PIECE as u64 } else { length / 10 + 1 };
    let mut sent = 0;
    while sent < length {
        let take = (length - sent).min(piece);
        wire.send(pattern(offset + sent, take as usize))?;
        sent += take;
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Chunks of many sizes.
fn send_chunks(wire: &mut Wire, offset: u64, length: u64) -> io::Result<()> {
    let (mut sent, mut size) = (0, 1);
    while sent < length {
        let take = (length - sent).min(size);
        let bytes = pattern(offset + sent, take as usize);
        wire.send([format!("{take:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat())?;
        sent += take;
        size = (size * 7 + 3) % PIECE as u64 + 1;
    }
    wire.send("0\r\n\r\n")
}

/// `echo`: sends back what comes, and after the end `end BYTES:HASH`. `push N SEED`: sends a body and a FIN, and takes
/// `done` in the other direction.
fn serve_tunnel(mut wire: Wire) -> io::Result<()> {
    let line = String::from_utf8_lossy(&wire.read_until(b"\n")?).trim_end().to_owned();
    let words: Vec<_> = line.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    if words[0] == "push" {
        send_plain(&mut wire, offset_of(number(2)), number(1), Duration::ZERO)?;
        wire.half_close()?;
        if wire.read_to_end().ok().as_deref() != Some(b"done") {
            CUT_SHORT.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    }
    let mut hash = Hash::new();
    loop {
        let bytes = wire.read_some()?;
        if bytes.is_empty() {
            break;
        }
        hash.update(&bytes);
        wire.send(&bytes)?;
    }
    wire.send(format!("end {hash}"))?;
    wire.half_close()
}
