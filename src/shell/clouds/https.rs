//! Requests over HTTPS, by `ureq` and rustls. No redirect is followed and no proxy of the environment is used. Mozilla's list
//! of public authorities is compiled in, so no file with certificates is needed.

use super::fetch::{Ask, Reply, Transport};
use std::time::{Duration, Instant, SystemTime};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// Longest head of an answer in bytes (chosen: several times what providers send).
const HEAD_BYTES_MAX: usize = 32 << 10;

pub struct Https {
    agent: Agent,
    began: Instant,
}

impl Https {
    /// A transport that trusts these certificates in PEM; `None` for the public authorities.
    pub fn new(roots_pem: Option<&[u8]>) -> Result<Https, String> {
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
        Ok(Https { agent: config.build().into(), began: Instant::now() })
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
        std::thread::sleep(time);
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn today(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs() / 86_400)
    }
}
