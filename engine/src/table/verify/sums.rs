//! Rows as one number for each column: the same for the same rows in the same order, however they are cut into batches.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array, make_array},
    buffer::NullBuffer,
    compute::kernels::length::length,
    datatypes::{DataType, UInt8Type, UInt64Type},
    row::{RowConverter, SortField},
    util::display::{ArrayFormatter, FormatOptions},
};
use arrow_schema::ArrowError;
use lance_core::datatypes::{BlobKind, Field};

use super::fault::{EVERY_COLUMN, Fault};

/// What was read, column by column.
#[derive(Debug, Default)]
pub(super) struct Sums {
    rows: u64,
    columns: BTreeMap<String, DefaultHasher>,
}

impl Sums {
    /// Adds a batch, whose columns are some of these fields.
    ///
    /// # Errors
    /// When an array is not well formed.
    pub(super) fn add(&mut self, fields: &[Field], batch: &RecordBatch) -> Result<(), Fault> {
        self.rows += batch.num_rows() as u64;
        let schema = batch.schema();
        for (name, array) in schema
            .fields()
            .iter()
            .map(|f| f.name())
            .zip(batch.columns())
        {
            well_formed(name, array)?;
            let field = fields.iter().find(|f| f.name == *name);
            self.add_column(name, array, None, field)?;
        }
        Ok(())
    }

    /// In what the other differs, if it does.
    pub(super) fn difference(&self, other: &Self) -> Option<Fault> {
        if self.rows != other.rows {
            let reason = format!("{} rows are read, of {}", other.rows, self.rows);
            return Some(Fault::of(EVERY_COLUMN, reason));
        }
        let same = |(path, hasher): &(&String, &DefaultHasher)| {
            let there = other.columns.get(*path);
            there.is_some_and(|there| there.finish() == hasher.finish())
        };
        let (path, _) = self.columns.iter().find(|column| !same(column))?;
        let reason = "its values are not those of the rows that were rewritten";
        Some(Fault::of(path, reason))
    }

    /// Adds a column. Its rows are null, too, where its parents are: what stands there means nothing.
    fn add_column(
        &mut self,
        path: &str,
        array: &ArrayRef,
        parents: Option<&NullBuffer>,
        field: Option<&Field>,
    ) -> Result<(), Fault> {
        let nulls = NullBuffer::union(parents, array.nulls());
        let added = match array.data_type() {
            DataType::Struct(_) if field.is_some_and(Field::is_blob) => {
                self.add_values(path, &sizes(array, nulls.as_ref()))
            }
            DataType::Struct(fields) => {
                let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                let valid: BooleanArray = (0..array.len()).map(|row| Some(valid(row))).collect();
                for (child, array) in fields.iter().zip(array.as_struct().columns()) {
                    let children = field.into_iter().flat_map(|f| &f.children);
                    let known = children.into_iter().find(|f| f.name == *child.name());
                    let path = format!("{path}.{}", child.name());
                    self.add_column(&path, array, nulls.as_ref(), known)?;
                }
                self.add_values(path, &(Arc::new(valid) as ArrayRef))
            }
            // Where large values lie is another place after a rewrite.
            _ if field.is_some_and(holds_blobs) => masked(array, nulls)
                .and_then(|array| length(&array))
                .and_then(|lengths| self.add_values(path, &lengths)),
            _ => masked(array, nulls).and_then(|array| self.add_values(path, &array)),
        };
        added.map_err(|e| Fault::of(path, e.to_string()))
    }

    fn add_values(&mut self, path: &str, array: &ArrayRef) -> Result<(), ArrowError> {
        let hasher = self.columns.entry(path.to_owned()).or_default();
        let of_type = [SortField::new(array.data_type().clone())];
        if RowConverter::supports_fields(&of_type) {
            let converter = RowConverter::new(of_type.into())?;
            let rows = converter.convert_columns(std::slice::from_ref(array))?;
            rows.iter().for_each(|row| write(hasher, row.as_ref()));
        } else {
            // A map has no order, so its values are compared as text.
            let options = FormatOptions::new().with_null("\0");
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
            for row in 0..array.len() {
                let text = formatter.value(row).try_to_string()?;
                write(hasher, text.as_bytes());
            }
        }
        Ok(())
    }
}

fn write(hasher: &mut DefaultHasher, value: &[u8]) {
    hasher.write_usize(value.len());
    hasher.write(value);
}

/// Whether an array can be used: buffers as long as they must be, offsets in order, texts in UTF-8, keys of dictionaries in
/// range. Tells the innermost column that cannot.
fn well_formed(path: &str, array: &ArrayRef) -> Result<(), Fault> {
    if let DataType::Struct(fields) = array.data_type() {
        for (field, child) in fields.iter().zip(array.as_struct().columns()) {
            well_formed(&format!("{path}.{}", field.name()), child)?;
        }
    }
    let checked = array.to_data().validate_full();
    checked.map_err(|e| Fault::of(path, e.to_string()))
}

/// An array that is null wherever these are.
fn masked(array: &ArrayRef, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    if nulls.is_none() || *array.data_type() == DataType::Null {
        return Ok(array.clone());
    }
    let data = array.to_data().into_builder().nulls(nulls).build()?;
    Ok(make_array(data))
}

/// Whether a column has large values somewhere below it.
fn holds_blobs(field: &Field) -> bool {
    let within = |child: &Field| child.is_blob() || holds_blobs(child);
    field.children.iter().any(within)
}

/// How large the values are that descriptors lead to; nothing of those that lie outside of the table, of whose size a
/// descriptor need not know.
fn sizes(descriptors: &ArrayRef, nulls: Option<&NullBuffer>) -> ArrayRef {
    let descriptors = descriptors.as_struct();
    let sizes = descriptors.column_by_name("size");
    let sizes = sizes.and_then(|sizes| sizes.as_primitive_opt::<UInt64Type>());
    let kinds = descriptors.column_by_name("kind");
    let kinds = kinds.and_then(|kinds| kinds.as_primitive_opt::<UInt8Type>());
    let size = |row| {
        let outside = kinds.is_some_and(|kinds| kinds.value(row) == BlobKind::External as u8);
        let known = sizes.filter(|sizes| sizes.is_valid(row) && !outside);
        let null = nulls.is_some_and(|nulls| nulls.is_null(row));
        known.filter(|_| !null).map_or(0, |sizes| sizes.value(row))
    };
    Arc::new(UInt64Array::from_iter_values(
        (0..descriptors.len()).map(size),
    ))
}
