//! How long manifests are kept, and how often a process without a daemon looks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::timeout};

/// Minimum time between two looks of a process whether there is something to collect in passing.
const IN_PASSING_EVERY: Duration = Duration::from_secs(60);
/// So long a graph that is closed waits for a collection that is under way.
const FINISHED_WITHIN: Duration = Duration::from_secs(10);

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

/// When this process last looked whether there is something to collect in passing, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct CollectionSchedule(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl CollectionSchedule {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to look now; if so, not again for a while.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let due = state
            .looked
            .is_none_or(|looked| looked.elapsed() >= IN_PASSING_EVERY);
        if due {
            state.looked = Some(Instant::now());
        }
        due
    }

    /// A collection began.
    pub(crate) fn began(&self, running: JoinHandle<()>) {
        self.state().running = Some(running);
    }

    /// Waits for one that is under way, for a moment: a command that loads and ends would never come to collect.
    pub(crate) async fn finish(&self) {
        let running = self.state().running.take();
        if let Some(running) = running {
            let _ = timeout(FINISHED_WITHIN, running).await;
        }
    }
}
