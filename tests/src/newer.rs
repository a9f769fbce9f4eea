//! A writer with a newer Lance than this build has.

use lance::{Dataset, index::DatasetIndexExt};
use lance_table::{feature_flags::FLAG_OBJECT_METADATA, io::commit::write_manifest_file_to_path};

/// Makes the next version of a table, for which a writer has to know more than this build does; it can be read as before.
///
/// # Panics
/// When the version cannot be written.
pub async fn write_with_a_newer_lance(table: &Dataset) {
    write(table, table.manifest().version + 1).await;
}

/// The same with the version that is there, as if it had been written so.
///
/// # Panics
/// When the version cannot be written.
pub async fn as_if_a_newer_lance_had_written(table: &Dataset) {
    write(table, table.manifest().version).await;
}

async fn write(table: &Dataset, version: u64) {
    let mut manifest = table.manifest().clone();
    manifest.version = version;
    manifest.writer_feature_flags |= FLAG_OBJECT_METADATA;
    let indexes = table.load_indices().await.expect("indexes can be listed");
    let base = table.branch_location().path;
    let naming = table.manifest_location().naming_scheme;
    let path = naming.manifest_path(&base, version);
    let store = table.object_store(None).await.expect("there is a store");
    let indexes = Some(indexes.as_ref().clone());
    let written = write_manifest_file_to_path(&store, &mut manifest, indexes, &path, None);
    written.await.expect("a manifest can be written");
}
