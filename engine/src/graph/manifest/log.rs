//! The manifest log: numbered, immutable objects; the newest is the state.
//!
//! Safety rests on two primitives of the store, *create if absent* and a strongly consistent *list*. The
//! outcome of a create at number *k* is **open** until it is closed:
//! - it counts when the store says that it created the object, and the newest manifest, listed afterwards, has
//!   not collected *k*;
//! - it is closed by any manifest *M*, listed afterwards, that is at or past *k* and has not collected *k*: slot
//!   *k* is then taken for good, and if the object in it is this call's, *M* shows the operation, because an
//!   outcome recorded at or past *k* is not trimmed while `collected_below` is at most *k*. So the transition,
//!   computed on *M*, either finds its own effect or starts afresh; slot *k* is never read back.
//!
//! While it is open, the transition is computed again on the newest manifest, and a refusal is
//! [`Error::OutcomeUnknown`]. `group_commit` has that loop.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path,
};
use tokio::sync::watch;

use super::{Manifest, codec, pending::GroupCommit};
use crate::{
    error::{Error, Result},
    failpoint,
    storage::deletion::{self, DeletionRule},
};

const SUFFIX: &str = ".json";
/// Maximum age of the newest manifest seen for which a transition is first tried on it.
const FRESH: Duration = Duration::from_secs(5);

/// A graph's manifests on its store.
#[derive(Debug)]
pub(crate) struct ManifestLog {
    store: Arc<dyn ObjectStore>,
    dir: Path,
    pub(super) uri: String,
    /// Whether a failed put that left no object can no longer write one: true on local disk and in memory, false where
    /// a request may still be under way.
    pub(super) failed_put_is_final: bool,
    newest: watch::Sender<Option<Arc<Manifest>>>,
    listed_at: std::sync::Mutex<Option<Instant>>,
    pub(super) group_commit: GroupCommit,
}

