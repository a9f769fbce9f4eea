//! `Index`: segments of indexes are written, the rows stay.
//!
//! Building and merging come before the queue, with nothing held; how they come in then is said in `physical`.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use lance::{Dataset, dataset::transaction::Transaction};
use tokio_util::sync::CancellationToken;

use super::physical::{Came, Source, Work};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Manifest, OperationKind},
        sidecar::LogicalPlan,
    },
    ids::{OperationId, TableKey},
    planner::{
        Ask,
        indexing::{self, Decision, IndexPolicy, Reason, Skip, Task},
    },
    table::{
        Table, bases,
        discard::Loss,
        indexing::{self as table_indexing, Built, LeftBehind, Segments},
        stats::TableStats,
    },
};

/// What keeping up a table's indexes came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Indexed {
    /// They were left alone, because of this.
    Skipped(Skip),
    /// They were brought up to date.
    Done(IndexReceipt),
    /// They were worked on for nothing, because of this; it is planned anew.
    Lost(Loss),
}

/// What acknowledged work on indexes did.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReceipt {
    /// The operation's id.
    pub operation: OperationId,
    /// Why the indexes were due.
    pub reason: Reason,
    /// What was done. An append that would have given wrong answers was done as a merge.
    pub tasks: Vec<Task>,
    /// Live rows that came under an index, over all of these indexes.
    pub rows: u64,
    /// Indexes that could not be brought up to date, and why.
    pub left: Vec<LeftBehind>,
    /// How long the work took, with nothing held.
    pub work: Duration,
    /// How long the table was held for the commit.
    pub hold: Duration,
}

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
        Came::In(entered) => {
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
        Came::Lost(loss) => Indexed::Lost(loss),
        Came::Empty => Indexed::Skipped(nothing),
    })
}

impl Work for Segments {
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
        let tasks: Vec<_> = self.tasks.iter().map(told).collect();
        tasks.join(", ")
    }

    fn keeps(&self, path: &str) -> bool {
        self.own(path)
    }
}

fn told(task: &Task) -> String {
    match task {
        Task::Append(index) => format!("append to {index}"),
        Task::Merge(index) => format!("merge {index}"),
        Task::Create(column) => format!("index {column}"),
    }
}
