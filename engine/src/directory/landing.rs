//! The commit of one rewritten group: at exactly one version, on a head whose every fragment was looked at.
//!
//! Nothing is left to a rebase. Each attempt opens the head, carries the rewrite over to it, and commits right after it or
//! not at all; when a writer was faster, the next attempt starts from what that writer left. An attempt costs a few
//! requests, never a rewrite.

use std::time::{Duration, Instant};

use lance::dataset::transaction::{Operation, Transaction};
use lance_core::utils::deletion::DeletionVector;
use lance_table::{
    format::Fragment,
    io::deletion::{deletion_file_path, write_deletion_file},
};
use object_store::path::Path;

use super::{
    attempt::{Aimed, Ending, delete_all},
    look,
    written::Written,
};
use crate::{
    error::Result,
    names::OperationId,
    table::{
        Table,
        carry::{Carried, Sources, carry},
        commit::AtHead,
        files::Files,
        loss::{Loss, OrLost},
        staged::Staged,
    },
};

/// So many heads are tried at least, and for so long, before work gives way to writers that are always faster.
const MIN_HEADS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a commit was tried, and for how long.
pub(super) struct Attempts {
    heads: usize,
    since: Instant,
}

impl Attempts {
    pub(super) fn begin() -> Self {
        Self {
            heads: 0,
            since: Instant::now(),
        }
    }

    /// Whether there is to be another one.
    pub(super) fn another(&mut self) -> bool {
        self.heads += 1;
        self.heads <= MIN_HEADS || self.since.elapsed() < PATIENCE
    }
}

/// Deletes what was written, unless a version holds it, or may; and the folders that it left where the table is gone.
pub(super) async fn put_away(table: &Table, files: Files) {
    let kept = files.kept;
    files.delete().await;
    if !kept {
        look::tidy_if_gone(table).await;
    }
}

/// A rewrite that stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Landed {
    /// The version that shows it first.
    pub(super) version: u64,
    /// Rows that were deleted late, and carried over.
    pub(super) carried: u64,
    /// How long the commit took, all attempts together.
    pub(super) took: Duration,
}

/// Commits new fragments that were written of these sources. A rewrite that is worth nothing any more is told with the
/// reason, and its files are deleted.
///
/// # Errors
/// [`Error::OutcomeUnknown`], with all files kept; [`Error::TableGone`], [`Error::Lance`], [`Error::Store`].
pub(super) async fn land(
    table: Table,
    read: Sources,
    written: Vec<Fragment>,
    mut files: Files,
    operation: OperationId,
) -> Result<OrLost<Landed>> {
    let started = Instant::now();
    let landed = attempts(&table, &read, &written, &mut files, operation).await;
    put_away(&table, files).await;
    Ok(landed?.map(|(version, carried)| Landed {
        version,
        carried,
        took: started.elapsed(),
    }))
}

async fn attempts(
    table: &Table,
    read: &Sources,
    written: &[Fragment],
    files: &mut Files,
    operation: OperationId,
) -> Result<OrLost<(u64, u64)>> {
    let added = Written::data(written);
    let mut tries = Attempts::begin();
    let mut passed = None;
    while tries.another() {
        if !files.are_in_time() {
            return Ok(Err(Loss::Outdated));
        }
        let at = added.newest_of(table, passed.as_ref()).await;
        let Some(at) = at.map_err(|e| look::failed(table, "opening", e))? else {
            return Ok(Err(Loss::TableDropped));
        };
        let carried = carry(read, written, &at.dataset).await;
        let carried = match carried.map_err(|e| look::failed(table, "reading deletions of", e))? {
            Ok(carried) => carried,
            Err(loss) => return Ok(Err(loss)),
        };
        let rows = carried.rows();
        let prepared = Prepared::on(&at, carried, operation).await;
        let prepared = prepared.map_err(|e| table.failed("writing deletions of", e))?;
        let fragments = prepared.fragments;
        passed = Some(at.passed());
        let aimed = Aimed {
            at,
            staged: prepared.staged,
            own: prepared.deletions,
            written: &added,
        };
        match aimed.land(table, files, operation).await? {
            Ending::Landed(version) => {
                delete_emptied(table, &fragments, written).await;
                return Ok(Ok((version, rows)));
            }
            Ending::Overtaken => {}
            Ending::GivenUp(loss) => return Ok(Err(loss)),
        }
    }
    Ok(Err(Loss::Contended))
}

/// A rewrite, ready for one head.
struct Prepared {
    staged: Staged,
    /// What was written for this head alone.
    deletions: Vec<Path>,
    /// The new fragments, under the ids that they have there.
    fragments: Vec<Fragment>,
}

impl Prepared {
    /// Gives the new fragments the next free ids, and those with late deletions a deletion file each: its name holds
    /// the id. Both are this rewrite's only if it is committed right after this head.
    async fn on(at: &AtHead, mut carried: Carried, operation: OperationId) -> lance::Result<Self> {
        let dataset = &at.dataset;
        let store = dataset.object_store(None).await?;
        let base = dataset.branch_location().path;
        let next_ids = dataset.manifest().max_fragment_id().unwrap_or(0) + 1..;
        let mut deletions = Vec::new();
        for (next_id, (fragment, late)) in next_ids.zip(carried.alive()) {
            fragment.id = next_id;
            let rows = DeletionVector::from_iter(late.iter().copied());
            fragment.deletion_file =
                write_deletion_file(&base, fragment.id, at.version(), &rows, &store).await?;
            if let Some(file) = &fragment.deletion_file {
                deletions.push(deletion_file_path(&base, fragment.id, file));
            }
        }
        let group = carried.into_group();
        let fragments = group.new_fragments.clone();
        let rewrite = Operation::Rewrite {
            groups: vec![group],
            rewritten_indices: Vec::new(),
            frag_reuse_index: None,
        };
        let transaction = Transaction::new(at.version(), rewrite, None);
        Ok(Self {
            staged: Staged::new(transaction, None, operation),
            deletions,
            fragments,
        })
    }
}

/// Deletes the data of new fragments whose every row was deleted late: no version holds them.
async fn delete_emptied(table: &Table, fragments: &[Fragment], written: &[Fragment]) {
    let used = |path: &str| {
        let files = fragments.iter().flat_map(|f| &f.files);
        files.into_iter().any(|file| file.path == path)
    };
    let written = written.iter().flat_map(|f| &f.files);
    let data = table.storage.table_base(&table.path).join("data");
    let emptied: Vec<_> = written
        .filter(|file| !used(&file.path))
        .map(|file| data.clone().join(file.path.as_str()))
        .collect();
    delete_all(table, &emptied).await;
}
