//! Index upkeep of a table in a directory: all that is due in one transaction, at exactly one version.
//!
//! Lance's own rules let a new index pass over a column that was dropped meanwhile, or cast. So nothing is left to a
//! rebase here, either: each attempt checks whether the head still has what the segments were made from.

use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::{
    commit::{Attempts, delete_unless_kept},
    commit_attempt::{CommitAttempt, Ending},
    commit_identity::AddedFiles,
    inspect::{self, Inspector},
};
use crate::{
    error::{Error, Result},
    ids::OperationId,
    planner::{
        Ask,
        indexing::{self, Decision, IndexPolicy, Skip},
    },
    progress::{self, Phase},
    table::{
        Table,
        discard::{Loss, OrLost},
        files::Files,
        indexing::{
            self as table_indexing, Built, Segments,
            receipt::{IndexReceipt, Indexed},
        },
        refusal::Refused,
        staged::Staged,
        writers::Seen,
    },
};

/// Brings the indexes of one table up to date once. See [`crate::Directory::index`].
pub(super) async fn index(
    table: &Table,
    inspector: &Inspector,
    refused: &Refused,
    policy: &IndexPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Indexed> {
    let handle = table.storage.leased_handle().await?;
    let dataset = inspect::open(table, handle.params()).await?;
    let mut stats = inspector.read(table, &dataset).await?;
    refused.mark(&table.path, &mut stats);
    let (tasks, reason) = match indexing::plan(&stats, policy, Utc::now(), ask.forced) {
        Decision::Index(tasks, reason) => (tasks, reason),
        Decision::Skip(skip) => return Ok(Indexed::Skipped(skip)),
    };
    let in_one = indexing::in_one_segment(&stats, policy);
    let files = Files::written_through(handle, table);
    let started = Instant::now();
    let built = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Cancelled),
        built = table_indexing::build(table, &dataset, None, &tasks, &in_one, &refused.indexes) => built,
    };
    let work = started.elapsed();
    let segments = match built {
        Ok(Built::Segments(segments)) => *segments,
        Ok(Built::Nothing(skip)) => return given_up(table, files, Ok(skip)).await,
        Err(e) => return given_up(table, files, Err(e)).await,
    };
    files.delete_strays(|path| segments.own(path)).await;
    let (tasks, rows, left) = (segments.tasks.clone(), segments.rows, segments.left.clone());
    progress::enter(Phase::Committing);
    // A caller that goes away does not end a commit that has begun.
    let operation = OperationId::fresh();
    let writers = inspector.writers_of(table);
    let committing = commit(table.clone(), segments, files, operation, writers);
    let committed = match tokio::spawn(committing).await {
        Ok(committed) => committed,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => return Err(Error::Cancelled),
    };
    Ok(match committed {
        Ok(Ok(hold)) => {
            refused.indexes.forget(&table.path, &tasks);
            Indexed::Done(IndexReceipt {
                operation,
                reason,
                tasks,
                rows,
                left,
                work,
                hold,
            })
        }
        Ok(Err(loss)) => Indexed::Lost(loss),
        Err(e @ Error::CommitRefused { .. }) => {
            refused.note_commit(table, stats.version, &tasks, &e);
            Indexed::Skipped(Skip::Refused)
        }
        Err(e) => return Err(e),
    })
}

/// Nothing came of it: what was written goes.
async fn given_up(table: &Table, files: Files, why: Result<Skip>) -> Result<Indexed> {
    files.delete().await;
    match (why, inspect::tidy_if_gone(table).await) {
        (Ok(skip), _) => Ok(Indexed::Skipped(skip)),
        // Files that went while they were read: the table was dropped.
        (Err(_), Some(gone)) => Err(gone),
        (Err(e), None) => Err(e),
    }
}

/// Commits the segments. Gives how long that took, or why they are worth nothing any more.
async fn commit(
    table: Table,
    segments: Segments,
    mut files: Files,
    operation: OperationId,
    writers: Seen,
) -> Result<OrLost<Duration>> {
    let started = Instant::now();
    let committed = attempts(&table, &segments, &mut files, operation, &writers).await;
    delete_unless_kept(&table, files).await;
    Ok(committed?.map(|()| started.elapsed()))
}

async fn attempts(
    table: &Table,
    segments: &Segments,
    files: &mut Files,
    operation: OperationId,
    writers: &Seen,
) -> Result<OrLost<()>> {
    let added = AddedFiles::segments(segments);
    let mut tries = Attempts::begin();
    let mut passed = None;
    while tries.another() {
        if files.are_expired() {
            return Ok(Err(Loss::Outdated));
        }
        let at = added.newest_of(table, passed.as_ref()).await;
        let Some(at) = at.map_err(|e| inspect::failed(table, "opening", e))? else {
            return Ok(Err(Loss::TableDropped));
        };
        let transaction = segments.transaction();
        let hold = table_indexing::sources_hold(&segments.read, &at.dataset, &transaction).await;
        if !hold.map_err(|e| inspect::failed(table, "reading the indexes of", e))? {
            return Ok(Err(Loss::SourcesChanged));
        }
        let mut staged = Staged::new(transaction, None, operation);
        staged.transaction.read_version = at.version();
        writers.note_in(&mut staged.transaction);
        passed = Some(at.passed());
        let attempt = CommitAttempt {
            written: &added,
            own: Vec::new(),
            staged,
            at,
        };
        match attempt.run(table, files, operation).await? {
            Ending::Committed(_) => return Ok(Ok(())),
            Ending::GivenUp(loss) => return Ok(Err(loss)),
            Ending::Refused(e) => return Err(e),
            Ending::Overtaken => {}
        }
    }
    Ok(Err(Loss::Contended))
}
