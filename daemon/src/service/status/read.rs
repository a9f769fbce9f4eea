//! How the API reads the store.

use std::collections::BTreeMap;

use squire_engine::planner::Duty;

use super::{store::StatusStore, target::UnwellTable};
use crate::api::{
    GoneTable, HealthCounts, JobInfo, RunInfo, TableInfo, Tables, TargetInfo, TicketInfo,
};

/// How much there is to do, of all targets together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::service) struct Load {
    /// Tables that are there.
    pub(in crate::service) tables: usize,
    /// Jobs running.
    pub(in crate::service) at_work: usize,
    /// Tables that are due and found no job slot.
    pub(in crate::service) waiting: u64,
}

impl StatusStore {
    /// The number of the last change.
    pub(in crate::service) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// How much there is to do.
    pub(in crate::service) fn load(&self) -> Load {
        let store = self.lock();
        store
            .targets
            .values()
            .fold(Load::default(), |sum, state| Load {
                tables: sum.tables + state.tables.len(),
                at_work: sum.at_work + state.running.len(),
                waiting: sum.waiting + state.backlog,
            })
    }

    /// How many tables each target has, by their health.
    pub(in crate::service) fn health(&self) -> BTreeMap<String, HealthCounts> {
        let store = self.lock();
        let targets = store.targets.iter();
        targets
            .map(|(name, state)| (name.clone(), state.health()))
            .collect()
    }

    /// The first `most` tables of each target that somebody has to look at.
    pub(in crate::service) fn unwell(
        &self,
        most: usize,
    ) -> BTreeMap<String, BTreeMap<String, UnwellTable>> {
        let store = self.lock();
        let targets = store.targets.iter();
        targets
            .map(|(name, state)| (name.clone(), state.unwell(most)))
            .collect()
    }

    /// How many other daemons keep the place of each target.
    pub(in crate::service) fn other_daemons(&self) -> BTreeMap<String, usize> {
        let store = self.lock();
        let targets = store.targets.iter();
        targets
            .map(|(name, state)| (name.clone(), state.other_daemons))
            .collect()
    }

    /// All targets, by name.
    pub(in crate::service) fn targets(&self) -> Vec<TargetInfo> {
        let store = self.lock();
        let info = store.targets.iter().map(|(name, state)| state.info(name));
        info.collect()
    }

    /// One target, if there is such a one.
    pub(in crate::service) fn target(&self, name: &str) -> Option<TargetInfo> {
        let store = self.lock();
        let state = store.targets.get(name)?;
        Some(state.info(name))
    }

    /// Whether there is such a target.
    pub(in crate::service) fn has(&self, target: &str) -> bool {
        self.lock().targets.contains_key(target)
    }

    /// The keys of a target's tables.
    pub(in crate::service) fn keys(&self, target: &str) -> Vec<String> {
        let store = self.lock();
        let state = store.targets.get(target);
        state.map_or_else(Vec::new, |state| state.tables.keys().cloned().collect())
    }

    /// Tables that changed after a revision; without one, all.
    pub(in crate::service) fn tables(&self, target: Option<&str>, since: Option<u64>) -> Tables {
        let store = self.lock();
        let known = |since: &u64| (store.whole_since..=store.revision).contains(since);
        let since = since.filter(known);
        let after = since.unwrap_or(0);
        let mut read = Tables {
            revision: store.revision,
            whole: since.is_none(),
            tables: Vec::new(),
            gone: Vec::new(),
        };
        let asked = store.targets.iter();
        for (name, state) in asked.filter(|(name, _)| target.is_none_or(|t| t == *name)) {
            let changed = state.tables.iter();
            let changed = changed.filter(|(_, table)| since.is_none() || table.changed > after);
            read.tables.extend(changed.map(|(key, table)| {
                let running = state.running.get(key).map(|job| job.begun.duty);
                table.info(name, key, running)
            }));
            if since.is_some() {
                let gone = state.gone.iter().filter(|(_, at)| **at > after);
                read.gone.extend(gone.map(|(key, _)| GoneTable {
                    target: name.clone(),
                    table: key.clone(),
                }));
            }
        }
        read
    }

    /// One table.
    pub(in crate::service) fn of_table(&self, target: &str, table: &str) -> Option<TableInfo> {
        let store = self.lock();
        let state = store.targets.get(target)?;
        let running = state.running.get(table).map(|job| job.begun.duty);
        Some(state.tables.get(table)?.info(target, table, running))
    }

    /// The reasons of what was decided last about a duty of a target's tables, or of one.
    pub(in crate::service) fn decisions(
        &self,
        target: &str,
        table: Option<&str>,
        duty: Duty,
    ) -> Vec<Option<String>> {
        let store = self.lock();
        let Some(state) = store.targets.get(target) else {
            return Vec::new();
        };
        let asked = state.tables.iter();
        let asked = asked.filter(|(key, _)| table.is_none_or(|table| table == *key));
        let reasons = asked.map(|(_, table)| table.decision(duty).map(|info| info.reason.clone()));
        reasons.collect()
    }

    /// The jobs that are running, those that began first first.
    pub(in crate::service) fn jobs(
        &self,
        target: Option<&str>,
        table: Option<&str>,
    ) -> Vec<JobInfo> {
        let store = self.lock();
        let asked = store.targets.iter();
        let asked = asked.filter(|(name, _)| target.is_none_or(|t| t == *name));
        let mut jobs: Vec<_> = asked
            .flat_map(|(name, state)| {
                let running = state.running.iter();
                let running = running.filter(|(key, _)| table.is_none_or(|t| t == *key));
                running.map(|(key, job)| job.info(name, key))
            })
            .collect();
        jobs.sort_by_key(|job| job.since);
        jobs
    }

    /// The tickets in a graph's queue.
    pub(in crate::service) fn tickets(&self, target: &str) -> Vec<TicketInfo> {
        let store = self.lock();
        let state = store.targets.get(target);
        state.map_or_else(Vec::new, |state| state.queue.clone())
    }

    /// Runs that ended, or whose tables were looked at, after a revision; the last first, up to a maximum number.
    pub(in crate::service) fn runs(
        &self,
        target: Option<&str>,
        table: Option<&str>,
        since: Option<u64>,
        most: usize,
    ) -> Vec<RunInfo> {
        let store = self.lock();
        // As of tables: what came before some of it was forgotten is reported as a whole.
        let known = |since: &u64| (store.whole_since..=store.revision).contains(since);
        let after = since.filter(known).unwrap_or(0);
        let asked = store.targets.iter();
        let asked = asked.filter(|(name, _)| target.is_none_or(|t| t == *name));
        let mut runs: Vec<_> = asked
            .flat_map(|(_, state)| state.history.newest_first())
            .filter(|run| run.changed > after && table.is_none_or(|t| t == run.table))
            .cloned()
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        runs.truncate(most);
        runs
    }
}
