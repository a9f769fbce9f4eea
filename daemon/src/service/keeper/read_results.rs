//! What is to be read of a target, and what a read returns.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use squire_engine::{Error, Snapshot, TableKey, TableStats, VersionInfo};

use super::{reads::Read, table_state::PinnedTable};
use crate::exit::Failure;

/// The outcome of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollOutcome {
    /// The target is of the same kind; whether it could be read is noted.
    Polled,
    /// Where a directory was kept, there is a graph now.
    BecameGraph,
}

impl PollOutcome {
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Polled { other } else { self }
    }
}

/// What is to be read of a table.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) read: Read,
    /// What a graph's manifest says of it.
    pub(super) pinned: Option<PinnedTable>,
}

impl Due {
    /// The statistics of a directory's table.
    pub(super) fn of_table(table: &TableKey) -> Self {
        Self {
            read: Read::Table(table.clone()),
            pinned: None,
        }
    }
}

/// A target as a whole.
#[derive(Clone, Debug)]
pub(super) enum TargetState {
    /// Of a graph, its state.
    Graph(Snapshot),
    /// Of a directory, its tables.
    Directory(Arc<BTreeSet<TableKey>>),
}

/// The outcome of a read.
pub(super) enum ReadOutcome {
    Target(Result<TargetState, Failure>),
    /// There is a graph, where a directory was kept.
    BecameGraph,
    Table {
        stats: Result<TableStats, Error>,
        pinned: Option<PinnedTable>,
        written: Option<DateTime<Utc>>,
        /// As of when this is.
        as_of: Duration,
    },
    Versions(Result<Vec<VersionInfo>, Error>),
    LeftOver(Result<bool, Error>),
}

/// A table as it was read.
pub(super) struct TableRead {
    pub(super) stats: Result<TableStats, Error>,
    pub(super) pinned: Option<PinnedTable>,
    pub(super) written: Option<DateTime<Utc>>,
    pub(super) as_of: Duration,
    pub(super) began: Duration,
}
