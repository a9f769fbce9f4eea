//! What the conversion of batches promises.

use std::sync::Arc;

use arrow::{
    array::*,
    buffer::NullBuffer,
    datatypes::{
        DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
    },
};

use super::*;

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// Converts one column `x`.
fn convert(array: impl Array + 'static, to: DataType) -> Result<ArrayRef, InputError> {
    let target = schema(vec![Field::new("x", to, true)]);
    conform(&batch(vec![("x", Arc::new(array))]), &target, "here", 10)
        .map(|fitted| Arc::clone(fitted.column(0)))
}

fn timestamp(unit: TimeUnit, zone: Option<&str>) -> DataType {
    DataType::Timestamp(unit, zone.map(Into::into))
}

/// Asserts that the value at `index` of a column is refused, and shown as `shown`.
#[track_caller]
fn refused(result: Result<ArrayRef, InputError>, index: u64, shown: &str) {
    match result.unwrap_err() {
        InputError::BadValue {
            origin,
            place,
            column,
            value,
            ..
        } => {
            assert_eq!(
                (origin.as_str(), column.as_str(), value.as_str()),
                ("here", "x", shown)
            );
            assert_eq!(place, Place::Row(10 + index + 1));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn columns_are_matched_by_name_and_put_in_the_order_of_the_table() {
    let target = schema(vec![
        Field::new("a", DataType::Int64, false),
        Field::new("b", DataType::Utf8, true),
    ]);
    let input = batch(vec![
        ("b", Arc::new(StringArray::from(vec!["x", "y"]))),
        ("a", Arc::new(Int64Array::from(vec![1, 2]))),
    ]);
    let fitted = conform(&input, &target, "here", 0).unwrap();
    assert_eq!(fitted.schema(), target);
    assert_eq!(
        fitted.column(0).as_primitive::<Int64Type>().values(),
        &[1, 2]
    );
}

#[test]
fn a_missing_nullable_column_is_filled_with_nulls_even_without_any_other() {
    let target = schema(vec![Field::new("a", DataType::Int64, true)]);
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let input = RecordBatch::try_new_with_options(schema(vec![]), vec![], &options).unwrap();
    let fitted = conform(&input, &target, "here", 0).unwrap();
    assert_eq!((fitted.num_rows(), fitted.column(0).null_count()), (3, 3));
}

#[test]
fn a_missing_required_column_is_an_error() {
    let target = schema(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("x", DataType::Int64, true),
    ]);
    let error = conform(
        &batch(vec![("x", Arc::new(NullArray::new(1)))]),
        &target,
        "here",
        0,
    )
    .unwrap_err();
    assert!(
        matches!(&error, InputError::MissingColumn { column, .. } if column == "id"),
        "{error}"
    );
}

#[test]
fn an_unknown_column_is_an_error_that_names_the_nearest() {
    let target = schema(vec![
        Field::new("carrier", DataType::Utf8, true),
        Field::new("year", DataType::Int32, true),
    ]);
    let input = batch(vec![("Carier", Arc::new(StringArray::from(vec!["AA"])))]);
    let error = conform(&input, &target, "here", 0).unwrap_err();
    assert!(
        matches!(&error, InputError::UnknownColumn { nearest: Some(near), .. } if near == "carrier"),
        "{error}"
    );
    let input = batch(vec![("zzz", Arc::new(StringArray::from(vec!["AA"])))]);
    let error = conform(&input, &target, "here", 0).unwrap_err();
    assert!(
        matches!(&error, InputError::UnknownColumn { nearest: None, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("carrier, year"), "{error}");
}

#[test]
fn two_columns_of_one_name_are_an_error() {
    let target = schema(vec![Field::new("a", DataType::Int64, true)]);
    let twice = schema(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("a", DataType::Int64, true),
    ]);
    let input = RecordBatch::new_empty(twice);
    let error = conform(&input, &target, "here", 0).unwrap_err();
    assert!(
        matches!(error, InputError::DuplicateColumn { .. }),
        "{error}"
    );
}

#[test]
fn a_null_in_a_required_column_is_an_error_with_its_row() {
    let target = schema(vec![Field::new("id", DataType::Int64, false)]);
    let input = batch(vec![(
        "id",
        Arc::new(Int64Array::from(vec![Some(1), None])),
    )]);
    let error = conform(&input, &target, "here", 100).unwrap_err();
    assert!(
        matches!(
            error,
            InputError::MissingValue {
                place: Place::Row(102),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_wrong_type_is_an_error_that_names_both_types_and_the_fix() {
    let error = convert(StringArray::from(vec!["1"]), DataType::Int64).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, InputError::WrongType { .. }), "{text}");
    for word in ["`x`", "Utf8", "Int64", "convert it to Int64"] {
        assert!(text.contains(word), "{text}");
    }
    for (array, to) in [
        (
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
            DataType::Utf8,
        ),
        (Arc::new(BooleanArray::from(vec![true])), DataType::Int8),
        (
            Arc::new(Int64Array::from(vec![1])),
            timestamp(TimeUnit::Second, None),
        ),
        (
            Arc::new(Int64Array::from(vec![1])),
            DataType::new_list(DataType::Int64, true),
        ),
        (Arc::new(StringArray::from(vec!["1"])), DataType::Binary),
    ] {
        let error = convert(make_array(array.to_data()), to).unwrap_err();
        assert!(matches!(error, InputError::WrongType { .. }), "{error}");
    }
}

#[test]
fn integers_narrow_only_if_every_value_fits() {
    let fitted = convert(Int64Array::from(vec![Some(7), None]), DataType::Int32).unwrap();
    assert_eq!(
        fitted.as_primitive::<Int32Type>(),
        &Int32Array::from(vec![Some(7), None])
    );
    refused(
        convert(Int64Array::from(vec![1, 1 << 40]), DataType::Int32),
        1,
        "1099511627776",
    );
    refused(
        convert(Int8Array::from(vec![-1]), DataType::UInt64),
        0,
        "-1",
    );
}

#[test]
fn floats_become_integers_only_if_integral() {
    let floats = Float64Array::from(vec![Some(517.0), None, Some(-0.0)]);
    let fitted = convert(floats, DataType::Int32).unwrap();
    assert_eq!(
        fitted.as_primitive::<Int32Type>(),
        &Int32Array::from(vec![Some(517), None, Some(0)])
    );
    refused(
        convert(Float64Array::from(vec![1.0, 2.5]), DataType::Int64),
        1,
        "2.5",
    );
    refused(
        convert(Float64Array::from(vec![f64::NAN]), DataType::Int64),
        0,
        "NaN",
    );
    refused(
        convert(Float64Array::from(vec![1e10]), DataType::Int32),
        0,
        "10000000000.0",
    );
}

#[test]
fn integers_become_floats_only_if_exact() {
    assert!(convert(Int32Array::from(vec![i32::MAX]), DataType::Float64).is_ok());
    refused(
        convert(Int64Array::from(vec![(1 << 53) + 1]), DataType::Float64),
        0,
        "9007199254740993",
    );
    refused(
        convert(Int64Array::from(vec![i64::MAX]), DataType::Float64),
        0,
        "9223372036854775807",
    );
}

#[test]
fn wide_floats_are_rounded_to_narrow_ones_unless_they_overflow() {
    let fitted = convert(
        Float64Array::from(vec![Some(0.1), None, Some(f64::INFINITY)]),
        DataType::Float32,
    )
    .unwrap();
    assert_eq!(fitted.as_primitive::<Float32Type>().value(0), 0.1);
    refused(
        convert(Float64Array::from(vec![1.0, 1e39]), DataType::Float32),
        1,
        "1e39",
    );
}

#[test]
fn text_becomes_dates_and_timestamps_but_drops_nothing() {
    let dates = convert(StringArray::from(vec!["2013-01-01"]), DataType::Date32).unwrap();
    assert_eq!(
        dates.as_ref(),
        &Date32Array::from(vec![15706]) as &dyn Array
    );
    refused(
        convert(
            StringArray::from(vec!["2013-01-01", "2013-13-01"]),
            DataType::Date32,
        ),
        1,
        "2013-13-01",
    );
    refused(
        convert(
            StringArray::from(vec!["2013-01-01T10:00:00"]),
            DataType::Date32,
        ),
        0,
        "2013-01-01T10:00:00",
    );
    let seconds = timestamp(TimeUnit::Second, None);
    let fitted = convert(
        StringArray::from(vec![Some("1970-01-01T00:01:00"), None]),
        seconds.clone(),
    )
    .unwrap();
    assert_eq!(
        fitted.as_ref(),
        &TimestampSecondArray::from(vec![Some(60), None]) as &dyn Array
    );
    // Year 3000 is out of the range of nanoseconds, which must not be held against it.
    assert!(
        convert(
            StringArray::from(vec!["3000-01-01 00:00:00"]),
            seconds.clone()
        )
        .is_ok()
    );
    refused(
        convert(StringArray::from(vec!["1970-01-01T00:01:00.5"]), seconds),
        0,
        "1970-01-01T00:01:00.5",
    );
}

#[test]
fn timestamps_change_their_unit_only_if_exact() {
    let millis = || TimestampMillisecondArray::from(vec![Some(1000), None]);
    assert!(convert(millis(), timestamp(TimeUnit::Nanosecond, None)).is_ok());
    assert!(convert(millis(), timestamp(TimeUnit::Second, None)).is_ok());
    let odd = TimestampMillisecondArray::from(vec![1001]);
    refused(
        convert(odd, timestamp(TimeUnit::Second, None)),
        0,
        "1970-01-01T00:00:01.001",
    );
    let far = TimestampSecondArray::from(vec![i64::MAX / 10]);
    assert!(convert(far, timestamp(TimeUnit::Nanosecond, None)).is_err());
    assert!(convert(TimestampSecondArray::from(vec![86400]), DataType::Date32).is_ok());
    assert!(convert(TimestampSecondArray::from(vec![86401]), DataType::Date32).is_err());
}

#[test]
fn time_without_a_zone_counts_as_utc_and_no_other_zone_is_guessed() {
    let utc = timestamp(TimeUnit::Microsecond, Some("UTC"));
    let fitted = convert(TimestampSecondArray::from(vec![60]), utc).unwrap();
    let expected = TimestampMicrosecondArray::from(vec![60_000_000]).with_timezone("UTC");
    assert_eq!(fitted.as_ref(), &expected as &dyn Array);
    let east = timestamp(TimeUnit::Second, Some("+05:00"));
    let error = convert(TimestampSecondArray::from(vec![60]), east).unwrap_err();
    assert!(
        error.to_string().contains("convert the times to UTC"),
        "{error}"
    );
}

#[test]
fn layouts_of_text_binary_and_dictionaries_are_interchangeable() {
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let plain = StringArray::from(vec![Some("a"), None, Some("a")]);
    assert_eq!(
        convert(words.clone(), DataType::Utf8).unwrap().as_ref(),
        &plain as &dyn Array
    );
    assert!(convert(plain.clone(), DataType::LargeUtf8).is_ok());
    assert!(convert(StringViewArray::from(vec!["a"]), DataType::Utf8).is_ok());
    assert!(
        convert(
            LargeBinaryArray::from(vec![b"a".as_slice()]),
            DataType::Binary
        )
        .is_ok()
    );
    assert!(convert(plain, words.data_type().clone()).is_ok());
    let numbers = DictionaryArray::new(
        Int32Array::from(vec![0, 1]),
        Arc::new(Int64Array::from(vec![1, 1 << 40])),
    );
    refused(convert(numbers, DataType::Int32), 1, "1099511627776");
}

#[test]
fn decimals_become_other_numbers_only_if_exact() {
    let decimal = |value: i128| {
        Decimal128Array::from(vec![value])
            .with_precision_and_scale(10, 2)
            .unwrap()
    };
    let fitted = convert(decimal(700), DataType::Int32).unwrap();
    assert_eq!(fitted.as_primitive::<Int32Type>().values(), &[7]);
    refused(convert(decimal(750), DataType::Int32), 0, "7.5");
    refused(
        convert(decimal(751), DataType::Decimal128(10, 1)),
        0,
        "7.51",
    );
    let fitted = convert(decimal(750), DataType::Float64).unwrap();
    assert_eq!(fitted.as_primitive::<Float64Type>().values(), &[7.5]);
}

fn vector(of: DataType, size: i32) -> DataType {
    DataType::new_fixed_size_list(of, size, true)
}

#[test]
fn lists_become_vectors_when_every_length_is_right() {
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
        Some(vec![Some(1.0), Some(2.0)]),
        None,
        Some(vec![Some(3.0), Some(4.0)]),
    ]);
    let fitted = convert(lists, vector(DataType::Float32, 2)).unwrap();
    let fitted = fitted.as_fixed_size_list();
    assert!(fitted.is_null(1));
    assert_eq!(
        fitted.value(2).as_primitive::<Float32Type>().values(),
        &[3.0, 4.0]
    );
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(1.0)]),
    ]);
    refused(convert(lists, vector(DataType::Float32, 2)), 1, "[1.0]");
}

