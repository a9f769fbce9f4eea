//! The policies and pauses that hold for the target of a command.
//!
//! A command is given the place of a target. The policies are those of the configuration that names this place, otherwise
//! the built-in one. The pauses are those of the daemon of that configuration, or of its state folder where it does not run.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use squire_config::{Daemon, Target};
use squire_engine::{TableKey, planner::Policy};
use tokio::time::timeout;

use crate::{
    api::{Pause, Paused},
    cli::{ConfigArg, DaemonArg},
    commands::daemon::client::Client,
    configuration,
    exit::Failure,
    service::{folders, pauses},
};

/// The configuration of the daemon, where a package or `squire service install` puts it.
const USUAL: &str = "/etc/squire/squire.toml";
/// The state folder of the daemon that a service manager runs with that configuration.
const USUAL_STATE: &str = "/var/lib/squire";
/// Timeout for a disk that is asked where a path leads.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for the daemon that is asked for its pauses.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(3);

/// What a configuration says of the target of a command.
#[derive(Debug)]
pub(in crate::commands) struct Configured {
    named: Option<Named>,
    /// Which policies hold, and why, in one line.
    source: String,
}

/// The target that a configuration names.
#[derive(Debug)]
struct Named {
    target: Target,
    daemon: Daemon,
    file: PathBuf,
}

/// What keeps a command from working on tables.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Pauses of the target and its tables that have not ended.
    active: Vec<Pause>,
    /// Why every table is paused, if it is: the pauses cannot be read.
    unreadable: Option<String>,
    /// Why it is not known what is paused.
    pub(super) unknown: Option<String>,
}

impl Configured {
    /// Finds the target at this place in a configuration: that which is given, or the usual one where it can be read.
    ///
    /// # Errors
    /// When the configuration is given and cannot be used.
    pub(in crate::commands) async fn find(
        uri: &str,
        config: Option<&Path>,
    ) -> Result<Self, Failure> {
        let file = config.unwrap_or(Path::new(USUAL));
        let settings = match (load(file), config) {
            (Ok(settings), _) => settings,
            (Err(e), Some(_)) => return Err(e),
            (Err(_), None) => return Ok(Self::built_in(&unusable(file))),
        };
        let shown = file.display();
        let Some(target) = at(uri, settings.targets).await else {
            return Ok(Self::built_in(&format!(
                "{shown} names no target at this place"
            )));
        };
        Ok(Self::of(target, settings.daemon, file))
    }

    /// The target of this name in a configuration, wherever it is.
    ///
    /// # Errors
    /// When the configuration cannot be used, or has no such target.
    pub(in crate::commands) fn named(name: &str, config: Option<&Path>) -> Result<Self, Failure> {
        let file = config.unwrap_or(Path::new(USUAL));
        let settings = load(file)?;
        let names: Vec<_> = settings.targets.iter().map(|t| t.name.clone()).collect();
        let target = settings.targets.into_iter().find(|t| t.name == name);
        let target = target.ok_or_else(|| {
            Failure::Usage(format!(
                "{} has no target {name}; it has {}",
                file.display(),
                names.join(", ")
            ))
        })?;
        Ok(Self::of(target, settings.daemon, file))
    }

    fn of(target: Target, daemon: Daemon, file: &Path) -> Self {
        Self {
            source: format!("policy: of target {} in {}", target.name, file.display()),
            named: Some(Named {
                target,
                daemon,
                file: file.to_owned(),
            }),
        }
    }

    fn built_in(why: &str) -> Self {
        Self {
            named: None,
            source: format!("policy: built-in ({why})"),
        }
    }

    /// Which policies hold, and why, in one line.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The policy of a table.
    pub(in crate::commands) fn policy(&self, table: &TableKey) -> Policy {
        let target = self.named.as_ref().map(|named| &named.target);
        target.map_or_else(Policy::default, |target| {
            target.policies_of(&table.to_string()).table
        })
    }

    /// What is paused of the target, as far as it can be known.
    pub(super) async fn pauses(&self) -> Pauses {
        let Some(named) = &self.named else {
            return Pauses::default();
        };
        let mut pauses = match timeout(DAEMON_TIMEOUT, of_daemon(&named.file)).await {
            Ok(Ok(paused)) => Pauses {
                active: paused.pauses,
                unreadable: paused.unreadable,
                unknown: None,
            },
            Ok(Err(_)) | Err(_) => named.pauses_on_disk(),
        };
        pauses
            .active
            .retain(|pause| pause.target == named.target.name);
        pauses
    }
}

impl Named {
    /// The folder in which the daemon of this configuration keeps its pauses.
    fn state_dir(&self) -> Option<PathBuf> {
        let usual = (self.file == Path::new(USUAL)).then(|| PathBuf::from(USUAL_STATE));
        folders::state_dir(&self.daemon).or(usual)
    }

    fn pauses_on_disk(&self) -> Pauses {
        // Without a folder, pauses end with the daemon.
        let Some(folder) = self.state_dir() else {
            return Pauses::default();
        };
        let file = folder.join(pauses::file::FILE);
        if let Err(e) = File::open(&file)
            && e.kind() == io::ErrorKind::PermissionDenied
        {
            let unknown = format!(
                "no daemon answers, and its pauses in {} may not be read: nothing counts as paused",
                file.display()
            );
            return Pauses {
                unknown: Some(unknown),
                ..Pauses::default()
            };
        }
        match pauses::file::read(&folder) {
            Ok(active) => Pauses {
                active,
                ..Pauses::default()
            },
            Err(why) => Pauses {
                unreadable: Some(why),
                ..Pauses::default()
            },
        }
    }
}

