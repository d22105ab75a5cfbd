//! Reads the gateway file.

use super::problem::{Origin, Problems};
use super::settings::Settings;
use crate::gateway::directives::{self, Directives};
use crate::part::guard::built;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// The content of the gateway file; `None` if none is configured. `read_file` reads one file.
pub fn load(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Option<Directives>, Problems> {
    let Some(file) = built().and(settings.gateway.as_ref()) else { return Ok(None) };
    let mut problems = Problems::new();
    let text = match read_file(&file.value) {
        Ok(text) => text,
        Err(error) => {
            problems.add_file(file.value.clone(), super::policy::unreadable(file, &error));
            return Err(problems);
        }
    };
    match directives::parse(&text) {
        Ok(directives) => Ok(Some(directives)),
        Err(wrong) => {
            for problem in wrong {
                let origin = Origin::File { path: file.value.as_path().into(), line: problem.line };
                problems.add(origin, problem.message);
            }
            Err(problems)
        }
    }
}

/// The addresses of the gateway's own listeners; none for a gateway file that cannot be read, or is faulty.
pub fn listen_addresses(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Vec<SocketAddr> {
    load(settings, read_file).ok().flatten().map(|directives| directives.listen).unwrap_or_default()
}
