//! Triggers of a duty, whatever the thresholds say: cron schedules at their times, and users.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use squire_engine::planner::Duty;
use tokio::sync::Notify;

/// Why a duty is to be done now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::service) enum Trigger {
    /// A schedule, by its cron text, as tables may have different ones.
    Schedule(Duty, String),
    /// A user, for one table or for all of the target.
    User(Duty, Option<String>),
}

/// The pending triggers of one target.
#[derive(Debug, Default)]
pub(in crate::service) struct Triggers {
    pending: Mutex<BTreeSet<Trigger>>,
    notify: Notify,
}

impl Triggers {
    /// Requests a duty, and wakes the keeper.
    pub(in crate::service) fn request(&self, trigger: Trigger) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(trigger);
        self.notify.notify_one();
    }

    /// Waits for a request.
    pub(in crate::service) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// The requests since the last time. As long as no table is known, they stay: a request must not be lost because a
    /// target could not be opened yet.
    pub(in crate::service) fn take(&self, known: bool) -> BTreeSet<Trigger> {
        if !known {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The pending triggers of all targets, by name.
#[derive(Debug, Default)]
pub(in crate::service) struct TriggerBook(Mutex<BTreeMap<String, Arc<Triggers>>>);

impl TriggerBook {
    /// Those of a target that is kept from now on.
    pub(in crate::service) fn open(&self, target: &str) -> Arc<Triggers> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.entry(target.to_owned()).or_default().clone()
    }

    /// A target is kept no more.
    pub(in crate::service) fn close(&self, target: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.remove(target);
    }

    /// Those of a target, if it is kept.
    pub(in crate::service) fn of(&self, target: &str) -> Option<Arc<Triggers>> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(target).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_comes_before_any_table_is_known_waits_for_them() {
        let triggers = Triggers::default();
        let called = Trigger::Schedule(Duty::Compaction, "0 0 3 * * *".to_owned());
        triggers.request(called.clone());
        assert_eq!(triggers.take(false), BTreeSet::new());
        assert_eq!(triggers.take(true), [called].into());
        assert_eq!(triggers.take(true), BTreeSet::new(), "once");
    }
}
