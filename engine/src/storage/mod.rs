//! Where a graph lives: one root on one store, for Squire's own objects and for Lance alike.
//!
//! Local disk, memory and object stores take the same code path: local roots go through the store interface,
//! too (scheme `file-object-store`), so that every write is synced and a wrapper sees every request.

mod handle;
mod local;

use std::{
    path::{Component, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use lance::session::Session;
use lance_io::object_store::{
    ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreRegistry, WrappingObjectStore,
};
use object_store::{ObjectStore, path::Path};
use url::Url;

use handle::Handle;

use crate::error::{Error, Result};

/// Squire's own folder below a root.
pub(crate) const SQUIRE_DIR: &str = "_squire";

/// Bytes that Lance may keep of indexes, and of table metadata, over all graphs of the process.
const INDEX_CACHE_BYTES: usize = 128 << 20;
const METADATA_CACHE_BYTES: usize = 256 << 20;

static REGISTRY: LazyLock<Arc<ObjectStoreRegistry>> = LazyLock::new(|| {
    let registry = ObjectStoreRegistry::default();
    registry.insert(local::SCHEME, Arc::new(local::SyncedLocalProvider));
    Arc::new(registry)
});

static SESSION: LazyLock<Arc<Session>> = LazyLock::new(|| {
    Arc::new(Session::new(
        INDEX_CACHE_BYTES,
        METADATA_CACHE_BYTES,
        REGISTRY.clone(),
    ))
});

/// A root: its store, its URIs, and the session and parameters that Lance opens tables with.
#[derive(Clone)]
pub(crate) struct Storage {
    /// The root as people know it, without secrets.
    pub(crate) uri: String,
    /// The root as Lance is given it, without a slash at the end.
    lance_root: String,
    /// The root's path on its store.
    pub(crate) base: Path,
    pub(crate) store: Arc<dyn ObjectStore>,
    params: ObjectStoreParams,
    commit_params: ObjectStoreParams,
    /// The root's folder, on a local disk.
    disk: Option<PathBuf>,
    /// Whether a failed write that left no object can no longer land.
    pub(crate) definite: bool,
    workshops: Arc<Mutex<Vec<Bench>>>,
    /// Lance's registry lets go of a client that nobody holds.
    _clients: [Arc<LanceStore>; 2],
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Storage").field(&self.uri).finish()
    }
}

impl Storage {
    /// Connects to a root. Credentials come from the environment (`AWS_*`), never from the URI.
    ///
    /// `wrapper` sees every request of Squire's and of Lance's, for tests and for counting.
    ///
    /// # Errors
    /// [`Error::BadUri`] when the URI cannot name a root.
    pub(crate) async fn connect(
        uri: &str,
        wrapper: Option<Arc<dyn WrappingObjectStore>>,
    ) -> Result<Self> {
        let root = Root::parse(uri)?;
        let params = ObjectStoreParams {
            object_store_wrapper: wrapper,
            ..ObjectStoreParams::default()
        };
        let commit_params = ObjectStoreParams {
            object_store_wrapper: Some(Arc::new(Handle::for_commits(
                params.object_store_wrapper.clone(),
            ))),
            ..params.clone()
        };
        let (store, base) = open(&root.lance, &root.shown, &params).await?;
        let (committing, _) = open(&root.lance, &root.shown, &commit_params).await?;
        Ok(Self {
            uri: root.shown,
            lance_root: root.lance,
            disk: root.disk,
            base,
            store: store.inner.clone(),
            definite: !store.is_cloud() || root.local,
            commit_params,
            params,
            workshops: Arc::default(),
            _clients: [store, committing],
        })
    }

    /// The URI that Lance opens the table at `path` with.
    pub(crate) fn table_uri(&self, path: &str) -> String {
        format!("{}/{path}", self.lance_root)
    }

    /// The folder of the table at `path`, on the store.
    pub(crate) fn table_base(&self, path: &str) -> Path {
        self.base.clone().join(path)
    }

    /// Deletes the folder of the table at `path` with everything in it. Others may be doing the same.
    pub(crate) async fn delete_table(&self, path: &str) -> object_store::Result<()> {
        let folder = self.table_base(path);
        let found = self.store.list(Some(&folder)).map_ok(|o| o.location);
        let mut deletions = self.store.delete_stream(found.boxed());
        while let Some(deleted) = deletions.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if self.lance_root.starts_with(local::SCHEME) {
            local::remove_folder(&folder).await?;
        }
        Ok(())
    }

    /// A folder of Squire's own.
    pub(crate) fn squire_dir(&self, name: &str) -> Path {
        self.base.clone().join(SQUIRE_DIR).join(name)
    }

    /// The folders with objects of Squire's own, when they are on a local disk.
    pub(crate) fn squire_folders_on_disk(&self) -> Vec<PathBuf> {
        let folder = |disk: &PathBuf| {
            ["manifest", "recovery", "alive"].map(|name| disk.join(SQUIRE_DIR).join(name))
        };
        self.disk.iter().flat_map(folder).collect()
    }

    /// The process's one session with Lance.
    pub(crate) fn session(&self) -> Arc<Session> {
        SESSION.clone()
    }

    /// How Lance opens the store.
    pub(crate) fn params(&self) -> ObjectStoreParams {
        self.params.clone()
    }

    /// How Lance opens the store to commit, see [`Handle`].
    pub(crate) fn commit_params(&self) -> ObjectStoreParams {
        self.commit_params.clone()
    }

    /// A handle to write through that remembers the files, see [`Handle`]. Handles are used again: each has a client
    /// of its own.
    ///
    /// # Errors
    /// [`Error::BadUri`] as in [`Self::connect`].
    pub(crate) async fn workshop(&self) -> Result<Workshop> {
        let idle = lock(&self.workshops).pop();
        let bench = match idle {
            Some(bench) => bench,
            None => {
                let handle = Arc::new(Handle::for_rewrites(
                    self.params.object_store_wrapper.clone(),
                ));
                let params = ObjectStoreParams {
                    object_store_wrapper: Some(handle.clone()),
                    ..self.params.clone()
                };
                let (store, _) = open(&self.lance_root, &self.uri, &params).await?;
                Bench {
                    handle,
                    params,
                    _client: store,
                }
            }
        };
        Ok(Workshop {
            bench: Some(bench),
            idle: self.workshops.clone(),
        })
    }
}

struct Bench {
    handle: Arc<Handle>,
    params: ObjectStoreParams,
    _client: Arc<LanceStore>,
}

/// A handle to write through, in use; it is given back when it is dropped.
pub(crate) struct Workshop {
    bench: Option<Bench>,
    idle: Arc<Mutex<Vec<Bench>>>,
}

impl Workshop {
    /// How Lance opens the store to write.
    pub(crate) fn params(&self) -> ObjectStoreParams {
        self.bench
            .as_ref()
            .map(|bench| bench.params.clone())
            .unwrap_or_default()
    }

    /// Deletes what was written through it.
    pub(crate) async fn delete_created(&self, store: &Arc<dyn ObjectStore>) {
        if let Some(bench) = &self.bench {
            bench.handle.delete_created(store).await;
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Some(bench) = self.bench.take() {
            bench.handle.forget_created();
            if bench.handle.is_quiet() {
                lock(&self.idle).push(bench);
            }
        }
    }
}

fn lock(workshops: &Mutex<Vec<Bench>>) -> MutexGuard<'_, Vec<Bench>> {
    workshops.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn open(
    lance_root: &str,
    shown: &str,
    params: &ObjectStoreParams,
) -> Result<(Arc<LanceStore>, Path)> {
    LanceStore::from_uri_and_params(REGISTRY.clone(), lance_root, params)
        .await
        .map_err(|e| Error::BadUri {
            uri: shown.to_owned(),
            reason: e.to_string(),
        })
}

struct Root {
    shown: String,
    lance: String,
    local: bool,
    disk: Option<PathBuf>,
}

impl Root {
    fn parse(uri: &str) -> Result<Self> {
        let bad = |reason: &str| Error::BadUri {
            uri: without_secrets(uri),
            reason: reason.to_owned(),
        };
        if uri.trim().is_empty() {
            return Err(bad(
                "it is empty; give a path or a URI such as s3://bucket/graph",
            ));
        }
        let Some((scheme, _)) = uri.split_once("://") else {
            return Self::local(PathBuf::from(uri)).ok_or_else(|| bad("it is no usable path"));
        };
        let url = Url::parse(uri).map_err(|e| bad(&e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(
                "it carries credentials; give them in the environment (AWS_ACCESS_KEY_ID, ...)",
            ));
        }
        let trimmed = uri.trim_end_matches('/');
        match scheme {
            "file" => url
                .to_file_path()
                .ok()
                .and_then(Self::local)
                .ok_or_else(|| bad("a file URI needs an absolute path: file:///var/lib/graph")),
            "memory" => Ok(Self {
                shown: trimmed.to_owned(),
                lance: format!("shared-{trimmed}"),
                local: true,
                disk: None,
            }),
            "s3" => Ok(Self {
                shown: trimmed.to_owned(),
                lance: trimmed.to_owned(),
                local: false,
                disk: None,
            }),
            _ => Err(bad(
                "the scheme is not known; use a path, file://, memory:// or s3://",
            )),
        }
    }

    fn local(path: PathBuf) -> Option<Self> {
        let absolute = std::path::absolute(path).ok()?;
        // Lance's paths know no `.` and `..`.
        let mut clean = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => {
                    clean.pop();
                }
                Component::CurDir => {}
                other => clean.push(other),
            }
        }
        let url = Url::from_file_path(&clean).ok()?;
        Some(Self {
            shown: clean.to_string_lossy().into_owned(),
            lance: format!("{}://{}", local::SCHEME, url.path().trim_end_matches('/')),
            local: true,
            disk: Some(clean),
        })
    }
}

fn without_secrets(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(mut url) => {
            let clean = url.set_username("").and_then(|()| url.set_password(None));
            clean.map_or_else(|()| "<uri>".to_owned(), |()| url.to_string())
        }
        Err(_) => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_root_goes_through_the_store_interface() {
        let root = Root::parse("/data/./x/../graph/").unwrap();
        assert_eq!(root.shown, "/data/graph");
        assert_eq!(root.lance, "file-object-store:///data/graph");
    }

    #[test]
    fn credentials_in_a_uri_are_refused_and_not_repeated() {
        let error = Root::parse("s3://key:secret@bucket/graph").err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_the_known_ones() {
        let error = Root::parse("ftp://host/graph").err().unwrap();
        assert!(error.to_string().contains("s3://"), "{error}");
    }
}
