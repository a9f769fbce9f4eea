//! What several operations need to stage their effects.

use std::sync::Arc;

use lance::{
    Dataset,
    dataset::{MergeInsertBuilder, MergeInsertJob, WhenMatched, WhenNotMatched},
};

use crate::{
    error::Result,
    graph::{context::Core, manifest::Manifest},
    ids::TableKey,
    schema::TypeDef,
    storage::LeasedHandle,
    table::{
        Table,
        drift::{self, ToStage},
    },
};

/// Opens a table of a snapshot at the version to stage at, through a handle that remembers what is written.
pub(super) async fn open_to_stage(
    core: &Core,
    table: &Table,
    snapshot: &Manifest,
) -> Result<(Arc<Dataset>, u64, LeasedHandle)> {
    let declared = declared(core, snapshot, &table.key)?;
    let workshop = table.storage.leased_handle().await?;
    let pin = snapshot.pin(&table.key);
    let ToStage { dataset, base } =
        drift::open_to_stage(table, pin, declared, || workshop.params()).await?;
    Ok((Arc::new(dataset), base, workshop))
}

/// The declared type of a table.
///
/// # Errors
/// [`crate::Error::UnknownTable`].
pub(super) fn declared<'m>(
    core: &Core,
    snapshot: &'m Manifest,
    key: &TableKey,
) -> Result<&'m TypeDef> {
    let declared = snapshot.schema.types.get(key);
    declared.ok_or_else(|| core.unknown_table(snapshot, &key.to_string()))
}

/// How rows are merged into a table by its key: those that are there are replaced, others are added.
pub(super) fn merge_by_key(dataset: Arc<Dataset>, key: &[String]) -> lance::Result<MergeInsertJob> {
    MergeInsertBuilder::try_new(dataset, key.to_vec())?
        .when_matched(WhenMatched::UpdateAll)
        .when_not_matched(WhenNotMatched::InsertAll)
        .conflict_retries(0)
        .try_build()
}
