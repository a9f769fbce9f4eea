//! `Compact`: fragments are rewritten, the rows stay.
//!
//! All long work comes before the queue. The rewrite runs with nothing held; then the operation waits its turn
//! without a place, checks that its sources are still there under the current pin, and holds the tables for one
//! metadata commit, whatever their size.

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
use tokio_util::sync::CancellationToken;

use super::effects::{self, Carried};
use crate::{
    core::Core,
    error::{Error, Result},
    maintenance::compaction::{self, CompactionPolicy, Group, Reason, Skip, Verdict},
    manifest::{
        Call, Ending, OperationKind, Refusal, Ticket, TicketState, Touched,
        transition::{self, By},
    },
    names::{OperationId, TableKey},
    sidecar::{LogicalPlan, Sidecar},
    storage::Workshop,
    table::{Table, drift, staged::Staged, stats::TableStats},
};

/// So often a finished rewrite asks for its turn before it is thrown away.
const MAX_TURNS: usize = 20;
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
            workshop.delete_created(self.table.storage.store.as_ref()).await;
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
            runtime.spawn(async move { workshop.delete_created(store.as_ref()).await });
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
    let table = core.table_in(&snapshot, key)?;
    let workshop = table.storage.workshop().await?;
    let dataset = table
        .open(snapshot.pin(key), workshop.params(), None)
        .await
        .map_err(|e| table.failed("opening", e))?;
    let (groups, reason) = match compaction::plan(&TableStats::of(&dataset), policy, forced) {
        Verdict::Compact(groups, reason) => (groups, reason),
        Verdict::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    // A rewrite that could never be committed is not begun.
    let head = table.head_of(&dataset).await?;
    match drift::stage_at(&table, snapshot.pin(key), head).await {
        Ok(_) => {}
        Err(Error::Drift { .. }) if core.explains_head(&snapshot, key).await? => {
            return Ok(Compacted::Lost);
        }
        Err(e) => return Err(e),
    }
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
    let by_id: HashMap<u64, &Fragment> =
        dataset.manifest().fragments.iter().map(|f| (f.id, f)).collect();
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

/// Waits for a turn, without a place in the queue, and commits.
async fn take_turn(
    core: Arc<Core>,
    table: Table,
    mut rewrite: Rewrite,
    reason: Reason,
    stop: CancellationToken,
) -> Result<Compacted> {
    let mut ticket = ticket(&core, &table.key);
    for _ in 0..MAX_TURNS {
        let waited = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Cancelled),
            waited = core.wait_for_no_conflict(&ticket) => waited,
        };
        if let Err(e) = waited {
            rewrite.files.delete().await;
            return Err(e);
        }
        let turn = core.queues.turn(&ticket.touched).await;
        match attempt(&core, &table, &mut rewrite, &ticket).await {
            Ok(Attempt::Moved) => {
                drop(turn);
                ticket.operation = OperationId::fresh();
            }
            Ok(Attempt::Lost) => {
                rewrite.files.delete().await;
                return Ok(Compacted::Lost);
            }
            Ok(Attempt::Done(manifest)) => {
                let hold = turn.held();
                let receipt = receipt(&rewrite.results, ticket.operation, manifest);
                return Ok(Compacted::Done(CompactReceipt {
                    reason,
                    rewrite: rewrite.took,
                    hold,
                    ..receipt
                }));
            }
            Err(e) => {
                rewrite.files.delete().await;
                return Err(e);
            }
        }
    }
    rewrite.files.delete().await;
    Ok(Compacted::Lost)
}

enum Attempt {
    Done(u64),
    /// Somebody came first: wait for another turn.
    Moved,
    /// The sources are gone: the work is worth nothing.
    Lost,
}

