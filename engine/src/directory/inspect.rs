//! Inspects a table: its newest version, its statistics. A cold table costs one list each time, and nothing else.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use lance::Dataset;
use lance_io::object_store::ObjectStoreParams;
use object_store::ObjectStoreExt;

use super::discovery::folder_of;
use crate::{
    error::{Error, Result},
    ids::TableKey,
    table::{
        Table, bases,
        file_sizes::FileSizes,
        handle::{guarded, whole},
        refusal::segments,
        stats::{TableStats, VersionInfo},
        unwritable::Unwritable,
        versions,
        writers::{self, Seen, Writers},
    },
};

/// What a LanceDB catalog puts into the folder of a table that it no longer lists.
const DEREGISTERED: &str = ".lance-deregistered";
/// Maximum number of files of a table that one inspection measures.
const MAX_FILES_OF_AN_INSPECTION: usize = 256;
/// Maximum number of files of a table that a job measures.
const MAX_FILES_OF_A_JOB: usize = 4096;

/// The newest version of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    pub(super) version: u64,
    /// When it was written, by the store's clock: a table that was dropped and made again may have come to the same
    /// version.
    written: DateTime<Utc>,
}

/// Asks for the newest version: one list, and on a local disk a check of the table's folder.
///
/// # Errors
/// [`Error::TableGone`], when there is none; [`Error::ForeignCommits`], [`Error::AccessDenied`], [`Error::Store`].
async fn newest(table: &Table) -> Result<Newest> {
    table.survey().await?;
    let newest = versions::newest(table, 1).await?.pop();
    let newest = newest.map(|VersionInfo { version, written }| Newest { version, written });
    newest.ok_or_else(|| gone(table))
}

/// The error that says so, when the table is gone. What late writes have made anew of its folder goes then, too; a table
/// that is there keeps its empty folders: a writer may have made one just now.
pub(super) async fn tidy_if_gone(table: &Table) -> Option<Error> {
    let gone = newest(table).await.err();
    let gone = gone.filter(|e| matches!(e, Error::TableGone { .. }))?;
    table.storage.remove_empty_folders(&table.path).await;
    Some(gone)
}

pub(super) fn gone(table: &Table) -> Error {
    Error::TableGone {
        table: table.key.clone(),
        uri: table.storage.uri.clone(),
    }
}

/// An error of Lance's, unless it says that the table is gone.
pub(super) fn failed(table: &Table, action: &'static str, e: lance::Error) -> Error {
    match e {
        lance::Error::DatasetNotFound { .. } => gone(table),
        e => table.failed(action, e),
    }
}

/// Opens the newest version of a table that is not taken off its catalog.
///
/// # Errors
/// [`Error::TableGone`], [`Error::Store`], [`Error::Lance`], [`Error::Panicked`], [`Error::Damaged`].
pub(super) async fn open(table: &Table, params: ObjectStoreParams) -> Result<Dataset> {
    let marker = table.storage.table_base(&table.path).join(DEREGISTERED);
    match table.storage.store.head(&marker).await {
        Err(object_store::Error::NotFound { .. }) => {}
        Ok(_) => return Err(gone(table)),
        Err(e) => return Err(Error::store("looking at", marker.as_ref(), e)),
    }
    let opening = async {
        let opened = table.open_newest(params).await;
        let opened = opened.map_err(|e| failed(table, "opening", e))?;
        whole(table, opened)
    };
    guarded(table, "opening", opening).await
}

/// What is done to a table for [`stats_by_manifest`].
const READING: &str = "reading the indexes of";

/// The statistics that the manifest of an open table gives, and whether its files lie where they may.
async fn stats_by_manifest(table: &Table, dataset: &Dataset) -> Result<TableStats> {
    let reading = async {
        let mut stats = TableStats::read(dataset).await?;
        bases::mark(table, dataset, &mut stats).await?;
        Ok(stats)
    };
    reading.await.map_err(|e| failed(table, READING, e))
}

/// Marks a table whose writers commit without a condition, where nothing else keeps their commits from ours.
async fn refuse_blind_writers(table: &Table, dataset: &Dataset, stats: &mut TableStats) {
    if table.storage.failed_put_is_final || stats.unwritable.is_some() {
        return;
    }
    stats.unwritable = Unwritable::by_writer(writers::last(dataset).await);
}

/// What a table's statistics were made of: its newest version, and how many segments this process could not remap by then.
type MadeOf = (Newest, usize);

