//! Conversion of values: only where the meaning survives, and every value checked.
//!
//! Arrow's kernels do the work in their *safe* mode, in which a value that cannot be converted becomes
//! null. A null that was none before is thus a misfit, and its index gives the row; the strict mode
//! would report only that there is one.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, FixedSizeListArray, Float64Array,
        GenericListArray, OffsetSizeTrait, Scalar, StructArray, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{
        CastOptions, cast_with_options,
        kernels::{cast_utils::parse_decimal, cmp, numeric},
        nullif,
    },
    datatypes::{DataType, Decimal128Type, FieldRef, Fields, Float32Type, Float64Type, TimeUnit},
    error::ArrowError,
    util::display::{FormatOptions, array_value_to_string},
};

use super::error::shorten;

/// The longest text that is parsed as a number with an exponent or a fraction; the parser counts
/// digits in a byte.
pub(super) const MAX_DIGITS: usize = 200;

const SAFE: CastOptions<'static> = CastOptions {
    safe: true,
    format_options: FormatOptions::new(),
};

/// The first value that cannot be converted.
pub(super) struct Misfit {
    /// Its index in the outermost array.
    pub(super) row: usize,
    /// The path of struct fields to it, joined by `.`.
    pub(super) column: String,
    /// What is wrong.
    pub(super) fault: Fault,
}

/// What is wrong with a value.
pub(super) enum Fault {
    /// It is null, and must not be.
    Null,
    /// It is nothing that the type holds.
    Value {
        /// The value, shortened.
        value: String,
        /// The type.
        expected: DataType,
        /// Why not.
        why: Why,
    },
    /// No single value is at fault.
    Kernel(ArrowError),
}

/// Why a value is nothing that a type holds.
#[derive(Clone, Copy)]
pub(super) enum Why {
    /// It is of another kind, or out of range.
    Invalid,
    /// A part of it would be dropped.
    Inexact,
    /// It is a list of another length.
    Length(i32),
}

impl Why {
    /// The reason in words that follow the value.
    pub(super) fn words(self, expected: &DataType) -> String {
        match self {
            Self::Invalid => format!("is no valid {expected}"),
            Self::Inexact => format!("cannot be kept exactly as {expected}"),
            Self::Length(size) => format!("does not have {size} elements"),
        }
    }
}

impl From<ArrowError> for Misfit {
    fn from(error: ArrowError) -> Self {
        Self {
            row: 0,
            column: String::new(),
            fault: Fault::Kernel(error),
        }
    }
}

impl Misfit {
    fn null(row: usize) -> Self {
        Self {
            row,
            column: String::new(),
            fault: Fault::Null,
        }
    }

    fn value(array: &dyn Array, row: usize, expected: &DataType, why: Why) -> Self {
        let value = show(array, row);
        let fault = Fault::Value {
            value,
            expected: expected.clone(),
            why,
        };
        Self {
            row,
            column: String::new(),
            fault,
        }
    }

    /// The same misfit, seen from the struct that holds `field`.
    fn within(mut self, field: &str) -> Self {
        self.column = if self.column.is_empty() {
            field.to_owned()
        } else {
            format!("{field}.{}", self.column)
        };
        self
    }

    /// The same misfit, seen from the list whose elements it was found among.
    fn at(mut self, row: usize) -> Self {
        self.row = row;
        self
    }
}

fn show(array: &dyn Array, row: usize) -> String {
    let text = array_value_to_string(array, row).unwrap_or_else(|_| "?".to_owned());
    // A decimal may be a number as it was read, with more digits than were written.
    if array.data_type().is_decimal() && text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    shorten(text)
}

/// Whether a type holds text.
pub(super) fn is_text(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The element of a list of any layout.
pub(super) fn element(of: &DataType) -> Option<&FieldRef> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    match of {
        List(field)
        | LargeList(field)
        | ListView(field)
        | LargeListView(field)
        | FixedSizeList(field, _) => Some(field),
        _ => None,
    }
}

/// The decimal through which a number written as text becomes a `to` without loss: it has room for
/// more fractional digits than `to`, so that a remainder shows. `None` when `to` needs none.
pub(super) fn through_decimal(to: &DataType) -> Option<DataType> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    match to {
        integer if integer.is_integer() => Some(Decimal128(38, 18)),
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale) => {
            Some(Decimal256(76, scale.saturating_add(18).clamp(0, 76)))
        }
        _ => None,
    }
}

