//! How versions of a table are removed: exactly those that were judged, and files that no other version names.

use std::{collections::BTreeSet, sync::Arc};

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::cleanup::{CleanupPolicy as LancePolicy, RemovalStats},
};
use object_store::ObjectStoreExt;

use super::{Table, retention::Kept, stats::VersionInfo};
use crate::{
    error::{Error, Result},
    failpoint,
    planner::cleanup::{self, Decision, Reason, Skip},
    progress::{self, Phase},
    storage::deletion_permit::{Identity, Judged, Permit, References, Withdrawn},
    table::handle::guarded,
};

/// Deletions that are on their way at once.
const DELETIONS_AT_ONCE: usize = 16;

/// What a cleanup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// All versions stay, because of this.
    Skipped(Skip),
    /// Some are gone.
    Done(CleanupReceipt),
}

/// What a cleanup removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupReceipt {
    /// Why the table was due.
    pub reason: Reason,
    /// Versions that are gone.
    pub versions: u64,
    /// Files that are gone, besides those of the versions themselves.
    pub files: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Bytes that it is thought to have read: the manifests of all versions.
    pub read: u64,
}

/// What a cleanup would do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupPreview {
    /// What the planner says.
    pub decision: Decision,
    /// Versions there are.
    pub versions: u64,
    /// What would go: nothing when the decision is to leave the table alone.
    pub goes: Removed,
    /// What stays, and because of what.
    pub kept: Vec<Kept>,
}

/// What a removal took away, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Versions.
    pub versions: u64,
    /// Files, besides those of the versions themselves.
    pub files: u64,
    /// Bytes of both.
    pub bytes: u64,
}

impl From<&RemovalStats> for Removed {
    fn from(stats: &RemovalStats) -> Self {
        Self {
            versions: stats.old_versions,
            files: stats.data_files_removed
                + stats.deletion_files_removed
                + stats.index_files_removed
                + stats.transaction_files_removed,
            bytes: stats.bytes_removed,
        }
    }
}

/// A table that is open to remove versions of it. Nothing can be deleted through it before it is given what to delete.
pub(crate) struct Cleaner {
    pub(crate) dataset: Dataset,
    permit: Arc<Permit>,
    /// Whether another table may come to the same folder meanwhile.
    replaceable: bool,
}

/// Which versions go, of those that there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Going<'a> {
    /// These, by number.
    pub(crate) versions: &'a [u64],
    /// All that were listed.
    pub(crate) listed: &'a [VersionInfo],
    /// Tags and branches, as they were when it was judged.
    pub(crate) references: &'a References,
}

impl Cleaner {
    /// Opens one version of a graph's table, which stays. No path of a graph is used twice; and other cleanups may take away
    /// what is the newest now, once there are newer ones.
    ///
    /// # Errors
    /// [`Error::Lance`], [`Error::Panicked`].
    pub(crate) async fn at(table: &Table, version: u64) -> Result<Self> {
        let (permit, params) = table.storage.cleanup();
        let opened = async {
            let opened = table.open(version, params, None).await;
            opened.map_err(|e| table.failed("opening", e))
        };
        let dataset = guarded(table, "opening", opened).await?;
        Ok(Self {
            dataset,
            permit,
            replaceable: false,
        })
    }

    /// A directory's table that was opened by the store's way to clean up, see [`crate::storage::Storage::cleanup`].
    pub(crate) fn new(dataset: Dataset, permit: Arc<Permit>) -> Self {
        Self {
            dataset,
            permit,
            replaceable: true,
        }
    }

