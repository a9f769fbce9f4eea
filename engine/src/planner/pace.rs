//! How fast a table, or a target, may be maintained: bytes an hour, and how much of the time.

use std::{collections::VecDeque, time::Duration};

/// What a budget counts over.
const HOUR: Duration = Duration::from_secs(3600);
/// Charges that are remembered one by one. Beyond, those nearest in time are remembered as one, at the later time:
/// so a budget is kept also then.
const MAX_CHARGES: usize = 1024;
/// The most rests that are remembered at once.
const MAX_RESTS: usize = 16;
/// The least intensity that counts: it bounds a rest to 1,000 times the run before it.
const MIN_INTENSITY: f64 = 0.001;

/// How fast something may be maintained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Bytes that are rewritten in any hour; nothing for no limit. A single job that is larger is paid off afterwards: see
    /// [`Ledger::affords`].
    pub bytes_per_hour: Option<u64>,
    /// The share of the time in which a job may run, above 0 to 1: run / (run + rest). Below 1, one job runs at a
    /// time, and after it rests as long as that takes.
    pub intensity: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bytes_per_hour: None,
            intensity: 1.0,
        }
    }
}

/// What a job cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// When it ended.
    pub ended: Duration,
    /// How long it ran.
    pub ran: Duration,
    /// Bytes that it rewrote, for nothing or not.
    pub bytes: u64,
    /// It did not wait for the budget: so it counts for a half of it at most, and keeps nothing else out for ever.
    pub emergency: bool,
}

/// What was spent lately, on one table or one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// When bytes were rewritten, how many, and how many of them count; in the order of time.
    charges: VecDeque<Spending>,
    /// Bytes that are not paid off, as of then. Each hour pays off a budget.
    owed: (Duration, u64),
    /// The jobs whose rest may be the one that ends last, the latest at the end: each ran for a shorter time than the
    /// one before it. An emergency does not wait for a rest, and what it cuts short must come after it.
    rests: VecDeque<Charge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spending {
    at: Duration,
    bytes: u64,
    emergency: bool,
}

impl Ledger {
    /// What was spent by these, in the order of their ends, at this pace.
    pub fn of(charges: impl IntoIterator<Item = Charge>, pace: &Pace) -> Self {
        let mut ledger = Self::default();
        for charge in charges {
            ledger.charge(charge, pace);
        }
        ledger
    }

    /// A job has ended, at this pace.
    pub fn charge(&mut self, charge: Charge, pace: &Pace) {
        self.owe(&charge, pace);
        self.charges.retain(|spent| spent.at + HOUR > charge.ended);
        self.rests.retain(|earlier| earlier.ran > charge.ran);
        self.rests.truncate(MAX_RESTS - 1);
        self.rests.push_back(charge);
        if charge.bytes > 0 {
            let after = self
                .charges
                .partition_point(|spent| spent.at <= charge.ended);
            let spent = Spending {
                at: charge.ended,
                bytes: charge.bytes,
                emergency: charge.emergency,
            };
            self.charges.insert(after, spent);
        }
        if self.charges.len() > MAX_CHARGES {
            self.merge_nearest();
        }
    }

    /// Bytes that were rewritten in the hour before `now`.
    pub fn spent(&self, now: Duration) -> u64 {
        self.sum(now, |_| true)
    }

    /// What is left of the budget for jobs that are no larger; nothing where there is none.
    pub fn left(&self, pace: &Pace, now: Duration) -> Option<u64> {
        let budget = pace.bytes_per_hour?;
        let used = self.counted(budget, now).max(self.owed(budget, now));
        Some(budget.saturating_sub(used))
    }

    /// Whether a job of `bytes` is within the budget, beside jobs of `reserved` bytes that are at work.
    ///
    /// In no hour more is rewritten than the budget, but for jobs that are larger. Such a one may begin, beside no other, once
    /// a half of the budget is paid off. Then it is owed, and each hour pays off a budget: so over a long time no more is
    /// rewritten than that, and one job.
    pub fn affords(&self, pace: &Pace, bytes: u64, reserved: u64, now: Duration) -> bool {
        let Some(budget) = pace.bytes_per_hour.filter(|_| bytes > 0) else {
            return true;
        };
        let owed = self.owed(budget, now);
        if bytes > budget {
            return reserved == 0 && owed <= budget / 2;
        }
        let used = self.counted(budget, now).max(owed);
        used.saturating_add(reserved).saturating_add(bytes) <= budget
    }

