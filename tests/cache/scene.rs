//! The daemon with its cache, and an origin that answers by a script and counts what it was asked.

use super::common::{DEADLINE, Head, Origin, Raw, Response, Statistics, Weir};
use rustix::process::Signal;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

/// The answer of an origin to one request.
pub enum Reply {
    /// These bytes, and the next request.
    Bytes(Vec<u8>),
    /// These bytes, and then the end of the connection.
    Last(Vec<u8>),
    /// These bytes, then what the gate lets through, piece by piece, then the next request.
    Slowly(Vec<u8>, Vec<Vec<u8>>, Gate),
}

/// Opens once for each piece that is let through.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Lets `count` more pieces through.
    pub fn open(&self, count: usize) {
        *self.0.0.lock().expect("a gate") += count;
        self.0.1.notify_all();
    }

    /// Waits until it is let through.
    pub fn pass(&self) {
        let open = self.0.0.lock().expect("a gate");
        let (mut open, _) = self.0.1.wait_timeout_while(open, DEADLINE, |open| *open == 0).expect("a gate");
        *open = open.saturating_sub(1);
    }
}

/// A response with a Content-Length; fields are divided by `|`.
pub fn response(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let lines: String =
        fields.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status} Whatever\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A 200.
pub fn ok(fields: &str, body: &str) -> Reply {
    Reply::Bytes(response(200, fields, body))
}

/// A 304.
pub fn unmodified(fields: &str) -> Reply {
    let lines: String =
        fields.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    Reply::Bytes(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n").into_bytes())
}

/// Daemon and origin.
pub struct Scene {
    pub weir: Weir,
    pub origin: Origin,
    client: Mutex<Option<Raw>>,
}

impl Scene {
    /// The script gets each request and how many came before it for the same target.
    pub fn new(script: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> Scene {
        Scene::with(&[], script)
    }

    pub fn with(options: &[&str], script: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> Scene {
        let options: Vec<&str> = ["--cache"].iter().chain(options).copied().collect();
        Scene { weir: Weir::start(&options), origin: origin(script), client: Mutex::new(None) }
    }

    /// Always the same answer.
    pub fn answering(fields: &str, body: &str) -> Scene {
        let bytes = response(200, fields, body);
        Scene::new(move |_, _| Reply::Bytes(bytes.clone()))
    }

    /// Stops the daemon.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) {
        self.weir.signal(signal);
        self.weir.wait_exit();
    }

    /// Starts another one in the place of a stopped one.
    #[track_caller]
    pub fn start(&mut self, options: &[&str]) {
        let options: Vec<&str> = ["--cache"].iter().chain(options).copied().collect();
        self.replace(Weir::start(&options));
    }

    /// Goes on with this one.
    pub fn replace(&mut self, weir: Weir) {
        self.weir = weir;
        self.client = Mutex::new(None);
    }

    /// A request for a path here; fields are divided by `|`.
    pub fn request(&self, method: &str, path: &str, fields: &str) -> Vec<u8> {
        let lines: String =
            fields.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
        self.origin.fill(format!("{method} http://{{o}}{path} HTTP/1.1\r\nHost: {{o}}\r\n{lines}\r\n"))
    }

    /// Sends it on a connection that is kept, and reads the answer.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, fields: &str) -> Response {
        let request = self.request(method, path, fields);
        let mut client = self.client.lock().expect("a client");
        let mut raw = client.take().unwrap_or_else(|| self.weir.connect());
        raw.send(request);
        let response = raw.read_response_to(method);
        if !response.head.lists("connection", "close") {
            *client = Some(raw);
        }
        response
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "")
    }

    #[track_caller]
    pub fn get_with(&self, path: &str, fields: &str) -> Response {
        self.ask("GET", path, fields)
    }

    /// How many requests the origin has had for that path.
    pub fn asked(&self, path: &str) -> usize {
        self.origin.heads().iter().filter(|head| head.target() == path).count()
    }

    /// The last request that the origin has had for that path.
    #[track_caller]
    pub fn last(&self, path: &str) -> Head {
        self.origin.heads().into_iter().rfind(|head| head.target() == path).expect("a request for that path")
    }

    /// Waits until nothing is under way and nothing is lent.
    #[track_caller]
    pub fn at_rest(&self) -> Statistics {
        super::common::eventually("nothing under way and nothing lent", || {
            let now = self.weir.statistics();
            let names = ["exchanges", "tunnels", "blocks_lent", "spilled_bytes"];
            names.iter().all(|name| now.get(name) == 0).then_some(now)
        })
    }

    /// Waits until the origin has had so many requests for that path.
    #[track_caller]
    pub fn wait_asked(&self, path: &str, count: usize) {
        super::common::eventually("the origin is asked", || (self.asked(path) >= count).then_some(()));
    }
}

fn origin(script: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> Origin {
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    Origin::serve(move |conn| {
        while let Some(request) = conn.request()? {
            let number = {
                let mut counts = counts.lock().expect("counts");
                let count = counts.entry(request.head.target().to_owned()).or_insert(0);
                *count += 1;
                *count - 1
            };
            match script(&request.head, number) {
                Reply::Bytes(bytes) => conn.send(bytes)?,
                Reply::Last(bytes) => return conn.send(bytes),
                Reply::Slowly(bytes, pieces, gate) => {
                    conn.send(bytes)?;
                    for piece in pieces {
                        gate.pass();
                        conn.send(piece)?;
                    }
                }
            }
        }
        Ok(())
    })
}

/// The members of Cache-Status, without the name.
#[track_caller]
pub fn status(response: &Response) -> String {
    let line = response.head.get("cache-status").unwrap_or_else(|| panic!("no Cache-Status in {response:?}"));
    line.strip_prefix("weir; ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[track_caller]
pub fn is_hit(response: &Response) -> bool {
    status(response).starts_with("hit")
}
