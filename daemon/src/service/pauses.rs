//! Pauses at run time: set and ended over HTTP, over by themselves, kept over a restart where there is a folder for it.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::maintenance::pause::{Pause, Pauses};
use utoipa::ToSchema;

use super::clock;
use crate::exit::Failure;

/// The file in the state folder.
const FILE: &str = "pauses.json";

/// A pause with its reason, as the file and the API have it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key; nothing for the whole target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// When it ends.
    pub(crate) until: DateTime<Utc>,
    /// Why, in the words of whoever asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Default)]
struct Pages {
    pauses: Pauses,
    reasons: BTreeMap<(String, Option<String>), String>,
}

/// All pauses of this daemon.
#[derive(Debug)]
pub(super) struct PauseBook {
    pages: Mutex<Pages>,
    /// Held while the file is written. Keepers read the pages, and wait for no disk.
    writing: Mutex<()>,
    /// Where they are kept over a restart.
    file: Option<PathBuf>,
}

impl PauseBook {
    /// Reads what an earlier daemon left in the folder.
    ///
    /// # Errors
    /// When the folder cannot be made or the file cannot be read: maintenance that somebody paused must not go on by
    /// mistake.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, Failure> {
        let Some(folder) = folder else {
            return Ok(Self {
                pages: Mutex::default(),
                writing: Mutex::default(),
                file: None,
            });
        };
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            let folder = folder.display();
            Failure::Machine(format!(
                "{what} {folder}: {e}; choose another daemon.state_dir, or remove {FILE} there when nothing need stay paused"
            ))
        };
        std::fs::create_dir_all(folder).map_err(|e| failed("cannot make", &e))?;
        let file = folder.join(FILE);
        let noted: Vec<Noted> = match std::fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|e| failed("cannot read the pauses in", &e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed("cannot read the pauses in", &e)),
        };
        Ok(Self {
            pages: Mutex::new(noted.into_iter().collect()),
            writing: Mutex::default(),
            file: Some(file),
        })
    }

    /// Whether a restart remembers them.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Pauses a target, or a table of it. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be kept over a restart; it holds until then all the same.
    pub(super) fn pause(&self, pause: Noted) -> io::Result<()> {
        tracing::warn!(target_name = %pause.target, table = pause.table.as_deref().unwrap_or("all"), until = %pause.until, reason = pause.reason.as_deref().unwrap_or(""), "maintenance is paused");
        self.lock().extend([pause]);
        self.keep()
    }

    /// Ends a pause; false when there was none. Waits for the disk. Then, whether the end is kept over a restart.
    pub(super) fn resume(&self, target: &str, table: Option<&str>) -> (bool, io::Result<()>) {
        let was = {
            let mut pages = self.lock();
            pages.pauses.expire(clock::not_ahead());
            let about = (target.to_owned(), table.map(str::to_owned));
            pages.reasons.remove(&about);
            pages.pauses.resume(target, table)
        };
        if was {
            tracing::info!(target_name = %target, table = table.unwrap_or("all"), "maintenance is resumed");
            return (was, self.keep());
        }
        (was, Ok(()))
    }

    /// Until when a table is left alone.
    pub(super) fn until(
        &self,
        target: &str,
        table: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.lock().pauses.until(target, table, now)
    }

    /// Those that have not ended; the others are forgotten. The file loses them with the next that is written: they are
    /// over by their own time.
    pub(super) fn active(&self, now: DateTime<Utc>) -> Vec<Noted> {
        let mut pages = self.lock();
        if pages.pauses.expire(now) {
            tracing::info!("a pause is over");
        }
        pages.active(now)
    }

    /// Writes the whole file anew, so that it is never half written.
    fn keep(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        // Whoever writes last writes what holds by then.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let active = self.lock().active(clock::not_ahead());
        let fresh = file.with_extension("json.new");
        // What a crash left goes; what somebody puts there instead is neither followed nor written to.
        match std::fs::remove_file(&fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut written = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        written.write_all(&serde_json::to_vec_pretty(&active)?)?;
        written.sync_all()?;
        std::fs::rename(&fresh, file)
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn active(&self, now: DateTime<Utc>) -> Vec<Noted> {
        let noted = |pause: Pause| {
            let about = (pause.target, pause.table);
            let reason = self.reasons.get(&about).cloned();
            Noted {
                target: about.0,
                table: about.1,
                until: pause.until,
                reason,
            }
        };
        self.pauses.active(now).into_iter().map(noted).collect()
    }
}

impl Extend<Noted> for Pages {
    fn extend<I: IntoIterator<Item = Noted>>(&mut self, noted: I) {
        for Noted {
            target,
            table,
            until,
            reason,
        } in noted
        {
            self.pauses.pause(&target, table.as_deref(), until);
            match reason {
                Some(reason) => self.reasons.insert((target, table), reason),
                None => self.reasons.remove(&(target, table)),
            };
        }
    }
}

impl FromIterator<Noted> for Pages {
    fn from_iter<I: IntoIterator<Item = Noted>>(noted: I) -> Self {
        let mut pages = Self::default();
        pages.extend(noted);
        pages
    }
}
