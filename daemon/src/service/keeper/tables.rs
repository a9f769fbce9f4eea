//! Polls of tables: which are due, and what becomes of the answers.

use std::{collections::BTreeSet, time::Duration};

use chrono::Utc;
use squire_engine::{
    Error, Kind, TableKey, TableStats,
    planner::poll_schedule::{Change, PollPolicy},
};

use super::{
    faults::{Report, Trouble},
    read_results::{Due, TableRead, TargetState},
    reads::Read,
    state::Keeper,
    table_state::{PinnedTable, TableState},
};
use crate::target::Opened;

/// Maximum number of ticks until what cannot be read is tried again.
const RETRY_TICKS: u32 = 6;

impl Keeper {
    /// Finds the tables that are due for a look, the longest overdue first. Of a graph these are tables whose pin or
    /// declared indexes moved.
    pub(super) fn schedule_tables(&mut self) {
        let now = self.now();
        let mut due = Vec::new();
        match &self.whole {
            Some(TargetState::Graph(snapshot)) => {
                let manifest = snapshot.manifest();
                for (table, entry) in &manifest.tables {
                    let Some(kept) = self.tables.get_mut(table) else {
                        continue;
                    };
                    let def = manifest.schema.types.get(table);
                    if kept.pinned.as_ref().is_some_and(|t| t.is_as(entry, def)) {
                        kept.polled_well = kept.trouble.text().is_none();
                        // What our own job left is what was known already.
                        kept.stale = kept.stale.filter(|ended| self.whole_at < *ended);
                    } else if !kept.being_read && kept.poll_schedule.due(now) {
                        due.push((
                            kept.read_at,
                            table.clone(),
                            Some(PinnedTable::new(entry, def)),
                        ));
                    }
                }
            }
            Some(TargetState::Directory(_)) => {
                for (table, kept) in &self.tables {
                    if kept.stale.is_some() && !kept.being_read {
                        due.push((Duration::ZERO, table.clone(), None));
                    } else if !kept.being_read && kept.poll_schedule.due(now) {
                        due.push((kept.poll_schedule.next(), table.clone(), None));
                    }
                }
            }
            None => return,
        }
        due.sort_by_key(|(since, ..)| *since);
        self.due.retain(|due| !matches!(due.read, Read::Table(_)));
        let due = due.into_iter().map(|(_, table, pinned)| Due {
            read: Read::Table(table),
            pinned,
        });
        self.due.extend(due);
    }

