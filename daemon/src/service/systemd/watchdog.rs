//! When the watchdog is fed.

use std::time::{Duration, Instant};

/// The service manager's watchdog: it kills the daemon when it is not fed for its time.
#[derive(Debug)]
pub(super) struct Watchdog {
    half: Duration,
    fed: Option<Instant>,
}

impl Watchdog {
    /// A watchdog with this timeout.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            half: patience / 2,
            fed: None,
        }
    }

    /// How often it is fed.
    pub(super) fn half(&self) -> Duration {
        self.half
    }

    /// Whether to feed it now; it counts as fed then. After a time in which a keeper was stuck, it is fed at once: a store
    /// that answers once in a while must not cost a restart.
    pub(super) fn is_due(&mut self, well: bool, now: Instant) -> bool {
        if !well {
            self.fed = None;
            return false;
        }
        let due = self
            .fed
            .is_none_or(|fed| now.saturating_duration_since(fed) >= self.half);
        if due {
            self.fed = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_fed_at_half_of_its_time_and_never_while_a_keeper_is_stuck() {
        let mut watchdog = Watchdog::new(PATIENCE);
        let start = Instant::now();
        let mut due = |well, seconds| watchdog.is_due(well, start + Duration::from_secs(seconds));
        assert!(due(true, 0));
        assert!(!due(true, 29));
        assert!(due(true, 30));
        assert!(!due(false, 60), "a keeper is stuck");
        assert!(!due(false, 10_000));
        assert!(due(true, 10_001), "it gets on again");
        assert!(!due(true, 10_002));
        assert!(due(true, 10_031));
    }
}
