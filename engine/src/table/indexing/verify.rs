//! A new segment is opened and asked before it is committed: an index that cannot be read fails every search that it is
//! for, and one that has lost rows hides them.
//!
//! It costs a few small reads, whatever the size of the index: of a vector index its centroids and the sizes of its
//! partitions, of others what it takes to look up three values.

use futures::FutureExt;
use lance::{
    Dataset,
    deps::datafusion::scalar::ScalarValue,
    index::{DatasetIndexExt, DatasetIndexInternalExt, scalar::open_scalar_index},
};
use lance_core::{ROW_ADDR, ROW_ID};
use lance_index::{
    metrics::NoOpMetricsCollector,
    scalar::{AnyQuery, BloomFilterQuery, LabelListQuery, SargableQuery},
};
use lance_table::{
    format::{Fragment, IndexMetadata},
    system_index::frag_reuse::FRAG_REUSE_INDEX_NAME,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, UInt64Type},
};

use super::segment::{Segment, Why};
use crate::{
    error::{cause::Cause, plain},
    table::{
        fragments::{covers, live_rows},
        guard::caught_by_lance,
    },
};

/// How a segment is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// For its partitions.
    Vector,
    /// For a value.
    Value,
    /// Whether it may have a value.
    Filter,
    /// For a label of a list.
    Label,
    /// Not at all: it is opened.
    Opened,
}

impl Asked {
    /// By what a segment says of itself.
    fn of(segment: &IndexMetadata) -> Self {
        let says = segment.index_details.as_ref();
        let says = says.map_or("", |says| says.type_url.rsplit('.').next().unwrap_or(""));
        match says {
            "VectorIndexDetails" => Self::Vector,
            "BTreeIndexDetails" | "BitmapIndexDetails" | "ZoneMapIndexDetails" => Self::Value,
            "BloomFilterIndexDetails" => Self::Filter,
            "LabelListIndexDetails" => Self::Label,
            _ => Self::Opened,
        }
    }
}

/// Checks the segment that a task has built, and refuses it when it is not sound.
pub(super) async fn sound(dataset: &Dataset, built: Result<Segment, Why>) -> Result<Segment, Why> {
    let segment = built?;
    // Boxed, because Lance's futures are large.
    match caught_by_lance(fault(dataset, &segment).boxed()).await {
        Ok(None) => Ok(segment),
        Ok(Some(fault)) => Err(Why::Unsound(fault)),
        Err(e) if Cause::of(&e).is_of_store() => Err(Why::Failed(e)),
        Err(e) => Err(Why::Unsound(format!("it cannot be read: {}", plain(&e)))),
    }
}

