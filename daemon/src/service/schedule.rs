//! What forces a duty whatever the thresholds say: cron schedules at their times, and persons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use squire_config::{Refusal, Target};
use squire_engine::maintenance::Duty;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::{exit::Failure, policy};

/// Somebody wants a duty done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// A schedule, by its name, as tables may have different ones.
    Schedule(Duty, String),
    /// A person, on one table or on all of the target.
    Person(Duty, Option<String>),
}

/// What is called for on one target.
#[derive(Debug, Default)]
pub(super) struct Forces {
    calls: Mutex<BTreeSet<Call>>,
    bell: Notify,
}

impl Forces {
    /// Calls for a duty.
    pub(super) fn call(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.insert(call);
        self.bell.notify_one();
    }

    /// Waits for a call.
    pub(super) async fn called(&self) {
        self.bell.notified().await;
    }

    /// The calls since the last time. As long as no table is known, they stay: a call must not be lost because a target
    /// could not be opened yet.
    pub(super) fn take(&self, known: bool) -> BTreeSet<Call> {
        if !known {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The forces of all targets, by name.
#[derive(Debug, Default)]
pub(super) struct ForceBook(Mutex<BTreeMap<String, Arc<Forces>>>);

impl ForceBook {
    /// Those of a target that is kept from now on.
    pub(super) fn open(&self, target: &str) -> Arc<Forces> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.entry(target.to_owned()).or_default().clone()
    }

    /// A target is kept no more.
    pub(super) fn close(&self, target: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.remove(target);
    }

    /// Those of a target, if it is kept.
    pub(super) fn of(&self, target: &str) -> Option<Arc<Forces>> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(target).cloned()
    }
}

fn bad(target: &str, cron: &str, e: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!(
        "the cron schedule \"{cron}\" of target {target} cannot be used: {e}"
    ))
}

/// Every schedule of a target: those of its own policies, and those of its rules for tables.
pub(super) fn of(target: &Target) -> BTreeSet<(Duty, String)> {
    let mut all = BTreeSet::new();
    for policies in target.all_policies() {
        for duty in Duty::ALL {
            all.extend(policy::cron(&policies, duty).map(|cron| (duty, cron.to_owned())));
        }
    }
    all
}

/// What is wrong with a schedule, if anything is.
pub(super) fn fault(cron: &str) -> Option<Refusal> {
    let fault = Job::new(cron, |_, _| {}).err()?;
    Some(Refusal::new(
        format!("{cron:?} cannot be used: {fault}"),
        "write seconds, minutes, hours, day of month, month, day of week, such as \"0 0 3 * * *\" for three o'clock every night",
    ))
}

/// Starts the schedules; they run until the scheduler is dropped.
pub(super) async fn start(
    targets: Vec<(Target, Arc<Forces>)>,
) -> Result<Option<JobScheduler>, Failure> {
    if targets.iter().all(|(target, _)| of(target).is_empty()) {
        return Ok(None);
    }
    let failed = |e| Failure::Machine(format!("the scheduler cannot start: {e}"));
    let scheduler = JobScheduler::new().await.map_err(failed)?;
    for (target, forces) in targets {
        for (duty, cron) in of(&target) {
            let (forces, called) = (forces.clone(), cron.clone());
            let job = Job::new(cron.as_str(), move |_, _| {
                forces.call(Call::Schedule(duty, called.clone()));
            })
            .map_err(|e| bad(&target.name, &cron, &e))?;
            scheduler.add(job).await.map_err(failed)?;
        }
    }
    scheduler.start().await.map_err(failed)?;
    Ok(Some(scheduler))
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
