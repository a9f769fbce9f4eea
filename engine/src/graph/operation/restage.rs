//! Staging an effect again, at another version, from what the sidecar has: for an effect that conflicts with what
//! a program that knows nothing of Squire committed between the decision and the commit (step 8).
//!
//! | effect | staged again |
//! |---|---|
//! | append | with the files that it has |
//! | overwrite | with the files that it has: it replaces whatever is there |
//! | upsert | its rows are read back from the files that it has, and merged again by the key |
//! | delete | its predicate is evaluated again |
//! | schema apply | its steps are taken again, as long as the columns are those they were planned for |
//!
//! The uuid stays, so that every healer that searches for the operation finds it.

use std::sync::Arc;

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::{DeleteBuilder, transaction::Operation},
    deps::datafusion::execution::SendableRecordBatchStream,
};
use lance_core::datatypes::{Field, Schema};

use super::{LoadMode, schema_apply::columns::alter, staging::merge_by_key};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        sidecar::{LogicalPlan, Sidecar},
    },
    table::{Table, drift, effect::Effect, indexing, staged::Staged},
};

/// How a load treats the rows of a table; `None` when the effect is no load.
fn mode(sidecar: &Sidecar, effect: &Effect) -> Option<LoadMode> {
    match &sidecar.plan {
        LogicalPlan::Load { modes } => modes.get(&effect.table).copied(),
        _ => None,
    }
}

/// Whether the effect depends on all rows that the table has, even on those that Lance sees no conflict with: rows
/// that an external writer appended may have the keys of an upsert.
pub(super) fn depends_on_all_rows(sidecar: &Sidecar, effect: &Effect) -> bool {
    mode(sidecar, effect) == Some(LoadMode::Upsert)
}

/// Whether an effect that is staged again has files of its own: those of an append or an overwrite are the sidecar's.
pub(super) fn writes_files(sidecar: &Sidecar, effect: &Effect) -> bool {
    !matches!(
        mode(sidecar, effect),
        Some(LoadMode::Append | LoadMode::Overwrite)
    )
}

/// What came of staging an effect again.
pub(super) enum Restaged {
    /// This is to be committed in its place.
    As(Box<Staged>),
    /// With the reason, where there is another one than the conflict.
    Impossible(Option<String>),
}

impl From<Option<Staged>> for Restaged {
    fn from(staged: Option<Staged>) -> Self {
        staged.map_or(Self::Impossible(None), |again| Self::As(Box::new(again)))
    }
}

/// An error that every further attempt would meet, too, means that staging again is impossible.
pub(super) fn or_impossible(e: Error) -> Result<Restaged> {
    use lance::Error as Lance;
    let is_gone = match &e {
        Error::Lance { source, .. } => matches!(
            **source,
            Lance::NotFound { .. } | Lance::DatasetNotFound { .. } | Lance::VersionNotFound { .. }
        ),
        _ => false,
    };
    if is_gone || e.is_lasting() {
        return Ok(Restaged::Impossible(Some(e.to_string())));
    }
    Err(e)
}

