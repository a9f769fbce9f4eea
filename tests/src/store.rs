//! Stores that watch: every request is recorded, and chosen ones can be held back.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
use lance_io::object_store::WrappingObjectStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, list::PaginatedListStore,
    path::Path,
};
use tokio::sync::{Notify, Semaphore};

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

/// A gate: requests that match wait until it is opened.
#[derive(Debug)]
pub struct Gate {
    verb: Verb,
    part: String,
    reached: Notify,
    open: Semaphore,
}

impl Gate {
    /// Waits until a request stands at the gate.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the waiting request, and every later one, pass.
    pub fn open(&self) {
        self.open.close();
    }

    async fn pass(&self) {
        if !self.open.is_closed() {
            self.reached.notify_one();
            // Closed means open: everybody passes.
            let _ = self.open.acquire().await;
        }
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
        std::mem::take(&mut *self.0.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Holds back every request with this verb whose path contains `part`.
    pub fn hold(&self, verb: Verb, part: &str) -> Arc<Gate> {
        let gate = Arc::new(Gate {
            verb,
            part: part.to_owned(),
            reached: Notify::new(),
            open: Semaphore::new(0),
        });
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.push(gate.clone());
        gate
    }

    fn note(&self, verb: Verb, path: &str) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(Request {
            verb,
            path: path.to_owned(),
        });
    }

    async fn see(&self, verb: Verb, path: &Path) {
        self.note(verb, path.as_ref());
        let gate = {
            let gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
            let matching = |g: &&Arc<Gate>| g.verb == verb && path.as_ref().contains(&g.part);
            gates.iter().find(matching).cloned()
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }
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
        self.watch.see(Verb::Put, to).await;
        self.inner.put_opts(to, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.watch.see(Verb::Put, to).await;
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        self.watch.see(verb, from).await;
        self.inner.get_opts(from, options).await
    }

    async fn get_ranges(
        &self,
        from: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.watch.see(Verb::Get, from).await;
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let watch = self.watch.clone();
        let seen = locations.inspect(move |location| {
            if let Ok(path) = location {
                watch.note(Verb::Delete, path.as_ref());
            }
        });
        self.inner.delete_stream(seen.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.watch.note(Verb::List, prefix.map_or("", Path::as_ref));
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.watch.note(Verb::List, prefix.map_or("", Path::as_ref));
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.watch.note(Verb::List, prefix.map_or("", Path::as_ref));
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.watch.see(Verb::Put, to).await;
        self.inner.copy_opts(from, to, options).await
    }
}
