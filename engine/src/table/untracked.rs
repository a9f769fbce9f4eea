//! Files that no version of a table names, and that are so old that no writer will commit them: what abandoned writes
//! left.
//!
//! Lance's cleanup takes them along. Of a table that has no version to remove, Squire must search for them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use lance::index::DatasetIndexExt;
use object_store::ObjectMeta;

use super::{Table, references::Files, removal::Cleaner};
use crate::{
    error::{Error, Result},
    table::handle::guarded,
};

/// As long as this, a file may be part of a write that is under way; Lance's rule.
const OLD: TimeDelta = TimeDelta::days(7);

/// Whether there are any. It lists data and indexes; only where one of them is old and not of the newest version, it reads
/// the manifests of all.
///
/// # Errors
/// [`Error::Store`], [`Error::Lance`], [`Error::Panicked`].
pub(crate) async fn any(table: &Table, cleaner: &Cleaner) -> Result<bool> {
    const ACTION: &str = "reading the indexes of";
    let dataset = &cleaner.dataset;
    let indexes = async {
        let indexes = dataset.load_indices().await;
        indexes.map_err(|e| table.failed(ACTION, e))
    };
    let indexes = guarded(table, ACTION, indexes).await?;
    let named = Files::own(dataset.manifest(), &indexes);
    let candidates = old_and_not_among(table, &named, Utc::now() - OLD).await?;
    if candidates.is_empty() {
        return Ok(false);
    }
    let goes = cleaner.explain(table, &[]).await?;
    Ok(goes.files > 0)
}

/// Files of data and indexes that were written before this time and are not among these.
async fn old_and_not_among(
    table: &Table,
    named: &Files,
    before: DateTime<Utc>,
) -> Result<BTreeSet<String>> {
    let base = table.storage.table_base(&table.path);
    let mut old = BTreeSet::new();
    for folder in Files::FOLDERS {
        let mut found = table.storage.store.list(Some(&base.clone().join(folder)));
        while let Some(object) = found.next().await {
            let object: ObjectMeta = object.map_err(|e| {
                let of = format!("{} of {}", table.key, table.storage.uri);
                Error::store("listing the files of", of, e)
            })?;
            if object.last_modified < before
                && let Some(file) = Files::place(&object.location, &base)
                && !named.has(&file)
            {
                old.insert(file);
            }
        }
    }
    Ok(old)
}
