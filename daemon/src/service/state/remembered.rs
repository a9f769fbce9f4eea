//! What is remembered of a target over a restart, and between two keepers of one place. On the disk it is by the clock on the
//! wall; a keeper has it by the daemon's monotonic clock. All of it is pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::planner::{
    Duty, History,
    history::DutyHistory,
    pace::{Charge, Ledger, Pace},
};

/// Nothing is remembered for longer: no interval floor is.
pub(in crate::service) const WINDOW: TimeDelta = TimeDelta::days(31);
/// How long what was spent is asked for: it may be owed. A rest that lasts longer than that, longer.
const SPENT: TimeDelta = TimeDelta::days(7);
/// The maximum rest, as a multiple of the job before it.
const LONGEST_REST: u32 = 1000;
/// Losses in a row make the next attempt wait, for minutes. An attempt a day later begins anew.
const LOSSES: TimeDelta = TimeDelta::days(1);
/// What a user asked for at once, and waits for a window, is not wanted any more after this.
const FORCED: TimeDelta = TimeDelta::days(1);
/// Jobs of a target that ended within such a time of each other are remembered as one: in the last hour, and before it.
const OF_TARGET: Grain = Grain {
    lately: 60,
    before: 3600,
};
/// The same of a table.
const OF_TABLE: Grain = Grain {
    lately: 300,
    before: 3600,
};

/// The resolution of job times, in seconds.
#[derive(Clone, Copy)]
struct Grain {
    lately: i64,
    before: i64,
}

/// What time it is, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Clock {
    /// By the clock on the wall.
    pub(in crate::service) wall: DateTime<Utc>,
    /// By the daemon's own.
    pub(in crate::service) monotonic: Duration,
}

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfTarget {
    /// Its place: another place under the same name is another target.
    pub(super) uri: String,
    /// What was spent on it.
    #[serde(default)]
    charges: Vec<Spent>,
    #[serde(default)]
    tables: BTreeMap<String, OfTable>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTable {
    /// When it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    duties: BTreeMap<Duty, OfDuty>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    charges: Vec<Spent>,
    /// What a user asked for at once, and when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    forced: BTreeMap<Duty, DateTime<Utc>>,
}

/// One duty on a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDuty {
    /// When it was last in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_success: Option<DateTime<Utc>>,
    /// The last job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// The last job of a duty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    ended: DateTime<Utc>,
    ran_seconds: f64,
    /// Failures and lost rewrites in a row.
    losses: u32,
    /// The version at which it failed for a reason that lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting: Option<u64>,
}

/// What jobs cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    ended: DateTime<Utc>,
    ran_seconds: f64,
    bytes: u64,
    #[serde(default)]
    emergency: bool,
}

/// What a keeper begins with.
#[derive(Debug, Default)]
pub(in crate::service) struct Restored {
    /// What was spent on the target.
    charges: Vec<Charge>,
    /// By the tables' keys.
    pub(in crate::service) tables: BTreeMap<String, RestoredTable>,
}

/// What a keeper begins with of one table.
#[derive(Debug, Default)]
pub(in crate::service) struct RestoredTable {
    /// When it was found first.
    pub(in crate::service) found: Option<DateTime<Utc>>,
    /// When each duty was last in order.
    pub(in crate::service) last_success: BTreeMap<Duty, DateTime<Utc>>,
    /// What was done and lost.
    duties: BTreeMap<Duty, DutyHistory>,
    /// What was spent on it.
    charges: Vec<Charge>,
    /// What a user asked for at once, and waits.
    pub(in crate::service) forced: BTreeSet<Duty>,
}

/// How a job ended, as far as it is remembered.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct JobEnd {
    /// Its duty.
    pub(in crate::service) duty: Duty,
    /// What it cost; its end is on the daemon's clock.
    pub(in crate::service) charge: Charge,
    /// What became of the duty, with it.
    pub(in crate::service) history: DutyHistory,
}

impl Restored {
    /// What was spent on the target, at its pace.
    pub(in crate::service) fn ledger(&self, pace: &Pace) -> Ledger {
        Ledger::of(self.charges.iter().copied(), pace)
    }
}

