//! The queue of a graph: who waits for whom.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An operation's place in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct TicketInfo {
    /// The operation's id.
    pub(crate) operation: String,
    /// What it does: `Load`, `Delete`, `SchemaApply`, `Compact`, `Index`, `Cleanup` or `Repair`.
    pub(crate) kind: String,
    /// On whose behalf.
    pub(crate) actor: String,
    /// The process that entered it.
    pub(crate) holder: String,
    /// The tables that it writes.
    pub(crate) writes: Vec<String>,
    /// The tables that must make no progress meanwhile.
    pub(crate) reads: Vec<String>,
    /// How far it has come: `waiting`, `decided` or `quarantined`.
    pub(crate) state: String,
    /// Why it is quarantined; `squire repair` shows what can be done.
    pub(crate) reason: Option<String>,
    /// Since when it is in the queue, by its holder's clock.
    pub(crate) since: DateTime<Utc>,
    /// The operations ahead that it waits for, the first first.
    pub(crate) waits_for: Vec<String>,
}
