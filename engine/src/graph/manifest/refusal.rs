//! Why a manifest refuses a transition: one reason per rule.

use super::{Contested, Ending};
use crate::ids::{OperationId, TableKey};

/// Why a manifest refuses a transition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A quarantined operation conflicts.
    #[error("operation {by} is quarantined and blocks {table}: {reason}")]
    Quarantined {
        /// What both want.
        table: Contested,
        /// The quarantined operation.
        by: OperationId,
        /// Why it is quarantined.
        reason: String,
    },
    /// A conflicting ticket is ahead.
    #[error("operation {by} is ahead on {table}")]
    NotInFront {
        /// What both want.
        table: Contested,
        /// The operation ahead.
        by: OperationId,
    },
    /// A touched table's pin is not the expected one.
    #[error("{table} is at version {found}, expected {expected}")]
    ExpectedVersionMismatch {
        /// The table.
        table: TableKey,
        /// As planned; 0 for a table that must not exist.
        expected: u64,
        /// As published.
        found: u64,
    },
    /// A touched key was given to another table since the operation was staged.
    #[error("{table} is another table by now")]
    AnotherTable {
        /// The key.
        table: TableKey,
    },
    /// The manifest that the operation was staged on is collected, so its outcome may be trimmed.
    #[error("manifest {staged_on}, on which the operation was staged, is collected")]
    Stale {
        /// The number of that manifest.
        staged_on: u64,
    },
    /// An effect was staged at a version before the pin.
    #[error("the effect on {table} was staged at version {base}, before the pin {pin}")]
    BaseBehindPin {
        /// The table.
        table: TableKey,
        /// Where the effect was staged.
        base: u64,
        /// As published.
        pin: u64,
    },
    /// The operation was staged so long ago that cleanup may have removed its files as untracked.
    #[error("the operation was staged too long ago to take place")]
    Outdated,
    /// Cleanup may not pass the pin.
    #[error("versions of {table} below {below} cannot go: {pin} is the pin")]
    PastPin {
        /// The table.
        table: TableKey,
        /// As asked for.
        below: u64,
        /// As published.
        pin: u64,
    },
    /// The operation has ended.
    #[error("the operation has ended: {0:?}")]
    Ended(Ending),
    /// The manifest knows no such operation: it never entered the queue, or its outcome is trimmed.
    #[error("the manifest knows no such operation")]
    NoTicket,
    /// The ticket is in a state that does not allow the transition.
    #[error("the operation is {0}")]
    WrongState(&'static str),
    /// A publish would take a pin back.
    #[error("{table} would go back from version {pin} to {to}")]
    PinBackwards {
        /// The table.
        table: TableKey,
        /// As published.
        pin: u64,
        /// As asked for.
        to: u64,
    },
    /// A publish does not say where one of the effects stands.
    #[error("the publish names no version for {0}")]
    MissingPin(TableKey),
    /// A publish would move a table on which the operation has no effect.
    #[error("the publish names a version for {0}, which the operation does not change")]
    StrayPin(TableKey),
    /// Collection may not pass the manifest that records it, nor fall.
    #[error("cannot collect below {below}: {reason}")]
    BadCollection {
        /// As asked for.
        below: u64,
        /// Why not.
        reason: &'static str,
    },
}

impl Refusal {
    /// Whether a refused `decide` proves that the operation never took place and never will, so that what was staged
    /// for it may be deleted. It is asked with every create of the call closed.
    pub fn proves_absence(&self) -> bool {
        matches!(
            self,
            Self::NotInFront { .. }
                | Self::ExpectedVersionMismatch { .. }
                | Self::BaseBehindPin { .. }
                | Self::AnotherTable { .. }
                | Self::Stale { .. }
                | Self::Outdated
                | Self::Quarantined { .. }
                | Self::Ended(Ending::Aborted)
                | Self::NoTicket
        )
    }
}
