//! How a physical operation enters a graph: with its long work done before, and nothing held for it.
//!
//! Its sidecar is written, then it waits for its turn without a place in the queue, enters decided, checks that its
//! sources are still there, and holds the table for one metadata commit, whatever its size. What the work is, and what
//! it needs to find unchanged, is said by [`PhysicalWork`].

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use lance::{Dataset, dataset::transaction::Transaction};
use lance_io::object_store::ObjectStoreParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    conclude::call_off,
    effects,
    expiry::unless_expired,
    outcome::{Conclusion, Execution},
    staging::declared,
};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        liveness::Alive,
        manifest::{
            ChangeResult, Ending, Manifest, OperationKind, Refusal, Ticket, Touched, transition,
        },
        sidecar::{LogicalPlan, Sidecar},
    },
    ids::{OperationId, TableKey},
    progress::{self, Phase},
    storage::LeasedHandle,
    table::{
        Table,
        discard::{Loss, OrLost},
        drift::{self, DriftPolicy, ToStage},
        files::Files,
        staged::Staged,
        unwritable::Unwritable,
    },
};

/// Maximum number of turns of finished work before it is thrown away.
const MAX_TURNS: usize = 100;
/// Timeout of the wait for each turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// Long work that was done on one table with nothing held.
pub(super) trait PhysicalWork: Send + Sync + Sized + 'static {
    /// What kind of operation commits it.
    const KIND: OperationKind;
    /// What its sidecar says that it means.
    const PLAN: LogicalPlan;

    /// The work as one Lance transaction, read at the version that was worked on.
    fn transaction(&self) -> Transaction;

    /// Whether the work is still wanted, and this version of the table has what it was made from.
    fn holds(
        &self,
        manifest: &Manifest,
        table: &Table,
        now: &Dataset,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// One line for the log.
    fn summary(&self) -> String;

    /// Whether a file that was written is part of the work. What is not, is deleted before the work enters.
    fn keeps(&self, path: &str) -> bool;
}

/// A table that is about to be worked on: open at its pin, or past it by benign drift alone.
pub(super) struct Source {
    pub(super) table: Table,
    pub(super) dataset: Dataset,
    pub(super) way: Way,
}

/// The way back into the graph, for work on a [`Source`].
pub(super) struct Way {
    /// The graph as it was when the source was opened.
    pub(super) snapshot: Arc<Manifest>,
    table: Table,
    workshop: LeasedHandle,
    pin: u64,
    base: u64,
}

impl Source {
    pub(super) async fn open(core: &Core, key: &TableKey) -> Result<Self> {
        let snapshot = core.manifests.newest().await?;
        let table = Table {
            // A physical operation never publishes the meaning of another program's change.
            drift: DriftPolicy::Error,
            ..core.table_in(&snapshot, key)?
        };
        let workshop = table.storage.leased_handle().await?;
        let pin = snapshot.pin(key);
        let declared = declared(core, &snapshot, key)?;
        // Benign drift is worked on along; work that semantic drift would not let in is not begun.
        let opened = drift::open_to_stage(&table, pin, declared, || workshop.params()).await;
        let ToStage { dataset, base } = match opened {
            Err(Error::Drift { .. }) if core.explains_head(&snapshot, key).await? => {
                let pinned = table.if_there_with(pin, workshop.params()).await?;
                let dataset = pinned.ok_or_else(|| table.snapshot_gone(pin))?;
                ToStage { dataset, base: pin }
            }
            opened => opened?,
        };
        Ok(Self {
            way: Way {
                snapshot,
                table: table.clone(),
                workshop,
                pin,
                base,
            },
            table,
            dataset,
        })
    }
}

impl Way {
    /// How Lance opens the store for the work.
    pub(super) fn params(&self) -> ObjectStoreParams {
        self.workshop.params()
    }

