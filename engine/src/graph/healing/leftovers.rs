//! Which sidecars there are, and what nobody names any more: sidecars without a ticket, heartbeats of holders long dead, and half-written files
//! that a killed put left on a local disk.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};

use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        healing::Healed,
        manifest::{Call, Manifest, TicketState, transition},
    },
    ids::OperationId,
    storage::deletion,
};

/// A sidecar that no manifest names is an orphan after this long, by the store's clock.
const ORPHAN_AGE: Duration = Duration::from_secs(600);
/// A heartbeat that no ticket needs, or a half-written file, is removed after this long, by the store's clock.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// So often a process looks for the latter two.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// A sidecar that no manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The operation that wrote it.
    pub operation: OperationId,
    /// How long ago, by the store's clock.
    pub age: Duration,
}

impl Orphan {
    /// Whether its author had its time: a younger one may be about to come in.
    pub fn is_due(&self) -> bool {
        self.age >= ORPHAN_AGE
    }
}

/// A sidecar that is on the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarLook {
    /// The operation that wrote it.
    pub operation: OperationId,
    /// When, by the store's clock.
    pub written: DateTime<Utc>,
    /// How its operation stands.
    pub state: SidecarState,
}

/// How the operation of a sidecar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarState {
    /// It is in line, and about to be decided.
    Waiting,
    /// It is decided and takes effect.
    Decided,
    /// It is decided, cannot be applied, and waits for an operator.
    Quarantined,
    /// No manifest names it: it is about to come in, or its author is gone.
    Unnamed,
    /// It has ended: a healer deletes the sidecar.
    Ended,
}

impl SidecarState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Decided,
        Self::Quarantined,
        Self::Unnamed,
        Self::Ended,
    ];

    /// The state as metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Decided => "decided",
            Self::Quarantined => "quarantined",
            Self::Unnamed => "unnamed",
            Self::Ended => "ended",
        }
    }

    fn of(operation: OperationId, manifest: &Manifest) -> Self {
        match manifest.ticket(operation).map(|ticket| &ticket.state) {
            Some(TicketState::Waiting) => Self::Waiting,
            Some(TicketState::Decided { .. }) => Self::Decided,
            Some(TicketState::Quarantined { .. }) => Self::Quarantined,
            None if has_ended(manifest, operation) => Self::Ended,
            None => Self::Unnamed,
        }
    }
}

/// Every sidecar that there is: a list of them, and one of the manifests.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn look(core: &Core) -> Result<Vec<SidecarLook>> {
    // First the sidecars: one that is deleted meanwhile is of an operation that has ended.
    let listed = core.recovery.list().await?;
    let manifest = core.register.newest().await?;
    let look = |s: crate::graph::sidecar::Listed| SidecarLook {
        operation: s.operation,
        written: s.written,
        state: SidecarState::of(s.operation, &manifest),
    };
    Ok(listed.into_iter().map(look).collect())
}

/// Removes what is left over, as far as it is due. What cannot be removed keeps nothing else from it.
pub(crate) async fn remove(core: &Core, healed: &mut Healed) {
    match sidecars(core, healed).await {
        Ok(orphans) => {
            for orphan in orphans.iter().filter(|o| o.is_due()) {
                match remove_orphan(core, orphan.operation).await {
                    Ok(removed) => healed.orphans += usize::from(removed),
                    Err(e) => healed.failed.push(e),
                }
            }
        }
        Err(e) => healed.failed.push(e),
    }
    if !core.sweep_is_due(SWEEP_EVERY) {
        return;
    }
    match sweep(core).await {
        Ok(removed) => healed.leftovers += removed,
        Err(e) => healed.failed.push(e),
    }
}

/// Deletes the sidecars of operations that have ended, and returns those that no manifest names.
async fn sidecars(core: &Core, healed: &mut Healed) -> Result<Vec<Orphan>> {
    let listed = core.recovery.list().await?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let manifest = core.register.newest().await?;
    for sidecar in &listed {
        if has_ended(&manifest, sidecar.operation) {
            core.recovery.delete(sidecar.operation).await;
            healed.orphans += 1;
        }
    }
    aged(core, &manifest, listed).await
}

/// Sidecars that no manifest names; deletes none.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn orphans(core: &Core) -> Result<Vec<Orphan>> {
    let listed = core.recovery.list().await?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let manifest = core.register.newest().await?;
    aged(core, &manifest, listed).await
}