impl RestoredTable {
    /// What was done, lost and spent, at the table's pace.
    pub(in crate::service) fn history(&self, pace: &Pace) -> History {
        History {
            duties: self.duties.clone(),
            ledger: Ledger::of(self.charges.iter().copied(), pace),
            ..History::default()
        }
    }
}

impl Clock {
    /// A time of the daemon's clock, on the wall.
    fn on_the_wall(&self, at: Duration) -> DateTime<Utc> {
        let ago = self.monotonic.saturating_sub(at);
        self.wall - TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX)
    }

    /// How long ago something was. What lies ahead was just now: the clock on the wall was put back since.
    fn age(&self, at: DateTime<Utc>) -> TimeDelta {
        (self.wall - at).max(TimeDelta::zero())
    }

    /// A time of the wall on the daemon's clock; nothing when that did not run yet.
    fn monotonic(&self, at: DateTime<Utc>) -> Option<Duration> {
        self.monotonic.checked_sub(self.age(at).to_std().ok()?)
    }

    /// A time of the wall that does not lie ahead.
    fn past(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at.min(self.wall)
    }
}

impl OfTarget {
    /// Nothing is known of a place.
    pub(super) fn at(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            ..Self::default()
        }
    }

    /// A job has ended.
    pub(super) fn ended(&mut self, table: &str, end: &JobEnd, clock: &Clock) {
        let spent = Spent {
            ended: clock.on_the_wall(end.charge.ended),
            ran_seconds: end.charge.ran.as_secs_f64(),
            bytes: end.charge.bytes,
            emergency: end.charge.emergency,
        };
        let of_table = self.tables.entry(table.to_owned()).or_default();
        let duty = of_table.duties.entry(end.duty).or_default();
        duty.last = Some(Last {
            ended: spent.ended,
            ran_seconds: spent.ran_seconds,
            losses: end.history.losses,
            lasting: end.history.lasting,
        });
        add(&mut of_table.charges, spent.clone(), OF_TABLE, clock);
        add(&mut self.charges, spent, OF_TARGET, clock);
    }

    /// A duty of a table waits no more for what failed. Says whether it did.
    pub(super) fn forgive(&mut self, table: &str, duty: Duty) -> bool {
        let of_duty = self.tables.get_mut(table);
        let of_duty = of_duty.and_then(|of_table| of_table.duties.get_mut(&duty));
        let Some(last) = of_duty.and_then(|of_duty| of_duty.last.as_mut()) else {
            return false;
        };
        let waited = last.losses > 0;
        (last.losses, last.lasting) = (0, None);
        waited
    }

    /// These duties of a table are wanted at once, and no others. Says whether that is new.
    pub(super) fn force(&mut self, table: &str, forced: &BTreeSet<Duty>, clock: &Clock) -> bool {
        let before = self.tables.get(table).map(|of| &of.forced);
        let forced: BTreeMap<_, _> = forced
            .iter()
            .map(|duty| {
                let since = before.and_then(|before| before.get(duty));
                (*duty, since.copied().unwrap_or(clock.wall))
            })
            .collect();
        if before.map_or(forced.is_empty(), |before| *before == forced) {
            return false;
        }
        self.tables.entry(table.to_owned()).or_default().forced = forced;
        true
    }

    /// What of a table's duties is in order, and since when it is known.
    pub(super) fn in_order(
        &mut self,
        table: &str,
        found: DateTime<Utc>,
        last_success: &BTreeMap<Duty, DateTime<Utc>>,
    ) {
        let of_table = self.tables.entry(table.to_owned()).or_default();
        of_table.found = Some(found);
        for (duty, at) in last_success {
            let duty = of_table.duties.entry(*duty).or_default();
            duty.last_success = Some(*at);
        }
    }

    /// What of it still counts.
    pub(super) fn restore(&self, clock: &Clock) -> Restored {
        let tables = self.tables.iter();
        let tables = tables.map(|(key, of_table)| (key.clone(), of_table.restore(clock)));
        Restored {
            charges: charges(&self.charges, clock),
            tables: tables.collect(),
        }
    }

    /// Drops what does not count any more; what is left may be nothing.
    pub(super) fn prune(&mut self, clock: &Clock) {
        self.charges.retain(|spent| spent.counts(clock));
        for of_table in self.tables.values_mut() {
            of_table.charges.retain(|spent| spent.counts(clock));
            of_table.forced.retain(|_, at| clock.age(*at) <= FORCED);
            for duty in of_table.duties.values_mut() {
                duty.last = duty.last.take_if(|last| clock.age(last.ended) <= WINDOW);
                duty.last_success = duty.last_success.take_if(|at| clock.age(*at) <= WINDOW);
            }
            of_table.duties.retain(|_, duty| *duty != OfDuty::default());
        }
        self.tables.retain(|_, of_table| {
            let found = of_table.found;
            let found = found.is_some_and(|at| clock.age(at) <= WINDOW);
            found || !of_table.duties.is_empty() || !of_table.forced.is_empty()
        });
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.tables.is_empty()
    }
}

