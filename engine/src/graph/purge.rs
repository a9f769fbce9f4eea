//! Purges: what a hard drop took away is made unreachable.
//!
//! The publish of a hard drop leaves a note for each path in the manifest. Whoever comes next carries it out: the
//! owner right after its publish, and every round of healing. Only then the note goes. Doing it twice, at once or
//! after a crash in between, does no harm.

use crate::{
    error::{Error, Result},
    failpoint,
    graph::{
        context::Core,
        manifest::{Call, Manifest, Purge, TicketState, transition},
    },
    ids::{OperationId, TableKey},
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
            if let Some((key, _)) = entry
                && !begin(core, key, path, below).await?
            {
                return Ok(false);
            }
            remove_below(&table, &cleaner, below).await?;
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
    Ok(true)
}

/// Says in the manifest that versions before `below` go, as a cleanup does; `false` when an operation was decided on the
/// table since the note was read. From then on, whoever comes in comes in after this manifest, and so at its pin or
/// later. A path that was dropped needs none of this: no operation touches it any more.
///
/// # Errors
/// [`Error::Store`]; after [`Error::OutcomeUnknown`], nothing may be deleted.
async fn begin(core: &Core, key: &TableKey, path: &str, below: u64) -> Result<bool> {
    let by = core.by(&format!("{key}: versions below {below}, for a hard drop"));
    let (key, path) = (key.clone(), path.to_owned());
    let call = core
        .register
        .change(OperationId::fresh(), move |m| {
            transition::clean(m, &key, &path, below, &by)
        })
        .await?;
    Ok(matches!(call, Call::Holds(_)))
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
