//! The nycflights13 data: real flights, cut into the batches that a writer would load.

use std::{fs::File, path::Path};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::Int64Type,
    error::ArrowError,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Reads a whole Parquet file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<RecordBatch, ArrowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    let schema = arrow::record_batch::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    concat_batches(&schema, &batches)
}

/// One day of flights.
#[derive(Clone, Debug)]
pub struct Day {
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// Its flights.
    pub flights: RecordBatch,
}

/// Cuts flights, which are ordered by date, into days.
///
/// # Errors
/// When a column is missing or of another type.
pub fn days(flights: &RecordBatch) -> Result<Vec<Day>, ArrowError> {
    let column = |name: &str| {
        let column = flights.column_by_name(name);
        let numbers = column.and_then(|c| c.as_primitive_opt::<Int64Type>());
        numbers.ok_or_else(|| ArrowError::SchemaError(format!("no int64 column {name}")))
    };
    let (months, days) = (column("month")?, column("day")?);
    let date = |row: usize| (months.value(row), days.value(row));
    let mut cut = Vec::new();
    let mut start = 0;
    for row in 1..=flights.num_rows() {
        if row == flights.num_rows() || date(row) != date(start) {
            let (month, day) = date(start);
            cut.push(Day {
                month,
                day,
                flights: flights.slice(start, row - start),
            });
            start = row;
        }
    }
    Ok(cut)
}

/// Cuts rows into `parts` of about the same size; fewer when there are fewer rows.
pub fn parts(rows: &RecordBatch, parts: usize) -> Vec<RecordBatch> {
    let size = rows.num_rows().div_ceil(parts.max(1)).max(1);
    (0..rows.num_rows())
        .step_by(size)
        .map(|start| rows.slice(start, size.min(rows.num_rows() - start)))
        .collect()
}