#[test]
fn a_value_inside_a_list_is_reported_with_the_row_of_the_list() {
    let list = |rows: Vec<Vec<i64>>| {
        ListArray::from_iter_primitive::<Int64Type, _, _>(
            rows.into_iter()
                .map(|row| Some(row.into_iter().map(Some).collect::<Vec<_>>())),
        )
    };
    let uneven = list(vec![vec![1], vec![], vec![2, 3], vec![4, 1 << 40]]);
    let narrow = DataType::new_list(DataType::Int32, true);
    refused(convert(uneven.clone(), narrow.clone()), 3, "1099511627776");
    assert_eq!(
        convert(uneven.slice(1, 2), narrow.clone())
            .unwrap()
            .as_list::<i32>()
            .value_length(1),
        2
    );
    refused(convert(uneven.slice(2, 2), narrow), 1, "1099511627776");
    let even = list(vec![vec![1, 2], vec![3, 1 << 40]]);
    refused(
        convert(even, vector(DataType::Int32, 2)),
        1,
        "1099511627776",
    );
}

#[test]
fn a_null_inside_a_list_is_refused_where_elements_are_required() {
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![
        None,
        Some(vec![Some(1.0), None]),
    ]);
    for to in [
        DataType::new_list(DataType::Float32, false),
        DataType::new_fixed_size_list(DataType::Float32, 2, false),
    ] {
        let error = convert(lists.clone(), to).unwrap_err();
        assert!(
            matches!(
                error,
                InputError::MissingValue {
                    place: Place::Row(12),
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn structs_are_matched_by_name_and_named_by_path() {
    let fields = Fields::from(vec![
        Field::new("b", DataType::Int64, true),
        Field::new("a", DataType::Utf8, true),
    ]);
    let nested = |b: Vec<i64>, nulls: Vec<bool>| {
        let a = StringArray::from(vec!["x"; b.len()]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(b)), Arc::new(a)];
        StructArray::new(fields.clone(), columns, Some(NullBuffer::from(nulls)))
    };
    let to = DataType::Struct(Fields::from(vec![
        Field::new("a", DataType::LargeUtf8, true),
        Field::new("b", DataType::Int32, false),
        Field::new("c", DataType::Utf8, true),
    ]));
    // What stands under a null is of no meaning, so it need not fit.
    assert!(convert(nested(vec![1, 1 << 40], vec![true, false]), to.clone()).is_ok());
    let error = convert(nested(vec![1 << 40], vec![true]), to).unwrap_err();
    assert!(
        matches!(&error, InputError::BadValue { column, .. } if column == "x.b"),
        "{error}"
    );
    let to = DataType::Struct(Fields::from(vec![Field::new("b", DataType::Int64, true)]));
    let error = convert(nested(vec![1], vec![true]), to).unwrap_err();
    assert!(
        matches!(&error, InputError::UnknownColumn { column, .. } if column == "x.a"),
        "{error}"
    );
}