/// Whether values of type `from` can keep their meaning as `to`. Structs are left to the caller, lists
/// too. `written`: the input is text by nature, so that text may stand for a number or a boolean.
pub(super) fn castable(from: &DataType, to: &DataType, written: bool) -> bool {
    use DataType::{
        Boolean, Date32, Date64, Dictionary, Null, RunEndEncoded, Time32, Time64, Timestamp,
    };
    let binary = |of: &DataType| {
        of.is_binary() || matches!(of, DataType::BinaryView | DataType::FixedSizeBinary(_))
    };
    match (from, to) {
        _ if from == to => true,
        (Null, _) => true,
        (Dictionary(_, plain), _) => castable(plain, to, written),
        (RunEndEncoded(_, plain), _) => castable(plain.data_type(), to, written),
        (_, Dictionary(_, plain)) => castable(from, plain, written),
        (from, to) if is_text(from) => match to {
            Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) => true,
            Boolean => written,
            to if to.is_numeric() => written,
            to => is_text(to),
        },
        (from, to) if binary(from) => binary(to),
        (from, to) if from.is_integer() => to.is_numeric(),
        (from, to) if from.is_decimal() => to.is_numeric(),
        (from, to) if from.is_floating() => to.is_integer() || to.is_floating(),
        (Date32 | Date64, Date32 | Date64) => true,
        (Date32 | Date64, Timestamp(_, None)) | (Timestamp(_, None), Date32 | Date64) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (Timestamp(_, from), Timestamp(_, to)) => match (from.as_deref(), to.as_deref()) {
            (Some(_), Some(_)) | (None, None) => true,
            // Time without a zone is read as UTC; any other zone would be a guess.
            (None, Some(zone)) | (Some(zone), None) => is_utc(zone),
        },
        _ => false,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(
        zone,
        "UTC" | "utc" | "Z" | "Etc/UTC" | "+00:00" | "+00" | "+0000"
    )
}

/// Converts columns, matched by name, to `target`. Columns that are missing become nulls. `outer` says
/// which rows exist at all, for the columns of a struct.
///
/// The types must have been found [`castable`], and the names checked.
pub(super) fn fit_columns(
    fields: &Fields,
    arrays: &[ArrayRef],
    rows: usize,
    outer: Option<&NullBuffer>,
    target: &Fields,
) -> Result<Vec<ArrayRef>, Misfit> {
    let fit_column = |to: &FieldRef| {
        let Some((at, _)) = fields.find(to.name()) else {
            return Ok(new_null_array(to.data_type(), rows));
        };
        let array = fit(&mask(&arrays[at], outer)?, to.data_type())?;
        no_gaps(&array, to.is_nullable(), outer)?;
        Ok(array)
    };
    target
        .iter()
        .map(|to| fit_column(to).map_err(|misfit: Misfit| misfit.within(to.name())))
        .collect()
}

/// Converts an array to a type.
fn fit(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::{
        Dictionary, FixedSizeList, Float16, Float32, Float64, LargeList, List, Null, RunEndEncoded,
        Struct,
    };
    let from = array.data_type();
    match (from, to) {
        _ if from == to => Ok(Arc::clone(array)),
        (Null, _) => Ok(new_null_array(to, array.len())),
        (Dictionary(_, plain), _) => fit(&exact(array, plain)?, to),
        (RunEndEncoded(_, plain), _) => fit(&exact(array, plain.data_type())?, to),
        (_, Dictionary(_, plain)) => Ok(exact(&fit(array, plain)?, to)?),
        (_, List(element)) => fit_list::<i32>(array, element),
        (_, LargeList(element)) => fit_list::<i64>(array, element),
        (_, FixedSizeList(element, size)) => fit_vectors(array, element, *size),
        (Struct(fields), Struct(target)) => {
            let array = array.as_struct();
            let columns = fit_columns(fields, array.columns(), array.len(), array.nulls(), target)?;
            let rows = array.len();
            let fitted = StructArray::try_new_with_length(
                target.clone(),
                columns,
                array.nulls().cloned(),
                rows,
            )?;
            Ok(Arc::new(fitted))
        }
        (from, to) if is_text(from) && to.is_integer() => match exact(array, to) {
            // `517.0` and `1e3` are integers as well.
            Err(_) => through(array, parse_numbers(array), to),
            fitted => fitted,
        },
        (from, Float16 | Float32) if is_text(from) => through(array, exact(array, &Float64), to),
        (from, to) if is_text(from) && to.is_decimal() => match through_decimal(to) {
            Some(wide) if wide != *to => through(array, exact(array, &wide), to),
            _ => exact(array, to),
        },
        _ => exact(array, to),
    }
}

