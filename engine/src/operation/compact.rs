//! `Compact`: fragments are rewritten, the rows stay.
//!
//! All long work comes before the queue. The rewrite runs and the sidecar is written with nothing held; then the
//! operation waits its turn without a place, comes in decided, checks that its sources are still there, and holds the
//! table for one metadata commit, whatever its size.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use lance::{
    Dataset,
    dataset::{
        optimize::{CompactionOptions, CompactionTask, RewriteResult, TaskData},
        transaction::{Operation, RewriteGroup, Transaction},
    },
};
use lance_table::format::Fragment;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::effects::{self, Carried};
use crate::{
    core::Core,
    error::{Error, Result},
    failpoint,
    maintenance::compaction::{self, CompactionPolicy, Group, Reason, Skip, Verdict},
    manifest::{
        Call, Ending, Manifest, OperationKind, Refusal, Ticket, TicketState, Touched, transition,
    },
    names::{OperationId, TableKey},
    sidecar::{LogicalPlan, Sidecar},
    storage::Workshop,
    table::{
        Table,
        drift::{self, DriftPolicy},
        staged::Staged,
        stats::TableStats,
    },
};

/// So often a finished rewrite asks for its turn before it is thrown away.
const MAX_TURNS: usize = 100;
/// So long it waits for each.
const TURN_PATIENCE: Duration = Duration::from_secs(60);
/// Rows that a rewrite reads at once, and the bytes that it lets queue up in memory.
const BATCH_ROWS: usize = 8192;
const IO_BUFFER_BYTES: u64 = 256 << 20;

/// What a compaction came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Compacted {
    /// The table was left alone, because of this.
    Skipped(Skip),
    /// The table was rewritten.
    Done(CompactReceipt),
    /// The layout moved on while it was being rewritten: the work was thrown away, to be planned anew.
    Lost,
}

/// What an acknowledged compaction did.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactReceipt {
    /// The operation's id.
    pub operation: OperationId,
    /// The first manifest that shows it.
    pub manifest: u64,
    /// Why the table was due.
    pub reason: Reason,
    /// Fragments that were read.
    pub fragments_before: usize,
    /// Fragments that were written.
    pub fragments_after: usize,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// How long the rewrite took, with nothing held.
    pub rewrite: Duration,
    /// How long the tables were held for the commit.
    pub hold: Duration,
}

/// Files of a rewrite that is not committed: deleted with it, whatever way it ends.
struct Rewrite {
    results: Vec<RewriteResult>,
    files: Files,
    took: Duration,
    /// The pin at which the table was planned, and the version that was read: past the pin by benign drift alone.
    pin: u64,
    base: u64,
    /// Whether the sources were seen to be there since.
    checked: bool,
}

struct Files {
    workshop: Option<Workshop>,
    table: Table,
    /// They belong to the table, or may.
    kept: bool,
}

impl Files {
    /// Deletes them, unless a version of the table holds them or may.
    async fn delete(mut self) {
        if !std::mem::replace(&mut self.kept, true)
            && let Some(workshop) = &self.workshop
        {
            workshop.delete_created(&self.table.storage.store).await;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let Some(workshop) = self.workshop.take().filter(|_| !self.kept) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let store = self.table.storage.store.clone();
            runtime.spawn(async move { workshop.delete_created(&store).await });
        }
    }
}