impl Pauses {
    /// Why a table is to be left alone now, if it is.
    pub(super) fn of(&self, table: &TableKey, now: DateTime<Utc>) -> Option<String> {
        if let Some(why) = &self.unreadable {
            return Some(format!("paused, as the pauses cannot be read ({why})"));
        }
        let table = table.to_string();
        let mut pauses = self.active.iter().filter(|pause| pause.until > now);
        let pause = pauses.find(|pause| pause.table.as_ref().is_none_or(|of| *of == table))?;
        let until = pause.until.format("%Y-%m-%d %H:%M UTC");
        Some(match &pause.reason {
            Some(reason) => format!("paused until {until} ({reason})"),
            None => format!("paused until {until}"),
        })
    }
}

fn load(file: &Path) -> Result<squire_config::Settings, Failure> {
    let config = ConfigArg {
        config: file.to_owned(),
    };
    Ok(configuration::layers(&config).load()?.settings)
}

/// Why the usual configuration is not used.
fn unusable(file: &Path) -> String {
    let file_shown = file.display();
    match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            format!("there is no {file_shown}; name a configuration with --config")
        }
        Err(e) => format!("{file_shown} cannot be read: {e}"),
        Ok(_) => format!("{file_shown} cannot be used: `squire check` says why"),
    }
}

async fn of_daemon(file: &Path) -> Result<Paused, Failure> {
    let daemon = DaemonArg {
        config: ConfigArg {
            config: file.to_owned(),
        },
        url: None,
        ca: None,
    };
    Client::find(&daemon)?.get("/api/v1/pauses").await
}

/// The target at a place: one that is written alike, else one whose folder is the same.
async fn at(uri: &str, targets: Vec<Target>) -> Option<Target> {
    let alike = |target: &&Target| trimmed(&target.uri) == trimmed(uri);
    if let Some(target) = targets.iter().find(alike) {
        return Some(target.clone());
    }
    let folder = folder(uri.to_owned()).await?;
    let folders = join_all(
        targets
            .iter()
            .map(|target| self::folder(target.uri.clone())),
    )
    .await;
    let mut all = targets.into_iter().zip(folders);
    let same = all.find(|(_, of)| of.as_ref() == Some(&folder));
    same.map(|(target, _)| target)
}

fn trimmed(uri: &str) -> &str {
    uri.strip_prefix("file://")
        .unwrap_or(uri)
        .trim_end_matches('/')
}

/// The folder of a target on a local disk, without links; nothing where the disk does not say.
async fn folder(uri: String) -> Option<PathBuf> {
    let local = trimmed(&uri).to_owned();
    if local.contains("://") {
        return None;
    }
    let found = tokio::task::spawn_blocking(move || fs::canonicalize(local));
    timeout(DISK_TIMEOUT, found).await.ok()?.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// The targets of a configuration, by name and place.
    fn targets(folder: &Path, places: &[(&str, &str)]) -> Vec<Target> {
        let targets = places
            .iter()
            .map(|(name, uri)| format!("[[target]]\nname = {name:?}\nuri = {uri:?}\n"));
        let file = folder.join("squire.toml");
        fs::write(&file, targets.collect::<String>()).unwrap();
        load(&file).unwrap().targets
    }

    #[tokio::test]
    async fn a_target_is_found_by_its_place_however_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("lake");
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(&place, dir.path().join("link")).unwrap();
        let place = place.display().to_string();
        let targets = targets(dir.path(), &[("s3", "s3://bucket/lake"), ("lake", &place)]);
        let dots = format!("{place}/../lake");
        let link = dir.path().join("link").display().to_string();
        for (uri, name) in [
            ("s3://bucket/lake/", Some("s3")),
            (&*place, Some("lake")),
            (&*format!("file://{place}/"), Some("lake")),
            (&*dots, Some("lake")),
            (&*link, Some("lake")),
            ("s3://bucket", None),
            ("/nowhere", None),
        ] {
            let found = at(uri, targets.clone()).await.map(|target| target.name);
            assert_eq!(found.as_deref(), name, "{uri}");
        }
    }

    #[test]
    fn a_pause_of_the_target_or_of_the_table_leaves_a_table_alone_until_it_ends() {
        let now = DateTime::UNIX_EPOCH;
        let table: TableKey = "node:Plane".parse().unwrap();
        let other: TableKey = "edge:Flight".parse().unwrap();
        let pause = |table: Option<&str>| Pauses {
            active: vec![Pause {
                target: "lake".to_owned(),
                table: table.map(str::to_owned),
                until: now + TimeDelta::hours(1),
                reason: Some("backup".to_owned()),
            }],
            ..Pauses::default()
        };
        let whole = pause(None).of(&table, now);
        assert!(whole.is_some_and(|why| why.contains("until 1970-01-01 01:00 UTC (backup)")));
        assert!(pause(Some("node:Plane")).of(&table, now).is_some());
        assert!(pause(Some("node:Plane")).of(&other, now).is_none());
        assert!(pause(None).of(&table, now + TimeDelta::hours(1)).is_none());
        let unreadable = Pauses {
            unreadable: Some("it is empty".to_owned()),
            ..Pauses::default()
        };
        assert!(unreadable.of(&table, now).is_some());
    }
}
