//! `Cleanup`: versions of a table that no reader needs any more are removed.
//!
//! It commits nothing and has no ticket. It looks at what is kept, says in the manifest what it is about to remove
//! (transition `clean`), and removes it. `docs/protocol.md`, Cleanup, has the reasons.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::removal_notice::announce;
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Manifest, TicketState},
    },
    ids::TableKey,
    planner::{
        Ask,
        cleanup::{self, CleanupPolicy, Decision, Protected, Skip},
    },
    table::{
        Table,
        protection::Protection,
        removal::{Cleaned, Cleaner, CleanupPreview, Going, Removed},
        retention::{Kept, kept_by_policy},
        stats::VersionInfo,
        unwritable::Unwritable,
        versions,
    },
};

/// How the folder of a Lance table ends.
const EXTENSION: &str = ".lance";
/// Timeout of the wait for a moment in which no operation is decided on the table.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Removes old versions of one table. See [`crate::Graph::cleanup`].
pub(crate) async fn cleanup(
    core: &Arc<Core>,
    key: &TableKey,
    policy: &CleanupPolicy,
    ask: &Ask,
    stop: &CancellationToken,
) -> Result<Cleaned> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Cancelled),
        cleaned = clean(core, key, policy, ask) => cleaned,
    }
}

async fn clean(core: &Core, key: &TableKey, policy: &CleanupPolicy, ask: &Ask) -> Result<Cleaned> {
    let look = Look::at(core, key, policy).await?;
    // Only where there is something to remove, the store is asked what time it is.
    if let Decision::Skip(skip) = look.decision(policy, Utc::now(), ask) {
        return Ok(Cleaned::Skipped(skip));
    }
    let now = core.heartbeat.store_clock().await?;
    let (going, reason) = match look.decision(policy, now, ask) {
        Decision::Remove { versions, reason } => (versions, reason),
        Decision::Skip(skip) => return Ok(Cleaned::Skipped(skip)),
    };
    let below = going.last().map_or(0, |last| last.saturating_add(1));
    let (table, summary) = (&look.table, format!("{key}: versions below {below}"));
    if !announce(core, key, &table.path, below, &summary, WAIT_TIMEOUT).await? {
        return Ok(Cleaned::Skipped(Skip::Protected));
    }
    let going = Going {
        versions: &going,
        listed: &look.versions,
        references: &look.protection.references,
    };
    look.cleaner.clean(table, going, reason).await
}

/// What [`cleanup`] would do now. See [`crate::Graph::explain_cleanup`].
pub(crate) async fn explain(
    core: &Core,
    key: &TableKey,
    policy: &CleanupPolicy,
    ask: &Ask,
) -> Result<CleanupPreview> {
    let look = Look::at(core, key, policy).await?;
    let now = Utc::now();
    let decision = look.decision(policy, now, ask);
    let goes = match &decision {
        Decision::Remove { versions, .. } => look.cleaner.explain(&look.table, versions).await?,
        Decision::Skip(_) => Removed::default(),
    };
    let mut kept = look.protection.kept;
    kept.extend(kept_by_policy(&look.versions, policy, now));
    Ok(CleanupPreview {
        decision,
        versions: look.versions.len() as u64,
        goes,
        kept,
    })
}

/// A table's versions, and what keeps them, as of one manifest.
struct Look {
    table: Table,
    cleaner: Cleaner,
    versions: Vec<VersionInfo>,
    protection: Protection,
}

