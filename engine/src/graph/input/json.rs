//! JSON Lines: one object per line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    json::reader::{Decoder, ReaderBuilder},
    record_batch::RecordBatchReader,
};
use serde_json::Value;

use super::{
    InputError, Place,
    cast::{MAX_DIGITS, has_huge_exponent, through_decimal},
    conform::unknown_column,
    error::shorten,
};

/// A batch ends when it holds this many bytes of text, however few rows that are.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// The longest line, in bytes: a file without line breaks must not end up in memory as a whole.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Reads JSON Lines with the types of a table, as far as Arrow reads them without loss; see [`draft`].
pub(super) struct JsonReader {
    path: PathBuf,
    source: BufReader<File>,
    target: SchemaRef,
    draft: SchemaRef,
    decoder: Decoder,
    batch_rows: usize,
    /// The lines of the current batch.
    text: Vec<u8>,
    /// How many lines have been read.
    lines: u64,
}

impl JsonReader {
    pub(super) fn open(
        path: &Path,
        file: File,
        target: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self, InputError> {
        let draft: SchemaRef = Arc::new(Schema::new(
            target.fields().iter().map(draft).collect::<Vec<_>>(),
        ));
        let arrow = |source| InputError::Arrow {
            origin: path.display().to_string(),
            source,
        };
        Ok(Self {
            path: path.to_owned(),
            source: BufReader::new(file),
            target: Arc::clone(target),
            decoder: decoder(&draft, batch_rows).map_err(arrow)?,
            draft,
            batch_rows,
            text: Vec::new(),
            lines: 0,
        })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, InputError> {
        self.text.clear();
        let before = self.lines;
        while self.decoder.len() < self.batch_rows && self.text.len() < MAX_BATCH_BYTES {
            let start = self.text.len();
            let length = (&mut self.source)
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut self.text)
                .map_err(|source| InputError::Io {
                    path: self.path.clone(),
                    source,
                })?;
            if length == 0 {
                break;
            }
            self.lines += 1;
            let line = &self.text[start..];
            if length as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") {
                let limit = MAX_LINE_BYTES >> 20;
                return Err(self.unreadable(
                    self.lines,
                    format!("the line is longer than {limit} MiB; write one object per line"),
                ));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Some(error) = self.oversized(self.lines, line) {
                return Err(error);
            }
            let rows = self.decoder.len();
            let read = self.decoder.decode(line);
            let whole = !self.decoder.has_partial_record() && self.decoder.len() == rows + 1;
            match read {
                Ok(read) if whole && read == length => {}
                Ok(_) => {
                    return Err(self.explain(
                        self.lines,
                        line,
                        "it is not one whole JSON object; write one object per line",
                    ));
                }
                Err(error) => return Err(self.explain(self.lines, line, &message(error))),
            }
        }
        self.decoder
            .flush()
            .map_err(|error| self.locate(before, error))
    }

    /// Finds the line of a batch, whose first line follows line `before`, that cannot be decoded.
    fn locate(&self, before: u64, error: ArrowError) -> InputError {
        let lines = self.text.split_inclusive(|byte| *byte == b'\n');
        let bad = lines.zip(before + 1..).find_map(|(line, number)| {
            let error = self.decode_alone(&self.draft, line).err()?;
            Some(self.explain(number, line, &message(error)))
        });
        bad.unwrap_or_else(|| InputError::Arrow {
            origin: self.origin(),
            source: error,
        })
    }

    fn decode_alone(&self, schema: &SchemaRef, line: &[u8]) -> Result<(), ArrowError> {
        let mut decoder = decoder(schema, 1)?;
        decoder.decode(line)?;
        decoder.flush().map(|_| ())
    }

    /// The error for a line that was refused for the reason `why`.
    fn explain(&self, number: u64, line: &[u8], why: &str) -> InputError {
        let object = match serde_json::from_slice(line) {
            Ok(Value::Object(object)) => object,
            Ok(Value::Array(_)) => {
                return self.unreadable(
                    number,
                    "it is a JSON array; write one object per line".to_owned(),
                );
            }
            Ok(other) => {
                return self.unreadable(
                    number,
                    format!("`{}` is no JSON object", shorten(other.to_string())),
                );
            }
            Err(error) if error.is_eof() => {
                return self.unreadable(
                    number,
                    "the object does not end on its line; write one whole object per line"
                        .to_owned(),
                );
            }
            // The place that the parser adds is within this one line.
            Err(error) => {
                let detail = error.to_string().replace(" at line 1", "");
                return self.unreadable(number, format!("it is no valid JSON: {detail}"));
            }
        };
        let place = Place::Line(number);
        for (column, value) in object {
            let Some((_, field)) = self.draft.fields().find(&column) else {
                return unknown_column(&self.origin(), Some(place), &column, self.target.fields());
            };
            let alone: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(field)]));
            let shown = shorten(value.to_string());
            let one = Value::Object([(column.clone(), value)].into_iter().collect()).to_string();
            if let Err(error) = self.decode_alone(&alone, one.as_bytes()) {
                return self.bad_value(place, column, shown, &message(error));
            }
        }
        self.unreadable(number, why.to_owned())
    }

    /// The error for a number of more digits than any type holds, or with such an exponent. It must not reach Arrow's
    /// decimal parser, which counts digits in a byte. Nearly every line is passed by a look at its bytes.
    fn oversized(&self, number: u64, line: &[u8]) -> Option<InputError> {
        let mut digits = line.split(|byte| !byte.is_ascii_digit());
        if !digits.any(|digits| digits.len() > MAX_DIGITS) && !has_huge_exponent(line) {
            return None;
        }
        let tiny = has_huge_exponent(&unquoted(line));
        let Ok(Value::Object(object)) = serde_json::from_slice(line) else {
            return Some(self.explain(number, line, "it is no JSON object"));
        };
        object.into_iter().find_map(|(column, value)| {
            let (_, field) = self.draft.fields().find(&column)?;
            let counted = field.data_type().is_decimal() || field.data_type().is_nested();
            (counted && is_long(&value, tiny)).then(|| {
                let shown = shorten(value.to_string());
                self.bad_value(
                    Place::Line(number),
                    column,
                    shown,
                    "a number has too many digits, or an exponent that is too large",
                )
            })
        })
    }

    fn bad_value(&self, place: Place, column: String, value: String, why: &str) -> InputError {
        let expected = self
            .target
            .fields()
            .find(&column)
            .map_or(DataType::Null, |(_, to)| to.data_type().clone());
        let why = match &expected {
            // The reason names a part of the value.
            nested if nested.is_nested() => format!("is no valid {nested}: {why}"),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                format!("is no {expected}: write it as text, in ISO 8601")
            }
            plain => format!("is no valid {plain}"),
        };
        InputError::BadValue {
            origin: self.origin(),
            place,
            column,
            value,
            why,
        }
    }

    fn unreadable(&self, line: u64, detail: String) -> InputError {
        InputError::Unreadable {
            origin: self.origin(),
            place: Some(Place::Line(line)),
            detail,
        }
    }

    fn origin(&self) -> String {
        self.path.display().to_string()
    }
}