    /// Removes versions, with the files that no other version names. A file that never was in a version goes after seven
    /// days, which is Lance's rule.
    ///
    /// It can be cut off anywhere: what is left is removed by the next one. It ends by itself when the table is not the one
    /// any more that was judged, or when it has a new tag or branch.
    ///
    /// # Errors
    /// [`Error::Lance`], [`Error::Panicked`], [`Error::Store`]; [`Error::TableReplaced`]. A file that cannot be deleted is
    /// left to the next cleanup.
    pub(crate) async fn remove(&self, table: &Table, going: Going<'_>) -> Result<Removed> {
        self.permit.give(self.judge(table, going).await?);
        failpoint::hit!(BEFORE_CLEANUP);
        let removing = async {
            let failed = |e| table.failed("removing earlier versions of", e);
            let cleanup = self.dataset.cleanup(exactly(going.versions));
            let cleanup = cleanup
                .with_delete_concurrency(DELETIONS_AT_ONCE)
                .map_err(failed)?;
            cleanup.execute().boxed().await.map_err(failed)
        };
        let removed = guarded(table, "removing earlier versions of", removing).await;
        failpoint::hit!(AFTER_CLEANUP);
        let uri = &table.storage.uri;
        match self.permit.withdrawn() {
            Some(Withdrawn::Replaced) => {
                return Err(replaced(table));
            }
            Some(Withdrawn::Referenced) => {
                tracing::info!(table = %table.key, %uri, "a tag or a branch came while versions were removed; the next cleanup judges anew and goes on");
            }
            Some(Withdrawn::Late) | None => {}
        }
        let stats = removed?;
        if stats.failed_deletes > 0 {
            tracing::warn!(table = %table.key, files = stats.failed_deletes, %uri, "some files could not be deleted; the next cleanup tries again");
        }
        Ok(Removed::from(&stats))
    }

    /// Removes versions as [`Self::remove`] does, for a cleanup that is due because of this, and tells so.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub(crate) async fn clean(
        &self,
        table: &Table,
        going: Going<'_>,
        reason: Reason,
    ) -> Result<Cleaned> {
        progress::begin(Phase::Removing, 0);
        let Removed {
            versions,
            files,
            bytes,
        } = self.remove(table, going).await?;
        tracing::info!(table = %table.key, reason = %reason, versions, files, bytes, uri = %table.storage.uri, "old versions removed");
        Ok(Cleaned::Done(CleanupReceipt {
            reason,
            versions,
            files,
            bytes,
            read: cleanup::reads(going.listed.len(), self.dataset.manifest().fragments.len()),
        }))
    }

    /// What [`Self::remove`] would remove. Deletes nothing.
    ///
    /// # Errors
    /// [`Error::Lance`], [`Error::Panicked`].
    pub(crate) async fn explain(&self, table: &Table, versions: &[u64]) -> Result<Removed> {
        let explaining = async {
            let cleanup = self.dataset.cleanup(exactly(versions));
            let explained = cleanup.with_max_candidate_files(0).explain().boxed().await;
            explained.map_err(|e| table.failed("looking at the versions of", e))
        };
        let explained = guarded(table, "looking at the versions of", explaining).await?;
        Ok(Removed::from(&explained.stats))
    }

    /// What is judged, and by what the table is known to be the same.
    async fn judge(&self, table: &Table, going: Going<'_>) -> Result<Judged> {
        let witness = if self.replaceable {
            Some(self.witness(table).await?)
        } else {
            None
        };
        let goes: BTreeSet<_> = going.versions.iter().collect();
        let going_at = going.listed.iter().filter(|v| goes.contains(&v.version));
        Ok(Judged {
            folder: table.storage.table_base(&table.path),
            witness,
            going: going_at.map(|v| (v.version, v.written)).collect(),
            references: going.references.clone(),
        })
    }

    /// The manifest that is open, if it is the same object still.
    async fn witness(&self, table: &Table) -> Result<Identity> {
        let opened = self.dataset.manifest_location();
        let found = match table.storage.store.head(&opened.path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(replaced(table)),
            Err(e) => return Err(Error::store("looking at", opened.path.as_ref(), e)),
        };
        let another = |then: &String| found.e_tag.as_ref().is_some_and(|now| now != then);
        if opened.e_tag.as_ref().is_some_and(another) {
            return Err(replaced(table));
        }
        Ok(found.into())
    }
}

fn replaced(table: &Table) -> Error {
    Error::TableReplaced {
        table: table.key.clone(),
        uri: table.storage.uri.clone(),
    }
}

/// Exactly these versions, and nothing that Lance would decide by itself.
fn exactly(versions: &[u64]) -> LancePolicy {
    LancePolicy {
        versions: Some(versions.iter().copied().collect()),
        // They stay, and the others go.
        error_if_tagged_old_versions: false,
        ..LancePolicy::default()
    }
}
