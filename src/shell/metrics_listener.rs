//! The listener for monitoring systems (`metrics`): the numbers as text, and whether the proxy is alive and ready, over the
//! part of HTTP that this needs. Each connection is for one request (RFC 9112 section 9.6).

use super::health::Health;
use super::visits::{self, Timed};
use crate::metrics::Form;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may last in all (chosen: below the time-outs of monitoring systems, mostly 10 s).
const VISIT_WITHIN: Duration = Duration::from_secs(5);

/// Longest head of a request (chosen: several times what monitoring systems send).
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Connections that wait to be taken (chosen).
const BACKLOG: i32 = 64;

/// A socket that listens for monitoring systems.
#[derive(Debug)]
pub struct MetricsListener {
    socket: Socket,
    address: SocketAddr,
}

impl MetricsListener {
    /// Listens on an address; port 0 takes any free one.
    pub fn bind(address: SocketAddr) -> io::Result<MetricsListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(MetricsListener { socket, address })
    }

    /// The address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts threads that answer until the process ends. `look` is called for each request.
    pub fn serve(
        self,
        version: &'static str,
        look: impl Fn() -> Health + Send + Sync + 'static,
    ) -> io::Result<()> {
        let look = Arc::new(look);
        visits::serve("weir-metrics", self.socket, move |socket| visit(socket, version, &*look))
    }
}

/// Answers one request. A client that is too slow, or has closed, gets no answer.
fn visit(socket: &Socket, version: &str, look: &dyn Fn() -> Health) {
    let mut timed = Timed::new(socket, VISIT_WITHIN);
    let Ok(head) = timed.read_until(HEAD_BYTES_MAX, |bytes| head_end(bytes).is_some()) else { return };
    let answer = match head.as_deref().map(Request::read) {
        None => Answer::text("431 Request Header Fields Too Large", "the head is too large, or incomplete\n"),
        Some(None) => Answer::text("400 Bad Request", "expected a request of HTTP/1\n"),
        Some(Some(request)) => request.answer(version, look),
    };
    if timed.write_all(&answer.written()).is_ok() {
        timed.finish();
    }
}

/// Behind the empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n")
}

/// The parts of a request that are needed.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    method: &'a str,
    /// Without the query.
    path: &'a str,
    form: Form,
}

impl<'a> Request<'a> {
    fn read(bytes: &'a [u8]) -> Option<Request<'a>> {
        let head = head_end(bytes).and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
        let mut lines = head?.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (method, target, version, words.next())
        else {
            return None;
        };
        let accept: Vec<&str> = lines
            .filter_map(|line| line.split_once(':'))
            .filter_map(|(name, value)| name.eq_ignore_ascii_case("accept").then_some(value))
            .collect();
        // The absolute form names this server, too (RFC 9112 section 3.2.2).
        let target = match target.split_at_checked("http://".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => {
                rest.find(['/', '?']).map_or("/", |at| &rest[at..])
            }
            Some(_) | None => target,
        };
        let path = target.split('?').next().unwrap_or_default();
        Some(Request { method, path, form: Form::wanted(&accept.join(",")) })
    }

    fn answer(&self, version: &str, look: &dyn Fn() -> Health) -> Answer {
        if !["/metrics", "/healthz", "/readyz"].contains(&self.path) {
            return Answer::text("404 Not Found", "expected /metrics, /healthz or /readyz\n").to(self.method);
        }
        if !["GET", "HEAD"].contains(&self.method) {
            return Answer::text("405 Method Not Allowed", "expected GET or HEAD\n");
        }
        let Health { snapshot, alive, ready } = look();
        let answer = match (self.path, alive, ready) {
            ("/metrics", _, _) => Answer {
                status: "200 OK",
                media_type: self.form.media_type(),
                body: snapshot.exposition(self.form, version),
                sends_body: true,
            },
            ("/healthz", true, _) | ("/readyz", true, true) => Answer::text("200 OK", "ok\n"),
            (_, false, _) => Answer::text("503 Service Unavailable", "a loop does not turn\n"),
            (_, true, _) => Answer::text("503 Service Unavailable", "starting or stopping\n"),
        };
        answer.to(self.method)
    }
}

struct Answer {
    status: &'static str,
    media_type: &'static str,
    body: String,
    sends_body: bool,
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Answer {
        let media_type = "text/plain; charset=utf-8";
        Answer { status, media_type, body: body.to_owned(), sends_body: true }
    }

