//! A table's columns as a schema apply leaves them, staged as one Lance transaction.
//!
//! What the steps come to is a pure function of the table's Lance schema ([`Evolution::of`]). Mostly it is another
//! schema over the same files, a Lance `Project`, whatever the number of rows. A cast writes the values of its column
//! anew, one file for each fragment, and is a `Merge`.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{Field as ArrowField, Schema as ArrowSchema},
};
use futures::FutureExt;
use lance::{
    Dataset,
    dataset::{
        BatchUDF, NewColumnTransform,
        transaction::{Operation, Transaction},
    },
};
use lance_core::datatypes::{Field, Schema as LanceSchema};
use lance_table::format::Fragment;

use crate::table::{Table, staged::Staged};
use crate::{
    error::Result,
    ids::OperationId,
    schema::{Misfit, Step},
};

/// Rows that a cast holds in memory at once.
const BATCH_ROWS: u32 = 8192;
/// Columns are written under names that no property can have, since their own names are taken until the commit.
const SCRATCH: &str = "__squire_cast_";

/// A column before and after.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// As the table has it; none for one that is added.
    pub(crate) was: Option<Field>,
    /// As it will be. It keeps its id while its values stay where they are.
    pub(crate) field: Field,
}

impl Column {
    fn retyped(&self) -> bool {
        self.was
            .as_ref()
            .is_some_and(|was| was.data_type() != self.field.data_type())
    }
}

/// What the steps of one table come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Evolution {
    /// In their order from now on.
    pub(crate) columns: Vec<Column>,
    /// Columns that must have a value in every row that is there, by their new names.
    pub(crate) required: Vec<String>,
    /// Columns whose values together must differ in every row that is there, by their new names.
    pub(crate) key: Vec<String>,
    /// Whether columns change at all.
    alters: bool,
    /// The names that columns had, those of dropped ones, too.
    names_before: HashSet<String>,
}

impl Evolution {
    /// Takes the steps of one table on its Lance schema.
    ///
    /// # Errors
    /// [`Misfit`] when a step names a column that is not there, or adds one that is.
    pub(crate) fn of<'s>(
        schema: &LanceSchema,
        steps: impl IntoIterator<Item = &'s Step>,
    ) -> Result<Self, Misfit> {
        let columns = schema.fields.iter().map(|field| Column {
            was: Some(field.clone()),
            field: field.clone(),
        });
        let mut evolution = Self {
            columns: columns.collect(),
            names_before: schema.fields.iter().map(|f| f.name.clone()).collect(),
            ..Self::default()
        };
        for step in steps {
            evolution.take(step).ok_or_else(|| Misfit {
                step: step.to_string(),
            })?;
            evolution.alters |= step.alters_columns();
        }
        Ok(evolution)
    }

    fn take(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::DropProperty { property, .. } => {
                let at = self.position(property)?;
                self.columns.remove(at);
            }
            Step::RenameProperty { from, to, .. } => {
                if self.position(to).is_some() {
                    return None;
                }
                self.field(from)?.name.clone_from(to);
            }
            Step::AddProperty { property, .. } => {
                if self.position(&property.name).is_some() {
                    return None;
                }
                let field = Field::try_from(&property.arrow_field()).ok()?;
                self.columns.push(Column { was: None, field });
            }
            Step::WidenCast { property, to, .. } => {
                let field = self.field(property)?;
                let arrow = ArrowField::from(&*field).with_data_type(to.to_arrow());
                *field = Field::try_from(&arrow).ok()?;
            }
            Step::MakeNullable { property, .. } => self.field(property)?.nullable = true,
            Step::MakeRequired { property, .. } => {
                self.field(property)?.nullable = false;
                self.required.push(property.clone());
            }
            Step::SetKey { key, .. } => self.key.clone_from(key),
            Step::SetName { .. }
            | Step::DropType { .. }
            | Step::RenameType { .. }
            | Step::AddType { .. }
            | Step::DropIndex { .. }
            | Step::SetEndpoints { .. }
            | Step::AddIndex { .. } => {}
        }
        Some(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.field.name == name)
    }

    fn field(&mut self, name: &str) -> Option<&mut Field> {
        let at = self.position(name)?;
        Some(&mut self.columns[at].field)
    }

    /// Whether only what the rows hold says if it is possible: a row that comes in meanwhile can forbid it.
    pub(crate) fn depends_on_rows(&self) -> bool {
        !(self.required.is_empty() && self.key.is_empty())
    }

    /// The columns whose values are written anew: none without a cast.
    ///
    /// Lance takes a change of a column's type in a `Merge` alone, and there it lets no other column change whether it
    /// may be null or take over another's name, unless its values are written as well.
    fn rewritten(&self) -> Vec<usize> {
        if !self.columns.iter().any(Column::retyped) {
            return Vec::new();
        }
        let all = self.columns.iter().enumerate();
        let bound_anew = all.filter(|(_, column)| self.is_bound_anew(column));
        bound_anew.map(|(at, _)| at).collect()
    }

    fn is_bound_anew(&self, column: &Column) -> bool {
        let was = column.was.as_ref();
        let renamed = was.is_none_or(|was| was.name != column.field.name);
        let takes_over = renamed && self.names_before.contains(&column.field.name);
        let nullability = was.is_some_and(|was| was.nullable != column.field.nullable);
        column.retyped() || takes_over || nullability
    }
}

