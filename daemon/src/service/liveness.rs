//! The pulse: whether each keeper gets on, and what its last look at its target found.
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

/// A keeper beats every second. One that has not for so long stands still.
const STANDSTILL: Duration = Duration::from_secs(60);

/// How each keeper gets on.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<BTreeMap<String, Keeper>>);

#[derive(Clone, Debug)]
struct Keeper {
    beat: Instant,
    /// When the last look ended, or the keeper began.
    looked: Instant,
    /// What it found, once there was one.
    look: Option<Result<(), String>>,
    /// Whether the store answers the look that is under way, or will soon.
    answers: bool,
    /// The last status that was seen, and since when it is so.
    status: (Status, DateTime<Utc>),
}

/// One target, for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) status: Status,
    pub(super) since: DateTime<Utc>,
    pub(super) seconds_since_look: u64,
    pub(super) error: Option<String>,
    /// The keeper itself does not get on.
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

    fn told(&mut self) -> Beat {
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

impl Pulse {
    /// A keeper begins.
    pub(super) fn begin(&self, target: &str) {
        self.lock().insert(target.to_owned(), Keeper::begin());
    }

    /// A look at a target has ended.
    pub(super) fn looked(&self, target: &str, error: Option<String>) {
        if let Some(keeper) = self.lock().get_mut(target) {
            (keeper.beat, keeper.looked) = (Instant::now(), Instant::now());
            keeper.look = Some(error.map_or(Ok(()), Err));
            keeper.told();
        }
    }

    /// A keeper gets on.
    pub(super) fn beat(&self, target: &str) {
        if let Some(keeper) = self.lock().get_mut(target) {
            keeper.beat = Instant::now();
        }
    }

    /// Whether a look that is under way is answered in time.
    pub(super) fn answers(&self, target: &str, answers: bool) {
        if let Some(keeper) = self.lock().get_mut(target) {
            keeper.answers = answers;
            keeper.told();
        }
    }

    /// A target is kept no more.
    pub(super) fn forget(&self, target: &str) {
        self.lock().remove(target);
    }

    /// Each target.
    pub(super) fn all(&self) -> BTreeMap<String, Beat> {
        let mut keepers = self.lock();
        let keepers = keepers.iter_mut();
        keepers
            .map(|(name, keeper)| (name.clone(), keeper.told()))
            .collect()
    }

    /// Whether this process gets on: one keeper does, or there is none. A store that does not answer does not count.
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

    fn status(pulse: &Pulse, target: &str) -> Status {
        pulse.all()[target].status
    }

    /// The keepers of these stand still.
    fn stand_still(pulse: &Pulse, targets: &[&str]) -> Option<()> {
        let long_ago = Instant::now().checked_sub(2 * STANDSTILL)?;
        for target in targets {
            pulse.lock().get_mut(*target)?.beat = long_ago;
        }
        Some(())
    }

    #[test]
    fn a_store_that_does_not_answer_is_its_targets_trouble_and_no_reason_to_end_the_process() {
        let pulse = Pulse::default();
        ["lake", "sea"].iter().for_each(|name| pulse.begin(name));
        assert_eq!(status(&pulse, "lake"), Status::Opening);
        pulse.looked("lake", None);
        pulse.looked("sea", None);
        pulse.answers("lake", false);
        assert_eq!(status(&pulse, "lake"), Status::Stuck);
        assert_eq!(status(&pulse, "sea"), Status::Ok);
        pulse.answers("sea", false);
        assert!(pulse.is_live(), "not even when no store answers");
        pulse.answers("lake", true);
        pulse.looked("lake", Some("no route".to_owned()));
        let lake = pulse.all()["lake"].clone();
        assert_eq!(
            (lake.status, lake.error.as_deref()),
            (Status::Failing, Some("no route"))
        );
    }

    #[test]
    fn the_process_gets_on_as_long_as_one_keeper_does() {
        let pulse = Pulse::default();
        assert!(pulse.is_live(), "there are none yet");
        ["lake", "sea"].iter().for_each(|name| pulse.begin(name));
        if stand_still(&pulse, &["lake"]).is_none() {
            return;
        }
        assert!(pulse.is_live() && pulse.all()["lake"].stands_still);
        assert_eq!(status(&pulse, "lake"), Status::Stuck);
        stand_still(&pulse, &["sea"]);
        assert!(!pulse.is_live());
        pulse.beat("sea");
        assert!(pulse.is_live());
    }

    #[test]
    fn targets_that_are_gone_are_forgotten_whatever_is_told_of_them_later() {
        let pulse = Pulse::default();
        ["a", "b"].iter().for_each(|name| pulse.begin(name));
        pulse.forget("b");
        pulse.looked("b", Some("no route".to_owned()));
        assert_eq!(pulse.all().into_keys().collect::<Vec<_>>(), ["a"]);
    }
}