    /// Does the work, and enters the queue with it, if there was anything to do. When `stop` is cancelled, or the work fails,
    /// what it wrote is deleted; a commit that has begun is finished.
    ///
    /// # Errors
    /// [`Error::Quarantined`] before the work begins, [`Error::Cancelled`], [`Error::CommitRefused`], and those of the work and
    /// of the store.
    pub(super) async fn enter<W: PhysicalWork>(
        self,
        core: &Arc<Core>,
        work: impl Future<Output = Result<Option<W>>>,
        stop: &CancellationToken,
    ) -> Result<Entry<W>> {
        let probe = ticket(core, &self.table.key, W::KIND);
        let ahead: Vec<_> = self.snapshot.ahead(&probe).cloned().collect();
        core.check_quarantine(&ahead, &probe)?;
        let files = Files::written_through(self.workshop, &self.table);
        let (started, began) = (Instant::now(), Utc::now());
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Cancelled),
            done = work => done,
        };
        let work = match done {
            Ok(Some(work)) => work,
            Ok(None) => {
                files.delete().await;
                return Ok(Entry::Empty);
            }
            Err(e) => {
                files.delete().await;
                return Err(e);
            }
        };
        files.delete_strays(|path| work.keeps(path)).await;
        let finished = Finished {
            work,
            files,
            took: started.elapsed(),
            began,
            pin: self.pin,
            base: self.base,
            checked: false,
        };
        progress::enter(Phase::Committing);
        // A caller that goes away ends the wait for a turn, but never a commit that has begun.
        let stop = stop.child_token();
        let _gone = stop.clone().drop_guard();
        match tokio::spawn(take_turn(core.clone(), self.table, finished, stop)).await {
            Ok(entry) => entry,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Cancelled),
        }
    }
}

/// What came of entering.
pub(super) enum Entry<W> {
    Entered(Entered<W>),
    /// It was thrown away.
    Lost(Loss),
    /// There was nothing to do.
    Empty,
}

/// Work that is published.
pub(super) struct Entered<W> {
    pub(super) work: W,
    pub(super) operation: OperationId,
    /// The first manifest that shows it.
    pub(super) manifest: u64,
    /// How long the work took, with nothing held.
    pub(super) took: Duration,
    /// How long the table was held for the commit.
    pub(super) hold: Duration,
}

/// Work that is not committed: its files are deleted with it, whatever way it ends.
struct Finished<W> {
    work: W,
    files: Files,
    took: Duration,
    /// Since when there are files, see `expiry`.
    began: DateTime<Utc>,
    /// The pin at which the table was planned, and the version that was read: past the pin by benign drift alone.
    pin: u64,
    base: u64,
    /// Whether the sources were seen to be there since.
    checked: bool,
}

fn ticket(core: &Core, key: &TableKey, kind: OperationKind) -> Ticket {
    let touched = Touched::writing([key.clone()]);
    core.ticket(OperationId::fresh(), kind, touched)
}

/// Work that is ready to enter: its sidecar is written, before anything is held.
struct Ready {
    ticket: Ticket,
    sidecar: Sidecar,
    /// The newest manifest when the sidecar was written, see `enqueue_decided`.
    staged_on: u64,
}

impl Ready {
    async fn write<W: PhysicalWork>(core: &Core, table: &Table, work: &W) -> Result<Self> {
        let ticket = ticket(core, &table.key, W::KIND);
        let staged = Staged::new(work.transaction(), None, ticket.operation);
        let staged_on = core.manifests.seen().map_or(0, |m| m.number);
        let sidecar = Sidecar {
            format: Sidecar::FORMAT,
            operation: ticket.operation,
            kind: W::KIND,
            holder: core.holder.clone(),
            actor: core.actor.clone(),
            at: Utc::now(),
            plan: W::PLAN,
            effects: vec![staged.to_effect(table, staged.transaction.read_version)?],
            structure: None,
            summary: work.summary(),
        };
        core.sidecars.write(&sidecar).await?;
        Ok(Self {
            ticket,
            sidecar,
            staged_on,
        })
    }
}

