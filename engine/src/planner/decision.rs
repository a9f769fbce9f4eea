//! What is decided about one duty of one table, and why.

use std::fmt;

use super::{cleanup, compaction, duty::Duty, indexing, skip_class::SkipClass};

/// What to do about one duty of a table now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Do it, because of this.
    Act(Reason),
    /// Leave it, because of this.
    Skip(Skip),
}

/// Why a duty is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Of a compaction.
    Compaction(compaction::Reason),
    /// Of index upkeep.
    Index(indexing::Reason),
    /// Of a cleanup.
    Cleanup(cleanup::Reason),
}

impl Reason {
    /// Whether the table is so far from what it should be that windows and paces do not hold it back.
    pub const fn is_emergency(self) -> bool {
        match self {
            Self::Compaction(reason) => matches!(reason, compaction::Reason::Emergency),
            Self::Index(_) => false,
            Self::Cleanup(reason) => matches!(reason, cleanup::Reason::Emergency),
        }
    }

    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compaction(reason) => reason.as_str(),
            Self::Index(reason) => reason.as_str(),
            Self::Cleanup(reason) => reason.as_str(),
        }
    }
}

/// Why a duty is left now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The policy says so.
    Disabled,
    /// A job is at work on the table.
    Running,
    /// A user wants it left alone for a while.
    Paused,
    /// Nothing is removed by a clock that jumped, or that is behind the table's newest version.
    Clock,
    /// It is none of the times at which the table may be maintained.
    OutsideWindow,
    /// It is a time at which the table must not be maintained.
    Blackout,
    /// The bytes of this hour are spent, of the table or of the target.
    Budget,
    /// The rest after the last job has not passed, of the table or of the target.
    Intensity,
    /// The interval floor has not passed.
    IntervalFloor,
    /// The last jobs were lost or failed.
    BackOff,
    /// This duty of the table goes first.
    Waits(Duty),
    /// The layout of its fragments gives no reason.
    Compaction(compaction::Skip),
    /// Its indexes give no reason.
    Index(indexing::Skip),
    /// Its versions give no reason.
    Cleanup(cleanup::Skip),
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Clock => "clock",
            Self::OutsideWindow => "outside_window",
            Self::Blackout => "blackout",
            Self::Budget => "budget",
            Self::Intensity => "intensity",
            Self::IntervalFloor => "interval_floor",
            Self::BackOff => "back_off",
            Self::Waits(Duty::Compaction) => "waits_for_compaction",
            Self::Waits(Duty::Index) => "waits_for_index",
            Self::Waits(Duty::Cleanup) => "waits_for_cleanup",
            Self::Compaction(skip) => skip.as_str(),
            Self::Index(skip) => skip.as_str(),
            Self::Cleanup(skip) => skip.as_str(),
        }
    }

    /// What it means for health, alerts and schedules.
    pub const fn class(self) -> SkipClass {
        match self {
            Self::Disabled => SkipClass::Excluded,
            Self::Running | Self::IntervalFloor | Self::Waits(_) => SkipClass::Busy,
            Self::Paused => SkipClass::Paused,
            Self::Clock
            | Self::OutsideWindow
            | Self::Blackout
            | Self::Budget
            | Self::Intensity
            | Self::BackOff => SkipClass::Delayed,
            Self::Compaction(skip) => skip.class(),
            Self::Index(skip) => skip.class(),
            Self::Cleanup(skip) => skip.class(),
        }
    }

    /// Whether the duty is due and only held back, until time lifts it: what was forced is still to be done.
    pub const fn passes(self) -> bool {
        self.class().passes()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
