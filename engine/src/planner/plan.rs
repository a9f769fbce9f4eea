//! The plan: what is due on each table, what holds it back, and what comes first.
//!
//! Three steps. Each duty of each table is decided by itself. Of those of one table that are due, one is chosen. The
//! chosen jobs of all tables are put in order and admitted one after the other, as far as the target's pace allows.

use std::{cmp::Reverse, time::Duration};

use chrono::TimeDelta;

use super::{
    cleanup,
    compaction::{self, FILE_BYTES, Group},
    decision::{Decision, Reason, Skip},
    duty::Duty,
    indexing,
    job::Job,
    options::Ask,
    pace::{Pace, Spent},
    policy::DutyPolicy,
    statistics::{Unwritable, VersionInfo},
    view::{Now, TableView},
};
use crate::ids::TableKey;

/// The seconds of waiting that a doubling of the benefit per byte is worth.
const SECONDS_PER_DOUBLING: u64 = 600;
/// The most doublings of the benefit per byte that count, so that no job waits for ever behind better ones.
const MAX_DOUBLINGS: u32 = 16;
/// The seconds of waiting that a forced job, and an emergency, are worth.
const FORCED_SECONDS: u64 = 3600;
const EMERGENCY_SECONDS: u64 = 24 * 3600;
/// What is due because a few versions wait is done once in a day at most: others come with every version that others
/// stop protecting.
const OVERDUE: Reason = Reason::Cleanup(cleanup::Reason::Overdue);
/// The most that the clocks of a store and of this machine may differ; S3 refuses requests beyond that.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(15);
/// What one version fewer is worth.
const VERSION_BYTES: u64 = 64 << 10;

/// What is to be done for a target's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What was decided about each duty of each table, in the order of keys and duties.
    pub decisions: Vec<Decided>,
    /// The jobs, best first; of one table at most one. A caller with fewer slots takes the first ones.
    pub jobs: Vec<Job>,
}

/// What was decided about one duty of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The table.
    pub table: TableKey,
    /// The duty.
    pub duty: Duty,
    /// What to do.
    pub decision: Decision,
    /// Of what waits for a budget: when that has room, if nothing else is rewritten.
    pub not_before: Option<Duration>,
}

/// A duty that is due and that nothing of its own table holds back, but for its budget and its other duties.
struct Due {
    duty: Duty,
    reason: Reason,
    /// Bytes that it is expected to rewrite.
    bytes: u64,
    /// Bytes that every reader is spared.
    saved: u64,
    emergency: bool,
}

/// The job that was chosen for one table.
struct Chosen<'a> {
    view: &'a TableView<'a>,
    due: Due,
    ahead_of: Vec<Duty>,
    priority: u64,
}

