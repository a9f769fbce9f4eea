//! Compaction of a table in a directory: group after group, each committed at once.
//!
//! Groups under indexes that hold addresses of rows are committed together: each of those indexes is written anew once for
//! all of them. A job that is stopped, killed or lost half-way has done what it committed. Between commits it pauses for as
//! long as the last one took: writers of the table get at least every other moment.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::FutureExt;
use lance::{Dataset, dataset::optimize::RewriteResult};
use tokio_util::sync::CancellationToken;

use super::{
    commit::{self, Committed},
    inspect::{self, Inspector},
};
use crate::{
    error::{Error, Result},
    ids::OperationId,
    planner::{
        Ask,
        compaction::{self, CompactionPolicy, Decision, Group, Reason, Skip},
    },
    progress::{self, Phase},
    table::{
        Table, batches,
        discard::Loss,
        files::Files,
        rebase::Sources,
        refusal::Refused,
        remap::Moved,
        rewrite::{CompactReceipt, Compacted, Failed, each, is_part},
        stats::TableStats,
    },
};

/// Maximum pause between two groups.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Compacts one table once. See [`crate::Directory::compact`].
pub(super) async fn compact(
    table: &Table,
    inspector: &Inspector,
    refused: &Refused,
    policy: &CompactionPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Compacted> {
    let dataset = inspect::open(table, table.storage.params()).await?;
    let mut stats = inspector.read(table, &dataset).await?;
    refused.mark(&table.path, &mut stats);
    let (groups, reason) = match compaction::plan(&stats, policy, ask) {
        Decision::Compact(groups, reason) => (groups, reason),
        Decision::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    let fragments = groups.iter().map(|group| group.fragments.len()).sum();
    progress::begin(Phase::Rewriting, fragments);
    let mut done: Option<CompactReceipt> = None;
    let (mut lost, mut failed) = (Vec::new(), Failed::default());
    let mut unmapped = false;
    let batches = batches(&stats, &groups);
    for (n, batch) in batches.iter().enumerate() {
        let began = Instant::now();
        let compacting = compact_batch(table, batch, inspector, refused, policy, reason, stop);
        match compacting.boxed().await {
            Ok(Ended::Done(receipt)) => {
                done = Some(match done {
                    Some(before) => before.then(*receipt),
                    None => *receipt,
                });
            }
            Ok(Ended::Lost(loss)) => lost.push(loss),
            Ok(Ended::Gone) => {}
            // The table is as it was, and the other groups are none the worse for it.
            Ok(Ended::Failed(groups)) => {
                failed.groups.extend(groups.groups);
                failed.first = failed.first.or(groups.first);
            }
            // Fragments under that index are left alone from now on; the others are not.
            Err(e @ Error::Unmapped { .. }) => {
                tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "fragments are left alone");
                unmapped = true;
            }
            Err(e @ Error::CommitRefused { always, .. }) => {
                refused.note_rewrite(table, &stats, batch, &e);
                failed.add_all(batch, e);
                if always {
                    break;
                }
            }
            // What was committed is reported; what failed is tried by the next job.
            Err(e) if done.is_some() && !e.leaves_open() => {
                tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, commits = n, "a compaction ends early");
                if let Some(group) = batch.first().filter(|_| !matches!(e, Error::Cancelled)) {
                    failed.add(group, e);
                }
                break;
            }
            Err(e) => return Err(e),
        }
        if n + 1 < batches.len() {
            let pause = began.elapsed().min(MAX_PAUSE);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    match (&done, failed.first) {
        (None, Some(e @ Error::RowTooLarge { .. })) => {
            tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "fragments are left alone");
            return Ok(Compacted::Skipped(Skip::RowTooLarge));
        }
        (None, Some(e)) => return Err(e),
        _ => {}
    }
    Ok(match (done, lost.first()) {
        (Some(receipt), _) => {
            let failed = [receipt.failed, failed.groups].concat();
            Compacted::Done(CompactReceipt {
                lost,
                more: receipt.groups + failed.len() < groups.len()
                    || compaction::leaves_more(&stats, &groups, policy, ask),
                failed,
                ..receipt
            })
        }
        (None, Some(loss)) => Compacted::Lost(*loss),
        (None, None) if unmapped => Compacted::Skipped(Skip::IndexCannotFollow),
        (None, None) => Compacted::Skipped(Skip::Tidy),
    })
}

/// Groups that are committed together: each by itself, but those under indexes that have to be written anew for them.
fn batches(stats: &TableStats, groups: &[Group]) -> Vec<Vec<Group>> {
    let (covered, free): (Vec<_>, Vec<_>) = groups
        .iter()
        .cloned()
        .partition(|group| stats.segments_over(group.coverage).next().is_some());
    let mut batches: Vec<_> = free.into_iter().map(|group| vec![group]).collect();
    if !covered.is_empty() {
        batches.push(covered);
    }
    batches
}

/// What came of groups that are committed together.
enum Ended {
    Done(Box<CompactReceipt>),
    /// They were rewritten for nothing.
    Lost(Loss),
    /// No rewrite of them came to anything.
    Failed(Failed),
    /// There was nothing to rewrite any more when their turn came.
    Gone,
}

/// Rewrites groups at the newest version, and commits them.
async fn compact_batch(
    table: &Table,
    groups: &[Group],
    inspector: &Inspector,
    refused: &Refused,
    policy: &CompactionPolicy,
    reason: Reason,
    stop: &CancellationToken,
) -> Result<Ended> {
    let handle = table.storage.leased_handle().await?;
    let opened = table.open_newest(handle.params()).await;
    let dataset = opened.map_err(|e| inspect::failed(table, "opening", e))?;
    let dataset = batches::in_batches(table, dataset, handle.params()).await?;
    let there = groups.iter().filter_map(|group| as_it_is(group, &dataset));
    let groups: Vec<_> = there.collect();
    if groups.is_empty() {
        return Ok(Ended::Gone);
    }
    progress::enter(Phase::Rewriting);
    let sources = Sources::of_groups(table, &dataset, &groups).await;
    let mut sources = match sources {
        Ok(sources) => sources,
        // A file that went while it was read: the table was dropped.
        Err(e) => return Err(inspect::tidy_if_gone(table).await.unwrap_or(e)),
    };
    let files = Files::written_through(handle, table);
    let started = Instant::now();
    let rewritten = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Cancelled),
        results = each(table, &dataset, &groups, policy, &refused.fragments).boxed() => results,
    };
    let took = started.elapsed();
    let (results, failed) = match rewritten {
        Ok(rewritten) => rewritten,
        Err(e) => {
            files.delete().await;
            // A file that went while it was read: the table was dropped, or another program removed the version.
            return Err(inspect::tidy_if_gone(table).await.unwrap_or(e));
        }
    };
    if results.is_empty() {
        files.delete().await;
        // Of a table that was dropped, no file is there.
        return match inspect::tidy_if_gone(table).await {
            Some(gone) => Err(gone),
            None => Ok(Ended::Failed(failed)),
        };
    }
    files.delete_strays(|path| is_part(&results, path)).await;
    progress::enter(Phase::Committing);
    // A caller that goes away does not end a commit that has begun.
    let operation = OperationId::fresh();
    let writers = inspector.writers_of(table);
    let committing = commit::commit(
        table.clone(),
        Moved::all(&mut sources, &results),
        files,
        operation,
        writers,
        stop.clone(),
    );
    let committed = match tokio::spawn(committing).await {
        Ok(committed) => committed?,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => return Err(Error::Cancelled),
    };
    let Committed {
        version,
        carried,
        index_bytes,
        remap,
        took: hold,
    } = match committed {
        Ok(committed) => committed,
        Err(loss) => {
            tracing::debug!(table = %table.key, uri = %table.storage.uri, reason = %loss, "a rewrite is lost");
            return Ok(Ended::Lost(loss));
        }
    };
    let receipt = CompactReceipt::of(&results, operation, version, reason);
    Ok(Ended::Done(Box::new(CompactReceipt {
        carried,
        index_bytes,
        failed: failed.groups,
        rewrite: took + remap,
        hold,
        ..with_sizes(receipt, table, inspector, &dataset, &results).await
    })))
}