    /// When [`Self::affords`] says so, if nothing else is rewritten.
    pub fn affords_at(&self, pace: &Pace, bytes: u64, now: Duration) -> Duration {
        let Some(budget) = pace.bytes_per_hour.filter(|_| bytes > 0) else {
            return now;
        };
        let within = if bytes > budget {
            budget / 2
        } else {
            budget - bytes
        };
        let (since, owed) = self.owed;
        let paid_off = since + time_for(owed.saturating_sub(within), budget);
        // Each charge that leaves the hour makes room.
        let leaves = self.charges.iter().map(|spent| spent.at + HOUR);
        let room = std::iter::once(now)
            .chain(leaves)
            .find(|at| bytes > budget || self.counted(budget, *at) <= within);
        paid_off.max(room.unwrap_or(now)).max(now)
    }

    /// What counts of the hour before `now`.
    fn counted(&self, budget: u64, now: Duration) -> u64 {
        let emergencies = self.sum(now, |spent| spent.emergency).min(budget / 2);
        let others = self.sum(now, |spent| !spent.emergency);
        others.saturating_add(emergencies)
    }

    fn sum(&self, now: Duration, which: impl Fn(&Spending) -> bool) -> u64 {
        let lately = self.charges.iter().filter(|spent| spent.at + HOUR > now);
        let lately = lately.filter(|spent| which(spent));
        lately.fold(0, |sum, spent| sum.saturating_add(spent.bytes))
    }

    /// What is not paid off.
    fn owed(&self, budget: u64, now: Duration) -> u64 {
        let (since, owed) = self.owed;
        owed.saturating_sub(paid(now.saturating_sub(since), budget))
    }

    fn owe(&mut self, charge: &Charge, pace: &Pace) {
        let since = charge.ended.max(self.owed.0);
        let owed = match pace.bytes_per_hour {
            None => 0,
            Some(budget) => {
                let owed = self.owed(budget, since);
                let more = owed.saturating_add(charge.bytes);
                if charge.emergency {
                    more.min(owed.max(budget / 2))
                } else {
                    more
                }
            }
        };
        self.owed = (since, owed);
    }

    /// Whether the rest after the last job, or after a longer one before it, has not passed.
    pub fn rests(&self, pace: &Pace, now: Duration) -> bool {
        let factor = 1.0 / pace.intensity.clamp(MIN_INTENSITY, 1.0) - 1.0;
        self.rests.iter().any(|job| {
            let rest = Duration::try_from_secs_f64(job.ran.as_secs_f64() * factor);
            now.saturating_sub(job.ended) < rest.unwrap_or(Duration::MAX)
        })
    }

    /// Makes one charge of the two that are nearest in time.
    fn merge_nearest(&mut self) {
        let times = self.charges.iter().map(|spent| spent.at);
        let gaps = times.clone().skip(1).zip(times).enumerate();
        let nearest = gaps.min_by_key(|(_, (later, earlier))| *later - *earlier);
        if let Some((n, _)) = nearest
            && let Some(earlier) = self.charges.remove(n)
            && let Some(later) = self.charges.get_mut(n)
        {
            later.bytes = later.bytes.saturating_add(earlier.bytes);
            later.emergency &= earlier.emergency;
        }
    }
}

/// Bytes that a time pays off.
fn paid(time: Duration, budget: u64) -> u64 {
    let paid = u128::from(budget.max(1)).saturating_mul(time.as_millis()) / HOUR.as_millis();
    u64::try_from(paid).unwrap_or(u64::MAX)
}

/// The time that pays off a number of bytes.
fn time_for(bytes: u64, budget: u64) -> Duration {
    let millis = (u128::from(bytes) * HOUR.as_millis()).div_ceil(u128::from(budget.max(1)));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// What a target spent on all its tables, and how fast it may be maintained as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// The target's own pace, beside that of each table.
    pub pace: Pace,
    /// What was spent on it.
    pub ledger: Ledger,
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
