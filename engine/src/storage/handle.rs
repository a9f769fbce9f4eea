//! Stores with a habit of their own, for the handles that Lance works through.
//!
//! - A **rewrite's** handle remembers what was created through it, so that an abandoned rewrite leaves nothing
//!   behind. It also waits for writes that are still on their way: a caller that goes away does not stop them.
//! - A **commit's** handle keeps transaction files. Lance deletes the one of an attempt that lost; but an owner
//!   and a healer stage the same file, and the other's attempt may just have landed with it.
//! - A **cleanup's** handle asks for leave before each deletion, see [`Permit`].

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use lance_io::object_store::WrappingObjectStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    list::PaginatedListStore, path::Path,
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    deletion::{self, DeletionRule},
    deletion_permit::{self, Permit},
};
use crate::{
    failpoint,
    progress::{self, Progress},
};

/// How long an abandoned rewrite waits for its writes that are on their way.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
enum Habit {
    Record,
    KeepTransactions,
    AskForLeave(Arc<Permit>),
}

/// The habit of a handle's store, and what it remembers.
#[derive(Debug)]
pub(super) struct Handle {
    inside: Option<Arc<dyn WrappingObjectStore>>,
    habit: Habit,
    created: Arc<Mutex<BTreeSet<Path>>>,
    writes: TaskTracker,
    watcher: Watcher,
}

/// The watcher of the work that goes through a handle: Lance reads and writes in tasks of its own.
#[derive(Clone, Debug, Default)]
struct Watcher(Arc<Mutex<Option<Progress>>>);

impl Watcher {
    fn set(&self, watcher: Option<Progress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watcher;
    }

    /// The store has answered.
    fn touch(&self) {
        let watcher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = &*watcher {
            watcher.touch();
        }
    }
}

impl Handle {
    pub(super) fn for_rewrites(inside: Option<Arc<dyn WrappingObjectStore>>) -> Self {
        Self {
            inside,
            habit: Habit::Record,
            created: Arc::default(),
            writes: TaskTracker::new(),
            watcher: Watcher::default(),
        }
    }

    pub(super) fn for_commits(inside: Option<Arc<dyn WrappingObjectStore>>) -> Self {
        Self {
            inside,
            habit: Habit::KeepTransactions,
            created: Arc::default(),
            writes: TaskTracker::new(),
            watcher: Watcher::default(),
        }
    }

    pub(super) fn for_cleanup(
        inside: Option<Arc<dyn WrappingObjectStore>>,
        permit: Arc<Permit>,
    ) -> Self {
        Self {
            inside,
            habit: Habit::AskForLeave(permit),
            created: Arc::default(),
            writes: TaskTracker::new(),
            watcher: Watcher::default(),
        }
    }

    /// Its work begins: what the store answers is progress of this task's.
    pub(super) fn work_begins(&self) {
        self.watcher.set(progress::watcher());
    }

    /// Its work has ended: forgets what was created, and who watched.
    pub(super) fn work_ended(&self) {
        lock(&self.created).clear();
        self.watcher.set(None);
    }

    /// Whether no write is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.writes.is_empty()
    }

    /// Deletes what was created so far and is not to be kept: all of it has landed. Best effort.
    pub(super) async fn delete_strays(
        &self,
        store: &Arc<dyn ObjectStore>,
        kept: impl Fn(&str) -> bool,
    ) {
        let strays: BTreeSet<_> = {
            let mut created = lock(&self.created);
            let strays = created.iter().filter(|path| !kept(path.as_ref()));
            let strays = strays.cloned().collect();
            created.retain(|path| kept(path.as_ref()));
            strays
        };
        if !strays.is_empty() {
            delete(store, &strays).await;
        }
    }

    /// Deletes what was created so far, and whatever of it lands later: it waits a moment for writes that are on their
    /// way, and leaves slower ones to a task of their own. Best effort: what stays is removed by cleanup some days
    /// later.
    pub(super) async fn delete_created(&self, store: &Arc<dyn ObjectStore>) {
        let created = std::mem::take(&mut *lock(&self.created));
        self.writes.close();
        let landed = timeout(PATIENCE, self.writes.wait()).await.is_ok();
        delete(store, &created).await;
        if !landed {
            let (store, writes) = (store.clone(), self.writes.clone());
            tokio::spawn(async move {
                writes.wait().await;
                delete(&store, &created).await;
            });
        } else {
            self.writes.reopen();
        }
    }
}

async fn delete(store: &Arc<dyn ObjectStore>, created: &BTreeSet<Path>) {
    let paths = futures::stream::iter(created.clone().into_iter().map(Ok)).boxed();
    failpoint::hit!(BEFORE_CREATED_DELETE);
    let mut deletions = deletion::all(store, paths, DeletionRule::Uncommitted);
    while let Some(deleted) = deletions.next().await {
        if let Err(e) = deleted {
            tracing::debug!(error = %e, "a file of an abandoned rewrite stays behind");
        }
    }
    failpoint::hit!(AFTER_CREATED_DELETE);
}

