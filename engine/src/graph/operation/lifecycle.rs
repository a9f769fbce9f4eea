//! The life of a logical operation (`docs/protocol.md`, The life of a logical operation): classify, enqueue, wait,
//! snapshot, stage, record, decide, and then apply, publish and clear, which are in `effects`.
//!
//! There are two forms. The **short form** serves work that is staged in an instant: when no operation is ahead, it is
//! staged on the newest manifest without a ticket, and `enqueue` and `decide` are one transition; if anything
//! moved meanwhile, that is refused and the long form follows. The **long form** enters the queue first, so that
//! no physical operation can slip in between, however long the staging takes.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Receipt, effects,
    outcome::Conclusion,
    prepared::Prepared,
    ticket_guard::TicketGuard,
    work::{LogicalWork, Stage},
};
use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        context::Core,
        liveness::Alive,
        manifest::{ChangeResult, Ending, Manifest, Refusal, Ticket, Touched, transition},
        manifest_cleanup::collect_in_passing,
    },
    ids::OperationId,
};

/// Maximum number of starts of an operation that healers abort, or whose touched tables grow.
const MAX_STARTS: usize = 5;

/// Runs a logical operation to its acknowledgement.
pub(crate) async fn run(core: &Arc<Core>, work: &dyn LogicalWork) -> Result<Receipt> {
    let mut touched = classify(work);
    for _ in 0..MAX_STARTS {
        let _turn = core.queues.turn(&touched).await;
        if work.is_small()
            && let Some(receipt) = short_form(core, work, &touched).await?
        {
            return Ok(receipt);
        }
        match long_form(core, work, &touched).await? {
            Long::Done(receipt) => return Ok(receipt),
            Long::Grew(grown) => touched = grown,
            Long::Aborted => {}
        }
    }
    Err(Error::Aborted {
        operation: OperationId::fresh(),
        uri: core.storage.uri.clone(),
    })
}

/// The short form; `None` when it does not apply or something moved, with nothing changed.
async fn short_form(
    core: &Arc<Core>,
    work: &dyn LogicalWork,
    touched: &Touched,
) -> Result<Option<Receipt>> {
    let operation = OperationId::fresh();
    let ticket = ticket(core, work, touched, operation);
    let snapshot = core.manifests.newest().await?;
    if snapshot.ahead(&ticket).next().is_some() || !touched.covers(&work.touched_on(&snapshot)) {
        return Ok(None);
    }
    let staged = match stage(core, work, &snapshot, operation).await {
        // What is past the pin may be an operation decided since the snapshot: under a ticket it shows.
        Err(Error::Drift { .. }) => return Ok(None),
        // A hard drop may have taken the snapshot's version away.
        Err(Error::Lance { .. } | Error::SnapshotGone { .. })
            if moved_on(core, &snapshot, touched).await? =>
        {
            return Ok(None);
        }
        staged => staged?,
    };
    if staged.0.is_empty() {
        return nothing_to_do(core, operation, &staged.0, &snapshot).map(Some);
    }
    let prepared = Prepared::new(core, work, operation, touched, &snapshot, staged);
    uncancelled(
        core,
        operation,
        enter_decided(core.clone(), ticket, prepared),
    )
    .await
}

/// Steps 6 to 10 of the short form, with `enqueue` and `decide` in one.
async fn enter_decided(
    core: Arc<Core>,
    ticket: Ticket,
    prepared: Prepared,
) -> Result<Option<Receipt>> {
    prepared.record(&core).await?;
    let alive = core.heartbeat.hold();
    let (expected, bases) = (prepared.expected.clone(), prepared.sidecar.bases());
    let (staged_on, by) = (prepared.staged_on, core.by(&prepared.stage.summary));
    let enter = move |m: &Manifest| {
        transition::enqueue_decided(m, &ticket, &expected, &bases, staged_on, &by)
    };
    match prepared.decide(&core, enter).await? {
        ChangeResult::Holds(decided) => finish(&core, &prepared, decided, alive).await.map(Some),
        ChangeResult::Refused(refusal) if takes_long_form(&refusal, &prepared.stage) => Ok(None),
        ChangeResult::Refused(refusal) => Err(core.refused(prepared.sidecar.operation, refusal)),
    }
}