fn has_ended(manifest: &Manifest, operation: OperationId) -> bool {
    manifest.ticket(operation).is_none() && manifest.outcomes.contains_key(&operation)
}

async fn aged(
    core: &Core,
    manifest: &Manifest,
    listed: Vec<crate::graph::sidecar::Listed>,
) -> Result<Vec<Orphan>> {
    let unnamed: Vec<_> = listed
        .into_iter()
        .filter(|s| manifest.ticket(s.operation).is_none())
        .filter(|s| !manifest.outcomes.contains_key(&s.operation))
        .collect();
    if unnamed.is_empty() {
        return Ok(Vec::new());
    }
    let now = core.liveness.store_clock().await?;
    let orphan = |s: crate::graph::sidecar::Listed| Orphan {
        operation: s.operation,
        age: (now - s.written).to_std().unwrap_or_default(),
    };
    Ok(unnamed.into_iter().map(orphan).collect())
}

/// Bars an operation that no manifest names, and deletes its sidecar: its author may be asleep between writing it and
/// deciding. Says whether it was there to be barred.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn remove_orphan(core: &Core, operation: OperationId) -> Result<bool> {
    let by = core.by("its sidecar was left behind");
    let call = core
        .register
        .change(operation, move |m| transition::bar(m, operation, &by))
        .await?;
    if let Call::Refused(_) = call {
        // It came in after all.
        return Ok(false);
    }
    core.recovery.delete(operation).await;
    tracing::info!(%operation, uri = %core.storage.uri, "a sidecar that no manifest named is removed");
    Ok(true)
}

/// Removes old heartbeats that no ticket needs, and old half-written files; says how many.
async fn sweep(core: &Core) -> Result<usize> {
    let beats = core.liveness.others().await?;
    let folders: Vec<PathBuf> = core.storage.squire_folders_on_disk();
    if beats.is_empty() && folders.is_empty() {
        return Ok(0);
    }
    let now = core.liveness.store_clock().await?;
    let manifest = core.register.newest().await?;
    let old = |written: DateTime<Utc>| (now - written).to_std().is_ok_and(|age| age > OLD);
    let mut removed = 0;
    for (holder, written) in beats {
        if old(written) && manifest.queue.iter().all(|t| t.holder != holder) {
            core.liveness.remove(&holder).await?;
            removed += 1;
        }
    }
    if !folders.is_empty() {
        let before = SystemTime::from(now) - OLD;
        let uri = core.storage.uri.clone();
        let half_written = move || {
            folders
                .iter()
                .map(|dir| remove_half_written(dir, before))
                .sum::<usize>()
        };
        removed += tokio::task::spawn_blocking(half_written)
            .await
            .map_err(|e| Error::Store {
                action: "removing half-written files of",
                uri,
                source: object_store::Error::Generic {
                    store: "local disk",
                    source: Box::new(e),
                },
            })?;
    }
    if removed > 0 {
        tracing::info!(removed, uri = %core.storage.uri, "old heartbeats and half-written files are removed");
    }
    Ok(removed)
}

/// Removes what puts that were killed left in a folder: the local store writes `NAME#1` first and renames it then, and
/// no listing shows it. Best effort.
fn remove_half_written(folder: &Path, before: SystemTime) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let is_left = |entry: &std::fs::DirEntry| {
        let written = entry.metadata().and_then(|meta| meta.modified());
        is_half_written(&entry.file_name().to_string_lossy()) && written.is_ok_and(|at| at < before)
    };
    entries
        .flatten()
        .filter(is_left)
        .filter(|entry| deletion::half_written(&entry.path()))
        .count()
}

fn is_half_written(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}

/// When a process last swept.
#[derive(Debug, Default)]
pub(crate) struct Swept(std::sync::Mutex<Option<Instant>>);

impl Swept {
    /// Whether it is time to sweep again; from then on, it is not.
    pub(crate) fn is_due(&self, every: Duration) -> bool {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= every);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_put_leaves_counts_as_half_written() {
        assert!(is_half_written("00000000000000000042.json#1"));
        for name in ["00000000000000000042.json", "a#", "a#b", "host-1-ab"] {
            assert!(!is_half_written(name), "{name}");
        }
    }
}
