//! Tickets: the places of operations in the manifest's queue, and how they end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{HolderId, OperationId, OperationKind, TableKey, Touched};

/// An operation's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The operation.
    pub operation: OperationId,
    /// The process that entered it.
    pub holder: HolderId,
    /// On whose behalf: `user@host`, or what the caller says.
    pub actor: String,
    /// What it does.
    pub kind: OperationKind,
    /// Which tables it touches, by its plan alone.
    #[serde(flatten)]
    pub touched: Touched,
    /// How far it has come.
    pub state: TicketState,
    /// When it was entered, by its holder's clock. For users; no rule depends on it.
    pub at: DateTime<Utc>,
}

/// What two tickets conflict over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contested {
    /// A table that both touch, and one of them writes.
    Table(TableKey),
    /// The schema.
    Schema,
}

impl From<TableKey> for Contested {
    fn from(table: TableKey) -> Self {
        Self::Table(table)
    }
}

impl PartialEq<TableKey> for Contested {
    fn eq(&self, table: &TableKey) -> bool {
        matches!(self, Self::Table(contested) if contested == table)
    }
}

impl std::fmt::Display for Contested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Schema => f.write_str("the schema"),
        }
    }
}

impl Ticket {
    /// What two tickets conflict over. Schema applies always conflict with each other: each publishes the whole
    /// schema.
    pub fn conflict(&self, other: &Self) -> Option<Contested> {
        let schema = |t: &Self| t.kind == OperationKind::SchemaApply;
        let table = self.touched.conflict(&other.touched).cloned();
        table
            .map(Contested::Table)
            .or_else(|| (schema(self) && schema(other)).then_some(Contested::Schema))
    }
}

/// How far a ticket has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is")]
pub enum TicketState {
    /// In the queue. Its holder may still take it back.
    Waiting,
    /// The operation will happen: each effect is committed past its base.
    Decided {
        /// Per written table, the version that the effect was staged at; 0 for a new table.
        bases: BTreeMap<TableKey, u64>,
    },
    /// Decided and logical, but it cannot be applied. It blocks logical operations on its tables.
    Quarantined {
        /// As when it was decided.
        bases: BTreeMap<TableKey, u64>,
        /// Why, for the operator.
        reason: String,
        /// The manifest that says so first.
        #[serde(default)]
        since: u64,
    },
}

impl TicketState {
    /// The state's name in manifests, metrics and the status.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Decided { .. } => "decided",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ending {
    /// It took place.
    Published,
    /// It was taken back before it was decided.
    Aborted,
    /// It was physical and came too late.
    Discarded,
}
