//! Everything that Squire deletes goes through here. Each deletion names the rule that allows it, and is counted by it:
//! `docs/security.md` has the table of who may delete what. No other place calls a store's deletions; a test holds that. The
//! local store alone removes what it has just made and never gave its name (`local/upload.rs`).

use std::{
    path::Path as FsPath,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, Result, path::Path};

use super::local::Boundary;

/// What allows a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeletionRule {
    /// A file of an old version of a table, or one that no version names, as cleanup judged it.
    OldVersion,
    /// A file that Squire wrote itself and that is known never to be committed.
    Uncommitted,
    /// A table that a schema apply dropped hard.
    DroppedTable,
    /// A folder without a file in it, where a table was that another program dropped.
    EmptyFolder,
    /// A manifest of a graph that has no readers any more.
    Manifest,
    /// A sidecar whose operation has ended.
    Sidecar,
    /// The heartbeat of a process that is gone.
    Heartbeat,
    /// What a write that was killed left in a folder of Squire's own.
    HalfWritten,
    /// What was written to find out about the store.
    Probe,
}

impl DeletionRule {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OldVersion,
        Self::Uncommitted,
        Self::DroppedTable,
        Self::EmptyFolder,
        Self::Manifest,
        Self::Sidecar,
        Self::Heartbeat,
        Self::HalfWritten,
        Self::Probe,
    ];

    /// As metrics and the docs spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OldVersion => "old_version",
            Self::Uncommitted => "uncommitted",
            Self::DroppedTable => "dropped_table",
            Self::EmptyFolder => "empty_folder",
            Self::Manifest => "manifest",
            Self::Sidecar => "sidecar",
            Self::Heartbeat => "heartbeat",
            Self::HalfWritten => "half_written",
            Self::Probe => "probe",
        }
    }

    fn place(self) -> usize {
        self as usize
    }
}

static DELETED: [AtomicU64; DeletionRule::ALL.len()] =
    [const { AtomicU64::new(0) }; DeletionRule::ALL.len()];

/// How many files, objects and folders this process has deleted so far, by what allowed it. A folder with everything in it
/// counts once.
pub fn deleted() -> impl Iterator<Item = (DeletionRule, u64)> {
    let count = |rule: DeletionRule| DELETED[rule.place()].load(Ordering::Relaxed);
    DeletionRule::ALL
        .into_iter()
        .map(move |rule| (rule, count(rule)))
}

fn count(rule: DeletionRule) {
    DELETED[rule.place()].fetch_add(1, Ordering::Relaxed);
}

/// Deletes one object.
///
/// # Errors
/// The store's.
pub(crate) async fn one(store: &dyn ObjectStore, path: &Path, rule: DeletionRule) -> Result<()> {
    store.delete(path).await?;
    count(rule);
    Ok(())
}

/// Deletes all that come; says of each how it went.
pub(crate) fn all(
    store: &Arc<dyn ObjectStore>,
    paths: BoxStream<'static, Result<Path>>,
    rule: DeletionRule,
) -> BoxStream<'static, Result<Path>> {
    let deleted = store.delete_stream(paths);
    deleted.inspect_ok(move |_| count(rule)).boxed()
}

/// Deletes a folder of a local disk with everything in it; of links, the link.
///
/// # Errors
/// The disk's.
pub(super) async fn folder(boundary: &Boundary, path: &Path) -> Result<()> {
    if boundary.remove_folder(path).await? {
        count(DeletionRule::DroppedTable);
    }
    Ok(())
}

/// Deletes a folder of a local disk, as far as there is no file in it. Best effort.
pub(super) async fn empty_folders(boundary: &Boundary, path: &Path) {
    if boundary.remove_empty_folders(path).await {
        count(DeletionRule::EmptyFolder);
    }
}

/// Deletes a file that the local store did not come to rename. Says whether it did.
pub(crate) fn half_written(path: &FsPath) -> bool {
    let is_gone = std::fs::remove_file(path).is_ok();
    if is_gone {
        count(DeletionRule::HalfWritten);
    }
    is_gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_counted_by_itself() {
        let places: Vec<_> = DeletionRule::ALL
            .into_iter()
            .map(DeletionRule::place)
            .collect();
        assert_eq!(places, (0..DeletionRule::ALL.len()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_could_not_be_deleted_is_not_counted() {
        let so_far = || {
            deleted()
                .find(|(rule, _)| *rule == DeletionRule::Probe)
                .unwrap()
                .1
        };
        let nowhere = object_store::local::LocalFileSystem::new();
        let before = so_far();
        let gone = one(&nowhere, &Path::from("nowhere/at/all"), DeletionRule::Probe).await;
        assert!(gone.is_err());
        let memory = object_store::memory::InMemory::new();
        memory.put(&Path::from("a"), "a".into()).await.unwrap();
        one(&memory, &Path::from("a"), DeletionRule::Probe)
            .await
            .unwrap();
        assert!(so_far() > before);
    }
}
