//! What happened to a table so far. Times are on the caller's monotonic clock, since it started.

use std::{collections::BTreeMap, time::Duration};

use super::{
    duty::Duty,
    job::Job,
    pace::{Charge, Ledger, Pace},
};

/// The first pause after a lost rewrite, doubled by every further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);
/// What failed for a reason that lasts is not tried sooner, as long as the table stays as it is.
const LONGEST_LASTING: Duration = Duration::from_secs(6 * 3600);

/// What happened to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When it was found: what was never done waits since then.
    pub found: Duration,
    /// The job that is at work on it.
    pub running: Option<Running>,
    /// What became of each duty.
    pub duties: BTreeMap<Duty, DutyHistory>,
    /// What was spent on it.
    pub ledger: Ledger,
}

/// A job that is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its duty.
    pub duty: Duty,
    /// Bytes that it is expected to rewrite.
    pub bytes: u64,
    /// When it began.
    pub since: Duration,
    /// It did not wait for the budget.
    pub emergency: bool,
}

/// What became of one duty on one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DutyHistory {
    /// When the last job ended, however it ended.
    pub last_end: Option<Duration>,
    /// How long it ran.
    pub last_ran: Duration,
    /// Failures and lost rewrites in a row.
    pub losses: u32,
    /// The version of the table at which the last job failed, where the reason will not pass by itself.
    pub lasting: Option<u64>,
    /// The number of times in a row that another duty of the table went first although this one was due.
    pub passed_over: u32,
}

impl History {
    /// What became of one duty.
    pub fn of(&self, duty: Duty) -> DutyHistory {
        self.duties.get(&duty).copied().unwrap_or_default()
    }

    /// A job begins.
    pub fn begin(&mut self, job: &Job, now: Duration) {
        self.running = Some(Running {
            duty: job.duty,
            bytes: job.bytes,
            since: now,
            emergency: job.reason.is_emergency(),
        });
        for duty in Duty::ALL {
            let history = self.duties.entry(duty).or_default();
            history.passed_over = if job.ahead_of.contains(&duty) {
                history.passed_over.saturating_add(1)
            } else {
                0
            };
        }
    }

    /// A job ends; `lost` when it failed or its work came too late. `bytes` is what it rewrote, or what it was expected
    /// to when that is not known, and `pace` that of the table; the caller charges its target with what is returned.
    pub fn end(
        &mut self,
        duty: Duty,
        now: Duration,
        lost: bool,
        bytes: u64,
        pace: &Pace,
    ) -> Charge {
        let running = self.running.take();
        let began = running.map_or(now, |running| running.since);
        let history = self.duties.entry(duty).or_default();
        history.last_end = Some(now);
        history.last_ran = now.saturating_sub(began);
        history.lasting = None;
        history.losses = if lost {
            history.losses.saturating_add(1)
        } else {
            0
        };
        let charge = Charge {
            ended: now,
            ran: history.last_ran,
            bytes,
            emergency: running.is_some_and(|running| running.emergency),
        };
        self.ledger.charge(charge, pace);
        charge
    }

    /// The last job of this duty failed for a reason that will not pass by itself, on this version of the table.
    pub fn lasts(&mut self, duty: Duty, version: u64) {
        self.duties.entry(duty).or_default().lasting = Some(version);
    }

    /// A user asks for this duty, and may have fixed what was in its way: its back-off ends.
    pub fn forgive(&mut self, duty: Duty) {
        let history = self.duties.entry(duty).or_default();
        (history.losses, history.lasting) = (0, None);
    }
}

impl DutyHistory {
    /// How long the table, which has this version, is left alone after the last end, because of what was lost in a row.
    pub fn back_off(&self, version: u64) -> Duration {
        let longest = if self.lasting == Some(version) {
            LONGEST_LASTING
        } else {
            LONGEST_BACK_OFF
        };
        match self.losses {
            0 => Duration::ZERO,
            n => FIRST_BACK_OFF
                .saturating_mul(2_u32.saturating_pow(n - 1))
                .min(longest),
        }
    }
}
