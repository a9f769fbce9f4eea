//! The words of the board that programs read as well: duties, healths, outcomes.

use serde::{Deserialize, Serialize};
use squire_engine::planner::Duty;
use utoipa::ToSchema;

/// What is done for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DutyWord {
    /// Fragments are rewritten.
    Compaction,
    /// Indexes are brought up to date.
    Index,
    /// Versions are removed.
    Cleanup,
}

impl DutyWord {
    /// As config, logs and metrics spell it.
    pub(crate) fn as_str(self) -> &'static str {
        Duty::from(self).as_str()
    }
}

impl From<Duty> for DutyWord {
    fn from(duty: Duty) -> Self {
        match duty {
            Duty::Compaction => Self::Compaction,
            Duty::Index => Self::Index,
            Duty::Cleanup => Self::Cleanup,
        }
    }
}

impl From<DutyWord> for Duty {
    fn from(word: DutyWord) -> Self {
        match word {
            DutyWord::Compaction => Self::Compaction,
            DutyWord::Index => Self::Index,
            DutyWord::Cleanup => Self::Cleanup,
        }
    }
}

/// How a table is, worst first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// A job of it stands still, and is being cancelled.
    Stuck,
    /// It cannot be read, or its last job failed.
    Failing,
    /// Something is due that cannot be done until somebody acts.
    Blocked,
    /// Something is due, and is done as soon as there is time for it.
    Due,
    /// Something is due, and a person wants it left alone.
    Paused,
    /// It is as its policy wants it.
    Ok,
    /// Nobody has looked at it yet.
    #[default]
    Unknown,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// It did what was due.
    Done,
    /// It was no longer due when it began.
    Skipped,
    /// A writer went first: it is planned anew.
    Lost,
    /// The daemon stops.
    Cancelled,
    /// The table was dropped.
    Gone,
    /// It failed, and is tried again.
    Failed,
}

impl Ending {
    /// From the outcome as `squire_jobs_total` spells it.
    pub(crate) fn of(outcome: &str) -> Self {
        match outcome {
            "done" => Self::Done,
            "skipped" => Self::Skipped,
            "lost" => Self::Lost,
            "cancelled" => Self::Cancelled,
            "gone" => Self::Gone,
            _ => Self::Failed,
        }
    }
}
