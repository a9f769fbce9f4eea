//! Sidecars: an operation's redo log, `_squire/recovery/<operation>.json`.
//!
//! It is written once, before the operation is decided, and says everything that a healer in any process needs
//! to carry the operation out: per table the base and the Lance transaction, the logical plan, and what the
//! publish changes besides pins.
//!
//! Written by `operation/prepared.rs` (logical) and `operation/physical.rs`. Deleted by whoever carried the operation out
//! (owner, healer or repair), in `operation/conclude.rs`, once it has ended. By its owner besides: in `prepared.rs` when it is known not to take place, in `physical.rs` when it is lost,
//! cancelled, barred or fails. By a healer: `healing/ticket.rs`, `healing/orphans.rs`. By an
//! operator: `repair/quarantine.rs`.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        manifest::{OperationKind, transition::Structure},
        operation::LoadMode,
    },
    ids::{HolderId, OperationId, TableKey, is_folder},
    schema::Step,
    storage::deletion::{self, DeletionRule},
    table::effect::Effect,
};

/// The format that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
const SUFFIX: &str = ".json";
/// Maximum number of creates of a sidecar whose store says that it is there and shows none.
const MAX_CREATES: u32 = 5;

/// What the operation means, for staging an effect again at another version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is")]
pub(crate) enum LogicalPlan {
    /// Rows are added. The data files are in the transactions; only an append can be staged again from them.
    Load {
        /// How, per table.
        modes: BTreeMap<TableKey, LoadMode>,
    },
    /// Rows are removed.
    Delete {
        /// Which, per table, as SQL predicates.
        predicates: BTreeMap<TableKey, String>,
    },
    /// The structure changes.
    SchemaApply {
        /// How: all steps, those of tables without effects, too.
        #[serde(default)]
        steps: Vec<Step>,
    },
    /// Layout only: never staged again, the work is planned anew.
    Compact,
    /// Segments of indexes: never staged again, either.
    Index,
}

/// The redo log of one operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    pub(crate) format: u32,
    pub(crate) operation: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) holder: HolderId,
    pub(crate) actor: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) plan: LogicalPlan,
    /// In the order of keys, the order in which they are taken.
    pub(crate) effects: Vec<Effect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) structure: Option<Structure>,
    /// One line for the log.
    pub(crate) summary: String,
}

impl Sidecar {
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Takes the bases that the ticket was decided with. A physical operation is staged before it is known after which version it
    /// is committed.
    pub(crate) fn take_bases(&mut self, bases: &BTreeMap<TableKey, u64>) {
        for effect in &mut self.effects {
            if let Some(&base) = bases.get(&effect.table) {
                effect.base = base;
            }
        }
    }

    /// The version that each effect was staged at: what `decide` puts into the ticket.
    pub(crate) fn bases(&self) -> BTreeMap<TableKey, u64> {
        let base = |e: &Effect| (e.table.clone(), e.base);
        self.effects.iter().map(base).collect()
    }

    /// As it is on the store.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|e| StoreError::Generic {
            store: "sidecar",
            source: Box::new(e),
        })
    }

    /// Reads one back.
    ///
    /// # Errors
    /// [`Error::NewerFormat`] before anything else is looked at; [`Error::Damaged`].
    pub(crate) fn decode(bytes: &[u8], object: &str, uri: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let damaged = |reason: &dyn std::fmt::Display| Error::Damaged {
            object: object.to_owned(),
            reason: reason.to_string(),
            uri: uri.to_owned(),
        };
        let head: Head = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
        if head.format > FORMAT {
            return Err(Error::NewerFormat {
                object: object.to_owned(),
                found: head.format,
                known: FORMAT,
                uri: uri.to_owned(),
            });
        }
        let sidecar: Sidecar = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
        let added = sidecar.structure.iter().flat_map(|s| s.added.values());
        let mut paths = sidecar.effects.iter().map(|e| &e.path).chain(added);
        if let Some(path) = paths.find(|path| !is_folder(path)) {
            let reason = format!("the table's path {path:?} is no folder directly below the root");
            return Err(damaged(&reason));
        }
        Ok(sidecar)
    }
}

/// A sidecar as a list shows it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) operation: OperationId,
    /// By the store's clock.
    pub(crate) written: DateTime<Utc>,
}

/// The sidecars of a graph: the objects of one folder.
#[derive(Clone, Debug)]
pub(crate) struct Sidecars {
    store: Arc<dyn ObjectStore>,
    dir: Path,
    uri: String,
}

impl Sidecars {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, dir: Path, uri: String) -> Self {
        Self { store, dir, uri }
    }

    fn path(&self, operation: OperationId) -> Path {
        self.dir.clone().join(format!("{operation}{SUFFIX}"))
    }

    /// Writes a sidecar, once.
    ///
    /// The name is this operation's own, so what is there already was written by a retry inside the client. But S3 also
    /// answers so to two puts that met, of which it carried out none: then it is written again.
    pub(crate) async fn write(&self, sidecar: &Sidecar) -> Result<()> {
        let failed = |e| Error::store("writing a sidecar of", &self.uri, e);
        let bytes = Bytes::from(sidecar.encode().map_err(failed)?);
        let path = self.path(sidecar.operation);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let options = PutOptions::from(PutMode::Create);
            failpoint::hit!(BEFORE_SIDECAR_CREATE);
            let put = self.store.put_opts(&path, bytes.clone().into(), options);
            let put = put.await;
            failpoint::hit!(AFTER_SIDECAR_CREATE);
            let taken = match put {
                Ok(_) => return Ok(()),
                Err(e @ (StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })) => e,
                Err(e) => return Err(failed(e)),
            };
            match self.store.head(&path).await {
                Ok(_) => return Ok(()),
                Err(StoreError::NotFound { .. }) if attempts < MAX_CREATES => {}
                Err(StoreError::NotFound { .. }) => return Err(failed(taken)),
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// Reads a sidecar back; `None` when it is not there.
    pub(crate) async fn read(&self, operation: OperationId) -> Result<Option<Sidecar>> {
        let failed = |e| Error::store("reading a sidecar of", &self.uri, e);
        let object = format!("{operation}{SUFFIX}");
        let bytes = match self.store.get(&self.path(operation)).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        Sidecar::decode(&bytes, &object, &self.uri).map(Some)
    }

    /// Deletes a sidecar whose operation has ended. Best effort: what stays is deleted by a healer.
    pub(crate) async fn delete(&self, operation: OperationId) {
        failpoint::hit!(BEFORE_SIDECAR_DELETE);
        let path = self.path(operation);
        let deleted = deletion::one(&self.store, &path, DeletionRule::Sidecar).await;
        failpoint::hit!(AFTER_SIDECAR_DELETE);
        match deleted {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(e) => {
                tracing::warn!(%operation, uri = %self.uri, error = %e, "a sidecar could not be deleted; a healer will");
            }
        }
    }

    /// Every sidecar there is.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        self.store
            .list(Some(&self.dir))
            .try_filter_map(|object| async move {
                let operation = object
                    .location
                    .filename()
                    .and_then(|name| name.strip_suffix(SUFFIX))
                    .and_then(|id| id.parse().ok());
                Ok(operation.map(|operation| Listed {
                    operation,
                    written: object.last_modified,
                }))
            })
            .try_collect()
            .await
            .map_err(|e| Error::store("listing the sidecars of", &self.uri, e))
    }
}
