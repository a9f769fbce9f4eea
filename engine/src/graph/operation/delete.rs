//! `Delete`: rows are removed, from several tables in one atomic operation.

use std::{collections::BTreeMap, sync::Arc};

use lance::dataset::DeleteBuilder;

use super::{
    Receipt, lifecycle,
    staging::open_to_stage,
    work::{LogicalWork, Stage},
};
use crate::{
    error::{Error, Result, plain},
    graph::{
        context::Core,
        manifest::{Manifest, OperationKind, Touched},
        sidecar::LogicalPlan,
    },
    ids::{OperationId, TableKey},
    table::staged::Staged,
};

/// Which rows to delete from which tables: all of them, or none.
#[derive(Clone, Debug, Default)]
pub struct DeleteRequest {
    predicates: BTreeMap<TableKey, String>,
    expected: BTreeMap<TableKey, u64>,
}

impl DeleteRequest {
    /// A delete of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rows of a table for which the SQL predicate holds: `carrier = 'UA' AND month = 1`. Predicates on
    /// one table add up.
    #[must_use]
    pub fn add(mut self, table: TableKey, predicate: impl Into<String>) -> Self {
        let predicate = predicate.into();
        self.predicates
            .entry(table)
            .and_modify(|all| *all = format!("({all}) OR ({predicate})"))
            .or_insert(predicate);
        self
    }

    /// Insists that a table's pin is `version`; otherwise the delete fails with
    /// [`Error::ExpectedVersionMismatch`].
    #[must_use]
    pub fn expect(mut self, table: TableKey, version: u64) -> Self {
        self.expected.insert(table, version);
        self
    }
}

/// Deletes rows. See [`crate::Graph::delete`].
pub(crate) async fn delete(core: &Arc<Core>, request: DeleteRequest) -> Result<Receipt> {
    lifecycle::run(core, &request).await
}

#[async_trait::async_trait]
impl LogicalWork for DeleteRequest {
    fn kind(&self) -> OperationKind {
        OperationKind::Delete
    }

    fn touched(&self) -> Touched {
        Touched::writing(self.predicates.keys().cloned()).reading(self.expected.keys().cloned())
    }

    /// A predicate is looked for in the whole table.
    fn is_small(&self) -> bool {
        false
    }

    fn plan(&self, _stage: &Stage) -> LogicalPlan {
        LogicalPlan::Delete {
            predicates: self.predicates.clone(),
        }
    }

    async fn stage(
        &self,
        core: &Core,
        snapshot: &Manifest,
        operation: OperationId,
    ) -> Result<Stage> {
        let mut stage = Stage {
            expected: self.expected.clone(),
            ..Stage::default()
        };
        for (key, predicate) in &self.predicates {
            if let Err(e) = stage_table(core, snapshot, operation, key, predicate, &mut stage).await
            {
                stage.abandon(core, snapshot).await;
                return Err(e);
            }
        }
        stage.summary = format!("-{} rows", stage.rows_deleted);
        Ok(stage)
    }
}

async fn stage_table(
    core: &Core,
    snapshot: &Manifest,
    operation: OperationId,
    key: &TableKey,
    predicate: &str,
    stage: &mut Stage,
) -> Result<()> {
    let table = core.table_in(snapshot, key)?;
    let (dataset, base, workshop) = open_to_stage(core, &table, snapshot).await?;
    // A predicate that does not fit the table is for the caller to fix.
    let mut scan = dataset.scan();
    let checked = match scan.filter(predicate) {
        Ok(scan) => scan.create_plan().await.map(|_| ()),
        Err(e) => Err(e),
    };
    checked.map_err(|e| bad_predicate(key, predicate, &e))?;
    let deleted = DeleteBuilder::new(dataset, predicate)
        .execute_uncommitted()
        .await;
    let deleted = match deleted {
        Ok(deleted) => deleted,
        Err(e) => {
            workshop.delete_created(&table.storage.store).await;
            return Err(table.failed("deleting from", e));
        }
    };
    if deleted.num_deleted_rows == 0 {
        return Ok(());
    }
    let staged = Staged::new(deleted.transaction, deleted.affected_rows, operation);
    stage.rows_deleted += deleted.num_deleted_rows;
    match staged.to_effect(&table, base) {
        Ok(effect) => stage.effects.push(effect),
        Err(e) => {
            workshop.delete_created(&table.storage.store).await;
            return Err(e);
        }
    }
    stage.staged.push((key.clone(), staged));
    Ok(())
}

fn bad_predicate(table: &TableKey, predicate: &str, e: &lance::Error) -> Error {
    Error::BadRequest {
        table: table.clone(),
        reason: format!("the predicate `{predicate}` does not fit: {}", plain(e)),
    }
}
