//! One table: what every call on it needs, how it is opened, and how its errors name it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use lance::{Dataset, dataset::builder::DatasetBuilder};
use lance_io::object_store::ObjectStoreParams;
use lance_table::io::commit::CommitHandler;

use super::{
    drift_policy::DriftPolicy,
    guard::{caught, message},
    listing::ByListing,
    sound,
    verify::fault::Fault,
};
use crate::{
    error::{Error, Result, plain},
    ids::TableKey,
    storage::{AccessDenied, Storage},
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

    /// The table at one version; `None` where that is gone.
    pub(crate) async fn if_there(&self, version: u64) -> Result<Option<Dataset>> {
        self.if_there_with(version, self.storage.params()).await
    }

    /// The same, through a handle of its own.
    pub(crate) async fn if_there_with(
        &self,
        version: u64,
        params: ObjectStoreParams,
    ) -> Result<Option<Dataset>> {
        match self.open(version, params, None).await {
            Ok(dataset) => Ok(Some(dataset)),
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("opening", e)),
        }
    }

    pub(crate) fn snapshot_gone(&self, pin: u64) -> Error {
        Error::SnapshotGone {
            table: self.key.clone(),
            pin,
            uri: self.storage.uri.clone(),
        }
    }

    /// A version whose manifest made Lance panic.
    fn damaged(&self, version: u64, panic: &str) -> lance::Error {
        let path = self.storage.table_base(&self.path);
        let text = format!(
            "the manifest of version {version} is damaged, or of an unknown format: {panic}"
        );
        lance::Error::corrupt_file(path, text)
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

    /// What a rewrite wrote could not be read back.
    pub(crate) fn unreadable(&self, fault: Fault) -> Error {
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
                Ok(dataset) => Ok(whole(self, dataset)?.manifest().version),
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

    /// Checks that the table's folders are where they seem to be: one read of its folder on a local disk, and none
    /// elsewhere.
    ///
    /// # Errors
    /// [`Error::AccessDenied`], [`Error::Store`].
    pub(crate) async fn survey(&self) -> Result<()> {
        let looked = self.storage.survey(&self.path).await;
        looked.map_err(|e| match AccessDenied::behind(&e) {
            Some(denied) => self.denied(denied),
            None => {
                let of = format!("{} of {}", self.key, self.storage.uri);
                Error::store("looking at the folders of", of, e)
            }
        })
    }

    fn denied(&self, denied: &AccessDenied) -> Error {
        Error::AccessDenied {
            table: self.key.clone(),
            reason: denied.clone(),
            uri: self.storage.uri.clone(),
        }
    }

    pub(crate) fn failed(&self, action: &'static str, source: lance::Error) -> Error {
        if let Some(denied) = AccessDenied::behind(&source) {
            return self.denied(denied);
        }
        Error::Lance {
            action,
            table: self.key.clone(),
            uri: self.storage.uri.clone(),
            source: Box::new(source),
        }
    }
}

/// The table, unless its manifest is not of the version that its name says: a crash of the host can leave zeros, which
/// Lance takes for an empty table.
///
/// # Errors
/// [`Error::Damaged`].
pub(crate) fn whole(table: &Table, opened: Dataset) -> Result<Dataset> {
    let (named, found) = (opened.manifest_location(), opened.manifest().version);
    if named.version == found {
        return Ok(opened);
    }
    Err(Error::Damaged {
        object: named.path.to_string(),
        reason: format!("it says that it is version {found} of {}", table.key),
        uri: table.storage.uri.clone(),
    })
}

/// Runs what Lance does for a table. What it was at work with must not be used after a panic.
///
/// # Errors
/// Its own; [`Error::Panicked`].
pub(crate) async fn guarded<T>(
    table: &Table,
    action: &'static str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let ended = AssertUnwindSafe(work.boxed()).catch_unwind().await;
    ended.unwrap_or_else(|panic| {
        Err(Error::Panicked {
            action,
            table: table.key.clone(),
            message: message(&*panic),
            uri: table.storage.uri.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Beyond;

    async fn table() -> Table {
        Table {
            storage: Storage::connect("memory://guard/db", None, &Beyond::default())
                .await
                .unwrap(),
            key: TableKey::of_directory("t"),
            path: "t.lance".to_owned(),
            drift: DriftPolicy::Error,
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_names_the_table_and_what_was_done_to_it() {
        let table = table().await;
        let length = String::from("4294967295");
        let work = async { panic!("a length of {length}") };
        let error = guarded::<()>(&table, "opening", work).await.unwrap_err();
        let text = error.to_string();
        for part in [
            "opening",
            "t of memory://guard/db",
            "a length of 4294967295",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn what_ends_well_or_with_an_error_of_its_own_is_passed_on() {
        let table = table().await;
        assert_eq!(
            guarded(&table, "opening", async { Ok(7) }).await.unwrap(),
            7
        );
        let failed = guarded::<()>(&table, "opening", async { Err(Error::Cancelled) }).await;
        assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
    }
}
