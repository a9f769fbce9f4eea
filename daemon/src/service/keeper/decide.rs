//! What to do, and why not: the planner is asked about all tables at once, and its answer is reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Local, Utc};
use squire_engine::{
    Kind, TableKey,
    planner::{
        Decision, Duty, Now, Plan, Skip, TableView, cleanup::Protected, contention::LateDeletes,
        indexing, plan,
    },
};
use tokio_util::sync::CancellationToken;

use super::{state::Keeper, table_state::TableState};
use crate::{
    service::{clock, status::Decided},
    target::Opened,
};

/// What is due of a table's indexes cannot be done.
const REFUSED: Decision = Decision::Skip(Skip::Index(indexing::Skip::Refused));

impl Keeper {
    /// Decides about every table and starts the jobs, as far as there are job slots. Nothing is done by what was known of a
    /// target that cannot be looked at any more.
    pub(super) fn act(&mut self, opened: &Opened, stop: &CancellationToken) {
        if !self.within_reach {
            return self.set_backlog(&BTreeMap::new());
        }
        self.check_clock();
        let now = Now {
            monotonic: self.now(),
            wall: clock::now(),
            local: Local::now().naive_local(),
        };
        let mut plan = self.plan(opened.kind(), &now);
        self.apply_unneeded(&mut plan, now.monotonic);
        self.limit_writes(&mut plan, now.monotonic);
        self.report(&plan);
        self.report_success(now.wall);
        let left = self.spent.ledger.left(&self.spent.pace, now.monotonic);
        let (name, metrics) = (&self.target.name, &self.shared.metrics);
        metrics.targets.budget_left(name, left);
        let mut waiting: BTreeMap<Duty, usize> = BTreeMap::new();
        for job in plan.jobs {
            let slot = self.slot.take();
            match slot.or_else(|| self.shared.jobs.clone().try_acquire_owned().ok()) {
                Some(slot) => self.start(opened, job, slot, stop),
                None => *waiting.entry(job.duty).or_default() += 1,
            }
        }
        self.set_backlog(&waiting);
    }

    /// How many tables are due and found no job slot.
    fn set_backlog(&mut self, waiting: &BTreeMap<Duty, usize>) {
        self.backlog = waiting.values().sum();
        let (name, shared) = (&self.target.name, &self.shared);
        shared.status.backlog(name, self.backlog);
        for duty in Duty::ALL {
            let tables = waiting.get(&duty).copied().unwrap_or(0);
            shared.metrics.jobs.backlog(name, duty.as_str(), tables);
        }
    }

    /// After a jump of the wall clock, nothing counts that was judged by it: when versions are listed again, and that none
    /// need be removed.
    fn check_clock(&mut self) {
        let jumps = clock::jumps();
        if std::mem::replace(&mut self.clock_jumps, jumps) == jumps {
            return;
        }
        for kept in self.tables.values_mut() {
            kept.listing = None;
            kept.left_over.found = false;
            kept.unneeded.remove(&Duty::Cleanup);
        }
    }

    /// Asks the planner about every table that was looked at.
    fn plan(&self, kind: Kind, now: &Now) -> Plan {
        // What protects versions of a graph is asked by the executor, of the manifests that are kept then.
        let protected = Protected::default();
        let late = match kind {
            Kind::Graph => LateDeletes::Discard,
            Kind::Directory => LateDeletes::Rebase,
        };
        let inputs: BTreeMap<_, _> = self
            .tables
            .iter()
            .map(|(table, kept)| {
                let contended = kept.contention.contended(late, now.monotonic);
                (table, (contended, kept.policy_at(now.monotonic)))
            })
            .collect();
        let unpaused = clock::not_ahead();
        let paused = |key: &TableKey| {
            let (pauses, target) = (&self.shared.pauses, &self.target.name);
            pauses.until(target, &key.to_string(), unpaused).is_some()
        };
        let clock_jumped = clock::distrust(&self.target.name).is_some();
        let views = self.tables.iter().filter_map(|(key, kept)| {
            // What a job of ours left is decided about once it was seen, and what cannot be read is left alone.
            let known = kept.stats.version > 0 && kept.stale.is_none() && kept.is_well();
            known.then(|| TableView {
                key,
                stats: &kept.stats,
                versions: kept.listing.as_ref().map(|listing| &*listing.versions),
                protected: &protected,
                left_over: kept.left_over.found,
                policy: &inputs[key].1,
                history: &kept.history,
                contended: &inputs[key].0,
                forced: &kept.forced,
                paused: paused(key),
                clock_jumped,
            })
        });
        plan(&views.collect::<Vec<_>>(), &self.spent, now)
    }

