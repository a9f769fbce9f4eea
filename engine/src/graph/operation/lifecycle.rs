//! The lifecycle of a logical operation up to its commit point (design §3, steps 1 to 7), and its hand-over to
//! `effects`.
//!
//! There are two ways in. The **short form** serves work that is staged in an instant: when nobody is ahead, it is
//! staged on the newest manifest without a ticket, and `enqueue` and `decide` are one transition; if anything
//! moved meanwhile, that is refused and the long form follows. The **long form** enters the queue first, so that
//! no physical operation can slip in between, however long the staging takes.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Receipt,
    effects::{self, Carried},
    expiry::unless_expired,
    ticket_guard::Held,
};
use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        context::Core,
        liveness::Alive,
        manifest::{
            Call, Ending, Manifest, OperationKind, Refusal, Ticket, TicketState, Touched,
            transition::{self, Structure},
        },
        sidecar::{LogicalPlan, Sidecar},
    },
    ids::{OperationId, TableKey},
    schema::Step,
    table::{effect::Effect, staged::Staged},
};

/// So often an operation starts over that a healer took for dead, or whose touched set grew.
const MAX_STARTS: usize = 5;

/// What an operation stages, table by table, on one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) effects: Vec<Effect>,
    pub(crate) staged: Vec<(TableKey, Staged)>,
    pub(crate) structure: Option<Structure>,
    /// The steps of a schema apply.
    pub(crate) steps: Vec<Step>,
    /// Pins that the caller insists on; the snapshot's for every other table.
    pub(crate) expected: BTreeMap<TableKey, u64>,
    pub(crate) rows_written: u64,
    pub(crate) rows_deleted: u64,
    pub(crate) summary: String,
}

