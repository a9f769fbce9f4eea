//! When each cron schedule comes next.

use std::fmt;

use chrono::{DateTime, FixedOffset, Local, Utc};
use serde::Serialize;
use squire_config::Settings;

use crate::cron::{self, Schedule};

/// A schedule, and when it comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Coming {
    target: String,
    duty: &'static str,
    cron: String,
    next: Option<DateTime<Utc>>,
    next_local: Option<DateTime<FixedOffset>>,
}

/// Those of all targets.
pub(super) fn of(settings: &Settings, now: DateTime<Utc>) -> Vec<Coming> {
    let mut all = Vec::new();
    for target in &settings.targets {
        for (duty, cron) in cron::of_target(target) {
            // It was judged when the configuration was loaded.
            let schedule = Schedule::parse(&cron).ok();
            let next = schedule.and_then(|schedule| schedule.next_after(now));
            all.push(Coming {
                target: target.name.clone(),
                duty: duty.as_str(),
                cron,
                next,
                next_local: next.map(|at| at.with_timezone(&Local).fixed_offset()),
            });
        }
    }
    all
}

impl fmt::Display for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target, duty, cron, ..
        } = self;
        let next = self.next.map_or("never".to_owned(), cron::shown);
        write!(f, "{target}: {duty} at \"{cron}\", next at {next}")
    }
}