impl Look {
    async fn at(core: &Core, key: &TableKey, policy: &CleanupPolicy) -> Result<Self> {
        let (manifest, oldest) = kept_manifests(core).await?;
        let table = core.table_in(&manifest, key)?;
        let cleaner = Cleaner::at(&table, manifest.pin(key)).await?;
        let versions = versions::list(&table).await?;
        let (from, kept) = kept_by_graph(&manifest, &oldest, &table);
        let by_graph = Protection {
            protected: Protected {
                from: Some(from),
                ..Protected::default()
            },
            kept,
            ..Protection::default()
        };
        let forced = true;
        let going = cleanup::plan(&versions, &by_graph.protected, policy, Utc::now(), forced);
        let going = match going {
            Decision::Remove { versions, .. } => versions.into_iter().collect(),
            Decision::Skip(_) => BTreeSet::new(),
        };
        let listed = versions.iter().map(|v| v.version).collect();
        let others = manifest.tables.iter().filter(|(other, _)| *other != key);
        let others = others.map(|(key, entry)| (key.clone(), entry.path.clone()));
        let mut of_others = by_graph;
        of_others.keep_if_shared(&table, others).await?;
        if !going.is_empty() {
            let (dataset, clones) = (&cleaner.dataset, clones(&table, &manifest));
            let readers = &core.readers;
            let protecting = readers.protect(&table, dataset, &going, &mut of_others, clones);
            protecting.await?;
        }
        let own = Protection::of(&table, &cleaner.dataset, &listed, &going).await?;
        Ok(Self {
            protection: of_others.and(own),
            versions,
            cleaner,
            table,
        })
    }

    fn decision(&self, policy: &CleanupPolicy, now: DateTime<Utc>, ask: &Ask) -> Decision {
        if Unwritable::by_features(self.cleaner.dataset.manifest()).is_some() {
            return Decision::Skip(Skip::Unwritable);
        }
        let protected = &self.protection.protected;
        cleanup::plan(&self.versions, protected, policy, now, ask.forced)
    }
}

/// The tables under the root that are not the graph's: what a client made there, such as a shallow clone.
async fn clones(table: &Table, manifest: &Manifest) -> Result<Vec<Table>> {
    let storage = &table.storage;
    let listed = storage.store.list_with_delimiter(Some(&storage.base)).await;
    let listed = listed.map_err(|e| Error::store("listing the tables of", &storage.uri, e))?;
    let folders = listed.common_prefixes.iter().filter_map(Path::filename);
    let tables = folders.filter_map(|folder| {
        let name = folder.strip_suffix(EXTENSION).filter(|n| !n.is_empty())?;
        let is_of_graph = manifest.tables.values().any(|entry| entry.path == folder);
        (!is_of_graph).then(|| Table {
            key: TableKey::of_directory(name),
            path: folder.to_owned(),
            ..table.clone()
        })
    });
    Ok(tables.collect())
}

/// The newest manifest, and the oldest that is kept.
async fn kept_manifests(core: &Core) -> Result<(Arc<Manifest>, Arc<Manifest>)> {
    loop {
        let newest = core.manifests.newest().await?;
        let oldest = newest.collected_below.max(1);
        if oldest == newest.number {
            return Ok((newest.clone(), newest));
        }
        // Gone: it was collected since, and there is a newer one.
        if let Some(oldest) = core.manifests.read(oldest).await? {
            return Ok((newest, Arc::new(oldest)));
        }
    }
}

/// The first version that the graph keeps, and what for.
///
/// Pins never go back, and no path is used twice: so the oldest manifest that is kept has the oldest pin of a table at
/// the table's path, whatever its key was then. A path that it does not name is younger, with all its versions.
fn kept_by_graph(newest: &Manifest, oldest: &Manifest, table: &Table) -> (u64, Vec<Kept>) {
    let mut entries = oldest
        .tables
        .values()
        .filter(|entry| entry.path == table.path);
    let pin = entries.next().map_or(1, |entry| entry.pin);
    let mut kept = vec![Kept::Pins {
        from: pin,
        manifests: (oldest.number, newest.number),
    }];
    let mut from = pin;
    let touching = newest
        .queue
        .iter()
        .filter(|t| t.touched.all().any(|k| *k == table.key));
    for ticket in touching {
        let (bases, quarantined) = match &ticket.state {
            // It stages at the pin or later.
            TicketState::Waiting => continue,
            TicketState::Decided { bases } => (bases, false),
            TicketState::Quarantined { bases, .. } => (bases, true),
        };
        let base = bases.get(&table.key).copied();
        from = base.map_or(from, |base| from.min(base));
        kept.push(Kept::Ticket {
            operation: ticket.operation,
            kind: ticket.kind,
            base,
            quarantined,
        });
    }
    (from, kept)
}
