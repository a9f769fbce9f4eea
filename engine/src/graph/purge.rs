//! Purges: what a hard drop took away is made unreachable.
//!
//! The publish of a hard drop leaves a note for each path in the manifest. The owner carries it out right after its publish,
//! and so does every round of healing. The note is removed afterwards. Doing it twice, at once or after a crash in
//! between, does no harm.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        context::Core,
        manifest::{ChangeResult, Manifest, Purge, TicketState, transition},
        operation::removal_notice::announce,
    },
    ids::OperationId,
    table::{
        Table,
        protection::{Protection, References},
        removal::{Cleaner, Going},
        versions,
    },
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
            Ok(done) => purged += usize::from(done),
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

/// Whether it could be carried out now.
async fn carry_out(core: &Core, manifest: &Manifest, path: &str, purge: &Purge) -> Result<bool> {
    failpoint::hit!(BEFORE_PURGE);
    match purge.below {
        None => {
            core.storage.delete_table(path).await.map_err(|e| {
                Error::store("purging a dropped table of", core.storage.uri.clone(), e)
            })?
        }
        Some(below) => {
            let table = core.table(&purge.table, path);
            let entry = manifest.tables.iter().find(|(_, e)| e.path == *path);
            let cleaner = Cleaner::at(&table, entry.map_or(below, |(_, e)| e.pin)).await?;
            // A path that was dropped needs no notice: no operation touches it any more.
            if let Some((key, _)) = entry {
                let summary = format!("{key}: versions below {below}, for a hard drop");
                if !announce(core, key, path, below, &summary, Duration::ZERO).await? {
                    return Ok(false);
                }
            }
            remove_below(&table, &cleaner, below).await?;
        }
    }
    failpoint::hit!(AFTER_PURGE);
    let (noted, done) = (path.to_owned(), purge.clone());
    let by = core.by("what a hard drop took away");
    let call = core
        .manifests
        .change(OperationId::fresh(), move |m| {
            transition::purged(m, &noted, &done, &by)
        })
        .await?;
    if let ChangeResult::Holds(_) = call {
        tracing::info!(table = %purge.table, path, below = purge.below, uri = %core.storage.uri, "purged");
    }
    Ok(true)
}

/// Removes the versions before `below`, and says which tags keep some of them.
async fn remove_below(table: &Table, cleaner: &Cleaner, below: u64) -> Result<()> {
    let listed = versions::list(table).await?;
    let all = listed.iter().map(|v| v.version).collect();
    let old = listed.iter().map(|v| v.version).filter(|v| *v < below);
    let going = old.clone().collect();
    let protection = Protection::of(table, &cleaner.dataset, &all, &going).await?;
    let from = protection.protected.from.unwrap_or(below);
    let stay = &protection.protected.versions;
    let versions: Vec<_> = old.filter(|v| *v < from && !stay.contains(v)).collect();
    let going = Going {
        versions: &versions,
        listed: &listed,
        references: &protection.references,
    };
    cleaner.remove(table, going).await?;
    let references = References::of(table, &cleaner.dataset).await?;
    for (tag, version) in references.tags_below(below) {
        tracing::warn!(table = %table.key, tag, version, uri = %table.storage.uri, "a tagged version still shows what a hard drop took away: delete the tag, then clean up");
    }
    Ok(())
}
