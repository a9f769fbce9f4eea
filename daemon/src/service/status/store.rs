//! The store, and how keepers write to it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use squire_engine::{
    Kind, TableStats,
    manifest::Manifest,
    planner::{Decision, Duty, Policy},
};

use super::{
    health,
    jobs::{AtWork, Begun},
    queue,
    table::TableStatus,
    target::TargetStatus,
};
use crate::api::{DutyInfo, JobOutcome, RunInfo};

/// Maximum number of removed tables of a target that are remembered.
const GONE: usize = 1024;

/// What is known of all targets.
#[derive(Debug)]
pub(in crate::service) struct StatusStore(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) revision: u64,
    /// A client that has read up to an earlier revision reads everything again.
    pub(super) whole_since: u64,
    pub(super) targets: BTreeMap<String, TargetStatus>,
}

impl State {
    fn target(&mut self, name: &str) -> &mut TargetStatus {
        self.targets.entry(name.to_owned()).or_default()
    }

    /// Something changed: the number of that.
    /// Sets what has to be resolved of each table of a target.
    fn resolve(
        &mut self,
        target: &str,
        tables: &BTreeMap<String, String>,
        set: impl Fn(&mut TableStatus, Option<&str>) -> bool,
    ) {
        let next = self.revision + 1;
        let mut news = false;
        for (name, table) in &mut self.target(target).tables {
            if set(table, tables.get(name).map(String::as_str)) {
                table.changed = next;
                news = true;
            }
        }
        if news {
            self.revision = next;
        }
    }

    fn change(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }
}

impl StatusStore {
    /// An empty store. Its revisions come after those of any store before it, as far as clocks can be trusted: a client that
    /// read that one reads everything again.
    pub(in crate::service) fn new(now: DateTime<Utc>) -> Self {
        let revision = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        Self(Mutex::new(State {
            revision,
            whole_since: revision,
            targets: BTreeMap::new(),
        }))
    }

    /// A target is to be kept.
    pub(in crate::service) fn expect(&self, target: &str, uri: &str) {
        let mut store = self.lock();
        store.change();
        store.target(target).uri = uri.to_owned();
    }

    /// It was opened.
    pub(in crate::service) fn opened(&self, target: &str, uri: &str, kind: Kind) {
        let mut store = self.lock();
        store.change();
        let of_target = store.target(target);
        (of_target.uri, of_target.kind) = (uri.to_owned(), Some(kind.as_str().to_owned()));
    }

    /// It was looked at, or could not be.
    pub(in crate::service) fn polled(&self, target: &str, failing: Option<String>) {
        let mut store = self.lock();
        let of_target = store.target(target);
        let now = Utc::now();
        if of_target.since.is_none() || of_target.failing.is_some() != failing.is_some() {
            of_target.since = Some(now);
        }
        of_target.looked = Some(now);
        of_target.note_layout(now);
        if of_target.failing != failing {
            of_target.failing = failing;
            store.change();
        }
    }

    /// The newest manifest of a graph, with its queue.
    pub(in crate::service) fn queue(&self, target: &str, manifest: &Manifest) {
        let tickets = queue::tickets(manifest);
        let quarantined = queue::quarantined(&tickets);
        let mut store = self.lock();
        store.resolve(target, &quarantined, TableStatus::is_quarantined);
        let of_target = store.target(target);
        if of_target.queue != tickets {
            of_target.queue = tickets;
            store.change();
        }
    }

    /// Which tables other programs changed, so that an operator has to say what becomes of it, and how.
    pub(in crate::service) fn drifted(&self, target: &str, tables: &BTreeMap<String, String>) {
        self.lock().resolve(target, tables, TableStatus::is_drifted);
    }

    /// A table is there that has not been read yet: from now on it can be paused.
    pub(in crate::service) fn found(&self, target: &str, table: &str) {
        self.on_table(target, table, |_| true);
    }

    /// A table was looked at.
    pub(in crate::service) fn table(
        &self,
        target: &str,
        table: &str,
        stats: &TableStats,
        policy: &Policy,
    ) {
        self.on_table(target, table, |of_table| {
            of_table.looked(stats, policy, Utc::now())
        });
        let mut store = self.lock();
        let next = store.revision + 1;
        let of_target = store.target(target);
        let layout = of_target.tables.get(table).map(TableStatus::layout);
        if layout.is_some_and(|layout| of_target.history.looked(table, layout, next)) {
            store.revision = next;
        }
    }

    /// A table could not be looked at.
    pub(in crate::service) fn table_failing(&self, target: &str, table: &str, error: &str) {
        self.on_table(target, table, |of_table| of_table.fails(error));
    }

    /// The versions of a table could not be listed, or could again.
    pub(in crate::service) fn unlisted(&self, target: &str, table: &str, why: Option<&str>) {
        self.on_table(target, table, |of_table| of_table.is_unlisted(why));
    }

    /// A job of a table makes no progress.
    pub(in crate::service) fn stuck(&self, target: &str, table: &str) {
        self.on_table(target, table, TableStatus::is_stuck);
    }

    /// Sets the number of versions of a table.
    pub(in crate::service) fn versions(&self, target: &str, table: &str, versions: usize) {
        self.on_table(target, table, |of_table| {
            of_table.has_versions(versions as u64)
        });
    }

    /// Number of tables that are due and wait for a slot.
    pub(in crate::service) fn backlog(&self, target: &str, tables: usize) {
        let mut store = self.lock();
        let of_target = store.target(target);
        if of_target.backlog != tables as u64 {
            of_target.backlog = tables as u64;
            store.change();
        }
    }

