//! Requests over HTTPS, by `ureq` and rustls. No redirect is followed and no proxy of the environment is used. Mozilla's list
//! of public authorities is compiled in, so no file with certificates is needed.

use super::fetch::{Ask, Reply, Transport};
use crate::shell::clock::unix_now;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// Longest head of an answer in bytes (chosen: several times what providers send).
const HEAD_BYTES_MAX: usize = 32 << 10;

pub struct Https {
    agent: Agent,
    began: Instant,
    ending: Arc<Ending>,
}

/// The end of all fetching, which another thread orders: requests under way are cut, and new ones fail.
#[derive(Debug, Default)]
pub struct Ending {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// Makes the requests of the present fetch.
    agent: Option<Agent>,
}

impl Ending {
    /// Cuts the request under way, and ends every wait. Looking up a name and connecting are not cut: the time-out of the
    /// request ends them.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        if let Some(agent) = state.agent.take() {
            agent.shutdown();
        }
        self.ended.notify_all();
    }

    /// Whether the end was ordered.
    pub fn has_come(&self) -> bool {
        self.lock().ended
    }

    /// Cuts the requests of this agent at the end, too.
    fn cover(&self, agent: &Agent) {
        let mut state = self.lock();
        if state.ended {
            agent.clone().shutdown();
        } else {
            state.agent = Some(agent.clone());
        }
    }

    /// Lets time pass, until the end at most.
    fn wait(&self, time: Duration) {
        drop(self.ended.wait_timeout_while(self.lock(), time, |state| !state.ended));
    }

    /// No code that holds the lock can leave the value half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Https {
    /// A transport that trusts these certificates in PEM; `None` for the public authorities.
    pub fn new(roots_pem: Option<&[u8]>, ending: &Arc<Ending>) -> Result<Https, String> {
        let roots = match roots_pem {
            None => RootCerts::WebPki,
            Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(0)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        let agent: Agent = config.build().into();
        ending.cover(&agent);
        Ok(Https { agent, began: Instant::now(), ending: Arc::clone(ending) })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item.map_err(|error| error.to_string())? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => return Err("expected certificates and nothing else".to_owned()),
        }
    }
    Ok(certificates)
}

impl Transport for Https {
    fn get(&mut self, ask: &Ask<'_>) -> Result<Reply, String> {
        let request = self.agent.get(ask.url).config().timeout_global(Some(ask.within)).build();
        let request = match ask.etag {
            Some(etag) => request.header("If-None-Match", etag),
            None => request,
        };
        let told = |error: Error| format!("{}: {error}", ask.url);
        let mut response = request.call().map_err(told)?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body = response.body_mut().with_config().limit(ask.bytes_max as u64).read_to_vec();
        Ok(Reply { status: response.status().as_u16(), etag, body: body.map_err(told)? })
    }

    fn wait(&mut self, time: Duration) {
        self.ending.wait(time);
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn today(&self) -> u64 {
        unix_now().as_secs() / 86_400
    }
}