/// Stages an effect again, at another version, with the same uuid.
pub(super) async fn restage(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Restaged> {
    match &sidecar.plan {
        LogicalPlan::Load { .. } => {
            let again = load(core, sidecar, effect, table, head).await?;
            Ok(again.into())
        }
        LogicalPlan::Delete { .. } => {
            let again = delete(sidecar, effect, table, head).await?;
            Ok(again.into())
        }
        LogicalPlan::SchemaApply { steps } => {
            let dataset = Arc::new(table.at(head).await?);
            let again = alter(table, &dataset, steps, sidecar.operation);
            match again.boxed().await {
                Ok(again) => Ok(again.into()),
                Err(e @ (Error::Misfit(_) | Error::RowsForbid { .. })) => {
                    Ok(Restaged::Impossible(Some(e.to_string())))
                }
                Err(e) => Err(e),
            }
        }
        LogicalPlan::Compact | LogicalPlan::Index => Ok(Restaged::Impossible(None)),
    }
}

/// Stages a load's effect again at `head`; `None` when that is impossible.
async fn load(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Option<Staged>> {
    let staged = Staged::from_effect(effect, table)?;
    match mode(sidecar, effect) {
        None => Ok(None),
        Some(LoadMode::Overwrite) => Ok(staged.moved_to(head)),
        Some(LoadMode::Append) => {
            let fits = fitting(core, effect, table, head).await?.is_some();
            Ok(staged.moved_to(head).filter(|_| fits))
        }
        Some(LoadMode::Upsert) => {
            let fragments = match staged.transaction.operation {
                Operation::Append { fragments } => fragments,
                Operation::Update { new_fragments, .. } => new_fragments,
                _ => return Ok(None),
            };
            let Some(dataset) = fitting(core, effect, table, head).await? else {
                return Ok(None);
            };
            // The key does not change meanwhile: the operation has its ticket.
            let manifest = core.manifests.newest().await?;
            let Some(declared) = manifest.schema.types.get(&effect.table) else {
                return Ok(None);
            };
            let failed = |e| table.failed("merging again into", e);
            let mut scan = dataset.scan();
            scan.with_fragments(fragments);
            let rows: SendableRecordBatchStream =
                scan.try_into_stream().await.map_err(failed)?.into();
            let merged = merge_by_key(dataset, &declared.key)
                .map_err(failed)?
                .execute_uncommitted(rows)
                .await
                .map_err(failed)?;
            Ok(Some(Staged::new(
                merged.transaction,
                merged.affected_rows,
                sidecar.operation,
            )))
        }
    }
}

/// Stages a delete's effect again at `head`; `None` when the sidecar has no predicate for the table.
async fn delete(
    sidecar: &Sidecar,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Option<Staged>> {
    let LogicalPlan::Delete { predicates } = &sidecar.plan else {
        return Ok(None);
    };
    let Some(predicate) = predicates.get(&effect.table) else {
        return Ok(None);
    };
    let dataset = Arc::new(table.at(head).await?);
    let again = DeleteBuilder::new(dataset, predicate.as_str())
        .execute_uncommitted()
        .await
        .map_err(|e| table.failed("deleting from", e))?;
    Ok(Some(Staged::new(
        again.transaction,
        again.affected_rows,
        sidecar.operation,
    )))
}

/// Why an effect cannot be applied to what external writers left at `head`, as far as that is known without writing;
/// `None` when no reason is known.
///
/// Lance lets an append or a delete pass over a change of columns. Here nothing does but an overwrite, which brings
/// columns of its own: a publish would make the schema untrue.
pub(crate) async fn hindrance(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Option<&'static str>> {
    if effect.base == 0 {
        return Ok((head > 0).then_some("somebody else's table is at its path"));
    }
    let keeps_columns = match &sidecar.plan {
        LogicalPlan::Load { .. } => mode(sidecar, effect) != Some(LoadMode::Overwrite),
        // The steps were planned for the columns of the base.
        LogicalPlan::Delete { .. } | LogicalPlan::SchemaApply { .. } => true,
        LogicalPlan::Compact => return Ok(Some("it is not staged again")),
        LogicalPlan::Index => {
            let sound = index_sources_hold(effect, table, head).await?;
            return Ok((!sound).then_some("what its indexes were made from has changed"));
        }
    };
    if keeps_columns && fitting(core, effect, table, head).await?.is_none() {
        return Ok(Some("another program changed its columns"));
    }
    Ok(None)
}

/// Whether segments of an index are right for the table at `head`. The process that made them has checked before the
/// first attempt; a healer has only the transaction. Lance's own rules do not look at columns that were dropped since.
async fn index_sources_hold(effect: &Effect, table: &Table, head: u64) -> Result<bool> {
    let transaction = Staged::from_effect(effect, table)?.transaction;
    let failed = |e| table.failed("reading the indexes of", e);
    let now = table.at(head).await?;
    match indexing::sources_of(&now, &transaction)
        .await
        .map_err(failed)?
    {
        Some(read) => {
            let hold = indexing::sources_hold(&read, &now, &transaction).await;
            hold.map_err(failed)
        }
        None => Ok(false),
    }
}

/// The table at `head`, if what was staged at the base can be read as rows of it: their fields have the same ids, names,
/// types and nullability. Where another program pruned the base, its fields are those that the schema declares, and those
/// in the files that were staged.
async fn fitting(
    core: &Core,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Option<Arc<Dataset>>> {
    let now = Arc::new(table.at(head).await?);
    let fits = match table.if_there(effect.base).await? {
        Some(base) => same_fields(&base.schema().fields, &now.schema().fields),
        None => {
            let manifest = core.manifests.newest().await?;
            let declared = manifest.schema.types.get(&effect.table);
            declared.is_some_and(|declared| drift::fits(declared, now.schema()))
                && has_fields(now.schema(), &Staged::from_effect(effect, table)?)
        }
    };
    Ok(fits.then_some(now))
}

/// Whether columns are the same to what reads and writes them. Metadata that a program keeps in them does not matter.
fn same_fields(one: &[Field], other: &[Field]) -> bool {
    let same = |(a, b): (&Field, &Field)| {
        (a.id, &a.name, &a.logical_type, a.nullable) == (b.id, &b.name, &b.logical_type, b.nullable)
            && same_fields(&a.children, &b.children)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether a schema has every field that the staged files have values for.
fn has_fields(schema: &Schema, staged: &Staged) -> bool {
    let fragments = match &staged.transaction.operation {
        Operation::Append { fragments } => fragments,
        Operation::Update { new_fragments, .. } => new_fragments,
        _ => return true,
    };
    let mut ids = fragments
        .iter()
        .flat_map(|f| &f.files)
        .flat_map(|f| f.fields.iter());
    ids.all(|id| schema.field_by_id(*id).is_some())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};

    use super::*;

    fn schema(field: ArrowField) -> Schema {
        Schema::try_from(&ArrowSchema::new(vec![field])).unwrap()
    }

    #[test]
    fn metadata_makes_no_other_fields_and_a_name_a_type_and_a_null_do() {
        let plain = || ArrowField::new("a", DataType::Int32, true);
        let base = schema(plain());
        let same = |other: &Schema| same_fields(&base.fields, &other.fields);
        let noted = HashMap::from([("owner".to_owned(), "ada".to_owned())]);
        assert!(same(&schema(plain().with_metadata(noted))));
        for other in [
            ArrowField::new("b", DataType::Int32, true),
            ArrowField::new("a", DataType::Int64, true),
            ArrowField::new("a", DataType::Int32, false),
        ] {
            assert!(!same(&schema(other)));
        }
        let mut renumbered = schema(plain());
        renumbered.fields[0].id += 1;
        assert!(!same(&renumbered));
    }
}
