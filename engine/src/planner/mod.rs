//! Judgement: what to do with a table's layout, and when. Pure functions over statistics, policy, history and
//! clock; nothing here asks a store.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the words: duties, policies, decisions |
//! | [`plan`](plan()) | which jobs are due, of all tables of a target, and which comes first |
//! | [`compaction`] | which fragments to rewrite together |
//! | `remaps` | indexes over those, that are written anew with them |
//! | [`indexing`] | which indexes to bring up to date, and how |
//! | [`cleanup`] | which versions to remove |
//! | [`clients`] | the oldest client of a table, and what it reads |
//! | [`contention`] | which fragments writers touch just now |
//! | [`history`] | what happened to a table so far, and its back-off |
//! | [`pace`] | bytes an hour, and how much of the time |
//! | [`window`] | times of the week |
//! | [`poll_schedule`] | when to look at a table again |
//! | [`pause`] | what a person wants left alone for a while |
//!
//! `docs/planner.md` says how it judges, with every threshold and every reason.

pub mod cleanup;
pub mod clients;
pub mod compaction;
pub mod contention;
pub mod history;
pub mod indexing;
pub mod pace;
pub mod pause;
mod plan;
pub mod poll_schedule;
mod remaps;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod scenario_tests;
#[cfg(test)]
mod simulation_tests;
mod tiers;
pub mod window;

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::TableKey,
    table::stats::{TableStats, VersionInfo},
};
use cleanup::{CleanupPolicy, Protected};
use compaction::CompactionPolicy;
pub use history::{DutyHistory, History};
use indexing::IndexPolicy;
use pace::Pace;
pub use plan::plan;
use window::Windows;

/// What is done for a table. No two at once on one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Fragments are rewritten.
    Compaction,
    /// Indexes are brought up to date.
    Index,
    /// Versions are removed.
    Cleanup,
}

impl Duty {
    /// All of them, in the order in which they are done where nothing else decides.
    pub const ALL: [Self; 3] = [Self::Compaction, Self::Index, Self::Cleanup];

    /// The duty as config, logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compaction => "compaction",
            Self::Index => "index",
            Self::Cleanup => "cleanup",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is asked of one run of a duty, besides the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Thresholds are left aside; sizes and retention are not.
    pub forced: bool,
    /// Fragments to leave alone, because writers touch them just now.
    pub hot: BTreeSet<u64>,
    /// A compaction reads at most so many bytes: what a budget has room for.
    pub max_bytes: Option<u64>,
}

impl Ask {
    /// Thresholds are left aside.
    pub fn forced() -> Self {
        Self {
            forced: true,
            ..Self::default()
        }
    }
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// On the caller's monotonic clock, as a [`History`] is.
    pub monotonic: Duration,
    /// For the age of versions.
    pub wall: DateTime<Utc>,
    /// On the clock on the wall, for windows.
    pub local: NaiveDateTime,
}

/// How one table is maintained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Fragments.
    pub compaction: CompactionPolicy,
    /// Indexes.
    pub index: IndexPolicy,
    /// Versions.
    pub cleanup: CleanupPolicy,
    /// How fast.
    pub pace: Pace,
    /// When.
    pub windows: Windows,
}

/// What the planner is told of one table.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    /// Its key.
    pub key: &'a TableKey,
    /// Its layout.
    pub stats: &'a TableStats,
    /// Its versions; nothing when they were not listed lately.
    pub versions: Option<&'a [VersionInfo]>,
    /// What cleanup must leave.
    pub protected: &'a Protected,
    /// Whether it has old files that no version names.
    pub left_over: bool,
    /// How it is maintained.
    pub policy: &'a Policy,
    /// What happened to it so far.
    pub history: &'a History,
    /// Fragments that writers touch just now, see [`contention::Heat::hot`].
    pub hot: &'a BTreeSet<u64>,
    /// Duties whose thresholds do not count, because somebody or the cron said so.
    pub forced: &'a BTreeSet<Duty>,
    /// Whether a person wants it left alone, see [`pause::Pauses::until`].
    pub paused: bool,
    /// Whether nothing may be removed now: the clock jumped a while ago, and ages are told by it.
    pub clock_jumped: bool,
}

/// What is to be done for a target's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What was decided about each duty of each table, in the order of keys and duties.
    pub decisions: Vec<Decided>,
    /// The jobs, best first; of one table at most one. A caller with fewer places takes the first ones.
    pub jobs: Vec<Job>,
}

/// What was decided about one duty of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The table.
    pub table: TableKey,
    /// The duty.
    pub duty: Duty,
    /// What to do.
    pub decision: Decision,
    /// Of what waits for a budget: when that has room, if nothing else is rewritten.
    pub not_before: Option<Duration>,
}

/// One run of a duty on a table. The executor plans again on fresh statistics, with the same functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The table.
    pub table: TableKey,
    /// The duty.
    pub duty: Duty,
    /// Why it is due.
    pub reason: Reason,
    /// Bytes that it is expected to rewrite.
    pub bytes: u64,
    /// What the executor is asked, besides the policy.
    pub ask: Ask,
    /// Other duties of the table that are due, and wait for this job.
    pub ahead_of: Vec<Duty>,
}

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
        matches!(
            self,
            Self::Compaction(compaction::Reason::Emergency)
                | Self::Cleanup(cleanup::Reason::Emergency)
        )
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
    /// A person wants it left alone for a while.
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

    /// Whether the duty is due and only held back, until time lifts it: what was forced is still to be done.
    pub const fn passes(self) -> bool {
        match self {
            Self::Running
            | Self::Paused
            | Self::Clock
            | Self::OutsideWindow
            | Self::Blackout
            | Self::Budget
            | Self::Intensity
            | Self::IntervalFloor
            | Self::BackOff
            | Self::Waits(_)
            | Self::Compaction(compaction::Skip::Hot | compaction::Skip::Outgrown)
            | Self::Cleanup(cleanup::Skip::Unlisted) => true,
            Self::Disabled | Self::Compaction(_) | Self::Index(_) | Self::Cleanup(_) => false,
        }
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
