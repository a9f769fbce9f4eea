//! Operations: what changes a graph, and the one lifecycle that all of them go through.
//!
//! | room | what is in it |
//! |---|---|
//! | `load`, `delete`, `schema_apply` | logical operations: what to stage |
//! | [`compact`], [`index`] | physical operations: what to work on, and what it needs to find unchanged |
//! | `physical` | how a physical operation comes in, with its work done before |
//! | [`cleanup`] | the removal of old versions |
//! | `lifecycle` | enqueue, wait, snapshot, stage, sidecar, decide (steps 1 to 7) |
//! | `ticket_guard` | a waiting ticket in this process's care |
//! | `effects` | take effect, publish, clear (steps 8 to 10), for owners and healers alike |
//! | `expiry` | an operation whose staged files have expired is not decided |
//! | `restage` | staging an effect again, where others came in between |
//! | `queue_wait` | waiting in the manifest's queue, and helping whoever is ahead |
//! | `waiting` | who waits for whom, for programs and in words |

pub(crate) mod cleanup;
pub(crate) mod compact;
mod delete;
pub(crate) mod effects;
mod expiry;
pub(crate) mod index;
pub(crate) mod lifecycle;
mod load;
mod physical;
pub(crate) mod queue_wait;
pub(crate) mod restage;
mod schema_apply;
mod ticket_guard;
pub(crate) mod waiting;

use std::collections::BTreeMap;

pub(crate) use delete::delete as delete_rows;
pub(crate) use load::load as load_rows;
pub(crate) use schema_apply::{apply as apply_schema, create as create_types};

pub use delete::DeleteRequest;
pub use load::{LoadMode, LoadRequest, Rows};
pub use schema_apply::SchemaRequest;

use crate::ids::{OperationId, TableKey};

/// What an acknowledged operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The operation's id: the same in the manifest, the sidecar, Lance's transactions and the log.
    pub operation: OperationId,
    /// The first manifest that shows it; the snapshot that it was planned on when there was nothing to do.
    pub manifest: u64,
    /// The new pins of the tables that it changed.
    pub pins: BTreeMap<TableKey, u64>,
    /// Rows added or updated.
    pub rows_written: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
}
