//! Who writes a table: the oldest Lance by which others wrote the versions that are there.
//!
//! A version says which Lance wrote it, and who writes reads as well. Squire's own versions say nothing of its clients:
//! they are known by the id in the name of their transaction, which others draw at random.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use lance_table::format::Manifest;
use uuid::{Uuid, Version};

use super::{Table, stats::VersionInfo, versions};
use crate::{error::Result, maintenance::clients::LanceVersion};

/// So many manifests are read at most in one call; those that are left, in the next ones.
const READS: usize = 32;
/// So many at once.
const AT_ONCE: usize = 8;

/// A version, and when it was written: another table of that name may come to the same number.
type Key = (u64, DateTime<Utc>);

/// What is known of the writers of tables, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Writers(Mutex<HashMap<String, BTreeMap<Key, Writer>>>);

/// Who wrote a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Squire,
    Other(LanceVersion),
}

impl Writer {
    fn of(manifest: &Manifest) -> Self {
        let transaction = manifest.transaction_file.as_deref();
        if transaction.is_some_and(is_of_squire) {
            return Self::Squire;
        }
        let lance = manifest.writer_version.as_ref();
        let lance = lance.and_then(|lance| LanceVersion::parse(&lance.version));
        // What does not say it is older than what does.
        Self::Other(lance.unwrap_or_default())
    }
}

/// Whether a transaction's file is named by an operation of Squire: its ids begin with the time.
fn is_of_squire(file: &str) -> bool {
    let id = file
        .strip_suffix(".txn")
        .and_then(|name| name.split_once('-'));
    let id = id.and_then(|(_, id)| Uuid::parse_str(id).ok());
    id.is_some_and(|id| id.get_version() == Some(Version::SortRand))
}

impl Writers {
    /// The oldest Lance by which others wrote a table, as far as that is known.
    pub(crate) fn oldest(&self, path: &str) -> Option<LanceVersion> {
        let all = self.all();
        let others = all.get(path)?.values().filter_map(|writer| match writer {
            Writer::Squire => None,
            Writer::Other(lance) => Some(*lance),
        });
        others.min()
    }

    /// Whether the history of a table was looked at.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.all().contains_key(path)
    }

    /// Takes in a version that was read in any case.
    pub(crate) fn note(&self, path: &str, version: VersionInfo, manifest: &Manifest) {
        if let Some(known) = self.all().get_mut(path) {
            known.insert(key(version), Writer::of(manifest));
        }
    }

    /// Forgets every table but those at these paths.
    pub(crate) fn keep(&self, paths: &BTreeSet<String>) {
        self.all().retain(|path, _| paths.contains(path));
    }

    /// Reads the manifests that are there and not known yet, the oldest and the newest first: one list, and so many reads
    /// at most. What cannot be read is left for the next time.
    ///
    /// # Errors
    /// [`crate::Error::ForeignCommits`], [`crate::Error::Store`].
    pub(crate) async fn learn(&self, table: &Table) -> Result<()> {
        let versions = versions::list(table).await?;
        let mut known = self.all().get(&table.path).cloned().unwrap_or_default();
        let there: BTreeSet<_> = versions.iter().copied().map(key).collect();
        known.retain(|key, _| there.contains(key));
        let unknown = versions
            .into_iter()
            .filter(|v| !known.contains_key(&key(*v)));
        let unknown: Vec<_> = unknown.collect();
        let reads = sample(unknown.len()).into_iter().map(|place| {
            let version = unknown[place];
            async move {
                let opened = table
                    .open(version.version, table.storage.params(), None)
                    .await;
                let dataset = opened.ok()?;
                Some((key(version), Writer::of(dataset.manifest())))
            }
        });
        let reads: Vec<_> = reads.collect();
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = reads.next().await {
            known.extend(read);
        }
        self.all().insert(table.path.clone(), known);
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<Key, Writer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(version: VersionInfo) -> Key {
    (version.version, version.written)
}

/// The places to look at among so many: all, or the first, the last, and some from in between.
fn sample(of: usize) -> BTreeSet<usize> {
    if of <= READS {
        return (0..of).collect();
    }
    (0..READS).map(|n| n * (of - 1) / (READS - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::OperationId;

    #[test]
    fn a_sample_has_the_oldest_and_the_newest_and_no_more_than_it_may() {
        assert_eq!(sample(3), BTreeSet::from([0, 1, 2]));
        let many = sample(10_000);
        assert!(many.contains(&0) && many.contains(&9_999));
        assert_eq!(many.len(), READS);
    }

    #[test]
    fn versions_of_squire_are_told_from_those_of_others() {
        let own = format!("7-{}.txn", OperationId::fresh());
        assert!(is_of_squire(&own));
        assert!(!is_of_squire(&format!("7-{}.txn", Uuid::new_v4())));
        assert!(!is_of_squire("7.txn"));
    }
}
