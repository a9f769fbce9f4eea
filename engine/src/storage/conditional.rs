//! Whether a store creates an object once. All commits rest on it: two writers that put the same version must not both
//! succeed. Some servers that speak S3 take the condition and ignore it.

use object_store::{Error, ObjectStore, PutMode, PutOptions, path::Path};

use super::deletion::{self, DeletionRule};

/// Creates an object twice, and deletes it again. Says whether the second create was refused because of the first.
///
/// # Errors
/// The store's, when the first create fails, or the second for another reason.
pub(super) async fn creates_once(
    store: &dyn ObjectStore,
    object: &Path,
) -> object_store::Result<bool> {
    let create = || {
        let options = PutOptions::from(PutMode::Create);
        store.put_opts(
            object,
            "Squire asks whether this can be created twice.".into(),
            options,
        )
    };
    create().await?;
    let again = create().await;
    // What cannot be deleted is in no one's way.
    let _ = deletion::one(store, object, DeletionRule::Probe).await;
    match again {
        Ok(_) => Ok(false),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
        // It does not know the condition, and says so: nothing is written over.
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => Ok(true),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use futures::stream::BoxStream;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
        PutMultipartOptions, PutPayload, PutResult, Result, memory::InMemory,
    };

    use object_store::ObjectStoreExt;

    use super::*;

    /// Takes a condition and ignores it.
    #[derive(Debug)]
    struct Careless(InMemory);

    impl fmt::Display for Careless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Careless")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            _: PutOptions,
        ) -> Result<PutResult> {
            self.0.put(location, payload).await
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(location, options).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    async fn asked(store: &dyn ObjectStore) -> bool {
        let object = Path::from("db/_squire/probe/1");
        let once = creates_once(store, &object).await.unwrap();
        let left = store
            .list_with_delimiter(Some(&Path::from("db/_squire/probe")))
            .await;
        assert!(left.unwrap().objects.is_empty());
        once
    }

    #[tokio::test]
    async fn a_store_that_ignores_the_condition_is_found_out_and_nothing_stays_on_it() {
        assert!(asked(&InMemory::new()).await);
        assert!(!asked(&Careless(InMemory::new())).await);
    }
}