/// Plans the maintenance of a target's tables, given in any order. `target` is what was spent on all of them.
pub fn plan(tables: &[TableView<'_>], target: &Spent, now: &Now) -> Plan {
    let mut plan = Plan::default();
    let mut chosen = Vec::new();
    for view in tables {
        let mut ready = Vec::new();
        for duty in Duty::ALL {
            match decide(view, duty, target, now) {
                Ok(due) => ready.push(due),
                Err(skip) => plan.skip(view, duty, skip),
            }
        }
        chosen.extend(choose(view, ready, now, &mut plan));
    }
    chosen
        .sort_by(|a, b| (Reverse(a.priority), a.view.key).cmp(&(Reverse(b.priority), b.view.key)));
    admit(tables, chosen, target, now, &mut plan);
    plan.decisions
        .sort_by(|a, b| (&a.table, a.duty).cmp(&(&b.table, b.duty)));
    plan
}

/// Decides about one duty of one table by itself.
fn decide(view: &TableView<'_>, duty: Duty, target: &Spent, now: &Now) -> Result<Due, Skip> {
    let (policy, history) = (view.policy, view.history.of(duty));
    let DutyPolicy {
        enabled,
        interval_floor,
    } = policy.of(duty);
    let floor = match duty {
        // Its writers have the table for themselves for as long as a compaction was in their way.
        Duty::Compaction => interval_floor.max(history.last_ran),
        Duty::Index | Duty::Cleanup => interval_floor,
    };
    if !enabled {
        return Err(Skip::Disabled);
    }
    let due = due(view, duty, target, now)?;
    if view.history.running.is_some() {
        return Err(Skip::Running);
    }
    if view.paused {
        return Err(Skip::Paused);
    }
    if duty.deletes_by_age() && (view.clock_jumped || is_behind(now, view.versions)) {
        return Err(Skip::Clock);
    }
    if !due.emergency
        && let Some(shut) = policy.windows.skip(now.local)
    {
        return Err(shut);
    }
    let since = history
        .last_end
        .map(|end| now.monotonic.saturating_sub(end));
    if since.is_some_and(|since| since < history.back_off(view.stats.version)) {
        return Err(Skip::BackOff);
    }
    if since.is_some_and(|since| since < floor) {
        return Err(Skip::IntervalFloor);
    }
    if due.reason == OVERDUE && since.is_some_and(|since| since < cleanup::OVERDUE) {
        return Err(Skip::Cleanup(cleanup::Skip::BelowThreshold));
    }
    if !due.emergency && view.history.ledger.rests(&policy.pace, now.monotonic) {
        return Err(Skip::Intensity);
    }
    Ok(due)
}

/// Whether the clock says less than the newest version was written by. An older one that has a later time was written while
/// a clock was wrong.
fn is_behind(now: &Now, versions: Option<&[VersionInfo]>) -> bool {
    let newest = versions.and_then(|versions| versions.iter().max_by_key(|v| v.version));
    newest.is_some_and(|newest| newest.written - now.wall > MAX_SKEW)
}

/// Whether the state of the table makes the duty due.
fn due(view: &TableView<'_>, duty: Duty, target: &Spent, now: &Now) -> Result<Due, Skip> {
    let (stats, policy) = (view.stats, view.policy);
    let forced = view.forced.contains(&duty);
    match duty {
        Duty::Compaction => match compaction::plan(stats, &policy.compaction, &ask(view, duty)) {
            compaction::Decision::Skip(skip) => Err(Skip::Compaction(skip)),
            compaction::Decision::Compact(mut groups, reason) => {
                let emergency = reason == compaction::Reason::Emergency;
                // What an hour has no room for follows in the next one.
                if let Some(budget) = budget(view, target).filter(|_| !emergency) {
                    compaction::fitting_or_first(&mut groups, stats, budget);
                }
                Ok(Due {
                    duty,
                    reason: Reason::Compaction(reason),
                    bytes: compaction::cost(&groups, stats),
                    saved: groups.iter().map(Group::saved).sum(),
                    emergency,
                })
            }
        },
        Duty::Index => match indexing::plan(stats, &policy.index, now.wall, forced) {
            indexing::Decision::Skip(skip) => Err(Skip::Index(skip)),
            indexing::Decision::Index(tasks, reason) => {
                let works = tasks.iter().map(|task| indexing::work(task, stats));
                let (bytes, saved) = works.fold((0_u64, 0_u64), |sum, work| {
                    (
                        sum.0.saturating_add(work.bytes),
                        sum.1.saturating_add(work.saved),
                    )
                });
                Ok(Due {
                    duty,
                    reason: Reason::Index(reason),
                    bytes,
                    saved,
                    emergency: false,
                })
            }
        },
        Duty::Cleanup => {
            if stats
                .unwritable
                .as_ref()
                .is_some_and(Unwritable::keeps_versions)
            {
                return Err(Skip::Cleanup(cleanup::Skip::Unwritable));
            }
            let unlisted = Skip::Cleanup(cleanup::Skip::Unlisted);
            // A table of few versions is not listed; files may be left over all the same.
            let few: &[VersionInfo] = &[];
            let listed = view.versions.or(view.left_over.then_some(few));
            let versions = listed.ok_or(unlisted)?;
            let decision =
                cleanup::plan(versions, view.protected, &policy.cleanup, now.wall, forced);
            let decision = if view.left_over {
                decision.with_left_over_files()
            } else {
                decision
            };
            match decision {
                cleanup::Decision::Skip(skip) => Err(Skip::Cleanup(skip)),
                cleanup::Decision::Remove {
                    versions: going,
                    reason,
                } => Ok(Due {
                    duty,
                    reason: Reason::Cleanup(reason),
                    bytes: cleanup::reads(versions.len(), stats.fragments.len()),
                    saved: VERSION_BYTES.saturating_mul(going.len() as u64),
                    emergency: reason == cleanup::Reason::Emergency,
                }),
            }
        }
    }
}

/// Bytes that may be rewritten in an hour, of the table and of the target.
fn budget(view: &TableView<'_>, target: &Spent) -> Option<u64> {
    let budgets = [view.policy.pace, target.pace].map(|pace| pace.bytes_per_hour);
    budgets.into_iter().flatten().min()
}

/// Chooses one of the duties of a table that are due. Compaction comes before index work, so that rows are indexed
/// where they will stay, and cleanup comes last; but one that was passed over goes before one that was not.
fn choose<'a>(
    view: &'a TableView<'a>,
    mut ready: Vec<Due>,
    now: &Now,
    plan: &mut Plan,
) -> Option<Chosen<'a>> {
    let passed_over = |duty| view.history.of(duty).passed_over;
    ready.sort_by_key(|due| (!due.emergency, Reverse(passed_over(due.duty)), due.duty));
    let duties: Vec<_> = ready.iter().map(|due| due.duty).collect();
    let mut chosen: Option<Due> = None;
    let mut saving = None;
    for due in ready {
        let (ledger, pace) = (&view.history.ledger, &view.policy.pace);
        let waits = match (&chosen, saving) {
            (Some(chosen), _) => Some(Skip::Waits(chosen.duty)),
            // What is left of the budget is kept for the duty whose turn it is.
            (None, Some(first)) if due.bytes > 0 => Some(Skip::Waits(first)),
            (None, _) if due.emergency || ledger.affords(pace, due.bytes, 0, now.monotonic) => None,
            (None, _) => {
                saving = Some(due.duty);
                let at = ledger.affords_at(pace, due.bytes, now.monotonic);
                plan.wait(view, due.duty, Skip::Budget, Some(at));
                continue;
            }
        };
        match waits {
            Some(skip) => plan.skip(view, due.duty, skip),
            None => chosen = Some(due),
        }
    }
    let due = chosen?;
    Some(Chosen {
        priority: priority(view, &due, now),
        ahead_of: duties.into_iter().filter(|d| *d != due.duty).collect(),
        view,
        due,
    })
}

