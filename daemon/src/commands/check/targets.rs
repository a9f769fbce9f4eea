//! Opens the targets as the daemon would, all at once, and reads. What is written is a file in a table's folder, to see
//! whose it becomes; it is removed at once.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::future::join_all;
use rustix::fs::{Access, access};
use squire_config::{Settings, Target};
use squire_engine::{Options, manifest::TicketState};
use tokio::{task::spawn_blocking, time::timeout};
use url::Url;

use super::{
    finding::{Finding, Seen},
    readable,
};
use crate::{
    exit::Failure,
    target::{Opened, beyond},
};

/// Asks every target; none takes longer than `patience`.
pub(super) async fn probe(settings: &Settings, patience: Duration) -> Vec<Seen> {
    join_all(settings.targets.iter().map(|target| ask(target, patience))).await
}

async fn ask(target: &Target, patience: Duration) -> Seen {
    let begun = Instant::now();
    let mut seen = Seen {
        uri: target.uri.clone(),
        kind: None,
        tables: None,
        took: Duration::ZERO,
        finding: Finding::good(&target.name, "it can be read"),
    };
    let looked = timeout(patience, look(target, &mut seen)).await;
    let finding = match looked {
        Ok(Ok(finding)) => finding,
        Ok(Err(failure)) => Finding::bad(&target.name, failure.code(), failure.to_string()),
        Err(_) => Finding::bad(
            &target.name,
            1,
            format!(
                "{} did not answer within {}: check the network, the credentials and the endpoint, or give it longer with --timeout",
                target.uri,
                humantime::format_duration(patience)
            ),
        ),
    };
    seen.finding = finding;
    seen.took = begun.elapsed();
    seen
}

async fn look(target: &Target, seen: &mut Seen) -> Result<Finding, Failure> {
    let options = Options {
        beyond: beyond(target),
        ..Options::default()
    };
    let opened = Opened::open(&target.uri, target.kind, options).await?;
    seen.kind = Some(match &opened {
        Opened::Graph(_) => "graph",
        Opened::Directory(_) => "directory",
    });
    let tables = opened.tables().await?;
    seen.tables = Some(tables.len());
    // A list says that there is something; whether it may be read, only reading says.
    if let Some(first) = tables.first() {
        opened.stats(first).await?;
    }
    if let Opened::Graph(graph) = &opened {
        let snapshot = graph.snapshot().await?;
        let queue = snapshot.manifest().queue.iter();
        let is_quarantined = |state: &TicketState| matches!(state, TicketState::Quarantined { .. });
        let quarantined = queue.filter(|ticket| is_quarantined(&ticket.state)).count();
        if quarantined > 0 {
            let message = format!(
                "{quarantined} operations are quarantined: see `squire repair {}`",
                target.uri
            );
            return Ok(Finding::bad(&target.name, 5, message));
        }
    }
    let Some(folder) = on_disk(&target.uri) else {
        let message =
            "it can be read; whether it may be written, only the daemon's first job shows";
        return Ok(Finding::good(&target.name, message));
    };
    let name = target.name.clone();
    let looked = spawn_blocking(move || writable(&name, &folder)).await;
    looked.map_err(|e| Failure::Machine(e.to_string()))
}

/// The folder of a target on a local disk.
fn on_disk(uri: &str) -> Option<PathBuf> {
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        Ok(_) => None,
        Err(_) => Some(PathBuf::from(uri)),
    }
}

/// Whether this user may write a target's folder and those of its tables, as far as permissions and mounts tell.
fn writable(name: &str, root: &Path) -> Finding {
    if !root.exists() {
        let message = "there is nothing yet; its tables are to come";
        return Finding::note(name, message);
    }
    let ours = folders(root, |folder| {
        folder.ends_with(".lance") || folder == "_squire"
    });
    let within = ours.iter().flat_map(|folder| folders(folder, |_| true));
    let all = std::iter::once(root.to_owned())
        .chain(ours.iter().cloned())
        .chain(within);
    let refused: Vec<PathBuf> = all.filter(|folder| !may_write(folder)).collect();
    match refused.first() {
        None => match ours.iter().find_map(|table| readable::lost(table)) {
            Some(lost) => Finding::bad(name, 1, lost),
            None => Finding::good(name, "it can be read and written"),
        },
        Some(first) => Finding::bad(
            name,
            1,
            format!(
                "this user may not write {}{}: give it the right to, or run as the user who writes the tables",
                first.display(),
                match refused.len() - 1 {
                    0 => String::new(),
                    more => format!(" and {more} other folders"),
                }
            ),
        ),
    }
}

/// Whether this user may make and remove files in a folder.
pub(super) fn may_write(folder: &Path) -> bool {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The folders in a folder whose names are like this.
fn folders(parent: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let found = entries.filter(|entry| wanted(&entry.file_name().to_string_lossy()));
    found
        .map(|entry| entry.path())
        .filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_and_file_uris_are_on_a_disk() {
        for uri in ["/var/lib/flights", "file:///var/lib/flights"] {
            assert_eq!(on_disk(uri), Some("/var/lib/flights".into()), "{uri}");
        }
        for uri in ["s3://bucket/x", "memory://x"] {
            assert_eq!(on_disk(uri), None, "{uri}");
        }
    }
}
