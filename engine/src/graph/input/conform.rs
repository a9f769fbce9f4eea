//! Fitting batches to the schema of a table.

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Fields, Schema, SchemaRef},
};

use super::{
    InputError, Place,
    cast::{Fault, Misfit, castable, element, fit_columns, is_text},
    error::shorten,
};

/// How alike two names must be, from 0 to 1, for one to be proposed for the other.
const ALIKE: f64 = 0.6;

/// Fits a batch to the schema of a table: columns in the table's order and of its types.
///
/// Columns are matched by their exact names, in any order. A nullable column that the batch does not
/// have is filled with nulls. Values are converted where their meaning survives, and checked:
/// - integers to any integer type that holds them, and to floats that hold them exactly;
/// - floats without a fraction to integers; wide floats to narrow ones, rounded, unless they overflow;
/// - decimals to decimals and integers that hold them exactly, and to floats, rounded;
/// - text to dates, times and timestamps, in ISO 8601; nothing finer than the table's unit is dropped;
/// - dates and timestamps to any unit that holds them exactly; time without a zone counts as UTC;
/// - text, binary and lists to the same in another layout, dictionaries to plain values;
/// - lists to vectors, when every list has the vector's length.
///
/// `origin` names the batch in errors, and `first_row` is how many rows came before it.
///
/// # Errors
/// [`InputError::UnknownColumn`], [`InputError::MissingColumn`], [`InputError::DuplicateColumn`] and
/// [`InputError::WrongType`] for columns; [`InputError::BadValue`] and [`InputError::MissingValue`] for
/// values, with the row; [`InputError::Arrow`].
pub fn conform(
    batch: &RecordBatch,
    target: &SchemaRef,
    origin: &str,
    first_row: u64,
) -> Result<RecordBatch, InputError> {
    check(batch.schema_ref(), target, origin, false)?;
    fit_batch(batch, target, origin, first_row)
}

/// Checks the columns of an input, without any values, against a table. `written`: the input is text by
/// nature.
pub(super) fn check(
    found: &Schema,
    target: &Schema,
    origin: &str,
    written: bool,
) -> Result<(), InputError> {
    Check { origin, written }.fields(found.fields(), target.fields(), "")
}

/// [`conform`] without the check.
pub(super) fn fit_batch(
    batch: &RecordBatch,
    target: &SchemaRef,
    origin: &str,
    first_row: u64,
) -> Result<RecordBatch, InputError> {
    let rows = batch.num_rows();
    let located = |Misfit { row, column, fault }| {
        let origin = origin.to_owned();
        let place = Place::Row(first_row + row as u64 + 1);
        match fault {
            Fault::Null => InputError::MissingValue {
                origin,
                place,
                column,
            },
            Fault::Value {
                value,
                expected,
                why,
            } => {
                let why = why.words(&expected);
                InputError::BadValue {
                    origin,
                    place,
                    column,
                    value,
                    why,
                }
            }
            Fault::Kernel(source) => InputError::Arrow { origin, source },
        }
    };
    let columns = fit_columns(
        batch.schema_ref().fields(),
        batch.columns(),
        rows,
        None,
        target.fields(),
    )
    .map_err(located)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(target), columns, &options).map_err(
        |source| InputError::Arrow {
            origin: origin.to_owned(),
            source,
        },
    )
}

/// The names of `fields` in words: as many as a person reads.
pub(super) fn names(fields: &Fields) -> String {
    const SHOWN: usize = 50;
    let shown = fields.iter().take(SHOWN);
    let mut names: Vec<_> = shown.map(|field| shorten(field.name().clone())).collect();
    if let Some(more) = fields.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// The error for a column that `target` does not have.
pub(super) fn unknown_column(
    origin: &str,
    place: Option<Place>,
    column: &str,
    target: &Fields,
) -> InputError {
    let wanted = column.rsplit('.').next().unwrap_or(column).to_lowercase();
    let nearest = target
        .iter()
        .map(|field| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, &field.name().to_lowercase()),
                field.name(),
            )
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone());
    InputError::UnknownColumn {
        origin: origin.to_owned(),
        place,
        column: column.to_owned(),
        nearest,
        known: names(target),
    }
}

struct Check<'a> {
    origin: &'a str,
    written: bool,
}

impl Check<'_> {
    fn fields(&self, found: &Fields, target: &Fields, outer: &str) -> Result<(), InputError> {
        let path = |name: &str| {
            if outer.is_empty() {
                name.to_owned()
            } else {
                format!("{outer}.{name}")
            }
        };
        let origin = || self.origin.to_owned();
        for (at, field) in found.iter().enumerate() {
            let column = path(field.name());
            if found
                .iter()
                .take(at)
                .any(|earlier| earlier.name() == field.name())
            {
                return Err(InputError::DuplicateColumn {
                    origin: origin(),
                    column,
                });
            }
            let Some((_, to)) = target.find(field.name()) else {
                return Err(unknown_column(self.origin, None, &column, target));
            };
            self.types(field.data_type(), to.data_type(), &column)?;
        }
        match target
            .iter()
            .find(|to| !to.is_nullable() && found.find(to.name()).is_none())
        {
            Some(to) => Err(InputError::MissingColumn {
                origin: origin(),
                column: path(to.name()),
                expected: to.data_type().clone(),
            }),
            None => Ok(()),
        }
    }

    fn types(&self, found: &DataType, expected: &DataType, column: &str) -> Result<(), InputError> {
        let sizes = match (found, expected) {
            (DataType::FixedSizeList(_, found), DataType::FixedSizeList(_, expected)) => {
                found == expected
            }
            _ => true,
        };
        match (found, expected) {
            (DataType::Struct(found), DataType::Struct(expected)) => {
                return self.fields(found, expected, column);
            }
            (DataType::Dictionary(_, plain), _) => return self.types(plain, expected, column),
            (
                found,
                DataType::List(to) | DataType::LargeList(to) | DataType::FixedSizeList(to, _),
            ) if sizes => {
                if let Some(from) = element(found) {
                    return self.types(from.data_type(), to.data_type(), column);
                }
            }
            _ => {}
        }
        if castable(found, expected, self.written) {
            return Ok(());
        }
        Err(InputError::WrongType {
            origin: self.origin.to_owned(),
            column: column.to_owned(),
            found: found.clone(),
            expected: expected.clone(),
            fix: self.fix(found, expected),
        })
    }

    /// What to do about a type that cannot be converted.
    fn fix(&self, found: &DataType, expected: &DataType) -> String {
        match (found, expected) {
            (DataType::Timestamp(..), DataType::Timestamp(..)) => {
                "convert the times to UTC".to_owned()
            }
            (DataType::FixedSizeList(..), DataType::FixedSizeList(_, size)) => {
                format!("only vectors of {size} elements fit")
            }
            (found, _) if self.written && is_text(found) => {
                "a field of text cannot hold it, use Parquet or JSON Lines".to_owned()
            }
            _ => format!("convert it to {expected} in the input, or change the column's type"),
        }
    }
}

#[cfg(test)]
mod tests;
