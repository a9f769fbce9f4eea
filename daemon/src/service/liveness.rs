//! Liveness: whether each keeper makes progress, and what its last poll of its target found.
//!
//! A keeper waits for no store. So one that does not beat is a fault of this process; a store that does not answer is the
//! trouble of its target alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::api::Status;

/// A keeper beats every second. After this time without a beat it makes no progress.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Whether each keeper makes progress.
#[derive(Debug, Default)]
pub(super) struct Liveness(Mutex<BTreeMap<String, Keeper>>);

#[derive(Clone, Debug)]
struct Keeper {
    beat: Instant,
    /// When the last poll ended, or the keeper began.
    looked: Instant,
    /// What it found, once there was one.
    look: Option<Result<(), String>>,
    /// Whether the store answers the poll in flight, or will soon.
    answers: bool,
    /// The last status that was seen, and since when it is so.
    status: (Status, DateTime<Utc>),
}

/// The liveness of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) status: Status,
    pub(super) since: DateTime<Utc>,
    pub(super) seconds_since_look: u64,
    pub(super) error: Option<String>,
    /// The keeper itself makes no progress.
    pub(super) stands_still: bool,
}

impl Keeper {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            beat: now,
            looked: now,
            look: None,
            answers: true,
            status: (Status::Opening, Utc::now()),
        }
    }

    fn stands_still(&self) -> bool {
        self.beat.elapsed() > STANDSTILL
    }

    fn status(&self) -> Status {
        match &self.look {
            _ if self.stands_still() || !self.answers => Status::Stuck,
            Some(Err(_)) => Status::Failing,
            None => Status::Opening,
            Some(Ok(())) => Status::Ok,
        }
    }

    fn refresh(&mut self) -> Beat {
        let status = self.status();
        if status != self.status.0 {
            self.status = (status, Utc::now());
        }
        Beat {
            status,
            since: self.status.1,
            seconds_since_look: self.looked.elapsed().as_secs(),
            error: self.look.clone().and_then(Result::err),
            stands_still: self.stands_still(),
        }
    }
}

impl Liveness {
    /// A keeper begins.
    pub(super) fn begin(&self, target: &str) {
        self.lock().insert(target.to_owned(), Keeper::begin());
    }

    /// A poll of a target has ended.
    pub(super) fn polled(&self, target: &str, error: Option<String>) {
        if let Some(keeper) = self.lock().get_mut(target) {
            (keeper.beat, keeper.looked) = (Instant::now(), Instant::now());
            keeper.look = Some(error.map_or(Ok(()), Err));
            keeper.refresh();
        }
    }

    /// A keeper makes progress.
    pub(super) fn beat(&self, target: &str) {
        if let Some(keeper) = self.lock().get_mut(target) {
            keeper.beat = Instant::now();
        }
    }

    /// Whether a poll in flight is answered in time.
    pub(super) fn answers(&self, target: &str, answers: bool) {
        if let Some(keeper) = self.lock().get_mut(target) {
            keeper.answers = answers;
            keeper.refresh();
        }
    }

    /// A target is no longer maintained.
    pub(super) fn forget(&self, target: &str) {
        self.lock().remove(target);
    }

    /// Each target.
    pub(super) fn all(&self) -> BTreeMap<String, Beat> {
        let mut keepers = self.lock();
        let keepers = keepers.iter_mut();
        keepers
            .map(|(name, keeper)| (name.clone(), keeper.refresh()))
            .collect()
    }

    /// Whether this process is alive: one keeper makes progress, or there is none. A store that does not answer does not
    /// count.
    pub(super) fn is_live(&self) -> bool {
        let keepers = self.lock();
        keepers.is_empty() || keepers.values().any(|keeper| !keeper.stands_still())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(liveness: &Liveness, target: &str) -> Status {
        liveness.all()[target].status
    }

    /// The keepers of these make no progress.
    fn stand_still(liveness: &Liveness, targets: &[&str]) -> Option<()> {
        let long_ago = Instant::now().checked_sub(2 * STANDSTILL)?;
        for target in targets {
            liveness.lock().get_mut(*target)?.beat = long_ago;
        }
        Some(())
    }

    #[test]
    fn a_store_that_does_not_answer_is_its_targets_trouble_and_no_reason_to_end_the_process() {
        let liveness = Liveness::default();
        ["lake", "sea"].iter().for_each(|name| liveness.begin(name));
        assert_eq!(status(&liveness, "lake"), Status::Opening);
        liveness.polled("lake", None);
        liveness.polled("sea", None);
        liveness.answers("lake", false);
        assert_eq!(status(&liveness, "lake"), Status::Stuck);
        assert_eq!(status(&liveness, "sea"), Status::Ok);
        liveness.answers("sea", false);
        assert!(liveness.is_live(), "not even when no store answers");
        liveness.answers("lake", true);
        liveness.polled("lake", Some("no route".to_owned()));
        let lake = liveness.all()["lake"].clone();
        assert_eq!(
            (lake.status, lake.error.as_deref()),
            (Status::Failing, Some("no route"))
        );
    }

    #[test]
    fn the_process_gets_on_as_long_as_one_keeper_does() {
        let liveness = Liveness::default();
        assert!(liveness.is_live(), "there are none yet");
        ["lake", "sea"].iter().for_each(|name| liveness.begin(name));
        if stand_still(&liveness, &["lake"]).is_none() {
            return;
        }
        assert!(liveness.is_live() && liveness.all()["lake"].stands_still);
        assert_eq!(status(&liveness, "lake"), Status::Stuck);
        stand_still(&liveness, &["sea"]);
        assert!(!liveness.is_live());
        liveness.beat("sea");
        assert!(liveness.is_live());
    }

    #[test]
    fn targets_that_are_gone_are_forgotten_whatever_is_told_of_them_later() {
        let liveness = Liveness::default();
        ["a", "b"].iter().for_each(|name| liveness.begin(name));
        liveness.forget("b");
        liveness.polled("b", Some("no route".to_owned()));
        assert_eq!(liveness.all().into_keys().collect::<Vec<_>>(), ["a"]);
    }
}
