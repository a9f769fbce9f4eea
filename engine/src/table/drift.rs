//! Drift: versions past the pin that no ticket explains, classified by their Lance transactions.

use std::collections::BTreeSet;

use arrow::datatypes::Schema as ArrowSchema;
use lance::{Dataset, dataset::transaction::Operation};
use lance_core::datatypes::Schema;
use lance_io::object_store::ObjectStoreParams;
use lance_table::format::Fragment;

pub use super::drift_policy::DriftPolicy;
use super::{Table, versions};
use crate::{
    error::{Error, Result},
    schema::{PropertyType, TypeDef},
};

/// A version of a table past its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftVersion {
    /// The version.
    pub version: u64,
    /// Lance's name of the operation that made it; `unknown` when the version or its transaction is gone.
    pub operation: String,
    /// Whether it only reorganised.
    pub benign: bool,
    /// Rows that it added or replaced others by, as far as it is not benign.
    pub rows_added: u64,
    /// Rows that it removed or replaced, as far as it is not benign.
    pub rows_removed: u64,
}

impl DriftVersion {
    /// Whether nothing shows what it did.
    pub fn is_unknown(&self) -> bool {
        self.operation == UNKNOWN
    }
}

/// Stands for the name of an operation that nothing shows.
const UNKNOWN: &str = "unknown";

/// What programs that know nothing of Squire did to a table past its pin: the versions in `(pin, head]`, in order.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn history(table: &Table, pin: u64, head: u64) -> Result<Vec<DriftVersion>> {
    let mut before = None;
    let mut found = Vec::new();
    let (numbers, gap) = versions::between(table, pin, head).await?;
    let numbers = numbers.into_iter().chain(gap).collect::<BTreeSet<_>>();
    for version in numbers {
        let dataset = table.if_there(version).await?;
        let operation = match &dataset {
            None => None,
            Some(dataset) => operation_of(table, dataset).await?,
        };
        let benign = operation.as_ref().is_some_and(is_benign);
        let (mut rows_added, mut rows_removed) = (0, 0);
        if !benign && let Some(now) = &dataset {
            let earlier = match before.take() {
                Some(earlier) => Some(earlier),
                None => table
                    .open(version - 1, table.storage.params(), None)
                    .await
                    .ok(),
            };
            if let Some(earlier) = earlier {
                (rows_added, rows_removed) = difference(&earlier, now);
            }
        }
        found.push(DriftVersion {
            version,
            operation: operation
                .as_ref()
                .map_or(UNKNOWN, Operation::name)
                .to_owned(),
            benign,
            rows_added,
            rows_removed,
        });
        before = dataset;
    }
    Ok(found)
}

/// What made a version; `None` where its transaction is gone.
async fn operation_of(table: &Table, dataset: &Dataset) -> Result<Option<Operation>> {
    let transaction = dataset.read_transaction().await;
    let transaction = transaction.map_err(|e| table.failed("reading the history of", e))?;
    Ok(transaction.map(|t| t.operation))
}

impl Table {
    /// The table as a manifest publishes it. Where another program pruned that version, the one after it is as good, if
    /// that only reorganised the table.
    ///
    /// # Errors
    /// [`Error::SnapshotGone`], [`Error::Lance`].
    pub(crate) async fn at_pin(&self, pin: u64) -> Result<Dataset> {
        if let Some(dataset) = self.if_there(pin).await? {
            return Ok(dataset);
        }
        match self.if_there(pin + 1).await? {
            Some(next) if is_reorganised(self, &next).await? => Ok(next),
            _ => Err(self.snapshot_gone(pin)),
        }
    }
}

/// Whether a version has the rows and columns of the one before it, as far as that is known.
async fn is_reorganised(table: &Table, dataset: &Dataset) -> Result<bool> {
    let operation = operation_of(table, dataset).await?;
    Ok(operation.as_ref().is_some_and(is_benign))
}

/// Whether the operation only reorganises, or sets properties of the table that say nothing of its rows.
fn is_benign(operation: &Operation) -> bool {
    match operation {
        Operation::Rewrite { .. }
        | Operation::ReserveFragments { .. }
        | Operation::CreateIndex { .. } => true,
        // Metadata of a column can say what its values mean.
        Operation::UpdateConfig {
            field_metadata_updates,
            ..
        } => field_metadata_updates.is_empty(),
        _ => false,
    }
}

/// Rows added and rows removed from one version to the next, by their fragments alone.
fn difference(before: &Dataset, after: &Dataset) -> (u64, u64) {
    let deleted = |f: &Fragment| {
        let deletions = f.deletion_file.as_ref().and_then(|d| d.num_deleted_rows);
        deletions.unwrap_or(0) as u64
    };
    let live = |f: &Fragment| (f.physical_rows.unwrap_or(0) as u64).saturating_sub(deleted(f));
    // Ids begin anew after an overwrite: files tell fragments apart.
    let same = |a: &Fragment, b: &Fragment| a.id == b.id && a.files == b.files;
    let (old, new) = (&before.manifest().fragments, &after.manifest().fragments);
    let (mut added, mut removed) = (0, 0);
    for fragment in new.iter() {
        match old.iter().find(|f| same(f, fragment)) {
            Some(was) => removed += deleted(fragment).saturating_sub(deleted(was)),
            None => added += live(fragment),
        }
    }
    let gone = old.iter().filter(|was| !new.iter().any(|f| same(was, f)));
    removed += gone.map(live).sum::<u64>();
    (added, removed)
}

