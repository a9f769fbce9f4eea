//! Where a target lives: one root on one store, for Squire's own objects and for Lance alike.
//!
//! Local disk, memory and object stores take the same code path: local roots go through the store interface,
//! too (scheme `file-object-store`), so that every write is synced and a wrapper sees every request.
//!
//! | file | what is in it |
//! |---|---|
//! | [`root`] | what a URI names, where Lance finds it, and what its store is opened with |
//! | [`uri`] | the schemes of URIs, and what in a URI may be a secret |
//! | [`credentials`] | credentials for S3 that a service manager hands over as files |
//! | [`local`] | the local disk as a store, within the boundary of a target |
//! | [`allowed`] | what lies beyond a root and may be used all the same |
//! | [`conditional`] | whether a store creates an object once |
//! | [`handle`] | the stores that Lance works through, with a behaviour of their own |
//! | [`deletion`] | all deletions, each by the rule that allows it |
//! | [`deletion_permit`] | what a cleanup may delete, and until when |
//! | [`presence`] | which other daemons maintain the same target |

mod allowed;
mod conditional;
mod credentials;
pub(crate) mod deletion;
pub(crate) mod deletion_permit;
mod handle;
mod local;
pub(crate) mod presence;
mod root;
pub mod uri;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use lance::session::Session;
use lance_io::object_store::{
    ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreRegistry, WrappingObjectStore,
};
use object_store::{ObjectStore, path::Path};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub use allowed::Beyond;
pub use deletion::{DeletionRule, deleted};
use deletion_permit::Permit;
use handle::Handle;
pub use local::{AccessDenied, Owned, Passed, passed_over, try_to_own};
use root::Root;

use crate::{
    error::{Error, Result},
    memory,
};

/// Squire's own folder below a root.
pub(crate) const SQUIRE_DIR: &str = "_squire";

/// A cleanup that takes longer, because its process was asleep, has to begin anew.
const CLEANUP_PATIENCE: TimeDelta = TimeDelta::days(1);

/// How far off a clock may be before S3 refuses requests that are signed by it.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(15);

static REGISTRY: LazyLock<Arc<ObjectStoreRegistry>> = LazyLock::new(|| {
    let registry = ObjectStoreRegistry::default();
    for scheme in local::SCHEMES {
        registry.insert(scheme, Arc::new(local::LocalProvider));
    }
    Arc::new(registry)
});

static SESSION: LazyLock<Arc<Session>> =
    LazyLock::new(|| Arc::new(new_session(memory::limits().cache)));

/// A session with two caches of this many bytes each: for indexes, and for tables' metadata.
fn new_session(cache: u64) -> Session {
    let cache = usize::try_from(cache).unwrap_or(usize::MAX);
    Session::new(cache, cache, REGISTRY.clone())
}

/// The root that a URI names, as it is shown.
#[cfg(feature = "failpoints")]
pub(crate) fn shown(uri: &str, beyond: &Beyond) -> Result<String> {
    Root::parse(uri, beyond).map(|root| root.shown)
}

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
    /// Other places that may be read.
    allowed: Vec<String>,
    params: ObjectStoreParams,
    commit_params: ObjectStoreParams,
    session: Arc<Session>,
    /// On a local disk, the root's folder, and where else paths may lead.
    boundary: Option<Arc<local::Boundary>>,
    /// Whether objects are listed in the order of their names.
    pub(crate) lists_by_name: bool,
    /// Whether a failed write that left no object can no longer land.
    pub(crate) failed_put_is_final: bool,
    /// Whether an object is created once, as far as that was asked.
    creates_once: Arc<OnceCell<bool>>,
    handles: Arc<Mutex<Vec<PooledHandle>>>,
    /// Lance's registry drops a client that has no holder.
    clients: [Arc<LanceStore>; 2],
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Storage").field(&self.uri).finish()
    }
}

