//! What an acknowledged operation did.

use std::collections::BTreeMap;

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