/// Stages the steps of one table on a version of it; nothing when they change the manifest alone.
///
/// # Errors
/// [`Misfit`] and Lance's errors, with what was written so far left to the caller's leased handle.
pub(crate) async fn stage(
    table: &Table,
    dataset: &Arc<Dataset>,
    evolution: &Evolution,
    operation: OperationId,
) -> Result<Option<Staged>> {
    if !evolution.alters {
        return Ok(None);
    }
    let failed = |e| table.failed("staging a change of the columns of", e);
    let rewritten = evolution.rewritten();
    let scratch = Scratch::of(evolution, &rewritten);
    let schema = scratch.schema(dataset, evolution).map_err(failed)?;
    let read = dataset.manifest().version;
    if rewritten.is_empty() {
        let project = Operation::Project {
            schema,
            preserves_nullability: !evolution.depends_on_rows(),
        };
        let transaction = Transaction::new(read, project, None);
        return Ok(Some(Staged::new(transaction, None, operation)));
    }
    let (fragments, created) = scratch.write(dataset, &schema).await.map_err(failed)?;
    let merge = Operation::Merge {
        fragments,
        schema,
        preserves_nullability: false,
    };
    let transaction = Transaction::new(read, merge, None);
    Ok(Some(
        Staged::new(transaction, None, operation).creating(created),
    ))
}

/// The columns that are written anew, under the names that they are written with.
struct Scratch {
    /// By the place in the evolution: the column that the values are of, and the field that is written.
    columns: BTreeMap<usize, (Option<String>, ArrowField)>,
}

impl Scratch {
    fn of(evolution: &Evolution, rewritten: &[usize]) -> Self {
        let columns = rewritten.iter().enumerate().map(|(n, &at)| {
            let column = &evolution.columns[at];
            let source = column.was.as_ref().map(|was| was.name.clone());
            let field = ArrowField::from(&column.field).with_name(format!("{SCRATCH}{n}"));
            (at, (source, field))
        });
        Self {
            columns: columns.collect(),
        }
    }

    fn arrow_schema(&self) -> Arc<ArrowSchema> {
        let fields = self.columns.values().map(|(_, field)| field.clone());
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
    }

    /// The table's schema from now on. Ids of new fields lie past every id that the table or a file of it ever had:
    /// first those that are written, as Lance numbers them when it writes, then those that are added.
    fn schema(&self, dataset: &Dataset, evolution: &Evolution) -> lance::Result<LanceSchema> {
        let used = dataset.manifest().max_field_id();
        let mut written = dataset.schema().merge(self.arrow_schema().as_ref())?;
        written.try_set_field_id(Some(used))?;
        let mut fields = Vec::new();
        for (at, column) in evolution.columns.iter().enumerate() {
            let scratch = self.columns.get(&at);
            let numbered = scratch.and_then(|(_, field)| written.field(field.name()));
            let mut field = numbered.unwrap_or(&column.field).clone();
            field.name.clone_from(&column.field.name);
            fields.push(field);
        }
        let mut schema = LanceSchema {
            fields,
            metadata: dataset.schema().metadata.clone(),
        };
        schema.try_set_field_id(Some(used))?;
        schema.validate()?;
        Ok(schema)
    }

    /// Writes the columns, fragment after fragment; the fragments as they will be, and the new files.
    async fn write(
        &self,
        dataset: &Arc<Dataset>,
        schema: &LanceSchema,
    ) -> lance::Result<(Vec<Fragment>, Vec<String>)> {
        let kept: HashSet<i32> = schema.fields_pre_order().map(|f| f.id).collect();
        let (mut fragments, mut created) = (Vec::new(), Vec::new());
        for source in dataset.get_fragments() {
            // Lance's future is deep: boxed, it does not make every future around it deeper.
            let adding =
                source.add_columns(self.transform(), Some(self.sources()), Some(BATCH_ROWS));
            let (mut fragment, _) = adding.boxed().await?;
            let had = &source.metadata().files;
            let is_new = |path: &str| had.iter().all(|file| file.path != path);
            let new = fragment.files.iter().filter(|f| is_new(&f.path));
            created.extend(new.map(|f| format!("data/{}", f.path)));
            // A file may hold nothing but what was rewritten.
            let spilled = fragment.spilled_row_lineage_field_ids();
            fragment.files.retain(|file| {
                let mut ids = file.fields.iter();
                ids.any(|id| kept.contains(id) || spilled.contains(id))
            });
            fragments.push(fragment);
        }
        Ok((fragments, created))
    }

    fn sources(&self) -> Vec<String> {
        let sources = self
            .columns
            .values()
            .filter_map(|(source, _)| source.clone());
        sources.collect()
    }

    fn transform(&self) -> NewColumnTransform {
        let columns: Vec<_> = self.columns.values().cloned().collect();
        let output_schema = self.arrow_schema();
        let written = output_schema.clone();
        let mapper = move |batch: &RecordBatch| {
            let cast = columns
                .iter()
                .map(|(source, field)| cast(batch, source.as_deref(), field));
            let columns = cast.collect::<lance::Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(written.clone(), columns)?)
        };
        NewColumnTransform::BatchUDF(BatchUDF {
            mapper: Box::new(mapper),
            output_schema,
            result_checkpoint: None,
        })
    }
}

/// The values of one column as another type. A value that would not be the same fails.
fn cast(batch: &RecordBatch, source: Option<&str>, field: &ArrowField) -> lance::Result<ArrayRef> {
    let Some(values) = source.and_then(|name| batch.column_by_name(name)) else {
        return Ok(new_null_array(field.data_type(), batch.num_rows()));
    };
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(values, field.data_type(), &exact)?)
}

#[cfg(test)]
#[path = "evolve_tests.rs"]
mod tests;