/// Whether the long form may succeed where the short one was refused. It cannot where the caller insists on a pin that the
/// table does not have.
fn takes_long_form(refusal: &Refusal, stage: &Stage) -> bool {
    match refusal {
        Refusal::NotInFront { .. }
        | Refusal::BaseBehindPin { .. }
        | Refusal::AnotherTable { .. }
        | Refusal::Stale { .. }
        | Refusal::Outdated
        | Refusal::Ended(Ending::Aborted) => true,
        Refusal::ExpectedVersionMismatch { table, .. } => !stage.expected.contains_key(table),
        _ => false,
    }
}

/// What came of the long form.
enum Long {
    Done(Receipt),
    /// The snapshot adds to the touched tables: enqueue anew.
    Grew(Touched),
    /// A healer took the holder for dead: a retry is another operation.
    Aborted,
}

async fn long_form(core: &Arc<Core>, work: &dyn LogicalWork, touched: &Touched) -> Result<Long> {
    let operation = OperationId::fresh();
    let ticket = ticket(core, work, touched, operation);
    let guard = uncancelled(core, operation, enqueue(core.clone(), ticket)).await?;
    match with_ticket(core, work, touched, operation, guard).await {
        Err(Error::Aborted { .. }) => Ok(Long::Aborted),
        other => other,
    }
}

/// Steps 3 to 10 of the long form. Until it is decided, a failure or a cancellation aborts the ticket.
async fn with_ticket(
    core: &Arc<Core>,
    work: &dyn LogicalWork,
    touched: &Touched,
    operation: OperationId,
    mut guard: TicketGuard,
) -> Result<Long> {
    let snapshot = match core.wait_in_queue(operation).await {
        Ok(in_front) => in_front,
        Err(e) => return guard.fail(e).await,
    };
    let grown = work.touched_on(&snapshot);
    if !touched.covers(&grown) {
        guard.abort().await;
        return Ok(Long::Grew(grown));
    }
    let staged = match stage(core, work, &snapshot, operation).await {
        Ok(staged) => staged,
        // What is past the pin may be the next operation's work, after a healer took the ticket away.
        Err(Error::Drift { .. }) if lost_its_ticket(core, operation).await => {
            guard.abort().await;
            return Ok(Long::Aborted);
        }
        Err(e) => return guard.fail(e).await,
    };
    if staged.0.is_empty() {
        guard.abort().await;
        return nothing_to_do(core, operation, &staged.0, &snapshot).map(Long::Done);
    }
    let prepared = Prepared::new(core, work, operation, touched, &snapshot, staged);
    let deciding = decide(core.clone(), guard, prepared);
    uncancelled(core, operation, deciding).await.map(Long::Done)
}

/// Step 1: the touched tables, from the request alone.
fn classify(work: &dyn LogicalWork) -> Touched {
    work.touched()
}

fn ticket(
    core: &Core,
    work: &dyn LogicalWork,
    touched: &Touched,
    operation: OperationId,
) -> Ticket {
    core.ticket(operation, work.kind(), touched.clone())
}

/// Step 2 of the long form.
async fn enqueue(core: Arc<Core>, ticket: Ticket) -> Result<TicketGuard> {
    let operation = ticket.operation;
    let mut guard = TicketGuard::new(&core, operation);
    let by = core.by("");
    let entered = core
        .manifests
        .change(operation, move |m| transition::enqueue(m, &ticket, &by))
        .await;
    match entered {
        Ok(ChangeResult::Holds(_)) => Ok(guard),
        Ok(ChangeResult::Refused(refusal)) => {
            guard.disarm();
            Err(core.refused(operation, refusal))
        }
        // Only this process could decide the ticket: once it is taken back, nothing has happened.
        Err(Error::OutcomeUnknown {
            source: Some(source),
            operation,
            uri,
        }) => {
            let cause = if guard.abort().await {
                *source
            } else {
                let source = Some(source);
                Error::OutcomeUnknown {
                    operation,
                    uri,
                    source,
                }
            };
            Err(cause)
        }
        Err(e) => guard.fail(e).await,
    }
}

/// Step 5: what was staged, and when staging began.
async fn stage(
    core: &Core,
    work: &dyn LogicalWork,
    snapshot: &Manifest,
    operation: OperationId,
) -> Result<(Stage, DateTime<Utc>)> {
    let began = Utc::now();
    failpoint::hit!(BEFORE_STAGE);
    let stage = work.stage(core, snapshot, operation).await?;
    failpoint::hit!(AFTER_STAGE);
    Ok((stage, began))
}