/// What was seen of a directory's tables.
#[derive(Debug, Default)]
pub(super) struct Inspector {
    seen: Mutex<HashMap<TableKey, (MadeOf, TableStats)>>,
    /// Tables whose commits are made elsewhere. It shows for moments only, so it is remembered.
    foreign: Mutex<BTreeSet<TableKey>>,
    /// The clients that write the tables that have indexes.
    writers: Writers,
    /// File sizes that manifests do not have.
    sizes: FileSizes,
}

impl Inspector {
    /// Forgets every table but these.
    pub(super) fn keep(&self, tables: &[TableKey]) {
        let tables: BTreeSet<_> = tables.iter().collect();
        self.seen().retain(|key, _| tables.contains(key));
        self.foreign().retain(|key| tables.contains(key));
        let paths = tables.into_iter().map(folder_of).collect();
        self.writers.keep(&paths);
        self.sizes.keep(&paths);
    }

    /// The newest version of a table that Squire may work on: one list.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`].
    pub(super) async fn newest(&self, table: &Table) -> Result<Newest> {
        if self.foreign().contains(&table.key) {
            return Err(versions::foreign(table));
        }
        let newest = newest(table).await;
        if let Err(e @ Error::ForeignCommits { .. }) = &newest
            && self.foreign().insert(table.key.clone())
        {
            tracing::warn!(table = %table.key, uri = %table.storage.uri, error = %e, "a table is left alone");
        }
        newest
    }

    /// What a table is like at its newest version.
    pub(super) async fn stats(&self, table: &Table) -> Result<TableStats> {
        let newest = self.newest(table).await?;
        let made_of = (newest, segments::count());
        let seen = self.seen().get(&table.key).cloned();
        if let Some((_, stats)) = seen.filter(|(seen, _)| *seen == made_of) {
            return Ok(stats);
        }
        let dataset = open(table, table.storage.params()).await?;
        let reading = stats_by_manifest(table, &dataset);
        let mut stats = guarded(table, READING, reading).await?;
        let sizes = self
            .sizes
            .add(table, &dataset, &mut stats, MAX_FILES_OF_AN_INSPECTION);
        let measured = sizes.await?;
        let at = VersionInfo {
            version: newest.version,
            written: newest.written,
        };
        if stats.version == newest.version {
            self.writers.note(&table.path, at, dataset.manifest());
        }
        refuse_blind_writers(table, &dataset, &mut stats).await;
        if stats.asks_for_clients() {
            if !self.writers.knows(&table.path) {
                self.writers.learn(table).await?;
            }
            stats.oldest_writer = self.writers.oldest(&table.path);
        }
        // A writer that came in between is seen by the next inspection; and that goes on to measure files.
        if stats.version == newest.version && measured {
            let seen = (made_of, stats.clone());
            self.seen().insert(table.key.clone(), seen);
        }
        Ok(stats)
    }

    /// What an open table is like, for a job: with the clients that write it, by all versions that are there.
    ///
    /// # Errors
    /// As [`Self::stats`].
    pub(super) async fn read(&self, table: &Table, dataset: &Dataset) -> Result<TableStats> {
        let mut stats = stats_by_manifest(table, dataset).await?;
        let sizes = self
            .sizes
            .add(table, dataset, &mut stats, MAX_FILES_OF_A_JOB);
        sizes.await?;
        refuse_blind_writers(table, dataset, &mut stats).await;
        // Where it matters which client writes, Squire's own commits have to say so.
        if stats.asks_for_clients() || !table.storage.failed_put_is_final {
            self.writers.learn(table).await?;
            stats.oldest_writer = self.writers.oldest(&table.path);
        }
        Ok(stats)
    }

    /// File sizes that manifests do not have.
    pub(super) fn sizes(&self) -> &FileSizes {
        &self.sizes
    }

    /// The other clients that write a table, as far as they are known.
    pub(super) fn writers_of(&self, table: &Table) -> Seen {
        self.writers.seen(&table.path)
    }

    /// When the version was written that was the newest at the last inspection.
    pub(super) fn last_written(&self, table: &TableKey) -> Option<DateTime<Utc>> {
        self.seen()
            .get(table)
            .map(|((newest, _), _)| newest.written)
    }

    fn foreign(&self) -> MutexGuard<'_, BTreeSet<TableKey>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<TableKey, (MadeOf, TableStats)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
