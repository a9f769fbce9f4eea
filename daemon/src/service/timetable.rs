//! When each cron schedule comes next, and the calls when it has come.
//!
//! The next times are reckoned from now on, never caught up with: of those that passed while the process was suspended,
//! one call is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, FixedOffset, Local, Utc};
use serde::{Deserialize, Serialize};
use squire_config::Target;
use squire_engine::maintenance::Duty;
use utoipa::ToSchema;

use super::{
    board::words::DutyWord,
    schedule::{Call, Forces},
};
use crate::{
    cron::{self, Schedule},
    exit::Failure,
};

/// A cron schedule of a target, and when it comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ScheduleNotes {
    /// The duty that it forces.
    pub(crate) duty: DutyWord,
    /// As the configuration has it.
    pub(crate) cron: String,
    /// When it comes next; nothing when it never does any more.
    pub(crate) next: Option<DateTime<Utc>>,
    /// The same in the daemon's local time.
    pub(crate) next_local: Option<DateTime<FixedOffset>>,
}

/// One schedule of one target.
#[derive(Debug)]
pub(super) struct Entry {
    target: String,
    duty: Duty,
    cron: String,
    schedule: Schedule,
    forces: Arc<Forces>,
    next: Option<DateTime<Utc>>,
}

/// The schedules of these targets, with those whom they call.
///
/// # Errors
/// When one of them cannot be used.
pub(super) fn entries(
    targets: impl Iterator<Item = (Target, Arc<Forces>)>,
    now: DateTime<Utc>,
) -> Result<Vec<Entry>, Failure> {
    let mut all = Vec::new();
    for (target, forces) in targets {
        for (duty, cron) in cron::of_target(&target) {
            let schedule = Schedule::parse(&cron).map_err(|e| {
                Failure::Usage(format!(
                    "the cron schedule \"{cron}\" of target {} cannot be used: {e}",
                    target.name
                ))
            })?;
            all.push(Entry {
                target: target.name.clone(),
                duty,
                next: schedule.next_after(now),
                cron,
                schedule,
                forces: forces.clone(),
            });
        }
    }
    Ok(all)
}

/// The schedules of all targets.
#[derive(Debug, Default)]
pub(crate) struct Timetable(Mutex<Vec<Entry>>);

impl Timetable {
    /// Goes by these, which were reckoned at this time, from now on. Calls whose time has come by then are made.
    pub(super) fn follow(&self, entries: Vec<Entry>, now: DateTime<Utc>) {
        self.call(now);
        *self.lock() = entries;
    }

    /// The schedules of a target, as whoever asks is told.
    pub(super) fn of(&self, target: &str) -> Vec<ScheduleNotes> {
        let entries = self.lock();
        let of_target = entries.iter().filter(|entry| entry.target == target);
        let noted = of_target.map(|entry| ScheduleNotes {
            duty: entry.duty.into(),
            cron: entry.cron.clone(),
            next: entry.next,
            next_local: entry.next.map(|at| at.with_timezone(&Local).fixed_offset()),
        });
        noted.collect()
    }

    /// Makes the calls whose time has come, and reckons when each comes again.
    pub(super) fn call(&self, now: DateTime<Utc>) {
        for entry in self.lock().iter_mut() {
            if entry.next.is_some_and(|next| next <= now) {
                let called = Call::Schedule(entry.duty, entry.cron.clone());
                entry.forces.call(called);
                entry.next = entry.schedule.next_after(now);
            }
        }
    }

    /// The clock says another time than it would have: all times are reckoned again.
    pub(super) fn plan_anew(&self, now: DateTime<Utc>) {
        for entry in self.lock().iter_mut() {
            entry.next = entry.schedule.next_after(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("it is a time")
    }

    fn timetable(cron: &str, now: DateTime<Utc>) -> (Timetable, Arc<Forces>) {
        let forces = Arc::new(Forces::default());
        let schedule = Schedule::parse(cron).expect("it is a schedule");
        let entry = Entry {
            target: "lake".to_owned(),
            duty: Duty::Cleanup,
            cron: cron.to_owned(),
            next: schedule.next_after(now),
            schedule,
            forces: forces.clone(),
        };
        let timetable = Timetable::default();
        timetable.follow(vec![entry], now);
        (timetable, forces)
    }

    fn next(timetable: &Timetable) -> Option<DateTime<Utc>> {
        timetable.of("lake")[0].next
    }

    #[test]
    fn a_schedule_calls_once_when_its_time_has_come_and_says_when_it_comes_again() {
        let (timetable, forces) = timetable("0 0 3 * * *", at("2026-11-30T12:00:00Z"));
        assert_eq!(next(&timetable), Some(at("2026-12-01T03:00:00Z")));
        timetable.call(at("2026-12-01T02:59:59Z"));
        assert!(forces.take(true).is_empty());
        timetable.call(at("2026-12-01T03:00:00Z"));
        let called = Call::Schedule(Duty::Cleanup, "0 0 3 * * *".to_owned());
        assert_eq!(forces.take(true), [called].into());
        timetable.call(at("2026-12-01T03:00:01Z"));
        assert!(forces.take(true).is_empty(), "once");
        assert_eq!(next(&timetable), Some(at("2026-12-02T03:00:00Z")));
        assert!(timetable.of("another").is_empty());
    }

    #[test]
    fn of_times_that_passed_during_a_suspension_one_call_is_made() {
        let (timetable, forces) = timetable("0 0 3 * * *", at("2026-11-30T12:00:00Z"));
        timetable.call(at("2026-12-09T12:00:00Z"));
        assert_eq!(forces.take(true).len(), 1);
        assert_eq!(next(&timetable), Some(at("2026-12-10T03:00:00Z")));
    }

    #[test]
    fn after_a_jump_of_the_clock_schedules_are_planned_anew_forward_and_back() {
        let (timetable, forces) = timetable("0 0 3 * * *", at("2026-11-30T12:00:00Z"));
        timetable.plan_anew(at("2027-01-30T12:00:00Z"));
        timetable.call(at("2027-01-30T12:00:00Z"));
        assert!(forces.take(true).is_empty(), "two months have not passed");
        timetable.plan_anew(at("2026-11-30T12:00:10Z"));
        assert_eq!(next(&timetable), Some(at("2026-12-01T03:00:00Z")));
    }

    #[test]
    fn a_schedule_whose_last_year_is_over_says_that_it_comes_no_more() {
        let (timetable, forces) = timetable("0 0 3 31 12 * 2026", at("2026-11-30T12:00:00Z"));
        timetable.call(at("2026-12-31T03:00:00Z"));
        assert_eq!(forces.take(true).len(), 1);
        assert_eq!(next(&timetable), None);
        timetable.call(at("2027-12-31T03:00:00Z"));
        assert!(forces.take(true).is_empty());
    }
}
