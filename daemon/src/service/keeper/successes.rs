//! When each duty of a table was last in order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use squire_engine::planner::{
    Decision, Duty, SkipClass,
    cleanup::{self, Protected},
};

use super::table_state::TableState;

impl TableState {
    /// Notes what is in order, once for each good look; says whether there was one.
    pub(super) fn note_successes(&mut self, now: DateTime<Utc>) -> bool {
        if !std::mem::take(&mut self.polled_well) {
            return false;
        }
        for duty in Duty::ALL {
            if self.in_order(duty) {
                self.successes.last.insert(duty, now);
            }
        }
        true
    }

    /// When it was found, and when each duty was last in order.
    pub(super) fn successes(&self) -> (DateTime<Utc>, &BTreeMap<Duty, DateTime<Utc>>) {
        (self.successes.found, &self.successes.last)
    }

    /// When a duty was last in order; of one that never was, when the table was found. Nothing where it does not count.
    pub(super) fn last_success(&self, duty: Duty) -> Option<DateTime<Utc>> {
        let counts = !self.gone && self.policy.of(duty).enabled;
        let last = self.successes.last.get(&duty);
        counts.then(|| *last.unwrap_or(&self.successes.found))
    }

    /// How many of its versions should have gone, as of the last list. Where cleanup looked closer and found all that is left
    /// protected, there are none.
    pub(super) fn overdue_versions(&self, now: DateTime<Utc>) -> usize {
        let Some(listing) = self.listing.as_ref().filter(|_| !self.gone) else {
            return 0;
        };
        if self.in_order(Duty::Cleanup) {
            return 0;
        }
        let nothing = Protected::default();
        cleanup::overdue(&listing.versions, &nothing, &self.policy.cleanup, now)
    }

    /// Whether a duty has nothing to do on it that it should.
    fn in_order(&self, duty: Duty) -> bool {
        match self.decisions.get(&duty) {
            Some(Decision::Skip(skip)) => match skip.class() {
                SkipClass::Idle => true,
                // A table of few versions is not listed.
                SkipClass::Unlisted => self.unlisted.is_none(),
                SkipClass::Excluded
                | SkipClass::Busy
                | SkipClass::Delayed
                | SkipClass::Paused
                | SkipClass::Blocked => false,
            },
            Some(Decision::Act(_)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use squire_engine::planner::Skip;

    use super::*;
    use crate::service::keeper::{
        faults::Trouble,
        table_state::{
            Unlisted,
            tests::{PAUSED, TIDY, at, kept, seen},
        },
    };

    #[test]
    fn a_success_is_of_a_good_look_and_stands_while_no_look_succeeds() {
        let mut kept = kept();
        let of = |kept: &TableState| kept.last_success(Duty::Compaction);
        assert_eq!(of(&kept), Some(at(1)), "it counts from when it was found");
        seen(&mut kept, 1, TIDY);
        kept.note_successes(at(5));
        assert_eq!(of(&kept), Some(at(5)));
        kept.trouble.met(&Trouble::Panicked, Duration::ZERO);
        kept.note_successes(at(9));
        assert_eq!(of(&kept), Some(at(5)), "there was no check since");
        kept.trouble.over();
        seen(&mut kept, 2, PAUSED);
        kept.note_successes(at(12));
        assert_eq!(of(&kept), Some(at(5)), "it is due and held back");
        kept.mark_missing();
        assert_eq!(of(&kept), None);
    }

    #[test]
    fn versions_that_could_not_be_listed_are_not_in_order() {
        let mut kept = kept();
        seen(&mut kept, 1, TIDY);
        let unlisted = Decision::Skip(Skip::Cleanup(cleanup::Skip::Unlisted));
        kept.decisions.insert(Duty::Cleanup, unlisted);
        assert!(kept.in_order(Duty::Cleanup), "there are few");
        kept.unlisted = Some(Unlisted {
            again: Duration::ZERO,
        });
        assert!(!kept.in_order(Duty::Cleanup));
    }
}