impl Storage {
    /// Connects to a root. Credentials come from the environment (`AWS_*`) or from files that the service manager hands
    /// over, never from the URI.
    ///
    /// `wrapper` sees every request of Squire's and of Lance's, for tests and for counting. A folder on a local disk that is
    /// a link, or behind one, is resolved here and now.
    ///
    /// # Errors
    /// [`Error::BadUri`] when the URI cannot name a root.
    pub(crate) async fn connect(
        uri: &str,
        wrapper: Option<Arc<dyn WrappingObjectStore>>,
        beyond: &Beyond,
    ) -> Result<Self> {
        let root = Root::resolve(uri, beyond).await?;
        let params = ObjectStoreParams {
            object_store_wrapper: wrapper,
            storage_options_accessor: root.options()?,
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
            boundary: root.boundary.map(Arc::new),
            base,
            store: store.inner.clone(),
            allowed: beyond.allow_bases.clone(),
            lists_by_name: store.list_is_lexically_ordered,
            failed_put_is_final: !store.is_cloud() || root.local,
            commit_params,
            params,
            session: SESSION.clone(),
            creates_once: Arc::default(),
            handles: Arc::default(),
            clients: [store, committing],
        })
    }

    /// Refuses a store that takes the condition of a create and ignores it: a commit would write over another's. Disks and
    /// memory are known not to; others are asked once, with three requests.
    ///
    /// # Errors
    /// [`Error::UnfitStore`]; [`Error::Store`].
    pub(crate) async fn refuse_if_careless(&self) -> Result<()> {
        if self.failed_put_is_final {
            return Ok(());
        }
        let object = self.squire_dir("probe").join(Uuid::now_v7().to_string());
        let asked = || conditional::creates_once(&self.store, &object);
        let once = self.creates_once.get_or_try_init(asked).await;
        let once = once.map_err(|e| Error::store("testing", &self.uri, e))?;
        if *once {
            return Ok(());
        }
        Err(Error::UnfitStore {
            uri: self.uri.clone(),
            reason: "a second create of one object succeeded, so a commit could write over that of a client; upgrade the store, or use one that honours If-None-Match".to_owned(),
        })
    }

    /// The URI that Lance opens the table at `path` with. It escapes what would end a path early.
    pub(crate) fn table_uri(&self, path: &str) -> String {
        let path = path.replace('%', "%25");
        let path = path.replace('#', "%23").replace('?', "%3F");
        format!("{}/{path}", self.lance_root)
    }

    /// The folder of the table at `path`, on the store: by its very name, as Lance has it, nothing escaped.
    pub(crate) fn table_base(&self, path: &str) -> Path {
        let joined = Path::parse(format!("{}/{path}", self.base));
        joined.unwrap_or_else(|_| self.base.clone().join(path))
    }

    /// Deletes the folder of the table at `path` with everything in it. Others may be doing the same. On a local disk,
    /// links in it go, and what they lead to stays.
    pub(crate) async fn delete_table(&self, path: &str) -> object_store::Result<()> {
        let folder = self.table_base(path);
        if let Some(boundary) = &self.boundary {
            return deletion::folder(boundary, &folder).await;
        }
        let found = self.store.list(Some(&folder)).map_ok(|o| o.location);
        let rule = DeletionRule::DroppedTable;
        let mut deletions = deletion::all(&self.store, found.boxed(), rule);
        while let Some(deleted) = deletions.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Removes the folder of the table at `path` from a local disk, as far as there is no file in it: writes that came
    /// after another program dropped the table have made it anew, and a client that lists the root would take it for a
    /// table. Best effort.
    pub(crate) async fn remove_empty_folders(&self, path: &str) {
        if let Some(boundary) = &self.boundary {
            deletion::empty_folders(boundary, &self.table_base(path)).await;
        }
    }

    /// Whether the root is there: on a local disk, whether its folder is.
    pub(crate) async fn is_there(&self) -> bool {
        match &self.boundary {
            Some(boundary) => tokio::fs::try_exists(&boundary.root).await.unwrap_or(false),
            None => true,
        }
    }

    /// Checks that the folder of the table at `path`, and those in it, are where they seem to be.
    ///
    /// # Errors
    /// [`AccessDenied::Link`], when one is a link that the target does not allow; the disk's.
    pub(crate) async fn survey(&self, path: &str) -> object_store::Result<()> {
        match &self.boundary {
            Some(boundary) => boundary.survey(&self.table_base(path)).await,
            None => Ok(()),
        }
    }

    /// The place of the first of the tables at `others` that shares a folder with the one at `path`, by a link or a mount,
    /// and the folder as the latter calls it.
    ///
    /// # Errors
    /// The disk's; [`AccessDenied`].
    pub(crate) async fn shared_with(
        &self,
        path: &str,
        others: &[&str],
    ) -> object_store::Result<Option<(usize, PathBuf)>> {
        let Some(boundary) = &self.boundary else {
            return Ok(None);
        };
        let folders = others.iter().map(|other| self.table_base(other));
        let folders = folders.collect();
        boundary.shared(&self.table_base(path), folders).await
    }

    /// Whether a base's URI leads to the folder of the table at `path`, or into it, on a local disk: whatever links and
    /// mounts are on the way.
    pub(crate) async fn is_reached_by(&self, path: &str, base: &str) -> bool {
        let (Some(boundary), Some(folder)) = (&self.boundary, allowed::folder(base)) else {
            return false;
        };
        boundary.is_reached_by(&self.table_base(path), folder).await
    }

    /// Whether files may be read that a table names in this place: below the root, and where the target allows it. On a
    /// local disk it asks where links lead.
    pub(crate) fn allows(&self, base: &str) -> bool {
        if let Some(folder) = allowed::folder(base) {
            let boundary = self.boundary.as_ref();
            return boundary.is_some_and(|boundary| boundary.may_read(&folder));
        }
        let mut places = [&self.uri, &self.lance_root]
            .into_iter()
            .chain(&self.allowed);
        places.any(|place| allowed::is_below(base, place))
    }

    /// A folder of Squire's own.
    pub(crate) fn squire_dir(&self, name: &str) -> Path {
        self.base.clone().join(SQUIRE_DIR).join(name)
    }

    /// The folders with objects of Squire's own, when they are on a local disk.
    pub(crate) fn squire_folders_on_disk(&self) -> Vec<PathBuf> {
        let folder = |boundary: &Arc<local::Boundary>| {
            ["manifest", "recovery", "alive", "daemons"]
                .map(|name| boundary.root.join(SQUIRE_DIR).join(name))
        };
        self.boundary.iter().flat_map(folder).collect()
    }

    /// Whether it is on a local disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.boundary.is_some()
    }

    /// The session with Lance: the process's one, unless this is [`Self::apart`].
    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.clone()
    }

    /// The same place, with a session of its own that ends with it. Lance remembers transactions by a table's URI and
    /// version; where others may drop a table and make another of its name, that memory must not outlive a job.
    pub(crate) fn apart(&self) -> Self {
        Self {
            session: Arc::new(new_session(memory::limits().job_cache())),
            ..self.clone()
        }
    }

    /// How Lance opens the store.
    pub(crate) fn params(&self) -> ObjectStoreParams {
        self.params.clone()
    }

    /// How Lance opens the store to commit, see [`Handle`].
    pub(crate) fn commit_params(&self) -> ObjectStoreParams {
        self.commit_params.clone()
    }

    /// A leave to delete files that is not given yet, and how Lance opens the store to clean up by it. It ends a day from
    /// now.
    pub(crate) fn cleanup(&self) -> (Arc<Permit>, ObjectStoreParams) {
        forget_closed_clients();
        let permit = Permit::until(Utc::now() + CLEANUP_PATIENCE);
        let inside = self.params.object_store_wrapper.clone();
        let handle = Handle::for_cleanup(inside, permit.clone());
        let params = ObjectStoreParams {
            object_store_wrapper: Some(Arc::new(handle)),
            ..self.params.clone()
        };
        (permit, params)
    }

    /// The store as Lance has it, to read manifests.
    pub(crate) fn lance_store(&self) -> &LanceStore {
        &self.clients[0]
    }

    /// The name of the folder of the table at `path`, and that of what it is a link to on a local disk.
    pub(crate) async fn folder_names(&self, path: &str) -> Vec<String> {
        let mut names = vec![path.to_owned()];
        if let Some(boundary) = &self.boundary
            && let Ok(real) = tokio::fs::canonicalize(boundary.root.join(path)).await
            && let Some(name) = real.file_name()
        {
            names.push(name.to_string_lossy().into_owned());
            names.dedup();
        }
        names
    }

    /// A time that has surely passed, by the clock that the store gives its objects their times by.
    ///
    /// S3 refuses requests whose clock is off by more than a quarter of an hour, so this process's clock is not. Memory
    /// and local disks take their times from the clock that is asked here.
    pub(crate) fn surely_past(&self) -> DateTime<Utc> {
        let margin = if self.failed_put_is_final {
            TimeDelta::zero()
        } else {
            MAX_SKEW
        };
        Utc::now() - margin
    }

    /// A handle to write through that remembers the files, see [`Handle`]. Handles are used again: each has a client
    /// of its own.
    ///
    /// # Errors
    /// [`Error::BadUri`] as in [`Self::connect`].
    pub(crate) async fn leased_handle(&self) -> Result<LeasedHandle> {
        let idle = lock(&self.handles).pop();
        let pooled = match idle {
            Some(pooled) => pooled,
            None => {
                let handle = Arc::new(Handle::for_rewrites(
                    self.params.object_store_wrapper.clone(),
                ));
                let params = ObjectStoreParams {
                    object_store_wrapper: Some(handle.clone()),
                    ..self.params.clone()
                };
                let (store, _) = open(&self.lance_root, &self.uri, &params).await?;
                PooledHandle {
                    handle,
                    params,
                    _client: store,
                }
            }
        };
        pooled.handle.work_begins();
        Ok(LeasedHandle {
            pooled: Some(pooled),
            idle: self.handles.clone(),
        })
    }
}