impl Stage {
    /// Removes what was staged so far, when the rest cannot be.
    pub(crate) async fn abandon(&self, core: &Core, snapshot: &Manifest) {
        for (key, staged) in &self.staged {
            if let Ok(table) = core.table_in(snapshot, key) {
                staged.delete_files(&table).await;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.structure.is_none()
    }
}

/// A logical operation, apart from the protocol.
#[async_trait::async_trait]
pub(crate) trait Work: Send + Sync {
    fn kind(&self) -> OperationKind;

    /// The touched tables, from the plan alone, without a snapshot (step 1).
    fn touched(&self) -> Touched;

    /// Whether it is staged in an instant, so that staging it twice delays nobody.
    fn is_small(&self) -> bool;

    /// What the sidecar says for staging an effect again.
    fn plan(&self, stage: &Stage) -> LogicalPlan;

    /// The touched tables on a snapshot, when a snapshot can add to them (step 4).
    fn touched_on(&self, _snapshot: &Manifest) -> Touched {
        self.touched()
    }

    /// Writes every effect, uncommitted, at the heads (step 5). On an error it leaves no file behind.
    async fn stage(
        &self,
        core: &Core,
        snapshot: &Manifest,
        operation: OperationId,
    ) -> Result<Stage>;
}

/// Runs a logical operation to its acknowledgement.
pub(crate) async fn run(core: &Arc<Core>, work: &dyn Work) -> Result<Receipt> {
    let mut touched = work.touched();
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

fn ticket(core: &Core, work: &dyn Work, touched: &Touched, operation: OperationId) -> Ticket {
    Ticket {
        operation,
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        kind: work.kind(),
        touched: touched.clone(),
        state: TicketState::Waiting,
        at: Utc::now(),
    }
}

/// Step 5.
async fn stage(
    core: &Core,
    work: &dyn Work,
    snapshot: &Manifest,
    operation: OperationId,
) -> Result<Stage> {
    failpoint::hit!(BEFORE_STAGE);
    let stage = work.stage(core, snapshot, operation).await?;
    failpoint::hit!(AFTER_STAGE);
    Ok(stage)
}

/// The short form; `None` when it does not apply or something moved, with nothing changed.
async fn short_form(
    core: &Arc<Core>,
    work: &dyn Work,
    touched: &Touched,
) -> Result<Option<Receipt>> {
    let operation = OperationId::fresh();
    let ticket = ticket(core, work, touched, operation);
    let snapshot = core.register.newest().await?;
    if snapshot.ahead(&ticket).next().is_some() || !touched.covers(&work.touched_on(&snapshot)) {
        return Ok(None);
    }
    let began = Utc::now();
    let stage = match stage(core, work, &snapshot, operation).await {
        // What is past the pin may be an operation decided since the snapshot: under a ticket it shows.
        Err(Error::Drift { .. }) => return Ok(None),
        // A hard drop may have taken the snapshot's version away.
        Err(Error::Lance { .. }) if moved_on(core, &snapshot, touched).await? => return Ok(None),
        staged => staged?,
    };
    if stage.is_empty() {
        return nothing_to_do(core, operation, &stage, &snapshot).map(Some);
    }
    let sidecar = sidecar(core, work, operation, &stage);
    let expected = expected(&stage, touched, &snapshot);
    let staged = StagedOn {
        manifest: snapshot.number,
        began,
    };
    let entering = enter_decided(core.clone(), ticket, sidecar, stage, expected, staged);
    to_its_end(core, operation, entering).await
}

/// Whether the graph has other versions of the touched tables by now.
async fn moved_on(core: &Core, snapshot: &Manifest, touched: &Touched) -> Result<bool> {
    let newest = core.register.newest().await?;
    let mut tables = touched.all();
    Ok(tables.any(|table| newest.tables.get(table) != snapshot.tables.get(table)))
}

/// On which manifest an operation was staged, and since when.
#[derive(Clone, Copy)]
struct StagedOn {
    manifest: u64,
    began: DateTime<Utc>,
}

/// Steps 6 to 10 of the short form.
async fn enter_decided(
    core: Arc<Core>,
    ticket: Ticket,
    sidecar: Sidecar,
    stage: Stage,
    expected: BTreeMap<TableKey, u64>,
    staged: StagedOn,
) -> Result<Option<Receipt>> {
    let operation = sidecar.operation;
    if let Err(e) = core.recovery.write(&sidecar).await {
        undo(&core, operation, &stage).await;
        return Err(e);
    }
    let alive = core.liveness.hold();
    let bases = sidecar.bases();
    let by = core.by(&stage.summary);
    let enter = move |m: &Manifest| {
        transition::enqueue_decided(m, &ticket, &expected, &bases, staged.manifest, &by)
    };
    let entered = core
        .register
        .change(operation, unless_expired(staged.began, enter))
        .await;
    match entered {
        Ok(Call::Holds(decided)) => finish(&core, &sidecar, decided, &stage, alive)
            .await
            .map(Some),
        Ok(Call::Refused(refusal)) => {
            if refusal.proves_absence() {
                undo(&core, operation, &stage).await;
            }
            match refusal {
                Refusal::NotInFront { .. }
                | Refusal::BaseBehindPin { .. }
                | Refusal::AnotherTable { .. }
                | Refusal::Stale { .. }
                | Refusal::Outdated
                | Refusal::Ended(Ending::Aborted) => Ok(None),
                Refusal::ExpectedVersionMismatch { ref table, .. }
                    if !stage.expected.contains_key(table) =>
                {
                    Ok(None)
                }
                refusal => Err(core.refused(operation, refusal)),
            }
        }
        Err(e) => {
            if !e.leaves_open() {
                undo(&core, operation, &stage).await;
            }
            Err(e)
        }
    }
}

enum Long {
    Done(Receipt),
    /// The snapshot adds to the touched tables: enqueue anew.
    Grew(Touched),
    /// A healer took the holder for dead: a retry is another operation.
    Aborted,
}

async fn long_form(core: &Arc<Core>, work: &dyn Work, touched: &Touched) -> Result<Long> {
    let operation = OperationId::fresh();
    let ticket = ticket(core, work, touched, operation);
    let held = to_its_end(core, operation, enter(core.clone(), ticket)).await?;
    match with_ticket(core, work, touched, operation, held).await {
        Err(Error::Aborted { .. }) => Ok(Long::Aborted),
        other => other,
    }
}

/// Step 2 of the long form.
async fn enter(core: Arc<Core>, ticket: Ticket) -> Result<Held> {
    let operation = ticket.operation;
    let mut held = Held::new(&core, operation);
    let by = core.by("");
    let entered = core
        .register
        .change(operation, move |m| transition::enqueue(m, &ticket, &by))
        .await;
    match entered {
        Ok(Call::Holds(_)) => Ok(held),
        Ok(Call::Refused(refusal)) => {
            held.hand_over();
            Err(core.refused(operation, refusal))
        }
        // Only this process could decide the ticket: once it is taken back, nothing has happened.
        Err(Error::OutcomeUnknown {
            source: Some(source),
            operation,
            uri,
        }) => {
            let cause = if held.abort().await {
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
        Err(e) => held.fail(e).await,
    }
}

/// Steps 3 to 10 of the long form. Until it is decided, a failure or a cancellation aborts the ticket.
async fn with_ticket(
    core: &Arc<Core>,
    work: &dyn Work,
    touched: &Touched,
    operation: OperationId,
    mut held: Held,
) -> Result<Long> {
    let snapshot = match core.wait_in_line(operation).await {
        Ok(snapshot) => snapshot,
        Err(e) => return held.fail(e).await,
    };
    let grown = work.touched_on(&snapshot);
    if !touched.covers(&grown) {
        held.abort().await;
        return Ok(Long::Grew(grown));
    }
    let began = Utc::now();
    let stage = match stage(core, work, &snapshot, operation).await {
        Ok(stage) => stage,
        // What is past the pin may be the work of whoever went next, after a healer took the ticket away.
        Err(Error::Drift { .. }) if lost_its_ticket(core, operation).await => {
            held.abort().await;
            return Ok(Long::Aborted);
        }
        Err(e) => return held.fail(e).await,
    };
    if stage.is_empty() {
        held.abort().await;
        return nothing_to_do(core, operation, &stage, &snapshot).map(Long::Done);
    }
    let sidecar = sidecar(core, work, operation, &stage);
    let expected = expected(&stage, touched, &snapshot);
    to_its_end(
        core,
        operation,
        decide(core.clone(), held, sidecar, stage, expected, began),
    )
    .await
}

/// Whether an operation that had a ticket has none any more.
async fn lost_its_ticket(core: &Core, operation: OperationId) -> bool {
    let newest = core.register.newest().await;
    newest.is_ok_and(|manifest| manifest.ticket(operation).is_none())
}

/// Steps 6 to 10 of the long form.
async fn decide(
    core: Arc<Core>,
    mut held: Held,
    sidecar: Sidecar,
    stage: Stage,
    expected: BTreeMap<TableKey, u64>,
    began: DateTime<Utc>,
) -> Result<Long> {
    let operation = sidecar.operation;
    if let Err(e) = core.recovery.write(&sidecar).await {
        undo(&core, operation, &stage).await;
        return held.fail(e).await;
    }
    let (bases, by) = (sidecar.bases(), core.by(&stage.summary));
    let decide = move |m: &Manifest| transition::decide(m, operation, &expected, &bases, &by);
    let decided = core
        .register
        .change(operation, unless_expired(began, decide))
        .await;
    match decided {
        Ok(Call::Holds(decided)) => {
            let alive = held.hand_over();
            finish(&core, &sidecar, decided, &stage, alive)
                .await
                .map(Long::Done)
        }
        Ok(Call::Refused(refusal)) => {
            if refusal.proves_absence() {
                undo(&core, operation, &stage).await;
            }
            held.fail(core.refused(operation, refusal)).await
        }
        // The ticket may be decided: it is taken back or carried out in the background.
        Err(e) if e.leaves_open() => Err(e),
        Err(e) => {
            undo(&core, operation, &stage).await;
            held.fail(e).await
        }
    }
}

/// Runs what a caller that goes away must not interrupt: once a request is on its way, somebody has to hear the
/// answer and go on from there.
async fn to_its_end<T: Send + 'static>(
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

/// The receipt of an operation that changes nothing; what the caller insists on must hold all the same.
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

fn expected(stage: &Stage, touched: &Touched, snapshot: &Manifest) -> BTreeMap<TableKey, u64> {
    let pins = touched.all().map(|t| (t.clone(), snapshot.pin(t)));
    pins.chain(stage.expected.clone()).collect()
}

fn sidecar(core: &Core, work: &dyn Work, operation: OperationId, stage: &Stage) -> Sidecar {
    let mut effects = stage.effects.clone();
    effects.sort_by(|a, b| a.table.cmp(&b.table));
    Sidecar {
        format: Sidecar::FORMAT,
        operation,
        kind: work.kind(),
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        at: Utc::now(),
        plan: work.plan(stage),
        effects,
        structure: stage.structure.clone(),
        summary: stage.summary.clone(),
    }
}

/// Removes what was staged for an operation that is known not to take place.
async fn undo(core: &Core, operation: OperationId, stage: &Stage) {
    core.recovery.delete(operation).await;
    for (key, staged) in &stage.staged {
        if let Some(effect) = stage.effects.iter().find(|e| e.table == *key) {
            staged.delete_files(&core.table(key, &effect.path)).await;
        }
    }
}

/// Steps 8 to 10.
async fn finish(
    core: &Core,
    sidecar: &Sidecar,
    decided: Arc<Manifest>,
    stage: &Stage,
    _alive: Alive,
) -> Result<Receipt> {
    let operation = sidecar.operation;
    match effects::carry_out(core, sidecar, Some(decided)).await {
        Ok(Carried::Published { manifest, pins }) => Ok(Receipt {
            operation,
            manifest,
            pins,
            rows_written: stage.rows_written,
            rows_deleted: stage.rows_deleted,
        }),
        Ok(Carried::Quarantined { table, reason }) => Err(Error::Unapplied {
            table,
            operation,
            reason,
            uri: core.storage.uri.clone(),
        }),
        // A healer was faster.
        Ok(Carried::Ended(Ending::Published)) => {
            let (manifest, pins) = core.publication_of(operation).await;
            Ok(Receipt {
                operation,
                manifest,
                pins,
                rows_written: stage.rows_written,
                rows_deleted: stage.rows_deleted,
            })
        }
        Ok(Carried::Ended(_) | Carried::TooLate | Carried::Refused(_) | Carried::Forgotten) => {
            Err(unknown(core, operation))
        }
        Err(e) if e.leaves_open() => Err(e),
        Err(e) => Err(Error::Unfinished {
            operation,
            uri: core.storage.uri.clone(),
            source: Box::new(e),
        }),
    }
}
