//! The request, and what a schema apply stages.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema as ArrowSchema};
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};

use super::{
    super::{
        Receipt, lifecycle,
        staging::open_to_stage,
        work::{LogicalWork, Stage},
    },
    columns::{alter, looks_at},
};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Manifest, OperationKind, Touched, transition::Structure},
        purge,
        sidecar::LogicalPlan,
    },
    ids::{OperationId, TableKey},
    schema::{self, Schema, Step, TypeDef},
    table::{Table, staged::Staged},
};

/// The schema that a graph shall have.
#[derive(Clone, Debug)]
pub struct SchemaRequest {
    wanted: Schema,
    hard: bool,
    expected: BTreeMap<TableKey, u64>,
    planned_on: Option<Schema>,
}

impl SchemaRequest {
    /// An apply of this schema. What it drops stays in earlier versions of the tables until these are cleaned up.
    pub fn new(wanted: Schema) -> Self {
        Self {
            wanted,
            hard: false,
            expected: BTreeMap::new(),
            planned_on: None,
        }
    }

    /// Makes what is dropped unreachable as soon as the apply is published: the folder of a dropped type, and every
    /// earlier version of a table that loses a property.
    #[must_use]
    pub fn hard(mut self) -> Self {
        self.hard = true;
        self
    }

    /// Insists that a table's pin is `version`; otherwise the apply fails with
    /// [`Error::ExpectedVersionMismatch`].
    #[must_use]
    pub fn expect(mut self, table: TableKey, version: u64) -> Self {
        self.expected.insert(table, version);
        self
    }

    /// Insists that the graph has this schema still; otherwise the apply fails with [`Error::SchemaMoved`]. For a
    /// caller that has shown the steps from there to a user: other steps are not taken.
    #[must_use]
    pub fn planned_on(mut self, schema: Schema) -> Self {
        self.planned_on = Some(schema);
        self
    }

    /// The steps from the schema that a manifest has.
    ///
    /// # Errors
    /// [`Error::Plan`], [`Error::SchemaMoved`].
    fn steps_on(&self, core: &Core, manifest: &Manifest) -> Result<Vec<Step>> {
        let steps = schema::plan(&manifest.schema, &self.wanted)?;
        let moved = |planned_on: &Schema| *planned_on != manifest.schema;
        if !steps.is_empty() && self.planned_on.as_ref().is_some_and(moved) {
            return Err(Error::SchemaMoved {
                uri: core.storage.uri.clone(),
            });
        }
        Ok(steps)
    }

    /// What is touched on the way from `schema`.
    fn touched_from(&self, schema: &Schema, steps: &[Step]) -> Touched {
        Touched::writing(schema::touched(schema, steps))
            .reading(schema::reads(schema, steps))
            .reading(self.expected.keys().cloned())
    }
}

/// Gives a graph that has none its types. See [`crate::Graph::create`].
pub(crate) async fn create(core: &Arc<Core>, wanted: Schema) -> Result<Receipt> {
    let nothing = Schema::default();
    let steps = schema::plan(&nothing, &wanted)?;
    let request = SchemaRequest::new(wanted);
    let work = SchemaApply {
        touched: request.touched_from(&nothing, &steps),
        request,
        of_unborn: true,
    };
    lifecycle::run(core, &work).await
}

/// Brings a graph to a schema. See [`crate::Graph::apply_schema`].
pub(crate) async fn apply(core: &Arc<Core>, request: SchemaRequest) -> Result<Receipt> {
    let seen = core.manifests.seen();
    let known = seen.map(|m| request.steps_on(core, &m).map(|steps| (m, steps)));
    let (manifest, steps) = match known {
        Some(Ok(planned)) if !planned.1.is_empty() => planned,
        // Nothing to do, or a refusal: that is for the newest schema to say.
        _ => {
            let newest = core.manifests.newest().await?;
            let steps = request.steps_on(core, &newest)?;
            (newest, steps)
        }
    };
    if steps.is_empty() {
        let stage = Stage {
            expected: request.expected,
            ..Stage::default()
        };
        return lifecycle::nothing_to_do(core, OperationId::fresh(), &stage, &manifest);
    }
    let work = SchemaApply {
        touched: request.touched_from(&manifest.schema, &steps),
        request,
        of_unborn: false,
    };
    let receipt = lifecycle::run(core, &work).await?;
    if work.request.hard
        && let Some(published) = core.manifests.seen()
        && let Err(e) = purge::round(core, &published).await
    {
        tracing::warn!(operation = %receipt.operation, uri = %core.storage.uri, error = %e, "what was dropped could not be purged yet; a healer will");
    }
    Ok(receipt)
}

/// A schema to apply, classified.
struct SchemaApply {
    request: SchemaRequest,
    touched: Touched,
    /// Whether the graph must have neither tables nor a schema.
    of_unborn: bool,
}

#[async_trait::async_trait]
impl LogicalWork for SchemaApply {
    fn kind(&self) -> OperationKind {
        OperationKind::SchemaApply
    }

