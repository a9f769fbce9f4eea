//! The store, in memory and on the disk.
//!
//! A keeper calls [`State::load`] once, when it begins: it gets what was spent, lost and done on its target, as far as that
//! still counts, by its own clock. At the end of a job it calls [`State::ended`], where duties are forced or not any more
//! [`State::forced`], and after a good look [`State::in_order`]. None of them waits for the disk.
//!
//! The store is in memory, too: the next keeper of the same name and place in one process goes on with all of it, also
//! without a folder. Nothing here is needed for safety. A file that cannot be read is set aside and logged, and the
//! target begins anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_config::Daemon;
use squire_engine::planner::Duty;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::remembered::{Clock, JobEnd, OfTarget, Restored};
use crate::service::{atomic_file, flush_loop};

/// In the state folder.
const FOLDER: &str = "targets";
/// What this program writes, and the newest that it reads.
const VERSION: u64 = 1;
/// What is merely seen to be in order is written this seldom: it is so at each look.
const SELDOM: Duration = Duration::from_secs(300);

/// A file.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u64,
    target: OfTarget,
}

/// What is remembered of all targets.
#[derive(Debug)]
pub(in crate::service) struct State {
    targets: Mutex<BTreeMap<String, Entry>>,
    /// Held while files are written. Keepers wait for no disk.
    writing: Mutex<()>,
    folder: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Entry {
    target: OfTarget,
    /// When something changed first that is not on the disk.
    changed: Option<Instant>,
    /// It should be there soon.
    urgent: bool,
    /// Why it could not be written.
    fault: Option<String>,
}

impl State {
    /// Reads what an earlier daemon left. What cannot be read is set aside and logged; what does not count any more is
    /// removed.
    pub(in crate::service) fn open(folder: Option<&Path>, clock: &Clock) -> Self {
        let folder = folder.map(|folder| folder.join(FOLDER));
        let targets = folder.as_deref().map(|folder| read_all(folder, clock));
        let targets = targets.unwrap_or_default();
        Self {
            targets: Mutex::new(targets),
            writing: Mutex::default(),
            folder,
        }
    }

    /// What a keeper of a target begins with. Another place under the same name is another target.
    pub(in crate::service) fn load(&self, target: &str, uri: &str, clock: &Clock) -> Restored {
        let mut targets = self.lock();
        let entry = targets.entry(target.to_owned()).or_default();
        if entry.target.uri != uri {
            entry.target = OfTarget::at(uri);
            entry.change(true);
        }
        entry.target.restore(clock)
    }

    /// A job has ended.
    pub(in crate::service) fn ended(&self, target: &str, table: &str, end: &JobEnd, clock: &Clock) {
        if let Some(entry) = self.lock().get_mut(target) {
            entry.target.ended(table, end, clock);
            entry.change(true);
        }
    }

    /// These duties of a table are wanted at once, and no others.
    pub(in crate::service) fn forced(
        &self,
        target: &str,
        table: &str,
        forced: &BTreeSet<Duty>,
        clock: &Clock,
    ) {
        if let Some(entry) = self.lock().get_mut(target)
            && entry.target.force(table, forced, clock)
        {
            entry.change(true);
        }
    }

    /// A duty of a table waits no more for what failed: a user wants it done.
    pub(in crate::service) fn forgiven(&self, target: &str, table: &str, duty: Duty) {
        if let Some(entry) = self.lock().get_mut(target)
            && entry.target.forgive(table, duty)
        {
            entry.change(true);
        }
    }

    /// When the duties of a table were last in order, and when it was found.
    pub(in crate::service) fn in_order(
        &self,
        target: &str,
        table: &str,
        found: DateTime<Utc>,
        last_success: &BTreeMap<Duty, DateTime<Utc>>,
    ) {
        if let Some(entry) = self.lock().get_mut(target) {
            entry.target.in_order(table, found, last_success);
            entry.change(false);
        }
    }

    /// Writes what has changed; all of it, or what is due. Waits for the disk. What cannot be written is logged once
    /// and tried again.
    pub(in crate::service) fn flush(&self, all: bool, clock: &Clock) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<_> = {
            let mut targets = self.lock();
            let due = targets.iter_mut().filter(|(_, entry)| entry.is_due(all));
            due.map(|(name, entry)| {
                entry.target.prune(clock);
                (entry.changed, entry.urgent) = (None, false);
                (name.clone(), entry.target.clone())
            })
            .collect()
        };
        // Between keepers of one process, memory is enough.
        let Some(folder) = &self.folder else {
            return;
        };
        for (name, target) in due {
            let file = folder.join(format!("{name}.json"));
            let written = Written {
                version: VERSION,
                target,
            };
            let done = serde_json::to_vec(&written)
                .map_err(io::Error::from)
                .and_then(|text| atomic_file::write(&file, &text));
            let mut targets = self.lock();
            let Some(entry) = targets.get_mut(&name) else {
                continue;
            };
            let fault = done.err().map(|e| e.to_string());
            if let Some(error) = &fault {
                entry.change(true);
                if entry.fault.is_none() {
                    tracing::warn!(target_name = %name, error, file = %file.display(), "what a restart should know of the target cannot be written; it is tried again on every tick");
                }
            }
            entry.fault = fault;
        }
    }