/// Compacts one table once. See [`crate::Graph::compact`].
pub(crate) async fn compact(
    core: &Arc<Core>,
    key: &TableKey,
    policy: &CompactionPolicy,
    forced: bool,
    stop: &CancellationToken,
) -> Result<Compacted> {
    let snapshot = core.register.newest().await?;
    let table = Table {
        // A physical operation never publishes what somebody else's change means.
        drift: DriftPolicy::Error,
        ..core.table_in(&snapshot, key)?
    };
    let workshop = table.storage.workshop().await?;
    let open = |version| {
        let params = workshop.params();
        let table = &table;
        async move {
            let opened = table.open(version, params, None).await;
            opened.map_err(|e| table.failed("opening", e))
        }
    };
    let pin = snapshot.pin(key);
    let mut dataset = open(pin).await?;
    // Benign drift is rewritten along; a rewrite that semantic drift would not let in is not begun.
    let head = table.head_of(&dataset).await?;
    let base = match drift::stage_at(&table, pin, head).await {
        Ok(base) => base,
        Err(Error::Drift { .. }) if core.explains_head(&snapshot, key).await? => pin,
        Err(e) => return Err(e),
    };
    if base != pin {
        dataset = open(base).await?;
    }
    let stats = TableStats::read(&dataset)
        .await
        .map_err(|e| table.failed("reading the indexes of", e))?;
    let (groups, reason) = match compaction::plan(&stats, policy, forced) {
        Verdict::Compact(groups, reason) => (groups, reason),
        Verdict::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    let probe = ticket(core, key);
    let ahead: Vec<_> = snapshot.ahead(&probe).cloned().collect();
    core.check_quarantine(&ahead, &probe)?;
    let files = Files {
        workshop: Some(workshop),
        table: table.clone(),
        kept: false,
    };
    let started = std::time::Instant::now();
    let rewritten = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Cancelled),
        results = rewrite(&table, &dataset, &groups, policy) => results,
    };
    let results = match rewritten {
        Ok(results) => results,
        Err(e) => {
            files.delete().await;
            return Err(e);
        }
    };
    let rewrite = Rewrite {
        results,
        files,
        took: started.elapsed(),
        pin,
        base,
        checked: false,
    };
    // A caller that goes away ends the wait for a turn, but never a commit that has begun.
    let stop = stop.child_token();
    let _gone = stop.clone().drop_guard();
    match tokio::spawn(take_turn(core.clone(), table, rewrite, reason, stop)).await {
        Ok(compacted) => compacted,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

/// Writes the new fragments, group after group; commits nothing.
async fn rewrite(
    table: &Table,
    dataset: &Dataset,
    groups: &[Group],
    policy: &CompactionPolicy,
) -> Result<Vec<RewriteResult>> {
    failpoint::hit!(BEFORE_REWRITE);
    let by_id = fragments_by_id(dataset);
    let mut results = Vec::new();
    for group in groups {
        let fragments = group.fragments.iter().filter_map(|id| by_id.get(id));
        let task = CompactionTask {
            task: TaskData {
                fragments: fragments.map(|f| (*f).clone()).collect(),
            },
            read_version: dataset.manifest().version,
            options: CompactionOptions {
                // One fragment per group: the groups are sized by bytes already.
                target_rows_per_fragment: usize::try_from(group.rows).unwrap_or(usize::MAX).max(1),
                max_bytes_per_file: usize::try_from(policy.target_bytes.saturating_mul(4)).ok(),
                batch_size: Some(BATCH_ROWS),
                io_buffer_size: Some(IO_BUFFER_BYTES),
                num_threads: Some(1),
                ..CompactionOptions::default()
            },
        };
        let result = task.execute(dataset).await;
        results.push(result.map_err(|e| table.failed("rewriting", e))?);
    }
    failpoint::hit!(AFTER_REWRITE);
    Ok(results)
}

fn ticket(core: &Core, key: &TableKey) -> Ticket {
    Ticket {
        operation: OperationId::fresh(),
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        kind: OperationKind::Compact,
        touched: Touched::writing([key.clone()]),
        state: TicketState::Waiting,
        at: Utc::now(),
    }
}

/// How a rewrite stands ready to come in: its sidecar is written, before anything is held.
struct Ready {
    ticket: Ticket,
    sidecar: Sidecar,
    /// The newest manifest when the sidecar was written, see `enqueue_decided`.
    staged_on: u64,
}

impl Ready {
    async fn write(core: &Core, table: &Table, rewrite: &Rewrite) -> Result<Self> {
        let ticket = ticket(core, &table.key);
        let staged = Staged::new(transaction(&rewrite.results), None, ticket.operation);
        let staged_on = core.register.seen().map_or(0, |m| m.number);
        let sidecar = Sidecar {
            format: Sidecar::FORMAT,
            operation: ticket.operation,
            kind: OperationKind::Compact,
            holder: core.holder.clone(),
            actor: core.actor.clone(),
            at: Utc::now(),
            plan: LogicalPlan::Compact,
            effects: vec![staged.to_effect(table, staged.transaction.read_version)?],
            structure: None,
            summary: summary(&rewrite.results),
        };
        core.recovery.write(&sidecar).await?;
        Ok(Self {
            ticket,
            sidecar,
            staged_on,
        })
    }
}

/// Waits for a turn, without a place in the queue, and commits.
async fn take_turn(
    core: Arc<Core>,
    table: Table,
    mut rewrite: Rewrite,
    reason: Reason,
    stop: CancellationToken,
) -> Result<Compacted> {
    let mut ready = match Ready::write(&core, &table, &rewrite).await {
        Ok(ready) => ready,
        Err(e) => {
            rewrite.files.delete().await;
            return Err(e);
        }
    };
    let turns = turns(&core, &table, &mut rewrite, &mut ready, &stop).await;
    if !rewrite.files.kept {
        core.recovery.delete(ready.ticket.operation).await;
    }
    match turns {
        Ok(Some((manifest, hold))) => {
            let receipt = receipt(&rewrite.results, ready.ticket.operation, manifest);
            Ok(Compacted::Done(CompactReceipt {
                reason,
                rewrite: rewrite.took,
                hold,
                ..receipt
            }))
        }
        Ok(None) => {
            rewrite.files.delete().await;
            Ok(Compacted::Lost)
        }
        Err(e) => {
            rewrite.files.delete().await;
            Err(e)
        }
    }
}

/// Turn after turn, until the rewrite is published; `None` when it is worth nothing any more.
async fn turns(
    core: &Arc<Core>,
    table: &Table,
    rewrite: &mut Rewrite,
    ready: &mut Ready,
    stop: &CancellationToken,
) -> Result<Option<(u64, Duration)>> {
    for _ in 0..MAX_TURNS {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Cancelled),
            waited = timeout(TURN_PATIENCE, core.wait_for_no_conflict(&ready.ticket)) => match waited {
                Ok(free) => drop(free?),
                // Others may need this operation's place among the jobs.
                Err(_) => return Ok(None),
            },
        }
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Cancelled),
            turn = core.queues.turn(&ready.ticket.touched) => turn,
        };
        match attempt(core, table, rewrite, ready).await? {
            Attempt::Done(manifest) => return Ok(Some((manifest, turn.held()))),
            Attempt::Lost => return Ok(None),
            Attempt::Moved => {}
            Attempt::Barred => {
                core.recovery.delete(ready.ticket.operation).await;
                *ready = Ready::write(core, table, rewrite).await?;
            }
        }
    }
    Ok(None)
}

