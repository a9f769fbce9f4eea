//! Staged effects: uncommitted Lance transactions, in memory and as the bytes of a sidecar.

use lance::{
    Dataset,
    dataset::transaction::{Operation, Transaction},
};
use lance_select::RowAddrTreeMap;
use lance_table::{
    format::{Fragment, pb},
    io::deletion::relative_deletion_file_path,
};
use prost::Message;

use super::{
    Table,
    effect::{Blob, Effect},
    versions,
};
use crate::{
    error::{Error, Result},
    failpoint,
    ids::OperationId,
    storage::deletion::{self, DeletionRule},
};

/// The largest transaction that a sidecar takes, in bytes.
const MAX_TRANSACTION_BYTES: usize = 20 << 20;

/// An effect that is written but not committed.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) transaction: Transaction,
    /// The rows that it deletes or updates: with them, Lance tells real conflicts from neighbours.
    pub(crate) affected_rows: Option<RowAddrTreeMap>,
    /// For a merge, which lists the files that fragments have beside those that it brings: the latter, below the
    /// table's folder. Unknown once the effect was read back from a sidecar; but then it takes place.
    created: Vec<String>,
}

impl Staged {
    /// Takes a transaction of Lance's making and gives it the operation's uuid, by which every healer finds it.
    pub(crate) fn new(
        mut transaction: Transaction,
        affected_rows: Option<RowAddrTreeMap>,
        operation: OperationId,
    ) -> Self {
        transaction.uuid = operation.to_string();
        Self {
            transaction,
            affected_rows,
            created: Vec::new(),
        }
    }

    /// The same, with the files that a merge brings.
    #[must_use]
    pub(crate) fn creating(self, created: Vec<String>) -> Self {
        Self { created, ..self }
    }

    /// The effect as a sidecar keeps it.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the transaction is larger than a sidecar takes.
    pub(crate) fn to_effect(&self, table: &Table, base: u64) -> Result<Effect> {
        let encoded = pb::Transaction::try_from(&self.transaction)
            .map_err(|e| table.failed("staging an effect on", e))?
            .encode_to_vec();
        if encoded.len() > MAX_TRANSACTION_BYTES {
            return Err(Error::BadRequest {
                table: table.key.clone(),
                reason: format!(
                    "the change touches so many fragments that its transaction has {} MiB, past the {} MiB of a sidecar: compact the table first, or do the change in parts",
                    encoded.len() >> 20,
                    MAX_TRANSACTION_BYTES >> 20
                ),
            });
        }
        let affected_rows = match &self.affected_rows {
            None => None,
            Some(rows) => {
                let mut bytes = Vec::new();
                rows.serialize_into(&mut bytes)
                    .map_err(|e| table.failed("staging an effect on", e))?;
                Some(Blob(bytes))
            }
        };
        Ok(Effect {
            table: table.key.clone(),
            path: table.path.clone(),
            base,
            transaction: Blob(encoded),
            affected_rows,
        })
    }

