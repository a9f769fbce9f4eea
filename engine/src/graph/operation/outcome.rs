//! What carrying out a decided operation came to, and what that means to the call that did it.

use std::collections::BTreeMap;

use crate::{
    graph::{context::Core, manifest::Ending},
    ids::{OperationId, TableKey},
};

/// How carrying out an operation ended, as this process saw it.
#[derive(Debug)]
pub(crate) enum Execution {
    /// Every effect is committed, and readers see them from this manifest on.
    Published {
        manifest: u64,
        pins: BTreeMap<TableKey, u64>,
    },
    /// It was physical, and another version took its place: no version holds its files, as this process saw for itself.
    TooLate,
    /// It was physical and Lance refuses it, for this reason. It is called off, and no version holds its files.
    Refused(String),
    /// It was over already, or ended meanwhile: another process carried it out or called it off.
    Ended(Ending),
    /// It is over, and its outcome was trimmed since.
    Forgotten,
    /// It cannot be applied to this table.
    Quarantined { table: TableKey, reason: String },
}

/// What that means to the call whose operation it is.
#[derive(Debug)]
pub(crate) enum Conclusion {
    /// Readers see it from this manifest on. The pins are those that it gave, as far as they are known.
    Published {
        manifest: u64,
        pins: BTreeMap<TableKey, u64>,
    },
    /// It did not take place.
    Discarded {
        /// Whether it is certain that no version holds its files.
        files_are_unused: bool,
        /// What Lance said, when it refused the operation.
        refused: Option<String>,
    },
    /// It cannot be applied to this table, and waits for an operator.
    Quarantined { table: TableKey, reason: String },
    /// It is over, and the manifest does not show how.
    Unknown,
}

impl Execution {
    /// How the operation ended; `None` while it is quarantined, or when the manifest has forgotten it.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self {
            Self::Published { .. } => Some(Ending::Published),
            Self::TooLate | Self::Refused(_) => Some(Ending::Discarded),
            Self::Ended(ending) => Some(*ending),
            Self::Forgotten | Self::Quarantined { .. } => None,
        }
    }

    /// What it means to the call whose operation it is. Where another process published it, the manifest that did is
    /// looked up.
    pub(crate) async fn conclude(self, core: &Core, operation: OperationId) -> Conclusion {
        match self {
            Self::Published { manifest, pins } => Conclusion::Published { manifest, pins },
            Self::Ended(Ending::Published) => {
                let (manifest, pins) = core.publication_of(operation).await;
                Conclusion::Published { manifest, pins }
            }
            Self::TooLate => Conclusion::Discarded {
                files_are_unused: true,
                refused: None,
            },
            Self::Refused(reason) => Conclusion::Discarded {
                files_are_unused: true,
                refused: Some(reason),
            },
            // Another process says so, and may know more than this one.
            Self::Ended(Ending::Discarded) => Conclusion::Discarded {
                files_are_unused: false,
                refused: None,
            },
            Self::Quarantined { table, reason } => Conclusion::Quarantined { table, reason },
            // What was decided is never aborted: its outcome was trimmed, and its sidecar barred since.
            Self::Ended(Ending::Aborted) | Self::Forgotten => Conclusion::Unknown,
        }
    }
}
