//! Who writes a table: the oldest Lance by which others wrote the versions that are there.
//!
//! A version says which Lance wrote it, and who writes reads as well. Squire's own versions say nothing of its clients:
//! they are known by the id in the name of their transaction, which others draw at random.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use lance::{Dataset, dataset::transaction::Transaction};
use lance_table::format::Manifest;
use uuid::{Uuid, Version};

use super::{Table, stats::VersionInfo, versions};
use crate::{error::Result, planner::clients::LanceVersion};

/// Maximum number of manifests that are read in one call; the rest follows in the next ones.
const READS: usize = 32;
/// Maximum number that is read at once.
const AT_ONCE: usize = 8;
/// How long a writer counts as a client after it was seen.
const REMEMBERED_FOR: TimeDelta = TimeDelta::days(90);
/// Under this name each of Squire's own transactions says which Lance wrote the table when: cleanup takes the versions that
/// tell.
const PROPERTY: &str = "squire.writers";

/// A version, and when it was written: another table of that name may come to the same number.
type Key = (u64, DateTime<Utc>);

/// Which Lance wrote a table, and when last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<LanceVersion, DateTime<Utc>>);

impl Seen {
    fn add(&mut self, lance: LanceVersion, at: DateTime<Utc>) {
        let last = self.0.entry(lance).or_insert(at);
        *last = at.max(*last);
    }

    /// The oldest that was seen lately.
    pub(crate) fn oldest(&self, now: DateTime<Utc>) -> Option<LanceVersion> {
        let lately = self.0.iter().filter(|(_, at)| now - **at < REMEMBERED_FOR);
        lately.map(|(lance, _)| *lance).min()
    }

    /// The one that wrote last.
    fn last(&self) -> Option<LanceVersion> {
        let last = self.0.iter().max_by_key(|(_, at)| **at);
        last.map(|(lance, _)| *lance)
    }

    /// Records it in a transaction, for processes that come when the versions are gone.
    pub(crate) fn note_in(&self, transaction: &mut Transaction) {
        if self.0.is_empty() {
            return;
        }
        let entries = self
            .0
            .iter()
            .map(|(lance, at)| format!("{lance}={}", at.timestamp()));
        let value = entries.collect::<Vec<_>>().join(",");
        let properties = HashMap::from([(PROPERTY.to_owned(), value)]);
        transaction.transaction_properties = Some(Arc::new(properties));
    }

    /// What a transaction says.
    fn from_properties(transaction: &Transaction) -> Self {
        let properties = transaction.transaction_properties.as_ref();
        let value = properties.and_then(|properties| properties.get(PROPERTY));
        let entries = value.into_iter().flat_map(|value| value.split(','));
        let each = entries.filter_map(|each| {
            let (lance, at) = each.split_once('=')?;
            let at = DateTime::from_timestamp(at.parse().ok()?, 0)?;
            Some((LanceVersion::parse(lance)?, at))
        });
        Self(each.collect())
    }
}

/// What is known of the writers of tables, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Writers(Mutex<HashMap<String, Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// The versions that were looked at, as far as they are there.
    versions: BTreeSet<Key>,
    seen: Seen,
}