/// Waits for a turn, without a place in the queue, and commits.
async fn take_turn<W: PhysicalWork>(
    core: Arc<Core>,
    table: Table,
    mut finished: Finished<W>,
    stop: CancellationToken,
) -> Result<Entry<W>> {
    let mut ready = match Ready::write(&core, &table, &finished.work).await {
        Ok(ready) => ready,
        Err(e) => {
            finished.files.delete().await;
            return Err(e);
        }
    };
    let turns = turns(&core, &table, &mut finished, &mut ready, &stop).await;
    if !finished.files.kept {
        core.sidecars.delete(ready.ticket.operation).await;
    }
    match turns {
        Ok(Ok((manifest, hold))) => Ok(Entry::Entered(Entered {
            work: finished.work,
            operation: ready.ticket.operation,
            manifest,
            took: finished.took,
            hold,
        })),
        Ok(Err(loss)) => {
            finished.files.delete().await;
            Ok(Entry::Lost(loss))
        }
        Err(e) => {
            finished.files.delete().await;
            Err(e)
        }
    }
}

/// Turn after turn, until the work is published, or worth nothing any more.
async fn turns<W: PhysicalWork>(
    core: &Arc<Core>,
    table: &Table,
    finished: &mut Finished<W>,
    ready: &mut Ready,
    stop: &CancellationToken,
) -> Result<OrLost<(u64, Duration)>> {
    for _ in 0..MAX_TURNS {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Cancelled),
            waited = timeout(TURN_TIMEOUT, core.wait_for_no_conflict(&ready.ticket)) => match waited {
                Ok(free) => drop(free?),
                // Other jobs may need this operation's slot.
                Err(_) => return Ok(Err(Loss::NoTurn)),
            },
        }
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Cancelled),
            turn = core.queues.turn(&ready.ticket.touched) => turn,
        };
        match attempt(core, table, finished, ready).await? {
            Attempt::Done(manifest) => return Ok(Ok((manifest, turn.held()))),
            Attempt::Lost(loss) => return Ok(Err(loss)),
            Attempt::Moved => {}
            Attempt::Barred => {
                core.sidecars.delete(ready.ticket.operation).await;
                *ready = Ready::write(core, table, &finished.work).await?;
            }
        }
    }
    Ok(Err(Loss::NoTurn))
}

/// What came of one turn.
enum Attempt {
    /// The work is published by this manifest.
    Done(u64),
    /// Another operation came first: wait for another turn.
    Moved,
    /// It waited so long that a healer took its sidecar for an orphan: enter again under another id.
    Barred,
    /// The work is worth nothing.
    Lost(Loss),
}

/// One turn: it holds the table for one metadata commit.
async fn attempt<W: PhysicalWork>(
    core: &Arc<Core>,
    table: &Table,
    finished: &mut Finished<W>,
    ready: &Ready,
) -> Result<Attempt> {
    match decide(core, table, finished, ready).await? {
        ControlFlow::Continue(decision) => {
            take_effect(core, table, finished, ready, decision).await
        }
        ControlFlow::Break(attempt) => Ok(attempt),
    }
}

/// The work is decided: nothing else may happen on the table until it has taken effect, or is called off.
struct Decision {
    /// The manifest that says so.
    decided: Arc<Manifest>,
    /// The version of the table that it is committed after.
    base: u64,
    _alive: Alive,
}