impl ManifestLog {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        dir: Path,
        uri: String,
        failed_put_is_final: bool,
    ) -> Self {
        Self {
            store,
            dir,
            uri,
            failed_put_is_final,
            newest: watch::channel(None).0,
            listed_at: std::sync::Mutex::default(),
            group_commit: GroupCommit::default(),
        }
    }

    fn path(&self, number: u64) -> Path {
        self.dir.clone().join(format!("{number:020}{SUFFIX}"))
    }

    /// The newest manifest that this process has seen, without asking the store: a hint.
    pub(crate) fn seen(&self) -> Option<Arc<Manifest>> {
        self.newest.borrow().clone()
    }

    /// What was seen, as long as it is worth a try: an idle process would recreate a number that is collected by now.
    pub(super) fn fresh(&self) -> Option<Arc<Manifest>> {
        let at = *self
            .listed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.seen()
            .filter(|_| at.is_some_and(|at| at.elapsed() < FRESH))
    }

    /// Whether this process has asked for the newest manifest since then.
    pub(crate) fn listed_since(&self, then: Instant) -> bool {
        let at = *self
            .listed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at >= then)
    }

    /// Follows what [`Self::seen`] returns.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Arc<Manifest>>> {
        self.newest.subscribe()
    }

    /// The newest manifest: one list past the newest that was seen, and one read when there is a newer one.
    ///
    /// Between the two it may be collected, deleted, and created anew by a writer that was suspended: an object that
    /// never counted. So what is read must be what was listed; where entity tags do not show that, a second list does.
    ///
    /// # Errors
    /// [`Error::NotAGraph`] when there is no manifest at all; [`Error::Damaged`]; [`Error::Store`].
    pub(crate) async fn newest(&self) -> Result<Arc<Manifest>> {
        loop {
            let seen = self.seen();
            let Some(listed) = self.list_newest(seen.as_ref().map(|m| m.number)).await? else {
                // Nothing is past the newest seen, and the newest is never collected.
                return seen.ok_or_else(|| Error::NotAGraph {
                    uri: self.uri.clone(),
                });
            };
            // Gone between list and read: it was collected, so there is a newer one.
            let Some((manifest, read)) = self.read_object(listed.number).await? else {
                continue;
            };
            // The newest is never collected.
            let same =
                listed.is_same(&read) || self.list_newest(Some(listed.number)).await?.is_none();
            if same {
                return Ok(self.remember(Arc::new(manifest)));
            }
        }
    }

    fn remember(&self, manifest: Arc<Manifest>) -> Arc<Manifest> {
        self.newest.send_if_modified(|seen| {
            let newer = seen.as_ref().is_none_or(|s| s.number < manifest.number);
            if newer {
                *seen = Some(manifest.clone());
            }
            newer
        });
        manifest
    }

    async fn list_newest(&self, after: Option<u64>) -> Result<Option<Listed>> {
        let asked = Instant::now();
        let objects = match after {
            Some(number) => self
                .store
                .list_with_offset(Some(&self.dir), &self.path(number)),
            None => self.store.list(Some(&self.dir)),
        };
        objects
            .try_fold(None, |newest: Option<Listed>, object| async move {
                let number = number_of(&object.location);
                let known = newest.as_ref().map(|n| n.number);
                Ok(match number.filter(|_| number > known) {
                    Some(number) => Some(Listed {
                        number,
                        e_tag: object.e_tag,
                    }),
                    None => newest,
                })
            })
            .await
            .inspect(|_| {
                let mut at = self
                    .listed_at
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *at = Some(asked);
            })
            .map_err(|e| Error::store("listing the manifests of", &self.uri, e))
    }

    /// The manifest of this number; `None` when it was collected or never was.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Store`].
    pub(crate) async fn read(&self, number: u64) -> Result<Option<Manifest>> {
        let read = self.read_object(number).await?;
        Ok(read.map(|(manifest, _)| manifest))
    }

    /// When the manifest of this number was written, by the store's clock; `None` when it was collected or never was.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn written(&self, number: u64) -> Result<Option<DateTime<Utc>>> {
        match self.store.head(&self.path(number)).await {
            Ok(object) => Ok(Some(object.last_modified)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store("looking at a manifest of", &self.uri, e)),
        }
    }

    async fn read_object(&self, number: u64) -> Result<Option<(Manifest, ObjectMeta)>> {
        let failed = |e| Error::store("reading a manifest of", &self.uri, e);
        let path = self.path(number);
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let meta = found.meta.clone();
        let bytes = found.bytes().await.map_err(failed)?;
        let object = path.filename().unwrap_or_default();
        let manifest = codec::decode(&bytes, number, object, &self.uri)?;
        Ok(Some((manifest, meta)))
    }

    /// Creates the first manifest of a graph, twice: the second create must fail, or the store cannot carry
    /// a graph.
    ///
    /// # Errors
    /// [`Error::AlreadyAGraph`], [`Error::UnfitStore`], [`Error::Store`].
    pub(crate) async fn create(&self, first: Manifest) -> Result<Arc<Manifest>> {
        if self.list_newest(None).await?.is_some() {
            return Err(self.taken());
        }
        match self.put(&first).await {
            Ok(()) => {}
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                return Err(self.taken());
            }
            Err(e) => return Err(Error::store("creating", &self.uri, e)),
        }
        match self.put(&first).await {
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Ok(self.remember(Arc::new(first)))
            }
            Ok(()) => {
                // What stays would pass for a graph.
                let path = self.path(first.number);
                let _ = deletion::one(&self.store, &path, DeletionRule::Probe).await;
                Err(self.unfit("a second create of one name succeeded"))
            }
            Err(e) => Err(self.unfit(&format!("a second create of one name failed with: {e}"))),
        }
    }

    fn taken(&self) -> Error {
        Error::AlreadyAGraph {
            uri: self.uri.clone(),
        }
    }

    fn unfit(&self, reason: &str) -> Error {
        Error::UnfitStore {
            uri: self.uri.clone(),
            reason: reason.to_owned(),
        }
    }

    pub(super) async fn put(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let bytes = codec::encode(manifest).map_err(|e| StoreError::Generic {
            store: "manifest",
            source: Box::new(e),
        })?;
        let options = PutOptions::from(PutMode::Create);
        failpoint::hit!(BEFORE_MANIFEST_CREATE);
        let put = self
            .store
            .put_opts(&self.path(manifest.number), bytes.into(), options)
            .await;
        failpoint::hit!(AFTER_MANIFEST_CREATE);
        put.map(|_| ())
    }

    /// Deletes the objects below a mark that counts; says how many.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn delete_below(&self, mark: u64) -> Result<usize> {
        let failed = |e| Error::store("collecting the manifests of", &self.uri, e);
        let old = self
            .store
            .list(Some(&self.dir))
            .try_filter_map(move |object| async move {
                let below = number_of(&object.location).is_some_and(move |n| n < mark);
                Ok(below.then_some(object.location))
            })
            .boxed();
        failpoint::hit!(BEFORE_MANIFESTS_DELETE);
        let deleted = deletion::all(&self.store, old, DeletionRule::Manifest).filter(|deleted| {
            // Another process collects at the same time.
            let by_another = matches!(deleted, Err(StoreError::NotFound { .. }));
            std::future::ready(!by_another)
        });
        let deleted = deleted.try_fold(0, |n, _| async move { Ok(n + 1) }).await;
        failpoint::hit!(AFTER_MANIFESTS_DELETE);
        deleted.map_err(failed)
    }

    /// The newest manifest after a create of `mine` that succeeded: one list, and no read while mine is the
    /// newest.
    pub(super) async fn newest_after(&self, mine: Arc<Manifest>) -> Result<Arc<Manifest>> {
        let at_the_end = self.seen().is_none_or(|seen| seen.number < mine.number);
        if at_the_end && self.list_newest(Some(mine.number)).await?.is_none() {
            return Ok(self.remember(mine));
        }
        self.newest().await
    }

    /// Whether the store refused, so that the object cannot have been written. A remote store's refusal for lack of
    /// permission may follow an earlier attempt of the client that was carried out.
    pub(super) fn refuses(&self, e: &StoreError) -> bool {
        match e {
            StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::InvalidPath { .. } => true,
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                self.failed_put_is_final
            }
            _ => false,
        }
    }
}

/// A manifest object as a list shows it.
struct Listed {
    number: u64,
    e_tag: Option<String>,
}

impl Listed {
    /// Whether an object that was read is the one that was listed, by their entity tags. Some stores quote them in one
    /// place and not in the other.
    fn is_same(&self, read: &ObjectMeta) -> bool {
        let bare = |tag: &Option<String>| tag.as_ref().map(|t| t.trim_matches('"').to_owned());
        self.e_tag.is_some() && bare(&self.e_tag) == bare(&read.e_tag)
    }
}

/// The number in a manifest object's name.
fn number_of(object: &Path) -> Option<u64> {
    object.filename()?.strip_suffix(SUFFIX)?.parse().ok()
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
