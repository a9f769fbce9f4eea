//! Compaction of a table in a directory: group after group, each committed at once.
//!
//! A job that is stopped, killed or lost half-way has done what it committed. Between groups it pauses for as long as the
//! last one took: writers of the table get at least every other moment.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use lance::Dataset;
use tokio_util::sync::CancellationToken;

use super::{
    landing::{self, Landed},
    look,
};
use crate::{
    error::{Error, Result},
    maintenance::{
        Ask,
        compaction::{self, CompactionPolicy, Group, Reason, Skip, Verdict},
    },
    names::OperationId,
    progress::{self, Phase},
    table::{
        Table,
        carry::Sources,
        files::Files,
        loss::Loss,
        refused::RefusedFragments,
        rewrite::{CompactReceipt, Compacted, Failed, rewrite},
        stats::TableStats,
    },
};

/// The pause between two groups is never longer.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Compacts one table once. See [`crate::Directory::compact`].
pub(super) async fn compact(
    table: &Table,
    refused: &RefusedFragments,
    policy: &CompactionPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Compacted> {
    let dataset = look::open(table, table.storage.params()).await?;
    let stats = TableStats::read(&dataset).await;
    let mut stats = stats.map_err(|e| look::failed(table, "reading the indexes of", e))?;
    refused.mark(&table.path, &mut stats);
    let (groups, reason) = match compaction::plan(&stats, policy, ask) {
        Verdict::Compact(groups, reason) => (groups, reason),
        Verdict::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    let fragments = groups.iter().map(|group| group.fragments.len()).sum();
    progress::begin(Phase::Rewriting, fragments);
    let mut done: Option<CompactReceipt> = None;
    let (mut lost, mut failed) = (Vec::new(), Failed::default());
    for (n, group) in groups.iter().enumerate() {
        let began = Instant::now();
        match compact_group(table, group, policy, reason, stop).await {
            Ok(Ended::Done(receipt)) => {
                done = Some(match done {
                    Some(before) => before.then(receipt),
                    None => receipt,
                });
            }
            Ok(Ended::Lost(loss)) => lost.push(loss),
            Ok(Ended::Gone) => {}
            // The table is as it was, and the other groups are none the worse for it.
            Err(e) if refused.note(&table.path, &dataset, group, &e) => failed.add(group, e),
            // What was committed is worth telling; what failed will fail again, or not.
            Err(e) if done.is_some() && !e.leaves_open() => {
                tracing::info!(table = %table.key, uri = %table.storage.uri, error = %e, groups = n, "a compaction ends early");
                break;
            }
            Err(e) => return Err(e),
        }
        if n + 1 < groups.len() {
            let pause = began.elapsed().min(MAX_PAUSE);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    if let (None, Some(e)) = (&done, failed.first) {
        return Err(e);
    }
    Ok(match (done, lost.first()) {
        (Some(receipt), _) => Compacted::Done(CompactReceipt {
            lost,
            more: receipt.groups + failed.groups.len() < groups.len()
                || compaction::leaves_more(&stats, &groups, policy, ask),
            failed: failed.groups,
            ..receipt
        }),
        (None, Some(loss)) => Compacted::Lost(*loss),
        (None, None) => Compacted::Skipped(Skip::Tidy),
    })
}

/// What came of one group.
enum Ended {
    Done(CompactReceipt),
    /// It was rewritten for nothing.
    Lost(Loss),
    /// There was nothing to rewrite any more when its turn came.
    Gone,
}

/// Rewrites one group at the newest version, and commits it.
async fn compact_group(
    table: &Table,
    group: &Group,
    policy: &CompactionPolicy,
    reason: Reason,
    stop: &CancellationToken,
) -> Result<Ended> {
    let workshop = table.storage.workshop().await?;
    let opened = table.open_newest(workshop.params()).await;
    let dataset = opened.map_err(|e| look::failed(table, "opening", e))?;
    let Some(group) = as_it_is(group, &dataset) else {
        return Ok(Ended::Gone);
    };
    progress::enter(Phase::Rewriting);
    let sources = Sources::read(&dataset, &group.fragments).await;
    let sources = sources.map_err(|e| look::failed(table, "reading deletions of", e))?;
    let files = Files::written_through(workshop, table);
    let started = Instant::now();
    let rewritten = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Cancelled),
        results = rewrite(table, &dataset, std::slice::from_ref(&group), policy) => results,
    };
    let took = started.elapsed();
    let result = match rewritten.map(|mut results| results.pop()) {
        Ok(Some(result)) => result,
        Ok(None) => return Ok(Ended::Gone),
        Err(e) => {
            files.delete().await;
            // A file that went while it was read: the table was dropped, or somebody removed the version.
            return Err(look::tidy_if_gone(table).await.unwrap_or(e));
        }
    };
    progress::enter(Phase::Committing);
    // A caller that goes away does not end a commit that has begun.
    let operation = OperationId::fresh();
    let land = landing::land(
        table.clone(),
        sources,
        result.new_fragments.clone(),
        files,
        operation,
    );
    let landed = match tokio::spawn(land).await {
        Ok(landed) => landed?,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => return Err(Error::Cancelled),
    };
    let Landed {
        version,
        carried,
        took: hold,
    } = match landed {
        Ok(landed) => landed,
        Err(loss) => {
            tracing::debug!(table = %table.key, uri = %table.storage.uri, reason = %loss, "a rewrite is lost");
            return Ok(Ended::Lost(loss));
        }
    };
    Ok(Ended::Done(CompactReceipt {
        carried,
        rewrite: took,
        hold,
        ..CompactReceipt::of(&[result], operation, version, reason)
    }))
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
