//! The rules of the protocol, each of which can be taken away: what nobody misses is no rule.

/// One rule of `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rule {
    // The register.
    /// A create counts only when a list afterwards shows that its number is not collected.
    ConfirmByList,
    /// A manifest that has collected a number closes no create of that number.
    CloseOnlyUncollected,
    /// A refusal while a create is open is `OutcomeUnknown`, not a failure.
    OpenIsUnknown,
    /// A call gives up on the store only when the manifest that was listed last does not settle it.
    LookBeforeGivingUp,
    /// A refusal counts only on a manifest that was listed after the call began.
    RefuseOnListed,
    /// Manifests are deleted only once the mark counts.
    DeleteOnlyCounted,
    /// An object that was listed and one that was read are the same.
    ReadWhatWasListed,
    // The transitions.
    /// Each looks for its own operation first.
    Idempotence,
    /// What was decided stays decided, whatever has become of it since (j).
    DecidedStaysDecided,
    /// An operation comes in only while the manifest that it was staged on is kept (b).
    StagedOnKept,
    /// Every touched table's pin is the expected one.
    ExpectedPins,
    /// No base is behind its pin.
    BaseNotBehindPin,
    /// No conflicting ticket is ahead of one that is decided.
    NobodyAhead,
    /// What conflicts with a quarantined ticket does not come in.
    QuarantineBlocks,
    /// What is decided is not taken back.
    AbortOnlyWaiting,
    /// A discard needs a ticket (k).
    DiscardNeedsTicket,
    /// No pin goes back.
    PinsOnlyForward,
    /// Nothing is adopted on a table with a ticket.
    AdoptOnlyUntouched,
    // The life of an operation.
    /// The ticket comes before the snapshot.
    QueueBeforeSnapshot,
    /// The sidecar comes before the decision.
    SidecarBeforeDecision,
    /// No file is deleted while it is unknown whether the operation came in.
    FilesOnlyAfterProof,
    // Taking effect.
    /// (a) The versions past the base are searched for the operation.
    Search,
    /// (a) A version that is missing stops the operation.
    MissingStops,
    /// (b) The ticket must still be decided.
    StillDecided,
    /// (c) The commit lands at exactly the version after the head that was searched.
    ExactVersion,
    // Physical operations.
    /// A physical effect lands at base+1 or not at all.
    OnlyAfterBase,
    /// The sources are checked under the ticket (i).
    SourcesUnderTicket,
    /// What is called off is fenced first.
    FenceBeforeDiscard,
    /// What is called off is searched for after the fence.
    SearchAfterFence,
    // Healing and repair.
    /// The sidecar of an operation that no manifest names is deleted only once the operation is barred.
    BarBeforeDeletion,
    /// A quarantine is resolved only after a fence on every table.
    FenceBeforeResolve,
    /// A quarantined operation is discarded only when no table holds its effect.
    ResolveWhole,
    // Cleanup.
    /// The pins of kept manifests stay.
    KeepPins,
    /// The bases of tickets stay.
    KeepBases,
    /// Files that a decided or quarantined ticket on the table, or a sidecar, may yet need stay.
    SpareTickets,
}

/// The rules that are taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Without(u64);

impl Without {
    /// The protocol as it is.
    pub(crate) const NOTHING: Self = Self(0);

    pub(crate) const fn and(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u8)
    }

    pub(crate) const fn holds(self, rule: Rule) -> bool {
        self.0 >> rule as u8 & 1 == 0
    }
}
