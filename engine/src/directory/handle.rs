//! An open directory: what programs use.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lance_io::object_store::WrappingObjectStore;
use tokio_util::sync::CancellationToken;

use super::{compact, discovery, index, inspect::Inspector};
use crate::{
    error::{Error, Result},
    ids::{TableKey, Touched},
    planner::{Ask, compaction::CompactionPolicy, indexing::IndexPolicy},
    storage::{Beyond, Storage},
    table::{
        Table,
        drift::DriftPolicy,
        handle::guarded,
        indexing::receipt::Indexed,
        queues::{TableQueues, Turn},
        readers::Readers,
        refusal::Refused,
        rewrite::Compacted,
        stats::TableStats,
    },
};

/// How a directory is opened.
#[derive(Clone, Debug, Default)]
pub struct DirectoryOptions {
    /// Where it may lead beyond its root.
    pub beyond: Beyond,
    /// Sees every request to the store, for tests and for counting.
    pub wrapper: Option<Arc<dyn WrappingObjectStore>>,
}

/// An open directory of Lance tables. Clones share what they know of its tables, and one place in the queue of each.
#[derive(Clone, Debug)]
pub struct Directory(pub(super) Arc<Inner>);

/// What all calls on one open directory share.
#[derive(Debug)]
pub(super) struct Inner {
    storage: Storage,
    pub(super) inspector: Inspector,
    pub(super) readers: Readers,
    queues: TableQueues,
    refused: Refused,
}

impl Directory {
    /// Opens a directory. It need not have tables yet.
    ///
    /// # Errors
    /// [`Error::BadUri`], [`Error::Store`].
    pub async fn open(uri: &str, options: DirectoryOptions) -> Result<Self> {
        let storage = Storage::connect(uri, options.wrapper, &options.beyond).await?;
        Ok(Self(Arc::new(Inner {
            storage,
            inspector: Inspector::default(),
            readers: Readers::default(),
            queues: TableQueues::default(),
            refused: Refused::default(),
        })))
    }

    /// The directory's root, without secrets.
    pub fn uri(&self) -> &str {
        &self.0.storage.uri
    }

    /// Whether it is on a local disk.
    pub fn is_on_disk(&self) -> bool {
        self.0.storage.is_on_disk()
    }

    /// Every table under the root, in the order of their names: one list. It forgets what it knew of tables that are
    /// gone.
    ///
    /// # Errors
    /// [`Error::OmniGraph`], [`Error::Store`].
    pub async fn tables(&self) -> Result<Vec<TableKey>> {
        let tables = discovery::tables(&self.0.storage).await?;
        self.0.inspector.keep(&tables);
        Ok(tables)
    }

    /// The newest version of a table: one list.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`].
    pub async fn version(&self, table: &TableKey) -> Result<u64> {
        let newest = self.0.inspector.newest(&self.table(table)).await?;
        Ok(newest.version)
    }

    /// When the version was written that was the newest when [`Self::stats`] looked last, by the store's clock. No
    /// request is made.
    pub fn last_written(&self, table: &TableKey) -> Option<DateTime<Utc>> {
        self.0.inspector.last_written(table)
    }

    /// What a planner needs to know of a table. Its manifest is read only when a version has come since the last call.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`], [`Error::Lance`].
    pub async fn stats(&self, table: &TableKey) -> Result<TableStats> {
        let table = self.table(table);
        let mut stats = self.0.inspector.stats(&table).await?;
        self.0.refused.mark(&table.path, &mut stats);
        Ok(stats)
    }

    /// Compacts one table once, if its statistics say that it is due.
    ///
    /// Each group of fragments is rewritten with nothing held and committed at once. Rows that writers delete or update
    /// in between stay deleted. When `stop` is cancelled, the group at work is abandoned and its files are deleted; a
    /// commit that has begun is finished, and what was committed stays.
    ///
    /// # Errors
    /// [`Error::Cancelled`], when nothing was committed yet; [`Error::TableGone`]; [`Error::ForeignCommits`];
    /// [`Error::UnfitStore`]; [`Error::Unreadable`] and [`Error::CommitRefused`], when nothing else was committed;
    /// [`Error::OutcomeUnknown`]; [`Error::Damaged`]; [`Error::Lance`] and [`Error::Store`].
    pub async fn compact(
        &self,
        table: &TableKey,
        policy: &CompactionPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Compacted> {
        let _turn = self.turn(table, stop).await?;
        let table = self.admitted(table).await?;
        self.0.storage.refuse_if_careless().await?;
        let (inspector, refused) = (&self.0.inspector, &self.0.refused);
        // What is guarded is boxed, here and below: with Lance's futures inside, they are too large for the stack of a thread.
        let compacting = compact::compact(&table, inspector, refused, policy, ask, stop);
        guarded(&table, "compacting", compacting).await
    }

    /// Brings the indexes of one table up to date once, if its statistics say that they are due.
    ///
    /// The building runs with nothing held, and is committed at once. When `stop` is cancelled, it is abandoned and its
    /// files are deleted; a commit that has begun is finished.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn index(
        &self,
        table: &TableKey,
        policy: &IndexPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Indexed> {
        let _turn = self.turn(table, stop).await?;
        let table = self.admitted(table).await?;
        self.0.storage.refuse_if_careless().await?;
        let indexing = index::index(
            &table,
            &self.0.inspector,
            &self.0.refused,
            policy,
            ask,
            stop,
        );
        guarded(&table, "indexing", indexing).await
    }

    /// Waits for a turn on a table: no two duties are at work on it in one process.
    pub(super) async fn turn(&self, table: &TableKey, stop: &CancellationToken) -> Result<Turn> {
        let touched = Touched::writing([table.clone()]);
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Cancelled),
            turn = self.0.queues.turn(&touched) => Ok(turn),
        }
    }

    /// A table, for a job that may write: one list.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`].
    pub(super) async fn admitted(&self, key: &TableKey) -> Result<Table> {
        let table = self.table(key);
        self.0.inspector.newest(&table).await?;
        Ok(table)
    }

    /// A table, for one job: what Lance remembers of it does not outlive the job.
    pub(super) fn table(&self, key: &TableKey) -> Table {
        Table {
            storage: self.0.storage.apart(),
            key: key.clone(),
            path: discovery::folder_of(key),
            drift: DriftPolicy::Error,
        }
    }
}
