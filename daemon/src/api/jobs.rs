//! Jobs: requests for one, those running, and those that have ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::planner::Duty;
use utoipa::ToSchema;

use super::{
    duty::DutySchema,
    series::Layout,
    word::{Spelled, Word},
};

/// A request to run duties now, whatever the thresholds say.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key; nothing for all tables of the target.
    #[serde(default)]
    pub(crate) table: Option<String>,
    /// The duty; nothing for all of them.
    #[serde(default)]
    #[schema(value_type = Option<DutySchema>)]
    pub(crate) duty: Option<Duty>,
}

/// A request that was accepted.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RunAccepted {
    /// The duties that are done as soon as nothing holds them back.
    #[schema(value_type = Vec<DutySchema>)]
    pub(crate) duties: Vec<Word<Duty>>,
    /// How many tables that is about.
    pub(crate) tables: u64,
}

/// A job that is running.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct JobInfo {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key.
    pub(crate) table: String,
    /// What is done to it.
    #[schema(value_type = DutySchema)]
    pub(crate) duty: Word<Duty>,
    /// Why it was due.
    pub(crate) reason: String,
    /// Thresholds were left aside: a schedule or a user requested it.
    pub(crate) forced: bool,
    /// When it began.
    pub(crate) since: DateTime<Utc>,
    /// What it is at: `planning`, `rewriting`, `indexing`, `removing` or `committing`.
    pub(crate) phase: String,
    /// Fragments that were read so far, or indexes that were worked on.
    pub(crate) done: u64,
    /// The total; 0 where it is not known.
    pub(crate) all: u64,
    /// The table when it began.
    pub(crate) before: Layout,
}

/// A job that has ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RunInfo {
    /// The revision at which it ended: a later run has a higher one.
    pub(crate) id: u64,
    /// The target's name.
    pub(crate) target: String,
    /// The table's key.
    pub(crate) table: String,
    /// What was done to it.
    #[schema(value_type = DutySchema)]
    pub(crate) duty: Word<Duty>,
    /// Why it was due.
    pub(crate) reason: String,
    /// Thresholds were left aside: a schedule or a user requested it.
    pub(crate) forced: bool,
    /// When it began.
    pub(crate) began: DateTime<Utc>,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// How it ended.
    #[schema(value_type = JobOutcome)]
    pub(crate) outcome: Word<JobOutcome>,
    /// What went wrong, or why there was nothing to do.
    pub(crate) detail: Option<String>,
    /// The table when it began.
    pub(crate) before: Layout,
    /// The table at the first look after its end.
    pub(crate) after: Option<Layout>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) changed: u64,
}

/// How a job ended, as JSON, logs and `squire_jobs_total` spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobOutcome {
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

impl JobOutcome {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Done,
        Self::Skipped,
        Self::Lost,
        Self::Cancelled,
        Self::Gone,
        Self::Failed,
    ];

    /// How it is spelled.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

impl Spelled for JobOutcome {
    fn spelled(self) -> &'static str {
        self.as_str()
    }
}