    /// Reads an effect back from a sidecar.
    pub(crate) fn from_effect(effect: &Effect, table: &Table) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged {
            object: format!("the sidecar's effect on {}", table.key),
            reason,
            uri: table.storage.uri.clone(),
        };
        let message = pb::Transaction::decode(effect.transaction.0.as_slice())
            .map_err(|e| damaged(e.to_string()))?;
        let transaction = Transaction::try_from(message).map_err(|e| damaged(e.to_string()))?;
        let affected_rows = match &effect.affected_rows {
            None => None,
            Some(blob) => Some(
                RowAddrTreeMap::deserialize_from(blob.0.as_slice())
                    .map_err(|e| damaged(e.to_string()))?,
            ),
        };
        Ok(Self {
            transaction,
            affected_rows,
            created: Vec::new(),
        })
    }

    /// The transaction as it is committed right after this version of the table. The bytes of a sidecar do not hold the
    /// metadata of a schema, where other programs keep things of their own: it stays the table's.
    ///
    /// The fragments of a rewrite get their ids here. Lance would give them some, too, but only after it has noted in the
    /// indexes that they cover fragment 0: with stable row ids, indexes follow their rows.
    pub(crate) fn transaction_on(&self, dataset: &Dataset) -> Transaction {
        let mut transaction = self.transaction.clone();
        match &mut transaction.operation {
            Operation::Project { schema, .. }
            | Operation::Merge { schema, .. }
            | Operation::Overwrite { schema, .. } => {
                schema.metadata.clone_from(&dataset.schema().metadata);
            }
            Operation::Rewrite { groups, .. } => {
                let newest = dataset.manifest().max_fragment_id();
                let free = newest.map_or(0, |id| id + 1)..;
                let fragments = groups.iter_mut().flat_map(|g| &mut g.new_fragments);
                for (fragment, id) in fragments.filter(|f| f.id == 0).zip(free) {
                    fragment.id = id;
                }
            }
            _ => {}
        }
        transaction
    }

    /// The same effect, moved to another base: only for an append or an overwrite, whose files do not depend on what
    /// the table holds.
    pub(crate) fn moved_to(&self, base: u64) -> Option<Self> {
        match self.transaction.operation {
            Operation::Append { .. } | Operation::Overwrite { .. } => {
                let mut moved = self.clone();
                moved.transaction.read_version = base;
                Some(moved)
            }
            _ => None,
        }
    }

    /// Deletes the files that were written for this effect. Only for an effect that is known never to be
    /// committed. Best effort: what stays is removed by cleanup some days later.
    pub(crate) async fn delete_files(&self, table: &Table) {
        let base = table.storage.table_base(&table.path);
        failpoint::hit!(BEFORE_STAGED_DELETE);
        for file in self.own_files() {
            let path = file
                .split('/')
                .fold(base.clone(), |path, part| path.join(part));
            let store = &table.storage.store;
            let deleted = deletion::one(store, &path, DeletionRule::Uncommitted);
            if let Err(e) = deleted.await {
                tracing::debug!(table = %table.key, %path, error = %e, "a staged file stays behind");
            }
        }
        failpoint::hit!(AFTER_STAGED_DELETE);
    }

    /// The files, below the table's folder, that this effect alone brought into the world.
    fn own_files(&self) -> Vec<String> {
        let data = |fragments: &[Fragment]| -> Vec<String> {
            let files = fragments.iter().flat_map(|f| &f.files);
            files.map(|file| format!("data/{}", file.path)).collect()
        };
        let read_version = self.transaction.read_version;
        let deletions = |fragments: &[Fragment]| -> Vec<String> {
            let own = fragments.iter().filter_map(|f| {
                let file = f.deletion_file.as_ref()?;
                (file.read_version == read_version).then(|| relative_deletion_file_path(f.id, file))
            });
            own.collect()
        };
        match &self.transaction.operation {
            Operation::Append { fragments } | Operation::Overwrite { fragments, .. } => {
                data(fragments)
            }
            Operation::Delete {
                updated_fragments, ..
            } => deletions(updated_fragments),
            Operation::Update {
                updated_fragments,
                new_fragments,
                ..
            } => [data(new_fragments), deletions(updated_fragments)].concat(),
            Operation::Rewrite {
                groups,
                rewritten_indices,
                ..
            } => {
                // One without a row that is there is not written, and is the table's.
                let new = rewritten_indices.iter().filter(|i| i.new_id != i.old_id);
                let segments = new.flat_map(|index| {
                    let files = index.new_index_files.iter().flatten();
                    files.map(|file| format!("_indices/{}/{}", index.new_id, file.path))
                });
                let groups = groups.iter().flat_map(|group| data(&group.new_fragments));
                groups.chain(segments).collect()
            }
            Operation::Merge { .. } => self.created.clone(),
            _ => Vec::new(),
        }
    }
}

/// Whether a version of a table was made by `operation`.
pub(crate) fn made_by(dataset: &Dataset, operation: OperationId) -> bool {
    let suffix = format!("-{operation}.txn");
    let file = dataset.manifest().transaction_file.as_deref();
    file.is_some_and(|file| file.ends_with(&suffix))
}

/// The versions in `(base, head]`, searched for one made by `operation` (step 8a).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// This one.
    Found(u64),
    /// None of them.
    Absent,
    /// Unknown: this version is missing.
    Missing(u64),
}

/// Searches for the operation's uuid in every version of `(base, head]`.
pub(crate) async fn search(
    table: &Table,
    operation: OperationId,
    base: u64,
    head: u64,
) -> Result<Search> {
    let (versions, mut missing) = versions::between(table, base, head).await?;
    for version in versions {
        match table.open(version, table.storage.params(), None).await {
            Ok(dataset) if made_by(&dataset, operation) => return Ok(Search::Found(version)),
            Ok(_) => {}
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => {
                missing.get_or_insert(version);
            }
            Err(e) => return Err(table.failed("searching the versions of", e)),
        }
    }
    Ok(missing.map_or(Search::Absent, Search::Missing))
}