fn is_transaction(path: &Path) -> bool {
    path.parts().any(|part| part.as_ref() == "_transactions")
}

fn lock(created: &Mutex<BTreeSet<Path>>) -> std::sync::MutexGuard<'_, BTreeSet<Path>> {
    created.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WrappingObjectStore for Handle {
    fn wrap(&self, prefix: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let inner = match &self.inside {
            Some(inside) => inside.wrap(prefix, original),
            None => original,
        };
        Arc::new(Habitual {
            inner,
            habit: self.habit.clone(),
            created: self.created.clone(),
            writes: self.writes.clone(),
            watcher: self.watcher.clone(),
        })
    }

    /// Listings go through the wrapped store like everything else.
    fn wrap_paginated(
        &self,
        _prefix: &str,
        _original: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

#[derive(Debug)]
struct Habitual {
    inner: Arc<dyn ObjectStore>,
    habit: Habit,
    created: Arc<Mutex<BTreeSet<Path>>>,
    writes: TaskTracker,
    watcher: Watcher,
}

impl fmt::Display for Habitual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let habit = match self.habit {
            Habit::Record => "Record",
            Habit::KeepTransactions => "KeepTransactions",
            Habit::AskForLeave(_) => "AskForLeave",
        };
        write!(f, "{habit}({})", self.inner)
    }
}

impl Habitual {
    fn note(&self, location: &Path) {
        if matches!(self.habit, Habit::Record) {
            lock(&self.created).insert(location.clone());
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Habitual {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if !matches!(self.habit, Habit::Record) {
            return self.inner.put_opts(location, payload, options).await;
        }
        self.note(location);
        let (inner, location) = (self.inner.clone(), location.clone());
        let write = async move { inner.put_opts(&location, payload, options).await };
        let done = ended(self.writes.spawn(write).await);
        self.watcher.touch();
        done
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note(location);
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload {
            inner: Arc::new(tokio::sync::Mutex::new(upload)),
            writes: self.writes.clone(),
            watcher: self.watcher.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await;
        self.watcher.touch();
        got
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        let got = self.inner.get_ranges(location, ranges).await;
        self.watcher.touch();
        got
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match &self.habit {
            Habit::Record => {
                return deletion::all(&self.inner, locations, DeletionRule::Uncommitted);
            }
            Habit::AskForLeave(permit) => {
                let (permit, inner) = (permit.clone(), self.inner.clone());
                let allowed = locations.and_then(move |location| {
                    let (permit, inner) = (permit.clone(), inner.clone());
                    async move {
                        permit.ask(&inner, &location).await?;
                        Ok(location)
                    }
                });
                return deletion::all(&self.inner, allowed.boxed(), DeletionRule::OldVersion);
            }
            Habit::KeepTransactions => {}
        }
        let (kept, deleted) = (Arc::new(Mutex::new(Vec::new())), self.inner.clone());
        let keep = kept.clone();
        let others = locations
            .filter(move |location| {
                let spare = location.as_ref().ok().filter(|path| is_transaction(path));
                if let Some(path) = spare {
                    keep.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Ok(path.clone()));
                }
                std::future::ready(spare.is_none())
            })
            .boxed();
        // The kept ones are reported as deleted: the caller wants to hear of each.
        deletion::all(&deleted, others, DeletionRule::Uncommitted)
            .chain(futures::stream::once(async move { kept }).flat_map(|kept| {
                let kept =
                    std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
                futures::stream::iter(kept)
            }))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note(to);
        self.inner.copy_opts(from, to, options).await
    }
}

/// A multipart upload whose end is waited for like any other write.
#[derive(Debug)]
struct Upload {
    inner: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
    writes: TaskTracker,
    watcher: Watcher,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // Parts are put by the one caller that also completes: the lock is free.
        match self.inner.try_lock() {
            Ok(mut upload) => {
                let (put, watcher) = (upload.put_part(data), self.watcher.clone());
                Box::pin(async move {
                    let done = put.await;
                    watcher.touch();
                    done
                })
            }
            Err(_) => Box::pin(async { Err(interrupted()) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let inner = self.inner.clone();
        let write = async move { inner.lock().await.complete().await };
        ended(self.writes.spawn(write).await)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.lock().await.abort().await
    }
}

/// The answer of a write that ran in a task of its own.
fn ended<T>(answer: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    answer.unwrap_or_else(|_| Err(interrupted()))
}

fn interrupted() -> object_store::Error {
    deletion_permit::failure("the write was interrupted")
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    #[tokio::test]
    async fn a_cleanup_without_leave_deletes_nothing() {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("t.lance/data/a.lance");
        disk.put(&path, "rows".into()).await.unwrap();
        let permit = Permit::until(Utc::now() + TimeDelta::minutes(1));
        let store = Handle::for_cleanup(None, permit).wrap("", disk.clone());
        assert!(store.delete(&path).await.is_err());
        assert!(disk.head(&path).await.is_ok());
    }
}
