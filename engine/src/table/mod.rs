//! Lance tables, as the protocol sees them: opened at a version, committed at exactly one version, and described
//! by their manifests alone.

pub(crate) mod bases;
pub(crate) mod commit;
pub(crate) mod coverage;
pub(crate) mod discard;
pub(crate) mod drift;
pub(crate) mod effect;
pub(crate) mod expiry;
pub(crate) mod file_sizes;
pub(crate) mod files;
pub(crate) mod guard;
pub(crate) mod indexing;
pub(crate) mod listing;
mod pieces;
pub(crate) mod protection;
pub(crate) mod queues;
pub(crate) mod rebase;
pub(crate) mod references;
pub(crate) mod refusal;
pub(crate) mod remap;
pub(crate) mod removal;
pub(crate) mod retention;
pub(crate) mod rewrite;
pub(crate) mod row_sizes;
mod sound;
pub(crate) mod staged;
pub(crate) mod stats;
pub(crate) mod untracked;
pub(crate) mod unwritable;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod writers;

use std::sync::Arc;

use lance::{
    Dataset,
    dataset::{ReadParams, builder::DatasetBuilder},
};
use lance_file::{reader::FileReaderOptions, version::ConcreteFileVersion};
use lance_io::object_store::ObjectStoreParams;
use lance_table::io::commit::CommitHandler;

use drift::DriftPolicy;
use futures::FutureExt;
use listing::ByListing;

use crate::{
    error::{Error, Result, plain},
    ids::TableKey,
    memory,
    storage::{Storage, Wall},
    table::guard::{caught, guarded},
};

/// A table's place: what every call on it needs.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) storage: Storage,
    pub(crate) key: TableKey,
    pub(crate) path: String,
    /// What to do about semantic drift.
    pub(crate) drift: DriftPolicy,
}

impl Table {
    /// The table at one version.
    pub(crate) async fn at(&self, version: u64) -> Result<Dataset> {
        self.open(version, self.storage.params(), None)
            .await
            .map_err(|e| self.failed("opening", e))
    }

    pub(crate) async fn open(
        &self,
        version: u64,
        params: ObjectStoreParams,
        handler: Option<Arc<dyn CommitHandler>>,
    ) -> lance::Result<Dataset> {
        let opening = DatasetBuilder::from_uri(self.storage.table_uri(&self.path))
            .with_session(self.storage.session())
            .with_store_params(params)
            .with_version(version)
            .with_commit_handler(handler.unwrap_or_else(|| Arc::new(ByListing)))
            .load();
        let opened = caught(opening.boxed()).await;
        opened
            .unwrap_or_else(|panic| Err(self.damaged(version, &panic)))
            .and_then(sound::sound)
    }

    /// A version whose manifest made Lance panic.
    fn damaged(&self, version: u64, panic: &str) -> lance::Error {
        let path = self.storage.table_base(&self.path);
        let told = format!(
            "the manifest of version {version} is damaged, or of an unknown format: {panic}"
        );
        lance::Error::corrupt_file(path, told)
    }

    /// The table at its newest version.
    pub(crate) async fn open_newest(&self, params: ObjectStoreParams) -> lance::Result<Dataset> {
        self.open_newest_with(params, Arc::new(ByListing)).await
    }

    /// The same, to go on with this handler.
    pub(crate) async fn open_newest_with(
        &self,
        params: ObjectStoreParams,
        handler: Arc<dyn CommitHandler>,
    ) -> lance::Result<Dataset> {
        DatasetBuilder::from_uri(self.storage.table_uri(&self.path))
            .with_session(self.storage.session())
            .with_store_params(params)
            .with_commit_handler(handler)
            .load()
            .await
            .and_then(sound::sound)
    }

    /// The same version of a table that is open, to be rewritten: its rows are read in batches that follow what was decoded
    /// last, in bytes, where they differ in size and the format of its files can do that.
    ///
    /// # Errors
    /// [`Error::Lance`].
    pub(crate) async fn in_batches(
        &self,
        dataset: Dataset,
        params: ObjectStoreParams,
    ) -> Result<Dataset> {
        let format = dataset.manifest().data_storage_format.version;
        let can = !matches!(format, ConcreteFileVersion::V1 | ConcreteFileVersion::V2_0);
        if !can || !row_sizes::differ(dataset.schema()) {
            return Ok(dataset);
        }
        let options = FileReaderOptions {
            batch_size_bytes: Some(memory::limits().largest_batch()),
            ..FileReaderOptions::default()
        };
        let read = ReadParams {
            file_reader_options: Some(options),
            ..ReadParams::default()
        };
        DatasetBuilder::from_uri(self.storage.table_uri(&self.path))
            .with_read_params(read)
            .with_session(self.storage.session())
            .with_store_params(params)
            .with_version(dataset.manifest().version)
            .with_commit_handler(Arc::new(ByListing))
            .load()
            .await
            .and_then(sound::sound)
            .map_err(|e| self.failed("opening", e))
    }

    /// What a rewrite wrote could not be read back.
    pub(crate) fn unreadable(&self, fault: verify::Fault) -> Error {
        Error::Unreadable {
            table: self.key.clone(),
            column: fault.column,
            reason: fault.reason,
            uri: self.storage.uri.clone(),
        }
    }

    /// A commit is refused for good; `always`, when any other would be, too.
    pub(crate) fn refused(&self, reason: &dyn std::fmt::Display, always: bool) -> Error {
        Error::CommitRefused {
            table: self.key.clone(),
            reason: plain(reason),
            always,
            uri: self.storage.uri.clone(),
        }
    }

    /// The newest version; 0 when there is no table yet.
    pub(crate) async fn head(&self) -> Result<u64> {
        const ACTION: &str = "reading the head of";
        let opening = async {
            match self.open_newest(self.storage.params()).await {
                Ok(dataset) => Ok(dataset.manifest().version),
                Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => Ok(0),
                Err(e) => Err(self.failed(ACTION, e)),
            }
        };
        guarded(self, ACTION, opening).await
    }

    /// The newest version of a table that is open: one list.
    pub(crate) async fn head_of(&self, dataset: &Dataset) -> Result<u64> {
        dataset
            .latest_version_id()
            .await
            .map_err(|e| self.failed("reading the head of", e))
    }

    /// Looks whether the table's folders are where they seem to be: one look at its folder on a local disk, and none
    /// elsewhere.
    ///
    /// # Errors
    /// [`Error::Walled`], [`Error::Store`].
    pub(crate) async fn survey(&self) -> Result<()> {
        let looked = self.storage.survey(&self.path).await;
        looked.map_err(|e| match Wall::behind(&e) {
            Some(wall) => self.walled(wall),
            None => {
                let of = format!("{} of {}", self.key, self.storage.uri);
                Error::store("looking at the folders of", of, e)
            }
        })
    }

    fn walled(&self, wall: &Wall) -> Error {
        Error::Walled {
            table: self.key.clone(),
            wall: wall.clone(),
            uri: self.storage.uri.clone(),
        }
    }

    pub(crate) fn failed(&self, action: &'static str, source: lance::Error) -> Error {
        if let Some(wall) = Wall::behind(&source) {
            return self.walled(wall);
        }
        Error::Lance {
            action,
            table: self.key.clone(),
            uri: self.storage.uri.clone(),
            source: Box::new(source),
        }
    }
}
