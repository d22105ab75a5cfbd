//! The known networks of the clouds, from files and from fetched documents: one set for each provider.

use crate::config::guard::CloudSet;
use crate::guard::clouds::{CloudError, Clouds, Provider, Ranges};
use crate::metrics::CloudNumbers;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The networks of all providers, and the counters of fetching.
#[derive(Debug, Default)]
pub struct KnownClouds {
    providers: Mutex<[Known; Provider::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Known {
    set: Option<Set>,
    fetched: bool,
    refreshes: u64,
    failures: u64,
}

#[derive(Clone, Debug)]
struct Set {
    ranges: Arc<Ranges>,
    /// Time of the last confirmation: when the file was written, or when the set was fetched or confirmed.
    unix_ms: u64,
    fetched: bool,
}

impl KnownClouds {
    /// All sets of this moment.
    pub fn clouds(&self) -> Clouds {
        let providers = self.lock();
        let sets = Provider::ALL.iter().zip(providers.iter());
        let sets =
            sets.filter_map(|(provider, known)| Some((*provider, Arc::clone(&known.set.as_ref()?.ranges))));
        Clouds::new(sets.collect())
    }

    /// The set of a provider.
    pub fn ranges(&self, provider: Provider) -> Option<Arc<Ranges>> {
        self.lock()[provider as usize].set.as_ref().map(|set| Arc::clone(&set.ranges))
    }

    /// Checks whether the sets of these files may replace the known sets; fails with the files and the error of each.
    pub fn check_files(&self, files: &[CloudSet], change_max: u64) -> Result<(), Vec<(PathBuf, CloudError)>> {
        let providers = self.lock();
        let wrong = files.iter().filter_map(|file| {
            let set = providers[file.provider as usize].set.as_ref()?;
            let replaces = file_replaces(file, set);
            let changed = file.ranges.check_change(&set.ranges, change_max).err();
            changed.filter(|_| replaces).map(|error| (file.path.clone(), error))
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Uses these files, and for the providers to fetch the fetched set if it is newer than the file.
    pub fn set_files(&self, files: &[CloudSet], fetched: &[Provider]) {
        let mut providers = self.lock();
        for (provider, known) in Provider::ALL.iter().zip(providers.iter_mut()) {
            known.fetched = fetched.contains(provider);
            let file = files.iter().find(|file| file.provider == *provider);
            known.set = match (file, known.set.take()) {
                (Some(file), Some(set)) if !file_replaces(file, &set) => Some(set),
                (Some(file), _) => {
                    let (ranges, unix_ms) = (Arc::clone(&file.ranges), file.written_unix_ms);
                    Some(Set { ranges, unix_ms, fetched: false })
                }
                (None, set) => set.filter(|set| set.fetched && known.fetched),
            };
        }
    }

    /// Stores a fetched set. False if the set is the known one.
    pub fn adopt(
        &self,
        provider: Provider,
        ranges: &Arc<Ranges>,
        unix_ms: u64,
        change_max: u64,
    ) -> Result<bool, CloudError> {
        let known = &mut self.lock()[provider as usize];
        let before = known.set.as_ref().map(|set| &set.ranges);
        if let Some(before) = before {
            ranges.check_change(before, change_max)?;
        }
        let is_new = before.is_none_or(|before| before != ranges);
        known.set = Some(Set { ranges: Arc::clone(ranges), unix_ms, fetched: true });
        Ok(is_new)
    }

    /// Records that the provider has confirmed its set.
    pub fn confirm(&self, provider: Provider, unix_ms: u64) {
        if let Some(set) = &mut self.lock()[provider as usize].set {
            set.unix_ms = unix_ms;
        }
    }

    /// Counts an attempt to fetch the set of a provider.
    pub fn count(&self, provider: Provider, succeeded: bool) {
        let known = &mut self.lock()[provider as usize];
        *(if succeeded { &mut known.refreshes } else { &mut known.failures }) += 1;
    }

    /// The numbers of each provider that has networks or is fetched.
    pub fn numbers(&self, now_unix_ms: u64) -> Vec<CloudNumbers> {
        let providers = self.lock();
        let all = Provider::ALL.iter().zip(providers.iter());
        let told = all.filter(|(_, known)| known.set.is_some() || known.fetched);
        let numbers = told.map(|(provider, known)| CloudNumbers {
            provider: provider.name(),
            networks: known.set.as_ref().map_or(0, |set| set.ranges.len() as u64),
            age_s: known.set.as_ref().map(|set| now_unix_ms.saturating_sub(set.unix_ms) / 1000),
            refreshes: known.refreshes,
            failures: known.failures,
        });
        numbers.collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Known; Provider::ALL.len()]> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file replaces a set: a fetched set stays until a file is written after it.
fn file_replaces(file: &CloudSet, set: &Set) -> bool {
    file.ranges != set.ranges && (!set.fetched || file.written_unix_ms > set.unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::clouds::{CHANGE_MAX, parse};

    fn ranges(networks: usize) -> Arc<Ranges> {
        let lines: String = (0..networks).map(|number| format!("5.0.{number}.0/24,DE,,,\n")).collect();
        Arc::new(parse(Provider::Linode, lines.as_bytes()).expect("a geofeed"))
    }

    fn file(networks: usize, written_unix_ms: u64) -> CloudSet {
        let (provider, path) = (Provider::Linode, "linode.csv".into());
        CloudSet { provider, ranges: ranges(networks), written_unix_ms, path }
    }

    fn len(known: &KnownClouds) -> Option<usize> {
        known.ranges(Provider::Linode).map(|ranges| ranges.len())
    }

    #[test]
    fn ours_8_of_files_and_what_was_fetched_the_newer_counts() {
        let fetched = [Provider::Linode];
        let known = KnownClouds::default();
        known.set_files(&[file(4, 100)], &fetched);
        assert_eq!(len(&known), Some(4));
        assert_eq!(known.adopt(Provider::Linode, &ranges(5), 200, CHANGE_MAX), Ok(true));
        assert_eq!(known.adopt(Provider::Linode, &ranges(5), 210, CHANGE_MAX), Ok(false));
        // The file is older, and a directory may be lost.
        known.set_files(&[file(4, 150)], &fetched);
        assert_eq!(len(&known), Some(5));
        known.set_files(&[], &fetched);
        assert_eq!(len(&known), Some(5));
        known.set_files(&[file(6, 300)], &fetched);
        assert_eq!(len(&known), Some(6));
        // The networks of a removed file are dropped, and those of a provider that is not fetched any more.
        known.set_files(&[], &fetched);
        assert_eq!(len(&known), None);
        assert_eq!(known.adopt(Provider::Linode, &ranges(5), 400, CHANGE_MAX), Ok(true));
        known.set_files(&[], &[]);
        assert_eq!(len(&known), None);
    }

    #[test]
    fn ours_8_a_set_on_disk_must_not_change_beyond_reason_either() {
        let known = KnownClouds::default();
        assert_eq!(known.check_files(&[file(9, 100)], CHANGE_MAX), Ok(()), "the first is any");
        known.set_files(&[file(9, 100)], &[]);
        for (networks, change_max, is_fine) in [(18, 2, true), (19, 2, false), (4, 2, false), (4, 3, true)] {
            let checked = known.check_files(&[file(networks, 101)], change_max);
            assert_eq!(checked.is_ok(), is_fine, "{networks} {change_max}");
        }
        assert!(known.adopt(Provider::Linode, &ranges(19), 200, CHANGE_MAX).is_err());
        assert_eq!(len(&known), Some(9), "nothing has changed");
        // A file that is older than what was fetched says nothing.
        assert_eq!(known.adopt(Provider::Linode, &ranges(18), 200, CHANGE_MAX), Ok(true));
        assert_eq!(known.check_files(&[file(2, 150)], CHANGE_MAX), Ok(()));
    }

    #[test]
    fn numbers_are_of_what_is_known_or_fetched() {
        let known = KnownClouds::default();
        assert!(known.numbers(0).is_empty());
        known.set_files(&[file(3, 1000)], &[Provider::Aws]);
        known.count(Provider::Aws, false);
        known.count(Provider::Aws, true);
        known.confirm(Provider::Linode, 5000);
        let numbers = known.numbers(7999);
        let told: Vec<_> = numbers.iter().map(|one| (one.provider, one.networks, one.age_s)).collect();
        assert_eq!(told, [("aws", 0, None), ("linode", 3, Some(2))]);
        assert_eq!((numbers[0].refreshes, numbers[0].failures), (1, 1));
    }
}
