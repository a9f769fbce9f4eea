//! What forces a duty whatever the thresholds say: cron schedules at their times, and persons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use squire_engine::planner::Duty;
use tokio::sync::Notify;

/// Somebody wants a duty done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::service) enum Call {
    /// A schedule, by its name, as tables may have different ones.
    Schedule(Duty, String),
    /// A person, on one table or on all of the target.
    Person(Duty, Option<String>),
}

/// What is called for on one target.
#[derive(Debug, Default)]
pub(in crate::service) struct Forces {
    calls: Mutex<BTreeSet<Call>>,
    bell: Notify,
}

impl Forces {
    /// Calls for a duty.
    pub(in crate::service) fn call(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.insert(call);
        self.bell.notify_one();
    }

    /// Waits for a call.
    pub(in crate::service) async fn called(&self) {
        self.bell.notified().await;
    }

    /// The calls since the last time. As long as no table is known, they stay: a call must not be lost because a target
    /// could not be opened yet.
    pub(in crate::service) fn take(&self, known: bool) -> BTreeSet<Call> {
        if !known {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The forces of all targets, by name.
#[derive(Debug, Default)]
pub(in crate::service) struct ForceBook(Mutex<BTreeMap<String, Arc<Forces>>>);

impl ForceBook {
    /// Those of a target that is kept from now on.
    pub(in crate::service) fn open(&self, target: &str) -> Arc<Forces> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.entry(target.to_owned()).or_default().clone()
    }

    /// A target is kept no more.
    pub(in crate::service) fn close(&self, target: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.remove(target);
    }

    /// Those of a target, if it is kept.
    pub(in crate::service) fn of(&self, target: &str) -> Option<Arc<Forces>> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(target).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_comes_before_any_table_is_known_waits_for_them() {
        let forces = Forces::default();
        let called = Call::Schedule(Duty::Compaction, "0 0 3 * * *".to_owned());
        forces.call(called.clone());
        assert_eq!(forces.take(false), BTreeSet::new());
        assert_eq!(forces.take(true), [called].into());
        assert_eq!(forces.take(true), BTreeSet::new(), "once");
    }
}
