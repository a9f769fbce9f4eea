//! The store's own clock, by which ages of objects are judged.

use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt;

use super::Heartbeat;
use crate::error::{Error, Result};

impl Heartbeat {
    /// What time it is by the store's clock: the time of this process's heartbeat, written just now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn store_clock(&self) -> Result<DateTime<Utc>> {
        self.beat().await?;
        let written = self.store.head(&self.path(&self.holder)).await;
        written
            .map(|object| object.last_modified)
            .map_err(|e| Error::store("reading a heartbeat of", &self.uri, e))
    }
}
