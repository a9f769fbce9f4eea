//! `Load`: rows are added to several tables in one atomic operation.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema as ArrowSchema, SchemaRef},
    error::ArrowError,
    record_batch::{RecordBatchIterator, RecordBatchReader},
};
use lance::{
    Dataset,
    dataset::{InsertBuilder, WriteMode, WriteParams, transaction::Operation},
};

use super::{
    LoadMode, Receipt, lifecycle,
    staging::{declared, merge_by_key, open_to_stage},
    work::{LogicalWork, Stage},
};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        input::{ConformReader, Input, InputError},
        manifest::{Manifest, OperationKind, Touched},
        sidecar::LogicalPlan,
    },
    ids::{OperationId, TableKey},
    schema::TypeDef,
    table::{Table, staged::Staged},
};

/// Maximum size of an input that is staged in an instant, and so takes the short form, in bytes.
const SMALL_BYTES: u64 = 8 << 20;

/// Rows to load.
#[derive(Clone, Debug)]
pub enum Rows {
    /// In memory.
    Batches(Vec<RecordBatch>),
    /// In a local file, read as it is loaded.
    File(Input),
}

impl Rows {
    fn bytes(&self) -> u64 {
        match self {
            Self::Batches(batches) => batches
                .iter()
                .map(|b| b.get_array_memory_size() as u64)
                .sum(),
            // A file that cannot be asked for its size cannot be read either: that shows at once.
            Self::File(input) => input.size_hint().map_or(0, |hint| hint.bytes),
        }
    }
}

/// What to load into which tables: all of it, or none.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    tables: BTreeMap<TableKey, TableLoad>,
    expected: BTreeMap<TableKey, u64>,
}

#[derive(Clone, Debug)]
struct TableLoad {
    mode: LoadMode,
    rows: Vec<Rows>,
}

impl LoadRequest {
    /// A load of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows for a table. All rows for one table share one mode: the first.
    #[must_use]
    pub fn add(mut self, table: TableKey, mode: LoadMode, rows: Rows) -> Self {
        let load = self.tables.entry(table).or_insert(TableLoad {
            mode,
            rows: Vec::new(),
        });
        load.rows.push(rows);
        self
    }

    /// Insists that a table's pin is `version`; otherwise the load fails with
    /// [`Error::ExpectedVersionMismatch`].
    #[must_use]
    pub fn expect(mut self, table: TableKey, version: u64) -> Self {
        self.expected.insert(table, version);
        self
    }
}

/// Loads rows. See [`crate::Graph::load`].
pub(crate) async fn load(core: &Arc<Core>, request: LoadRequest) -> Result<Receipt> {
    lifecycle::run(core, &request).await
}

#[async_trait::async_trait]
impl LogicalWork for LoadRequest {
    fn kind(&self) -> OperationKind {
        OperationKind::Load
    }

    fn touched(&self) -> Touched {
        Touched::writing(self.tables.keys().cloned()).reading(self.expected.keys().cloned())
    }

    fn is_small(&self) -> bool {
        // An upsert looks for its keys in the whole table.
        let no_upsert = self.tables.values().all(|t| t.mode != LoadMode::Upsert);
        let rows = self.tables.values().flat_map(|t| &t.rows);
        no_upsert && rows.map(Rows::bytes).fold(0, u64::saturating_add) <= SMALL_BYTES
    }

