#![allow(clippy::single_range_in_vec_init, reason = "one range is asked for")]
use std::collections::HashMap;

use arrow::{
    array::{
        Array, ArrayRef, DictionaryArray, Int8Array, Int64Array, ListArray, RecordBatch,
        StringArray, StructArray,
    },
    buffer::NullBuffer,
    datatypes::{DataType, Field as ArrowField, Int8Type, Int64Type, Schema as ArrowSchema},
};
use proptest::prelude::*;

use super::*;

#[test]
fn the_ends_are_the_first_and_the_last_rows_and_no_row_twice() {
    assert_eq!(both_ends(100, 10), [0..10, 90..100]);
    assert_eq!(both_ends(15, 10), [0..10, 10..15]);
    assert_eq!(both_ends(10, 10), [0..10]);
    assert_eq!(both_ends(3, 10), [0..3]);
    assert_eq!(both_ends(0, 10), []);
}

proptest! {
    #[test]
    fn a_window_has_the_rows_that_were_asked_for_and_no_source_in_vain(
        lives in prop::collection::vec(0..20_u64, 1..12),
        at in 0..100_u64,
        rows in 1..30_u64,
    ) {
        let all: u64 = lives.iter().sum();
        prop_assume!(at + rows <= all);
        let (of, within) = window(&lives, at..at + rows);
        let before: u64 = lives[..of.start].iter().sum();
        prop_assert_eq!(before + within.start, at);
        prop_assert_eq!(within.end - within.start, rows);
        let there: u64 = lives[of.clone()].iter().sum();
        prop_assert!(within.end <= there);
        prop_assert!(within.start < lives[of.start], "the first has one of them");
        prop_assert!(there - lives[of.end - 1] < within.end, "so has the last");
    }
}

fn fields(schema: &ArrowSchema) -> Vec<Field> {
    Schema::try_from(schema).unwrap().fields
}

fn sums(batches: &[RecordBatch]) -> Result<Sums, Fault> {
    let mut sums = Sums::default();
    for batch in batches {
        sums.add(&fields(batch.schema_ref()), batch)?;
    }
    Ok(sums)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn cities(keys: impl IntoIterator<Item = i8>, names: &[&str]) -> ArrayRef {
    let names = StringArray::from(names.to_vec());
    let keys = Int8Array::from_iter_values(keys);
    Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(names)))
}

#[test]
fn the_same_rows_are_the_same_in_whatever_batches_and_dictionaries_they_come() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..10).map(|n| (n % 3 > 0).then(|| (0..n).map(Some))),
    );
    let whole = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..10)) as _),
        ("list", Arc::new(lists) as _),
        (
            "city",
            cities((0..10).map(|n| n % 3), &["Rome", "Bath", "Ulm"]),
        ),
    ]);
    let other = cities((0..10).map(|n| 2 - n % 3), &["Ulm", "Bath", "Rome"]);
    let columns = [whole["id"].clone(), whole["list"].clone(), other];
    let other = RecordBatch::try_new(whole.schema(), columns.into()).unwrap();
    let parts = [other.slice(0, 1), other.slice(1, 6), other.slice(7, 3)];
    let difference = sums(&[whole]).unwrap().difference(&sums(&parts).unwrap());
    assert_eq!(difference, None);
}

#[test]
fn one_value_that_is_another_is_found_and_its_column_is_named() {
    let structs = |n: i64| {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, n, 3]));
        let field = Arc::new(ArrowField::new("inner", DataType::Int64, true));
        Arc::new(StructArray::from(vec![(field, inner)])) as ArrayRef
    };
    let of = |n| sums(&[batch(vec![("outer", structs(n))])]).unwrap();
    assert_eq!(of(2).difference(&of(2)), None);
    let fault = of(2).difference(&of(9)).unwrap();
    assert_eq!(fault.column, "outer.inner");
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let fault = of(2).difference(&sums(&[batch(vec![("outer", one)])]).unwrap());
    assert_eq!(fault.unwrap().reason, "1 rows are read, of 3");
}

#[test]
fn what_stands_below_a_null_does_not_matter_but_a_null_does() {
    let structs = |below: i64, valid: Vec<bool>| {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, below]));
        let field = Arc::new(ArrowField::new("inner", DataType::Int64, true));
        let nulls = Some(NullBuffer::from(valid));
        let array = StructArray::new(vec![field].into(), vec![inner], nulls);
        let array: ArrayRef = Arc::new(array);
        let field = ArrowField::new("outer", array.data_type().clone(), true);
        let schema = Arc::new(ArrowSchema::new(vec![field]));
        sums(&[RecordBatch::try_new(schema, vec![array]).unwrap()]).unwrap()
    };
    let null = || structs(7, vec![true, false]);
    assert_eq!(null().difference(&structs(8, vec![true, false])), None);
    assert!(null().difference(&structs(7, vec![true, true])).is_some());
}

#[test]
fn columns_are_named_by_their_whole_path() {
    let inner = ArrowField::new("y", DataType::Utf8, true);
    let list = ArrowField::new("z", DataType::List(Arc::new(inner.clone())), true);
    let outer = ArrowField::new("x", DataType::Struct(vec![inner, list].into()), true);
    let schema = ArrowSchema::new_with_metadata(vec![outer], HashMap::new());
    let paths: Vec<_> = leaves(&fields(&schema)).into_iter().map(|l| l.0).collect();
    assert_eq!(paths, ["x.y", "x.z"]);
}

#[tokio::test]
async fn a_panic_is_an_error_like_another() {
    let caught: lance::Result<()> =
        caught_by_lance(async { panic!("key {} is out of range", 200) }).await;
    let message = caught.unwrap_err().to_string();
    assert!(
        message.contains("Lance panicked: key 200 is out of range"),
        "{message}"
    );
}
