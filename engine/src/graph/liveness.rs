//! Life and death of holders.
//!
//! A holder with a ticket rewrites its heartbeat object every third of a lease. It is dead when the heartbeat is
//! older than the lease by the store's own clock *and* has not changed for a beat on the observer's monotonic
//! clock; a holder without a heartbeat, when none has appeared for a lease. Either way the ticket in question must
//! have been watched for a lease: what a holder did before it says nothing. No safety rests on this: a wrong verdict
//! costs one aborted operation, which is retried.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};

use crate::{
    error::{Error, Result},
    failpoint,
    graph::manifest::Ticket,
    ids::{HolderId, OperationId},
    storage::deletion::{self, DeletionRule},
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
    watched: Mutex<HashMap<OperationId, Watched>>,
}

#[derive(Debug, Default)]
struct Beating {
    tickets: usize,
    running: bool,
    beaten: bool,
}

/// What this process has seen of one ticket, and of its holder meanwhile.
#[derive(Debug)]
struct Watched {
    since: Instant,
    decided: Option<Instant>,
    beat: Option<DateTime<Utc>>,
    unchanged_since: Instant,
    asked: Option<Instant>,
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

    async fn beat(&self) -> Result<()> {
        let holder = self.holder.as_str().to_owned();
        failpoint::hit!(BEFORE_HEARTBEAT);
        let written = self
            .store
            .put(&self.path(&self.holder), holder.into())
            .await;
        failpoint::hit!(AFTER_HEARTBEAT);
        written
            .map(|_| ())
            .map_err(|e| Error::store("writing a heartbeat of", &self.uri, e))
    }

    /// Removes this process's heartbeat, when it leaves for good.
    pub(crate) async fn leave(&self) {
        if lock(&self.beating).beaten {
            failpoint::hit!(BEFORE_HEARTBEAT_DELETE);
            let path = self.path(&self.holder);
            let _ = deletion::one(&self.store, &path, DeletionRule::Heartbeat).await;
            failpoint::hit!(AFTER_HEARTBEAT_DELETE);
        }
    }

    /// Whether the holder of a ticket is dead. It takes repeated calls, over at least a lease in which the ticket was
    /// there, to become true.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn is_dead(&self, ticket: &Ticket) -> Result<bool> {
        if ticket.holder == self.holder {
            return Ok(false);
        }
        let beat = self.lease / 3;
        {
            let mut watched = lock(&self.watched);
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            if seen.asked.is_some_and(|asked| asked.elapsed() < beat / 2) {
                return Ok(false);
            }
            seen.asked = Some(Instant::now());
        }
        let found = match self.store.head(&self.path(&ticket.holder)).await {
            Ok(object) => Some(object.last_modified),
            Err(StoreError::NotFound { .. }) => None,
            Err(e) => return Err(Error::store("reading a heartbeat of", &self.uri, e)),
        };
        let quiet = {
            let mut watched = lock(&self.watched);
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            if seen.beat != found {
                seen.beat = found;
                seen.unchanged_since = Instant::now();
            }
            seen.since.elapsed() >= self.lease && seen.unchanged_since.elapsed() >= beat
        };
        match found {
            _ if !quiet => Ok(false),
            // Its first beat was due within the lease that the ticket was watched for.
            None => Ok(true),
            Some(last) => {
                let age = (self.store_clock().await? - last).to_std();
                Ok(age.is_ok_and(|age| age > self.lease))
            }
        }
    }

    /// The store's own clock: the time of an object that was written just now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn store_clock(&self) -> Result<DateTime<Utc>> {
        lock(&self.beating).beaten = true;
        self.beat().await?;
        let written = self.store.head(&self.path(&self.holder)).await;
        written
            .map(|object| object.last_modified)
            .map_err(|e| Error::store("reading a heartbeat of", &self.uri, e))
    }

    /// Whether a decided ticket waits for somebody else to finish it: its holder is dead, or this process has seen it
    /// decided for longer than the grace that its owner is given, one lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn is_overdue(&self, ticket: &Ticket) -> Result<bool> {
        let decided = {
            let mut watched = lock(&self.watched);
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            *seen.decided.get_or_insert_with(Instant::now)
        };
        Ok(decided.elapsed() > self.lease || self.is_dead(ticket).await?)
    }

    /// How long a holder may be silent.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// The last sign of life of a ticket's holder, as far as this process has asked for it.
    pub(crate) fn last_beat(&self, operation: OperationId) -> Option<DateTime<Utc>> {
        lock(&self.watched).get(&operation)?.beat
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

    /// Removes the heartbeat of a holder that is long dead. Should it live after all, its next beat is a new one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn remove(&self, holder: &HolderId) -> Result<()> {
        match deletion::one(&self.store, &self.path(holder), DeletionRule::Heartbeat).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::store("removing a heartbeat of", &self.uri, e)),
        }
    }

    /// Forgets operations that are not in the queue any more.
    pub(crate) fn forget_except(&self, operations: &[OperationId]) {
        lock(&self.watched).retain(|operation, _| operations.contains(operation));
    }
}

impl Watched {
    fn now() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            decided: None,
            beat: None,
            unchanged_since: now,
            asked: None,
        }
    }
}
