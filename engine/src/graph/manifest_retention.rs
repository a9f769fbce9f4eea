//! How long manifests are kept, and how often a process without a daemon looks.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Minimum time between two looks of a process whether there is something to collect in passing.
const IN_PASSING_EVERY: Duration = Duration::from_secs(60);

/// How long manifests are kept, and with them the log and the versions that they pin. One goes when it is older than
/// the age **and** beyond the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRetention {
    /// Minimum age of a manifest that goes, since it was superseded, unless there are more than ten times as many as to
    /// keep.
    pub keep_for: Duration,
    /// Number of the newest manifests that stay, however old.
    pub keep_manifests: u64,
}

impl Default for ManifestRetention {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(3600),
            keep_manifests: 250,
        }
    }
}

impl ManifestRetention {
    /// Keeps this many, however young the others are.
    pub fn newest(keep_manifests: u64) -> Self {
        Self {
            keep_for: Duration::ZERO,
            keep_manifests,
        }
    }
}

/// When this process last looked whether there is something to collect in passing.
#[derive(Debug, Default)]
pub(crate) struct CollectionSchedule(Mutex<Option<Instant>>);

impl CollectionSchedule {
    /// Whether to look now; if so, not again for a while.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= IN_PASSING_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