    /// Number of other daemons that maintain the same target.
    pub(in crate::service) fn saw_other_daemons(&self, target: &str, others: usize) {
        // Who counts them does not wait for the keeper: the target may be let go of meanwhile.
        if let Some(of_target) = self.lock().targets.get_mut(target) {
            of_target.other_daemons = others;
        }
    }

    /// A job goes to work.
    pub(in crate::service) fn began(&self, target: &str, table: &str, begun: Begun) {
        let mut store = self.lock();
        let revision = store.change();
        let of_target = store.target(target);
        let of_table = of_target.tables.entry(table.to_owned()).or_default();
        of_table.changed = revision;
        let job = AtWork {
            begun,
            since: Utc::now(),
            before: of_table.layout(),
        };
        of_target.running.insert(table.to_owned(), job);
    }

    /// A job that was to go to work does not.
    pub(in crate::service) fn withdrawn(&self, target: &str, table: &str) {
        let mut store = self.lock();
        let revision = store.change();
        let of_target = store.target(target);
        of_target.running.remove(table);
        if let Some(of_table) = of_target.tables.get_mut(table) {
            of_table.changed = revision;
        }
    }

    /// The job on a table has ended; `detail` says what went wrong, or why there was nothing to do.
    pub(in crate::service) fn ended(
        &self,
        target: &str,
        table: &str,
        outcome: JobOutcome,
        detail: Option<String>,
    ) {
        let mut store = self.lock();
        let revision = store.change();
        let of_target = store.target(target);
        let Some(job) = of_target.running.remove(table) else {
            return;
        };
        if let Some(of_table) = of_target.tables.get_mut(table) {
            let error = detail.as_deref().filter(|_| outcome == JobOutcome::Failed);
            of_table.ended(job.begun.duty, error);
            of_table.changed = revision;
        }
        let took = Utc::now() - job.since;
        of_target.history.add(RunInfo {
            id: revision,
            target: target.to_owned(),
            table: table.to_owned(),
            duty: job.begun.duty.into(),
            reason: job.begun.reason,
            forced: job.begun.forced,
            began: job.since,
            seconds: took.to_std().unwrap_or_default().as_secs_f64(),
            outcome: outcome.into(),
            detail,
            before: job.before,
            after: None,
            changed: revision,
        });
    }

    /// A keeper begins anew: nothing of what it did is known any more.
    pub(in crate::service) fn begin_anew(&self, target: &str) {
        let mut store = self.lock();
        let revision = store.change();
        store.whole_since = revision;
        let of_target = store.target(target);
        *of_target = TargetStatus {
            uri: std::mem::take(&mut of_target.uri),
            other_daemons: of_target.other_daemons,
            ..TargetStatus::default()
        };
    }

    /// A target is no longer maintained.
    pub(in crate::service) fn remove_target(&self, target: &str) {
        let mut store = self.lock();
        if store.targets.remove(target).is_some() {
            store.whole_since = store.change();
        }
    }

    /// Another decision was made; `details` say more of the reason.
    pub(in crate::service) fn decided(
        &self,
        target: &str,
        table: &str,
        duty: Duty,
        decided: Decided<'_>,
    ) {
        let (due, reason) = match decided.decision {
            Decision::Act(reason) => (true, reason.as_str()),
            Decision::Skip(skip) => (false, skip.as_str()),
        };
        let now = Utc::now();
        let not_before = match decided.decision {
            Decision::Skip(skip) => {
                let ended = decided.ended_ago.and_then(|ago| before(now, ago));
                let room = decided.not_before;
                health::not_before(skip, ended, decided.wait)
                    .or_else(|| now.checked_add_signed(chrono::TimeDelta::from_std(room?).ok()?))
            }
            Decision::Act(_) => None,
        };
        let info = DutyInfo {
            duty: duty.into(),
            due,
            reason: reason.to_owned(),
            details: decided.details.to_vec(),
            since: now,
            not_before,
        };
        self.on_table(target, table, |of_table| {
            of_table.decided(duty, decided.decision, info);
            true
        });
    }

    /// A table is gone.
    pub(in crate::service) fn forget(&self, target: &str, table: &str) {
        let mut store = self.lock();
        if store.target(target).tables.remove(table).is_none() {
            return;
        }
        let revision = store.change();
        let gone = &mut store.target(target).gone;
        gone.insert(table.to_owned(), revision);
        if gone.len() > GONE {
            gone.clear();
            store.whole_since = revision;
        }
    }

    /// Does something to a table, which is there from then on; when it says so, there is news.
    fn on_table(&self, target: &str, table: &str, change: impl FnOnce(&mut TableStatus) -> bool) {
        let mut store = self.lock();
        let next = store.revision + 1;
        let of_target = store.target(target);
        of_target.gone.remove(table);
        let of_table = of_target.tables.entry(table.to_owned()).or_default();
        if change(of_table) {
            of_table.changed = next;
            store.revision = next;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a keeper tells of a decision.
#[derive(Debug)]
pub(in crate::service) struct Decided<'a> {
    pub(in crate::service) decision: Decision,
    /// More of the reason.
    pub(in crate::service) details: &'a [String],
    /// How long ago the last job of this duty ended.
    pub(in crate::service) ended_ago: Option<Duration>,
    /// How long the table is left alone after it.
    pub(in crate::service) wait: Duration,
    /// How long it takes at least until a budget has room.
    pub(in crate::service) not_before: Option<Duration>,
}

fn before(now: DateTime<Utc>, ago: Duration) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(chrono::TimeDelta::from_std(ago).ok()?)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
