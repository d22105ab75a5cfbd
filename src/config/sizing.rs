//! Settings by `--memory`: options that the operator has not set get their share of the size.

use super::memory::{Demand, FILE_FACTOR, Part, Shares, TooSmall, shares};
use super::problem::{Origin, Problems};
use super::settings::Settings;
use crate::engine;
use crate::net::Pool;

/// The options whose values depend on the size, and their parts.
const OPTIONS: [(&str, Part); 4] = [
    ("buffers", Part::Buffers),
    ("max-connections", Part::Connections),
    ("idle-origins", Part::IdleOrigins),
    ("cache-size", Part::Cache),
];

/// Most bytes of a file without `memory` (chosen: forty million names).
const FILE_BYTES_MAX: u64 = 1 << 30;

impl Settings {
    /// The share of each part of `--memory`, if it is set, for so many loops, bytes of files and detectors, with or without pages,
    /// and with the values of running parts in `given`. Fails if the size is too small.
    pub fn shares(
        &self,
        loops: usize,
        (content_bytes, detectors): (u64, u64),
        pages: bool,
        given: &[(Part, u64)],
    ) -> Result<Option<Shares>, Problems> {
        if self.memory_bytes == 0 {
            return Ok(None);
        }
        let largest = engine::Settings::largest(self.head_max_bytes as usize, self.guard.is_some() || pages);
        let mut demand = Demand {
            total: self.memory_bytes,
            loops: loops as u64,
            large_messages: Pool::spill_max(0, largest) as u64,
            content_bytes,
            cache: self.cache,
            guard: self.guard.is_some(),
            users: self.auth_file.is_some(),
            detectors,
            pages,
            ..Demand::default()
        };
        for (name, part) in OPTIONS {
            match self.origin(name) {
                Origin::Default | Origin::Memory => {}
                Origin::File { .. } | Origin::Environment(_) | Origin::Argument(_) => {
                    demand.give(part, self.sized(part));
                }
            }
        }
        given.iter().for_each(|(part, count)| demand.give(*part, *count));
        shares(&demand).map(Some).map_err(|error| self.memory_problem(&error))
    }

    fn memory_problem(&self, error: &TooSmall) -> Problems {
        let mut problems = Problems::new();
        let origin = self.origin("memory");
        // A line number alone is less clear than a key.
        let key = if origin.line() > 0 { "memory: " } else { "" };
        problems.add(origin, format!("{key}{error}"));
        problems
    }

    fn sized(&self, part: Part) -> u64 {
        match part {
            Part::Buffers => self.buffers.into(),
            Part::Connections => self.max_connections.into(),
            Part::IdleOrigins => self.idle_origins.into(),
            Part::Cache => self.cache_size_bytes,
            Part::Log
            | Part::Names
            | Part::LookUps
            | Part::Keys
            | Part::Bans
            | Part::Events
            | Part::Values => 0,
        }
    }

    /// Most bans for which `memory` has room, whatever the files are.
    pub fn bans_max(&self) -> usize {
        let bans = |shares: &Shares| usize::try_from(shares.of(Part::Bans)).unwrap_or(usize::MAX);
        // Without any room the size is too small, and is told to be.
        self.shares(1, (0, 0), false, &[]).map_or(0, |shares| shares.as_ref().map_or(usize::MAX, bans))
    }

    /// Most bytes of one file that the settings name. With `memory`, all files together take no more than that.
    pub fn file_bytes_max(&self) -> u64 {
        match self.memory_bytes {
            0 => FILE_BYTES_MAX,
            bytes => bytes / FILE_FACTOR,
        }
    }

    /// Sets the fields by the shares, when the files are known that the settings name.
    pub fn go_by(&mut self, shares: &Shares) {
        let count = |part| u32::try_from(shares.of(part)).unwrap_or(u32::MAX);
        self.buffers = count(Part::Buffers);
        self.max_connections = count(Part::Connections);
        self.idle_origins = count(Part::IdleOrigins);
        if self.cache {
            self.cache_size_bytes = shares.of(Part::Cache);
        }
    }