struct PooledHandle {
    handle: Arc<Handle>,
    params: ObjectStoreParams,
    _client: Arc<LanceStore>,
}

/// A handle to write through, in use; it is given back when it is dropped.
pub(crate) struct LeasedHandle {
    pooled: Option<PooledHandle>,
    idle: Arc<Mutex<Vec<PooledHandle>>>,
}

impl LeasedHandle {
    /// How Lance opens the store to write.
    pub(crate) fn params(&self) -> ObjectStoreParams {
        self.pooled
            .as_ref()
            .map(|pooled| pooled.params.clone())
            .unwrap_or_default()
    }

    /// Deletes what was written through it so far and is not to be kept, once that is written.
    pub(crate) async fn delete_strays(
        &self,
        store: &Arc<dyn ObjectStore>,
        kept: impl Fn(&str) -> bool,
    ) {
        if let Some(pooled) = &self.pooled {
            pooled.handle.delete_strays(store, kept).await;
        }
    }

    /// Deletes what was written through it.
    pub(crate) async fn delete_created(&self, store: &Arc<dyn ObjectStore>) {
        if let Some(pooled) = &self.pooled {
            pooled.handle.delete_created(store).await;
        }
    }
}

impl Drop for LeasedHandle {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            pooled.handle.work_ended();
            if pooled.handle.is_quiet() {
                lock(&self.idle).push(pooled);
            }
        }
    }
}

