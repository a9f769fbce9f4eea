//! Judgement: what to do with a table's layout, and when. Pure functions over statistics, policy, history and
//! clock; nothing here asks a store.

pub mod compaction;

use std::{fmt, time::Duration};

use crate::table::stats::TableStats;
use compaction::{CompactionPolicy, Reason, Verdict};

/// The first pause after a lost rewrite, doubled by every further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);

/// What is allowed for a table, besides the sizes of [`CompactionPolicy`].
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether compaction is on.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not.
    pub interval_floor: Duration,
    /// Sizes and thresholds.
    pub compaction: CompactionPolicy,
}

/// What happened to a table so far. Times are on the caller's monotonic clock, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When the last job on it ended, however it ended.
    pub last_end: Option<Duration>,
    /// Failures and lost rewrites in a row.
    pub losses: u32,
    /// Whether a job is at work on it.
    pub running: bool,
}

/// What to do with a table now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Compact it, because of this.
    Act(Reason),
    /// Leave it alone, because of this.
    Skip(Skip),
}

/// Why nothing is done about a table now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The policy says so.
    Disabled,
    /// A job is at work on it.
    Running,
    /// The interval floor has not passed.
    IntervalFloor,
    /// The last rewrites were lost or failed.
    BackOff,
    /// Its layout gives no reason.
    Layout(compaction::Skip),
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Running => "running",
            Self::IntervalFloor => "interval_floor",
            Self::BackOff => "back_off",
            Self::Layout(skip) => skip.as_str(),
        }
    }

    /// Whether time alone can lift it, so that the table must be looked at again although it did not change.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Running | Self::IntervalFloor | Self::BackOff)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides about one table. `forced` leaves the thresholds aside, not the floor, the back-off or the sizes.
pub fn decide(
    stats: &TableStats,
    policy: &Policy,
    history: &History,
    now: Duration,
    forced: bool,
) -> Decision {
    if !policy.enabled {
        return Decision::Skip(Skip::Disabled);
    }
    let reason = match compaction::plan(stats, &policy.compaction, forced) {
        Verdict::Skip(skip) => return Decision::Skip(Skip::Layout(skip)),
        Verdict::Compact(_, reason) => reason,
    };
    if history.running {
        return Decision::Skip(Skip::Running);
    }
    let since = history.last_end.map(|end| now.saturating_sub(end));
    if since.is_some_and(|since| since < back_off(history.losses)) {
        return Decision::Skip(Skip::BackOff);
    }
    if since.is_some_and(|since| since < policy.interval_floor) {
        return Decision::Skip(Skip::IntervalFloor);
    }
    Decision::Act(reason)
}

fn back_off(losses: u32) -> Duration {
    match losses {
        0 => Duration::ZERO,
        n => FIRST_BACK_OFF
            .saturating_mul(2_u32.saturating_pow(n - 1))
            .min(LONGEST_BACK_OFF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stats::FragmentStats;

    fn fragmented() -> TableStats {
        let fragment = |id| FragmentStats {
            id,
            rows: 10,
            deleted: 0,
            bytes: 1_000,
            coverage: 0,
        };
        TableStats {
            version: 1,
            fragments: (0..50).map(fragment).collect(),
        }
    }

    fn policy() -> Policy {
        Policy {
            enabled: true,
            interval_floor: Duration::from_secs(30),
            compaction: CompactionPolicy::default(),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fragmented_table_is_due_and_a_disabled_one_is_not() {
        let history = History::default();
        let decision = decide(&fragmented(), &policy(), &history, at(0), false);
        assert_eq!(decision, Decision::Act(Reason::SmallFragments));
        let off = Policy {
            enabled: false,
            ..policy()
        };
        let decision = decide(&fragmented(), &off, &history, at(0), true);
        assert_eq!(decision, Decision::Skip(Skip::Disabled));
    }

    #[test]
    fn one_table_never_has_two_jobs() {
        let history = History {
            running: true,
            ..History::default()
        };
        let decision = decide(&fragmented(), &policy(), &history, at(0), true);
        assert_eq!(decision, Decision::Skip(Skip::Running));
    }

    #[test]
    fn the_interval_floor_holds_even_when_forced_and_passes() {
        let history = History {
            last_end: Some(at(100)),
            ..History::default()
        };
        let decide = |now| decide(&fragmented(), &policy(), &history, at(now), true);
        assert_eq!(decide(129), Decision::Skip(Skip::IntervalFloor));
        assert_eq!(decide(130), Decision::Act(Reason::Forced));
    }

    #[test]
    fn lost_rewrites_back_off_further_and_further() {
        let lost = |losses| History {
            last_end: Some(at(0)),
            losses,
            running: false,
        };
        let floorless = Policy {
            interval_floor: Duration::ZERO,
            ..policy()
        };
        let decide = |losses, now| decide(&fragmented(), &floorless, &lost(losses), at(now), false);
        assert_eq!(decide(1, 4), Decision::Skip(Skip::BackOff));
        assert!(matches!(decide(1, 5), Decision::Act(_)));
        assert_eq!(decide(4, 39), Decision::Skip(Skip::BackOff));
        assert!(
            matches!(decide(40, 600), Decision::Act(_)),
            "never longer than ten minutes"
        );
    }
}
