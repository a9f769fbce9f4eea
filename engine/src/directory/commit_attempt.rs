//! One attempt to commit to a table of a directory, at exactly one version: it is closed before another is made.

use std::time::Duration;

use futures::future::join_all;
use lance_table::io::commit::VERSIONS_DIR;
use object_store::path::Path;

use super::commit_identity::AddedFiles;
use crate::{
    error::{Error, Result, cause::Cause},
    failpoint,
    ids::OperationId,
    storage::deletion::{self, DeletionRule},
    table::{
        Table,
        commit::{AtHead, Landing},
        discard::Loss,
        files::Files,
        staged::{Staged, made_by},
        versions,
    },
};

/// Maximum number of tries while the outcome is open.
const MAX_TRIES: u32 = 5;
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Maximum number of checks of a commit whose table is perhaps being dropped.
const MAX_DROP_CHECKS: u32 = 50;
/// Pause between two checks.
const DROP_CHECK_PAUSE: Duration = Duration::from_millis(100);

/// A transaction for the version right after one head.
pub(super) struct CommitAttempt<'a> {
    pub(super) at: AtHead,
    pub(super) staged: Staged,
    /// What was written for this head alone.
    pub(super) own: Vec<Path>,
    /// What the transaction adds to the table.
    pub(super) written: &'a AddedFiles,
}

/// How one attempt at one version ended.
pub(super) enum Ending {
    /// This version has it.
    Committed(u64),
    /// Another program made the version. What was written for it is deleted.
    Overtaken,
    /// It is not to be tried again:
    ///
    /// - [`Loss::Refused`]: Lance refused it, and its head is gone;
    /// - [`Loss::TableDropped`]: what was committed is withdrawn;
    /// - [`Loss::LandedLate`]: the table went on without it. Files are kept, as a version may name them.
    GivenUp(Loss),
    /// With an [`Error::CommitRefused`]: Lance refuses it, or the store cannot put it. Nothing was put, and what was
    /// written for it is deleted.
    Refused(Error),
}

impl CommitAttempt<'_> {
    /// Commits, and finds out what became of it. `files` are the transaction's, and kept unless it is not committed.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] and [`Error::Damaged`], with all files kept; [`Error::Lance`], when nothing was put.
    pub(super) async fn run(
        self,
        table: &Table,
        files: &mut Files,
        operation: OperationId,
    ) -> Result<Ending> {
        let base = self.at.dataset.branch_location().path;
        let naming = self.at.dataset.manifest_location().naming_scheme;
        let manifest = naming.manifest_path(&base, self.at.version() + 1);
        let mut own = self.own;
        own.push(transaction_file(table, &self.staged));
        files.kept = true;
        failpoint::hit!(BEFORE_LAND);
        let settled = settle(table, self.at, &self.staged, self.written, operation).await;
        failpoint::hit!(AFTER_LAND);
        let settled = match settled {
            Err(e) if !e.leaves_open() => {
                files.kept = false;
                delete_all(table, &own).await;
                return Err(e);
            }
            settled => settled?,
        };
        let ending = match settled {
            Ending::Committed(version) => {
                let commit = Commit {
                    table,
                    version,
                    manifest,
                    written: self.written,
                    operation,
                };
                commit.check_after_commit().await?
            }
            not_committed => not_committed,
        };
        if !matches!(
            ending,
            Ending::Committed(_) | Ending::GivenUp(Loss::LandedLate)
        ) {
            files.kept = false;
            delete_all(table, &own).await;
        }
        Ok(ending)
    }
}

