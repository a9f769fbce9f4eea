//! The exact-version commit: an effect lands at one version or not at all.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use lance::{
    Dataset,
    dataset::{CommitBuilder, transaction::Transaction},
};
use lance_core::Error as LanceError;
use lance_io::object_store::ObjectStore as LanceStore;
use lance_table::{
    format::{IndexMetadata, Manifest as LanceManifest, Transaction as LanceTransaction},
    io::commit::{
        CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
    },
};
use object_store::{ObjectStore, path::Path};

use super::{Table, listing::ByListing, remap, staged::Staged};
use crate::{
    error::cause::{Cause, surely_not_written},
    table::guard::caught,
};

/// Maximum number of versions that are counted on from a known one; beyond, a list is cheaper.
const MAX_STEPS: u64 = 16;

/// What became of one attempt to commit at exactly one version.
#[derive(Debug)]
pub(crate) enum Landing {
    /// It stands at this version.
    Landed(u64),
    /// The version is taken: read the head again.
    Taken,
    /// The put of the version lost a race, or the store says so: read the head again.
    Lost,
    /// Lance finds that it conflicts with what came after its base: stage it again.
    Conflict(String),
    /// It failed before anything was put, for a reason that may pass: nothing landed.
    Failed(Box<LanceError>),
    /// Lance will not have it, or the store cannot put it, and would not the next time. Nothing was put: nothing landed.
    Refused(Box<LanceError>),
    /// The attempt failed; it may have landed all the same.
    Unclear(Box<LanceError>),
}

impl Landing {
    /// Of an attempt that failed before anything was put.
    fn nothing(e: LanceError) -> Self {
        match Cause::of(&e) {
            Cause::Content | Cause::Unsupported => Self::Refused(Box::new(e)),
            _ => Self::Failed(Box::new(e)),
        }
    }
}

/// Commits `staged` at exactly `head + 1`, in one attempt (step 8c). `head` 0 creates the table.
///
/// The table's history is never waited for or rebased past `head`: as soon as anything newer shows, the attempt
/// is off, before Lance writes a file.
pub(crate) async fn commit_at(table: &Table, staged: &Staged, head: u64) -> Landing {
    if head > 0 {
        return match AtHead::open(table, head).await {
            Ok(at) => at.commit(staged).await,
            // A healer that is not so far behind may open it.
            Err(e) => Landing::Failed(Box::new(e)),
        };
    }
    let exactly = Exactly::next_after(0);
    let uri = table.storage.table_uri(&table.path);
    let builder = CommitBuilder::new(uri.as_str())
        .use_stable_row_ids(true)
        .with_store_params(table.storage.commit_params())
        .with_session(table.storage.session());
    commit(builder, &exactly, staged, staged.transaction.clone()).await
}

/// A table, open at a version: what follows is committed right after it or not at all.
#[derive(Debug)]
pub(crate) struct AtHead {
    pub(crate) dataset: Arc<Dataset>,
    exactly: Arc<Exactly>,
}

impl AtHead {
    /// Opens a version, to commit after it.
    pub(crate) async fn open(table: &Table, head: u64) -> lance::Result<Self> {
        let exactly = Exactly::next_after(head);
        let params = table.storage.commit_params();
        let dataset = table.open(head, params, Some(exactly.clone())).await?;
        Ok(Self {
            dataset: Arc::new(dataset),
            exactly,
        })
    }

    /// Opens the newest version, to commit after it: one list. Right before the commit, only the version after it is
    /// asked for. Others may have made that one and removed it again: so the committer checks again which is the
    /// newest.
    pub(crate) async fn newest(table: &Table) -> lance::Result<Self> {
        let exactly = Exactly::next_after_newest();
        let params = table.storage.commit_params();
        let dataset = table.open_newest_with(params, exactly.clone()).await?;
        let naming = dataset.manifest_location().naming_scheme;
        exactly
            .next
            .get_or_init(|| (dataset.manifest().version + 1, Some(naming)));
        Ok(Self {
            dataset: Arc::new(dataset),
            exactly,
        })
    }

    /// Opens the version that is newest by now, counted on from one after which others have committed: on a table with
    /// many versions, that is quicker than a list, and the quickest comes first.
    pub(crate) async fn newest_since(table: &Table, passed: &Passed) -> lance::Result<Self> {
        let base = table.storage.table_base(&table.path);
        let store = &table.storage.store;
        let mut newest = passed.version + 1;
        let last = newest + MAX_STEPS;
        while ByListing
            .version_exists(&base, newest + 1, store, passed.naming)
            .await?
        {
            newest += 1;
            if newest == last {
                return Self::newest(table).await;
            }
        }
        let exactly = Exactly::at(newest + 1, Some(passed.naming));
        let params = table.storage.commit_params();
        match table.open(newest, params, Some(exactly.clone())).await {
            Ok(dataset) => Ok(Self {
                dataset: Arc::new(dataset),
                exactly,
            }),
            // Another process removed it.
            Err(LanceError::DatasetNotFound { .. } | LanceError::NotFound { .. }) => {
                Self::newest(table).await
            }
            Err(e) => Err(e),
        }
    }

