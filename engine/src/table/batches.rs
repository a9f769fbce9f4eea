//! How the rows of a table are read that is to be rewritten.

use std::sync::Arc;

use lance::{
    Dataset,
    dataset::{ReadParams, builder::DatasetBuilder},
};
use lance_file::{reader::FileReaderOptions, version::ConcreteFileVersion};
use lance_io::object_store::ObjectStoreParams;

use super::{Table, listing::ByListing, row_sizes, sound};
use crate::{error::Result, memory};

/// The same version of a table that is open, to be rewritten: its rows are read in batches that follow what was decoded
/// last, in bytes, where they differ in size and the format of its files can do that.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn in_batches(
    table: &Table,
    dataset: Dataset,
    params: ObjectStoreParams,
) -> Result<Dataset> {
    let format = dataset.manifest().data_storage_format.version;
    let can = !matches!(format, ConcreteFileVersion::V1 | ConcreteFileVersion::V2_0);
    if !can || !row_sizes::differ(dataset.schema()) {
        return Ok(dataset);
    }
    let options = FileReaderOptions {
        batch_size_bytes: Some(memory::limits().largest_batch()),
        ..FileReaderOptions::default()
    };
    let read = ReadParams {
        file_reader_options: Some(options),
        ..ReadParams::default()
    };
    DatasetBuilder::from_uri(table.storage.table_uri(&table.path))
        .with_read_params(read)
        .with_session(table.storage.session())
        .with_store_params(params)
        .with_version(dataset.manifest().version)
        .with_commit_handler(Arc::new(ByListing))
        .load()
        .await
        .and_then(sound::sound)
        .map_err(|e| table.failed("opening", e))
}