/// Commits right after the head, and finds out what became of it. A commit is closed by the version it is for, which
/// has this transaction or another change; or, when that is gone already, by the newest one, if it has what this
/// transaction adds. Where no try has put anything, there is nothing to find out.
///
/// # Errors
/// [`Error::Lance`], when nothing was put; [`Error::OutcomeUnknown`].
async fn settle(
    table: &Table,
    at: AtHead,
    staged: &Staged,
    written: &AddedFiles,
    operation: OperationId,
) -> Result<Ending> {
    let head = at.version();
    let begun_at = at.dataset.manifest().transaction_file.clone();
    let mut at = Some(at);
    // Set as soon as an earlier try may have been carried out, or may be yet.
    let mut open = false;
    let mut last = None;
    for _ in 0..MAX_TRIES {
        let mut conflict = None;
        if let Some(at) = &at {
            match at.commit(staged).await {
                Landing::Landed(version) => return Ok(Ending::Committed(version)),
                // Refused before a request was made, unless an earlier one is still open.
                Landing::Taken if !open => return Ok(Ending::Overtaken),
                Landing::Refused(e) if !open => {
                    let always = Cause::of(&*e) == Cause::Unsupported;
                    return Ok(Ending::Refused(table.refused(&e, always)));
                }
                // With what the version has that it is for, or else with its own head.
                Landing::Conflict(reason) => {
                    tracing::debug!(table = %table.key, reason, "Lance refuses a commit");
                    conflict = (!open).then_some(reason);
                }
                Landing::Lost | Landing::Taken => open = true,
                Landing::Failed(e) | Landing::Refused(e) => {
                    tracing::debug!(table = %table.key, error = %e, "a commit failed before anything was put");
                    last = Some(*e);
                }
                Landing::Unclear(e) => {
                    tracing::debug!(table = %table.key, error = %e, "the outcome of a commit is open");
                    open = true;
                }
            }
        }
        match table.open(head + 1, table.storage.params(), None).await {
            Ok(next) if made_by(&next, operation) => return Ok(Ending::Committed(head + 1)),
            Ok(_) => return Ok(Ending::Overtaken),
            Err(e) if open => last = Some(e),
            Err(_) => {}
        }
        // A table that was created anew may have come to the same number.
        let same = |newest: &AtHead| newest.dataset.manifest().transaction_file == begun_at;
        if let Some(reason) = conflict {
            return Ok(match AtHead::newest(table).await {
                Ok(newest) if newest.version() == head && same(&newest) => {
                    Ending::Refused(table.refused(&reason, false))
                }
                _ => Ending::GivenUp(Loss::Refused),
            });
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        at = match AtHead::newest(table).await {
            Ok(newest) if newest.version() == head => Some(newest).filter(same),
            Ok(newest) => match written.is_in(&newest.dataset).await {
                Ok(true) => return Ok(Ending::Committed(head + 1)),
                Ok(false) => None,
                Err(e) => {
                    last = Some(e);
                    None
                }
            },
            Err(e) => {
                last = Some(e);
                None
            }
        };
    }
    let last = last.map(|e| table.failed("committing to", e));
    match last {
        Some(e) if !open => Err(e),
        // Another table has taken its place.
        None if !open => Ok(Ending::Overtaken),
        source => Err(Error::OutcomeUnknown {
            operation,
            uri: table.storage.uri.clone(),
            source: source.map(Box::new),
        }),
    }
}

/// A commit that was carried out.
struct Commit<'a> {
    table: &'a Table,
    version: u64,
    /// The object of the version.
    manifest: Path,
    written: &'a AddedFiles,
    operation: OperationId,
}

/// What the newest versions say of a commit.
enum Seen {
    /// It is the newest, right after its head, or others stand on it.
    Stands,
    /// It is the newest, and the version before it is gone.
    Alone,
    /// Others do not stand on it.
    PassedBy,
    /// It is not there.
    Gone,
}

