//! Local disk as a store: every write is synced before it is acknowledged.

use std::sync::Arc;

use lance_core::Result;
use lance_io::object_store::{ObjectStore, ObjectStoreParams, ObjectStoreProvider};
use object_store::{local::LocalFileSystem, path::Path};
use url::Url;

/// Lance's name for a local disk that is used through the store interface.
pub(super) const SCHEME: &str = "file-object-store";

const IO_PARALLELISM: usize = 8;
const DOWNLOAD_RETRIES: usize = 3;

/// Makes stores that sync files and folders: a manifest must not be durable before the data it names.
#[derive(Debug)]
pub(super) struct SyncedLocalProvider;

/// Removes what deleting objects leaves of a folder: a client that lists the root would take it for a table.
pub(super) async fn remove_folder(path: &Path) -> object_store::Result<()> {
    let folder = LocalFileSystem::new().path_to_filesystem(path)?;
    match tokio::fs::remove_dir_all(&folder).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(object_store::Error::Generic {
            store: "local disk",
            source: Box::new(e),
        }),
        _ => Ok(()),
    }
}

/// Removes a folder and those in it that are empty, and leaves the others.
pub(super) async fn remove_empty_folders(path: &Path) {
    let Ok(folder) = LocalFileSystem::new().path_to_filesystem(path) else {
        return;
    };
    if let Ok(mut entries) = tokio::fs::read_dir(&folder).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            // A file, or a folder with files, refuses.
            let _ = tokio::fs::remove_dir(entry.path()).await;
        }
    }
    let _ = tokio::fs::remove_dir(&folder).await;
}

#[async_trait::async_trait]
impl ObjectStoreProvider for SyncedLocalProvider {
    async fn new_store(&self, base_path: Url, params: &ObjectStoreParams) -> Result<ObjectStore> {
        let disk = LocalFileSystem::new().with_fsync(true);
        Ok(ObjectStore::new(
            Arc::new(disk),
            base_path,
            params.block_size,
            None, // the registry wraps it
            false,
            false,
            IO_PARALLELISM,
            DOWNLOAD_RETRIES,
            None,
        ))
    }

    fn extract_path(&self, url: &Url) -> Result<Path> {
        Path::from_url_path(url.path())
            .map_err(|e| lance_core::Error::invalid_input(format!("{}: {e}", url.path())))
    }

    fn calculate_object_store_prefix(
        &self,
        _url: &Url,
        _options: Option<&std::collections::HashMap<String, String>>,
    ) -> Result<String> {
        Ok(SCHEME.to_owned())
    }
}