    fn touched(&self) -> Touched {
        self.touched.clone()
    }

    /// The steps of the snapshot count. A schema that cannot be followed any more touches nothing: staging says so.
    fn touched_on(&self, snapshot: &Manifest) -> Touched {
        match schema::plan(&snapshot.schema, &self.request.wanted) {
            Ok(steps) => self.request.touched_from(&snapshot.schema, &steps),
            Err(_) => Touched::default(),
        }
    }

    /// Rows may have to be read, or rewritten.
    fn is_small(&self) -> bool {
        false
    }

    fn plan(&self, stage: &Stage) -> LogicalPlan {
        LogicalPlan::SchemaApply {
            steps: stage.steps.clone(),
        }
    }

    async fn stage(
        &self,
        core: &Core,
        snapshot: &Manifest,
        operation: OperationId,
    ) -> Result<Stage> {
        // Of two that create one graph, one comes first.
        let unborn = snapshot.tables.is_empty() && snapshot.schema == Schema::default();
        if self.of_unborn && !unborn {
            return Err(Error::AlreadyAGraph {
                uri: core.storage.uri.clone(),
            });
        }
        let mut stage = Stage {
            expected: self.request.expected.clone(),
            steps: self.request.steps_on(core, snapshot)?,
            ..Stage::default()
        };
        if stage.steps.is_empty() {
            return Ok(stage);
        }
        let structure = Structure::of(snapshot, &stage.steps, self.request.hard, operation)?;
        for (key, path) in &structure.added {
            let added = add_table(core, &structure.schema, key, path, operation, &mut stage);
            added.await?;
        }
        for key in snapshot.tables.keys() {
            if let Err(e) = alter_table(core, snapshot, key, operation, &mut stage).await {
                stage.abandon(core, snapshot).await;
                return Err(e);
            }
        }
        stage.summary = summary(&stage.steps);
        stage.structure = Some(structure);
        Ok(stage)
    }
}

fn summary(steps: &[Step]) -> String {
    let is_added = |step: &&Step| matches!(step, Step::AddType { .. } | Step::SetName { .. });
    let types = steps
        .iter()
        .filter(|s| matches!(s, Step::AddType { .. }))
        .count();
    match steps {
        [only] if types == 0 => only.to_string(),
        _ if types > 0 && steps.iter().all(|step| is_added(&step)) => match types {
            1 => "+1 type".to_owned(),
            n => format!("+{n} types"),
        },
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
        [] => String::new(),
    }
}

async fn add_table(
    core: &Core,
    schema: &Schema,
    key: &TableKey,
    path: &str,
    operation: OperationId,
    stage: &mut Stage,
) -> Result<()> {
    let undeclared = || Error::UnknownTable {
        table: key.to_string(),
        nearest: None,
        uri: core.storage.uri.clone(),
    };
    let declared = schema.types.get(key).ok_or_else(undeclared)?;
    let table = core.table(key, path);
    let staged = empty_table(&table, declared, operation).await?;
    stage.effects.push(staged.to_effect(&table, 0)?);
    stage.staged.push((key.clone(), staged));
    Ok(())
}

/// Stages an empty table: nothing is written before the commit.
async fn empty_table(table: &Table, declared: &TypeDef, operation: OperationId) -> Result<Staged> {
    let arrow: Arc<ArrowSchema> = Arc::new(declared.arrow_schema());
    let params = WriteParams {
        mode: WriteMode::Create,
        store_params: Some(table.storage.params()),
        session: Some(table.storage.session()),
        auto_cleanup: None,
        skip_auto_cleanup: true,
        enable_stable_row_ids: true,
        ..WriteParams::default()
    };
    let uri = table.storage.table_uri(&table.path);
    let transaction = InsertBuilder::new(uri.as_str())
        .with_params(&params)
        .execute_uncommitted(vec![RecordBatch::new_empty(arrow)])
        .await
        .map_err(|e| table.failed("staging", e))?;
    Ok(Staged::new(transaction, None, operation))
}

/// Stages what the steps change in a table that exists.
async fn alter_table(
    core: &Core,
    snapshot: &Manifest,
    key: &TableKey,
    operation: OperationId,
    stage: &mut Stage,
) -> Result<()> {
    if !looks_at(&stage.steps, key) {
        return Ok(());
    }
    let table = core.table_in(snapshot, key)?;
    let (dataset, base, workshop) = open_to_stage(core, &table, snapshot).await?;
    let staged = match alter(&table, &dataset, &stage.steps, operation).await {
        Ok(Some(staged)) => staged.to_effect(&table, base).map(|e| (staged, e)),
        Ok(None) => return Ok(()),
        Err(e) => Err(e),
    };
    match staged {
        Ok((staged, effect)) => {
            stage.effects.push(effect);
            stage.staged.push((key.clone(), staged));
            Ok(())
        }
        Err(e) => {
            workshop.delete_created(&table.storage.store).await;
            Err(e)
        }
    }
}