/// Enters the queue, decided at once.
///
/// The sources are checked before the first try. From then on there is no other request between the look at the
/// manifest and the transition, or a writer that loads without a pause would always come first: the sources are checked
/// again under the pin that is held, and work whose sources changed in between is called off.
async fn decide<W: PhysicalWork>(
    core: &Arc<Core>,
    table: &Table,
    finished: &mut Finished<W>,
    ready: &Ready,
) -> Result<ControlFlow<Attempt, Decision>> {
    let operation = ready.ticket.operation;
    let manifest = core.manifests.newest().await?;
    if manifest.ahead(&ready.ticket).next().is_some() {
        return Ok(ControlFlow::Break(Attempt::Moved));
    }
    let entry = manifest.tables.get(&table.key);
    let Some(pin) = entry.filter(|e| e.path == table.path).map(|e| e.pin) else {
        return Ok(ControlFlow::Break(Attempt::Lost(Loss::TableDropped)));
    };
    // Drift that was there is at its base still; a pin that moved has taken it along.
    let base = if pin == finished.pin {
        finished.base
    } else {
        pin
    };
    if !std::mem::replace(&mut finished.checked, true) {
        let now = table.at(base).await?;
        // What is decided has to be carried out, or fenced off: both are commits.
        if let Some(why) = Unwritable::of(now.manifest()) {
            return Err(table.refused(&why, true));
        }
        if !finished.work.holds(&manifest, table, &now).await? {
            return Ok(ControlFlow::Break(Attempt::Lost(Loss::SourcesChanged)));
        }
    }
    let alive = core.heartbeat.hold();
    let pins = BTreeMap::from([(table.key.clone(), pin)]);
    let bases = BTreeMap::from([(table.key.clone(), base)]);
    finished.files.kept = true;
    let by = core.by(&ready.sidecar.summary);
    let (ticket, staged_on) = (ready.ticket.clone(), ready.staged_on);
    let enter =
        move |m: &Manifest| transition::enqueue_decided(m, &ticket, &pins, &bases, staged_on, &by);
    let entered = core
        .manifests
        .change(operation, unless_expired(finished.began, enter))
        .await;
    match entered {
        Ok(ChangeResult::Holds(decided)) => Ok(ControlFlow::Continue(Decision {
            decided,
            base,
            _alive: alive,
        })),
        Ok(ChangeResult::Refused(refusal)) => {
            finished.files.kept = !refusal.proves_absence();
            match refusal {
                Refusal::NotInFront { .. }
                | Refusal::ExpectedVersionMismatch { .. }
                | Refusal::AnotherTable { .. }
                | Refusal::BaseBehindPin { .. } => Ok(ControlFlow::Break(Attempt::Moved)),
                Refusal::Ended(Ending::Aborted) | Refusal::Stale { .. } => {
                    Ok(ControlFlow::Break(Attempt::Barred))
                }
                Refusal::Outdated => Ok(ControlFlow::Break(Attempt::Lost(Loss::Outdated))),
                refusal => Err(core.refused(operation, refusal)),
            }
        }
        Err(e) => {
            finished.files.kept = e.leaves_open();
            Err(e)
        }
    }
}

/// Carries decided work out, and finds what became of it and of its files.
async fn take_effect<W: PhysicalWork>(
    core: &Core,
    table: &Table,
    finished: &mut Finished<W>,
    ready: &Ready,
    decision: Decision,
) -> Result<Attempt> {
    let operation = ready.ticket.operation;
    let unknown = |source: Option<Error>| Error::OutcomeUnknown {
        operation,
        uri: core.storage.uri.clone(),
        source: source.map(Box::new),
    };
    let execution = carry_out(core, table, &finished.work, ready, &decision).await;
    let execution = execution.map_err(|e| unknown(Some(e)))?;
    match execution.conclude(core, operation).await {
        Conclusion::Published { manifest, .. } => Ok(Attempt::Done(manifest)),
        Conclusion::Discarded {
            files_are_unused,
            refused,
        } => {
            // Files that a version may hold are left to cleanup.
            finished.files.kept = !files_are_unused;
            match refused {
                Some(reason) => Err(table.refused(&reason, false)),
                None => Ok(Attempt::Lost(Loss::SourcesChanged)),
            }
        }
        Conclusion::Quarantined { .. } | Conclusion::Unknown => Err(unknown(None)),
    }
}

/// Commits the work after the version that was decided on, or calls it off.
async fn carry_out<W: PhysicalWork>(
    core: &Core,
    table: &Table,
    work: &W,
    ready: &Ready,
    decision: &Decision,
) -> Result<Execution> {
    let (decided, base) = (&decision.decided, decision.base);
    let now = table.at(base).await?;
    let mut sidecar = ready.sidecar.clone();
    if !work.holds(decided, table, &now).await? {
        sidecar.take_bases(&BTreeMap::from([(table.key.clone(), base)]));
        return call_off(core, &sidecar).await;
    }
    // Checked: so it needs no comparison with the versions since the work began.
    let mut staged = Staged::new(work.transaction(), None, ready.ticket.operation);
    staged.transaction.read_version = base;
    sidecar.effects = vec![staged.to_effect(table, base)?];
    effects::carry_out(core, &sidecar, Some(decided.clone())).await
}
