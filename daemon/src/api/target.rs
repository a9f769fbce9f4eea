//! A target, as a whole.

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::planner::Duty;
use utoipa::ToSchema;

use super::{
    duty::DutySchema,
    health::{HealthCounts, Status},
    series::{Layout, Series},
    word::Word,
};

/// A target, as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct TargetInfo {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it is, without secrets.
    pub(crate) uri: String,
    /// `graph` or `directory`; nothing as long as it could not be opened.
    pub(crate) kind: Option<String>,
    /// Whether it can be kept.
    #[schema(value_type = Status)]
    pub(crate) status: Word<Status>,
    /// Why the last look at it failed.
    pub(crate) failing: Option<String>,
    /// Since when it is as it is.
    pub(crate) since: Option<DateTime<Utc>>,
    /// When it was looked at last.
    pub(crate) looked: Option<DateTime<Utc>>,
    /// How many tables it has, by their health.
    pub(crate) health: HealthCounts,
    /// Its tables.
    pub(crate) tables: u64,
    /// Fragments and bytes of all of them.
    pub(crate) layout: Layout,
    /// How these went.
    pub(crate) trend: Series,
    /// Jobs running.
    pub(crate) running: u64,
    /// Tables that are due and wait for a job slot.
    pub(crate) backlog: u64,
    /// Tickets in the queue of a graph.
    pub(crate) tickets: u64,
    /// Its cron schedules, with when they come next.
    #[serde(default)]
    pub(crate) schedules: Vec<ScheduleInfo>,
}

/// A cron schedule of a target, and when it comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ScheduleInfo {
    /// The duty that it forces.
    #[schema(value_type = DutySchema)]
    pub(crate) duty: Word<Duty>,
    /// As the configuration has it.
    pub(crate) cron: String,
    /// When it comes next; nothing when it never does any more.
    pub(crate) next: Option<DateTime<Utc>>,
    /// The same in the daemon's local time.
    pub(crate) next_local: Option<DateTime<FixedOffset>>,
}
