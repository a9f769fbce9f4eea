//! Tables: how each is, why, and what was decided about it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::planner::Duty;
use utoipa::ToSchema;

use super::{duty::DutySchema, health::Health, series::Series, word::Word};

/// A table: how it is, and why.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct TableInfo {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key: `node:Person`, in a directory its name.
    pub(crate) table: String,
    /// How it is, in one word.
    #[schema(value_type = Health)]
    pub(crate) health: Word<Health>,
    /// Since when that is its health.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Why it is not `ok`.
    pub(crate) reason: Option<String>,
    /// When it was looked at last.
    pub(crate) looked: Option<DateTime<Utc>>,
    /// The Lance version that this describes; in a graph, the pin.
    pub(crate) version: u64,
    /// Live rows.
    pub(crate) rows: u64,
    /// Fragments.
    pub(crate) fragments: u64,
    /// Fragments below the size that the policy calls small.
    pub(crate) small_fragments: u64,
    /// Bytes of data files.
    pub(crate) bytes: u64,
    /// The share of rows that are deleted but still in files, 0 to 1.
    pub(crate) deleted_fraction: f64,
    /// The share of live rows outside an index, of the index that misses most, 0 to 1; nothing without indexes.
    pub(crate) unindexed_fraction: Option<f64>,
    /// Versions on the store, as of the last list; nothing when they were not listed.
    pub(crate) versions: Option<u64>,
    /// What was decided last about each duty.
    pub(crate) duties: Vec<DutyInfo>,
    /// What is done to it now.
    #[schema(value_type = Option<DutySchema>)]
    pub(crate) running: Option<Word<Duty>>,
    /// How its layout went.
    pub(crate) trend: Series,
}

/// What was decided last about one duty of a table.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct DutyInfo {
    /// The duty.
    #[schema(value_type = DutySchema)]
    pub(crate) duty: Word<Duty>,
    /// Whether it starts as soon as there is a job slot.
    pub(crate) due: bool,
    /// Why, or why not, in one of the planner's words.
    pub(crate) reason: String,
    /// More of the reason, such as the indexes that cannot be built.
    pub(crate) details: Vec<String>,
    /// Since when it is so.
    pub(crate) since: DateTime<Utc>,
    /// It is not due before, where that is known.
    pub(crate) not_before: Option<DateTime<Utc>>,
}

impl DutyInfo {
    /// The reason, with its details.
    pub(crate) fn because(&self) -> String {
        match &self.details[..] {
            [] => self.reason.clone(),
            details => format!("{} ({})", self.reason, details.join("; ")),
        }
    }
}

/// Tables that changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tables {
    /// What the next request asks for as `since`.
    pub(crate) revision: u64,
    /// This is all there is: what is not in it is no more.
    pub(crate) whole: bool,
    /// Tables that changed since, by target and key.
    pub(crate) tables: Vec<TableInfo>,
    /// Tables that went since.
    pub(crate) gone: Vec<GoneTable>,
}

/// A table that went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct GoneTable {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key.
    pub(crate) table: String,
}