/// One turn: from the check of the sources to the publish, metadata only.
async fn attempt(
    core: &Arc<Core>,
    table: &Table,
    rewrite: &mut Rewrite,
    ticket: &Ticket,
) -> Result<Attempt> {
    let manifest = core.register.newest().await?;
    if manifest.ahead(ticket).next().is_some() {
        return Ok(Attempt::Moved);
    }
    let operation = ticket.operation;
    let pin = manifest.pin(&table.key);
    let entry = manifest.tables.get(&table.key);
    if entry.is_none_or(|entry| entry.path != table.path) {
        return Ok(Attempt::Lost);
    }
    let dataset = table.at(pin).await?;
    let head = table.head_of(&dataset).await?;
    let base = match drift::stage_at(table, pin, head).await {
        Ok(base) => base,
        Err(Error::Drift { .. }) if core.explains_head(&manifest, &table.key).await? => {
            return Ok(Attempt::Moved);
        }
        Err(Error::Drift { .. }) => return Ok(Attempt::Lost),
        Err(e) => return Err(e),
    };
    let dataset = if base == pin { dataset } else { table.at(base).await? };
    if !sources_unchanged(&dataset, &rewrite.results) {
        return Ok(Attempt::Lost);
    }
    let staged = Staged::new(transaction(base, &rewrite.results), None, operation);
    let sidecar = Sidecar {
        format: Sidecar::FORMAT,
        operation,
        kind: OperationKind::Compact,
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        at: Utc::now(),
        plan: LogicalPlan::Compact,
        effects: vec![staged.to_effect(table, base)?],
        structure: None,
        summary: summary(&rewrite.results),
    };
    core.recovery.write(&sidecar).await?;
    let _alive = core.liveness.hold();
    let expected = BTreeMap::from([(table.key.clone(), pin)]);
    let bases = sidecar.bases();
    rewrite.files.kept = true;
    let entered = core
        .register
        .change(operation, |m| {
            let by = By {
                actor: &core.actor,
                at: Utc::now(),
                summary: &sidecar.summary,
            };
            transition::enqueue_decided(m, ticket, &expected, &bases, manifest.number, &by)
        })
        .await;
    let decided = match entered {
        Ok(Call::Holds(decided)) => decided,
        Ok(Call::Refused(refusal)) => {
            if refusal.proves_absence() {
                rewrite.files.kept = false;
                core.recovery.delete(operation).await;
            }
            return match refusal {
                Refusal::NotInFront { .. }
                | Refusal::ExpectedVersionMismatch { .. }
                | Refusal::BaseBehindPin { .. }
                | Refusal::Stale { .. } => Ok(Attempt::Moved),
                refusal => Err(core.refused(operation, refusal)),
            };
        }
        Err(e) => {
            if !e.leaves_open() {
                rewrite.files.kept = false;
                core.recovery.delete(operation).await;
            }
            return Err(e);
        }
    };
    let unknown = |source: Option<Error>| Error::OutcomeUnknown {
        operation,
        uri: core.storage.uri.clone(),
        source: source.map(Box::new),
    };
    match effects::carry_out(core, &sidecar, Some(decided)).await {
        Ok(Carried::Published { manifest, .. }) => Ok(Attempt::Done(manifest)),
        // A healer was faster.
        Ok(Carried::Ended(Ending::Published)) => {
            Ok(Attempt::Done(core.publication_of(operation).await.0))
        }
        // base+1 was somebody else's: a writer that knows nothing of Squire came in between.
        Ok(Carried::TooLate) => {
            rewrite.files.kept = false;
            Ok(Attempt::Lost)
        }
        // Somebody else says so, and knows more than this process: the files stay for cleanup to judge.
        Ok(Carried::Ended(Ending::Discarded | Ending::Aborted)) => Ok(Attempt::Lost),
        Ok(Carried::Forgotten | Carried::Quarantined { .. }) => Err(unknown(None)),
        Err(e) => Err(unknown(Some(e))),
    }
}

/// Whether every source fragment is there as it was read: the same files and the same deletions.
fn sources_unchanged(dataset: &Dataset, results: &[RewriteResult]) -> bool {
    let by_id: HashMap<u64, &Fragment> =
        dataset.manifest().fragments.iter().map(|f| (f.id, f)).collect();
    let same = |source: &Fragment| {
        by_id.get(&source.id).is_some_and(|now| {
            now.files == source.files
                && now.deletion_file == source.deletion_file
                && now.overlays.is_empty()
        })
    };
    results.iter().flat_map(|r| &r.original_fragments).all(same)
}

fn transaction(base: u64, results: &[RewriteResult]) -> Transaction {
    let groups = results.iter().map(|result| RewriteGroup {
        old_fragments: result.original_fragments.clone(),
        new_fragments: result.new_fragments.clone(),
    });
    let rewrite = Operation::Rewrite {
        groups: groups.collect(),
        rewritten_indices: Vec::new(),
        frag_reuse_index: None,
    };
    Transaction::new(base, rewrite, None)
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