    /// HEAD is answered with the head alone (RFC 9110 section 9.3.2).
    fn to(self, method: &str) -> Answer {
        Answer { sends_body: method != "HEAD", ..self }
    }

    fn written(&self) -> Vec<u8> {
        let Answer { status, media_type, body, sends_body } = self;
        // RFC 9110 section 10.2.1: 405 names what is allowed.
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let sent = if *sends_body { body } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nVary: Accept\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n{sent}",
            body.len()
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Snapshot;

    fn answered(request: &str, alive: bool, ready: bool) -> String {
        let look = || Health { snapshot: Snapshot::default(), alive, ready };
        let request = Request::read(request.as_bytes()).expect("a request");
        String::from_utf8(request.answer("1", &look).written()).unwrap()
    }

    #[test]
    fn paths_and_methods() {
        for (line, alive, ready, status, body) in [
            ("GET /healthz", true, false, "200 ", "\r\n\r\nok\n"),
            ("GET /healthz", false, true, "503 ", "\r\n\r\na loop does not turn\n"),
            ("GET /readyz", true, true, "200 ", "\r\n\r\nok\n"),
            ("GET /readyz", true, false, "503 ", "\r\n\r\nstarting or stopping\n"),
            ("GET /readyz", false, true, "503 ", "\r\n\r\na loop does not turn\n"),
            ("GET /metrics?a=b", false, false, "200 ", "\n# EOF\n"),
            ("HEAD /metrics", true, true, "200 ", "\r\n\r\n"),
            ("HEAD /nothing", true, true, "404 ", "\r\n\r\n"),
            ("GET /", true, true, "404 ", "\r\n\r\nexpected /metrics, /healthz or /readyz\n"),
            ("POST /nothing", true, true, "404 ", "expected /metrics, /healthz or /readyz\n"),
            ("POST /metrics", true, true, "405 ", "\r\n\r\nexpected GET or HEAD\n"),
            ("get /metrics", true, true, "405 ", "\r\n\r\nexpected GET or HEAD\n"),
        ] {
            let answer = answered(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), alive, ready);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
            assert!(answer.ends_with(body), "{line}: {answer}");
            assert_eq!(answer.contains("\r\nAllow: GET, HEAD\r\n"), status == "405 ", "{line}: {answer}");
        }
    }

    #[test]
    fn the_length_of_an_answer_to_head_is_that_to_get() {
        let [get, head] = ["GET", "HEAD"]
            .map(|method| answered(&format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), true, true));
        assert!(get.starts_with(&head) && get.len() > head.len(), "{head}");
    }

    #[test]
    fn accept_is_read_from_every_field() {
        let read = |fields: &str| {
            let head = format!("GET /metrics HTTP/1.0\r\n{fields}\r\n");
            Request::read(head.as_bytes()).map(|request| request.form)
        };
        assert_eq!(read(""), Some(Form::OpenMetrics));
        assert_eq!(read("ACCEPT:text/plain\r\n"), Some(Form::Classic));
        assert_eq!(
            read("Accept: text/plain\r\naccept: application/openmetrics-text\r\n"),
            Some(Form::OpenMetrics)
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in [
            "GET /metrics\r\n\r\n",
            "GET  /metrics HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/2.0\r\n\r\n",
            "GET /metrics HTTP/1.1 x\r\n\r\n",
            "\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n",
        ] {
            assert!(Request::read(head.as_bytes()).is_none(), "{head:?}");
        }
        assert!(Request::read(b"GET /\xff HTTP/1.1\r\n\r\n").is_none());
    }
}
