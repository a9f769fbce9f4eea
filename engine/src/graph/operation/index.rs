//! `Index`: segments of indexes are written, the rows stay.
//!
//! Building and merging come before the queue, with nothing held; `physical` has how they enter the queue then.

use std::sync::Arc;

use chrono::Utc;
use lance::{Dataset, dataset::transaction::Transaction};
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
        indexing::{self, Decision, IndexPolicy, Skip, Task},
    },
    table::{
        Table, bases,
        indexing::{
            self as table_indexing, Built, Segments,
            receipt::{IndexReceipt, Indexed},
        },
        stats::TableStats,
    },
};

/// Brings the indexes of one table up to date once. See [`crate::Graph::index`].
pub(crate) async fn index(
    core: &Arc<Core>,
    key: &TableKey,
    policy: &IndexPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Indexed> {
    let Source {
        table,
        dataset,
        way,
    } = Source::open(core, key).await?;
    let def = way.snapshot.schema.types.get(key).cloned();
    let stats = match &def {
        Some(def) => TableStats::read_declared(&dataset, def).await,
        None => TableStats::read(&dataset).await,
    };
    let mut stats = stats.map_err(|e| table.failed("reading the indexes of", e))?;
    let marked = bases::mark(&table, &dataset, &mut stats).await;
    marked.map_err(|e| table.failed("reading the indexes of", e))?;
    core.refused.mark(&table.path, &mut stats);
    let (tasks, reason) = match indexing::plan(&stats, policy, Utc::now(), ask.forced) {
        Decision::Index(tasks, reason) => (tasks, reason),
        Decision::Skip(skip) => return Ok(Indexed::Skipped(skip)),
    };
    let in_one = indexing::in_one_segment(&stats, policy);
    let mut nothing = Skip::Covered;
    let work = async {
        let (def, refused) = (def.as_ref(), &core.refused.indexes);
        let built = table_indexing::build(&table, &dataset, def, &tasks, &in_one, refused).await?;
        Ok(match built {
            Built::Segments(segments) => Some(*segments),
            Built::Nothing(skip) => {
                nothing = skip;
                None
            }
        })
    };
    let entered = match way.enter(core, work, stop).await {
        Err(e @ Error::CommitRefused { .. }) => {
            core.refused.note_commit(&table, stats.version, &tasks, &e);
            return Ok(Indexed::Skipped(Skip::Refused));
        }
        entered => entered?,
    };
    Ok(match entered {
        Entry::Entered(entered) => {
            let done = &entered.work.tasks;
            core.refused.indexes.forget(&table.path, done);
            Indexed::Done(IndexReceipt {
                operation: entered.operation,
                reason,
                tasks: entered.work.tasks,
                rows: entered.work.rows,
                left: entered.work.left,
                work: entered.took,
                hold: entered.hold,
            })
        }
        Entry::Lost(loss) => Indexed::Lost(loss),
        Entry::Empty => Indexed::Skipped(nothing),
    })
}

impl PhysicalWork for Segments {
    const KIND: OperationKind = OperationKind::Index;
    const PLAN: LogicalPlan = LogicalPlan::Index;

    fn transaction(&self) -> Transaction {
        self.transaction()
    }

    /// A declared index must be declared still.
    async fn holds(&self, manifest: &Manifest, table: &Table, now: &Dataset) -> Result<bool> {
        if !self.are_declared(now, manifest.schema.types.get(&table.key)) {
            return Ok(false);
        }
        let hold = table_indexing::sources_hold(&self.read, now, &self.transaction()).await;
        hold.map_err(|e| table.failed("reading the indexes of", e))
    }

    fn summary(&self) -> String {
        let tasks: Vec<_> = self.tasks.iter().map(summary_of).collect();
        tasks.join(", ")
    }

    fn keeps(&self, path: &str) -> bool {
        self.own(path)
    }
}

fn summary_of(task: &Task) -> String {
    match task {
        Task::Append(index) => format!("append to {index}"),
        Task::Merge(index) => format!("merge {index}"),
        Task::Create(column) => format!("index {column}"),
    }
}
