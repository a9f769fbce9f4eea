//! A store for tests that fails by script, and counts.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex as StdMutex, PoisonError},
};

use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, memory::InMemory, path::Path,
};

/// What befalls one put.
pub(super) enum Fault {
    /// The answer is an error; nothing was written.
    Lost,
    /// The answer is an error; the object was written.
    LandedUnheard,
    /// The answer is an error; the object is written when the next put comes.
    LandsLate,
    /// The object was written by the client's first try, and its second hears that it exists.
    Echo,
    /// Another writer's object took the place; the answer is an error.
    LostToRival(Vec<u8>),
    /// The store says no.
    Denied,
}

/// A store that fails by script, and counts.
#[derive(Default)]
pub(super) struct Flaky {
    pub(super) inner: InMemory,
    pub(super) overwrites: bool,
    pub(super) script: StdMutex<VecDeque<Fault>>,
    pub(super) late: StdMutex<Option<(Path, PutPayload)>>,
    /// Objects that take the place of others just before the next read.
    pub(super) before_read: StdMutex<Vec<(Path, PutPayload)>>,
    pub(super) asked: StdMutex<(usize, usize, usize)>,
}

impl Flaky {
    pub(super) fn failing(script: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            script: StdMutex::new(script.into_iter().collect()),
            ..Self::default()
        }
    }

    fn count(&self, what: fn(&mut (usize, usize, usize))) {
        what(&mut self.asked.lock().unwrap());
    }

    /// Puts, lists and gets since the last call.
    pub(super) fn asked(&self) -> (usize, usize, usize) {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl fmt::Debug for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

fn broken() -> StoreError {
    StoreError::Generic {
        store: "flaky",
        source: "the connection broke".into(),
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.count(|asked| asked.0 += 1);
        let late = self.late.lock().unwrap().take();
        if let Some((path, late)) = late {
            self.inner.put(&path, late).await?;
        }
        if self.overwrites {
            options.mode = PutMode::Overwrite;
        }
        let fault = self
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match fault {
            None => self.inner.put_opts(to, payload, options).await,
            Some(Fault::Lost) => Err(broken()),
            Some(Fault::Denied) => Err(StoreError::PermissionDenied {
                path: to.to_string(),
                source: "no".into(),
            }),
            Some(Fault::LandedUnheard) => {
                self.inner.put_opts(to, payload, options).await?;
                Err(broken())
            }
            Some(Fault::LandsLate) => {
                *self.late.lock().unwrap() = Some((to.clone(), payload));
                Err(broken())
            }
            Some(Fault::Echo) => {
                self.inner.put_opts(to, payload, options).await?;
                Err(StoreError::AlreadyExists {
                    path: to.to_string(),
                    source: "it is there".into(),
                })
            }
            Some(Fault::LostToRival(rival)) => {
                self.inner.put_opts(to, rival.into(), options).await?;
                Err(broken())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.count(|asked| asked.2 += 1);
        let changed = std::mem::take(&mut *self.before_read.lock().unwrap());
        for (path, payload) in changed {
            self.inner.put(&path, payload).await?;
        }
        self.inner.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.count(|asked| asked.1 += 1);
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.count(|asked| asked.1 += 1);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
