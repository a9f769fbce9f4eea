//! Which sidecars there are, and how their operations stand.

use chrono::{DateTime, Utc};

use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{Manifest, TicketState},
        sidecar::Listed,
    },
    ids::OperationId,
};

/// A sidecar that is on the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarLook {
    /// The operation that wrote it.
    pub operation: OperationId,
    /// When, by the store's clock.
    pub written: DateTime<Utc>,
    /// How its operation stands.
    pub state: SidecarState,
}

/// How the operation of a sidecar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarState {
    /// It is in the queue and not decided yet.
    Waiting,
    /// It is decided and takes effect.
    Decided,
    /// It is decided, cannot be applied, and waits for an operator.
    Quarantined,
    /// No manifest names it: it is about to enter the queue, or its writer is gone.
    Unnamed,
    /// It has ended: a healer deletes the sidecar.
    Ended,
}

impl SidecarState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Decided,
        Self::Quarantined,
        Self::Unnamed,
        Self::Ended,
    ];

    /// The state as metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Decided => "decided",
            Self::Quarantined => "quarantined",
            Self::Unnamed => "unnamed",
            Self::Ended => "ended",
        }
    }

    fn of(operation: OperationId, manifest: &Manifest) -> Self {
        match manifest.ticket(operation).map(|ticket| &ticket.state) {
            Some(TicketState::Waiting) => Self::Waiting,
            Some(TicketState::Decided { .. }) => Self::Decided,
            Some(TicketState::Quarantined { .. }) => Self::Quarantined,
            None if has_ended(manifest, operation) => Self::Ended,
            None => Self::Unnamed,
        }
    }
}

/// Every sidecar that there is: a list of them, and one of the manifests.
///
/// # Errors
/// [`crate::Error::Store`].
pub(crate) async fn list(core: &Core) -> Result<Vec<SidecarLook>> {
    // First the sidecars: one that is deleted meanwhile is of an operation that has ended.
    let listed = core.sidecars.list().await?;
    let manifest = core.manifests.newest().await?;
    let look = |s: Listed| SidecarLook {
        operation: s.operation,
        written: s.written,
        state: SidecarState::of(s.operation, &manifest),
    };
    Ok(listed.into_iter().map(look).collect())
}

/// Whether a manifest says that an operation is over.
pub(super) fn has_ended(manifest: &Manifest, operation: OperationId) -> bool {
    manifest.ticket(operation).is_none() && manifest.outcomes.contains_key(&operation)
}
