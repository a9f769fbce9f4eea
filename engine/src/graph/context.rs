//! What all calls on one open graph share.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use chrono::Utc;
use lance::dataset::transaction::{Operation, Transaction};
use tokio::sync::Mutex;

use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        healing::{InHealing, leftovers::Swept},
        liveness::Liveness,
        manifest::{Manifest, Refusal, Register, Ticket, TicketState, transition::By},
        operation::waiting::Waits,
        sidecar::Recovery,
    },
    ids::{HolderId, OperationId, TableKey},
    storage::Storage,
    table::{
        Table,
        commit::{Landing, commit_at},
        drift::DriftPolicy,
        queues::TableQueues,
        refusal::Refused,
        staged::Staged,
    },
};

/// So often a fence is tried at the head.
const MAX_FENCES: usize = 20;

/// One graph, as this process has it open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) storage: Storage,
    pub(crate) register: Arc<Register>,
    pub(crate) recovery: Recovery,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) queues: TableQueues,
    pub(crate) holder: HolderId,
    pub(crate) actor: String,
    drift: DriftPolicy,
    /// One poller per process: whoever waits asks through here.
    pub(crate) poller: Mutex<()>,
    /// Whom the operations of this process wait for.
    pub(crate) waits: Waits,
    swept: Swept,
    /// Operations that a call of this process attends to while their tickets wait.
    attended: std::sync::Mutex<HashSet<OperationId>>,
    /// Operations that this process heals just now.
    pub(crate) in_healing: InHealing,
    /// Work on tables that came to nothing.
    pub(crate) refused: Refused,
}

impl Core {
    pub(crate) fn new(
        storage: Storage,
        actor: String,
        lease: Duration,
        drift: DriftPolicy,
    ) -> Self {
        let holder = HolderId::fresh();
        let (store, uri) = (storage.store.clone(), storage.uri.clone());
        let liveness = Liveness::new(
            store.clone(),
            storage.squire_dir("alive"),
            uri.clone(),
            holder.clone(),
            lease,
        );
        Self {
            register: Arc::new(Register::new(
                store.clone(),
                storage.squire_dir("manifest"),
                uri.clone(),
                storage.definite,
            )),
            recovery: Recovery::new(store, storage.squire_dir("recovery"), uri),
            liveness: Arc::new(liveness),
            queues: TableQueues::default(),
            holder,
            actor,
            drift,
            poller: Mutex::default(),
            waits: Waits::default(),
            swept: Swept::default(),
            attended: std::sync::Mutex::default(),
            in_healing: InHealing::default(),
            refused: Refused::default(),
            storage,
        }
    }

    /// Who asks for a transition, when, and one line for people.
    pub(crate) fn by(&self, summary: &str) -> By {
        By {
            actor: self.actor.clone(),
            at: Utc::now(),
            summary: summary.to_owned(),
        }
    }

    /// Whether a call of this process attends to an operation whose ticket waits.
    pub(crate) fn attends(&self, operation: OperationId) -> bool {
        self.attended().contains(&operation)
    }

    /// Takes an operation into this process's care, or out of it.
    pub(crate) fn attend(&self, operation: OperationId, attends: bool) {
        if attends {
            self.attended().insert(operation);
        } else {
            self.attended().remove(&operation);
        }
    }

    /// Whether it is time to look for what is left over from long ago.
    pub(crate) fn sweep_is_due(&self, every: Duration) -> bool {
        self.swept.is_due(every)
    }

    fn attended(&self) -> std::sync::MutexGuard<'_, HashSet<OperationId>> {
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    pub(crate) fn unknown_table(&self, manifest: &Manifest, asked: &str) -> Error {
        let name = asked.split_once(':').map_or(asked, |(_, name)| name);
        let nearest = manifest
            .tables
            .keys()
            .map(|key| (strsim::jaro_winkler(name, key.name()), key))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        Error::UnknownTable {
            table: asked.to_owned(),
            nearest: nearest.map(|(_, key)| key.clone()),
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
            Refusal::Ended(crate::graph::manifest::Ending::Aborted) => {
                Error::Aborted { operation, uri }
            }
            refusal => Error::Refused {
                operation,
                refusal,
                uri,
            },
        }
    }

