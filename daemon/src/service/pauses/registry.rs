//! The registry of all pauses.
//!
//! A pause and its end are true for a restart only once they are on the disk. Until then the registry says that they
//! are not kept, and they are written again on every tick. When what an earlier daemon left cannot be read, everything
//! is paused: maintenance that a user paused must not go on by mistake. A user ends that, and graphs are healed
//! meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use squire_config::Daemon;
use squire_engine::planner::pause::{self, Pauses};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::file;
use crate::{
    api::Pause,
    exit::Failure,
    service::{atomic_file, clock, flush_loop},
};

/// No pause is longer: maintenance must not stay off because a user forgot.
pub(in crate::service) const LONGEST: TimeDelta = TimeDelta::days(31);

#[derive(Debug, Default)]
struct Pages {
    pauses: Pauses,
    reasons: BTreeMap<(String, Option<String>), String>,
    /// Why everything is paused: what was left on the disk cannot be read.
    unreadable: Option<String>,
    /// What cannot be read is still in the place of the file.
    in_the_way: bool,
    /// How often anything was paused or resumed.
    changes: u64,
    /// Number of changes that are on the disk.
    written: u64,
    /// Why the others are not, if that was tried.
    fault: Option<String>,
}

/// All pauses of this daemon.
#[derive(Debug)]
pub(in crate::service) struct PauseRegistry {
    pages: Mutex<Pages>,
    /// Held while the file is written. Keepers read the pages, and wait for no disk.
    writing: Mutex<()>,
    /// Where they are kept over a restart.
    file: Option<PathBuf>,
}