/// Steps 6 to 10 of the long form.
async fn decide(core: Arc<Core>, mut guard: TicketGuard, prepared: Prepared) -> Result<Receipt> {
    let operation = prepared.sidecar.operation;
    if let Err(e) = prepared.record(&core).await {
        return guard.fail(e).await;
    }
    let (expected, bases) = (prepared.expected.clone(), prepared.sidecar.bases());
    let structure = prepared.sidecar.structure.clone();
    let by = core.by(&prepared.stage.summary);
    let decide = move |m: &Manifest| {
        transition::decide(m, operation, &expected, &bases, structure.as_ref(), &by)
    };
    match prepared.decide(&core, decide).await {
        Ok(ChangeResult::Holds(decided)) => {
            let alive = guard.disarm();
            finish(&core, &prepared, decided, alive).await
        }
        Ok(ChangeResult::Refused(refusal)) => guard.fail(core.refused(operation, refusal)).await,
        // The ticket may be decided: it is taken back or carried out in the background.
        Err(e) if e.leaves_open() => Err(e),
        Err(e) => guard.fail(e).await,
    }
}

/// Steps 8 to 10, and the acknowledgement.
async fn finish(
    core: &Arc<Core>,
    prepared: &Prepared,
    decided: Arc<Manifest>,
    _alive: Alive,
) -> Result<Receipt> {
    let operation = prepared.sidecar.operation;
    let execution = match effects::carry_out(core, &prepared.sidecar, Some(decided)).await {
        Ok(execution) => execution,
        Err(e) if e.leaves_open() => return Err(e),
        Err(e) => {
            return Err(Error::Unfinished {
                operation,
                uri: core.storage.uri.clone(),
                source: Box::new(e),
            });
        }
    };
    match execution.conclude(core, operation).await {
        Conclusion::Published { manifest, pins } => {
            collect_in_passing(core, manifest);
            Ok(Receipt {
                operation,
                manifest,
                pins,
                rows_written: prepared.stage.rows_written,
                rows_deleted: prepared.stage.rows_deleted,
            })
        }
        Conclusion::Quarantined { table, reason } => Err(Error::Unapplied {
            table,
            operation,
            reason,
            uri: core.storage.uri.clone(),
        }),
        Conclusion::Discarded { .. } | Conclusion::Unknown => Err(unknown(core, operation)),
    }
}

/// Whether the graph has other versions of the touched tables by now.
async fn moved_on(core: &Core, snapshot: &Manifest, touched: &Touched) -> Result<bool> {
    let newest = core.manifests.newest().await?;
    let mut tables = touched.all();
    Ok(tables.any(|table| newest.tables.get(table) != snapshot.tables.get(table)))
}

/// Whether an operation that had a ticket has none any more.
async fn lost_its_ticket(core: &Core, operation: OperationId) -> bool {
    let newest = core.manifests.newest().await;
    newest.is_ok_and(|manifest| manifest.ticket(operation).is_none())
}

/// Runs what a cancelled caller must not interrupt: once a request is under way, its answer has to be handled.
async fn uncancelled<T: Send + 'static>(
    core: &Core,
    operation: OperationId,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|_| Err(unknown(core, operation)))
}

fn unknown(core: &Core, operation: OperationId) -> Error {
    Error::OutcomeUnknown {
        operation,
        uri: core.storage.uri.clone(),
        source: None,
    }
}

/// The receipt of an operation that changes nothing. The pins that the caller insists on must hold all the same.
pub(super) fn nothing_to_do(
    core: &Core,
    operation: OperationId,
    stage: &Stage,
    snapshot: &Manifest,
) -> Result<Receipt> {
    for (table, &expected) in &stage.expected {
        let found = snapshot.pin(table);
        if found != expected {
            let table = table.clone();
            let mismatch = Refusal::ExpectedVersionMismatch {
                table,
                expected,
                found,
            };
            return Err(core.refused(operation, mismatch));
        }
    }
    Ok(Receipt {
        operation,
        manifest: snapshot.number,
        pins: BTreeMap::new(),
        rows_written: 0,
        rows_deleted: 0,
    })
}
