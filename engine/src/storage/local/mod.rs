//! Local disk as a store: what is below the target's own folder, and nothing else; every write is synced before it is
//! acknowledged.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | how Lance comes to the store |
//! | [`beneath`] | opening a path beneath the target's folder |
//! | [`access_denied`] | why something is not opened |
//! | [`store`] | the store |
//! | [`disk`] | files as stores describe objects, and threads that may wait for them |
//! | [`upload`] | writing |
//! | [`owner`] | whose a new file is |
//! | [`list`] | listing |
//! | [`passed_over`] | what is passed over |
//! | [`removal`] | removing folders |

mod access_denied;
mod beneath;
mod disk;
mod list;
mod owner;
mod passed_over;
mod removal;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use lance_core::{Error as LanceError, Result};
use lance_io::object_store::{
    ObjectStore, ObjectStoreParams, ObjectStoreProvider, StorageOptionsAccessor,
};
use object_store::path::Path;
use url::Url;

pub use access_denied::AccessDenied;
pub(crate) use beneath::{Boundary, real};
use disk::{blocking, on_disk};
pub use owner::Owned;
pub use passed_over::{Passed, passed_over};
pub use upload::try_to_own;

/// Lance's name for a local disk that is used through the store interface.
pub(super) const SCHEME: &str = "file-object-store";
/// The names by which manifests may call a local disk. All come to the same store: none is opened past it.
pub(super) const SCHEMES: [&str; 3] = [SCHEME, "file", "file+uring"];

/// The option that gives the store its boundary.
const OPTION: &str = "squire_walls";
const IO_PARALLELISM: usize = 8;
const DOWNLOAD_RETRIES: usize = 3;

impl Boundary {
    /// The options that Lance opens the store with. It hands that on to every other place that a table names.
    pub(super) fn accessor(&self) -> serde_json::Result<Arc<StorageOptionsAccessor>> {
        let boundary = serde_json::to_string(self)?;
        let options = HashMap::from([(OPTION.to_owned(), boundary)]);
        Ok(Arc::new(StorageOptionsAccessor::with_static_options(
            options,
        )))
    }

    fn of(options: Option<&HashMap<String, String>>) -> Option<Self> {
        serde_json::from_str(options?.get(OPTION)?).ok()
    }

    /// Whether what is in a folder may be read.
    pub(super) fn may_read(&self, folder: &FsPath) -> bool {
        self.within(folder, beneath::For::Reading).is_ok()
    }

    /// Removes a folder of a table with everything in it; says whether it was there. Others may be doing the same.
    ///
    /// # Errors
    /// The disk's; [`AccessDenied`].
    pub(super) async fn remove_folder(&self, path: &Path) -> object_store::Result<bool> {
        let (boundary, path) = (self.clone(), on_disk(path));
        blocking(move || removal::tree(&boundary, &path).map_err(|fault| fault.about(&path))).await
    }

    /// Removes a folder and those in it that are empty, and leaves the others; says whether the folder itself went.
    pub(super) async fn remove_empty_folders(&self, path: &Path) -> bool {
        let (boundary, path) = (self.clone(), on_disk(path));
        let removed = blocking(move || Ok(removal::empty_folders(&boundary, &path)));
        removed.await.unwrap_or(false)
    }

    /// Checks whether a table's folder, and those in it, may be entered.
    ///
    /// # Errors
    /// [`AccessDenied::Link`]; the disk's.
    pub(super) async fn survey(&self, path: &Path) -> object_store::Result<()> {
        let (boundary, path) = (self.clone(), on_disk(path));
        blocking(move || list::survey(&boundary, &path).map_err(|fault| fault.about(&path))).await
    }

    /// Whether a path of this machine, wherever it leads, is a table's folder or lies in it.
    pub(super) async fn is_reached_by(&self, path: &Path, elsewhere: PathBuf) -> bool {
        let own = on_disk(path);
        let looked = blocking(move || Ok(list::is_reached_by(&own, &elsewhere)));
        looked.await.unwrap_or(false)
    }

    /// The first folder that one table shares with another, of these in order: their place in the list, and the folder.
    ///
    /// # Errors
    /// The disk's; [`AccessDenied`].
    pub(super) async fn shared(
        &self,
        path: &Path,
        others: Vec<Path>,
    ) -> object_store::Result<Option<(usize, PathBuf)>> {
        let (boundary, path) = (self.clone(), on_disk(path));
        blocking(move || {
            let about = |fault: access_denied::Fault| fault.about(&path);
            let own = list::identities(&boundary, &path).map_err(about)?;
            let own: BTreeMap<_, _> = own.into_iter().map(|(path, id)| (id, path)).collect();
            for (place, other) in others.iter().enumerate() {
                // What cannot be read is reported where that table is read.
                let theirs = list::identities(&boundary, &on_disk(other)).unwrap_or_default();
                let shared = theirs.iter().find_map(|(_, id)| own.get(id));
                if let Some(folder) = shared {
                    return Ok(Some((place, folder.clone())));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// Makes stores of local disks, each within the boundary that Lance opens it with. Without, there is none: a table
/// on another store may name a file of this machine.
#[derive(Debug)]
pub(super) struct LocalProvider;

#[async_trait::async_trait]
impl ObjectStoreProvider for LocalProvider {
    async fn new_store(
        &self,
        mut base_path: Url,
        params: &ObjectStoreParams,
    ) -> Result<ObjectStore> {
        let Some(boundary) = Boundary::of(params.storage_options()) else {
            return Err(LanceError::invalid_input(format!(
                "{base_path} is on the local disk, and not of a target: it is left alone"
            )));
        };
        // Under its own name, Lance would open files by itself.
        if base_path.scheme() != SCHEME {
            base_path = format!("{SCHEME}://{}", base_path.path())
                .parse()
                .map_err(|e| LanceError::invalid_input(format!("{base_path}: {e}")))?;
        }
        Ok(ObjectStore::new(
            Arc::new(store::LocalStore { boundary }),
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
            .map_err(|e| LanceError::invalid_input(format!("{}: {e}", url.path())))
    }

    /// One store for all paths within the same boundary: that is a part of the key of a store.
    fn calculate_object_store_prefix(
        &self,
        _url: &Url,
        _options: Option<&HashMap<String, String>>,
    ) -> Result<String> {
        Ok(SCHEME.to_owned())
    }
}
