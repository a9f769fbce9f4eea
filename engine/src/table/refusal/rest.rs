//! How long what failed rests before it is tried again: one rule for whatever was tried.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// What may pass is tried again after this, and after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// What failed for a reason of its own rests longer.
const FIRST_REST: Duration = Duration::from_secs(600);
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);

/// When a failure may be another's, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At any time: the store did not answer, or its disk is full.
    Soon,
    /// Later, whether or not anything changes.
    Later,
    /// Later, and not before something changes that it is about: it would be the same again.
    Changed,
}

/// A failure that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    again: Again,
    /// What was in the way.
    pub(crate) reason: String,
    /// How often it has failed in a row.
    pub(crate) times: u32,
    until: DateTime<Utc>,
}

impl Rest {
    /// After one more failure than `before`. The first `free` of them are no reason to rest.
    pub(crate) fn after(
        before: u32,
        free: u32,
        again: Again,
        reason: String,
        now: DateTime<Utc>,
    ) -> Self {
        let times = before.saturating_add(1);
        let (first, longest) = match again {
            Again::Soon => (FIRST_PAUSE, LONGEST_PAUSE),
            Again::Later | Again::Changed => (FIRST_REST, LONGEST_REST),
        };
        let rest = match times.checked_sub(free + 1) {
            None => Duration::ZERO,
            Some(more) => first
                .saturating_mul(2_u32.saturating_pow(more))
                .min(longest),
        };
        Self {
            again,
            reason,
            times,
            until: now + rest,
        }
    }

    /// When it may be tried again, if what it is about is the `same` as then or not; nothing, when not before that changes.
    pub(crate) fn until(&self, same: bool) -> Option<DateTime<Utc>> {
        (!same || self.again != Again::Changed).then_some(self.until)
    }

    /// Whether it is not to be tried now.
    pub(crate) fn holds(&self, same: bool, now: DateTime<Utc>) -> bool {
        self.until(same).is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(again: Again, times: u32, same: bool, seconds: u64) -> bool {
        let at = Utc::now();
        let rest = Rest::after(times - 1, 0, again, String::new(), at);
        rest.holds(same, at + Duration::from_secs(seconds))
    }

    #[test]
    fn what_stays_as_it_is_rests_until_it_changes_and_longer_each_time_when_it_does() {
        let holds = |times, same, seconds| holds(Again::Changed, times, same, seconds);
        assert!(holds(1, true, 100 * 3_600));
        assert!(holds(1, false, 599));
        assert!(!holds(1, false, 600));
        assert!(holds(2, false, 600));
        assert!(!holds(40, false, 6 * 3_600), "never longer");
    }

    #[test]
    fn what_may_pass_is_tried_again_soon_and_later_each_time_whether_or_not_anything_changes() {
        for same in [true, false] {
            let holds = |times, seconds| holds(Again::Soon, times, same, seconds);
            assert!(holds(1, 9));
            assert!(!holds(1, 10));
            assert!(holds(3, 39));
            assert!(!holds(40, 600), "never longer");
        }
        assert!(holds(Again::Later, 1, true, 599));
        assert!(!holds(Again::Later, 1, true, 600));
    }

    #[test]
    fn a_failure_that_is_free_is_counted_and_does_not_rest() {
        let now = Utc::now();
        let once = Rest::after(0, 1, Again::Later, String::new(), now);
        assert!(!once.holds(true, now));
        let twice = Rest::after(once.times, 1, Again::Later, String::new(), now);
        assert!(twice.holds(true, now + Duration::from_secs(599)));
    }
}