enum Attempt {
    Done(u64),
    /// Somebody came first: wait for another turn.
    Moved,
    /// It waited so long that a healer took its sidecar for an orphan: come again under another id.
    Barred,
    /// The sources are gone: the work is worth nothing.
    Lost,
}

/// One turn: it holds the table for one metadata commit.
///
/// The sources are checked before the first try. From then on there is no other request between the look at the
/// manifest and the transition, or a writer that loads without a pause would always come first: the sources are checked
/// again under the pin that is held, and a rewrite whose sources went in between is called off.
async fn attempt(
    core: &Arc<Core>,
    table: &Table,
    rewrite: &mut Rewrite,
    ready: &Ready,
) -> Result<Attempt> {
    let operation = ready.ticket.operation;
    let manifest = core.register.newest().await?;
    if manifest.ahead(&ready.ticket).next().is_some() {
        return Ok(Attempt::Moved);
    }
    let entry = manifest.tables.get(&table.key);
    let Some(pin) = entry.filter(|e| e.path == table.path).map(|e| e.pin) else {
        return Ok(Attempt::Lost);
    };
    // Drift that was there is at its base still; a pin that moved has taken it along.
    let base = if pin == rewrite.pin {
        rewrite.base
    } else {
        pin
    };
    if !std::mem::replace(&mut rewrite.checked, true)
        && !sources_unchanged(&table.at(base).await?, &rewrite.results)
    {
        return Ok(Attempt::Lost);
    }
    let _alive = core.liveness.hold();
    let pins = BTreeMap::from([(table.key.clone(), pin)]);
    let bases = BTreeMap::from([(table.key.clone(), base)]);
    rewrite.files.kept = true;
    let by = core.by(&ready.sidecar.summary);
    let (ticket, staged_on) = (ready.ticket.clone(), ready.staged_on);
    let entered = core
        .register
        .change(operation, move |m| {
            transition::enqueue_decided(m, &ticket, &pins, &bases, staged_on, &by)
        })
        .await;
    let decided = match entered {
        Ok(Call::Holds(decided)) => decided,
        Ok(Call::Refused(refusal)) => {
            rewrite.files.kept = !refusal.proves_absence();
            return match refusal {
                Refusal::NotInFront { .. }
                | Refusal::ExpectedVersionMismatch { .. }
                | Refusal::AnotherTable { .. }
                | Refusal::BaseBehindPin { .. } => Ok(Attempt::Moved),
                Refusal::Ended(Ending::Aborted) | Refusal::Stale { .. } => Ok(Attempt::Barred),
                refusal => Err(core.refused(operation, refusal)),
            };
        }
        Err(e) => {
            rewrite.files.kept = e.leaves_open();
            return Err(e);
        }
    };
    let unknown = |source: Option<Error>| Error::OutcomeUnknown {
        operation,
        uri: core.storage.uri.clone(),
        source: source.map(Box::new),
    };
    match carry_out(core, table, rewrite, ready, base, decided).await {
        Ok(Carried::Published { manifest, .. }) => Ok(Attempt::Done(manifest)),
        // A healer was faster.
        Ok(Carried::Ended(Ending::Published)) => {
            Ok(Attempt::Done(core.publication_of(operation).await.0))
        }
        // base+1 is somebody else's, or a fence.
        Ok(Carried::TooLate) => {
            rewrite.files.kept = false;
            Ok(Attempt::Lost)
        }
        // Somebody else says so, and knows more than this process: the files stay for cleanup to judge.
        Ok(Carried::Ended(Ending::Discarded)) => Ok(Attempt::Lost),
        // What was decided is never aborted: its outcome was trimmed, and its sidecar barred since.
        Ok(Carried::Ended(Ending::Aborted) | Carried::Forgotten | Carried::Quarantined { .. }) => {
            Err(unknown(None))
        }
        Err(e) => Err(unknown(Some(e))),
    }
}

