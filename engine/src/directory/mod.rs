//! A directory: plain Lance tables under one root, whose writers know nothing of Squire.
//!
//! There is no manifest and no queue here. Safety comes from Lance's own conflict rules, and from manners: fragments that
//! writers touch are left alone, rewrites are small and committed at once, what writers delete in between is carried
//! over, and the files of a rewrite that is known not to be committed are deleted by whoever wrote them.
//!
//! | room | what is in it |
//! |---|---|
//! | [`discovery`] | what kind of target a URI is, which tables a directory has |
//! | [`omnigraph`] | recognises the roots of OmniGraph, which are refused |
//! | [`probe`] | what a table is like: its newest version, its statistics |
//! | [`compact`] | rewriting, group by group |
//! | [`index`] | bringing indexes up to date |
//! | [`commit`] | the commit of one rewritten group |
//! | [`commit_attempt`] | one attempt to commit, at exactly one version |
//! | [`commit_identity`] | what a commit adds to its table, by which its outcome is known |
//! | [`cleanup`] | the removal of old versions |
//! | [`readers`] | which tables read files of others, or name their versions |

mod cleanup;
mod commit;
mod commit_attempt;
mod commit_identity;
mod compact;
mod discovery;
mod index;
mod omnigraph;
mod probe;
mod readers;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lance_io::object_store::WrappingObjectStore;
use tokio_util::sync::CancellationToken;

pub use discovery::{Kind, detect};

use crate::{
    error::{Error, Result},
    ids::{TableKey, Touched},
    planner::{Ask, compaction::CompactionPolicy, indexing::IndexPolicy},
    storage::{Beyond, Storage},
    table::{
        Table,
        drift::DriftPolicy,
        guard::guarded,
        indexing::receipt::Indexed,
        queues::{TableQueues, Turn},
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
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    looks: probe::Looks,
    readers: readers::Readers,
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
            looks: probe::Looks::default(),
            readers: readers::Readers::default(),
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
        self.0.looks.keep(&tables);
        Ok(tables)
    }

    /// The newest version of a table: one list.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`].
    pub async fn version(&self, table: &TableKey) -> Result<u64> {
        let newest = self.0.looks.newest(&self.table(table)).await?;
        Ok(newest.version)
    }

    /// When the version was written that was the newest when [`Self::stats`] looked last, by the store's clock. It asks
    /// nobody.
    pub fn last_written(&self, table: &TableKey) -> Option<DateTime<Utc>> {
        self.0.looks.last_written(table)
    }

    /// What a planner needs to know of a table. Its manifest is read only when a version has come since the last call.
    ///
    /// # Errors
    /// [`Error::TableGone`], [`Error::ForeignCommits`], [`Error::Store`], [`Error::Lance`].
    pub async fn stats(&self, table: &TableKey) -> Result<TableStats> {
        let table = self.table(table);
        let mut stats = self.0.looks.stats(&table).await?;
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
        let (looks, refused) = (&self.0.looks, &self.0.refused);
        // What is guarded is boxed, here and below: with Lance's futures inside, they are too large for the stack of a thread.
        let compacting = compact::compact(&table, looks, refused, policy, ask, stop);
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
        let indexing = index::index(&table, &self.0.looks, &self.0.refused, policy, ask, stop);
        guarded(&table, "indexing", indexing).await
    }

    /// Waits for a turn on a table: no two duties are at work on it in one process.
    async fn turn(&self, table: &TableKey, stop: &CancellationToken) -> Result<Turn> {
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
    async fn admitted(&self, key: &TableKey) -> Result<Table> {
        let table = self.table(key);
        self.0.looks.newest(&table).await?;
        Ok(table)
    }

    /// A table, for one job: what Lance remembers of it does not outlive the job.
    fn table(&self, key: &TableKey) -> Table {
        Table {
            storage: self.0.storage.apart(),
            key: key.clone(),
            path: discovery::folder_of(key),
            drift: DriftPolicy::Error,
        }
    }
}