    /// Tells what was decided: in the log, in a metric and on the status store, once for each change.
    fn report(&mut self, plan: &Plan) {
        let now = self.now();
        let (name, shared) = (&self.target.name, &self.shared);
        shared.metrics.jobs.decided(name, plan);
        for decided in &plan.decisions {
            let (table, duty, decision) = (&decided.table, decided.duty, decided.decision);
            let Some(kept) = self.tables.get_mut(table) else {
                continue;
            };
            let refused = match decision {
                Decision::Skip(Skip::Clock) => vec![why_distrusted(name, kept)],
                decision => kept.details(decision),
            };
            let mut changed = kept.decisions.insert(duty, decision) != Some(decision);
            if duty == Duty::Index && kept.refusals_reported != refused {
                changed = true;
                kept.refusals_reported.clone_from(&refused);
            }
            if let Decision::Skip(skip) = decision
                && !skip.passes()
            {
                kept.forced.remove(&duty);
            }
            if !changed {
                continue;
            }
            let history = kept.history.of(duty);
            let decided = Decided {
                decision,
                details: &refused,
                not_before: decided.not_before.map(|at| at.saturating_sub(now)),
                ended_ago: history.last_end.map(|end| now.saturating_sub(end)),
                wait: history
                    .back_off(kept.stats.version)
                    .max(kept.policy.of(duty).interval_floor),
            };
            shared
                .status
                .decided(name, &table.to_string(), duty, decided);
            if let Decision::Skip(skip) = decision {
                shared
                    .metrics
                    .jobs
                    .skipped(name, duty.as_str(), skip.as_str());
                if decision == REFUSED {
                    tracing::info!(target_name = %name, %table, %duty, because = refused.join("; "), "an index cannot be built or extended; it is tried again later, the others are kept up");
                } else {
                    tracing::debug!(target_name = %name, %table, %duty, reason = %skip, "left alone");
                }
            }
        }
    }

    /// Of what was left out of the plan because it found nothing to do, that is the reason.
    fn apply_unneeded(&self, plan: &mut Plan, now: Duration) {
        for decided in &mut plan.decisions {
            let kept = self.tables.get(&decided.table);
            if let Some(skip) = kept.and_then(|kept| kept.unneeded_at(decided.duty, now)) {
                decided.decision = Decision::Skip(skip);
            }
        }
    }

    /// Where the target takes no writes, jobs that would write wait, but for one that finds out.
    fn limit_writes(&self, plan: &mut Plan, now: Duration) {
        let running = self.tables.values().filter_map(|k| k.history.running);
        let at_work = running.filter(|job| job.duty.rewrites()).count();
        let mut room = self.writes.room(at_work, now);
        let mut waits = BTreeSet::new();
        plan.jobs.retain(|job| {
            let begins = !job.duty.rewrites() || room > 0;
            if !begins {
                waits.insert((job.table.clone(), job.duty));
            } else if job.duty.rewrites() {
                room -= 1;
            }
            begins
        });
        for decided in &mut plan.decisions {
            if waits.contains(&(decided.table.clone(), decided.duty)) {
                decided.decision = Decision::Skip(Skip::BackOff);
            }
        }
    }

    /// Tells of each duty when the table that waits longest was last in order; tables that a policy leaves alone do not
    /// count.
    fn report_success(&mut self, now: DateTime<Utc>) {
        for (table, kept) in &mut self.tables {
            if kept.note_successes(now) {
                let (found, last) = kept.successes();
                let state = &self.shared.state;
                state.in_order(&self.target.name, &table.to_string(), found, last);
            }
        }
        let (name, metrics) = (&self.target.name, &self.shared.metrics);
        for (table, kept) in &self.tables {
            let last = Duty::ALL.map(|duty| (duty, kept.last_success(duty)));
            let table = table.to_string();
            metrics.tables.succeeded(name, &table, &last);
            metrics
                .tables
                .overdue_versions(name, &table, kept.overdue_versions(now));
        }
        // Where no table is in sight, as when a volume is not mounted, the last success gets older and older.
        if self.tables.values().all(|kept| kept.gone) {
            return;
        }
        for duty in Duty::ALL {
            let last = self
                .tables
                .values()
                .filter_map(|kept| kept.last_success(duty));
            metrics.jobs.succeeded(name, duty.as_str(), last);
        }
    }
}

/// Why nothing is removed from a table by the clock as it is.
fn why_distrusted(target: &str, kept: &TableState) -> String {
    match clock::distrust(target) {
        Some(distrust) => distrust.to_string(),
        None => {
            let versions = kept.listing.iter().flat_map(|listing| &listing.versions);
            let newest = versions.max_by_key(|version| version.version);
            let newest = newest.map_or_else(String::new, |newest| {
                newest
                    .written
                    .format(" (%Y-%m-%d %H:%M:%S UTC)")
                    .to_string()
            });
            format!(
                "the clock of this machine is behind the table's newest version{newest}: nothing is removed until it is set, or the time has come"
            )
        }
    }
}
