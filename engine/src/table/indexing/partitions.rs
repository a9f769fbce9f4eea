//! Partitions of vector indexes: Lance holds some of them as a whole, and more than once, while it extends an index, and
//! many at a time while it makes one. No option of a call bounds that, so it is looked at before.

use lance::{Dataset, index::DatasetIndexInternalExt};
use lance_index::{
    IndexType, metrics::NoOpMetricsCollector, vector::VectorIndex,
    vector::ivf::builder::recommended_num_partitions,
};
use lance_table::format::IndexMetadata;

use super::{super::fragments::live_rows, details};
use crate::{
    memory::{Limits, limits, width},
    schema::IndexKind,
};

/// How many copies of a partition are in memory at a time: as it is read, as it is put together, as it is written.
const COPIES: u64 = 3;
/// A vector that is quantized takes this part of its bytes at most.
const QUANTIZED: u64 = 8;
const MIB: u64 = 1 << 20;
/// Bytes of partitions that each thread takes up at a time while an index is made, and that all of them take up.
const WINDOW: u64 = 128 * MIB;
const WINDOWS: u64 = 512 * MIB;
/// Number of codes of a quantizer.
const CODES: u64 = 256;
/// How many vectors a partition is to have, for the estimate of what training holds in memory.
const PARTITION_ROWS: usize = 8192;
/// Number of vectors that a centroid is trained on, by default.
const SAMPLE: u64 = 256;

/// The bytes that a partition may have, so that those that are at work at once fit into a job.
fn fitting(limits: &Limits, partitions: u64) -> u64 {
    let at_once = (limits.threads() as u64).min(partitions).max(1);
    limits.job / (COPIES * at_once)
}

/// The minimum number of partitions for this many vectors, if the partitions come out about alike.
pub(super) fn least(rows: u64, vector_bytes: u64) -> u64 {
    // Some are twice as large as most.
    let bytes = rows.saturating_mul(vector_bytes).saturating_mul(2);
    bytes.div_ceil(fitting(&limits(), u64::MAX).max(1)).max(1)
}

/// Into how many partitions Lance would divide this many rows.
pub(super) fn recommended_partitions(rows: u64) -> u64 {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    recommended_num_partitions(rows, PARTITION_ROWS) as u64
}

/// Why an index over `rows` rows, each of `row` bytes there, cannot be made within the memory of a job, if it is
/// trained on that many bytes; nothing when it can.
pub(super) fn obstacle_to_making(rows: u64, row: u64, training: u64) -> Option<String> {
    too_large_to_make(&limits(), rows, row, training)
}

/// The same of an index that is there, if it is trained anew over this many rows with such vectors.
pub(super) fn obstacle_to_making_anew(
    index: &dyn VectorIndex,
    rows: u64,
    vector: u64,
) -> Option<String> {
    let row = row(index, vector) + size_of::<u64>() as u64;
    let centroids = index.ivf_model().num_partitions() as u64;
    let trained = if is_flat(index) {
        centroids
    } else {
        centroids.max(CODES)
    };
    obstacle_to_making(rows, row, trained.saturating_mul(SAMPLE * vector))
}

/// Bytes of one vector of that many, as an index holds it.
fn row(index: &dyn VectorIndex, vector: u64) -> u64 {
    if is_flat(index) {
        vector
    } else {
        vector / QUANTIZED
    }
}

fn is_flat(index: &dyn VectorIndex) -> bool {
    [IndexType::IvfFlat, IndexType::IvfHnswFlat].contains(&index.index_type())
}

fn too_large_to_make(limits: &Limits, rows: u64, row: u64, training: u64) -> Option<String> {
    let at_once = WINDOW.saturating_mul(limits.threads() as u64).min(WINDOWS);
    let taken_up = rows.saturating_mul(row).min(at_once);
    // What is put together of it comes on top.
    let needed = training.max(taken_up + taken_up / 4);
    (needed > limits.job).then(|| {
        format!(
            "it takes {} MiB to make, and what a job may take of daemon.memory has room for {} MiB: give the daemon more \
             memory, or have fewer jobs at once (daemon.concurrency)",
            needed / MIB,
            limits.job / MIB
        )
    })
}

