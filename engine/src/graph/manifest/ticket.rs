//! Tickets: the places of operations in the manifest's queue, and how they end.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{structure::Structure, unknown::UnknownFields};
use crate::ids::{HolderId, OperationId, OperationKind, TableKey, Touched};

/// The longest lease that is believed.
const MAX_LEASE: Duration = Duration::from_secs(600);

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
    /// How long its holder may be silent before it counts as dead, in milliseconds; absent in tickets of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// What a schema apply changes besides pins, once it is decided. It is in the sidecar, too; here it outlives that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure: Option<Box<Structure>>,
    /// What a newer build wrote besides. It stays.
    #[serde(flatten)]
    pub unknown: UnknownFields,
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
    /// A ticket that waits, of a holder whose lease is not known.
    pub fn waiting(
        operation: OperationId,
        holder: HolderId,
        actor: &str,
        kind: OperationKind,
        touched: Touched,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            operation,
            holder,
            actor: actor.to_owned(),
            kind,
            touched,
            state: TicketState::Waiting,
            at,
            lease_ms: None,
            structure: None,
            unknown: UnknownFields::default(),
        }
    }

    /// The lease of its holder; zero where it is not known.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.unwrap_or(0)).min(MAX_LEASE)
    }

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
