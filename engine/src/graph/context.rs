//! What all calls on one open graph share.

use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    error::{Error, Result},
    graph::{
        healing::{in_progress::InProgress, sweep_schedule::SweepSchedule},
        liveness::{FailureDetector, Heartbeat},
        manifest::{
            Ending, Manifest, ManifestLog, OperationKind, Refusal, Ticket, Touched, transition::By,
        },
        manifest_retention::{CollectionSchedule, ManifestRetention},
        nearest,
        operation::waiting::Waits,
        sidecar::Sidecars,
    },
    ids::{HolderId, OperationId, TableKey},
    storage::Storage,
    table::{Table, drift::DriftPolicy, queues::TableQueues, readers::Readers, refusal::Refused},
};

/// One graph, as this process has it open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) storage: Storage,
    pub(crate) manifests: Arc<ManifestLog>,
    pub(crate) sidecars: Sidecars,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) failure_detector: FailureDetector,
    pub(crate) queues: TableQueues,
    pub(crate) holder: HolderId,
    pub(crate) actor: String,
    drift: DriftPolicy,
    /// Held by the one task of this process that lists the manifests for all that wait in the queue.
    pub(crate) poller: Mutex<()>,
    /// Which operations the operations of this process wait for.
    pub(crate) waits: Waits,
    pub(crate) sweeps: SweepSchedule,
    /// Operations that a call of this process attends to while their tickets wait.
    attended: std::sync::Mutex<HashSet<OperationId>>,
    /// Operations that this process heals at the moment.
    pub(crate) in_healing: InProgress,
    /// What this handle heals beside what its caller does.
    pub(crate) in_passing: std::sync::Mutex<Option<JoinHandle<()>>>,
    /// What stays when this process collects in passing, and when it looked last.
    pub(crate) retention: ManifestRetention,
    pub(crate) collection: CollectionSchedule,
    /// Work on tables that failed and is not repeated for now.
    pub(crate) refused: Refused,
    /// Tables under the root that are not the graph's, and may read files of those that are.
    pub(crate) readers: Readers,
}

impl Core {
    pub(crate) fn new(
        storage: Storage,
        actor: String,
        lease: Duration,
        drift: DriftPolicy,
        retention: ManifestRetention,
    ) -> Self {
        let holder = HolderId::fresh();
        let (store, uri) = (storage.store.clone(), storage.uri.clone());
        let heartbeat = Arc::new(Heartbeat::new(
            store.clone(),
            storage.squire_dir("alive"),
            uri.clone(),
            holder.clone(),
            lease,
        ));
        Self {
            manifests: Arc::new(ManifestLog::new(
                store.clone(),
                storage.squire_dir("manifest"),
                uri.clone(),
                storage.failed_put_is_final,
            )),
            sidecars: Sidecars::new(store, storage.squire_dir("recovery"), uri),
            failure_detector: FailureDetector::new(heartbeat.clone()),
            heartbeat,
            queues: TableQueues::default(),
            holder,
            actor,
            drift,
            poller: Mutex::default(),
            waits: Waits::default(),
            sweeps: SweepSchedule::default(),
            attended: std::sync::Mutex::default(),
            in_healing: InProgress::default(),
            in_passing: std::sync::Mutex::default(),
            retention,
            collection: CollectionSchedule::default(),
            refused: Refused::default(),
            readers: Readers::default(),
            storage,
        }
    }

    /// Who asks for a transition, when, and one line for the log.
    pub(crate) fn by(&self, summary: &str) -> By {
        By {
            actor: self.actor.clone(),
            at: Utc::now(),
            summary: summary.to_owned(),
        }
    }

    /// Keeps what is healed beside the caller's work, and gives what was before.
    pub(crate) fn heals_in_passing(
        &self,
        healing: Option<JoinHandle<()>>,
    ) -> Option<JoinHandle<()>> {
        let mut kept = self
            .in_passing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, healing)
    }

    /// A ticket of this process, to be entered.
    pub(crate) fn ticket(
        &self,
        operation: OperationId,
        kind: OperationKind,
        touched: Touched,
    ) -> Ticket {
        let (holder, now) = (self.holder.clone(), Utc::now());
        let ticket = Ticket::waiting(operation, holder, &self.actor, kind, touched, now);
        let lease = self.heartbeat.lease().as_millis();
        Ticket {
            lease_ms: u64::try_from(lease).ok(),
            ..ticket
        }
    }

    /// Whether a call of this process attends to an operation whose ticket waits.
    pub(crate) fn attends(&self, operation: OperationId) -> bool {
        self.attended().contains(&operation)
    }

    /// Notes that a call of this process attends to an operation, or no longer does.
    pub(crate) fn attend(&self, operation: OperationId, attends: bool) {
        if attends {
            self.attended().insert(operation);
        } else {
            self.attended().remove(&operation);
        }
    }

    fn attended(&self) -> MutexGuard<'_, HashSet<OperationId>> {
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table of this graph, at a path below the root.
    pub(crate) fn table(&self, key: &TableKey, path: &str) -> Table {
        Table {
            storage: self.storage.clone(),
            key: key.clone(),
            path: path.to_owned(),
            drift: self.drift,
        }
    }

    /// A table of a manifest.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], naming the nearest key.
    pub(crate) fn table_in(&self, manifest: &Manifest, key: &TableKey) -> Result<Table> {
        match manifest.tables.get(key) {
            Some(entry) => Ok(self.table(key, &entry.path)),
            None => Err(self.unknown_table(manifest, &key.to_string())),
        }
    }

    /// The error for a table that the manifest does not have, naming the nearest key.
    pub(crate) fn unknown_table(&self, manifest: &Manifest, asked: &str) -> Error {
        Error::UnknownTable {
            table: asked.to_owned(),
            nearest: nearest::table(manifest, asked),
            uri: self.storage.uri.clone(),
        }
    }

    /// A refusal as the caller's error.
    pub(crate) fn refused(&self, operation: OperationId, refusal: Refusal) -> Error {
        let uri = self.storage.uri.clone();
        match refusal {
            Refusal::ExpectedVersionMismatch {
                table,
                expected,
                found,
            } => Error::ExpectedVersionMismatch {
                table,
                operation,
                expected,
                found,
                uri,
            },
            Refusal::Quarantined { table, by, reason } => Error::Quarantined {
                table,
                blocked_by: by,
                reason,
                uri,
            },
            Refusal::Ended(Ending::Aborted) => Error::Aborted { operation, uri },
            refusal => Error::Refused {
                operation,
                refusal,
                uri,
            },
        }
    }
}
