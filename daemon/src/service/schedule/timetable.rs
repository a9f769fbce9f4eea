//! The cron schedules of all targets: when each comes next, and the request that its time makes. That goes through
//! `triggers.rs` to the keeper of the target (`keeper/triggers.rs`), which polls the target and plans the duty.
//!
//! The scheduler keeps the next time of each as a time of the wall clock. So after a jump of that clock it is started anew:
//! times are reckoned from now on, and never caught up with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local, Utc};
use squire_config::Target;
use squire_engine::planner::Duty;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::triggers::{Trigger, Triggers};
use crate::{
    api::ScheduleInfo,
    cron::{self, Schedule},
    exit::Failure,
};

/// One schedule of one target.
#[derive(Clone, Debug)]
struct Entry {
    target: String,
    duty: Duty,
    cron: String,
    schedule: Schedule,
    triggers: Arc<Triggers>,
}

/// Schedules that have begun.
pub(in crate::service) struct Started {
    entries: Vec<Entry>,
    scheduler: Option<JobScheduler>,
}

impl Started {
    /// Begins the schedules of these targets, which call these.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(in crate::service) async fn new(
        targets: impl Iterator<Item = (Target, Arc<Triggers>)>,
    ) -> Result<Self, Failure> {
        let mut entries = Vec::new();
        for (target, triggers) in targets {
            for (duty, cron) in cron::of_target(&target) {
                let schedule = Schedule::parse(&cron).map_err(|e| {
                    Failure::Usage(format!(
                        "the cron schedule \"{cron}\" of target {} cannot be used: {e}",
                        target.name
                    ))
                })?;
                entries.push(Entry {
                    target: target.name.clone(),
                    duty,
                    cron,
                    schedule,
                    triggers: triggers.clone(),
                });
            }
        }
        let scheduler = begin(&entries).await;
        let scheduler =
            scheduler.map_err(|e| Failure::Machine(format!("the scheduler cannot start: {e}")))?;
        Ok(Self { entries, scheduler })
    }
}

/// Begins to call; nothing where there is no schedule.
async fn begin(entries: &[Entry]) -> Result<Option<JobScheduler>, JobSchedulerError> {
    if entries.is_empty() {
        return Ok(None);
    }
    let scheduler = JobScheduler::new().await?;
    for entry in entries {
        let (triggers, duty, cron) = (entry.triggers.clone(), entry.duty, entry.cron.clone());
        let call =
            move |_, _: JobScheduler| triggers.request(Trigger::Schedule(duty, cron.clone()));
        scheduler.add(Job::new(entry.cron.as_str(), call)?).await?;
    }
    scheduler.start().await?;
    Ok(Some(scheduler))
}

/// The schedules of all targets.
#[derive(Default)]
pub(in crate::service) struct Timetable {
    entries: Mutex<Vec<Entry>>,
    scheduler: tokio::sync::Mutex<Option<JobScheduler>>,
}

impl Timetable {
    /// Goes by these from now on.
    pub(in crate::service) async fn follow(&self, started: Started) {
        let Started { entries, scheduler } = started;
        let mut running = self.scheduler.lock().await;
        *self.entries() = entries;
        replace(&mut running, scheduler).await;
    }

    /// The schedules of a target, as clients see them.
    pub(in crate::service) fn of(&self, target: &str, now: DateTime<Utc>) -> Vec<ScheduleInfo> {
        let entries = self.entries();
        let of_target = entries.iter().filter(|entry| entry.target == target);
        let noted = of_target.map(|entry| {
            let next = entry.schedule.next_after(now);
            ScheduleInfo {
                duty: entry.duty.into(),
                cron: entry.cron.clone(),
                next,
                next_local: next.map(|at| at.with_timezone(&Local).fixed_offset()),
            }
        });
        noted.collect()
    }

    /// The clock says another time than it would have: all times are reckoned again.
    pub(in crate::service) async fn plan_anew(&self) {
        // No other schedules come meanwhile.
        let mut running = self.scheduler.lock().await;
        let entries = self.entries().clone();
        match begin(&entries).await {
            Ok(fresh) => replace(&mut running, fresh).await,
            Err(e) => {
                tracing::error!(error = %e, "cron schedules could not be planned anew after a jump of the clock, and may come late; restart the daemon");
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a moment both call: a call that comes twice is one, and one that is lost does not come back.
async fn replace(running: &mut Option<JobScheduler>, fresh: Option<JobScheduler>) {
    if let Some(mut before) = std::mem::replace(running, fresh)
        && let Err(e) = before.shutdown().await
    {
        tracing::warn!(error = %e, "schedules could not be ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn timetable(cron: &str) -> (Timetable, Arc<Triggers>) {
        let triggers = Arc::new(Triggers::default());
        let entries = vec![Entry {
            target: "lake".to_owned(),
            duty: Duty::Cleanup,
            cron: cron.to_owned(),
            schedule: Schedule::parse(cron).expect("it is a schedule"),
            triggers: triggers.clone(),
        }];
        let scheduler = begin(&entries).await.expect("it begins");
        let timetable = Timetable::default();
        timetable.follow(Started { entries, scheduler }).await;
        (timetable, triggers)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_schedule_calls_when_its_time_has_come_and_so_it_does_after_it_was_planned_anew() {
        let (timetable, triggers) = timetable("* * * * * *").await;
        let called = Trigger::Schedule(Duty::Cleanup, "* * * * * *".to_owned());
        triggers.notified().await;
        assert_eq!(triggers.take(true), [called.clone()].into());
        timetable.plan_anew().await;
        // What the one before had called for until it ended.
        triggers.take(true);
        while triggers.take(true) != [called.clone()].into() {
            triggers.notified().await;
        }
    }

    #[tokio::test]
    async fn whoever_asks_is_told_when_each_schedule_of_a_target_comes_next() {
        let (timetable, _) = timetable("0 0 3 * * *").await;
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("it is a time");
        let noted = timetable.of("lake", at("2026-11-30T12:00:00Z"));
        assert_eq!(noted[0].next, Some(at("2026-12-01T03:00:00Z")));
        assert!(
            timetable
                .of("another", at("2026-11-30T12:00:00Z"))
                .is_empty()
        );
        timetable
            .follow(Started {
                entries: Vec::new(),
                scheduler: None,
            })
            .await;
        assert!(timetable.of("lake", at("2026-11-30T12:00:00Z")).is_empty());
    }
}