    /// What is remembered of it once others have committed after it.
    pub(crate) fn passed(&self) -> Passed {
        Passed {
            version: self.version(),
            naming: self.dataset.manifest_location().naming_scheme,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.dataset.manifest().version
    }

    /// Commits right after this version, in one attempt.
    pub(crate) async fn commit(&self, staged: &Staged) -> Landing {
        let transaction = staged.transaction_on(&self.dataset);
        match remap::stands(&self.dataset, &transaction).await {
            Ok(true) => {}
            Ok(false) => {
                let why = "ids of its fragments are taken, or a segment that it replaces is gone";
                return Landing::Conflict(why.to_owned());
            }
            Err(e) => return Landing::nothing(e),
        }
        let builder = CommitBuilder::new(self.dataset.clone());
        commit(builder, &self.exactly, staged, transaction).await
    }
}

async fn commit(
    builder: CommitBuilder<'_>,
    exactly: &Arc<Exactly>,
    staged: &Staged,
    transaction: Transaction,
) -> Landing {
    let mut builder = builder
        .with_commit_handler(exactly.clone())
        .with_max_retries(1)
        .with_skip_auto_cleanup(true);
    if let Some(rows) = &staged.affected_rows {
        builder = builder.with_affected_rows(rows.clone());
    }
    // Boxed: with Lance's future inside, those of the callers are too deep for the compiler.
    let committed = caught(builder.execute(transaction).boxed()).await;
    match committed.unwrap_or_else(|panic| Err(LanceError::internal(panic))) {
        Ok(dataset) if dataset.manifest().version == exactly.version() => {
            Landing::Landed(exactly.version())
        }
        Ok(_) => Landing::Taken,
        Err(_) if exactly.refused.load(Ordering::SeqCst) => Landing::Taken,
        Err(e) if e.is_commit_status_unknown() => exactly.left_by(e),
        Err(_) if exactly.lost.load(Ordering::SeqCst) => Landing::Lost,
        // The version that the transaction was staged at is gone, or one since.
        Err(e @ (LanceError::DatasetNotFound { .. } | LanceError::NotFound { .. }))
            if exactly.version() > 1 =>
        {
            Landing::Conflict(e.to_string())
        }
        Err(LanceError::DatasetAlreadyExists { .. }) => Landing::Taken,
        Err(
            e @ (LanceError::CommitConflict { .. }
            | LanceError::RetryableCommitConflict { .. }
            | LanceError::IncompatibleTransaction { .. }),
        ) => Landing::Conflict(e.to_string()),
        Err(e) => exactly.left_by(e),
    }
}

/// A version after which others have committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    version: u64,
    naming: ManifestNamingScheme,
}

/// A commit handler that writes one version and refuses every other. It remembers what it answered, because Lance
/// wraps a refusal, and calls a lost put and a logical conflict by one name.
struct Exactly {
    /// The version, once it is known; and how its object is named, where it is asked for by name instead of by a list.
    next: OnceLock<(u64, Option<ManifestNamingScheme>)>,
    refused: Arc<AtomicBool>,
    lost: AtomicBool,
    /// A put of the version was begun.
    put: AtomicBool,
    /// And the store said, in a way that leaves no doubt, that it did not carry it out.
    denied: AtomicBool,
    inner: ByListing,
}

impl Exactly {
    fn next_after(head: u64) -> Arc<Self> {
        Self::at(head + 1, None)
    }

    fn at(version: u64, naming: Option<ManifestNamingScheme>) -> Arc<Self> {
        let exactly = Self::next_after_newest();
        exactly.next.get_or_init(|| (version, naming));
        exactly
    }

    /// Of a table that is yet to be opened with this.
    fn next_after_newest() -> Arc<Self> {
        Arc::new(Self {
            next: OnceLock::new(),
            refused: Arc::default(),
            lost: AtomicBool::new(false),
            put: AtomicBool::new(false),
            denied: AtomicBool::new(false),
            inner: ByListing,
        })
    }

    /// The version that is written; 0, which none has, before it is known.
    fn version(&self) -> u64 {
        self.next.get().map_or(0, |(version, _)| *version)
    }

    /// What an attempt has left that ended with this error: nothing, where no put was begun, or the store did not carry it
    /// out and Lance has seen as much.
    fn left_by(&self, e: LanceError) -> Landing {
        let put = self.put.load(Ordering::SeqCst);
        let denied = self.denied.load(Ordering::SeqCst) && !e.is_commit_status_unknown();
        if put && !denied {
            Landing::Unclear(Box::new(e))
        } else {
            Landing::nothing(e)
        }
    }
}

impl fmt::Debug for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exactly({})", self.version())
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
        let (version, refused) = (self.version(), self.refused.clone());
        if let Some((_, Some(naming))) = self.next.get()
            && since_version + 1 == version
        {
            let (inner, base, naming) = (self.inner, base_path.clone(), *naming);
            let asked = async move {
                let store = object_store.inner.as_ref();
                match inner.version_exists(&base, version, store, naming).await {
                    Ok(false) => None,
                    Ok(true) => Some(Err(refuse(version, version, &refused))),
                    Err(e) => Some(Err(e)),
                }
            };
            return stream::once(asked).filter_map(std::future::ready).boxed();
        }
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
        if manifest.version != self.version() {
            let found = manifest.version - 1;
            let refusal = refuse(self.version(), found, &self.refused);
            return Err(CommitError::OtherError(refusal));
        }
        self.put.store(true, Ordering::SeqCst);
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
        match &committed {
            Ok(_) => {}
            Err(CommitError::CommitConflict) => self.lost.store(true, Ordering::SeqCst),
            Err(CommitError::OtherError(e)) => {
                let denied = surely_not_written(e);
                self.denied.store(denied, Ordering::SeqCst);
            }
        }
        committed
    }
}
