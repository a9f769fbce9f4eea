//! The plumbing of the stores that watch and of those that go wrong: hooks around every request.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use lance_io::object_store::WrappingObjectStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    list::PaginatedListStore, path::Path,
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

impl Verb {
    /// Whether it changes the store.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete)
    }
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

/// What stands between a store and its callers.
#[async_trait::async_trait]
pub trait Hooks: fmt::Debug + Send + Sync + 'static {
    /// Before a request reaches the store; it may take its time. An upload in parts is one write, when it is
    /// completed.
    async fn before(&self, _verb: Verb, _path: &Path) {}

    /// Whether the store carries a write out at all.
    ///
    /// # Errors
    /// What it answers when it does not.
    fn admits(&self, _verb: Verb, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// When a write was carried out or refused, before the caller hears of it. An error takes the place of the store's
    /// answer.
    ///
    /// # Errors
    /// What the caller is to hear instead.
    async fn after(&self, _verb: Verb, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// An object, as a list shows it.
    fn shown(&self, object: ObjectMeta) -> ObjectMeta {
        object
    }
}

/// Hooks, as the engine takes them.
pub fn wrapper(hooks: Arc<dyn Hooks>) -> Option<Arc<dyn WrappingObjectStore>> {
    Some(Arc::new(Wrapper(hooks)))
}

#[derive(Debug)]
struct Wrapper(Arc<dyn Hooks>);

impl WrappingObjectStore for Wrapper {
    fn wrap(&self, _prefix: &str, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let hooks = self.0.clone();
        Arc::new(Wrapped { inner, hooks })
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
struct Wrapped {
    inner: Arc<dyn ObjectStore>,
    hooks: Arc<dyn Hooks>,
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({})", self.inner)
    }
}

impl Wrapped {
    /// A listing that passes its hook first.
    fn listing(
        &self,
        prefix: Option<&Path>,
        list: impl FnOnce(Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (hooks, prefix) = (self.hooks.clone(), prefix.cloned());
        let shows = hooks.clone();
        stream::once(async move {
            let under = prefix.clone().unwrap_or_default();
            hooks.before(Verb::List, &under).await;
            list(prefix.as_ref())
        })
        .flatten()
        .map_ok(move |object| shows.shown(object))
        .boxed()
    }
}

#[async_trait::async_trait]
impl ObjectStore for Wrapped {
    async fn put_opts(&self, to: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.hooks.before(Verb::Put, to).await;
        self.hooks.admits(Verb::Put, to)?;
        let put = self.inner.put_opts(to, payload, o).await;
        self.hooks.after(Verb::Put, to).await?;
        put
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(to, options).await?,
            hooks: self.hooks.clone(),
            to: to.clone(),
        }))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        self.hooks.before(verb, from).await;
        self.inner.get_opts(from, options).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.hooks.before(Verb::Get, from).await;
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (before, after) = (self.hooks.clone(), self.hooks.clone());
        let asked = locations.and_then(move |path| {
            let hooks = before.clone();
            async move {
                hooks.before(Verb::Delete, &path).await;
                Ok(path)
            }
        });
        let deleted = self.inner.delete_stream(asked.boxed());
        deleted
            .and_then(move |path| {
                let hooks = after.clone();
                async move { hooks.after(Verb::Delete, &path).await.map(|()| path) }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let inner = self.inner.clone();
        self.listing(prefix, move |prefix| inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, offset) = (self.inner.clone(), offset.clone());
        self.listing(prefix, move |prefix| {
            inner.list_with_offset(prefix, &offset)
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let under = prefix.cloned().unwrap_or_default();
        self.hooks.before(Verb::List, &under).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.hooks.before(Verb::Put, to).await;
        self.hooks.admits(Verb::Put, to)?;
        let copied = self.inner.copy_opts(from, to, options).await;
        self.hooks.after(Verb::Put, to).await?;
        copied
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    hooks: Arc<dyn Hooks>,
    to: Path,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.hooks.before(Verb::Put, &self.to).await;
        self.hooks.admits(Verb::Put, &self.to)?;
        let put = self.inner.complete().await;
        self.hooks.after(Verb::Put, &self.to).await?;
        put
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
