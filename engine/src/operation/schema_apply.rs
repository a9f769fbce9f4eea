//! `SchemaApply`: the structure changes. This release adds types; the other steps are planned but not performed.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema as ArrowSchema};
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};

use super::{
    Receipt,
    lifecycle::{self, Stage, Work},
};
use crate::{
    core::Core,
    error::{Error, Result},
    manifest::{Manifest, OperationKind, Touched, transition::Structure},
    names::{OperationId, TableKey},
    schema::{self, Schema, Step},
    sidecar::LogicalPlan,
    table::staged::Staged,
};

/// A schema to apply.
#[derive(Clone, Debug)]
pub(crate) struct SchemaApply {
    schema: Schema,
    touched: Touched,
}

/// Gives a graph that has none its types. See [`crate::Graph::create`].
pub(crate) async fn create(core: &Arc<Core>, wanted: Schema) -> Result<Receipt> {
    let nothing = Schema::default();
    let steps = schema::plan(&nothing, &wanted)?;
    let work = SchemaApply {
        touched: touched(&nothing, &steps),
        schema: wanted,
    };
    lifecycle::run(core, &work).await
}

fn touched(old: &Schema, steps: &[Step]) -> Touched {
    Touched {
        writes: schema::touched(old, steps),
        reads: schema::reads(old, steps),
    }
}

#[async_trait::async_trait]
impl Work for SchemaApply {
    fn kind(&self) -> OperationKind {
        OperationKind::SchemaApply
    }

    fn touched(&self) -> Touched {
        self.touched.clone()
    }

    fn is_small(&self) -> bool {
        false
    }

    fn plan(&self) -> LogicalPlan {
        LogicalPlan::SchemaApply
    }

    async fn stage(
        &self,
        core: &Core,
        snapshot: &Manifest,
        operation: OperationId,
    ) -> Result<Stage> {
        // Of two that create one graph, one comes first.
        if !snapshot.tables.is_empty() || snapshot.schema != Schema::default() {
            return Err(Error::AlreadyAGraph {
                uri: core.storage.uri.clone(),
            });
        }
        let steps = schema::plan(&snapshot.schema, &self.schema)?;
        let mut stage = Stage::default();
        let mut added = BTreeMap::new();
        for step in &steps {
            let table = match step {
                Step::AddType { table, .. } => table,
                Step::SetName { .. } => continue,
                other => {
                    return Err(Error::UnsupportedStep {
                        step: other.to_string(),
                        uri: core.storage.uri.clone(),
                    });
                }
            };
            let path = snapshot.fresh_path(table, operation);
            let staged = empty_table(core, &self.schema, table, &path, operation).await?;
            stage
                .effects
                .push(staged.to_effect(&core.table(table, &path), 0)?);
            stage.staged.push((table.clone(), staged));
            added.insert(table.clone(), path);
        }
        stage.summary = match stage.effects.len() {
            1 => "+1 type".to_owned(),
            n => format!("+{n} types"),
        };
        let schema = schema::apply(snapshot.schema.clone(), &steps).map_err(|misfit| {
            Error::UnsupportedStep {
                step: misfit.to_string(),
                uri: core.storage.uri.clone(),
            }
        })?;
        stage.structure = Some(Structure {
            added,
            schema,
            ..Structure::default()
        });
        Ok(stage)
    }
}

/// Stages an empty table: nothing is written before the commit.
async fn empty_table(
    core: &Core,
    schema: &Schema,
    key: &TableKey,
    path: &str,
    operation: OperationId,
) -> Result<Staged> {
    let table = core.table(key, path);
    let undeclared = || Error::UnknownTable {
        table: key.to_string(),
        nearest: None,
        uri: core.storage.uri.clone(),
    };
    let declared = schema.types.get(key).ok_or_else(undeclared)?;
    let arrow: Arc<ArrowSchema> = Arc::new(declared.arrow_schema());
    let params = WriteParams {
        mode: WriteMode::Create,
        store_params: Some(core.storage.params()),
        session: Some(core.storage.session()),
        auto_cleanup: None,
        skip_auto_cleanup: true,
        enable_stable_row_ids: true,
        ..WriteParams::default()
    };
    let uri = core.storage.table_uri(path);
    let transaction = InsertBuilder::new(uri.as_str())
        .with_params(&params)
        .execute_uncommitted(vec![RecordBatch::new_empty(arrow)])
        .await
        .map_err(|e| table.failed("staging", e))?;
    Ok(Staged::new(transaction, None, operation))
}
