//! Commands of operators for the gateway, carried out on the state of its upstreams.

use super::control::Control;
use crate::gateway::command::{COLUMNS, Command};
use crate::gateway::rules::Gateway;
use crate::guard::command::{Answer, Rows};
use crate::http::target::Authority;

impl Control {
    /// Carries out a command of an operator for the gateway.
    #[doc(hidden)]
    pub fn obey_gateway_command(&self, command: &Command) -> Answer {
        let Some(gateway) = self.gateway() else {
            return Answer::Refused("no gateway file is loaded (--gateway FILE)".to_owned());
        };
        let now_ms = self.guard_now().common_ms();
        match command {
            Command::Upstreams => {
                Answer::Rows(Rows { columns: &COLUMNS, rows: gateway.rows(now_ms), more: 0 })
            }
            Command::Drain(authority) => set_drained(&gateway, authority, true, now_ms),
            Command::Enable(authority) => set_drained(&gateway, authority, false, now_ms),
        }
    }
}

fn set_drained(gateway: &Gateway, authority: &Authority, drained: bool, now_ms: u64) -> Answer {
    let said = if drained { "is drained: no new requests go there" } else { "gets requests again" };
    match gateway.set_drained(authority, drained, now_ms) {
        0 => Answer::NotFound(format!("{authority} is no upstream of the gateway file")),
        1 => Answer::Done(format!("{authority} {said}")),
        routes => Answer::Done(format!("{authority} {said} (in {routes} routes)")),
    }
}