    /// Whether the head of a table that was seen past its pin in `snapshot` is no drift: an operation that was
    /// decided since explains it, by its ticket or by a new pin. Only for callers without a ticket of their own.
    pub(crate) async fn explains_head(
        &self,
        snapshot: &Manifest,
        table: &TableKey,
    ) -> Result<bool> {
        let newest = self.register.newest().await?;
        let writes =
            |t: &Ticket| t.state != TicketState::Waiting && t.touched.writes.contains(table);
        Ok(newest.pin(table) != snapshot.pin(table) || newest.queue.iter().any(writes))
    }

    /// The manifest that published an operation, and the pins that it gave. The operation is known to be published:
    /// where the details cannot be had, the newest number that was seen and no pins stand for them.
    pub(crate) async fn publication_of(
        &self,
        operation: OperationId,
    ) -> (u64, BTreeMap<TableKey, u64>) {
        let seen = self.register.seen();
        let outcome = seen.as_ref().and_then(|m| m.outcomes.get(&operation));
        let number = outcome.map(|outcome| outcome.number);
        let published = match number {
            Some(number) => self.register.read(number).await.ok().flatten(),
            None => None,
        };
        let pins = published.map(|m| {
            let own = m.changes().find(|c| c.operation == Some(operation));
            let tables = own.iter().flat_map(|change| &change.tables);
            // An apply names tables that it took away, too.
            let there = tables.filter(|t| m.tables.contains_key(*t));
            there.map(|t| (t.clone(), m.pin(t))).collect()
        });
        let newest = seen.map_or(0, |m| m.number);
        (number.unwrap_or(newest), pins.unwrap_or_default())
    }

    /// Fences a table wherever its head is: when it returns, everything up to the version that it returns is there
    /// for good, and a commit at exactly the version after any of them cannot land any more. 0 when there is no table.
    ///
    /// # Errors
    /// [`Error::Contended`] when others commit so fast that no fence lands.
    pub(crate) async fn fence_head(&self, table: &Table) -> Result<u64> {
        for _ in 0..MAX_FENCES {
            let head = table.head().await?;
            if head == 0 {
                return Ok(0);
            }
            match commit_fence(table, head).await {
                Landing::Landed(version) => {
                    tracing::info!(table = %table.key, version, uri = %self.storage.uri, "fenced");
                    return Ok(version);
                }
                Landing::Taken | Landing::Lost | Landing::Conflict(_) => {}
                Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                    return Err(table.failed("fencing", *e));
                }
            }
        }
        Err(Error::Contended {
            table: table.key.clone(),
            uri: self.storage.uri.clone(),
        })
    }

    /// Fences a table: commits an empty, content-preserving version at exactly base+1, so that nobody's late
    /// commit can still land there. Somebody else's version there is as good.
    ///
    /// # Errors
    /// When it cannot be told that base+1 is taken.
    pub(crate) async fn fence(&self, table: &Table, base: u64) -> Result<()> {
        match commit_fence(table, base).await {
            Landing::Landed(_) | Landing::Taken => {
                tracing::info!(table = %table.key, version = base + 1, uri = %self.storage.uri, "fenced");
                Ok(())
            }
            Landing::Lost
            | Landing::Conflict(_)
            | Landing::Failed(_)
            | Landing::Refused(_)
            | Landing::Unclear(_)
                if table.head().await? > base =>
            {
                Ok(())
            }
            Landing::Lost => Err(Error::Contended {
                table: table.key.clone(),
                uri: self.storage.uri.clone(),
            }),
            Landing::Conflict(reason) => Err(Error::Damaged {
                object: format!("version {} of {}", base + 1, table.key),
                reason,
                uri: self.storage.uri.clone(),
            }),
            Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                Err(table.failed("fencing", *e))
            }
        }
    }
}

/// Commits an empty, content-preserving version at exactly `base` + 1.
async fn commit_fence(table: &Table, base: u64) -> Landing {
    let nothing = Transaction::new(base, Operation::ReserveFragments { num_fragments: 0 }, None);
    let fence = Staged::new(nothing, None, OperationId::fresh());
    failpoint::hit!(BEFORE_FENCE);
    let landing = commit_at(table, &fence, base).await;
    failpoint::hit!(AFTER_FENCE);
    landing
}
