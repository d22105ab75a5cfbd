//! The settings that a guard file has for the parts around the guard, and their check.

use crate::config::guard::GuardFile;
use crate::config::{Origin, Problems};
use crate::shell::{StoreSettings, check_event_target, stores};
use std::io;
use std::time::Duration;

/// Reports what a guard file names and would fail when it is used: the URL of the store, and the receiver of events.
pub(super) fn check(file: &GuardFile) -> Problems {
    let mut problems = Problems::new();
    let at = |line| Origin::File { path: file.path.as_path().into(), line };
    let store = file.directives.store.as_ref().zip(store_settings(file));
    if let Some((line, Err(error))) = store.map(|(line, settings)| (line, stores::check(&settings))) {
        problems.add(at(line.place.line), format!("store: {error}"));
    }
    let Some((path, is_socket)) = file.events() else { return problems };
    if let Err(error) = check_event_target(&path, is_socket) {
        problems.append(unusable_events(file, &error));
    }
    problems
}

/// The problem of a guard file whose receiver of events cannot be used.
pub(super) fn unusable_events(file: &GuardFile, error: &io::Error) -> Problems {
    let mut problems = Problems::new();
    let Some((line, (path, is_socket))) = file.directives.events.as_ref().zip(file.events()) else {
        return problems;
    };
    let expected = match is_socket {
        true => "expected the path of a Unix socket",
        false => "expected a file that weir can write to, or none yet, in a directory",
    };
    let origin = Origin::File { path: file.path.as_path().into(), line: line.place.line };
    problems.add(origin, format!("events: {}: {error}; {expected}", path.display()));
    problems
}

/// The connection settings of the store that a guard file names.
pub(super) fn store_settings(file: &GuardFile) -> Option<StoreSettings> {
    let store = file.directives.store.as_ref()?;
    let mut settings = StoreSettings::new(&store.url);
    settings.password = file.store_password.clone();
    settings.roots_pem = file.store_roots.clone();
    settings.prefix = store.prefix.clone();
    settings.deadline = Duration::from_millis(store.deadline_ms);
    Some(settings)
}