/// Why these segments of one index cannot be extended within the memory of a job, by this many rows; nothing when they
/// can, or are of no vector index. Where they are merged, all their rows count.
///
/// # Errors
/// Lance's, when a segment cannot be opened.
pub(crate) async fn obstacle(
    dataset: &Dataset,
    segments: &[&IndexMetadata],
    merged: bool,
    outside: u64,
) -> lance::Result<Option<String>> {
    let schema = dataset.schema();
    let vectors = segments
        .last()
        .filter(|s| details::is_of(IndexKind::Vector, s));
    let field = vectors.and_then(|s| schema.field_by_id(s.keyed_field()?));
    let Some((field, value)) = field.and_then(|f| Some((f, width(&f.data_type())?))) else {
        return Ok(None);
    };
    if segments.iter().any(|segment| is_definition(segment)) {
        // It is trained as its definition says, which only Lance can read: at worst, no vector is quantized.
        let rows = dataset.manifest().fragments.iter().map(live_rows).sum();
        let training = recommended_partitions(rows).saturating_mul(SAMPLE * value);
        return Ok(obstacle_to_making(rows, value, training));
    }
    let column = schema.field_path(field.id)?;
    let mut partitions: Vec<u64> = Vec::new();
    let mut row_bytes = 0;
    for segment in segments {
        let opened = dataset.open_vector_index(&column, &segment.uuid, &NoOpMetricsCollector);
        let index = opened.await?;
        row_bytes = row_bytes.max(row(&*index, value));
        let found = index.ivf_model().num_partitions();
        partitions.resize(partitions.len().max(found), 0);
        for (n, rows) in partitions.iter_mut().enumerate().take(found) {
            *rows += index.partition_size(n) as u64;
        }
    }
    let bytes = largest(&partitions, merged, outside).saturating_mul(row_bytes);
    let fits = fitting(&limits(), partitions.len() as u64);
    Ok((bytes > fits).then(|| {
        format!(
            "its largest partition would be {} MiB, and what a job may take of daemon.memory has room for {} MiB: give the \
             daemon more memory, or make the index anew with more partitions (it has {})",
            bytes / MIB,
            fits / MIB,
            partitions.len()
        )
    }))
}

/// Whether a segment says what an index is to be, and has no rows of it yet.
fn is_definition(segment: &IndexMetadata) -> bool {
    let covered = segment.fragment_bitmap.as_ref();
    covered.is_some_and(|covered| covered.is_empty())
        && segment.files.as_ref().is_none_or(Vec::is_empty)
}

/// Rows of the largest partition that is written: further rows come into each as those that are there did.
fn largest(partitions: &[u64], merged: bool, outside: u64) -> u64 {
    let (all, most) = (
        partitions.iter().sum::<u64>().max(1),
        partitions.iter().copied().max().unwrap_or(0),
    );
    let further = u128::from(outside) * u128::from(most) / u128::from(all);
    let further = u64::try_from(further).unwrap_or(u64::MAX);
    further.saturating_add(if merged { most } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_rows_come_into_partitions_as_those_did_that_are_there() {
        assert_eq!(largest(&[60, 30, 10], false, 200), 120);
        assert_eq!(largest(&[60, 30, 10], true, 200), 180);
        assert_eq!(largest(&[], true, 200), 0);
    }

    #[test]
    fn partitions_that_are_at_work_at_once_fit_into_a_job_with_their_copies() {
        for budget in [Limits::SMALLEST_BUDGET, Limits::DEFAULT_BUDGET, 64 << 30] {
            let limits = Limits::of(budget, 2);
            for partitions in [1, 2, 1_000] {
                let at_once = (limits.threads() as u64).min(partitions);
                assert!(fitting(&limits, partitions) * COPIES * at_once <= limits.job);
            }
        }
    }

    #[test]
    fn an_index_is_made_only_where_a_job_has_room_for_what_is_taken_up_at_once() {
        let small = Limits::of(352 * MIB, 2);
        assert_eq!(too_large_to_make(&small, 100_000, 136, 0), None);
        let (rows, row) = (82_285, 2_056);
        let message = too_large_to_make(&small, rows, row, 0).unwrap();
        assert!(
            message.contains("201 MiB") && message.contains("72 MiB"),
            "{message}"
        );
        assert_eq!(
            too_large_to_make(&Limits::of(4 << 30, 2), rows, row, 0),
            None
        );
        let training = 100 * MIB;
        assert!(too_large_to_make(&small, 1_000, 136, training).is_some());
        // However large the table: it is not taken up all at once.
        assert_eq!(
            too_large_to_make(&Limits::of(4 << 30, 2), u64::MAX, row, 0),
            None
        );
    }

    #[test]
    fn wide_vectors_are_divided_into_more_partitions() {
        let fits = fitting(&limits(), u64::MAX);
        let (rows, width) = (1_000_000, 6_148);
        assert!(rows * width / least(rows, width) <= fits);
        assert_eq!(least(1, 4), 1);
    }
}
