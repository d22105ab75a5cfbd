//! The networks of the clouds: from files at the start and at a reload, and fetched ones.

use crate::config::Problems;
#[cfg(feature = "cloud")]
use crate::config::Settings;
use crate::config::guard::GuardFile;
use crate::shell::KnownClouds;
#[cfg(feature = "cloud")]
use crate::shell::{CloudRefresher, CloudSources};
use std::sync::Arc;
#[cfg(feature = "cloud")]
use std::sync::{Mutex, PoisonError};

/// The known networks, and the thread that fetches them.
#[derive(Debug, Default)]
pub(super) struct CloudParts {
    pub known: Arc<KnownClouds>,
    #[cfg(feature = "cloud")]
    pub refresher: Mutex<Option<CloudRefresher>>,
}

impl CloudParts {
    /// The thread that fetches, which ends when it is dropped: not while the configuration changes, for which it may wait.
    #[cfg(feature = "cloud")]
    pub fn take_refresher(&self) -> Option<CloudRefresher> {
        self.refresher.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Checks whether the files of clouds may replace the known networks.
    pub fn check_files(&self, file: Option<&GuardFile>) -> Result<(), Problems> {
        let Some(file) = file else { return Ok(()) };
        let change_max = file.directives.cloud_fetch.change_max;
        self.known.check_files(&file.cloud_sets, change_max).map_err(|wrong| {
            let mut problems = Problems::new();
            for (path, error) in wrong {
                problems.add_file(path, error.to_string());
            }
            problems
        })
    }

    /// Uses the files of clouds, and the sets that were fetched after the files were written.
    pub fn set_files(&self, file: Option<&GuardFile>) {
        let fetched = file.and_then(GuardFile::cloud_fetch).map(|(_, providers)| providers);
        let sets = file.map(|file| file.cloud_sets.as_slice()).unwrap_or_default();
        self.known.set_files(sets, &fetched.unwrap_or_default());
    }
}

/// The networks to fetch for a guard file.
#[cfg(feature = "cloud")]
pub(super) fn cloud_sources(file: Option<&GuardFile>, settings: &Settings) -> CloudSources {
    let Some((file, (fetch, providers))) = file.and_then(|file| Some((file, file.cloud_fetch()?))) else {
        return CloudSources::default();
    };
    CloudSources {
        urls: providers.into_iter().map(|provider| (provider, fetch.url(provider).into())).collect(),
        interval_ms: fetch.refresh_ms.unwrap_or_default(),
        roots_pem: file.cloud_roots.clone(),
        directory: settings.cloud_ranges.as_ref().map(|directory| directory.value.clone()),
    }
}
