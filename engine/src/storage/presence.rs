//! Which other daemons maintain a target. Each daemon rewrites an object of its own below `_squire/daemons/` again and
//! again, and looks for those of others.
//!
//! Nothing depends on it: several daemons on one target are safe, and waste each other's work. So it fails no one, and
//! a place that takes no writes has none. No clock is asked whether another lives: its object changes while a process
//! watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    ids::HolderId,
    storage::{
        Beyond, SQUIRE_DIR, Storage,
        deletion::{self, DeletionRule},
    },
};

/// The folder below Squire's own.
const FOLDER: &str = "daemons";
/// By the store's own times: a daemon without a sign of life for this long was killed.
const LONG_DEAD: TimeDelta = TimeDelta::days(1);
/// What another says of itself is not read beyond this.
const MOST_BYTES: u64 = 4096;

/// What a daemon says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// The target's name in its configuration.
    pub target: String,
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// When it started, by its own clock.
    pub started: DateTime<Utc>,
}

/// Another daemon that keeps the same target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its object's name.
    pub id: String,
    /// What it says of itself, where that can be read.
    pub resident: Option<Resident>,
}

/// A daemon at one target, for as long as it keeps it.
#[derive(Debug)]
pub struct Presence {
    storage: Storage,
    folder: Path,
    own: HolderId,
    note: Vec<u8>,
    /// Whether only daemons use `_squire`.
    is_directory: bool,
    beaten: bool,
    beats: Beats,
    known: BTreeMap<String, Option<Resident>>,
}

/// Whether a daemon showed itself at a place since `then`, by the store's clock: one list.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn is_kept(storage: &Storage, then: DateTime<Utc>) -> Result<bool> {
    let listed = storage.store.list(Some(&storage.squire_dir(FOLDER)));
    let mut recent = std::pin::pin!(
        listed.try_filter(|object| std::future::ready(object.last_modified >= then))
    );
    let found = recent.try_next().await;
    let found = found.map_err(|e| Error::store("listing the daemons of", &storage.uri, e))?;
    Ok(found.is_some())
}

impl Presence {
    /// Connects. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::BadUri`], [`Error::Store`].
    pub async fn open(
        uri: &str,
        beyond: &Beyond,
        is_directory: bool,
        resident: &Resident,
    ) -> Result<Self> {
        let storage = Storage::connect(uri, None, beyond).await?;
        Ok(Self {
            folder: storage.squire_dir(FOLDER),
            storage,
            own: HolderId::fresh(),
            note: serde_json::to_vec(resident).unwrap_or_default(),
            is_directory,
            beaten: false,
            beats: Beats::default(),
            known: BTreeMap::new(),
        })
    }

    /// Shows that this daemon is here, and says who else is: one write and one list, and a read for each that is new. An
    /// other is reported once it has been seen to beat, and until it has not for `patience`.
    ///
    /// # Errors
    /// [`Error::Store`], when the place cannot be listed. That it cannot be written is no error.
    pub async fn beat(&mut self, patience: Duration) -> Result<Vec<Other>> {
        // A store that makes folders as it needs them would make those of a disk that is not mounted.
        if !self.storage.is_there().await {
            return Ok(Vec::new());
        }
        let own = self.folder.clone().join(self.own.as_str());
        let written = self.storage.store.put(&own, self.note.clone().into()).await;
        match written {
            Ok(_) => self.beaten = true,
            Err(e) => {
                tracing::debug!(uri = %self.storage.uri, error = %e, "other daemons do not learn of this one");
            }
        }
        let listed = self.storage.store.list(Some(&self.folder));
        let listed: Vec<_> = listed
            .try_filter_map(|object| async move {
                let name = object.location.filename().map(str::to_owned);
                // What a store leaves of a write that was killed has no owner.
                let name = name.filter(|name| !name.contains('#'));
                Ok(name.map(|name| (name, object.last_modified, object.size)))
            })
            .try_collect()
            .await
            .map_err(|e| Error::store("listing the daemons of", &self.storage.uri, e))?;
        let is_own = |name: &str| name == self.own.as_str();
        let now = listed.iter().find(|(name, ..)| is_own(name));
        let now = now.map(|(_, at, _)| *at);
        let (gone, others): (Vec<_>, Vec<_>) = listed
            .iter()
            .filter(|(name, ..)| !is_own(name))
            .partition(|(_, at, _)| now.is_some_and(|now| now - *at > LONG_DEAD));
        for (name, ..) in gone {
            // Should it live after all, its next beat is a new one.
            let path = self.folder.clone().join(name.as_str());
            let _ = deletion::one(&self.storage.store, &path, DeletionRule::Heartbeat).await;
        }
        let seen = others.iter().map(|(name, at, _)| (name.as_str(), *at));
        let alive = self.beats.saw(seen, Instant::now(), patience);
        let mut read = Vec::new();
        for (name, _, size) in others {
            if alive.contains(name) {
                read.push(self.read(name, *size).await);
            }
        }
        self.known.retain(|name, _| alive.contains(name));
        Ok(read)
    }

