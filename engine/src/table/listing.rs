//! Versions are found by listing, never by the hint that Lance keeps beside them on a local disk.
//!
//! The hint names a version that was committed; Lance takes the last one that follows it without a gap for the
//! newest. That is true as long as nothing is removed. But a process that slept between its commit and its hint can
//! leave a hint to a version far back, and one that slept before its commit can bring such a version into being. When a
//! tag has kept the hinted version and cleanup took those after it, Lance would take an old version for the newest, and
//! would find the number after it free. The hint is written all the same, for other programs.

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use lance_core::Error as LanceError;
use lance_io::object_store::ObjectStore as LanceStore;
use lance_table::{
    format::{IndexMetadata, Manifest as LanceManifest, Transaction as LanceTransaction},
    io::commit::{
        CommitError, CommitHandler, ConditionalPutCommitHandler, ManifestLocation,
        ManifestNamingScheme, ManifestWriter, VERSIONS_DIR,
    },
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::{memory, storage::AccessDenied};

/// A commit handler that creates versions if absent, as Lance's own does, and finds them by listing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByListing;

/// Refuses a manifest that is too large to be read: a few bytes on a disk can look like gigabytes.
///
/// # Errors
/// [`AccessDenied::TooLarge`].
pub(super) fn bounded(size: Option<u64>, path: &Path) -> object_store::Result<()> {
    let most = memory::limits().manifest();
    match size.filter(|size| *size > most) {
        None => Ok(()),
        Some(bytes) => Err(AccessDenied::TooLarge {
            path: path.to_string(),
            bytes,
            most,
        }
        .into_store()),
    }
}

const INNER: ConditionalPutCommitHandler = ConditionalPutCommitHandler;

#[async_trait::async_trait]
impl CommitHandler for ByListing {
    fn is_version_not_found_definitive(&self) -> bool {
        INNER.is_version_not_found_definitive()
    }

    fn propagate_commit_error_after_success(&self) -> bool {
        INNER.propagate_commit_error_after_success()
    }

    async fn resolve_latest_location(
        &self,
        base_path: &Path,
        object_store: &LanceStore,
    ) -> lance_core::Result<ManifestLocation> {
        let mut newest_first = self.list_manifest_locations(base_path, object_store, true);
        let none = || LanceError::not_found(base_path.clone().join(VERSIONS_DIR).to_string());
        let newest = newest_first.try_next().await?.ok_or_else(none)?;
        bounded(newest.size, &newest.path)?;
        Ok(newest)
    }

    async fn resolve_version_location(
        &self,
        base_path: &Path,
        version: u64,
        object_store: &dyn ObjectStore,
    ) -> lance_core::Result<ManifestLocation> {
        let mut found = INNER
            .resolve_version_location(base_path, version, object_store)
            .await?;
        if found.size.is_none() {
            found.size = Some(object_store.head(&found.path).await?.size);
        }
        bounded(found.size, &found.path)?;
        Ok(found)
    }

    /// Lance searches for conflicts with the versions that it is given here, and would miss those with one that is
    /// gone: so it is an error.
    fn list_manifest_locations_since<'a>(
        &self,
        base_path: &Path,
        object_store: &'a LanceStore,
        since_version: u64,
    ) -> BoxStream<'a, lance_core::Result<ManifestLocation>> {
        let newer = self
            .list_manifest_locations(base_path, object_store, true)
            .try_take_while(move |found| std::future::ready(Ok(found.version > since_version)));
        stream::once(async move {
            let newest_first: Vec<_> = newer.try_collect().await?;
            let newest = newest_first.first().map_or(since_version, |f| f.version);
            let found = newest_first.iter().map(|f| f.version);
            if found.eq((since_version + 1..=newest).rev()) {
                Ok(stream::iter(newest_first.into_iter().map(Ok)))
            } else {
                Err(LanceError::not_found(format!(
                    "a version between {since_version} and {newest}"
                )))
            }
        })
        .try_flatten()
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
        INNER
            .commit(
                manifest,
                indices,
                base_path,
                object_store,
                manifest_writer,
                naming_scheme,
                transaction,
            )
            .await
    }
}
