//! Plain Lance tables in a folder, written by Lance alone: what programs do that know nothing of Squire.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use lance::{
    Dataset, Result,
    dataset::{InsertBuilder, WriteMode, WriteParams},
    index::DatasetIndexExt,
};
use lance_index::{IndexType, scalar::ScalarIndexParams};

/// Rows with the ids `from..from + rows`, and a text each.
pub fn rows(from: i64, rows: i64) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]);
    let ids = from..from + rows;
    let text = StringArray::from_iter_values(ids.clone().map(|id| format!("text of {id}")));
    let columns = vec![
        Arc::new(Int64Array::from_iter_values(ids)) as _,
        Arc::new(text) as _,
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

/// Appends rows to a table of a folder as one more fragment; the table is made when it is not there.
///
/// # Errors
/// Lance's.
pub async fn append(root: &Path, table: &str, batch: RecordBatch) -> Result<Dataset> {
    let uri = uri(root, table);
    let params = WriteParams {
        mode: if Path::new(&uri).is_dir() {
            WriteMode::Append
        } else {
            WriteMode::Create
        },
        ..WriteParams::default()
    };
    InsertBuilder::new(uri.as_str())
        .with_params(&params)
        .execute(vec![batch])
        .await
}

/// The same, where the table's folder is there already, with or without a table in it.
///
/// # Errors
/// Lance's.
pub async fn fill(root: &Path, table: &str, batch: RecordBatch) -> Result<Dataset> {
    let there = root.join(format!("{table}.lance/_versions")).is_dir();
    let params = WriteParams {
        mode: if there {
            WriteMode::Append
        } else {
            WriteMode::Create
        },
        ..WriteParams::default()
    };
    InsertBuilder::new(uri(root, table).as_str())
        .with_params(&params)
        .execute(vec![batch])
        .await
}

/// Opens a table of a folder.
///
/// # Errors
/// Lance's.
pub async fn open(root: &Path, table: &str) -> Result<Dataset> {
    Dataset::open(&uri(root, table)).await
}

/// Builds an index on the ids of a table.
///
/// # Errors
/// Lance's.
pub async fn index_ids(root: &Path, table: &str) -> Result<()> {
    let mut dataset = open(root, table).await?;
    let params = ScalarIndexParams::default();
    dataset
        .create_index(&["id"], IndexType::BTree, None, &params, true)
        .await?;
    Ok(())
}

fn uri(root: &Path, table: &str) -> String {
    root.join(format!("{table}.lance")).display().to_string()
}