    /// What another says of itself; read once.
    async fn read(&mut self, name: &str, size: u64) -> Other {
        if !self.known.contains_key(name) {
            let path = self.folder.clone().join(name);
            let read = async {
                let object = self.storage.store.get(&path).await?;
                object.bytes().await
            };
            let said = match size {
                0..=MOST_BYTES => read.await.ok(),
                _ => None,
            };
            let resident = said.and_then(|said| serde_json::from_slice(&said).ok());
            self.known.insert(name.to_owned(), resident);
        }
        Other {
            id: name.to_owned(),
            resident: self.known.get(name).cloned().flatten(),
        }
    }

    /// Takes back what this daemon wrote, with folders that are empty then.
    pub async fn leave(self) {
        if !self.beaten {
            return;
        }
        let own = self.folder.clone().join(self.own.as_str());
        match deletion::one(&self.storage.store, &own, DeletionRule::Heartbeat).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(e) => {
                tracing::debug!(uri = %self.storage.uri, error = %e, "other daemons do not learn that this one is gone");
            }
        }
        let folder = format!("{SQUIRE_DIR}/{FOLDER}");
        self.storage.remove_empty_folders(&folder).await;
        if self.is_directory {
            self.storage.remove_empty_folders(SQUIRE_DIR).await;
        }
    }
}

/// What was seen of the others' objects.
#[derive(Debug, Default)]
struct Beats(BTreeMap<String, Beat>);

#[derive(Debug)]
struct Beat {
    written: DateTime<Utc>,
    /// When it was seen to change; unset before the first check.
    changed: Option<Instant>,
}

impl Beats {
    /// Takes what is there now; says who lives. An object that is gone is forgotten.
    fn saw<'a>(
        &mut self,
        there: impl Iterator<Item = (&'a str, DateTime<Utc>)>,
        now: Instant,
        patience: Duration,
    ) -> BTreeSet<String> {
        let mut seen = BTreeMap::new();
        for (name, written) in there {
            let changed = match self.0.remove(name) {
                None => None,
                Some(before) if before.written != written => Some(now),
                Some(before) => before.changed,
            };
            seen.insert(name.to_owned(), Beat { written, changed });
        }
        self.0 = seen;
        let lives = |beat: &Beat| {
            let changed = beat.changed;
            changed.is_some_and(|at| now.saturating_duration_since(at) <= patience)
        };
        let alive = self.0.iter().filter(|(_, beat)| lives(beat));
        alive.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(180);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn another_lives_once_it_was_seen_to_beat_and_until_it_falls_silent() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        let mut saw = |after, there: &[(&'static str, i64)]| {
            let there = there.iter().map(|(name, written)| (*name, at(*written)));
            let now = start + Duration::from_secs(after);
            let alive = beats.saw(there, now, PATIENCE);
            alive.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(saw(0, &[("a", 5), ("killed", 1)]), "");
        assert_eq!(saw(60, &[("a", 65), ("killed", 1)]), "a");
        assert_eq!(saw(120, &[("a", 65), ("killed", 1), ("b", 1)]), "a");
        // A daemon whose clock goes back is no less alive.
        assert_eq!(saw(180, &[("a", 65), ("b", 0)]), "a b");
        assert_eq!(saw(241, &[("a", 65), ("b", 0)]), "b");
        assert_eq!(saw(242, &[]), "");
        assert_eq!(saw(243, &[("b", 7)]), "", "it begins anew");
    }

    #[tokio::test]
    async fn two_daemons_see_each_other_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let uri = dir.path().to_str().unwrap();
        let resident = |target: &str| Resident {
            target: target.to_owned(),
            host: "here".to_owned(),
            pid: 7,
            started: at(3),
        };
        let open = async |name: &str| {
            let resident = resident(name);
            let opened = Presence::open(uri, &Beyond::default(), true, &resident).await;
            opened.unwrap()
        };
        let (mut one, mut two) = (open("one").await, open("two").await);
        assert_eq!(one.beat(PATIENCE).await.unwrap(), []);
        assert_eq!(two.beat(PATIENCE).await.unwrap(), []);
        one.beat(PATIENCE).await.unwrap();
        let seen = two.beat(PATIENCE).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].resident, Some(resident("one")));
        one.leave().await;
        assert_eq!(two.beat(PATIENCE).await.unwrap(), []);
        two.leave().await;
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("unmounted");
        let resident = Resident {
            target: "lake".to_owned(),
            host: "here".to_owned(),
            pid: 7,
            started: at(3),
        };
        let uri = gone.to_str().unwrap();
        let opened = Presence::open(uri, &Beyond::default(), true, &resident).await;
        let mut presence = opened.unwrap();
        assert_eq!(presence.beat(PATIENCE).await.unwrap(), []);
        presence.leave().await;
        assert!(!gone.exists());
    }
}
