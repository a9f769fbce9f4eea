//! A target that takes no writes: its disk is full, or who writes may not. Jobs that write wait then, all but one that finds
//! out when it is over, at longer and longer intervals: what a job writes before it fails takes the last space from others.
//! Cleanup goes on, as it makes room.

use std::time::Duration;

/// Number of jobs in a row that may fail for it, before it counts as a fault of the target.
const FREE: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Whether a target takes writes, as far as jobs tell.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Number of jobs in a row that failed because it does not.
    failures: u32,
    /// Nothing is written before this, since the daemon started.
    until: Duration,
}

impl Writes {
    /// A job wrote something.
    pub(super) fn done(&mut self) {
        *self = Self::default();
    }

    /// A cleanup made room, or a user requests a duty: the store may take writes again.
    pub(super) fn made_room(&mut self) {
        self.until = Duration::ZERO;
    }

    /// A job failed because the target takes no writes; says whether they are held back from now on.
    pub(super) fn failed(&mut self, now: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        let Some(more) = self.failures.checked_sub(FREE + 1) else {
            return false;
        };
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(more));
        self.until = now + pause.min(LONGEST_PAUSE);
        more == 0
    }

    /// How many jobs that write may begin, while so many are running.
    pub(super) fn room(&self, at_work: usize, now: Duration) -> usize {
        if self.failures <= FREE {
            usize::MAX
        } else {
            usize::from(now >= self.until && at_work == 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn after_a_few_failures_one_job_at_a_time_finds_out_and_later_each_time() {
        let mut writes = Writes::default();
        for _ in 0..FREE {
            assert!(!writes.failed(at(0)));
            assert_eq!(writes.room(0, at(0)), usize::MAX);
        }
        assert!(writes.failed(at(100)), "that is reported once");
        assert_eq!(writes.room(0, at(109)), 0);
        assert_eq!(writes.room(0, at(110)), 1);
        assert_eq!(writes.room(1, at(110)), 0, "it is at work");
        assert!(!writes.failed(at(111)));
        assert_eq!(writes.room(0, at(130)), 0);
        assert_eq!(writes.room(0, at(131)), 1);
        for _ in 0..40 {
            writes.failed(at(200));
        }
        assert_eq!(writes.room(0, at(3_799)), 0);
        assert_eq!(writes.room(0, at(3_800)), 1, "never longer");
    }

    #[test]
    fn when_a_cleanup_has_made_room_one_job_finds_out_at_once() {
        let mut writes = Writes::default();
        for _ in 0..40 {
            writes.failed(at(200));
        }
        writes.made_room();
        assert_eq!((writes.room(0, at(201)), writes.room(1, at(201))), (1, 0));
        writes.failed(at(202));
        assert_eq!(writes.room(0, at(203)), 0, "it was in vain");
    }

    #[test]
    fn a_job_that_wrote_something_lets_all_others_go_on() {
        let mut writes = Writes::default();
        for _ in 0..9 {
            writes.failed(at(0));
        }
        writes.done();
        assert_eq!(writes.room(3, at(1)), usize::MAX);
        assert!(!writes.failed(at(1)));
    }
}
