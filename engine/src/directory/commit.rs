//! The commit of rewritten groups: at exactly one version, on a head whose every fragment was looked at.
//!
//! Nothing is left to Lance's rebase. Each attempt opens the head, rebases the rewrite on it, and commits right after it or
//! not at all; when a writer was faster, the next attempt starts from what that writer left. An attempt costs a few
//! requests, never a rewrite. Segments of indexes over the sources are written anew before the first attempt, and again
//! where others have changed them since.

use std::time::{Duration, Instant};

use futures::FutureExt;
use lance::dataset::transaction::{Operation, RewriteGroup, Transaction};
use lance_core::utils::deletion::DeletionVector;
use lance_table::{
    format::Fragment,
    io::deletion::{deletion_file_path, write_deletion_file},
};
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{
    commit_attempt::{CommitAttempt, Ending, delete_all},
    commit_identity::AddedFiles,
    inspect,
};
use crate::{
    error::{Error, Result},
    ids::OperationId,
    progress::{self, Phase},
    table::{
        Table,
        commit::AtHead,
        discard::{Loss, OrLost},
        files::Files,
        rebase::{Carried, carry},
        remap::{Fits, Moved, Remap, fits},
        staged::Staged,
        writers::Seen,
    },
};

/// Minimum number of heads that are tried before work is given up because other writers are always faster.
const MIN_HEADS: usize = 50;
/// Minimum time for which heads are tried before that.
const MIN_TIME: Duration = Duration::from_secs(5);
/// Maximum number of times that the indexes are written anew for one rewrite, before it is given up.
const MAX_REMAPS: usize = 3;

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
        self.heads <= MIN_HEADS || self.since.elapsed() < MIN_TIME
    }
}

/// Deletes what was written, unless a version holds it, or may; and the folders that it left where the table is gone.
pub(super) async fn delete_unless_kept(table: &Table, files: Files) {
    let kept = files.kept;
    files.delete().await;
    if !kept {
        inspect::tidy_if_gone(table).await;
    }
}

/// A rewrite that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// The version that shows it first.
    pub(super) version: u64,
    /// Rows that were deleted late, and carried over.
    pub(super) carried: u64,
    /// Bytes of the segments of indexes that were written anew for it.
    pub(super) index_bytes: u64,
    /// How long those took, with nothing held.
    pub(super) remap: Duration,
    /// How long the commit took, all attempts together.
    pub(super) took: Duration,
}

/// Commits groups of new fragments, all or none, with the segments of indexes over their sources. For a rewrite that is worth
/// nothing any more, the reason is returned, and its files are deleted.
///
/// # Errors
/// [`Error::OutcomeUnknown`], with all files kept; [`Error::Cancelled`], while an index is written anew;
/// [`Error::Unmapped`], [`Error::CommitRefused`], [`Error::TableGone`], [`Error::Lance`], [`Error::Store`].
pub(super) async fn commit(
    table: Table,
    moved: Vec<Moved>,
    files: Files,
    operation: OperationId,
    writers: Seen,
    stop: CancellationToken,
) -> Result<OrLost<Committed>> {
    let mut rewrite = RewriteCommit {
        table,
        moved,
        remap: None,
        remaps: 0,
        remapping: Duration::ZERO,
        files,
        operation,
        writers,
        stop,
    };
    let started = Instant::now();
    let committed = rewrite.attempts().boxed().await;
    let took = started.elapsed();
    delete_unless_kept(&rewrite.table, rewrite.files).await;
    Ok(committed?.map(|(version, carried)| Committed {
        version,
        carried,
        index_bytes: rewrite.remap.as_ref().map_or(0, Remap::bytes),
        remap: rewrite.remapping,
        took: took.saturating_sub(rewrite.remapping),
    }))
}

/// The commit of a rewrite, over all its attempts.
struct RewriteCommit {
    table: Table,
    moved: Vec<Moved>,
    remap: Option<Remap>,
    /// How often the indexes were written anew.
    remaps: usize,
    /// And how long that took.
    remapping: Duration,
    files: Files,
    operation: OperationId,
    /// The other clients that write the table.
    writers: Seen,
    stop: CancellationToken,
}

