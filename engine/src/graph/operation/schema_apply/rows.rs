//! What the rows of a table allow: whether every row has a value, and whether keys distinguish rows.

use std::collections::HashSet;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    error::ArrowError,
    row::{RowConverter, SortField},
    util::display::array_value_to_string,
};
use futures::TryStreamExt;
use lance::Dataset;

use super::evolve::Evolution;
use crate::error::{Error, Result, obstacle::Obstacle};
use crate::table::Table;

/// Looks for a row that the evolution does not allow; reads the columns in question, and keeps the keys in memory.
///
/// # Errors
/// Lance's, when the table cannot be read.
pub(crate) async fn obstacle(
    table: &Table,
    dataset: &Dataset,
    evolution: &Evolution,
) -> Result<Option<Obstacle>> {
    if !evolution.depends_on_rows() {
        return Ok(None);
    }
    let failed = |e| table.failed("reading the rows of", e);
    let mut looks = Vec::new();
    // A key has a value in every row, too.
    for name in evolution.required.iter().chain(&evolution.key) {
        let column = evolution.columns.iter().find(|c| c.field.name == *name);
        let was = column.and_then(|c| c.was.as_ref());
        match was {
            Some(was) if !looks.iter().any(|(new, _, _)| new == name) => {
                looks.push((name.clone(), was.name.clone(), 0_u64));
            }
            Some(_) => {}
            // The column is new, so no row has a value.
            None => {
                let rows = dataset.count_rows(None).await.map_err(failed)? as u64;
                if rows > 0 {
                    let property = name.clone();
                    return Ok(Some(Obstacle::MissingValues { property, rows }));
                }
            }
        }
    }
    let read: Vec<_> = looks.iter().map(|(_, was, _)| was.as_str()).collect();
    if read.is_empty() {
        return Ok(None);
    }
    let in_table = |new: &String| looks.iter().find(|(name, _, _)| name == new);
    let key = evolution.key.iter().filter_map(in_table);
    let key: Vec<_> = key.map(|(_, was, _)| was.clone()).collect();
    let mut scan = dataset.scan();
    scan.project(&read).map_err(failed)?;
    let mut batches = scan.try_into_stream().await.map_err(failed)?;
    let mut keys = Keys::default();
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        for (_, was, missing) in &mut looks {
            let nulls = batch.column_by_name(was).map_or(0, |c| c.null_count());
            *missing += nulls as u64;
        }
        keys.add(&batch, &key).map_err(|e| failed(e.into()))?;
    }
    if let Some((property, _, rows)) = looks.into_iter().find(|(_, _, missing)| *missing > 0) {
        return Ok(Some(Obstacle::MissingValues { property, rows }));
    }
    Ok(keys.repeated.map(|example| Obstacle::RepeatedKeys {
        key: evolution.key.clone(),
        rows: keys.rows,
        example,
    }))
}

/// The error of an operation that the rows do not allow.
pub(crate) fn forbidden(table: &Table, obstacle: Obstacle) -> Error {
    Error::RowsForbid {
        table: table.key.clone(),
        obstacle,
        uri: table.storage.uri.clone(),
    }
}

/// The keys seen so far, in Arrow's row format.
#[derive(Default)]
struct Keys {
    seen: HashSet<Box<[u8]>>,
    converter: Option<RowConverter>,
    /// Rows whose key was there before, and the first of those keys.
    rows: u64,
    repeated: Option<String>,
}

impl Keys {
    fn add(&mut self, batch: &RecordBatch, key: &[String]) -> Result<(), ArrowError> {
        if key.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = key
            .iter()
            .filter_map(|name| batch.column_by_name(name).cloned())
            .collect();
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => {
                let fields = columns
                    .iter()
                    .map(|c| SortField::new(c.data_type().clone()));
                none.insert(RowConverter::new(fields.collect())?)
            }
        };
        let rows = converter.convert_columns(&columns)?;
        for (at, row) in rows.iter().enumerate() {
            if !self.seen.insert(row.as_ref().into()) {
                self.rows += 1;
                if self.repeated.is_none() {
                    self.repeated = Some(shown(&columns, at)?);
                }
            }
        }
        Ok(())
    }
}

fn shown(columns: &[ArrayRef], row: usize) -> Result<String, ArrowError> {
    let values = columns.iter().map(|c| array_value_to_string(c, row));
    Ok(format!(
        "({})",
        values.collect::<Result<Vec<_>, _>>()?.join(", ")
    ))
}