    fn plan(&self, _stage: &Stage) -> LogicalPlan {
        LogicalPlan::Load {
            modes: self
                .tables
                .iter()
                .map(|(k, t)| (k.clone(), t.mode))
                .collect(),
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
        for (key, load) in &self.tables {
            if let Err(e) = stage_table(core, snapshot, operation, key, load, &mut stage).await {
                stage.abandon(core, snapshot).await;
                return Err(e);
            }
        }
        stage.summary = format!("+{} rows", stage.rows_written);
        Ok(stage)
    }
}

async fn stage_table(
    core: &Core,
    snapshot: &Manifest,
    operation: OperationId,
    key: &TableKey,
    load: &TableLoad,
    stage: &mut Stage,
) -> Result<()> {
    let table = core.table_in(snapshot, key)?;
    let declared = declared(core, snapshot, key)?;
    let (dataset, base, workshop) = open_to_stage(core, &table, snapshot).await?;
    let caught = Arc::new(Mutex::new(None));
    let staged = match reader(&dataset, load, caught.clone()) {
        Ok(reader) => write(&table, dataset, declared, load.mode, reader).await,
        Err(e) => Err(e.into()),
    };
    let (staged, rows) = match staged {
        Ok((transaction, affected, rows)) => (Staged::new(transaction, affected, operation), rows),
        Err(e) => {
            workshop.delete_created(&table.storage.store).await;
            // The reader's own error says more than Lance's wrapping of it.
            let caught = caught.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(caught.map_or(e, Error::Input));
        }
    };
    if rows == 0 && load.mode != LoadMode::Overwrite {
        return Ok(());
    }
    stage.rows_written += rows;
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

type Written = (
    lance::dataset::transaction::Transaction,
    Option<lance_select::RowAddrTreeMap>,
    u64,
);

async fn write(
    table: &Table,
    dataset: Arc<Dataset>,
    declared: &TypeDef,
    mode: LoadMode,
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<Written> {
    let failed = |e| match e {
        // Two rows of the input with one key, say.
        lance::Error::InvalidInput { source, .. } => Error::BadRequest {
            table: table.key.clone(),
            reason: format!("the rows cannot be written: {source}"),
        },
        e => table.failed("writing to", e),
    };
    if mode == LoadMode::Upsert {
        if declared.key.is_empty() {
            return Err(Error::BadRequest {
                table: table.key.clone(),
                reason: "it has no key to upsert by: declare one, or append".to_owned(),
            });
        }
        let merged = merge_by_key(dataset, &declared.key)
            .map_err(failed)?
            .execute_uncommitted(reader)
            .await
            .map_err(failed)?;
        let rows = merged.stats.num_inserted_rows + merged.stats.num_updated_rows;
        return Ok((merged.transaction, merged.affected_rows, rows));
    }
    let params = WriteParams {
        mode: match mode {
            LoadMode::Overwrite => WriteMode::Overwrite,
            LoadMode::Append | LoadMode::Upsert => WriteMode::Append,
        },
        auto_cleanup: None,
        skip_auto_cleanup: true,
        enable_stable_row_ids: true,
        ..WriteParams::default()
    };
    let transaction = InsertBuilder::new(dataset)
        .with_params(&params)
        .execute_uncommitted_stream(reader)
        .await
        .map_err(failed)?;
    let rows = match &transaction.operation {
        Operation::Append { fragments } | Operation::Overwrite { fragments, .. } => fragments
            .iter()
            .filter_map(|f| f.physical_rows)
            .sum::<usize>()
            as u64,
        _ => 0,
    };
    Ok((transaction, None, rows))
}

/// The rows of one table, one input after another, conformed to the table's own schema.
fn reader(
    dataset: &Dataset,
    load: &TableLoad,
    caught: Arc<Mutex<Option<InputError>>>,
) -> Result<Box<dyn RecordBatchReader + Send>, InputError> {
    let schema: SchemaRef = Arc::new(ArrowSchema::from(dataset.schema()));
    let mut parts = VecDeque::new();
    for (n, rows) in load.rows.iter().enumerate() {
        let part: Box<dyn RecordBatchReader + Send> = match rows {
            Rows::File(input) => Box::new(input.open(&schema)?),
            Rows::Batches(batches) => {
                let Some(first) = batches.first() else {
                    continue;
                };
                let source = RecordBatchIterator::new(
                    batches.clone().into_iter().map(Ok::<_, ArrowError>),
                    first.schema(),
                );
                let origin = format!("batches of input {}", n + 1);
                Box::new(ConformReader::try_new(source, &schema, origin)?)
            }
        };
        parts.push_back(part);
    }
    Ok(Box::new(Chain {
        schema,
        parts,
        caught,
    }))
}

/// Readers one after another; the first input error is kept for the caller as it is.
struct Chain {
    schema: SchemaRef,
    parts: VecDeque<Box<dyn RecordBatchReader + Send>>,
    caught: Arc<Mutex<Option<InputError>>>,
}

impl Iterator for Chain {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.parts.front_mut()?.next() {
                Some(Ok(batch)) => return Some(Ok(batch)),
                Some(Err(e)) => {
                    let error = InputError::from_arrow(e);
                    let reported = ArrowError::ExternalError(error.to_string().into());
                    *self.caught.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.parts.clear();
                    return Some(Err(reported));
                }
                None => {
                    self.parts.pop_front();
                }
            }
        }
    }
}

impl RecordBatchReader for Chain {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
