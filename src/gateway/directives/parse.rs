//! Reads the gateway file. All faulty lines are reported at once, each with its first error.

use super::Directives;
use super::route::{read_route, takes_host};
use crate::nearest::{hint, nearest};
use crate::words::{Problem, Words, read_lines, shown};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Most routes (chosen).
const ROUTES_MAX: usize = 4096;

/// Most upstreams of all routes together: each has numbers of its own in the metrics, and may have checks (chosen).
const ALL_UPSTREAMS_MAX: usize = 4096;

/// Most listeners (chosen).
const LISTEN_MAX: usize = 64;

/// The form of a route.
pub const ROUTE_FORM: &str = "HOST[:PORT]PREFIX -> UPSTREAM[:PORT] [weight N] [backup] ... [round-robin|least|hash-client] \
     [health METHOD PATH every DURATION [timeout DURATION] [rise N] [fall N] [status N-N,...]] [host keep|rewrite] \
     [strip PREFIX] [down-after N in DURATION for DURATION|never] [fail-on connect,reset,timeout,502,503,504] \
     [retries N] [slow-start DURATION|off]";

/// The directives that are no routes, and their forms.
pub const DIRECTIVES: [(&str, &str); 2] =
    [("listen", "listen ADDRESS:PORT,..."), ("underscores", "underscores drop|allow")];

/// The lines read so far.
#[derive(Default)]
struct Draft {
    directives: Directives,
    /// Lines that may occur only once, with their line numbers.
    seen: BTreeMap<String, u32>,
    line: u32,
}

impl Draft {
    fn once(&mut self, what: String) -> Result<(), String> {
        match self.seen.get(&what) {
            Some(earlier) => Err(format!("{what} again: expected once, and line {earlier} has it")),
            None => {
                self.seen.insert(what, self.line);
                Ok(())
            }
        }
    }

    fn upstreams(&self) -> usize {
        self.directives.routes.iter().map(|route| route.upstreams.len()).sum()
    }
}

/// Reads a gateway file: LF or CRLF, with or without a byte order mark.
pub fn parse(content: &[u8]) -> Result<Directives, Vec<Problem>> {
    let mut draft = Draft::default();
    let mut problems = read_lines("gateway", content, |line, text| {
        draft.line = line;
        read_line(&mut draft, text)
    })?;
    if draft.directives.routes.is_empty() && problems.is_empty() {
        let message = "no route: expected a line such as app.example/ -> 127.0.0.1:9000".to_owned();
        problems.push(Problem { line: 0, message });
    }
    if problems.is_empty() { Ok(draft.directives) } else { Err(problems) }
}

fn read_line(draft: &mut Draft, line: &[u8]) -> Result<(), String> {
    let mut words = Words::of(line)?;
    let Some(first) = words.peek().cloned() else { return Ok(()) };
    if words.accept("listen") {
        return listen(draft, &mut words).map_err(|message| format!("listen: {message}"));
    }
    if words.accept("underscores") {
        return underscores(draft, &mut words).map_err(|message| format!("underscores: {message}"));
    }
    if !takes_host(&first.text) {
        let near = nearest(&first.text, DIRECTIVES.iter().map(|(name, _)| *name));
        let hint = hint(near);
        return Err(format!(
            "unknown directive {}: expected a route such as app.example/api/ -> 127.0.0.1:9000, listen, or underscores{hint}",
            shown(&first.text)
        ));
    }
    let route = read_route(&mut words, draft.line)?;
    draft.once(route.name.to_string())?;
    if draft.directives.routes.len() >= ROUTES_MAX {
        return Err(format!("expected at most {ROUTES_MAX} routes"));
    }
    if draft.upstreams() + route.upstreams.len() > ALL_UPSTREAMS_MAX {
        return Err(format!("expected at most {ALL_UPSTREAMS_MAX} upstreams in all"));
    }
    draft.directives.routes.push(route);
    Ok(())
}

fn listen(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let expected = "an address with a port, such as 127.0.0.1:8080 or [::1]:8080";
    for text in words.list(expected)? {
        let address: SocketAddr =
            text.parse().map_err(|_| format!("expected {expected}, found {}", shown(&text)))?;
        draft.once(format!("listen {address}"))?;
        if draft.directives.listen.len() >= LISTEN_MAX {
            return Err(format!("expected at most {LISTEN_MAX} addresses"));
        }
        draft.directives.listen.push(address);
    }
    words.end()
}

fn underscores(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    draft.once("underscores".into())?;
    draft.directives.allows_underscores = words.accept("allow");
    if !draft.directives.allows_underscores && !words.accept("drop") {
        return Err(words.unexpected("drop or allow"));
    }
    words.end()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
