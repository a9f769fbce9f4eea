//! Purges: what a hard drop took away is made unreachable.
//!
//! The publish of a hard drop leaves a note for each path in the manifest. Whoever comes next carries it out: the
//! owner right after its publish, and every round of healing. Only then the note goes. Doing it twice, at once or
//! after a crash in between, does no harm.

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::cleanup::{CleanupPolicy, RemovalStats},
};

use crate::{
    core::Core,
    error::{Error, Result},
    failpoint,
    manifest::{Call, Manifest, Purge, TicketState, transition},
    names::OperationId,
    table::Table,
};

/// Carries out the purges that `manifest` notes, as far as no operation is decided on their tables: one that waits stages
/// at the noted pin or later. Returns how many it carried out.
///
/// # Errors
/// The first failure; the others are carried out all the same, and the failed one stays noted.
pub(crate) async fn round(core: &Core, manifest: &Manifest) -> Result<usize> {
    let mut purged = 0;
    let mut failed = None;
    for (path, purge) in &manifest.purges {
        if is_touched(manifest, path) {
            continue;
        }
        match carry_out(core, manifest, path, purge).await {
            Ok(()) => purged += 1,
            Err(e) => _ = failed.get_or_insert(e),
        }
    }
    failed.map_or(Ok(purged), Err)
}

/// Whether a decided or quarantined ticket touches the table at a path. A dropped table has no key any more, so none does.
fn is_touched(manifest: &Manifest, path: &str) -> bool {
    let mut keys = manifest.tables.iter().filter(|(_, e)| e.path == *path);
    let touches = |key| {
        let mut tickets = manifest.queue.iter();
        tickets.any(|t| t.state != TicketState::Waiting && t.touched.all().any(|k| k == key))
    };
    keys.any(|(key, _)| touches(key))
}

async fn carry_out(core: &Core, manifest: &Manifest, path: &str, purge: &Purge) -> Result<()> {
    failpoint::hit!(BEFORE_PURGE);
    match purge.below {
        None => {
            core.storage.delete_table(path).await.map_err(|e| {
                Error::store("purging a dropped table of", core.storage.uri.clone(), e)
            })?
        }
        Some(below) => {
            let table = core.table(&purge.table, path);
            let entry = manifest.tables.values().find(|e| e.path == *path);
            let dataset = table.at(entry.map_or(below, |e| e.pin)).await?;
            remove_below(&table, &dataset, below).await?;
        }
    }
    failpoint::hit!(AFTER_PURGE);
    let (noted, done) = (path.to_owned(), purge.clone());
    let by = core.by("what a hard drop took away");
    let call = core
        .register
        .change(OperationId::fresh(), move |m| {
            transition::purged(m, &noted, &done, &by)
        })
        .await?;
    if let Call::Holds(_) = call {
        tracing::info!(table = %purge.table, path, below = purge.below, uri = %core.storage.uri, "purged");
    }
    Ok(())
}

/// Removes the versions before `below`, and the files that no other version names. Files that never were in a version
/// stay: somebody may be about to commit them.
async fn remove_below(table: &Table, dataset: &Dataset, below: u64) -> Result<RemovalStats> {
    let failed = |e| table.failed("purging earlier versions of", e);
    let policy = CleanupPolicy {
        before_version: Some(below),
        error_if_tagged_old_versions: false,
        ..CleanupPolicy::default()
    };
    let cleanup = dataset.cleanup(policy);
    let removed = cleanup.execute().boxed().await.map_err(failed)?;
    let tags = dataset.tags().list().await.map_err(failed)?;
    for (tag, contents) in tags.iter().filter(|(_, tag)| tag.version < below) {
        tracing::warn!(table = %table.key, tag, version = contents.version, uri = %table.storage.uri, "a tagged version still shows what a hard drop took away: delete the tag, then clean up");
    }
    Ok(removed)
}