impl Iterator for JsonReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(ArrowError::from).transpose()
    }
}

impl RecordBatchReader for JsonReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.draft)
    }
}

fn decoder(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::clone(schema))
        .with_strict_mode(true)
        .with_batch_size(rows)
        .build_decoder()
}

/// The field to read with, so that nothing is lost before it can be checked. Arrow reads `1.5` into an
/// integer column as 1, drops what a timestamp's unit does not hold, and takes a plain number for a time
/// in that unit, whatever it was meant in. So numbers are read wider than needed, and times as text.
/// Everything is nullable here, for the nulls to be found later, together with their place.
fn draft(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        draft_type(field.data_type()),
        true,
    ))
}

fn draft_type(of: &DataType) -> DataType {
    use DataType::{
        Date32, Date64, Dictionary, FixedSizeList, Float16, Float32, Float64, LargeList, List,
        Struct, Time32, Time64, Timestamp, Utf8,
    };
    match of {
        Float16 | Float32 => Float64,
        Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) => Utf8,
        Dictionary(_, plain) => draft_type(plain),
        List(element) => List(draft(element)),
        LargeList(element) => LargeList(draft(element)),
        // A list of any length, for a wrong one to be found together with its row.
        FixedSizeList(element, _) => List(draft(element)),
        Struct(fields) => Struct(fields.iter().map(draft).collect()),
        other => through_decimal(other).unwrap_or_else(|| other.clone()),
    }
}

/// A line without what is in quotes.
fn unquoted(line: &[u8]) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let mut is_outside = |byte: &u8| {
        let ends = *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        let outside = !quoted && !ends;
        quoted ^= ends;
        outside
    };
    line.iter()
        .copied()
        .filter(|byte| is_outside(byte))
        .collect()
}

/// Whether a value holds a number, or a text that may be one, of more than [`MAX_DIGITS`] digits, or with a huge
/// exponent. `tiny` says that the line has such a number, which can be read as zero.
fn is_long(value: &Value, tiny: bool) -> bool {
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_none_or(|number| number.abs() >= 1e100 || (tiny && number == 0.0)),
        Value::String(text) => text.len() > MAX_DIGITS || has_huge_exponent(text.as_bytes()),
        Value::Array(values) => values.iter().any(|value| is_long(value, tiny)),
        Value::Object(values) => values.values().any(|value| is_long(value, tiny)),
        Value::Null | Value::Bool(_) => false,
    }
}

fn message(error: ArrowError) -> String {
    match error {
        ArrowError::JsonError(message) | ArrowError::ParseError(message) => message,
        other => other.to_string(),
    }
}
