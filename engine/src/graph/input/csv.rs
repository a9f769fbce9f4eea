//! Delimited text.
//!
//! Fields are read as text and converted afterwards, by the one set of rules that every input obeys: so
//! an error names column, line and value, and `517.0` is an integer while `517.5` is none.

use std::{
    fmt::Display,
    fs::File,
    io::{BufReader, Seek},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    csv::reader::{BufReader as Records, Format as Dialect, ReaderBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatchReader,
};

use super::{
    Input, InputError, Place,
    conform::names,
    lines::{Layout, line_of_row},
};

/// Reads the records of a CSV file as nullable text.
pub(super) struct CsvReader {
    path: PathBuf,
    delimiter: u8,
    schema: SchemaRef,
    records: Records<BufReader<File>>,
    rows: u64,
}

impl CsvReader {
    pub(super) fn open(
        input: &Input,
        mut file: File,
        target: &SchemaRef,
    ) -> Result<Self, InputError> {
        let path = input.path.clone();
        let delimiter = input.delimiter();
        let io = |source| InputError::Io {
            path: path.clone(),
            source,
        };
        let origin = || path.display().to_string();
        let (header, _) = Dialect::default()
            .with_header(true)
            .with_delimiter(delimiter)
            .infer_schema(&file, Some(0))
            .map_err(|e| InputError::Unreadable {
                origin: origin(),
                place: Some(Place::Line(1)),
                detail: format!("the header cannot be read: {e}"),
            })?;
        file.rewind().map_err(io)?;
        if header
            .fields()
            .iter()
            .all(|field| target.fields().find(field.name()).is_none())
        {
            return Err(InputError::NoHeader {
                origin: origin(),
                found: names(header.fields()),
                known: names(target.fields()),
            });
        }
        let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
        let schema: SchemaRef = Arc::new(Schema::new(
            header.fields().iter().map(text).collect::<Vec<_>>(),
        ));
        let nulls = null_pattern(&input.csv.null_markers);
        let records = ReaderBuilder::new(Arc::clone(&schema))
            .with_header(true)
            .with_delimiter(delimiter)
            .with_batch_size(input.batch_rows.max(1))
            .with_null_regex(parse(&nulls).map_err(|detail| InputError::BadNullMarkers { detail })?)
            .build_buffered(BufReader::new(file))
            .map_err(|source| InputError::Arrow {
                origin: origin(),
                source,
            })?;
        Ok(Self {
            path,
            delimiter,
            schema,
            records,
            rows: 0,
        })
    }

    /// The error for the batch that could not be read. Records are read again one by one, since only
    /// then the number of the first bad one is known.
    fn locate(&self, error: ArrowError) -> InputError {
        let good = usize::try_from(self.rows).unwrap_or(usize::MAX - 1);
        let one_by_one = File::open(&self.path)
            .map_err(ArrowError::from)
            .and_then(|file| {
                ReaderBuilder::new(Arc::clone(&self.schema))
                    .with_header(true)
                    .with_delimiter(self.delimiter)
                    .with_batch_size(1)
                    .with_bounds(good, usize::MAX - 1)
                    .build_buffered(BufReader::new(file))
            });
        let row = one_by_one.map_or(self.rows, |records| {
            self.rows + records.take_while(Result::is_ok).count() as u64
        }) + 1;
        let layout = Layout::Csv {
            delimiter: self.delimiter,
        };
        let line = line_of_row(&self.path, layout, row).ok().flatten();
        let detail = match error {
            ArrowError::CsvError(detail) => detail,
            other => other.to_string(),
        };
        InputError::Unreadable {
            origin: self.path.display().to_string(),
            place: Some(line.map_or(Place::Row(row), Place::Line)),
            // Arrow counts records, the header as the first, where this error counts lines.
            detail: detail.replace(&format!(" for line {}", row + 1), ""),
        }
    }
}

impl Iterator for CsvReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.records.next()?;
        Some(match next {
            Ok(batch) => {
                self.rows += batch.num_rows() as u64;
                Ok(batch)
            }
            Err(error) => Err(self.locate(error).into()),
        })
    }
}

impl RecordBatchReader for CsvReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A pattern that matches each of `markers` and nothing else. Every character is written by its
/// number, so that none has a meaning of its own.
fn null_pattern(markers: &[String]) -> String {
    let literal = |marker: &String| {
        marker
            .chars()
            .map(|c| format!(r"\x{{{:x}}}", u32::from(c)))
            .collect::<String>()
    };
    match markers {
        // An empty class, which nothing matches.
        [] => r"[^\s\S]".to_owned(),
        _ => format!(
            r"\A(?:{})\z",
            markers.iter().map(literal).collect::<Vec<_>>().join("|")
        ),
    }
}

/// Parses the type that the caller needs; Arrow takes a pattern of a type it does not export.
fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
