//! The listener for monitoring systems (`--metrics`): bound while there are rights, and served from before the proxy is built, so
//! that a start that takes long can be seen from outside.

use super::report::fail;
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir::config::{Settings, exit};
use weir::embed::{Control, Health, MetricsListener};

/// How long the loops may take to say how it is (chosen: many turns of a busy one, and short beside the time-outs of who asks).
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A listener that is not served yet, if there is to be one.
pub struct Monitoring(Option<MetricsListener>);

/// What is told of the proxy, once there is one.
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
        eprintln!("weir: metrics on http://{address}/metrics");
        Ok(Monitored(control))
    }
}

impl Monitored {
    /// The proxy is there.
    pub fn begin(&self, control: &Control) {
        let _ = self.0.set(control.clone());
    }
}
