//! Jobs: those that are at work, with how far they have come, and those that have ended.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::progress::Progress;
use utoipa::ToSchema;

use super::{
    series::Layout,
    words::{DutyWord, Ending},
};

/// Runs of one target that are kept.
const KEPT: usize = 200;

/// A job that is at work.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobNotes {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key.
    pub(crate) table: String,
    /// What is done to it.
    pub(crate) duty: DutyWord,
    /// Why it was due.
    pub(crate) reason: String,
    /// Thresholds were left aside: a schedule or a person called for it.
    pub(crate) forced: bool,
    /// When it began.
    pub(crate) since: DateTime<Utc>,
    /// What it is at: `planning`, `rewriting`, `indexing`, `removing` or `committing`.
    pub(crate) phase: String,
    /// Fragments that were read so far, or indexes that were worked on.
    pub(crate) done: u64,
    /// Of so many; 0 where that cannot be told.
    pub(crate) all: u64,
    /// The table when it began.
    pub(crate) before: Layout,
}

/// A job that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Run {
    /// The revision at which it ended: a later run has a higher one.
    pub(crate) id: u64,
    /// The target's name.
    pub(crate) target: String,
    /// The table's key.
    pub(crate) table: String,
    /// What was done to it.
    pub(crate) duty: DutyWord,
    /// Why it was due.
    pub(crate) reason: String,
    /// Thresholds were left aside: a schedule or a person called for it.
    pub(crate) forced: bool,
    /// When it began.
    pub(crate) began: DateTime<Utc>,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// How it ended.
    pub(crate) outcome: Ending,
    /// What went wrong, or why there was nothing to do.
    pub(crate) detail: Option<String>,
    /// The table when it began.
    pub(crate) before: Layout,
    /// The table at the first look after its end.
    pub(crate) after: Option<Layout>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) changed: u64,
}

/// What the keeper tells of a job that begins.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) duty: DutyWord,
    pub(crate) reason: String,
    pub(crate) forced: bool,
    pub(crate) progress: Progress,
}

/// A job that is at work, as the board keeps it.
#[derive(Debug)]
pub(super) struct AtWork {
    pub(super) begun: Begun,
    pub(super) since: DateTime<Utc>,
    pub(super) before: Layout,
}

impl AtWork {
    pub(super) fn notes(&self, target: &str, table: &str) -> JobNotes {
        let step = self.begun.progress.step();
        JobNotes {
            target: target.to_owned(),
            table: table.to_owned(),
            duty: self.begun.duty,
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
pub(super) struct History(VecDeque<Run>);

impl History {
    pub(super) fn add(&mut self, run: Run) {
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
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Run> {
        self.0.iter().rev()
    }
}
