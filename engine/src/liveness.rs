//! Life and death of holders.
//!
//! A holder with a ticket rewrites its heartbeat object every third of a lease. It is dead when the heartbeat is
//! older than the lease by the store's own clock *and* has not changed for a beat on the observer's monotonic
//! clock; a holder without a heartbeat, when none has appeared for a lease. No safety rests on this: a wrong
//! verdict costs one aborted operation, which is retried.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};

use crate::{
    error::{Error, Result},
    names::{HolderId, OperationId},
};

/// The heartbeats of a graph, as this process writes and watches them.
#[derive(Debug)]
pub(crate) struct Liveness {
    store: Arc<dyn ObjectStore>,
    dir: Path,
    uri: String,
    holder: HolderId,
    lease: Duration,
    beating: Mutex<Beating>,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Beating {
    tickets: usize,
    running: bool,
    beaten: bool,
}

#[derive(Debug, Default)]
struct Watched {
    holders: HashMap<HolderId, (Option<DateTime<Utc>>, Instant)>,
    decided: HashMap<OperationId, Instant>,
}

/// Shows that this process lives, as long as it is held.
#[derive(Debug)]
pub(crate) struct Alive(Arc<Liveness>);

impl Drop for Alive {
    fn drop(&mut self) {
        lock(&self.0.beating).tickets -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Liveness {
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
            watched: Mutex::default(),
        }
    }

    fn path(&self, holder: &HolderId) -> Path {
        self.dir.clone().join(holder.as_str())
    }

    /// Says that this process holds a ticket. The first heartbeat is due after a third of a lease, so that a
    /// short operation costs no request.
    pub(crate) fn hold(self: &Arc<Self>) -> Alive {
        let mut beating = lock(&self.beating);
        beating.tickets += 1;
        if !beating.running {
            beating.running = true;
            tokio::spawn(self.clone().beat_while_holding());
        }
        Alive(self.clone())
    }

    async fn beat_while_holding(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            {
                let mut beating = lock(&self.beating);
                if beating.tickets == 0 {
                    beating.running = false;
                    return;
                }
                beating.beaten = true;
            }
            if let Err(e) = self.beat().await {
                tracing::warn!(holder = %self.holder, error = %e, "a heartbeat could not be written");
            }
        }
    }

    async fn beat(&self) -> Result<DateTime<Utc>> {
        let path = self.path(&self.holder);
        let failed = |e| Error::store("writing a heartbeat of", &self.uri, e);
        self.store
            .put(&path, self.holder.as_str().to_owned().into())
            .await
            .map_err(failed)?;
        Ok(self.store.head(&path).await.map_err(failed)?.last_modified)
    }

    /// Removes this process's heartbeat, when it leaves for good.
    pub(crate) async fn leave(&self) {
        if lock(&self.beating).beaten {
            let _ = self.store.delete(&self.path(&self.holder)).await;
        }
    }

    /// Whether a holder is dead. It takes repeated calls, over at least a beat, to become true.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn is_dead(&self, holder: &HolderId) -> Result<bool> {
        if *holder == self.holder {
            return Ok(false);
        }
        let beat = match self.store.head(&self.path(holder)).await {
            Ok(object) => Some(object.last_modified),
            Err(StoreError::NotFound { .. }) => None,
            Err(e) => return Err(Error::store("reading a heartbeat of", &self.uri, e)),
        };
        let unchanged = {
            let mut watched = lock(&self.watched);
            let now = Instant::now();
            let seen = watched
                .holders
                .entry(holder.clone())
                .or_insert((beat, now));
            if seen.0 != beat {
                *seen = (beat, now);
            }
            now.duration_since(seen.1)
        };
        let Some(beat) = beat else {
            return Ok(unchanged >= self.lease);
        };
        if unchanged < self.lease / 3 {
            return Ok(false);
        }
        // The store's own clock: an object that was written just now.
        lock(&self.beating).beaten = true;
        let now = self.beat().await?;
        Ok((now - beat).to_std().is_ok_and(|age| age > self.lease))
    }

    /// Whether this process has seen an operation decided for longer than the grace that its owner is given to
    /// finish it: one lease.
    pub(crate) fn is_overdue(&self, operation: OperationId) -> bool {
        let mut watched = lock(&self.watched);
        let since = *watched.decided.entry(operation).or_insert_with(Instant::now);
        since.elapsed() > self.lease
    }

    /// Forgets operations and holders that are not in the queue any more.
    pub(crate) fn forget_except(&self, operations: &[OperationId], holders: &[&HolderId]) {
        let mut watched = lock(&self.watched);
        watched.decided.retain(|operation, _| operations.contains(operation));
        watched.holders.retain(|holder, _| holders.contains(&holder));
    }
}
