//! `memory`: sizes a proxy when the files that it reads are known.

use crate::config::guard::GuardFile;
use crate::config::memory::{Part, Shares};
use crate::config::{Problems, Settings};
use crate::guard::detection::{DetectRules, Mode};
use crate::part::guard::built;
use crate::resolver;

/// Sizes settings and guard file by `memory`, if it is set. `given` are the sizes of running parts that cannot change. Fails
/// if the size is too small for the files, or for sizes that are set explicitly.
#[doc(hidden)]
pub fn size(
    settings: &mut Settings,
    loops: usize,
    content_bytes: u64,
    pages: bool,
    guard: Option<&mut GuardFile>,
    given: &[(Part, u64)],
) -> Result<Option<Shares>, Problems> {
    let guard = built().and(guard);
    let of_file = guard.as_ref().map(|file| &file.directives);
    let keys = of_file.and_then(|file| Some((Part::Keys, file.keys_max? as u64)));
    let bans = of_file.and_then(|file| Some((Part::Bans, file.bans_max? as u64)));
    // The sizes of running parts come last, so they override the others.
    let given: Vec<_> = keys.into_iter().chain(bans).chain(given.iter().copied()).collect();
    let detectors = of_file.map_or(0, |file| detectors(&file.detect));
    let Some(shares) = settings.shares(loops, (content_bytes, detectors), pages, &given)? else {
        return Ok(None);
    };
    settings.go_by(&shares);
    if let Some(file) = guard {
        let count = |part| usize::try_from(shares.of(part)).unwrap_or(usize::MAX);
        file.directives.keys_max.get_or_insert(count(Part::Keys));
        file.directives.bans_max.get_or_insert(count(Part::Bans));
        file.limit_bans();
        file.directives.event_bytes_max = Some(count(Part::Events));
    }
    Ok(Some(shares))
}

/// The number of compiled detectors that may exist at the same time. A reload with the same patterns shares the present one.
fn detectors(rules: &DetectRules) -> u64 {
    match rules.mode {
        Mode::Off => 0,
        Mode::Observe | Mode::Block if rules.patterns.is_empty() => 1,
        Mode::Observe | Mode::Block => 2,
    }
}

/// Limits the memory and the queries of a resolver to the part of one of so many loops.
pub(super) fn limit_resolver(resolver: &mut resolver::Settings, shares: Option<&Shares>, loops: usize) {
    let Some(shares) = shares else { return };
    let of_loop = |part| usize::try_from(shares.of(part) / loops.max(1) as u64).unwrap_or(usize::MAX);
    resolver.cache_entries_max = resolver.cache_entries_max.min(of_loop(Part::Names));
    resolver.look_ups_max = resolver.look_ups_max.min(of_loop(Part::LookUps));
}

/// Logs how the size was divided.
pub(super) fn tell(settings: &Settings, shares: &Shares) {
    let kib = |bytes: u64| bytes / 1024;
    log::info!(
        "memory: {} KB: {} KB for weir and its files; {} connections, {} idle origins, {} buffers, {} KB of cache, {} guard keys, {} bans, {} KB of events, {} KB of values of pages, {} names, {} KB of log",
        kib(settings.memory_bytes),
        kib(shares.fixed),
        shares.of(Part::Connections),
        shares.of(Part::IdleOrigins),
        shares.of(Part::Buffers),
        kib(shares.of(Part::Cache)),
        shares.of(Part::Keys),
        shares.of(Part::Bans),
        kib(shares.of(Part::Events)),
        kib(shares.of(Part::Values)),
        shares.of(Part::Names),
        kib(shares.of(Part::Log)),
    );
}