/// What is wrong with a segment.
async fn fault(dataset: &Dataset, built: &Segment) -> lance::Result<Option<String>> {
    let segment = &built.new;
    let all = dataset.load_indices().await?;
    let Some(field) = segment.keyed_field() else {
        return Ok(None);
    };
    // Where rewrites leave a note for indexes to follow them, Lance opens none that the table does not have.
    if all.iter().any(|i| i.name == FRAG_REUSE_INDEX_NAME) {
        return Ok(None);
    }
    let column = dataset.schema().field_path(field)?;
    let asked = Asked::of(segment);
    let covered = dataset.manifest().fragments.iter();
    let covered: Vec<_> = covered.filter(|f| covers(segment, f)).collect();
    if asked == Asked::Vector {
        let opened =
            dataset.open_vector_index_from_metadata(&column, segment, &NoOpMetricsCollector);
        let index = opened.await?;
        let partitions = (0..index.total_partitions()).map(|n| index.partition_size(n) as u64);
        let field = dataset.schema().field_by_id(field);
        let of_one = field.is_some_and(|f| matches!(f.data_type(), DataType::FixedSizeList(..)));
        let rows = covered.iter().filter_map(|f| f.physical_rows);
        let most = rows.map(|rows| rows as u64).sum();
        // What is merged may have rows of fragments that are gone.
        let most = (of_one && built.replaced.is_empty()).then_some(most);
        return Ok(miscounted(partitions.sum(), index.num_rows(), most));
    }
    let index = open_scalar_index(dataset, &column, segment, &NoOpMetricsCollector).await?;
    for (fragment, row) in samples(&covered) {
        let Some((value, ids)) = sample(dataset, fragment, row, &column).await? else {
            continue;
        };
        let Some(query) = query(asked, &value)? else {
            continue;
        };
        let found = index.search(query.as_ref(), &NoOpMetricsCollector).await?;
        if !ids.iter().any(|id| found.row_addrs().selected(*id)) {
            let id = fragment.id;
            let finding =
                format!("a row of fragment {id} that it covers is not found by its {column}");
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

/// Whether the rows of the partitions are those of the index, and no more than there are.
fn miscounted(partitions: u64, rows: u64, most: Option<u64>) -> Option<String> {
    if partitions != rows {
        return Some(format!(
            "its partitions have {partitions} rows, and it says {rows}"
        ));
    }
    let most = most.filter(|most| rows > *most)?;
    Some(format!("it has {rows} rows of {most}"))
}

/// A row near the beginning, in the middle and near the end of what is covered, by its place among the rows that live.
fn samples<'f>(covered: &[&'f Fragment]) -> Vec<(&'f Fragment, u64)> {
    let alive: Vec<_> = covered.iter().filter(|f| live_rows(f) > 0).collect();
    let (Some(first), Some(last)) = (alive.first(), alive.last()) else {
        return Vec::new();
    };
    let middle = alive.get(alive.len() / 2).unwrap_or(first);
    vec![
        (**first, 0),
        (**middle, live_rows(middle) / 2),
        (**last, live_rows(last) - 1),
    ]
}

/// The value of a row, and what an index may call the row by: its id, or its address.
async fn sample(
    dataset: &Dataset,
    fragment: &Fragment,
    row: u64,
    column: &str,
) -> lance::Result<Option<(ArrayRef, [u64; 2])>> {
    let mut scan = dataset.scan();
    scan.with_fragments(vec![fragment.clone()])
        .with_row_id()
        .with_row_address()
        .limit(Some(1), Some(i64::try_from(row).unwrap_or(i64::MAX)))?
        .project(&[column])?;
    let found = scan.try_into_batch().await?;
    let call = |name| called(&found, name);
    Ok(match (call(ROW_ID), call(ROW_ADDR)) {
        (Some(id), Some(address)) => Some((found.column(0).clone(), [id, address])),
        _ => None,
    })
}

fn called(row: &RecordBatch, name: &str) -> Option<u64> {
    let ids = row.column_by_name(name)?;
    let ids = ids.as_primitive_opt::<UInt64Type>()?;
    (ids.len() == 1).then(|| ids.value(0))
}

/// What finds this value, if it can be asked for.
fn query(asked: Asked, value: &ArrayRef) -> lance::Result<Option<Box<dyn AnyQuery>>> {
    let value = match asked {
        Asked::Label if value.is_valid(0) => match value.data_type() {
            DataType::List(_) => value.as_list::<i32>().value(0),
            DataType::LargeList(_) => value.as_list::<i64>().value(0),
            _ => return Ok(None),
        },
        _ => value.clone(),
    };
    if value.is_empty() || value.is_null(0) || !is_plain(value.data_type()) {
        return Ok(None);
    }
    let value = ScalarValue::try_from_array(&value, 0)?;
    Ok(match asked {
        Asked::Value => Some(Box::new(SargableQuery::Equals(value))),
        Asked::Filter => Some(Box::new(BloomFilterQuery::Equals(value))),
        Asked::Label => Some(Box::new(LabelListQuery::HasAnyLabel(vec![value]))),
        Asked::Vector | Asked::Opened => None,
    })
}

/// Whether equal values of a type are found by each other: not so where there are numbers that equal nothing, and where
/// one text has several forms.
fn is_plain(of: &DataType) -> bool {
    of.is_integer()
        || of.is_temporal()
        || matches!(
            of,
            DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::FixedSizeBinary(_)
        )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn an_index_that_lost_rows_or_has_too_many_is_not_sound() {
        assert_eq!(miscounted(10, 10, Some(10)), None);
        assert_eq!(miscounted(10, 10, None), None);
        assert!(miscounted(9, 10, None).is_some());
        assert!(miscounted(11, 11, Some(10)).is_some());
    }

    #[test]
    fn rows_are_taken_from_all_over_what_is_covered_and_none_that_is_deleted() {
        let of = |id, rows| Fragment::new(id).with_physical_rows(rows);
        let (one, two, three) = (of(1, 10), of(2, 0), of(3, 4));
        let taken = samples(&[&one, &two, &three]);
        let taken: Vec<_> = taken.into_iter().map(|(f, row)| (f.id, row)).collect();
        assert_eq!(taken, [(1, 0), (3, 2), (3, 3)]);
        assert!(samples(&[&two]).is_empty());
    }

    #[test]
    fn only_what_equals_itself_is_asked_for() {
        let asks = |asked, array: ArrayRef| query(asked, &array).unwrap().is_some();
        let number = || Arc::new(Int64Array::from(vec![7])) as ArrayRef;
        assert!(asks(Asked::Value, number()));
        assert!(asks(Asked::Filter, number()));
        assert!(!asks(Asked::Opened, number()));
        assert!(asks(Asked::Value, Arc::new(StringArray::from(vec!["a"]))));
        assert!(!asks(
            Asked::Value,
            Arc::new(Int64Array::from(vec![None::<i64>]))
        ));
        assert!(!asks(
            Asked::Value,
            Arc::new(Float32Array::from(vec![f32::NAN]))
        ));
        let labels = |of: Option<Vec<Option<i64>>>| {
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([of])) as ArrayRef
        };
        assert!(asks(Asked::Label, labels(Some(vec![Some(1)]))));
        assert!(!asks(Asked::Label, labels(Some(Vec::new()))));
        assert!(!asks(Asked::Label, labels(None)));
    }
}
