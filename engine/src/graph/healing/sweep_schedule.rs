//! When a process sweeps again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// When this process swept last.
#[derive(Debug, Default)]
pub(crate) struct SweepSchedule(Mutex<Option<Instant>>);

impl SweepSchedule {
    /// Whether it is time to sweep again; from then on, it is not.
    pub(crate) fn is_due(&self, every: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= every);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