    /// Sets the options that the operator has not set, by the size alone: the files are not known yet.
    pub(super) fn size_options(&mut self, problems: &mut Problems) {
        let loops = self.workers.count.unwrap_or(1) as usize;
        match self.shares(loops, (0, 0), false, &[]) {
            Ok(None) => {}
            Ok(Some(shares)) => {
                for (name, part) in OPTIONS {
                    if self.origin(name) == Origin::Default && (part != Part::Cache || self.cache) {
                        self.set_by_memory(name, shares.of(part));
                    }
                }
            }
            Err(too_small) => problems.append(too_small),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    fn load(options: &[&str]) -> Result<Settings, Problems> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        Settings::load(&options, &[], |_| Ok(b"memory 2M\nbuffers 5000\n".to_vec()))
    }

    #[test]
    #[cfg(all(feature = "cache", feature = "guard"))]
    fn options_that_are_not_set_get_their_share() {
        let settings = load(&["--memory=64M", "--cache"]).expect("enough");
        assert!(settings.buffers < 16_384 && settings.cache_size_bytes > 8 << 20, "{settings:?}");
        assert_eq!(settings.origin("buffers").to_string(), "by --memory");
        let larger = load(&["--memory=1G", "--cache"]).expect("enough");
        assert_eq!((larger.buffers, larger.max_connections), (16_384, 10_000));
        assert!(larger.cache_size_bytes > 512 << 20);
        let without = load(&["--memory=64M"]).expect("enough");
        assert_eq!((without.cache_size_bytes, without.origin("cache-size")), (64 << 20, Origin::Default));
        assert!(load(&[]).is_ok_and(|settings| settings.origin("buffers") == Origin::Default));
    }

    #[test]
    #[cfg(all(feature = "cache", feature = "guard"))]
    fn what_is_set_wins_and_must_fit() {
        let settings = load(&["--memory=64M", "--cache", "--cache-size=5M", "--max-connections=123"]);
        let settings = settings.expect("enough");
        assert_eq!((settings.cache_size_bytes, settings.max_connections), (5 << 20, 123));
        let too_small = load(&["--memory=64M", "--cache", "--cache-size=60M"]).expect_err("too much");
        let text = too_small.to_string();
        assert!(
            text.starts_with("weir: --memory: expected ") && text.contains("61440K for 62914560 bytes"),
            "{text}"
        );
        assert_eq!(too_small.exit_code(), 64);
        let too_small = load(&["-c", "w"]).expect_err("too little").to_string();
        assert!(
            too_small.starts_with("weir: w:1: memory: expected ") && too_small.contains("5000 buffers"),
            "{too_small}"
        );
    }

    #[test]
    fn files_leave_less_and_what_is_known_elsewhere_is_taken() {
        let settings = load(&["--memory=64M"]).expect("enough");
        let of = |bytes, given: &[(Part, u64)]| {
            settings.shares(1, (bytes, 0), false, given).expect("enough").expect("a size")
        };
        assert!(of(1 << 20, &[]).of(Part::Buffers) < of(0, &[]).of(Part::Buffers));
        assert_eq!(of(0, &[(Part::Buffers, 100)]).of(Part::Buffers), 100);
        assert!(settings.shares(1, (60 << 20, 0), false, &[]).is_err());
        let mut sized = settings.clone();
        sized.go_by(&of(1 << 20, &[]));
        assert!(sized.buffers < settings.buffers && sized.max_connections <= settings.max_connections);
        // A value by size counts as not set when it is sized again.
        assert_eq!(sized.shares(1, (0, 0), false, &[]), settings.shares(1, (0, 0), false, &[]));
        let with_pages = settings.shares(1, (0, 0), true, &[]).expect("enough").expect("a size");
        assert!(with_pages.of(Part::Values) > 1 << 20, "{with_pages:?}");
        assert!(with_pages.of(Part::Buffers) < of(0, &[]).of(Part::Buffers));
        assert_eq!(of(0, &[]).of(Part::Values), 0);
    }

    #[test]
    #[cfg(feature = "guard")]
    fn bans_beyond_the_size_are_none() {
        let bans_max = |options: &[&str]| load(options).expect("enough").bans_max();
        assert_eq!(bans_max(&[]), usize::MAX);
        let [small, large] = ["--memory=16M", "--memory=64M"].map(|size| bans_max(&[size, "--guard=g"]));
        assert!((64..large).contains(&small) && large < 100_000, "{small} {large}");
    }
}
