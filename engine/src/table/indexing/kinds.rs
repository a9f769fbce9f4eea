//! What a declared kind of index is in Lance. The one place where its type and the options of its building are chosen.

use arrow::datatypes::DataType;
use lance::index::vector::VectorIndexParams;
use lance_core::datatypes::Field;
use lance_index::{
    IndexParams, IndexType,
    scalar::{BuiltinIndexType, InvertedIndexParams, ScalarIndexParams},
    vector::{ivf::builder::IvfBuildParams, pq::PQBuildParams},
};
use lance_linalg::distance::MetricType;

use super::partitions::{self, recommended_partitions};
use crate::{
    memory::limits,
    schema::{IndexKind, PropertyType},
};

/// Minimum number of rows that a vector index is trained on: one for each code of a quantizer.
pub(super) const MIN_VECTORS: usize = 256;
/// Vectors of fewer dimensions stay as they are: a quantizer would lose more of them than it saves.
const MIN_QUANTIZED_DIMENSIONS: usize = 64;
/// Number of vectors that Lance trains each centroid on; on fewer at a time where memory is short.
const SAMPLE: u64 = 256;
const SMALLEST_SAMPLE: u64 = 16;

/// How Lance builds an index.
pub(super) struct Recipe {
    pub(super) index_type: IndexType,
    pub(super) params: Box<dyn IndexParams>,
}

/// Why an index cannot be built on this column of a table with this many rows; nothing when it can, as far as the
/// table's manifest tells.
pub(super) fn obstacle(kind: IndexKind, field: Option<&Field>, rows: u64) -> Option<String> {
    let Some(field) = field else {
        return Some("the table has no such column".to_owned());
    };
    let data_type = field.data_type();
    let suits = PropertyType::from_arrow(&data_type).is_ok_and(|t| kind.suits(&t));
    if !suits {
        return Some(format!("a column of type {data_type} has no {kind} index"));
    }
    match kind {
        IndexKind::Vector if rows < MIN_VECTORS as u64 => Some(format!(
            "it is trained on {MIN_VECTORS} rows at least, the table has {rows}"
        )),
        IndexKind::Vector => {
            let shape = Shape::of(Some(&data_type));
            partitions::obstacle_to_making(rows, shape.row(), 0)
        }
        _ if rows == 0 => Some("the table has no rows".to_owned()),
        _ => None,
    }
}

/// How an index of this kind is built on this column.
pub(super) fn recipe(kind: IndexKind, field: Option<&Field>, rows: u64) -> Recipe {
    let scalar = |index_type, builtin| Recipe {
        index_type,
        params: Box::new(ScalarIndexParams::for_builtin(builtin)),
    };
    match kind {
        IndexKind::Btree => scalar(IndexType::BTree, BuiltinIndexType::BTree),
        IndexKind::Bitmap => scalar(IndexType::Bitmap, BuiltinIndexType::Bitmap),
        IndexKind::LabelList => scalar(IndexType::LabelList, BuiltinIndexType::LabelList),
        IndexKind::Inverted => Recipe {
            index_type: IndexType::Inverted,
            params: Box::new(
                InvertedIndexParams::default()
                    .memory_limit_mb((limits().gathered() >> 20).max(1))
                    .num_workers(1),
            ),
        },
        IndexKind::Vector => Recipe {
            index_type: IndexType::Vector,
            params: Box::new(vector(field.map(Field::data_type).as_ref(), rows)),
        },
    }
}

/// What vectors are made of.
#[derive(Clone, Copy)]
struct Shape {
    dimensions: usize,
    /// Bytes of one number.
    width: usize,
}

impl Shape {
    fn of(data_type: Option<&DataType>) -> Self {
        let (dimensions, width) = match data_type {
            Some(DataType::FixedSizeList(item, n)) => (
                usize::try_from(*n).unwrap_or(0),
                item.data_type().primitive_width().unwrap_or(4),
            ),
            _ => (0, 4),
        };
        Self { dimensions, width }
    }

    fn bytes(self) -> usize {
        self.dimensions * self.width
    }

    /// Bytes of one row in an index that Squire makes: the vector, or its code, and the row's id.
    fn row(self) -> u64 {
        let vector = sub_vectors(self.dimensions).unwrap_or(self.bytes());
        (vector + size_of::<u64>()) as u64
    }
}

/// Partitions of about the size that Lance recommends, quantized where vectors are long enough.
fn vector(data_type: Option<&DataType>, rows: u64) -> VectorIndexParams {
    let shape = Shape::of(data_type);
    let quantized = sub_vectors(shape.dimensions);
    let vector_bytes = shape.bytes();
    let recommended = recommended_partitions(rows);
    // Vectors that stay as they are make large partitions.
    let partitions = match quantized {
        None => recommended.max(partitions::least(rows, vector_bytes as u64)),
        Some(_) => recommended,
    };
    let ivf = IvfBuildParams {
        num_partitions: (partitions > recommended)
            .then(|| usize::try_from(partitions).unwrap_or(usize::MAX)),
        streaming_sample_rate: sample(partitions, vector_bytes, limits().gathered()),
        ..IvfBuildParams::default()
    };
    match quantized {
        None => VectorIndexParams::with_ivf_flat_params(MetricType::L2, ivf),
        Some(num_sub_vectors) => {
            let codes = 1 << PQBuildParams::default().num_bits;
            let sample_rate = sample(codes, vector_bytes, limits().gathered());
            let pq = PQBuildParams {
                num_sub_vectors,
                sample_rate: sample_rate.unwrap_or(PQBuildParams::default().sample_rate),
                ..PQBuildParams::default()
            };
            VectorIndexParams::with_ivf_pq_params(MetricType::L2, ivf, pq)
        }
    }
}

/// Into how many parts a vector is cut to be quantized; nothing when it is not.
fn sub_vectors(dimensions: usize) -> Option<usize> {
    if dimensions < MIN_QUANTIZED_DIMENSIONS {
        return None;
    }
    let part = [16, 8]
        .into_iter()
        .find(|part| dimensions.is_multiple_of(*part));
    part.map(|part| dimensions / part)
}

/// How many vectors for each centroid are in memory at a time, when all that Lance would take are too many.
fn sample(partitions: u64, vector_bytes: usize, memory: u64) -> Option<usize> {
    let each = partitions.saturating_mul(vector_bytes as u64).max(1);
    let fits = memory / each;
    (fits < SAMPLE).then(|| usize::try_from(fits.max(SMALLEST_SAMPLE)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_samples_fewer_vectors_where_they_would_not_fit() {
        let memory = 512 << 20;
        assert_eq!(sample(recommended_partitions(10_000), 3072, memory), None);
        let many = recommended_partitions(100_000_000);
        let rate = sample(many, 3072, memory).unwrap() as u64;
        assert!((SMALLEST_SAMPLE..SAMPLE).contains(&rate), "{rate}");
        assert!(rate * 4096 * 3072 <= memory);
        assert_eq!(sample(many, 1 << 20, memory), Some(16), "never fewer");
    }

    #[test]
    fn long_vectors_are_quantized_and_short_ones_are_not() {
        assert_eq!(sub_vectors(768), Some(48));
        assert_eq!(sub_vectors(72), Some(9));
        assert_eq!(sub_vectors(16), None);
        assert_eq!(sub_vectors(101), None);
    }
}
