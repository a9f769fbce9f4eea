//! How fast a table, or a target, may be maintained: bytes an hour, and how much of the time.

use std::{collections::VecDeque, time::Duration};

/// What a budget counts over.
const HOUR: Duration = Duration::from_secs(3600);
/// Charges that are remembered one by one. Beyond, those nearest in time are remembered as one, at the later time:
/// so a budget is kept also then.
const MAX_CHARGES: usize = 1024;
/// So many rests at most are remembered at once.
const MAX_RESTS: usize = 16;
/// No rest is longer than so many times the run before it.
const MIN_INTENSITY: f64 = 0.001;

/// How fast something may be maintained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Bytes that are rewritten in any hour; nothing for no limit. A single job that is larger runs once nothing was
    /// rewritten for an hour, or a large table would never be compacted.
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
}

/// What was spent lately, on one table or one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// When bytes were rewritten, and how many; in the order of time.
    charges: VecDeque<(Duration, u64)>,
    /// The jobs whose rest may be the one that ends last, the latest at the end: each ran for a shorter time than the
    /// one before it. An emergency does not wait for a rest, and what it cuts short must come after it.
    rests: VecDeque<Charge>,
}

impl Ledger {
    /// A job has ended.
    pub fn charge(&mut self, charge: Charge) {
        self.charges.retain(|(at, _)| *at + HOUR > charge.ended);
        self.rests.retain(|earlier| earlier.ran > charge.ran);
        self.rests.truncate(MAX_RESTS - 1);
        self.rests.push_back(charge);
        if charge.bytes > 0 {
            let after = self.charges.partition_point(|(at, _)| *at <= charge.ended);
            self.charges.insert(after, (charge.ended, charge.bytes));
        }
        if self.charges.len() > MAX_CHARGES {
            self.merge_nearest();
        }
    }

    /// Bytes that were rewritten in the hour before `now`.
    pub fn spent(&self, now: Duration) -> u64 {
        let lately = self.charges.iter().filter(|(at, _)| *at + HOUR > now);
        lately.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Whether a job of so many bytes is within the budget, beside jobs of `reserved` bytes that are at work. A job
    /// that is larger than the whole budget is, when the budget is untouched.
    pub fn affords(&self, pace: &Pace, bytes: u64, reserved: u64, now: Duration) -> bool {
        let Some(budget) = pace.bytes_per_hour else {
            return true;
        };
        let used = self.spent(now).saturating_add(reserved);
        bytes == 0 || used == 0 || used.saturating_add(bytes) <= budget
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
        let times = self.charges.iter().map(|(at, _)| *at);
        let gaps = times.clone().skip(1).zip(times).enumerate();
        let nearest = gaps.min_by_key(|(_, (later, earlier))| *later - *earlier);
        if let Some((n, _)) = nearest
            && let Some((_, bytes)) = self.charges.remove(n)
            && let Some(later) = self.charges.get_mut(n)
        {
            later.1 = later.1.saturating_add(bytes);
        }
    }
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