impl PauseRegistry {
    /// Reads what an earlier daemon left in the folder. When that cannot be read, everything is paused.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(in crate::service) fn open(folder: Option<&Path>) -> Result<Self, Failure> {
        let Some(folder) = folder else {
            return Ok(Self {
                pages: Mutex::default(),
                writing: Mutex::default(),
                file: None,
            });
        };
        let pages = match file::read(folder) {
            Ok(pauses) => {
                std::fs::create_dir_all(folder).map_err(|e| {
                    let folder = folder.display();
                    Failure::Machine(format!(
                        "cannot make {folder}: {e}; choose another daemon.state_dir"
                    ))
                })?;
                pauses.into_iter().collect()
            }
            Err(why) => {
                tracing::error!(error = %why, "the pauses cannot be read, so every target is paused; graphs are healed. Fix the file and restart, or end it all with `squire resume`");
                Pages {
                    unreadable: Some(why),
                    in_the_way: true,
                    ..Pages::default()
                }
            }
        };
        Ok(Self {
            pages: Mutex::new(pages),
            writing: Mutex::default(),
            file: Some(folder.join(file::FILE)),
        })
    }

    /// Why everything is paused, when it is: the pauses of an earlier daemon cannot be read.
    pub(in crate::service) fn unreadable(&self) -> Option<String> {
        self.lock().unreadable.clone()
    }

    /// Whether a restart remembers all of it as it is now.
    pub(in crate::service) fn is_kept(&self) -> bool {
        self.file.is_some() && self.lock().is_written()
    }

    /// Why a restart does not remember all of it, although there is a folder for that.
    pub(in crate::service) fn not_kept(&self) -> Option<String> {
        let pages = self.lock();
        if self.file.is_none() || pages.is_written() {
            return None;
        }
        let fault = pages
            .fault
            .as_deref()
            .unwrap_or("the disk has not answered");
        Some(format!(
            "it is not in daemon.state_dir yet, and is written again on every tick: {fault}"
        ))
    }

    /// Pauses a target, or a table of it. [`Self::keep`] brings it to the disk.
    pub(in crate::service) fn pause(&self, pause: Pause) {
        tracing::warn!(target_name = %pause.target, table = pause.table.as_deref().unwrap_or("all"), until = %pause.until, reason = pause.reason.as_deref().unwrap_or(""), "maintenance is paused");
        let mut pages = self.lock();
        pages.extend([pause]);
        pages.changes += 1;
    }

    /// Ends a pause; false when there was none. [`Self::keep`] brings that to the disk.
    pub(in crate::service) fn resume(&self, target: &str, table: Option<&str>) -> bool {
        let mut pages = self.lock();
        pages.pauses.expire(clock::not_ahead());
        let about = (target.to_owned(), table.map(str::to_owned));
        pages.reasons.remove(&about);
        let was = pages.pauses.resume(target, table);
        if was {
            pages.changes += 1;
            tracing::info!(target_name = %target, table = table.unwrap_or("all"), "maintenance is resumed");
        }
        was
    }

    /// Ends every pause, also that of everything; false when there was none. [`Self::keep`] brings that to the disk.
    pub(in crate::service) fn resume_all(&self) -> bool {
        let mut pages = self.lock();
        pages.pauses.expire(clock::not_ahead());
        let was = pages.unreadable.is_some() || pages.pauses != Pauses::default();
        if was {
            *pages = Pages {
                in_the_way: pages.in_the_way,
                changes: pages.changes + 1,
                written: pages.written,
                ..Pages::default()
            };
            tracing::info!("all maintenance is resumed");
        }
        was
    }

    /// Until when a table is left alone.
    pub(in crate::service) fn until(
        &self,
        target: &str,
        table: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let pages = self.lock();
        if pages.unreadable.is_some() {
            // It is unknown; no pause was longer.
            return Some(now + LONGEST);
        }
        pages.pauses.until(target, table, now)
    }

    /// Those that have not ended; the others are forgotten. The file loses them with the next that is written: they are
    /// over by their own time.
    pub(in crate::service) fn active(&self, now: DateTime<Utc>) -> Vec<Pause> {
        let mut pages = self.lock();
        if pages.pauses.expire(now) {
            tracing::info!("a pause is over");
        }
        pages.active(now)
    }

    /// Writes the whole file anew where anything is not on the disk. Waits for the disk. What cannot be read is only
    /// replaced once a user has said that everything goes on, and is kept beside it.
    pub(in crate::service) fn keep(&self) {
        let Some(file) = &self.file else {
            return;
        };
        // The last writer writes what holds by then.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (active, changes, in_the_way) = {
            let mut pages = self.lock();
            if pages.is_written() {
                return;
            }
            if let Some(why) = &pages.unreadable {
                let why = format!("what is there cannot be read ({why})");
                pages.fault = Some(why);
                return;
            }
            (
                pages.active(clock::not_ahead()),
                pages.changes,
                pages.in_the_way,
            )
        };
        let aside = if in_the_way {
            atomic_file::set_aside(file).map(Some)
        } else {
            Ok(None)
        };
        if let Ok(Some(aside)) = &aside {
            tracing::info!(file = %aside.display(), "the pauses that cannot be read are kept aside");
        }
        let done = aside.and_then(|_| atomic_file::write(file, &file::text(active)?));
        let mut pages = self.lock();
        match done {
            Ok(()) => {
                pages.in_the_way = false;
                pages.written = changes;
                if pages.fault.take().is_some() {
                    tracing::info!("the pauses are on the disk again");
                }
            }
            Err(e) => {
                let fault = Some(e.to_string());
                if pages.fault != fault {
                    tracing::warn!(error = %e, file = %file.display(), "the pauses cannot be written: a restart would forget what was paused or resumed since. It is tried again on every tick");
                }
                pages.fault = fault;
            }
        }
    }

    /// Writes again on every tick what could not be written, until `stop`. A disk that does not answer holds up nothing
    /// else.
    pub(in crate::service) async fn attend(
        self: Arc<Self>,
        daemon: watch::Receiver<Daemon>,
        stop: CancellationToken,
    ) {
        let due = || {
            if self.file.is_none() || self.lock().is_written() {
                return None;
            }
            let registry = self.clone();
            Some(move || registry.keep())
        };
        flush_loop::on_ticks(daemon, stop, due).await;
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn is_written(&self) -> bool {
        self.written == self.changes
    }

    fn active(&self, now: DateTime<Utc>) -> Vec<Pause> {
        let noted = |pause: pause::Pause| {
            let about = (pause.target, pause.table);
            let reason = self.reasons.get(&about).cloned();
            Pause {
                target: about.0,
                table: about.1,
                until: pause.until,
                reason,
            }
        };
        self.pauses.active(now).into_iter().map(noted).collect()
    }
}