/// Converts what was made of `array` on the way to `to`; an error shows the value as it was before.
fn through(
    array: &ArrayRef,
    middle: Result<ArrayRef, Misfit>,
    to: &DataType,
) -> Result<ArrayRef, Misfit> {
    middle
        .and_then(|middle| exact(&middle, to))
        .map_err(|misfit| match misfit.fault {
            Fault::Value { why, .. } => Misfit::value(array, misfit.row, to, why),
            _ => misfit,
        })
}

/// Whether a text has an exponent of more digits than any number needs. It must not reach Arrow's decimal parser, which
/// counts in 16 bits: the number would be another one.
pub(super) fn has_huge_exponent(text: &[u8]) -> bool {
    const MOST: usize = 4;
    // The parser takes a sign wherever it stands.
    let digits = |rest: &[u8]| {
        let rest = rest.iter();
        let of_it = rest.take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-'));
        of_it.filter(|byte| byte.is_ascii_digit()).count()
    };
    let mut places = text.iter().enumerate();
    places.any(|(at, byte)| matches!(byte, b'e' | b'E') && digits(&text[at + 1..]) > MOST)
}

/// Reads numbers as decimals that any integer type fits into. Unlike the cast kernel, the parser
/// knows exponents.
fn parse_numbers(array: &ArrayRef) -> Result<ArrayRef, Misfit> {
    let text = exact(array, &DataType::Utf8)?;
    let parse = |text: &str| {
        let short = text.len() <= MAX_DIGITS && !has_huge_exponent(text.as_bytes());
        short
            .then(|| parse_decimal::<Decimal128Type>(text, 38, 18).ok())
            .flatten()
    };
    let numbers: Decimal128Array = text
        .as_string::<i32>()
        .iter()
        .map(|text| text.and_then(parse))
        .collect();
    let numbers = numbers.with_precision_and_scale(38, 18)?;
    match first_lost(array, &numbers) {
        Some(row) => Err(Misfit::value(
            array,
            row,
            &DataType::Decimal128(38, 18),
            Why::Invalid,
        )),
        None => Ok(Arc::new(numbers)),
    }
}

/// Converts with one kernel, and finds the first value that did not survive it.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let cast = |array: &dyn Array, to: &DataType| cast_with_options(array, to, &SAFE);
    let fitted = cast(array, to)?;
    if let Some(row) = first_lost(array, &fitted) {
        return Err(Misfit::value(array, row, to, Why::Invalid));
    }
    let from = array.data_type();
    let changed = match (from, to) {
        (from, _) if is_text(from) => match finer(to) {
            Some(finer) => first_true(&cmp::neq(&cast(array, &finer)?, &cast(&fitted, &finer)?)?),
            None => None,
        },
        (from, to) if from.is_floating() && to.is_integer() => {
            // Adding zero turns -0.0, which the comparison distinguishes from 0.0, into 0.0.
            let plain = numeric::add(
                &cast(array, &DataType::Float64)?,
                &Scalar::new(Float64Array::from(vec![0.0])),
            )?;
            first_true(&cmp::distinct(&plain, &cast(&fitted, &DataType::Float64)?)?)
        }
        (from, to) if from.is_floating() && to.is_floating() => first_overflow(array, &fitted)?,
        // A float is an approximation by its meaning, and rounding a decimal to one is expected.
        (from, to) if from.is_decimal() && to.is_floating() => first_overflow(array, &fitted)?,
        (from, to) if from.is_primitive() && to.is_primitive() => {
            first_true(&cmp::distinct(array, &cast(&fitted, from)?)?)
        }
        _ => None,
    };
    match changed {
        Some(row) => Err(Misfit::value(array, row, to, Why::Inexact)),
        None => Ok(fitted),
    }
}

/// The type in which the part of a text that `to` would drop still shows.
fn finer(to: &DataType) -> Option<DataType> {
    match to {
        DataType::Date32 | DataType::Date64 => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) => {
            Some(DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))
        }
        _ => None,
    }
}

fn first_true(of: &BooleanArray) -> Option<usize> {
    (of.true_count() > 0)
        .then(|| (0..of.len()).find(|row| of.is_valid(*row) && of.value(*row)))
        .flatten()
}

