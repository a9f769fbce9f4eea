//! Jobs: those that are running, with how far they have come, and those that have ended.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use squire_engine::{planner::Duty, progress::Progress};

use crate::api::{JobInfo, Layout, RunInfo};

/// Runs of one target that are kept.
const KEPT: usize = 200;

/// What a keeper reports of a job that begins.
#[derive(Debug)]
pub(in crate::service) struct Begun {
    pub(in crate::service) duty: Duty,
    pub(in crate::service) reason: String,
    pub(in crate::service) forced: bool,
    pub(in crate::service) progress: Progress,
}

/// A job that is running, as the store has it.
#[derive(Debug)]
pub(super) struct AtWork {
    pub(super) begun: Begun,
    pub(super) since: DateTime<Utc>,
    pub(super) before: Layout,
}

impl AtWork {
    pub(super) fn info(&self, target: &str, table: &str) -> JobInfo {
        let step = self.begun.progress.step();
        JobInfo {
            target: target.to_owned(),
            table: table.to_owned(),
            duty: self.begun.duty.into(),
            reason: self.begun.reason.clone(),
            forced: self.begun.forced,
            since: self.since,
            phase: step.phase.as_str().to_owned(),
            done: step.done as u64,
            all: step.all as u64,
            before: self.before,
        }
    }
}

/// The last runs of a target, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<RunInfo>);

impl History {
    pub(super) fn add(&mut self, run: RunInfo) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(run);
    }

    /// The table was looked at: that is what its last run left. Whether it was not known yet.
    pub(super) fn looked(&mut self, table: &str, layout: Layout, revision: u64) -> bool {
        let last = self.0.iter_mut().rev().find(|run| run.table == table);
        let Some(run) = last.filter(|run| run.after.is_none()) else {
            return false;
        };
        (run.after, run.changed) = (Some(layout), revision);
        true
    }

    /// The last first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &RunInfo> {
        self.0.iter().rev()
    }
}