/// In what the columns of `head` are not the declared ones; `None` when they are.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn misfit(table: &Table, declared: &TypeDef, head: u64) -> Result<Option<String>> {
    let found = table.at(head).await?;
    Ok(columns_differ(declared, &ArrowSchema::from(found.schema())))
}

/// Whether a table with this schema has the declared columns.
pub(crate) fn fits(declared: &TypeDef, found: &Schema) -> bool {
    columns_differ(declared, &ArrowSchema::from(found)).is_none()
}

/// In what columns are not the declared ones. What else a schema holds, such as metadata, does not matter.
fn columns_differ(declared: &TypeDef, found: &ArrowSchema) -> Option<String> {
    for property in &declared.properties {
        let name = &property.name;
        match found.field_with_name(name) {
            Err(_) => return Some(format!("column `{name}` is gone")),
            Ok(now)
                if PropertyType::from_arrow(now.data_type()) != Ok(property.data_type.clone()) =>
            {
                return Some(format!("column `{name}` is {} now", now.data_type()));
            }
            Ok(now) if now.is_nullable() && property.required => {
                return Some(format!("column `{name}` may be null now"));
            }
            Ok(_) => {}
        }
    }
    let mut names = found.fields().iter().map(|f| f.name());
    let new = names.find(|name| declared.property(name).is_none());
    new.map(|name| format!("column `{name}` is not declared"))
}

/// A table that is open at the version to stage at.
#[derive(Debug)]
pub(crate) struct ToStage {
    pub(crate) dataset: Dataset,
    /// The version: the head, unless its drift forbids it.
    pub(crate) base: u64,
}

/// Opens a table at the version to stage at. That another program pruned the pin does not matter, as long as what came
/// after it can be judged.
///
/// # Errors
/// [`Error::Drift`] for semantic drift, unless the policy is to adopt it and the columns are the declared ones;
/// [`Error::SnapshotGone`] when neither the pin nor anything after it is there.
pub(crate) async fn open_to_stage(
    table: &Table,
    pin: u64,
    declared: &TypeDef,
    params: impl Fn() -> ObjectStoreParams,
) -> Result<ToStage> {
    let pinned = table.if_there_with(pin, params()).await?;
    let head = match &pinned {
        Some(dataset) => table.head_of(dataset).await?,
        None => table.head().await?,
    };
    if head <= pin {
        let dataset = pinned.ok_or_else(|| table.snapshot_gone(pin))?;
        return Ok(ToStage { dataset, base: pin });
    }
    stage_at(table, pin, head, declared).await?;
    let dataset = table.open(head, params(), None).await;
    let dataset = dataset.map_err(|e| table.failed("opening", e))?;
    Ok(ToStage {
        dataset,
        base: head,
    })
}

/// Whether the head may be staged at, past the pin.
async fn stage_at(table: &Table, pin: u64, head: u64, declared: &TypeDef) -> Result<()> {
    let versions = history(table, pin, head).await?;
    let Some(first) = versions.iter().find(|v| !v.benign) else {
        tracing::info!(table = %table.key, pin, head, uri = %table.storage.uri, "benign drift is published along");
        return Ok(());
    };
    let mut what = first.operation.clone();
    if table.drift == DriftPolicy::Adopt {
        match misfit(table, declared, head).await? {
            None => {
                let adopted = versions.iter().filter(|v| !v.benign).count();
                tracing::warn!(table = %table.key, pin, head, adopted, what, uri = %table.storage.uri, "versions that another program made are published along");
                return Ok(());
            }
            Some(misfit) => what = format!("{what}; {misfit}"),
        }
    }
    Err(Error::Drift {
        table: table.key.clone(),
        pin,
        head,
        what,
        uri: table.storage.uri.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::schema::Property;

    #[test]
    fn columns_fit_in_any_order_with_any_metadata_and_only_with_their_types() {
        let text = |required: bool| Field::new("a", DataType::Utf8, !required);
        let day = Field::new("b", DataType::Int32, true);
        let of = |fields: Vec<Field>| ArrowSchema::new(fields);
        let property = |field: &Field| Property {
            name: field.name().clone(),
            data_type: PropertyType::from_arrow(field.data_type()).unwrap(),
            required: !field.is_nullable(),
            renamed_from: None,
        };
        let declared = TypeDef {
            properties: vec![property(&text(true)), property(&day)],
            ..TypeDef::default()
        };
        let differ = |fields| columns_differ(&declared, &of(fields));
        assert_eq!(differ(vec![day.clone(), text(true)]), None);
        let note = HashMap::from([("owner".to_owned(), "ada".to_owned())]);
        let noted = day.clone().with_metadata(note);
        assert_eq!(differ(vec![text(true), noted]), None);
        for (fields, says) in [
            (vec![text(true)], "column `b` is gone"),
            (vec![text(false), day.clone()], "column `a` may be null now"),
            (
                vec![text(true), Field::new("b", DataType::Int64, true)],
                "column `b` is Int64 now",
            ),
            (
                vec![text(true), day, Field::new("c", DataType::Utf8, true)],
                "column `c` is not declared",
            ),
        ] {
            assert_eq!(differ(fields).as_deref(), Some(says));
        }
    }

    #[test]
    fn a_policy_reads_back_as_it_is_written() {
        for policy in [DriftPolicy::Error, DriftPolicy::Adopt] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert!(
            "ignore"
                .parse::<DriftPolicy>()
                .unwrap_err()
                .contains("adopt")
        );
    }
}
