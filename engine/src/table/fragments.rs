//! Fragments, as a manifest describes them.

use std::collections::HashMap;

use lance::Dataset;
use lance_core::datatypes::Field;
use lance_table::format::{DataFile, Fragment, IndexMetadata};

/// The fragments of a version, by id.
pub(crate) fn fragments_by_id(dataset: &Dataset) -> HashMap<u64, &Fragment> {
    let fragments = dataset.manifest().fragments.iter();
    fragments.map(|f| (f.id, f)).collect()
}

/// Whether a source fragment is there with the same data files. What is known of a file's size may differ: Lance
/// looks it up when an old manifest does not tell it.
pub(crate) fn same_files(source: &Fragment, now: &Fragment) -> bool {
    let same = |(a, b): (&DataFile, &DataFile)| {
        a.path == b.path
            && a.base_id == b.base_id
            && a.fields == b.fields
            && a.column_indices == b.column_indices
    };
    now.overlays.is_empty()
        && source.physical_rows == now.physical_rows
        && source.files.len() == now.files.len()
        && source.files.iter().zip(&now.files).all(same)
}

/// Whether a segment answers for a fragment.
pub(crate) fn covers(segment: &IndexMetadata, fragment: &Fragment) -> bool {
    let bitmap = segment.fragment_bitmap.as_ref();
    u32::try_from(fragment.id).is_ok_and(|id| bitmap.is_some_and(|b| b.contains(id)))
}

/// Rows of a fragment that are deleted and still in its files.
pub(crate) fn deleted_rows(fragment: &Fragment) -> u64 {
    let deletions = fragment.deletion_file.as_ref();
    deletions.and_then(|d| d.num_deleted_rows).unwrap_or(0) as u64
}

/// Rows of a fragment that are not deleted.
pub(crate) fn live_rows(fragment: &Fragment) -> u64 {
    let rows = fragment.physical_rows.unwrap_or(0) as u64;
    rows.saturating_sub(deleted_rows(fragment))
}

/// Whether a column has large values, or some below it do.
pub(crate) fn holds_blobs(field: &Field) -> bool {
    field.is_blob() || field.children.iter().any(holds_blobs)
}
