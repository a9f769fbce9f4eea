//! This process's own heartbeat, and the objects in which heartbeats are kept.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};

use crate::{
    error::{Error, Result},
    failpoint,
    ids::HolderId,
    storage::deletion::{self, DeletionRule},
};

/// The heartbeats of a graph, as this process writes and reads them.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(super) store: Arc<dyn ObjectStore>,
    dir: Path,
    pub(super) uri: String,
    pub(super) holder: HolderId,
    lease: Duration,
    beating: Mutex<Beating>,
    /// Held while a heartbeat is written, also by one whose caller has gone away.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Beating {
    tickets: usize,
    running: bool,
    beaten: bool,
}

/// Keeps this process's heartbeat going until it is dropped.
#[derive(Debug)]
pub(crate) struct Alive(Arc<Heartbeat>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.beating().tickets -= 1;
    }
}

/// How often a holder with this lease writes its heartbeat while it has tickets.
pub(super) fn interval_of(lease: Duration) -> Duration {
    lease / 3
}

impl Heartbeat {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        dir: Path,
        uri: String,
        holder: HolderId,
        lease: Duration,
    ) -> Self {
        Self {
            store,
            dir,
            uri,
            holder,
            lease,
            beating: Mutex::default(),
            writing: Arc::default(),
        }
    }

    fn beating(&self) -> MutexGuard<'_, Beating> {
        self.beating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, holder: &HolderId) -> Path {
        self.dir.clone().join(holder.as_str())
    }

    /// How long a holder may be silent.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// How often a holder with tickets writes its heartbeat.
    pub(super) fn interval(&self) -> Duration {
        interval_of(self.lease)
    }

    /// Keeps the heartbeat alive as long as the guard lives: this process holds a ticket. The first heartbeat is due after a third of a lease, so that a
    /// short operation costs no request.
    pub(crate) fn hold(self: &Arc<Self>) -> Alive {
        let mut beating = self.beating();
        beating.tickets += 1;
        if !beating.running {
            beating.running = true;
            tokio::spawn(self.clone().beat_while_holding());
        }
        Alive(self.clone())
    }

    async fn beat_while_holding(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.interval()).await;
            {
                let mut beating = self.beating();
                if beating.tickets == 0 {
                    beating.running = false;
                    return;
                }
            }
            if let Err(e) = self.beat().await {
                tracing::warn!(holder = %self.holder, error = %e, "a heartbeat could not be written");
            }
        }
    }

    /// Writes this process's heartbeat. What has begun is finished, also when the caller goes away: on a disk, a thread
    /// would write on, and [`Self::leave`] would not see it.
    pub(super) async fn beat(&self) -> Result<()> {
        self.beating().beaten = true;
        let writing = self.writing.clone().lock_owned().await;
        let (store, path) = (self.store.clone(), self.path(&self.holder));
        let holder = self.holder.as_str().to_owned();
        let write = async move {
            let _writing = writing;
            failpoint::hit!(BEFORE_HEARTBEAT);
            let written = store.put(&path, holder.into()).await;
            failpoint::hit!(AFTER_HEARTBEAT);
            written
        };
        let written = match tokio::spawn(write).await {
            Ok(written) => written,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            // The runtime ends.
            Err(_) => return Ok(()),
        };
        written
            .map(|_| ())
            .map_err(|e| Error::store("writing a heartbeat of", &self.uri, e))
    }

    /// Removes this process's heartbeat, when it closes the graph.
    pub(crate) async fn leave(&self) {
        if self.beating().beaten {
            let _writing = self.writing.lock().await;
            failpoint::hit!(BEFORE_HEARTBEAT_DELETE);
            let path = self.path(&self.holder);
            let _ = deletion::one(&self.store, &path, DeletionRule::Heartbeat).await;
            failpoint::hit!(AFTER_HEARTBEAT_DELETE);
        }
    }

    /// When a holder's heartbeat was last written, by the store's clock; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) async fn last_of(&self, holder: &HolderId) -> Result<Option<DateTime<Utc>>> {
        match self.store.head(&self.path(holder)).await {
            Ok(object) => Ok(Some(object.last_modified)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store("reading a heartbeat of", &self.uri, e)),
        }
    }

    /// The heartbeats of others, and when the store says that each was written last.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn others(&self) -> Result<Vec<(HolderId, DateTime<Utc>)>> {
        let beats = self.store.list(Some(&self.dir));
        let beats = beats.try_filter_map(|object| async move {
            let holder = object.location.filename().map(HolderId::from);
            Ok(holder.map(|holder| (holder, object.last_modified)))
        });
        let beats: Vec<_> = beats
            .try_collect()
            .await
            .map_err(|e| Error::store("listing the heartbeats of", &self.uri, e))?;
        Ok(beats
            .into_iter()
            .filter(|(holder, _)| *holder != self.holder)
            .collect())
    }

    /// Removes the heartbeat of a holder that is long dead. Should it be alive, its next beat writes a new object.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn remove(&self, holder: &HolderId) -> Result<()> {
        match deletion::one(&self.store, &self.path(holder), DeletionRule::Heartbeat).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::store("removing a heartbeat of", &self.uri, e)),
        }
    }
}