/// The Lance by which others than Squire wrote a version.
fn foreign(manifest: &Manifest) -> Option<LanceVersion> {
    let transaction = manifest.transaction_file.as_deref();
    if transaction.is_some_and(is_of_squire) {
        return None;
    }
    let lance = manifest.writer_version.as_ref();
    let lance = lance.and_then(|lance| LanceVersion::parse(&lance.version));
    // What does not say it is older than what does.
    Some(lance.unwrap_or_default())
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
    /// Which Lance others wrote a table by, as far as that is known.
    pub(crate) fn seen(&self, path: &str) -> Seen {
        let all = self.all();
        all.get(path)
            .map(|known| known.seen.clone())
            .unwrap_or_default()
    }

    /// The oldest of them.
    pub(crate) fn oldest(&self, path: &str) -> Option<LanceVersion> {
        self.seen(path).oldest(Utc::now())
    }

    /// Whether the history of a table was looked at.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.all().contains_key(path)
    }

    /// Takes in a version that was read in any case.
    pub(crate) fn note(&self, path: &str, version: VersionInfo, manifest: &Manifest) {
        if let (Some(known), Some(lance)) = (self.all().get_mut(path), foreign(manifest)) {
            known.versions.insert(key(version));
            known.seen.add(lance, version.written);
        }
    }

    /// Forgets every table but those at these paths.
    pub(crate) fn keep(&self, paths: &BTreeSet<String>) {
        self.all().retain(|path, _| paths.contains(path));
    }

    /// Reads the manifests that are there and not known yet, the oldest and the newest first: one list, and a limited
    /// number of reads; of Squire's own versions, the transaction as well. What cannot be read is left for the
    /// next time.
    ///
    /// # Errors
    /// [`crate::Error::ForeignCommits`], [`crate::Error::Store`].
    pub(crate) async fn learn(&self, table: &Table) -> Result<()> {
        let versions = versions::list(table).await?;
        let mut known = self.all().get(&table.path).cloned().unwrap_or_default();
        let there: BTreeSet<_> = versions.iter().copied().map(key).collect();
        known.versions.retain(|key| there.contains(key));
        let unknown = versions
            .into_iter()
            .filter(|v| !known.versions.contains(&key(*v)));
        let unknown: Vec<_> = unknown.collect();
        let reads = sample(unknown.len())
            .into_iter()
            .map(|place| seen_at(table, unknown[place]));
        let reads: Vec<_> = reads.collect();
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = reads.next().await {
            let Some((key, seen)) = read else { continue };
            known.versions.insert(key);
            seen.0
                .into_iter()
                .for_each(|(lance, at)| known.seen.add(lance, at));
        }
        self.all().insert(table.path.clone(), known);
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Lance by which others wrote last, as far as the newest version tells. One request, when that is Squire's own.
pub(crate) async fn last(newest: &Dataset) -> Option<LanceVersion> {
    if let Some(lance) = foreign(newest.manifest()) {
        return Some(lance);
    }
    let transaction = newest.read_transaction().await.ok().flatten()?;
    Seen::from_properties(&transaction).last()
}

/// What one version tells.
async fn seen_at(table: &Table, version: VersionInfo) -> Option<(Key, Seen)> {
    let opened = table
        .open(version.version, table.storage.params(), None)
        .await;
    let dataset = opened.ok()?;
    let seen = match foreign(dataset.manifest()) {
        Some(lance) => Seen(BTreeMap::from([(lance, version.written)])),
        None => {
            let transaction = dataset.read_transaction().await.ok().flatten();
            transaction
                .as_ref()
                .map(Seen::from_properties)
                .unwrap_or_default()
        }
    };
    Some((key(version), seen))
}

fn key(version: VersionInfo) -> Key {
    (version.version, version.written)
}

/// The positions to read among that many: all, or the first, the last, and some from in between.
fn sample(of: usize) -> BTreeSet<usize> {
    if of <= READS {
        return (0..of).collect();
    }
    (0..READS).map(|n| n * (of - 1) / (READS - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperationId;

    #[test]
    fn a_sample_has_the_oldest_and_the_newest_and_no_more_than_it_may() {
        assert_eq!(sample(3), BTreeSet::from([0, 1, 2]));
        let many = sample(10_000);
        assert!(many.contains(&0) && many.contains(&9_999));
        assert_eq!(many.len(), READS);
    }

    #[test]
    fn who_wrote_a_table_is_told_when_the_versions_are_gone_and_forgotten_when_nobody_has_for_long()
    {
        let now = DateTime::from_timestamp(1_767_182_400, 0).unwrap();
        let mut seen = Seen::default();
        seen.add(LanceVersion::new(4, 0), now);
        seen.add(LanceVersion::new(13, 0), now + TimeDelta::days(80));
        let create = lance::dataset::transaction::Operation::ReserveFragments { num_fragments: 1 };
        let mut transaction = Transaction::new(1, create, None);
        seen.note_in(&mut transaction);
        let read = Seen::from_properties(&transaction);
        assert_eq!(read, seen);
        let oldest = |days| read.oldest(now + TimeDelta::days(days));
        assert_eq!(oldest(89), Some(LanceVersion::new(4, 0)));
        assert_eq!(oldest(91), Some(LanceVersion::new(13, 0)));
        assert_eq!(oldest(200), None);
        assert_eq!(read.last(), Some(LanceVersion::new(13, 0)));
    }

    #[test]
    fn versions_of_squire_are_told_from_those_of_others() {
        let own = format!("7-{}.txn", OperationId::fresh());
        assert!(is_of_squire(&own));
        assert!(!is_of_squire(&format!("7-{}.txn", Uuid::new_v4())));
        assert!(!is_of_squire("7.txn"));
    }
}