    /// Begins to keep tables that are new, and forgets those that are gone.
    pub(super) fn found(&mut self, there: &BTreeSet<TableKey>) {
        let target = &self.target;
        let ignored = |table: &TableKey| target.ignores(&table.to_string());
        let gone = self.tables.keys();
        let gone = gone.filter(|table| !there.contains(*table) || ignored(table));
        // One whose job is running is forgotten when that has ended: it may be back by then.
        let gone = gone.filter(|table| self.tables[*table].history.running.is_none());
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|table| self.forget(table));
        let now = self.now();
        for table in there {
            if !self.tables.contains_key(table) {
                let text = table.to_string();
                if self.target.ignores(&text) {
                    continue;
                }
                let policies = self.target.policies_of(&text);
                let mut kept = TableState::new(table, &policies, &self.poll_policy, now);
                if let Some(was) = self.remembered.remove(&text) {
                    kept.remember(was);
                }
                self.tables.insert(table.clone(), kept);
                self.shared.status.found(&self.target.name, &text);
            }
        }
    }

    /// Takes in a look at one table.
    pub(super) fn take_in_table(&mut self, opened: &Opened, table: &TableKey, read: TableRead) {
        let known = self.tables.get(table).is_some_and(|k| k.stats.version > 0);
        let well = read.stats.is_ok();
        let news = self.take_in_stats(table, read.stats, opened.kind());
        let now = self.now();
        let (looks, retries) = (self.poll_policy, self.retries());
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        (kept.being_read, kept.read_at) = (false, read.began);
        // What was read before our own job ended tells nothing of what it left.
        let own = kept.stale.is_some_and(|ended| read.as_of >= ended);
        let missed = self.missed.contains_key(table);
        if own || (!well && !missed) {
            kept.stale = None;
        }
        match opened {
            // One from before our own job ended may not have what could not be built.
            Opened::Graph(_) if well => kept.pinned = read.pinned.filter(|_| kept.stale.is_none()),
            Opened::Graph(_) => kept.schedule_poll(news, &looks, &retries, now),
            Opened::Directory(_) if own && well => {
                let rested = kept.rested();
                kept.poll_schedule.job_ended(&looks, now, rested);
            }
            Opened::Directory(_) => {
                kept.schedule_poll(news, &looks, &retries, read.began);
                let tick = chrono::TimeDelta::from_std(looks.tick).unwrap_or_default();
                if !known && read.written.is_some_and(|at| Utc::now() - at < tick) {
                    kept.poll_schedule.poll_soon(&looks, read.began);
                }
                if kept.stale.is_some() && !missed {
                    self.due.push_front(Due::of_table(table));
                }
            }
        }
    }

    /// Says what a look at one table brought. That it cannot be read any more, or can again, is news, too.
    fn take_in_stats(
        &mut self,
        table: &TableKey,
        stats: Result<TableStats, Error>,
        kind: Kind,
    ) -> Change {
        let now = self.now();
        let (name, shared) = (&self.target.name, &self.shared);
        let Some(kept) = self.tables.get_mut(table) else {
            return Change::Nothing;
        };
        let was_well = kept.is_well();
        let text = table.to_string();
        let mut brought = Change::Nothing;
        let found = match stats {
            Ok(stats) => {
                if kept.trouble.over() {
                    tracing::info!(target_name = %name, %table, "the table can be read again");
                }
                let news = kept.take_in(stats, now);
                shared.status.table(name, &text, &kept.stats, &kept.policy);
                if news != Change::Nothing {
                    shared
                        .metrics
                        .tables
                        .table(name, &text, &kept.stats, &kept.policy);
                }
                brought = news;
                if news == Change::Nothing {
                    "unchanged"
                } else {
                    "changed"
                }
            }
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => {
                self.missed(table);
                "gone"
            }
            Err(e) => {
                self.fails(table, &e.into());
                "failed"
            }
        };
        let (name, shared) = (&self.target.name, &self.shared);
        tracing::debug!(target_name = %name, %table, found, "looked at a table");
        shared.metrics.targets.table_polled(name, kind, found);
        let is_well = self.tables.get(table).is_some_and(TableState::is_well);
        if brought == Change::Nothing && was_well != is_well {
            return Change::Some;
        }
        brought
    }

    /// A table was not there when it was read. It may be the whole target that is not: until that was looked at, what is
    /// known stays, and nothing is decided by it.
    pub(super) fn missed(&mut self, table: &TableKey) {
        let now = self.now();
        if let Some(kept) = self.tables.get_mut(table) {
            kept.stale = Some(now);
            self.missed.insert(table.clone(), now);
            self.poll_soon = true;
        }
    }

    /// A table cannot be read: that is its own trouble, and all others are kept.
    pub(super) fn fails(&mut self, table: &TableKey, trouble: &Trouble) {
        let now = self.now();
        let (name, shared) = (&self.target.name, &self.shared);
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        match kept.trouble.met(trouble, now) {
            Report::New => {
                tracing::error!(target_name = %name, %table, error = %trouble, "the table cannot be read and is left alone; it is tried again, the others are kept");
            }
            Report::GoesOn(times, since) => {
                tracing::error!(target_name = %name, %table, error = %trouble, times, seconds = since.as_secs(), "the table still cannot be read");
            }
            Report::Nothing => {}
        }
        if let Some(error) = kept.trouble.text() {
            shared.status.table_failing(name, &table.to_string(), error);
        }
    }

    /// How often a table is looked at that cannot be read.
    pub(super) fn retries(&self) -> PollPolicy {
        let longest: Duration = self.poll_policy.tick * RETRY_TICKS;
        PollPolicy {
            cold_tick: longest.min(self.poll_policy.cold_tick),
            ..self.poll_policy
        }
    }
}
