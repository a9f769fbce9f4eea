//! The lifecycle of a logical operation up to its commit point (design §3, steps 1 to 7), and its hand-over to
//! `effects`.
//!
//! There are two ways in. The **short form** serves work that is staged in an instant: when nobody is ahead, it is
//! staged on the newest manifest without a ticket, and `enqueue` and `decide` are one transition; if anything
//! moved meanwhile, that is refused and the long form follows. The **long form** enters the queue first, so that
//! no physical operation can slip in between, however long the staging takes.

use std::{collections::BTreeMap, sync::Arc};

use chrono::Utc;

use super::{
    Receipt,
    effects::{self, Carried},
};
use crate::{
    core::Core,
    error::{Error, Result},
    liveness::Alive,
    manifest::{
        Call, Ending, Manifest, OperationKind, Refusal, Ticket, TicketState, Touched,
        transition::{self, By, Structure},
    },
    names::{OperationId, TableKey},
    sidecar::{Effect, LogicalPlan, Sidecar},
    table::staged::Staged,
};

/// So often an operation starts over that a healer took for dead, or whose touched set grew.
const MAX_STARTS: usize = 5;

/// What an operation stages, table by table, on one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) effects: Vec<Effect>,
    pub(crate) staged: Vec<(TableKey, Staged)>,
    pub(crate) structure: Option<Structure>,
    /// Pins that the caller insists on; the snapshot's for every other table.
    pub(crate) expected: BTreeMap<TableKey, u64>,
    pub(crate) rows_written: u64,
    pub(crate) rows_deleted: u64,
    pub(crate) summary: String,
}

impl Stage {
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

