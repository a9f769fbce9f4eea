//! Cron schedules: what one says, and when it comes next. All of them are in UTC.

use std::collections::BTreeSet;

use chrono::{DateTime, Local, SubsecRound, TimeZone, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use squire_config::{Refusal, Target};
use squire_engine::planner::Duty;

const FIX: &str = "write seconds, minutes, hours, day of month, month, day of week, such as \"0 0 3 * * *\" for three o'clock every night";

/// A schedule that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Cron);

impl Schedule {
    /// Understands a schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .dom_and_dow(true)
            .build();
        parser.parse(text).map(Self).map_err(|e| e.to_string())
    }

    /// The first time after this one; nothing when there is none, as on the 30th of February and in a year that is over.
    pub(crate) fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let whole = now.trunc_subsecs(0);
        self.0.find_next_occurrence(&whole, false).ok()
    }
}

/// What is wrong with a schedule, if anything is.
pub(crate) fn fault(text: &str, now: DateTime<Utc>) -> Option<Refusal> {
    match Schedule::parse(text) {
        Err(fault) => Some(Refusal::new(
            format!("{text:?} cannot be used: {fault}"),
            FIX,
        )),
        Ok(schedule) if schedule.next_after(now).is_none() => Some(Refusal::new(
            format!("{text:?} never comes: no day to come is like that"),
            "correct the day, the month or the year, or write \"off\"",
        )),
        Ok(_) => None,
    }
}

/// Every schedule of a target, once each: those of its own policies, and those of its rules for tables.
pub(crate) fn of_target(target: &Target) -> BTreeSet<(Duty, String)> {
    let mut all = BTreeSet::new();
    for policies in target.all_policies() {
        for duty in Duty::ALL {
            all.extend(policies.cron(duty).map(|cron| (duty, cron.to_owned())));
        }
    }
    all
}

/// A time as a user reads it who may not think in UTC.
pub(crate) fn shown(at: DateTime<Utc>) -> String {
    shown_in(at, &Local)
}

fn shown_in<Z: TimeZone>(at: DateTime<Utc>, zone: &Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let utc = at.format("%Y-%m-%d %H:%M:%S UTC");
    let local = at.with_timezone(zone).format("%Y-%m-%d %H:%M:%S %:z");
    format!("{utc} ({local} in local time)")
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("it is a time")
    }

    #[test]
    fn a_schedule_that_never_comes_is_refused() {
        let now = at("2026-11-30T12:00:00Z");
        for never in [
            "0 0 0 30 2 *",
            "0 0 0 31 4 *",
            "0 0 3 * * * 2020",
            "0 0 3 1 1 * 2026",
        ] {
            let refusal = fault(never, now).map(|refusal| refusal.what);
            let refusal = refusal.unwrap_or_else(|| panic!("{never} is taken"));
            assert!(refusal.contains("never comes"), "{refusal}");
        }
        for comes in ["0 0 0 29 2 *", "0 0 3 31 12 * 2026", "* * * * * *"] {
            assert!(fault(comes, now).is_none(), "{comes}");
        }
        let unknown = fault("0 0 3 * * FOO", now).map(|refusal| refusal.what);
        assert!(unknown.is_some_and(|what| what.contains("cannot be used")));
    }

    #[test]
    fn the_next_time_comes_after_now_and_is_in_utc() {
        let nightly = Schedule::parse("0 0 3 * * *").expect("it is one");
        let next = |now| nightly.next_after(at(now));
        let third = Some(at("2026-12-01T03:00:00Z"));
        assert_eq!(next("2026-11-30T03:00:00Z"), third);
        assert_eq!(next("2026-11-30T03:00:00.5Z"), third);
        assert_eq!(next("2026-12-01T02:59:59.9Z"), third);
    }

    #[test]
    fn a_time_is_shown_in_utc_and_as_the_clock_on_the_wall_has_it() {
        let east = FixedOffset::east_opt(3600).expect("there is such an offset");
        assert_eq!(
            shown_in(at("2026-12-01T23:30:00Z"), &east),
            "2026-12-01 23:30:00 UTC (2026-12-02 00:30:00 +01:00 in local time)"
        );
    }
}
