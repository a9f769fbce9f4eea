//! Files that were written for a table and are not committed.

use chrono::{DateTime, Utc};
use lance_io::object_store::ObjectStoreParams;

use super::Table;
use crate::{storage::LeasedHandle, table::expiry::is_expired};

/// What was written through a handle: deleted with this, whatever way it ends, unless it is kept.
pub(crate) struct Files {
    handle: Option<LeasedHandle>,
    table: Table,
    /// Since when there are any.
    began: DateTime<Utc>,
    /// They belong to the table, or may.
    pub(crate) kept: bool,
}

impl Files {
    /// What is written through this handle.
    pub(crate) fn written_through(handle: LeasedHandle, table: &Table) -> Self {
        Self {
            handle: Some(handle),
            table: table.clone(),
            began: Utc::now(),
            kept: false,
        }
    }

    /// How Lance opens the store to write more of them.
    pub(crate) fn params(&self) -> ObjectStoreParams {
        let handle = self.handle.as_ref();
        handle.map(LeasedHandle::params).unwrap_or_default()
    }

    /// Whether they are too old to be committed: a cleanup may have removed them as untracked.
    pub(crate) fn are_expired(&self) -> bool {
        is_expired(self.began)
    }

    /// Deletes them, unless a version of the table holds them or may.
    pub(crate) async fn delete(mut self) {
        if !std::mem::replace(&mut self.kept, true)
            && let Some(handle) = &self.handle
        {
            handle.delete_created(&self.table.storage.store).await;
        }
    }

    /// Deletes those that were written so far and are no part of what is to be committed.
    pub(crate) async fn delete_strays(&self, kept: impl Fn(&str) -> bool) {
        if let Some(handle) = &self.handle {
            let store = &self.table.storage.store;
            handle.delete_strays(store, kept).await;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take().filter(|_| !self.kept) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let store = self.table.storage.store.clone();
            runtime.spawn(async move { handle.delete_created(&store).await });
        }
    }
}
