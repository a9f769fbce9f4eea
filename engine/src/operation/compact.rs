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
    storage::Handle,
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
}

struct Files {
    handle: Arc<Handle>,
    table: Table,
    kept: bool,
}

impl Files {
    async fn delete(mut self) {
        self.kept = true;
        self.handle.delete_created(self.table.storage.store.as_ref()).await;
    }

    /// They belong to the table now, or may.
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (handle, store) = (self.handle.clone(), self.table.storage.store.clone());
            runtime.spawn(async move { handle.delete_created(store.as_ref()).await });
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
    let (params, handle) = table.storage.rewrite_params();
    let dataset = table
        .open(snapshot.pin(key), params, None)
        .await
        .map_err(|e| table.failed("opening", e))?;
    let (groups, reason) = match compaction::plan(&TableStats::of(&dataset), policy, forced) {
        Verdict::Compact(groups, reason) => (groups, reason),
        Verdict::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    let files = Files {
        handle,
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
    let took = started.elapsed();
    take_turn(core, &table, Rewrite { results, files }, reason, took, stop).await
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

/// Waits for a turn, without a place in the queue, and commits.
async fn take_turn(
    core: &Arc<Core>,
    table: &Table,
    rewrite: Rewrite,
    reason: Reason,
    took: Duration,
    stop: &CancellationToken,
) -> Result<Compacted> {
    let mut ticket = Ticket {
        operation: OperationId::fresh(),
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        kind: OperationKind::Compact,
        touched: Touched::writing([table.key.clone()]),
        state: TicketState::Waiting,
        at: Utc::now(),
    };
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
        match attempt(core, table, &rewrite, &ticket).await {
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
                rewrite.files.keep();
                return Ok(Compacted::Done(CompactReceipt {
                    reason,
                    rewrite: took,
                    hold,
                    ..receipt
                }));
            }
            // Whether the files are part of the table is for a healer to say.
            Err(e) if e.leaves_open() => {
                rewrite.files.keep();
                return Err(e);
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
    rewrite: &Rewrite,
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
    let alive = core.liveness.hold();
    let expected = BTreeMap::from([(table.key.clone(), pin)]);
    let bases = sidecar.bases();
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
        .await?;
    let decided = match entered {
        Call::Holds(decided) => decided,
        Call::Refused(refusal) => {
            core.recovery.delete(operation).await;
            return match refusal {
                Refusal::NotInFront { .. }
                | Refusal::ExpectedVersionMismatch { .. }
                | Refusal::BaseBehindPin { .. }
                | Refusal::Stale { .. } => Ok(Attempt::Moved),
                refusal => Err(core.refused(operation, refusal)),
            };
        }
    };
    // In a task of its own: a caller that is cancelled now leaves nothing to a healer.
    let task = {
        let core = core.clone();
        tokio::spawn(async move {
            let _alive = alive;
            effects::carry_out(&core, &sidecar, Some(decided)).await
        })
    };
    let unknown = |source: Option<Error>| Error::OutcomeUnknown {
        operation,
        uri: core.storage.uri.clone(),
        source: source.map(Box::new),
    };
    match task.await.map_err(|_| unknown(None))? {
        Ok(Carried::Published { manifest, .. }) => Ok(Attempt::Done(manifest)),
        Ok(Carried::Ended(Ending::Published)) => {
            let (manifest, _) = core.publication_of(operation).await?;
            Ok(Attempt::Done(manifest))
        }
        // base+1 was somebody else's: a writer that knows nothing of Squire came in between.
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
