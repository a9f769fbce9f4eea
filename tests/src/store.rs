//! Stores that watch: every request is recorded, and chosen ones can be held back.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use lance_io::object_store::WrappingObjectStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, list::PaginatedListStore,
    path::Path,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads an object or a part of it.
    Get,
    /// Asks for an object's size and time.
    Head,
    /// Lists.
    List,
    /// Writes an object.
    Put,
    /// Deletes an object.
    Delete,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub verb: Verb,
    /// To which object or prefix.
    pub path: String,
}

impl Request {
    /// Whether it concerns Squire's own objects of this kind: `manifest`, `recovery`, `alive`.
    pub fn is_squire(&self, folder: &str) -> bool {
        self.path.contains(&format!("_squire/{folder}"))
    }
}

/// When a gate holds a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it reaches the store.
    Before,
    /// When the store has carried it out, before the caller hears of it.
    After,
}

/// Whom a gate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    First,
    Every,
    /// The first that matches, and from then on every request whatsoever.
    Freeze,
}

/// A gate: requests that match wait until it is opened.
#[derive(Debug)]
pub struct Gate {
    verb: Verb,
    part: String,
    moment: Moment,
    hold: Hold,
    /// So many requests that match are let pass first.
    passing: AtomicUsize,
    shut: AtomicBool,
    reached: Notify,
    open: Semaphore,
}

impl Gate {
    /// Waits until a request stands at the gate.
    ///
    /// # Panics
    /// When none comes for a minute: then none will.
    pub async fn reached(&self) {
        let reached = timeout(Duration::from_secs(60), self.reached.notified()).await;
        assert!(reached.is_ok(), "no {:?} of {} came", self.verb, self.part);
    }

    /// Waits until a request stands at the gate, however long that takes.
    pub async fn stands(&self) {
        self.reached.notified().await;
    }

    /// Lets the waiting requests, and every later one, pass.
    pub fn open(&self) {
        self.open.close();
    }

    /// Whether this request has to wait here.
    fn stops(&self, verb: Verb, path: &Path, moment: Moment) -> bool {
        if self.open.is_closed() {
            return false;
        }
        let concerns =
            self.verb == verb && self.moment == moment && path.as_ref().contains(&self.part);
        let one_less = |n: usize| n.checked_sub(1);
        let count = || (self.passing).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        let matches = concerns && count().is_err();
        match self.hold {
            Hold::Every => matches,
            Hold::First => matches && !self.shut.swap(true, Ordering::SeqCst),
            Hold::Freeze if self.shut.load(Ordering::SeqCst) => true,
            Hold::Freeze => matches && !self.shut.swap(true, Ordering::SeqCst),
        }
    }

    async fn pass(&self) {
        self.reached.notify_one();
        // Closed means open: everybody passes.
        let _ = self.open.acquire().await;
    }
}

/// Watches all stores that it wraps.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: Mutex<Vec<Request>>,
    gates: Mutex<Vec<Arc<Gate>>>,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// As the engine takes it.
    pub fn wrapper(&self) -> Option<Arc<dyn WrappingObjectStore>> {
        Some(Arc::new(self.clone()))
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(
            &mut *self
                .0
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Holds back every request with this verb whose path contains `part`.
    pub fn hold(&self, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, Moment::Before, Hold::Every, 0)
    }

    /// Holds back the first such request alone.
    pub fn hold_first(&self, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, Moment::Before, Hold::First, 0)
    }

    /// Holds back the first such request alone, before or after the store has carried it out.
    pub fn hold_at(&self, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, moment, Hold::First, 0)
    }

    /// Stalls: from the first such request on, every request is held, as of a process that is stopped.
    pub fn stall(&self, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.stall_past(0, moment, verb, part)
    }

    /// Stalls as [`Self::stall`] does, once `passing` such requests have passed.
    pub fn stall_past(&self, passing: usize, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, moment, Hold::Freeze, passing)
    }

    fn gate(
        &self,
        verb: Verb,
        part: &str,
        moment: Moment,
        hold: Hold,
        passing: usize,
    ) -> Arc<Gate> {
        let gate = Arc::new(Gate {
            verb,
            part: part.to_owned(),
            moment,
            hold,
            passing: AtomicUsize::new(passing),
            shut: AtomicBool::new(false),
            reached: Notify::new(),
            open: Semaphore::new(0),
        });
        lock(&self.0.gates).push(gate.clone());
        gate
    }

    fn note(&self, verb: Verb, path: &str) {
        lock(&self.0.requests).push(Request {
            verb,
            path: path.to_owned(),
        });
    }

    async fn before(&self, verb: Verb, path: &Path) {
        self.note(verb, path.as_ref());
        self.wait(verb, path, Moment::Before).await;
    }

    async fn after(&self, verb: Verb, path: &Path) {
        self.wait(verb, path, Moment::After).await;
    }

    async fn wait(&self, verb: Verb, path: &Path, moment: Moment) {
        let stops = |gate: &&Arc<Gate>| gate.stops(verb, path, moment);
        let gate = lock(&self.0.gates).iter().find(stops).cloned();
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }

    /// A listing that waits at its gate first.
    fn listing(
        &self,
        prefix: Option<&Path>,
        list: impl FnOnce(Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (watch, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move {
            watch
                .before(Verb::List, prefix.as_ref().unwrap_or(&Path::ROOT))
                .await;
            list(prefix.as_ref())
        })
        .flatten()
        .boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WrappingObjectStore for Watch {
    fn wrap(&self, _prefix: &str, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Watched {
            inner,
            watch: self.clone(),
        })
    }

    fn wrap_paginated(
        &self,
        _prefix: &str,
        _original: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn ObjectStore>,
    watch: Watch,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, to: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.watch.before(Verb::Put, to).await;
        let put = self.inner.put_opts(to, payload, o).await;
        self.watch.after(Verb::Put, to).await;
        put
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.watch.before(Verb::Put, to).await;
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        self.watch.before(verb, from).await;
        self.inner.get_opts(from, options).await
    }

    async fn get_ranges(
        &self,
        from: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.watch.before(Verb::Get, from).await;
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let watch = self.watch.clone();
        let seen = locations.then(move |location| {
            let watch = watch.clone();
            async move {
                if let Ok(path) = &location {
                    watch.before(Verb::Delete, path).await;
                }
                location
            }
        });
        self.inner.delete_stream(seen.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let inner = self.inner.clone();
        self.watch.listing(prefix, move |prefix| inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, offset) = (self.inner.clone(), offset.clone());
        self.watch.listing(prefix, move |prefix| {
            inner.list_with_offset(prefix, &offset)
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.watch
            .before(Verb::List, prefix.unwrap_or(&Path::ROOT))
            .await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.watch.before(Verb::Put, to).await;
        let copied = self.inner.copy_opts(from, to, options).await;
        self.watch.after(Verb::Put, to).await;
        copied
    }
}
