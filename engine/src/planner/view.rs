//! What the planner knows of one table, and what time it is.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{
    cleanup::Protected,
    duty::Duty,
    history::History,
    policy::Policy,
    statistics::{TableStats, VersionInfo},
};
use crate::ids::TableKey;

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

/// What the planner knows of one table.
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
    /// Fragments that writers touch just now, see [`Contention::contended`](super::contention::Contention::contended).
    pub contended: &'a BTreeSet<u64>,
    /// Duties whose thresholds do not count, because a user or the cron asked for them.
    pub forced: &'a BTreeSet<Duty>,
    /// Whether a user has paused it, see [`Pauses::until`](super::pause::Pauses::until).
    pub paused: bool,
    /// Whether nothing may be removed now: the clock jumped a while ago, and ages depend on it.
    pub clock_jumped: bool,
}