impl Commit<'_> {
    /// Checks whether the table was there when this was committed, and whether it goes on from here.
    ///
    /// Another program that drops a table takes its files one by one, in any order, and a commit in the middle of that
    /// would bring back a table without rows. What was written for it shows that: nothing removes it within days but a
    /// drop. On an object store, a drop may list the versions before the data, and so miss this one. Then the version
    /// before it is gone, and the data goes soon. But a cleanup that keeps the newest version alone looks the same at
    /// first: so it is looked at again for a while.
    async fn check_after_commit(&self) -> Result<Ending> {
        for _ in 0..MAX_DROP_CHECKS {
            if !self.written.is_whole(self.table).await {
                return self.withdraw().await;
            }
            match self.seen().await {
                // When the store does not answer, the next job finds whether the table is there.
                Ok(Seen::Stands) | Err(_) => break,
                Ok(Seen::Alone) => {}
                Ok(Seen::PassedBy) => return Ok(self.pass_by().await),
                Ok(Seen::Gone) => return self.withdraw().await,
            }
            tokio::time::sleep(DROP_CHECK_PAUSE).await;
        }
        Ok(Ending::Committed(self.version))
    }

    /// One list; and when there is something newer, a read of that.
    async fn seen(&self) -> Result<Seen> {
        let newest = versions::newest(self.table, 2).await?;
        let numbers: Vec<_> = newest.iter().map(|v| v.version).collect();
        Ok(match *numbers {
            [newest, ..] if newest > self.version => {
                if self.is_base_of(newest).await? {
                    Seen::Stands
                } else {
                    Seen::PassedBy
                }
            }
            [newest, before] if newest == self.version && before + 1 == newest => Seen::Stands,
            [newest, ..] if newest == self.version => Seen::Alone,
            _ => Seen::Gone,
        })
    }

    /// Whether the newest version, or the one right after this, has what this one added.
    async fn is_base_of(&self, newest: u64) -> Result<bool> {
        for version in [newest, self.version + 1] {
            let is_in = match self.open(version).await? {
                Some(dataset) => self.written.is_in(&dataset).await,
                None => Ok(false),
            };
            if is_in.map_err(|e| self.table.failed("reading the indexes of", e))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Others made this version and removed it again before this could be put there. Where the one after it is gone as
    /// well, a client that follows the numbers one by one would take this one for the newest: so it goes.
    async fn pass_by(&self) -> Ending {
        let (table, version) = (self.table, self.version);
        tracing::info!(table = %table.key, uri = %table.storage.uri, version, "a commit came too late: the table went on without it");
        if let (Ok(Some(late)), Ok(None)) = tokio::join!(self.open(version), self.open(version + 1))
            && made_by(&late, self.operation)
        {
            self.take_away().await;
        }
        Ending::GivenUp(Loss::LandedLate)
    }

    /// Takes a commit into a table that was dropped out of the way again: only if it is this operation's, and nothing
    /// stands on it.
    ///
    /// # Errors
    /// [`Error::Damaged`], when something does.
    async fn withdraw(&self) -> Result<Ending> {
        let (table, version) = (self.table, self.version);
        let uri = table.storage.uri.as_str();
        let found = self.open(version).await?;
        if !found.is_some_and(|found| made_by(&found, self.operation)) {
            // It went with the table; one of that number is of another table in its place.
            return Ok(Ending::GivenUp(Loss::TableDropped));
        }
        let newest = versions::newest(table, 1).await?;
        if newest.iter().any(|v| v.version > version) {
            tracing::error!(table = %table.key, uri, version, operation = %self.operation, "files of a version are gone, and others have written on top of it: nothing is deleted");
            return Err(Error::Damaged {
                object: format!("version {version} of {}", table.key),
                reason: "its files were deleted right after it was committed".to_owned(),
                uri: uri.to_owned(),
            });
        }
        tracing::info!(table = %table.key, uri, version, "the table was dropped while something was committed to it: the commit is withdrawn");
        self.take_away().await;
        Ok(Ending::GivenUp(Loss::TableDropped))
    }

    async fn take_away(&self) {
        let versions = self.table.storage.table_base(&self.table.path);
        let hint = versions.join(VERSIONS_DIR).join("latest_version_hint.json");
        delete_all(self.table, &[self.manifest.clone(), hint]).await;
    }

    async fn open(&self, version: u64) -> Result<Option<lance::Dataset>> {
        let table = self.table;
        match table.open(version, table.storage.params(), None).await {
            Ok(dataset) => Ok(Some(dataset)),
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(table.failed("opening", e)),
        }
    }
}

fn transaction_file(table: &Table, staged: &Staged) -> Path {
    let transaction = &staged.transaction;
    let name = format!("{}-{}.txn", transaction.read_version, transaction.uuid);
    let folder = table.storage.table_base(&table.path).join("_transactions");
    folder.join(name)
}

/// Best effort: what stays is removed by cleanup some days later.
pub(super) async fn delete_all(table: &Table, paths: &[Path]) {
    let deletions = paths.iter().map(|path| async move {
        let deleted = deletion::one(&table.storage.store, path, DeletionRule::Uncommitted);
        match deleted.await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => {
                tracing::debug!(table = %table.key, %path, error = %e, "a file of a lost commit stays behind");
            }
        }
    });
    join_all(deletions).await;
}
