//! Drift: versions past the pin that no ticket explains, classified by their Lance transactions.

use arrow::datatypes::Schema as ArrowSchema;
use lance::{Dataset, dataset::transaction::Operation};
use lance_table::format::Fragment;

use super::Table;
pub use super::drift_policy::DriftPolicy;
use crate::error::{Error, Result};

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

/// What programs that know nothing of Squire did to a table past its pin: the versions in `(pin, head]`, in order.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn history(table: &Table, pin: u64, head: u64) -> Result<Vec<DriftVersion>> {
    let mut before = None;
    let mut versions = Vec::new();
    for version in pin + 1..=head {
        let dataset = match table.open(version, table.storage.params(), None).await {
            Ok(dataset) => Some(dataset),
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => None,
            Err(e) => return Err(table.failed("opening", e)),
        };
        let operation = match &dataset {
            None => None,
            Some(dataset) => dataset
                .read_transaction()
                .await
                .map_err(|e| table.failed("reading the history of", e))?
                .map(|t| t.operation),
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
        versions.push(DriftVersion {
            version,
            operation: operation.map_or_else(|| "unknown".to_owned(), |o| o.name().to_owned()),
            benign,
            rows_added,
            rows_removed,
        });
        before = dataset;
    }
    Ok(versions)
}

/// Whether the operation only reorganises.
fn is_benign(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Rewrite { .. }
            | Operation::ReserveFragments { .. }
            | Operation::CreateIndex { .. }
    )
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

/// In what the columns of `head` are not those of the pin, which are the declared ones; `None` when they are.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn misfit(table: &Table, pin: u64, head: u64) -> Result<Option<String>> {
    let (declared, found) = (table.at(pin).await?, table.at(head).await?);
    Ok(columns_differ(
        &ArrowSchema::from(declared.schema()),
        &ArrowSchema::from(found.schema()),
    ))
}

fn columns_differ(declared: &ArrowSchema, found: &ArrowSchema) -> Option<String> {
    for field in declared.fields() {
        let name = field.name();
        match found.field_with_name(name) {
            Err(_) => return Some(format!("column `{name}` is gone")),
            Ok(now) if now.data_type() != field.data_type() => {
                return Some(format!("column `{name}` is {} now", now.data_type()));
            }
            Ok(now) if now.is_nullable() && !field.is_nullable() => {
                return Some(format!("column `{name}` may be null now"));
            }
            Ok(_) => {}
        }
    }
    let new = found
        .fields()
        .iter()
        .find(|f| declared.field_with_name(f.name()).is_err());
    new.map(|f| format!("column `{}` is not declared", f.name()))
}

/// The version to stage at: the head, unless its drift forbids it.
///
/// # Errors
/// [`Error::Drift`] for semantic drift, unless the policy is to adopt it and the columns are the declared ones.
pub(crate) async fn stage_at(table: &Table, pin: u64, head: u64) -> Result<u64> {
    if head <= pin {
        return Ok(pin);
    }
    let versions = history(table, pin, head).await?;
    let Some(first) = versions.iter().find(|v| !v.benign) else {
        tracing::info!(table = %table.key, pin, head, uri = %table.storage.uri, "benign drift is published along");
        return Ok(head);
    };
    let mut what = first.operation.clone();
    if table.drift == DriftPolicy::Adopt {
        match misfit(table, pin, head).await? {
            None => {
                let adopted = versions.iter().filter(|v| !v.benign).count();
                tracing::warn!(table = %table.key, pin, head, adopted, what, uri = %table.storage.uri, "versions that another program made are published along");
                return Ok(head);
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
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn columns_fit_in_any_order_and_only_with_their_types() {
        let text = |required: bool| Field::new("a", DataType::Utf8, !required);
        let day = Field::new("b", DataType::Int32, true);
        let of = |fields: Vec<Field>| ArrowSchema::new(fields);
        let declared = of(vec![text(true), day.clone()]);
        let differ = |fields| columns_differ(&declared, &of(fields));
        assert_eq!(differ(vec![day.clone(), text(true)]), None);
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
