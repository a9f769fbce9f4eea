//! How many bytes values take, row by row.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, AsArray, OffsetSizeTrait, StructArray},
    datatypes::{DataType, UInt8Type, UInt64Type},
};
use lance_core::datatypes::{BlobKind, Field};

use crate::memory::width;

/// Adds to each row what its value takes. A large value that is only described takes what it would take if it were read.
pub(super) fn add(array: &ArrayRef, field: Option<&Field>, rows: &mut [u64]) {
    let child = |name: &str| {
        let mut children = field.into_iter().flat_map(|f| &f.children);
        children.find(|child| child.name == name)
    };
    match array.data_type() {
        DataType::Struct(_) if field.is_some_and(Field::is_blob) => {
            described(array.as_struct(), rows);
        }
        DataType::Struct(fields) => {
            for (of, values) in fields.iter().zip(array.as_struct().columns()) {
                add(values, child(of.name()), rows);
            }
        }
        DataType::Utf8 => lengths(array.as_string::<i32>().value_offsets(), rows),
        DataType::LargeUtf8 => lengths(array.as_string::<i64>().value_offsets(), rows),
        DataType::Binary => lengths(array.as_binary::<i32>().value_offsets(), rows),
        DataType::LargeBinary => lengths(array.as_binary::<i64>().value_offsets(), rows),
        DataType::Utf8View => {
            let lengths = array.as_string_view().lengths();
            rows.iter_mut()
                .zip(lengths)
                .for_each(|(row, n)| *row += 16 + u64::from(n));
        }
        DataType::BinaryView => {
            let lengths = array.as_binary_view().lengths();
            rows.iter_mut()
                .zip(lengths)
                .for_each(|(row, n)| *row += 16 + u64::from(n));
        }
        DataType::List(of) => {
            let list = array.as_list::<i32>();
            items(list.value_offsets(), list.values(), child(of.name()), rows);
        }
        DataType::LargeList(of) => {
            let list = array.as_list::<i64>();
            items(list.value_offsets(), list.values(), child(of.name()), rows);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            items(map.value_offsets(), &entries, None, rows);
        }
        DataType::FixedSizeList(..) if width(array.data_type()).is_none() => {
            let list = array.as_fixed_size_list();
            let length = usize::try_from(list.value_length()).unwrap_or(0);
            let mut each = vec![0; list.values().len()];
            add(list.values(), None, &mut each);
            for (row, items) in rows.iter_mut().zip(each.chunks(length.max(1))) {
                *row += items.iter().sum::<u64>();
            }
        }
        DataType::Dictionary(key, _) => {
            let values = array.as_any_dictionary().values();
            let mut each = vec![0; values.len()];
            add(values, None, &mut each);
            let average = each.iter().sum::<u64>() / (each.len() as u64).max(1);
            let key = width(key).unwrap_or(4);
            rows.iter_mut().for_each(|row| *row += key + average);
        }
        kind => {
            let whole = || array.get_array_memory_size() as u64 / (array.len() as u64).max(1);
            let bytes = width(kind).unwrap_or_else(whole);
            rows.iter_mut().for_each(|row| *row += bytes);
        }
    }
}

fn lengths<O: OffsetSizeTrait>(offsets: &[O], rows: &mut [u64]) {
    for (row, range) in rows.iter_mut().zip(ranges(offsets)) {
        *row += (range.end - range.start + size_of::<O>()) as u64;
    }
}

/// Of lists: what their items take.
fn items<O: OffsetSizeTrait>(
    offsets: &[O],
    values: &ArrayRef,
    field: Option<&Field>,
    rows: &mut [u64],
) {
    let mut each = vec![0; values.len()];
    add(values, field, &mut each);
    for (row, range) in rows.iter_mut().zip(ranges(offsets)) {
        let items = each.get(range).unwrap_or_default();
        *row += size_of::<O>() as u64 + items.iter().sum::<u64>();
    }
}

