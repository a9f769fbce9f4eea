//! Orphans: sidecars that no manifest names.

use std::time::Duration;

use super::{report::Healed, sidecars::has_ended};
use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{ChangeResult, Manifest, transition},
        sidecar::Listed,
    },
    ids::OperationId,
};

/// Minimum age of a sidecar that no manifest names before it is removed, by the store's clock.
const ORPHAN_AGE: Duration = Duration::from_secs(600);

/// A sidecar that no manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The operation that wrote it.
    pub operation: OperationId,
    /// How long ago, by the store's clock.
    pub age: Duration,
}

impl Orphan {
    /// Whether it is old enough to be removed: the operation of a younger one may be about to enter the queue.
    pub fn is_due(&self) -> bool {
        self.age >= ORPHAN_AGE
    }
}

/// Removes the orphans that are old enough. One that cannot be removed does not keep the others.
pub(super) async fn remove_due(core: &Core, healed: &mut Healed) {
    match remove_ended(core, healed).await {
        Ok(orphans) => {
            for orphan in orphans.iter().filter(|o| o.is_due()) {
                match remove(core, orphan.operation).await {
                    Ok(removed) => healed.orphans += usize::from(removed),
                    Err(e) => healed.failed.push(e),
                }
            }
        }
        Err(e) => healed.failed.push(e),
    }
}

/// Deletes the sidecars of operations that have ended, and returns those that no manifest names.
async fn remove_ended(core: &Core, healed: &mut Healed) -> Result<Vec<Orphan>> {
    let listed = core.sidecars.list().await?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let manifest = core.manifests.newest().await?;
    for sidecar in &listed {
        if has_ended(&manifest, sidecar.operation) {
            core.sidecars.delete(sidecar.operation).await;
            healed.orphans += 1;
        }
    }
    aged(core, &manifest, listed).await
}

/// Sidecars that no manifest names; deletes none.
///
/// # Errors
/// [`crate::Error::Store`].
pub(crate) async fn list(core: &Core) -> Result<Vec<Orphan>> {
    let listed = core.sidecars.list().await?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let manifest = core.manifests.newest().await?;
    aged(core, &manifest, listed).await
}

async fn aged(core: &Core, manifest: &Manifest, listed: Vec<Listed>) -> Result<Vec<Orphan>> {
    let unnamed: Vec<_> = listed
        .into_iter()
        .filter(|s| manifest.ticket(s.operation).is_none())
        .filter(|s| !manifest.outcomes.contains_key(&s.operation))
        .collect();
    if unnamed.is_empty() {
        return Ok(Vec::new());
    }
    let now = core.heartbeat.store_clock().await?;
    let orphan = |s: Listed| Orphan {
        operation: s.operation,
        age: (now - s.written).to_std().unwrap_or_default(),
    };
    Ok(unnamed.into_iter().map(orphan).collect())
}

/// Bars an operation that no manifest names, and deletes its sidecar: the process that wrote it may be suspended before
/// its decision. `false` when the operation has entered the queue after all.
///
/// # Errors
/// [`crate::Error::Store`].
pub(crate) async fn remove(core: &Core, operation: OperationId) -> Result<bool> {
    let by = core.by("its sidecar was left behind");
    let call = core
        .manifests
        .change(operation, move |m| transition::bar(m, operation, &by))
        .await?;
    if let ChangeResult::Refused(_) = call {
        return Ok(false);
    }
    core.sidecars.delete(operation).await;
    tracing::info!(%operation, uri = %core.storage.uri, "a sidecar that no manifest named is removed");
    Ok(true)
}