impl OfTable {
    fn restore(&self, clock: &Clock) -> RestoredTable {
        let mut duties = BTreeMap::new();
        let mut last_success = BTreeMap::new();
        for (duty, of_duty) in &self.duties {
            let duty = *duty;
            if let Some(at) = of_duty.last_success {
                last_success.insert(duty, clock.past(at));
            }
            let last = of_duty.last.as_ref();
            let last = last.and_then(|last| Some((last, clock.monotonic(last.ended)?)));
            if let Some((last, ended)) = last {
                let recent = clock.age(last.ended) <= LOSSES;
                let restored = DutyHistory {
                    last_end: Some(ended),
                    last_ran: seconds(last.ran_seconds),
                    losses: if recent { last.losses } else { 0 },
                    lasting: last.lasting.filter(|_| recent),
                    passed_over: 0,
                };
                duties.insert(duty, restored);
            }
        }
        let forced = self.forced.iter();
        let forced = forced.filter(|(_, at)| clock.age(**at) <= FORCED);
        RestoredTable {
            found: self.found.map(|at| clock.past(at)),
            last_success,
            duties,
            charges: charges(&self.charges, clock),
            forced: forced.map(|(duty, _)| *duty).collect(),
        }
    }
}

impl Spent {
    /// Whether anything may still be held back by it.
    fn counts(&self, clock: &Clock) -> bool {
        let rest = seconds(self.ran_seconds).saturating_mul(LONGEST_REST);
        let rest = TimeDelta::from_std(rest).unwrap_or(TimeDelta::MAX);
        clock.age(self.ended) <= SPENT.max(rest).min(WINDOW)
    }
}

/// Adds what a job cost. Those that ended close to each other count as one that ended when the last of them did: so
/// budgets are kept also then.
fn add(charges: &mut Vec<Spent>, spent: Spent, grain: Grain, clock: &Clock) {
    charges.retain(|spent| spent.counts(clock));
    charges.push(spent);
    charges.sort_by_key(|spent| spent.ended);
    charges.dedup_by(|later, earlier| {
        let is_one = later.emergency == earlier.emergency
            && grain.of(later, clock) == grain.of(earlier, clock);
        if is_one {
            earlier.ended = later.ended;
            earlier.bytes = earlier.bytes.saturating_add(later.bytes);
            earlier.ran_seconds = earlier.ran_seconds.max(later.ran_seconds);
        }
        is_one
    });
}

impl Grain {
    /// Where in time something is, as far as that is resolved.
    fn of(self, spent: &Spent, clock: &Clock) -> (bool, i64) {
        let lately = clock.age(spent.ended) <= TimeDelta::hours(1);
        let seconds = if lately { self.lately } else { self.before };
        (lately, spent.ended.timestamp().div_euclid(seconds))
    }
}

/// What still counts, by the daemon's clock.
fn charges(spent: &[Spent], clock: &Clock) -> Vec<Charge> {
    let counts = spent.iter().filter(|spent| spent.counts(clock));
    let charges = counts.filter_map(|spent| {
        Some(Charge {
            ended: clock.monotonic(spent.ended)?,
            ran: seconds(spent.ran_seconds),
            bytes: spent.bytes,
            emergency: spent.emergency,
        })
    });
    charges.collect()
}

/// What a file says of a length of time; nonsense is none.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
#[path = "remembered_tests.rs"]
mod tests;
