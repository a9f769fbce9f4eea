//! `Compact`: fragments are rewritten, the rows stay.
//!
//! The rewrite comes before the queue, with nothing held; `physical` has how it enters the queue then.

use std::sync::Arc;

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::{optimize::RewriteResult, transaction::Transaction},
};
use tokio_util::sync::CancellationToken;

use super::physical::{Entry, PhysicalWork, Source};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Manifest, OperationKind},
        sidecar::LogicalPlan,
    },
    ids::TableKey,
    planner::{
        Ask,
        compaction::{self, CompactionPolicy, Decision, Skip},
    },
    progress::{self, Phase},
    table::{
        Table, bases, batches,
        rebase::Sources,
        remap::{Fits, Moved, Remap, fits},
        rewrite::{
            CompactReceipt, Compacted, GroupFailure, each, is_part, sizes, sources_unchanged,
            transaction,
        },
        stats::TableStats,
    },
};

/// Number of fragment ids that are left to the loads that enter before this operation: it is remapped once, at the version
/// that was read.
const GAP: u64 = 1024;

/// Compacts one table once. See [`crate::Graph::compact`].
pub(crate) async fn compact(
    core: &Arc<Core>,
    key: &TableKey,
    policy: &CompactionPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Compacted> {
    let Source {
        table,
        dataset,
        way,
    } = Source::open(core, key).await?;
    let mut stats = TableStats::read(&dataset)
        .await
        .map_err(|e| table.failed("reading the indexes of", e))?;
    let marked = bases::mark(&table, &dataset, &mut stats).await;
    marked.map_err(|e| table.failed("reading the indexes of", e))?;
    core.refused.mark(&table.path, &mut stats);
    let (groups, reason) = match compaction::plan(&stats, policy, ask) {
        Decision::Compact(groups, reason) => (groups, reason),
        Decision::Skip(skip) => return Ok(Compacted::Skipped(skip)),
    };
    let dataset = batches::in_batches(&table, dataset, way.params()).await?;
    let work = async {
        let fragments = groups.iter().map(|group| group.fragments.len()).sum();
        progress::begin(Phase::Rewriting, fragments);
        let mut sources = Sources::of_groups(&table, &dataset, &groups).await?;
        let refused = &core.refused.fragments;
        let (mut results, failed) = each(&table, &dataset, &groups, policy, refused)
            .boxed()
            .await?;
        if let Some(e) = failed.first.filter(|_| results.is_empty()) {
            return Err(e);
        }
        let mut moved = Moved::all(&mut sources, &results);
        let remap = Remap::of(&table, &dataset, &mut moved, Some(GAP))
            .boxed()
            .await?;
        for (result, group) in results.iter_mut().zip(&moved) {
            result.new_fragments.clone_from(&group.written);
        }
        Ok(Some(Rewrite {
            results,
            moved,
            remap,
            failed: failed.groups,
        }))
    };
    let entered = match way.enter(core, work, stop).await {
        Err(e @ Error::RowTooLarge { .. }) => {
            tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "fragments are left alone");
            return Ok(Compacted::Skipped(Skip::RowTooLarge));
        }
        // Fragments under that index are left alone from now on.
        Err(e @ Error::Unmapped { .. }) => {
            tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "fragments are left alone");
            return Ok(Compacted::Skipped(Skip::IndexCannotFollow));
        }
        Err(e @ Error::CommitRefused { .. }) => {
            core.refused.note_rewrite(&table, &stats, &groups, &e);
            return Err(e);
        }
        entered => entered?,
    };
    let entered = match entered {
        Entry::Entered(entered) => entered,
        Entry::Lost(loss) => return Ok(Compacted::Lost(loss)),
        Entry::Empty => return Ok(Compacted::Skipped(Skip::Tidy)),
    };
    let receipt = CompactReceipt::of(
        &entered.work.results,
        entered.operation,
        entered.manifest,
        reason,
    );
    let remap = entered.work.remap.as_ref();
    Ok(Compacted::Done(CompactReceipt {
        failed: entered.work.failed,
        index_bytes: remap.map_or(0, Remap::bytes),
        more: compaction::leaves_more(&stats, &groups, policy, ask),
        rewrite: entered.took,
        hold: entered.hold,
        ..receipt
    }))
}

/// Fragments that are written anew and not committed, and the segments of indexes over them.
struct Rewrite {
    results: Vec<RewriteResult>,
    moved: Vec<Moved>,
    remap: Option<Remap>,
    failed: Vec<GroupFailure>,
}

impl PhysicalWork for Rewrite {
    const KIND: OperationKind = OperationKind::Compact;
    const PLAN: LogicalPlan = LogicalPlan::Compact;

    fn transaction(&self) -> Transaction {
        transaction(&self.results, self.remap.as_ref())
    }

    async fn holds(&self, _: &Manifest, table: &Table, now: &Dataset) -> Result<bool> {
        if !sources_unchanged(now, &self.results) {
            return Ok(false);
        }
        let fits = fits(self.remap.as_ref(), &self.moved, now).await;
        let fits = fits.map_err(|e| table.failed("reading the indexes of", e))?;
        Ok(fits == Fits::Yes)
    }

    fn summary(&self) -> String {
        summary(&self.results)
    }

    fn keeps(&self, path: &str) -> bool {
        self.failed.is_empty() || is_part(&self.results, path)
    }
}

fn summary(results: &[RewriteResult]) -> String {
    let (before, _) = sizes(results, |r| &r.original_fragments);
    let (after, _) = sizes(results, |r| &r.new_fragments);
    format!("{before} fragments into {after}")
}
