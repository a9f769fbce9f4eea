//! What several operations need to stage their effects.

use std::sync::Arc;

use lance::{
    Dataset,
    dataset::{MergeInsertBuilder, MergeInsertJob, WhenMatched, WhenNotMatched},
};

use crate::{
    error::Result,
    storage::LeasedHandle,
    table::{Table, drift},
};

/// Opens a table at the version to stage at, through a handle that remembers what is written.
pub(super) async fn open_to_stage(
    table: &Table,
    pin: u64,
) -> Result<(Arc<Dataset>, u64, LeasedHandle)> {
    let workshop = table.storage.leased_handle().await?;
    let open = |version| {
        let params = workshop.params();
        async move {
            let opened = table.open(version, params, None).await;
            opened.map_err(|e| table.failed("opening", e))
        }
    };
    let mut dataset = open(pin).await?;
    let head = table.head_of(&dataset).await?;
    let base = drift::stage_at(table, pin, head).await?;
    if base != pin {
        dataset = open(base).await?;
    }
    Ok((Arc::new(dataset), base, workshop))
}

/// How rows are merged into a table by its key: those that are there are replaced, others are added.
pub(super) fn merge_by_key(dataset: Arc<Dataset>, key: &[String]) -> lance::Result<MergeInsertJob> {
    MergeInsertBuilder::try_new(dataset, key.to_vec())?
        .when_matched(WhenMatched::UpdateAll)
        .when_not_matched(WhenNotMatched::InsertAll)
        .conflict_retries(0)
        .try_build()
}
