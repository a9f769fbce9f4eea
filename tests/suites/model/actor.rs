//! Whoever acts: the owner of an operation, or a helper that heals, collects, adopts or repairs. Between two
//! requests to the store it can stall for ever, or crash.

use super::{
    manifests::ManifestId,
    world::{Budget, TABLES},
};

/// The request that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum At {
    #[default]
    Idle,
    // Changing the register.
    List,
    Read,
    Put,
    // An owner on its way to the decision.
    Snapshot,
    Stage,
    WaitInLine,
    WaitForTurn,
    WriteSidecar,
    CheckSources,
    // Taking effect.
    Search,
    Standing,
    StandingOfMissing,
    Commit,
    Fence,
    SearchFenced,
    DeleteSidecar,
    // A healer.
    ReadSidecar,
    WithoutSidecar,
    ReadHead,
    // An owner at its end.
    Ended,
    Crashed,
}

impl At {
    pub(crate) fn is_put(self) -> bool {
        matches!(
            self,
            Self::Put | Self::WriteSidecar | Self::Commit | Self::Fence
        )
    }

    pub(crate) fn runs(self) -> bool {
        !matches!(self, Self::Idle | Self::Ended | Self::Crashed)
    }
}

/// The transition that a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ask {
    #[default]
    Nothing,
    Enqueue,
    Decide,
    EnqueueDecided,
    /// Abort a ticket, bar an operation that has none.
    Withdraw,
    Abort,
    Bar,
    Publish,
    Discard,
    Quarantine,
    ResolveByPublish,
    ResolveByDiscard,
    Adopt,
    Collect,
}

/// The creates of one call that are open: the lowest and the highest number; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Open {
    pub(crate) lowest: u8,
    pub(crate) highest: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Actor {
    pub(crate) at: At,
    pub(crate) operation: u8,
    /// The newest manifest that it has seen: the first try of its next call.
    pub(crate) seen: ManifestId,
    // The call under way.
    pub(crate) ask: Ask,
    /// What is being created, and then, until the list after it, what was.
    pub(crate) made: ManifestId,
    pub(crate) open: Open,
    pub(crate) listed: bool,
    pub(crate) created: bool,
    pub(crate) failed: bool,
    pub(crate) failures: u8,
    // Taking effect.
    pub(crate) table: u8,
    pub(crate) head: u8,
    pub(crate) pins: [u8; TABLES],
    pub(crate) straight: bool,
    /// A version that it searched for was missing.
    pub(crate) uncertain: bool,
    /// It resolves a quarantine.
    pub(crate) repairs: bool,
    /// It takes its ticket back; the caller hears of a failure, or, `in_doubt`, of what comes out.
    pub(crate) withdraws: bool,
    pub(crate) in_doubt: bool,
}

impl Actor {
    pub(crate) fn new(at: At, operation: usize) -> Self {
        Self {
            at,
            operation: operation as u8,
            ..Self::default()
        }
    }
}

/// How the store answers a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    /// With the truth.
    True,
    /// It lands and reports an error.
    Error,
    /// It reports an error and lands later, or never.
    Late,
    /// It reports an error and does not land.
    Failure,
}

impl Reply {
    pub(crate) const FAULTS: [Self; 3] = [Self::Error, Self::Late, Self::Failure];

    /// What is left of this fault.
    pub(crate) fn left(self, budget: &mut Budget) -> Option<&mut u8> {
        match self {
            Self::True => None,
            Self::Error => Some(&mut budget.errors),
            Self::Late => Some(&mut budget.late),
            Self::Failure => Some(&mut budget.failures),
        }
    }
}
