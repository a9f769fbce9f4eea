//! What was tried and came to nothing, so that it is not tried over and over, and keeps nothing else from its turn.
//!
//! It is remembered as long as the process lives: another program may do what this one could not.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | tables that take no commit |
//! | [`fragments`] | groups of fragments whose rewrite failed, or was refused |
//! | [`indexes`] | indexes that could not be built, extended or merged |
//! | [`segments`] | segments of indexes that could not be written for other addresses |
//! | [`rest`] | how long each of them rests |

mod fragments;
mod indexes;
mod rest;
pub(crate) mod segments;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};

use super::{Table, stats::TableStats, unwritable::Unwritable};
use crate::{
    error::Error,
    planner::{compaction::Group, indexing::Task},
};
use rest::{Again, Rest};

pub(crate) use fragments::RefusedFragments;
pub(crate) use indexes::RefusedIndexes;

/// What came to nothing in the tables under one root.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) fragments: RefusedFragments,
    pub(crate) indexes: RefusedIndexes,
    /// By the path of the table, at which version it was tried last.
    tables: Mutex<HashMap<String, (u64, Rest)>>,
}

impl Refused {
    /// Tells in the statistics of a table what is left alone for now.
    pub(crate) fn mark(&self, path: &str, stats: &mut TableStats) {
        self.indexes.mark(path, stats);
        self.fragments.mark(path, stats);
        self.mark_table(path, stats, Utc::now());
    }

    fn mark_table(&self, path: &str, stats: &mut TableStats, now: DateTime<Utc>) {
        let tables = lock(&self.tables);
        if let Some((version, rest)) = tables.get(path)
            && rest.holds(*version == stats.version, now)
        {
            let refused = || Unwritable::Refused(rest.reason.clone());
            stats.unwritable.get_or_insert_with(refused);
        }
    }

    /// Notes that what was done for indexes was not taken by a table that was planned at this version.
    pub(crate) fn note_commit(&self, table: &Table, version: u64, tasks: &[Task], e: &Error) {
        tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "indexes stay as they are");
        for task in tasks {
            let reason = e.to_string();
            self.indexes.note(&table.path, version, task, false, reason);
        }
        self.note_always(table, version, e);
    }

    /// Notes that the rewrite of these groups was not taken by a table that was planned by these statistics.
    pub(crate) fn note_rewrite(
        &self,
        table: &Table,
        stats: &TableStats,
        groups: &[Group],
        e: &Error,
    ) {
        tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, groups = groups.len(), "fragments stay as they are");
        for group in groups {
            self.fragments.note_refused(&table.path, stats, group, e);
        }
        self.note_always(table, stats.version, e);
    }

    fn note_always(&self, table: &Table, version: u64, e: &Error) {
        if let Error::CommitRefused {
            reason,
            always: true,
            ..
        } = e
        {
            self.note_table(&table.path, version, reason.clone());
        }
    }

    /// Notes that a table takes no commit, whatever is in it.
    fn note_table(&self, path: &str, version: u64, reason: String) {
        self.note_table_at(path, version, reason, Utc::now());
    }

    fn note_table_at(&self, path: &str, version: u64, reason: String, now: DateTime<Utc>) {
        let mut tables = lock(&self.tables);
        let before = tables.get(path).map_or(0, |(_, rest)| rest.times);
        let rest = Rest::after(before, 0, Again::Changed, reason, now);
        tables.insert(path.to_owned(), (version, rest));
    }
}

fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_table_that_takes_no_commit_is_left_alone_until_it_changes_and_others_are_not() {
        let (refused, now) = (Refused::default(), Utc::now());
        refused.note_table_at("t.lance", 7, "no conditional puts".to_owned(), now);
        let marked = |path, version, seconds| {
            let mut stats = TableStats {
                version,
                ..TableStats::default()
            };
            refused.mark_table(path, &mut stats, now + Duration::from_secs(seconds));
            stats.unwritable
        };
        let refusal = Some(Unwritable::Refused("no conditional puts".to_owned()));
        assert_eq!(marked("t.lance", 7, 1_000_000), refusal);
        assert_eq!(marked("t.lance", 8, 599), refusal);
        assert_eq!(marked("t.lance", 8, 600), None);
        assert_eq!(marked("u.lance", 7, 0), None);
    }
}
