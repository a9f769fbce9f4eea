//! Tables whose head is past the pin although no ticket explains it.

use futures::{StreamExt, stream};

use super::Repaired;
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{ChangeResult, Manifest, Refusal, TableEntry, Ticket, TicketState, transition},
    },
    ids::{OperationId, TableKey},
    table::{
        Table,
        drift::{self, DriftVersion},
        handle::guarded,
        versions,
    },
};

/// Maximum number of tables that are looked at at once.
const AT_ONCE: usize = 8;

/// A table that programs which know nothing of Squire moved past its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// The table.
    pub table: TableKey,
    /// The manifest by which it was looked at.
    pub seen: u64,
    /// The version that this manifest publishes.
    pub pin: u64,
    /// The newest version.
    pub head: u64,
    /// Every version past the pin, in order.
    pub versions: Vec<DriftVersion>,
    /// In what its columns are not the declared ones any more; `None` when they are.
    pub misfit: Option<String>,
}

impl Drifted {
    /// Whether the table was reorganised only.
    pub fn is_benign(&self) -> bool {
        self.versions.iter().all(|v| v.benign)
    }

    /// A summary of the changes: `Append, Delete: +3 rows, -1 rows`.
    pub fn summary(&self) -> String {
        let changes = self
            .versions
            .iter()
            .filter(|v| !v.benign || self.is_benign());
        let mut operations: Vec<&str> = changes.map(|v| v.operation.as_str()).collect();
        operations.dedup();
        let sum = |of: fn(&DriftVersion) -> u64| self.versions.iter().map(of).sum::<u64>();
        let (added, removed) = (sum(|v| v.rows_added), sum(|v| v.rows_removed));
        let mut summary = operations.join(", ");
        if !self.is_benign() {
            summary = format!("{summary}: +{added} rows, -{removed} rows");
        }
        summary
    }
}

/// What a look for drift found.
#[derive(Debug, Default)]
pub struct DriftLook {
    /// The tables with drift.
    pub drifted: Vec<Drifted>,
    /// What failed: such a table keeps no other from being looked at.
    pub failed: Vec<Error>,
}

/// Looks for drift: one list for each table, and more only for a table that is past its pin.
///
/// # Errors
/// When the manifest cannot be read.
pub(crate) async fn look(core: &Core) -> Result<DriftLook> {
    let manifest = core.manifests.newest().await?;
    let tables: Vec<_> = manifest.tables.keys().cloned().collect();
    let looks: Vec<Result<Option<Drifted>>> = stream::iter(tables)
        .map(|key| look_at(core, &manifest, key))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut look = DriftLook::default();
    for found in looks {
        match found {
            Ok(found) => look.drifted.extend(found),
            Err(e) => look.failed.push(e),
        }
    }
    if !look.drifted.is_empty() {
        // Versions of an operation that was decided or published since are no drift.
        let newest = core.manifests.newest().await?;
        look.drifted.retain(|d| is_unexplained(&newest, d));
    }
    Ok(look)
}

async fn look_at(core: &Core, manifest: &Manifest, key: TableKey) -> Result<Option<Drifted>> {
    let (table, pin) = (core.table_in(manifest, &key)?, manifest.pin(&key));
    let looking = async {
        let newest = versions::newest(&table, 1).await?;
        let head = newest.first().map_or(0, |newest| newest.version);
        if head < pin {
            return Err(table.snapshot_gone(pin));
        }
        if head == pin {
            return Ok(None);
        }
        describe(manifest, &table, head).await.map(Some)
    };
    guarded(&table, "looking for drift of", looking).await
}

async fn describe(manifest: &Manifest, table: &Table, head: u64) -> Result<Drifted> {
    let pin = manifest.pin(&table.key);
    let misfit = match manifest.schema.types.get(&table.key) {
        Some(declared) => drift::misfit(table, declared, head).await?,
        None => Some("the schema does not declare it".to_owned()),
    };
    Ok(Drifted {
        table: table.key.clone(),
        seen: manifest.number,
        pin,
        head,
        versions: drift::history(table, pin, head).await?,
        misfit,
    })
}

fn is_unexplained(newest: &Manifest, drifted: &Drifted) -> bool {
    let explains = |state: &TicketState| *state != TicketState::Waiting;
    let writes = |t: &&Ticket| t.touched.writes.contains(&drifted.table);
    let same = |e: &TableEntry| e.since <= drifted.seen && e.pin == drifted.pin;
    newest.tables.get(&drifted.table).is_some_and(same)
        && !newest
            .queue
            .iter()
            .filter(writes)
            .any(|t| explains(&t.state))
}

/// Makes the head of a table its pin; says whether it is so now. It is not while an operation is under way on the table,
/// or when the table has moved on since it was looked at.
///
/// # Errors
/// [`Error::Store`], [`Error::OutcomeUnknown`].
pub(crate) async fn adopt(core: &Core, drifted: &Drifted) -> Result<bool> {
    let (summary, operation) = (drifted.summary(), OperationId::fresh());
    let (by, table) = (core.by(&summary), drifted.table.clone());
    let (seen, pin, head) = (drifted.seen, drifted.pin, drifted.head);
    let call = core
        .manifests
        .change(operation, move |m| {
            transition::adopt(m, &table, seen, pin, head, &by)
        })
        .await?;
    match call {
        ChangeResult::Holds(manifest) => {
            tracing::info!(table = %drifted.table, pin = drifted.pin, head = drifted.head, what = summary, manifest = manifest.number, uri = %core.storage.uri, "drift adopted");
            Ok(true)
        }
        ChangeResult::Refused(
            Refusal::NotInFront { .. }
            | Refusal::ExpectedVersionMismatch { .. }
            | Refusal::AnotherTable { .. },
        ) => Ok(false),
        ChangeResult::Refused(refusal) => Err(core.refused(operation, refusal)),
    }
}

/// Adopts what fences left past the pins of these tables, as far as nothing else is past them. Best effort: what stays is
/// adopted by the next process that finds it.
pub(super) async fn adopt_fences(core: &Core, tables: impl Iterator<Item = &TableKey>) {
    for key in tables {
        let adopted = async {
            let manifest = core.manifests.newest().await?;
            if !manifest.tables.contains_key(key) {
                return Ok(());
            }
            match look_at(core, &manifest, key.clone()).await? {
                Some(drifted) if drifted.is_benign() => adopt(core, &drifted).await.map(|_| ()),
                _ => Ok(()),
            }
        };
        if let Err(e) = adopted.await {
            tracing::warn!(table = %key, uri = %core.storage.uri, error = %e, "a fence stays past the pin; it is adopted later");
        }
    }
}

/// Adopts drift by an operator's word, as long as the table has the declared columns.
pub(super) async fn repair(core: &Core, drifted: &Drifted) -> Result<Repaired> {
    if let Some(misfit) = &drifted.misfit {
        return Ok(Repaired::Left(cannot_be_adopted(misfit)));
    }
    Ok(match adopt(core, drifted).await? {
        true => Repaired::Adopted { pin: drifted.head },
        false => Repaired::Left(
            "an operation is under way on it, or it has moved on: look again".to_owned(),
        ),
    })
}

pub(super) fn cannot_be_adopted(misfit: &str) -> String {
    format!(
        "nothing: {misfit}, so it does not fit the schema; bring its columns back with the program that changed them, and look again"
    )
}