/// In seconds: how long the table was without this duty, and more for what is good per byte.
fn priority(view: &TableView<'_>, due: &Due, now: &Now) -> u64 {
    let last_end = view.history.of(due.duty).last_end;
    let since = last_end.unwrap_or(view.history.found);
    let waited = now.monotonic.saturating_sub(since).as_secs();
    let cost = u128::from(due.bytes.saturating_add(FILE_BYTES));
    let gain = (u128::from(due.saved) << (MAX_DOUBLINGS / 2)) / cost;
    let doublings = gain.max(1).ilog2().min(MAX_DOUBLINGS);
    let mut priority = waited.saturating_add(SECONDS_PER_DOUBLING * u64::from(doublings));
    if view.forced.contains(&due.duty) {
        priority = priority.saturating_add(FORCED_SECONDS);
    }
    if due.emergency {
        priority = priority.saturating_add(EMERGENCY_SECONDS);
    }
    priority
}

/// Admits jobs, best first, as far as the target's pace allows beside those that are at work. Once one has to wait for
/// the budget, no later one may use it up.
fn admit(
    tables: &[TableView<'_>],
    chosen: Vec<Chosen<'_>>,
    target: &Spent,
    now: &Now,
    plan: &mut Plan,
) {
    let at_work = tables.iter().filter_map(|view| view.history.running);
    let mut busy = at_work.clone().count() > 0;
    let within = at_work.filter(|running| !running.emergency);
    let mut reserved = within.fold(0_u64, |sum, r| sum.saturating_add(r.bytes));
    let mut kept = false;
    for Chosen {
        view,
        due,
        ahead_of,
        ..
    } in chosen
    {
        let Pace { intensity, .. } = target.pace;
        let ledger = &target.ledger;
        let rests = (busy && intensity < 1.0) || ledger.rests(&target.pace, now.monotonic);
        let affords = !(kept && due.bytes > 0)
            && ledger.affords(&target.pace, due.bytes, reserved, now.monotonic);
        let skip = match (due.emergency, affords, rests) {
            (true, ..) | (_, true, false) => None,
            (_, false, _) => Some(Skip::Budget),
            (_, true, true) => Some(Skip::Intensity),
        };
        kept |= skip == Some(Skip::Budget);
        if let Some(skip) = skip {
            let at = ledger.affords_at(&target.pace, due.bytes, now.monotonic);
            plan.wait(view, due.duty, skip, (skip == Skip::Budget).then_some(at));
            continue;
        }
        busy = true;
        if !due.emergency {
            reserved = reserved.saturating_add(due.bytes);
        }
        plan.decide(view, due.duty, Decision::Act(due.reason));
        plan.jobs.push(Job {
            table: view.key.clone(),
            duty: due.duty,
            reason: due.reason,
            bytes: due.bytes,
            ask: Ask {
                max_bytes: budget(view, target)
                    .filter(|_| due.duty == Duty::Compaction && !due.emergency)
                    .map(|_| due.bytes),
                ..ask(view, due.duty)
            },
            ahead_of,
        });
    }
}

fn ask(view: &TableView<'_>, duty: Duty) -> Ask {
    Ask {
        forced: view.forced.contains(&duty),
        contended: view.contended.clone(),
        max_bytes: None,
    }
}

impl Plan {
    fn decide(&mut self, view: &TableView<'_>, duty: Duty, decision: Decision) {
        self.decisions.push(Decided {
            table: view.key.clone(),
            duty,
            decision,
            not_before: None,
        });
    }

    fn wait(&mut self, view: &TableView<'_>, duty: Duty, skip: Skip, until: Option<Duration>) {
        self.decisions.push(Decided {
            table: view.key.clone(),
            duty,
            decision: Decision::Skip(skip),
            not_before: until,
        });
    }

    fn skip(&mut self, view: &TableView<'_>, duty: Duty, skip: Skip) {
        self.decide(view, duty, Decision::Skip(skip));
    }
}

#[cfg(test)]
#[path = "plan_property_tests.rs"]
mod property_tests;
#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