    fn plan(&self) -> LogicalPlan;

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

/// The short form; `None` when it does not apply or something moved, with nothing changed.
async fn short_form(
    core: &Arc<Core>,
    work: &dyn Work,
    touched: &Touched,
) -> Result<Option<Receipt>> {
    let operation = OperationId::fresh();
    let ticket = ticket(core, work, touched, operation);
    let snapshot = core.register.newest().await?;
    if snapshot.ahead(&ticket).next().is_some() || work.touched_on(&snapshot) != *touched {
        return Ok(None);
    }
    let stage = work.stage(core, &snapshot, operation).await?;
    if stage.is_empty() {
        return Ok(Some(nothing_to_do(operation, &snapshot)));
    }
    let sidecar = match write_sidecar(core, work, operation, &stage).await {
        Ok(sidecar) => sidecar,
        Err(e) => {
            undo(core, operation, &stage).await;
            return Err(e);
        }
    };
    let alive = core.liveness.hold();
    let (expected, bases) = (expected(&stage, touched, &snapshot), sidecar.bases());
    let entered = core
        .register
        .change(operation, |m| {
            let by = by(core, &stage.summary);
            transition::enqueue_decided(m, &ticket, &expected, &bases, snapshot.number, &by)
        })
        .await?;
    match entered {
        Call::Holds(decided) => finish(core, sidecar, decided, &stage, alive).await.map(Some),
        Call::Refused(refusal) => {
            undo(core, operation, &stage).await;
            match refusal {
                Refusal::NotInFront { .. } | Refusal::BaseBehindPin { .. } | Refusal::Stale { .. } => {
                    Ok(None)
                }
                Refusal::ExpectedVersionMismatch { ref table, .. }
                    if !stage.expected.contains_key(table) =>
                {
                    Ok(None)
                }
                refusal => Err(core.refused(operation, refusal)),
            }
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
    let entered = core
        .register
        .change(operation, |m| transition::enqueue(m, &ticket, &by(core, "")))
        .await?;
    if let Call::Refused(refusal) = entered {
        return Err(core.refused(operation, refusal));
    }
    let held = Held::new(core, operation);
    let result = with_ticket(core, work, touched, operation, held).await;
    match result {
        Err(Error::Aborted { .. }) => Ok(Long::Aborted),
        other => other,
    }
}

/// Steps 3 to 7 of the long form. Until it is decided, a failure or a cancellation aborts the ticket.
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
    if grown != *touched {
        held.abort().await;
        return Ok(Long::Grew(grown));
    }
    let stage = match work.stage(core, &snapshot, operation).await {
        Ok(stage) => stage,
        Err(e) => return held.fail(e).await,
    };
    if stage.is_empty() {
        held.abort().await;
        return Ok(Long::Done(nothing_to_do(operation, &snapshot)));
    }
    let sidecar = match write_sidecar(core, work, operation, &stage).await {
        Ok(sidecar) => sidecar,
        Err(e) => {
            undo(core, operation, &stage).await;
            return held.fail(e).await;
        }
    };
    let (expected, bases) = (expected(&stage, touched, &snapshot), sidecar.bases());
    let decided = core
        .register
        .change(operation, |m| {
            transition::decide(m, operation, &expected, &bases, &by(core, &stage.summary))
        })
        .await;
    match decided {
        Ok(Call::Holds(decided)) => {
            let alive = held.hand_over();
            finish(core, sidecar, decided, &stage, alive).await.map(Long::Done)
        }
        Ok(Call::Refused(refusal)) => {
            undo(core, operation, &stage).await;
            held.fail(core.refused(operation, refusal)).await
        }
        // The ticket may be decided: whoever comes next finds out.
        Err(e) => {
            if e.leaves_open() {
                held.hand_over();
            } else {
                undo(core, operation, &stage).await;
                held.abort().await;
            }
            Err(e)
        }
    }
}

fn nothing_to_do(operation: OperationId, snapshot: &Manifest) -> Receipt {
    Receipt {
        operation,
        manifest: snapshot.number,
        pins: BTreeMap::new(),
        rows_written: 0,
        rows_deleted: 0,
    }
}

fn by<'a>(core: &'a Core, summary: &'a str) -> By<'a> {
    By {
        actor: &core.actor,
        at: Utc::now(),
        summary,
    }
}

fn expected(stage: &Stage, touched: &Touched, snapshot: &Manifest) -> BTreeMap<TableKey, u64> {
    let pins = touched.all().map(|t| (t.clone(), snapshot.pin(t)));
    pins.chain(stage.expected.clone()).collect()
}

async fn write_sidecar(
    core: &Core,
    work: &dyn Work,
    operation: OperationId,
    stage: &Stage,
) -> Result<Sidecar> {
    let mut effects = stage.effects.clone();
    effects.sort_by(|a, b| a.table.cmp(&b.table));
    let sidecar = Sidecar {
        format: Sidecar::FORMAT,
        operation,
        kind: work.kind(),
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        at: Utc::now(),
        plan: work.plan(),
        effects,
        structure: stage.structure.clone(),
        summary: stage.summary.clone(),
    };
    core.recovery.write(&sidecar).await?;
    Ok(sidecar)
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

/// Steps 8 to 10, in a task of their own: a caller that is cancelled after the commit point does not leave the
/// work to a healer.
async fn finish(
    core: &Arc<Core>,
    sidecar: Sidecar,
    decided: Arc<Manifest>,
    stage: &Stage,
    alive: Alive,
) -> Result<Receipt> {
    let operation = sidecar.operation;
    let task = {
        let core = core.clone();
        tokio::spawn(async move {
            let _alive = alive;
            effects::carry_out(&core, &sidecar, Some(decided)).await
        })
    };
    let carried = match task.await {
        Ok(carried) => carried,
        Err(_) => {
            return Err(Error::OutcomeUnknown {
                operation,
                uri: core.storage.uri.clone(),
                source: None,
            });
        }
    };
    match carried {
        Ok(Carried::Published { manifest, pins }) => Ok(Receipt {
            operation,
            manifest,
            pins,
            rows_written: stage.rows_written,
            rows_deleted: stage.rows_deleted,
        }),
        Ok(Carried::Quarantined { table, reason }) => Err(Error::Quarantined {
            table,
            blocked_by: operation,
            reason,
            uri: core.storage.uri.clone(),
        }),
        // A healer was faster.
        Ok(Carried::Ended(Ending::Published)) => {
            let (manifest, pins) = core.publication_of(operation).await?;
            Ok(Receipt {
                operation,
                manifest,
                pins,
                rows_written: stage.rows_written,
                rows_deleted: stage.rows_deleted,
            })
        }
        Ok(Carried::Ended(_) | Carried::Forgotten) => Err(Error::OutcomeUnknown {
            operation,
            uri: core.storage.uri.clone(),
            source: None,
        }),
        Err(e) if e.leaves_open() => Err(e),
        Err(e) => Err(Error::Unfinished {
            operation,
            uri: core.storage.uri.clone(),
            source: Box::new(e),
        }),
    }
}

/// A waiting ticket: aborted when it is dropped, unless it was handed over to its effects.
struct Held {
    core: Arc<Core>,
    operation: OperationId,
    alive: Option<Alive>,
}

impl Held {
    fn new(core: &Arc<Core>, operation: OperationId) -> Self {
        Self {
            core: core.clone(),
            operation,
            alive: Some(core.liveness.hold()),
        }
    }

    fn hand_over(&mut self) -> Alive {
        self.alive.take().unwrap_or_else(|| self.core.liveness.hold())
    }

    async fn fail<T>(&mut self, e: Error) -> Result<T> {
        self.abort().await;
        Err(e)
    }

    async fn abort(&mut self) {
        if let Some(alive) = self.alive.take() {
            abort(&self.core, self.operation).await;
            drop(alive);
        }
    }
}

async fn abort(core: &Core, operation: OperationId) {
    let aborted = core
        .register
        .change(operation, |m| transition::abort(m, operation, &by(core, "")))
        .await;
    if let Err(e) = aborted {
        tracing::warn!(%operation, uri = %core.storage.uri, error = %e, "a ticket could not be taken back; a healer will");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else {
            return;
        };
        // Cancelled in the middle: take the ticket back all the same.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (core, operation) = (self.core.clone(), self.operation);
            runtime.spawn(async move {
                abort(&core, operation).await;
                drop(alive);
            });
        }
    }
}