/// Takes effect at the pin that is held now, or calls the rewrite off.
async fn carry_out(
    core: &Core,
    table: &Table,
    rewrite: &Rewrite,
    ready: &Ready,
    base: u64,
    decided: Arc<Manifest>,
) -> Result<Carried> {
    let dataset = table.at(base).await?;
    let mut sidecar = ready.sidecar.clone();
    if !sources_unchanged(&dataset, &rewrite.results) {
        sidecar.take_bases(&BTreeMap::from([(table.key.clone(), base)]));
        return effects::call_off(core, &sidecar).await;
    }
    // Checked: so it needs no comparison with the versions since the rewrite began.
    let mut staged = Staged::new(transaction(&rewrite.results), None, ready.ticket.operation);
    staged.transaction.read_version = base;
    sidecar.effects = vec![staged.to_effect(table, base)?];
    effects::carry_out(core, &sidecar, Some(decided)).await
}

fn fragments_by_id(dataset: &Dataset) -> HashMap<u64, &Fragment> {
    let fragments = dataset.manifest().fragments.iter();
    fragments.map(|f| (f.id, f)).collect()
}

/// Whether every source fragment is there as it was read: the same files and the same deletions.
fn sources_unchanged(dataset: &Dataset, results: &[RewriteResult]) -> bool {
    let by_id = fragments_by_id(dataset);
    let same = |source: &Fragment| {
        by_id.get(&source.id).is_some_and(|now| {
            now.files == source.files
                && now.deletion_file == source.deletion_file
                && now.overlays.is_empty()
        })
    };
    results.iter().flat_map(|r| &r.original_fragments).all(same)
}

/// The rewrite as a transaction, read at the version that was rewritten.
fn transaction(results: &[RewriteResult]) -> Transaction {
    let groups = results.iter().map(|result| RewriteGroup {
        old_fragments: result.original_fragments.clone(),
        new_fragments: result.new_fragments.clone(),
    });
    let rewrite = Operation::Rewrite {
        groups: groups.collect(),
        rewritten_indices: Vec::new(),
        frag_reuse_index: None,
    };
    let read = results.iter().map(|r| r.read_version).min().unwrap_or(0);
    Transaction::new(read, rewrite, None)
}

fn sizes(results: &[RewriteResult], of: fn(&RewriteResult) -> &[Fragment]) -> (usize, u64) {
    let fragments = results.iter().flat_map(of);
    let files = fragments.clone().flat_map(|f| &f.files);
    let bytes = files.filter_map(|file| file.file_size_bytes.get());
    (fragments.count(), bytes.map(std::num::NonZero::get).sum())
}

fn summary(results: &[RewriteResult]) -> String {
    let (before, _) = sizes(results, |r| &r.original_fragments);
    let (after, _) = sizes(results, |r| &r.new_fragments);
    format!("{before} fragments into {after}")
}

fn receipt(results: &[RewriteResult], operation: OperationId, manifest: u64) -> CompactReceipt {
    let (fragments_before, bytes_read) = sizes(results, |r| &r.original_fragments);
    let (fragments_after, bytes_written) = sizes(results, |r| &r.new_fragments);
    CompactReceipt {
        operation,
        manifest,
        reason: Reason::Forced,
        fragments_before,
        fragments_after,
        bytes_read,
        bytes_written,
        rewrite: Duration::ZERO,
        hold: Duration::ZERO,
    }
}