fn lock(handles: &Mutex<Vec<PooledHandle>>) -> MutexGuard<'_, Vec<PooledHandle>> {
    handles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lance keeps what each client was opened with, until it is asked for the clients in use: a target that cannot be opened
/// for a month would take hundreds of megabytes.
fn forget_closed_clients() {
    drop(REGISTRY.active_stores());
}

async fn open(
    lance_root: &str,
    shown: &str,
    params: &ObjectStoreParams,
) -> Result<(Arc<LanceStore>, Path)> {
    forget_closed_clients();
    LanceStore::from_uri_and_params(REGISTRY.clone(), lance_root, params)
        .await
        .map_err(|e| Error::BadUri {
            uri: shown.to_owned(),
            reason: e.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_root_was_opened_with_is_let_go_of_when_another_is_opened() {
        let wrapper = Arc::new(Handle::for_commits(None));
        let given: Arc<dyn WrappingObjectStore> = wrapper.clone();
        let beyond = Beyond::default();
        let opened = Storage::connect("memory://closed/db", Some(given), &beyond).await;
        drop(opened.unwrap());
        let other = Storage::connect("memory://other/db", None, &beyond).await;
        assert_eq!(Arc::strong_count(&wrapper), 1);
        drop(other.unwrap());
    }

    #[tokio::test]
    async fn a_time_has_surely_passed_on_s3_when_the_clock_could_be_off_and_it_has_all_the_same() {
        let mut storage = Storage::connect("memory://clock/db", None, &Beyond::default())
            .await
            .unwrap();
        let passed = storage.surely_past();
        assert!(Utc::now() - passed < TimeDelta::minutes(1));
        storage.failed_put_is_final = false;
        let passed = storage.surely_past();
        assert!(Utc::now() - passed >= MAX_SKEW);
    }
}