impl RewriteCommit {
    /// Tries at one head after the other. Gives the version, and how many rows were deleted late.
    async fn attempts(&mut self) -> Result<OrLost<(u64, u64)>> {
        let written = self.moved.iter().flat_map(|m| m.written.clone());
        let written: Vec<_> = written.collect();
        let added = AddedFiles::data(&written);
        let mut tries = Attempts::begin();
        let mut passed = None;
        while tries.another() {
            if self.files.are_expired() {
                return Ok(Err(Loss::Outdated));
            }
            let at = added.newest_of(&self.table, passed.as_ref()).await;
            let at = at.map_err(|e| inspect::failed(&self.table, "opening", e))?;
            let Some(at) = at else {
                return Ok(Err(Loss::TableDropped));
            };
            let carried = match self.carry(&at).await? {
                Ok(carried) => carried,
                Err(loss) => return Ok(Err(loss)),
            };
            let fits = fits(self.remap.as_ref(), &self.moved, &at.dataset).await;
            let fits =
                fits.map_err(|e| inspect::failed(&self.table, "reading the indexes of", e))?;
            match fits {
                Fits::Yes => {}
                Fits::Never(loss) => return Ok(Err(loss)),
                Fits::No if self.remaps == MAX_REMAPS => return Ok(Err(Loss::IndexesChanged)),
                Fits::No => {
                    self.remap_at(at.version()).await?;
                    tries = Attempts::begin();
                    passed = None;
                    continue;
                }
            }
            if self.remap.is_some() && carried.iter().any(Carried::is_emptied) {
                // The index would find rows in a fragment that is not there.
                return Ok(Err(Loss::SourcesChanged));
            }
            let rows = carried.iter().map(Carried::rows).sum();
            let prepared = Prepared::on(&at, carried, self.remap.as_ref(), self.operation).await;
            let mut prepared =
                prepared.map_err(|e| self.table.failed("writing deletions of", e))?;
            self.writers.note_in(&mut prepared.staged.transaction);
            let fragments = prepared.fragments;
            passed = Some(at.passed());
            let attempt = CommitAttempt {
                at,
                staged: prepared.staged,
                own: prepared.deletions,
                written: &added,
            };
            let operation = self.operation;
            match attempt.run(&self.table, &mut self.files, operation).await? {
                Ending::Committed(version) => {
                    delete_emptied(&self.table, &fragments, &written).await;
                    return Ok(Ok((version, rows)));
                }
                Ending::Overtaken => {}
                Ending::GivenUp(loss) => return Ok(Err(loss)),
                Ending::Refused(e) => return Err(e),
            }
        }
        Ok(Err(Loss::Contended))
    }

    /// Every group, as it fits a head.
    async fn carry(&self, at: &AtHead) -> Result<OrLost<Vec<Carried>>> {
        let mut groups = Vec::new();
        for Moved { read, written } in &self.moved {
            let carried = carry(read, written, &at.dataset).await;
            let carried =
                carried.map_err(|e| inspect::failed(&self.table, "reading deletions of", e));
            match carried? {
                Ok(carried) => groups.push(carried),
                Err(loss) => return Ok(Err(loss)),
            }
        }
        Ok(Ok(groups))
    }

    /// Writes the segments over the sources anew, as they are at a version of the table. Nothing is held.
    async fn remap_at(&mut self, version: u64) -> Result<()> {
        let started = Instant::now();
        let gap = self.remap.as_ref().map(Remap::next_gap);
        let opened = self.table.open(version, self.files.params(), None).await;
        let dataset = opened.map_err(|e| inspect::failed(&self.table, "opening", e))?;
        let remap = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Cancelled),
            remap = Remap::of(&self.table, &dataset, &mut self.moved, gap).boxed() => remap,
        };
        self.remap = remap?;
        self.remaps += 1;
        let own = |path: &str| self.remap.as_ref().is_some_and(|remap| remap.own(path));
        self.files
            .delete_strays(|path| !path.contains("/_indices/") || own(path))
            .await;
        self.remapping += started.elapsed();
        progress::enter(Phase::Committing);
        Ok(())
    }
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
    /// Gives the new fragments ids, and those with late deletions a deletion file each: its name holds the id. Where
    /// indexes hold the ids, they are chosen; else they are the next free ones, and this rewrite's only if it is
    /// committed right after this head.
    async fn on(
        at: &AtHead,
        mut carried: Vec<Carried>,
        remap: Option<&Remap>,
        operation: OperationId,
    ) -> lance::Result<Self> {
        let dataset = &at.dataset;
        let store = dataset.object_store(None).await?;
        let base = dataset.branch_location().path;
        let next_ids = dataset.manifest().max_fragment_id().unwrap_or(0) + 1..;
        let alive = carried.iter_mut().flat_map(Carried::alive);
        let mut deletions = Vec::new();
        for (next_id, (fragment, late)) in next_ids.zip(alive) {
            if remap.is_none() {
                fragment.id = next_id;
            }
            let rows = DeletionVector::from_iter(late.iter().copied());
            fragment.deletion_file =
                write_deletion_file(&base, fragment.id, at.version(), &rows, &store).await?;
            if let Some(file) = &fragment.deletion_file {
                deletions.push(deletion_file_path(&base, fragment.id, file));
            }
        }
        let groups: Vec<RewriteGroup> = carried.into_iter().map(Carried::into_group).collect();
        let fragments = groups.iter().flat_map(|g| g.new_fragments.clone());
        let fragments = fragments.collect();
        let rewrite = Operation::Rewrite {
            groups,
            rewritten_indices: remap.map(Remap::rewritten).unwrap_or_default(),
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