/// The receipt with the bytes that manifests do not tell. Where the store does not tell them now, it goes without: the
/// work is done.
async fn with_sizes(
    receipt: CompactReceipt,
    table: &Table,
    inspector: &Inspector,
    dataset: &Dataset,
    results: &[RewriteResult],
) -> CompactReceipt {
    let (sizes, schema) = (inspector.sizes(), dataset.schema());
    let read = results.iter().flat_map(|r| &r.original_fragments);
    let written = results.iter().flat_map(|r| &r.new_fragments);
    let read = sizes.bytes(table, schema, read).await;
    let written = sizes.bytes(table, schema, written).await;
    CompactReceipt {
        bytes_read: read.unwrap_or(receipt.bytes_read),
        bytes_written: written.unwrap_or(receipt.bytes_written),
        ..receipt
    }
}

/// The group as far as it is there, with the rows that live now, in the table's order. Nothing when what is left of
/// several would be one alone.
fn as_it_is(group: &Group, dataset: &Dataset) -> Option<Group> {
    let wanted: HashSet<_> = group.fragments.iter().collect();
    let fragments = dataset.manifest().fragments.iter();
    let there: Vec<_> = fragments.filter(|f| wanted.contains(&f.id)).collect();
    let rows = there.iter().map(|f| f.num_rows().unwrap_or(0) as u64);
    (there.len() >= wanted.len().min(2)).then(|| Group {
        fragments: there.iter().map(|f| f.id).collect(),
        rows: rows.sum(),
        ..group.clone()
    })
}
