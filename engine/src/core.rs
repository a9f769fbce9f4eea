//! What all calls on one open graph share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::Utc;
use lance::dataset::transaction::{Operation, Transaction};
use tokio::sync::Mutex;

use crate::{
    error::{Error, Result},
    liveness::Liveness,
    manifest::{Manifest, Refusal, Register},
    names::{HolderId, OperationId, TableKey},
    operation::queue::TableQueues,
    sidecar::Recovery,
    storage::Storage,
    table::{
        Table,
        commit::{Landing, commit_at},
        staged::Staged,
    },
};

/// One graph, as this process has it open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) storage: Storage,
    pub(crate) register: Register,
    pub(crate) recovery: Recovery,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) queues: TableQueues,
    pub(crate) holder: HolderId,
    pub(crate) actor: String,
    /// One poller per process: whoever waits asks through here.
    pub(crate) poller: Mutex<()>,
}

impl Core {
    pub(crate) fn new(storage: Storage, actor: String, lease: Duration) -> Self {
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
            register: Register::new(
                store.clone(),
                storage.squire_dir("manifest"),
                uri.clone(),
                storage.definite,
            ),
            recovery: Recovery::new(store, storage.squire_dir("recovery"), uri),
            liveness: Arc::new(liveness),
            queues: TableQueues::default(),
            holder,
            actor,
            poller: Mutex::default(),
            storage,
        }
    }

    pub(crate) fn table(&self, key: &TableKey, path: &str) -> Table {
        Table {
            storage: self.storage.clone(),
            key: key.clone(),
            path: path.to_owned(),
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
        let nearest = manifest
            .tables
            .keys()
            .map(|key| (strsim::jaro_winkler(asked, &key.to_string()), key))
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
            Refusal::Ended(crate::manifest::Ending::Aborted) => Error::Aborted { operation, uri },
            refusal => Error::Refused {
                operation,
                refusal,
                uri,
            },
        }
    }

    /// The manifest that published an operation, and the pins that it gave.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when it is not on record any more.
    pub(crate) async fn publication_of(
        &self,
        operation: OperationId,
    ) -> Result<(u64, BTreeMap<TableKey, u64>)> {
        let newest = self.register.newest().await?;
        let published = match newest.outcomes.get(&operation) {
            Some(outcome) => self.register.read(outcome.number).await?,
            None => None,
        };
        let published = published.ok_or_else(|| Error::OutcomeUnknown {
            operation,
            uri: self.storage.uri.clone(),
            source: None,
        })?;
        let tables = published.change.tables.iter();
        let pins = tables.map(|t| (t.clone(), published.pin(t))).collect();
        Ok((published.number, pins))
    }

    /// Fences a table: commits an empty, content-preserving version at exactly base+1, so that nobody's late
    /// commit can still land there. Somebody else's version there is as good.
    ///
    /// # Errors
    /// When it cannot be told that base+1 is taken.
    pub(crate) async fn fence(&self, table: &Table, base: u64) -> Result<()> {
        let nothing = Transaction::new(base, Operation::ReserveFragments { num_fragments: 0 }, None);
        let fence = Staged::new(nothing, None, OperationId::fresh());
        match commit_at(table, &fence, base).await {
            Landing::Landed(_) | Landing::Taken => {
                tracing::info!(table = %table.key, version = base + 1, uri = %self.storage.uri, at = %Utc::now(), "fenced");
                Ok(())
            }
            Landing::Conflict(_) | Landing::Unclear(_) if table.head().await? > base => Ok(()),
            Landing::Conflict(reason) => Err(Error::Damaged {
                object: format!("version {} of {}", base + 1, table.key),
                reason,
                uri: self.storage.uri.clone(),
            }),
            Landing::Unclear(e) => Err(table.failed("fencing", *e)),
        }
    }
}
