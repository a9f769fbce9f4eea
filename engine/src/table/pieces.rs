//! The rewriting of fragments that Lance would load as a whole.
//!
//! Where all rows of a page have one value, files of storage version 2.2 and later have it once, and Lance reads it when it
//! opens the file. A page of a single row is such a page: of a fragment with rows of 8 MiB and more that is everything,
//! whatever its buffers may take. So these fragments are read a few rows at a time, each time opened anew: then Lance reads
//! the pages that have those rows.

use std::{ops::Range, sync::Arc};

use futures::{FutureExt, StreamExt, TryStream, TryStreamExt, stream};
use lance::{
    Dataset,
    dataset::{
        InsertBuilder, WriteMode, WriteParams,
        fragment::FileFragment,
        optimize::{CompactionMetrics, CompactionOptions, RewriteResult},
        scanner::Scanner,
        transaction::Operation,
    },
    deps::datafusion::{
        error::DataFusionError, execution::SendableRecordBatchStream,
        physical_plan::stream::RecordBatchStreamAdapter,
    },
};
use lance_table::format::Fragment;

use super::row_sizes::RowSizes;
use crate::memory;

/// The numbers of this many rows, a few at a time.
pub(super) fn ranges(rows: u64, piece: u64) -> impl Iterator<Item = Range<u64>> {
    let piece = piece.max(1);
    (0..rows.div_ceil(piece)).map(move |n| n * piece..rows.min((n + 1) * piece))
}

/// Limits a scan to these rows.
///
/// # Errors
/// Lance's.
pub(super) fn limit(scan: &mut Scanner, rows: &Range<u64>) -> lance::Result<()> {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let count = signed(rows.end - rows.start);
    scan.limit(Some(count), Some(signed(rows.start)))?;
    Ok(())
}

/// Writes these fragments anew as one, in files of a maximum size in bytes, and commits nothing.
///
/// # Errors
/// Lance's.
pub(super) async fn rewrite(
    dataset: &Dataset,
    fragments: Vec<Fragment>,
    sizes: &RowSizes,
    options: &CompactionOptions,
) -> lance::Result<RewriteResult> {
    let dataset = Arc::new(dataset.clone());
    let mut pieces = Vec::new();
    let mut rows = 0;
    for fragment in &fragments {
        let opened = FileFragment::new(dataset.clone(), fragment.clone());
        let live = opened.count_rows(None).boxed().await? as u64;
        rows += live;
        let ranges = ranges(live, sizes.piece());
        pieces.extend(ranges.map(|range| (fragment.clone(), range)));
    }
    let schema = dataset.scan().schema().boxed().await?;
    let batches = read(dataset.clone(), pieces, sizes.batch());
    let batches = batches.map_err(|e| DataFusionError::External(Box::new(e)));
    let batches = RecordBatchStreamAdapter::new(schema, batches);
    let batches: SendableRecordBatchStream = Box::pin(batches);
    let format = dataset.manifest().data_storage_format.version;
    let all = WriteParams::default();
    let params = WriteParams {
        mode: WriteMode::Append,
        max_rows_per_file: usize::try_from(rows).unwrap_or(usize::MAX).max(1),
        max_bytes_per_file: options.max_bytes_per_file.unwrap_or(all.max_bytes_per_file),
        data_storage_version: Some(format.to_selector()),
        ..all
    };
    let insert = InsertBuilder::new(dataset.clone()).with_params(&params);
    let written = insert.execute_uncommitted_stream(batches).boxed().await?;
    let Operation::Append { fragments: new } = written.operation else {
        return Err(lance::Error::internal(
            "rows were written, and not appended",
        ));
    };
    Ok(RewriteResult {
        metrics: CompactionMetrics::default(),
        new_fragments: new,
        read_version: dataset.manifest().version,
        original_fragments: fragments,
        row_addrs: None,
    })
}

/// Reads pieces of fragments, one after the other.
fn read(
    dataset: Arc<Dataset>,
    pieces: Vec<(Fragment, Range<u64>)>,
    batch: usize,
) -> impl TryStream<
    Ok = arrow::array::RecordBatch,
    Error = lance::Error,
    Item = lance::Result<arrow::array::RecordBatch>,
> + Send {
    let batches = stream::iter(pieces).then(move |(fragment, rows)| {
        let dataset = dataset.clone();
        async move {
            let mut scan = dataset.scan();
            scan.with_fragments(vec![fragment])
                .scan_in_order(true)
                .batch_size(batch)
                .io_buffer_size(memory::limits().io_buffer());
            limit(&mut scan, &rows)?;
            scan.try_into_stream().await
        }
        .boxed()
    });
    batches.try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_every_row_once_and_in_order() {
        let of = |rows, piece| ranges(rows, piece).collect::<Vec<_>>();
        assert_eq!(of(7, 3), [0..3, 3..6, 6..7]);
        assert_eq!(of(6, 3), [0..3, 3..6]);
        assert_eq!(of(2, 0), [0..1, 1..2]);
        assert_eq!(of(0, 5), []);
    }
}