/// The first value of `before` that is null in `after`.
fn first_lost(before: &dyn Array, after: &dyn Array) -> Option<usize> {
    let after = after
        .logical_nulls()
        .filter(|nulls| nulls.null_count() > 0)?;
    let before = before.logical_nulls();
    (0..after.len())
        .find(|row| after.is_null(*row) && before.as_ref().is_none_or(|nulls| nulls.is_valid(*row)))
}

/// The first finite number of `before` that is infinite in `after`, an array of floats.
fn first_overflow(before: &dyn Array, after: &dyn Array) -> Result<Option<usize>, ArrowError> {
    if *after.data_type() == DataType::Float64 {
        return Ok(None);
    }
    let after = cast_with_options(after, &DataType::Float32, &SAFE)?;
    let after = after.as_primitive::<Float32Type>().values();
    if after.iter().all(|value| !value.is_infinite()) {
        return Ok(None);
    }
    let before = cast_with_options(before, &DataType::Float64, &SAFE)?;
    let before = before.as_primitive::<Float64Type>().values();
    Ok(before
        .iter()
        .zip(after)
        .position(|(before, after)| before.is_finite() && after.is_infinite()))
}

/// Puts nulls where `outer` says there is no row: what stands there is of no meaning and may be
/// anything.
fn mask(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
    match outer.filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => nullif(array, &BooleanArray::new(!nulls.inner(), None)),
        None => Ok(Arc::clone(array)),
    }
}

/// Refuses nulls, other than those of rows that do not exist, in an array that must not have any.
fn no_gaps(array: &dyn Array, nullable: bool, outer: Option<&NullBuffer>) -> Result<(), Misfit> {
    if nullable {
        return Ok(());
    }
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(());
    };
    let gap = (0..nulls.len())
        .find(|row| nulls.is_null(*row) && outer.is_none_or(|outer| outer.is_valid(*row)));
    gap.map_or(Ok(()), |row| Err(Misfit::null(row)))
}

fn fit_list<O: OffsetSizeTrait>(array: &ArrayRef, to: &FieldRef) -> Result<ArrayRef, Misfit> {
    let from = element(array.data_type()).unwrap_or(to);
    let plain = exact(
        array,
        &(GenericListArray::<O>::DATA_TYPE_CONSTRUCTOR)(Arc::clone(from)),
    )?;
    let plain = plain.as_list::<O>();
    let offsets = plain.offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[plain.len()].as_usize());
    let values = plain.values().slice(first, last - first);
    let values = fit(&values, to.data_type())
        .and_then(|values| no_gaps(&values, to.is_nullable(), None).map(|()| values))
        .map_err(|misfit| {
            let index = misfit.row + first;
            let row = offsets.partition_point(|offset| offset.as_usize() <= index) - 1;
            misfit.at(row)
        })?;
    let lengths = OffsetBuffer::from_lengths(offsets.lengths());
    let list =
        GenericListArray::<O>::try_new(Arc::clone(to), lengths, values, plain.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn fit_vectors(array: &ArrayRef, to: &FieldRef, size: i32) -> Result<ArrayRef, Misfit> {
    let from = element(array.data_type()).unwrap_or(to);
    let width = usize::try_from(size).unwrap_or_default();
    // Where a whole vector is null its elements are, so the elements must be allowed to be.
    let loose = Arc::new(from.as_ref().clone().with_nullable(true));
    let plain = cast_with_options(array, &DataType::FixedSizeList(loose, size), &SAFE)?;
    if let Some(row) = first_lost(array, &plain) {
        let expected = DataType::FixedSizeList(Arc::clone(to), size);
        return Err(Misfit::value(array, row, &expected, Why::Length(size)));
    }
    let plain = plain.as_fixed_size_list();
    let nulls = plain.nulls().filter(|nulls| nulls.null_count() > 0);
    let outer = nulls.map(|nulls| nulls.expand(width));
    let values = mask(plain.values(), outer.as_ref())
        .map_err(Misfit::from)
        .and_then(|values| fit(&values, to.data_type()))
        .and_then(|values| no_gaps(&values, to.is_nullable(), outer.as_ref()).map(|()| values))
        .map_err(|misfit| {
            let row = misfit.row / width.max(1);
            misfit.at(row)
        })?;
    let vectors = FixedSizeListArray::try_new_with_length(
        Arc::clone(to),
        size,
        values,
        nulls.cloned(),
        plain.len(),
    )?;
    Ok(Arc::new(vectors))
}
