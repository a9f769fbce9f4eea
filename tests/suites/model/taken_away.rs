//! The test of the test: a world for each rule in which it is missed.

use super::{
    configurations::{A, AB, B, Configuration, Operation},
    rules::Rule::{self, *},
};

/// The rules that are missed when they are taken away, each with the smallest world in which that shows.
pub(crate) fn missed() -> Vec<(Rule, Configuration)> {
    let short = Operation::short;
    let long = Operation::long;
    let physical = Operation::physical;
    let new = |operations: &[Operation], helpers| {
        Configuration::new("", operations, helpers).but(|c| c.liveness = false)
    };
    let answer_lost = || new(&[short(A)], 1).with(|b| (b.errors, b.collections) = (1, 1));
    let sidecar_lost = || new(&[physical(A)], 1).with(|b| b.lost_sidecars = 1);
    let quarantined =
        |tables| new(&[short(tables)], 1).with(|b| (b.lost_sidecars, b.resolutions) = (1, 1));
    vec![
        (
            ConfirmByList,
            new(&[short(A), short(B)], 1).with(|b| b.collections = 1),
        ),
        (CloseOnlyUncollected, answer_lost()),
        (OpenIsUnknown, answer_lost()),
        (
            LookBeforeGivingUp,
            new(&[short(A)], 1).with(|b| (b.errors, b.failures) = (1, 1)),
        ),
        (
            DeleteOnlyCounted,
            new(&[short(A)], 1).with(|b| (b.late, b.collections) = (1, 1)),
        ),
        (
            ReadWhatWasListed,
            new(&[short(A)], 2)
                .with(|b| b.collections = 2)
                .but(|c| c.split_reads = true),
        ),
        (Idempotence, answer_lost()),
        (DecidedStaysDecided, answer_lost()),
        (
            StagedOnKept,
            new(&[short(A)], 1).with(|b| b.collections = 1),
        ),
        (ExpectedPins, new(&[short(A), short(B).reading(A)], 0)),
        (NobodyAhead, new(&[short(A), short(A)], 0)),
        (
            QuarantineBlocks,
            new(&[short(A), short(A)], 1).with(|b| b.lost_sidecars = 1),
        ),
        (AbortOnlyWaiting, new(&[long(A)], 1)),
        (
            DiscardNeedsTicket,
            new(&[physical(A), short(A)], 1)
                .with(|b| (b.errors, b.collections, b.cleanups) = (1, 1, 1)),
        ),
        (
            AdoptOnlyUntouched,
            new(&[physical(A)], 1).with(|b| b.adoptions = 1),
        ),
        (QueueBeforeSnapshot, new(&[long(A), long(A)], 0)),
        (
            SidecarBeforeDecision,
            new(&[short(A)], 1).with(|b| b.crashes = 1),
        ),
        (FilesOnlyAfterProof, answer_lost()),
        (Search, new(&[short(A)], 1)),
        (
            MissingStops,
            new(&[short(A)], 1).with(|b| (b.semantic, b.lost_versions) = (1, 1)),
        ),
        (StillDecided, quarantined(A)),
        (ExactVersion, new(&[short(A)], 1)),
        (OnlyAfterBase, sidecar_lost()),
        (
            SourcesUnderTicket,
            new(&[short(A).removing(), physical(A)], 0),
        ),
        (FenceBeforeDiscard, sidecar_lost()),
        (SearchAfterFence, sidecar_lost()),
        (BarBeforeDeletion, new(&[short(A)], 1)),
        (FenceBeforeResolve, quarantined(A)),
        (ResolveWhole, quarantined(AB)),
        (KeepPins, new(&[short(A)], 1).with(|b| b.cleanups = 1)),
        (
            SpareTickets,
            new(&[short(A)], 1).with(|b| (b.crashes, b.sweeps) = (1, 1)),
        ),
    ]
}

/// Rules that follow from others: without one of them the model holds. They guard against a mistake of ours.
pub(crate) fn implied() -> Vec<(Rule, Configuration)> {
    let short = Operation::short;
    let physical = Operation::physical;
    let new = |operations: &[Operation], helpers| {
        Configuration::new("", operations, helpers).but(|c| c.liveness = false)
    };
    let drifts = || new(&[short(A), physical(A)], 1).with(|b| (b.benign, b.cleanups) = (1, 1));
    vec![
        (RefuseOnListed, new(&[short(A), physical(A)], 1)),
        (BaseNotBehindPin, drifts()),
        (PinsOnlyForward, drifts()),
        (KeepBases, drifts()),
    ]
}