impl Extend<Pause> for Pages {
    fn extend<I: IntoIterator<Item = Pause>>(&mut self, pauses: I) {
        for Pause {
            target,
            table,
            until,
            reason,
        } in pauses
        {
            self.pauses.pause(&target, table.as_deref(), until);
            match reason {
                Some(reason) => self.reasons.insert((target, table), reason),
                None => self.reasons.remove(&(target, table)),
            };
        }
    }
}

impl FromIterator<Pause> for Pages {
    fn from_iter<I: IntoIterator<Item = Pause>>(pauses: I) -> Self {
        let mut pages = Self::default();
        pages.extend(pauses);
        pages
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pause(target: &str) -> Pause {
        Pause {
            target: target.to_owned(),
            table: None,
            until: Utc::now() + TimeDelta::hours(1),
            reason: None,
        }
    }

    fn kept(folder: &Path) -> Vec<String> {
        let pauses = file::read(folder).unwrap().into_iter();
        pauses.map(|pause| pause.target).collect()
    }

    #[test]
    fn a_pause_and_its_end_count_as_kept_only_once_they_are_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let registry = PauseRegistry::open(Some(dir.path())).unwrap();
        assert!(
            registry.is_kept(),
            "nothing is on the disk, and nothing need be"
        );
        // A folder in its place takes no file.
        let file = dir.path().join(file::FILE);
        fs::create_dir_all(file.join("full")).unwrap();
        registry.pause(pause("lake"));
        assert!(!registry.is_kept(), "before it was tried, too");
        registry.keep();
        assert!(!registry.is_kept() && registry.not_kept().is_some());
        fs::remove_dir_all(&file).unwrap();
        registry.keep();
        assert!(registry.is_kept() && registry.not_kept().is_none());
        assert_eq!(kept(dir.path()), ["lake"]);

        fs::remove_file(&file).unwrap();
        fs::create_dir_all(file.join("full")).unwrap();
        assert!(registry.resume("lake", None));
        registry.keep();
        assert!(!registry.is_kept(), "a restart would bring the pause back");
        fs::remove_dir_all(&file).unwrap();
        registry.keep();
        assert!(registry.is_kept());
        assert!(kept(dir.path()).is_empty());
    }

    #[test]
    fn what_cannot_be_read_pauses_everything_until_a_person_ends_it_and_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(file::FILE);
        for broken in ["", "{\"version\": 99}", "[{\"who\": 1}]"] {
            fs::write(&file, broken).unwrap();
            let registry = PauseRegistry::open(Some(dir.path())).unwrap();
            let now = Utc::now();
            assert!(registry.unreadable().is_some());
            assert!(registry.until("lake", "docs", now).is_some());
            registry.pause(pause("other"));
            registry.keep();
            assert!(!registry.is_kept());
            assert_eq!(
                fs::read_to_string(&file).unwrap(),
                broken,
                "it can still be fixed"
            );

            assert!(registry.resume_all());
            assert_eq!(registry.unreadable(), None);
            assert_eq!(registry.until("lake", "docs", now), None);
            assert_eq!(registry.until("other", "docs", now), None);
            registry.keep();
            assert!(registry.is_kept() && kept(dir.path()).is_empty());
            let aside = dir.path().join("pauses.json.unreadable");
            assert_eq!(fs::read_to_string(aside).unwrap(), broken);
            assert!(!registry.resume_all(), "there is nothing left to end");
        }
    }
}
