//! The listener for monitoring systems (`--metrics`): bound before rights are given up, and served before the proxy is built, so that a
//! long start can be seen from outside.

use super::report::{fail, say};
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir::config::{Settings, exit};
use weir::embed::{Control, Health, MetricsListener};

/// How long the loops may take to report their numbers (chosen: many turns of a busy loop, and short beside the time-outs of monitoring
/// systems).
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A listener that is not served yet, if `--metrics` is set.
pub struct Monitoring(Option<MetricsListener>);

/// The source of the answers, once the proxy exists.
pub struct Monitored(Arc<OnceLock<Control>>);

impl Monitoring {
    /// Fails with the exit code.
    pub fn listen(settings: &Settings) -> Result<Monitoring, u8> {
        let Some(wanted) = &settings.metrics else { return Ok(Monitoring(None)) };
        let listener = MetricsListener::bind(wanted.value).map_err(|error| {
            let code = match error.kind() {
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::UNAVAILABLE,
                _ => exit::OS_ERROR,
            };
            fail(&format!("metrics: cannot listen on {}: {error}", wanted.value), code)
        })?;
        Ok(Monitoring(Some(listener)))
    }

    /// Begins to answer: the process lives, but is not ready.
    pub fn serve(self) -> io::Result<Monitored> {
        let control = Arc::new(OnceLock::<Control>::new());
        let Some(listener) = self.0 else { return Ok(Monitored(control)) };
        let (known, address) = (Arc::clone(&control), listener.address());
        listener.serve(env!("CARGO_PKG_VERSION"), move || match known.get() {
            Some(control) => control.health(TOLD_WITHIN),
            None => Health { alive: true, ..Health::default() },
        })?;
        say(&format!("weir: metrics on http://{address}/metrics"));
        Ok(Monitored(control))
    }
}

impl Monitored {
    /// Answers for this proxy from now on.
    pub fn begin(&self, control: &Control) {
        let _ = self.0.set(control.clone());
    }
}
