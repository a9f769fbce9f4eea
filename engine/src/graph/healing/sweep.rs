//! The removal of old heartbeats, and of half-written files on a local disk.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};

use super::report::Healed;
use crate::{
    error::{Error, Result},
    graph::context::Core,
    storage::deletion,
};

/// Minimum age of a heartbeat that no ticket needs, or of a half-written file, before it is removed, by the store's clock.
const MIN_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between two sweeps of one process.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Sweeps, if a sweep is due.
pub(super) async fn sweep_if_due(core: &Core, healed: &mut Healed) {
    if !core.sweeps.is_due(INTERVAL) {
        return;
    }
    match sweep(core).await {
        Ok(removed) => healed.leftovers += removed,
        Err(e) => healed.failed.push(e),
    }
}

/// Removes old heartbeats that no ticket needs, and old half-written files; says how many.
async fn sweep(core: &Core) -> Result<usize> {
    let beats = core.heartbeat.others().await?;
    let folders: Vec<PathBuf> = core.storage.squire_folders_on_disk();
    if beats.is_empty() && folders.is_empty() {
        return Ok(0);
    }
    let now = core.heartbeat.store_clock().await?;
    let manifest = core.manifests.newest().await?;
    let old = |written: DateTime<Utc>| (now - written).to_std().is_ok_and(|age| age > MIN_AGE);
    let mut removed = 0;
    for (holder, written) in beats {
        if old(written) && manifest.queue.iter().all(|t| t.holder != holder) {
            core.heartbeat.remove(&holder).await?;
            removed += 1;
        }
    }
    if !folders.is_empty() {
        let before = SystemTime::from(now) - MIN_AGE;
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

/// Removes the files that killed puts left in a folder: the local store writes `NAME#1` and renames it then, and no
/// listing shows it. Best effort.
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