fn ranges<O: OffsetSizeTrait>(offsets: &[O]) -> impl Iterator<Item = Range<usize>> {
    offsets
        .windows(2)
        .filter_map(|pair| Some(pair.first()?.as_usize()..pair.last()?.as_usize()))
}

/// What lies elsewhere stays there: values outside of the table, and those that are objects of their own in it.
fn described(descriptors: &StructArray, rows: &mut [u64]) {
    let sizes = descriptors.column_by_name("size");
    let Some(sizes) = sizes.and_then(|sizes| sizes.as_primitive_opt::<UInt64Type>()) else {
        return;
    };
    let kinds = descriptors.column_by_name("kind");
    let kinds = kinds.and_then(|kinds| kinds.as_primitive_opt::<UInt8Type>());
    for (at, row) in rows.iter_mut().enumerate().take(sizes.len()) {
        let moves = |kind| kind < BlobKind::External as u8;
        let moves = kinds.is_none_or(|kinds| kinds.is_valid(at) && moves(kinds.value(at)));
        if moves && descriptors.is_valid(at) && sizes.is_valid(at) {
            *row += sizes.value(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        FixedSizeListArray, Int32Array, LargeBinaryArray, ListArray, StringArray, UInt8Array,
        UInt64Array,
    };
    use arrow::datatypes::{Field as ArrowField, Int32Type};

    use super::*;

    fn sizes(array: ArrayRef) -> Vec<u64> {
        let mut rows = vec![0; array.len()];
        add(&array, None, &mut rows);
        rows
    }

    #[test]
    fn a_text_takes_what_it_says_wherever_its_batch_was_cut() {
        let texts = StringArray::from(vec![Some("a"), None, Some("four"), Some("xy")]);
        assert_eq!(sizes(Arc::new(texts.clone())), [5, 4, 8, 6]);
        assert_eq!(sizes(Arc::new(texts.slice(2, 2))), [8, 6]);
        let bytes = LargeBinaryArray::from_vec(vec![b"12345", b""]);
        assert_eq!(sizes(Arc::new(bytes)), [13, 8]);
    }

    #[test]
    fn lists_take_what_their_items_do_and_structs_what_their_fields_do() {
        let lists = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3)])];
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
        assert_eq!(sizes(Arc::new(lists.clone())), [12, 4, 8]);
        assert_eq!(sizes(Arc::new(lists.slice(2, 1))), [8]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "bb", "", "dddd"]));
        let item = Arc::new(ArrowField::new("item", DataType::Utf8, true));
        let pairs = FixedSizeListArray::new(item, 2, texts.clone(), None);
        assert_eq!(sizes(Arc::new(pairs.clone())), [11, 12]);
        assert_eq!(sizes(Arc::new(pairs.slice(1, 1))), [12]);
        let both = StructArray::from(vec![
            (Arc::new(ArrowField::new("t", DataType::Utf8, true)), texts),
            (
                Arc::new(ArrowField::new("n", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef,
            ),
        ]);
        assert_eq!(sizes(Arc::new(both)), [9, 10, 8, 12]);
    }

    #[test]
    fn a_large_value_takes_its_size_and_nothing_when_it_stays_where_it_is() {
        let column = |name: &str, of, array| (Arc::new(ArrowField::new(name, of, false)), array);
        let kinds: ArrayRef = Arc::new(UInt8Array::from(vec![0, 1, 2, 3, 4, 5]));
        let of: ArrayRef = Arc::new(UInt64Array::from(vec![7, 70, 700, 5, 6, 7]));
        let descriptors = StructArray::from(vec![
            column("kind", DataType::UInt8, kinds),
            column("size", DataType::UInt64, of),
        ]);
        let mut rows = vec![1; 6];
        described(&descriptors, &mut rows);
        assert_eq!(rows, [8, 71, 701, 1, 1, 1]);
    }
}
