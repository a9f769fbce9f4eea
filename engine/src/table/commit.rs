//! The exact-version commit: an effect lands at one version or not at all.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, stream::BoxStream};
use lance::dataset::CommitBuilder;
use lance_core::Error as LanceError;
use lance_io::object_store::ObjectStore as LanceStore;
use lance_table::{
    format::{IndexMetadata, Manifest as LanceManifest, Transaction as LanceTransaction},
    io::commit::{
        CommitError, CommitHandler, ConditionalPutCommitHandler, ManifestLocation,
        ManifestNamingScheme, ManifestWriter,
    },
};
use object_store::{ObjectStore, path::Path};

use super::{Table, staged::Staged};

/// What became of one attempt to commit at exactly one version.
#[derive(Debug)]
pub(crate) enum Landing {
    /// It stands at this version.
    Landed(u64),
    /// The version is taken: look at the head again.
    Taken,
    /// The put of the version lost a race, or the store says so: look at the head again.
    Lost,
    /// Lance finds that it conflicts with what came after its base: stage it again.
    Conflict(String),
    /// The attempt failed; it may have landed all the same.
    Unclear(Box<LanceError>),
}

/// Commits `staged` at exactly `head + 1`, in one attempt (step 8c). `head` 0 creates the table.
///
/// The table's history is never waited for or rebased past `head`: as soon as anything newer shows, the attempt
/// is off, before Lance writes a file.
pub(crate) async fn commit_at(table: &Table, staged: &Staged, head: u64) -> Landing {
    let exactly = Arc::new(Exactly {
        version: head + 1,
        refused: Arc::default(),
        lost: AtomicBool::new(false),
        inner: ConditionalPutCommitHandler,
    });
    let params = table.storage.commit_params();
    let uri = table.storage.table_uri(&table.path);
    let (builder, transaction) = if head == 0 {
        let builder = CommitBuilder::new(uri.as_str())
            .use_stable_row_ids(true)
            .with_store_params(params)
            .with_session(table.storage.session());
        (builder, staged.transaction.clone())
    } else {
        match table.open(head, params, Some(exactly.clone())).await {
            Ok(dataset) => {
                let transaction = staged.transaction_on(&dataset);
                (CommitBuilder::new(Arc::new(dataset)), transaction)
            }
            Err(e) => return Landing::Unclear(Box::new(e)),
        }
    };
    let mut builder = builder
        .with_commit_handler(exactly.clone())
        .with_max_retries(1)
        .with_skip_auto_cleanup(true);
    if let Some(rows) = &staged.affected_rows {
        builder = builder.with_affected_rows(rows.clone());
    }
    let committed = builder.execute(transaction).await;
    match committed {
        Ok(dataset) if dataset.manifest().version == head + 1 => Landing::Landed(head + 1),
        Ok(_) => Landing::Taken,
        Err(_) if exactly.refused.load(Ordering::SeqCst) => Landing::Taken,
        Err(e) if e.is_commit_status_unknown() => Landing::Unclear(Box::new(e)),
        Err(_) if exactly.lost.load(Ordering::SeqCst) => Landing::Lost,
        // The version that the transaction was staged at is gone.
        Err(e @ (LanceError::DatasetNotFound { .. } | LanceError::NotFound { .. })) if head > 0 => {
            Landing::Conflict(e.to_string())
        }
        Err(LanceError::DatasetAlreadyExists { .. }) => Landing::Taken,
        Err(
            e @ (LanceError::CommitConflict { .. }
            | LanceError::RetryableCommitConflict { .. }
            | LanceError::IncompatibleTransaction { .. }),
        ) => Landing::Conflict(e.to_string()),
        Err(e) => Landing::Unclear(Box::new(e)),
    }
}

/// A commit handler that writes one version and refuses every other. It remembers what it answered, because Lance
/// wraps a refusal, and calls a lost put and a logical conflict by one name.
struct Exactly {
    version: u64,
    refused: Arc<AtomicBool>,
    lost: AtomicBool,
    inner: ConditionalPutCommitHandler,
}

impl fmt::Debug for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exactly({})", self.version)
    }
}

fn refuse(version: u64, found: u64, refused: &AtomicBool) -> LanceError {
    refused.store(true, Ordering::SeqCst);
    LanceError::invalid_input(format!(
        "a commit at exactly version {version} was asked for, the table is at {found}"
    ))
}

#[async_trait::async_trait]
impl CommitHandler for Exactly {
    fn is_version_not_found_definitive(&self) -> bool {
        self.inner.is_version_not_found_definitive()
    }

    fn propagate_commit_error_after_success(&self) -> bool {
        self.inner.propagate_commit_error_after_success()
    }

    async fn resolve_latest_location(
        &self,
        base_path: &Path,
        object_store: &LanceStore,
    ) -> lance_core::Result<ManifestLocation> {
        self.inner
            .resolve_latest_location(base_path, object_store)
            .await
    }

    async fn resolve_version_location(
        &self,
        base_path: &Path,
        version: u64,
        object_store: &dyn ObjectStore,
    ) -> lance_core::Result<ManifestLocation> {
        self.inner
            .resolve_version_location(base_path, version, object_store)
            .await
    }

    fn list_manifest_locations<'a>(
        &self,
        base_path: &Path,
        object_store: &'a LanceStore,
        sorted_descending: bool,
    ) -> BoxStream<'a, lance_core::Result<ManifestLocation>> {
        self.inner
            .list_manifest_locations(base_path, object_store, sorted_descending)
    }

    /// Lance asks this for what came after the version it starts from, before it writes anything.
    fn list_manifest_locations_since<'a>(
        &self,
        base_path: &Path,
        object_store: &'a LanceStore,
        since_version: u64,
    ) -> BoxStream<'a, lance_core::Result<ManifestLocation>> {
        let (version, refused) = (self.version, self.refused.clone());
        self.inner
            .list_manifest_locations_since(base_path, object_store, since_version)
            .map(move |location| match location {
                Ok(found) if found.version >= version => {
                    Err(refuse(version, found.version, &refused))
                }
                other => other,
            })
            .boxed()
    }

    async fn commit(
        &self,
        manifest: &mut LanceManifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &Path,
        object_store: &LanceStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<LanceTransaction>,
    ) -> Result<ManifestLocation, CommitError> {
        if manifest.version != self.version {
            let found = manifest.version - 1;
            let refusal = refuse(self.version, found, &self.refused);
            return Err(CommitError::OtherError(refusal));
        }
        let committed = self
            .inner
            .commit(
                manifest,
                indices,
                base_path,
                object_store,
                manifest_writer,
                naming_scheme,
                transaction,
            )
            .await;
        if let Err(CommitError::CommitConflict) = committed {
            self.lost.store(true, Ordering::SeqCst);
        }
        committed
    }
}