    /// Writes on every tick what is due, until `stop`.
    pub(in crate::service) async fn attend(
        self: Arc<Self>,
        daemon: watch::Receiver<Daemon>,
        clock: impl Fn() -> Clock,
        stop: CancellationToken,
    ) {
        let due = || {
            if !self.lock().values().any(|entry| entry.is_due(false)) {
                return None;
            }
            let (state, clock) = (self.clone(), clock());
            Some(move || state.flush(false, &clock))
        };
        flush_loop::on_ticks(daemon, stop, due).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn change(&mut self, urgent: bool) {
        self.changed.get_or_insert_with(Instant::now);
        self.urgent |= urgent;
    }

    fn is_due(&self, all: bool) -> bool {
        let changed = self.changed;
        changed.is_some_and(|since| all || self.urgent || since.elapsed() >= SELDOM)
    }
}

/// The files of a folder, by the targets' names.
fn read_all(folder: &Path, clock: &Clock) -> BTreeMap<String, Entry> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(e) => {
            tracing::warn!(folder = %folder.display(), error = %e, "what the last daemon remembered of its targets cannot be read; they begin anew");
            return BTreeMap::new();
        }
    };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|of| of == "json"));
    let read = files.filter_map(|file| {
        let name = file.file_stem()?.to_str()?.to_owned();
        match read(&file) {
            Ok(mut target) => {
                target.prune(clock);
                if target.is_empty() {
                    // One that stays is read again, and is as empty then.
                    let _ = atomic_file::remove(&file);
                    return None;
                }
                let entry = Entry {
                    target,
                    ..Entry::default()
                };
                Some((name, entry))
            }
            Err(error) => {
                let aside = atomic_file::set_aside(&file);
                let aside = aside.map_or_else(|e| e.to_string(), |to| to.display().to_string());
                tracing::warn!(target_name = %name, error, file = %file.display(), set_aside = aside, "what the last daemon remembered of the target cannot be read: its budgets, rests and last successes begin anew");
                None
            }
        }
    });
    read.collect()
}

fn read(file: &Path) -> Result<OfTarget, String> {
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let text = fs::read(file).map_err(|e| e.to_string())?;
    let written: Written = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    if written.version > VERSION {
        return Err(format!(
            "it is of version {}, which a newer Squire wrote",
            written.version
        ));
    }
    Ok(written.target)
}

#[cfg(test)]
mod tests {
    use squire_engine::planner::{
        history::DutyHistory,
        pace::{Charge, Pace},
    };

    use super::*;

    const BASE: Duration = Duration::from_secs(31 * 24 * 3600);

    fn clock() -> Clock {
        Clock {
            wall: Utc::now(),
            monotonic: BASE,
        }
    }

    fn spend(state: &State, bytes: u64) {
        let end = JobEnd {
            duty: Duty::Compaction,
            charge: Charge {
                ended: BASE,
                bytes,
                ..Charge::default()
            },
            history: DutyHistory::default(),
        };
        state.ended("lake", "docs", &end, &clock());
    }

    fn spent(state: &State, uri: &str) -> u64 {
        let clock = clock();
        let restored = state.load("lake", uri, &clock);
        restored.ledger(&Pace::default()).spent(clock.monotonic)
    }

    #[test]
    fn another_keeper_of_the_place_goes_on_and_one_of_another_place_begins_anew() {
        let state = State::open(None, &clock());
        assert_eq!(spent(&state, "/lake"), 0);
        spend(&state, 7);
        state.flush(true, &clock());
        assert_eq!(spent(&state, "/lake"), 7, "without a folder, too");
        assert_eq!(spent(&state, "/other"), 0);
        assert_eq!(spent(&state, "/lake"), 0, "it was let go of");
    }

    #[test]
    fn another_daemon_goes_on_where_there_is_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(Some(dir.path()), &clock());
        spent(&state, "/lake");
        spend(&state, 7);
        state.flush(false, &clock());
        assert_eq!(spent(&State::open(Some(dir.path()), &clock()), "/lake"), 7);
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_the_target_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("targets/lake.json");
        let newer = "{\"version\": 2, \"target\": {\"uri\": \"/lake\"}}";
        for broken in ["", "{", "{\"version\": 1}", newer] {
            atomic_file::write(&file, broken.as_bytes()).unwrap();
            let state = State::open(Some(dir.path()), &clock());
            assert_eq!(spent(&state, "/lake"), 0);
            let aside = dir.path().join("targets/lake.json.unreadable");
            assert_eq!(fs::read_to_string(aside).unwrap(), broken);
            spend(&state, 7);
            state.flush(true, &clock());
            assert_eq!(spent(&State::open(Some(dir.path()), &clock()), "/lake"), 7);
        }
    }

    #[test]
    fn what_does_not_count_any_more_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(Some(dir.path()), &clock());
        spent(&state, "/lake");
        spend(&state, 7);
        state.flush(true, &clock());
        let later = Clock {
            wall: Utc::now() + chrono::TimeDelta::days(40),
            ..clock()
        };
        State::open(Some(dir.path()), &later);
        let left = fs::read_dir(dir.path().join("targets")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_disk_that_refuses_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("targets"), "in the way").unwrap();
        let state = State::open(Some(dir.path()), &clock());
        spent(&state, "/lake");
        spend(&state, 7);
        state.flush(true, &clock());
        fs::remove_file(dir.path().join("targets")).unwrap();
        state.flush(false, &clock());
        assert_eq!(spent(&State::open(Some(dir.path()), &clock()), "/lake"), 7);
    }
}
