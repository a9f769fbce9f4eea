//! Decisions, jobs, and what the jobs did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Result};
use squire_engine::{
    CleanupReceipt, CompactReceipt, IndexReceipt, Loss,
    planner::{Decision, Duty, Plan},
};

use super::registry::{Register, count, show_earliest};
use crate::api::JobOutcome;

const TARGET: &[&str] = &["target"];
const DUTY: &[&str] = &["target", "duty"];
const HOLD_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const REWRITE_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

#[derive(Debug)]
pub(in crate::service) struct Jobs {
    ended: IntCounterVec,
    running: IntGaugeVec,
    stuck: IntCounterVec,
    lost: IntCounterVec,
    carried: IntCounterVec,
    unreadable: IntCounterVec,
    skips: IntCounterVec,
    decided: IntGaugeVec,
    /// What `decided` shows, so that what is no longer decided of any table goes.
    shown: Mutex<BTreeMap<String, Counts>>,
    backlog: IntGaugeVec,
    last_success: IntGaugeVec,
    rewrite_seconds: HistogramVec,
    hold_seconds: HistogramVec,
    bytes_read: IntCounterVec,
    bytes_written: IntCounterVec,
    index_bytes: IntCounterVec,
    indexed_rows: IntCounterVec,
    removed_versions: IntCounterVec,
    removed_files: IntCounterVec,
    removed_bytes: IntCounterVec,
}

/// Tables, by duty and decision.
type Counts = BTreeMap<(Duty, &'static str), usize>;

impl Jobs {
    pub(super) fn new(register: &mut Register) -> Result<Self> {
        Ok(Self {
            ended: register.counter("squire_jobs_total",
                "Ended jobs, by duty and outcome: done, skipped, lost, cancelled, gone or failed.",
                &["target", "duty", "outcome"],
            )?,
            running: register.gauge("squire_jobs_running", "Jobs that are at work.", DUTY)?,
            stuck: register.counter("squire_jobs_stuck_total",
                "Jobs that were cancelled as they stood still, with their store, for daemon.stuck_after.",
                DUTY,
            )?,
            lost: register.counter("squire_lost_total",
                "Rewrites of a group of fragments, and index work, that were done for nothing, by duty and reason.",
                &["target", "duty", "reason"],
            )?,
            carried: register.counter(
                "squire_carried_rows_total",
                "Rows that writers deleted or updated while they were being rewritten, and that were deleted in the new fragments.", TARGET,
            )?,
            unreadable: register.counter(
                "squire_unreadable_rewrites_total",
                "Rewrites of a group of fragments that could not be read back, and were thrown away.", TARGET,
            )?,
            skips: register.counter("squire_skips_total",
                "Decisions to leave a table alone, by duty and reason, counted when the decision for a table changes.",
                &["target", "duty", "reason"],
            )?,
            decided: register.gauge("squire_decided_tables",
                "Tables by what is decided of a duty now: act, or the reason to leave them alone.",
                &["target", "duty", "decision"],
            )?,
            shown: Mutex::default(),
            backlog: register.gauge("squire_backlog_tables",
                "Tables that are due but not at work yet.",
                DUTY,
            )?,
            last_success: register.gauge("squire_last_success_timestamp_seconds",
                "When the duty was last in order on the table of the target that waits longest, as seconds since 1970.",
                DUTY,
            )?,
            rewrite_seconds: register.histogram("squire_rewrite_seconds",
                "How long a rewrite took, with nothing held.",
                DUTY,
                REWRITE_BUCKETS,
            )?,
            hold_seconds: register.histogram("squire_hold_seconds",
                "How long a physical operation held its tables for the commit.",
                DUTY,
                HOLD_BUCKETS,
            )?,
            bytes_read: register.counter(
                "squire_rewrite_read_bytes_total",
                "Bytes of data files that committed rewrites read.", TARGET,
            )?,
            bytes_written: register.counter(
                "squire_rewrite_written_bytes_total",
                "Bytes of data files that committed rewrites wrote.", TARGET,
            )?,
            index_bytes: register.counter(
                "squire_rewrite_index_bytes_total",
                "Bytes of the segments of indexes that were written anew with committed rewrites.", TARGET,
            )?,
            indexed_rows: register.counter(
                "squire_indexed_rows_total",
                "Rows that index work brought under an index.", TARGET,
            )?,
            removed_versions: register.counter(
                "squire_cleanup_versions_total",
                "Versions that cleanups removed.", TARGET,
            )?,
            removed_files: register.counter(
                "squire_cleanup_files_total",
                "Files that cleanups removed, besides those of the versions.", TARGET,
            )?,
            removed_bytes: register.counter(
                "squire_cleanup_bytes_total",
                "Bytes of the files that cleanups removed.", TARGET,
            )?,
        })
    }

    pub(super) fn begins(&self, target: &str) {
        for counter in [
            &self.carried,
            &self.unreadable,
            &self.bytes_read,
            &self.bytes_written,
            &self.index_bytes,
            &self.indexed_rows,
            &self.removed_versions,
            &self.removed_files,
            &self.removed_bytes,
        ] {
            counter.with_label_values(&[target]);
        }
        for duty in Duty::ALL {
            let duty = duty.as_str();
            self.running.with_label_values(&[target, duty]).set(0);
            self.stuck.with_label_values(&[target, duty]);
            self.backlog.with_label_values(&[target, duty]).set(0);
            for outcome in JobOutcome::ALL {
                let labels = [target, duty, outcome.as_str()];
                self.ended.with_label_values(&labels);
            }
        }
        for duty in Duty::ALL.into_iter().filter(|duty| duty.rewrites()) {
            let duty = duty.as_str();
            self.rewrite_seconds.with_label_values(&[target, duty]);
            self.hold_seconds.with_label_values(&[target, duty]);
            for loss in Loss::ALL {
                let labels = [target, duty, loss.as_str()];
                self.lost.with_label_values(&labels);
            }
        }
    }

    pub(super) fn ends(&self, target: &str) {
        self.lock().remove(target);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counts>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took(&self, target: &str, duty: &str, rewrite: Duration, hold: Duration) {
        for (histogram, took) in [(&self.rewrite_seconds, rewrite), (&self.hold_seconds, hold)] {
            let of_duty = histogram.with_label_values(&[target, duty]);
            of_duty.observe(took.as_secs_f64());
        }
    }
}

impl Jobs {
    /// What was decided of all tables of a target.
    pub(in crate::service) fn decided(&self, target: &str, plan: &Plan) {
        let mut counts = Counts::new();
        for decided in &plan.decisions {
            let decision = match decided.decision {
                Decision::Act(_) => "act",
                Decision::Skip(skip) => skip.as_str(),
            };
            *counts.entry((decided.duty, decision)).or_default() += 1;
        }
        let mut shown = self.lock();
        let before = shown.entry(target.to_owned()).or_default();
        for (duty, decision) in before.keys() {
            if !counts.contains_key(&(*duty, *decision)) {
                let labels = [target, duty.as_str(), decision];
                let _ = self.decided.remove_label_values(&labels);
            }
        }
        for ((duty, decision), tables) in &counts {
            let labels = [target, duty.as_str(), decision];
            let gauge = self.decided.with_label_values(&labels);
            gauge.set(count(*tables));
        }
        *before = counts;
    }

    /// A decision to leave a table alone.
    pub(in crate::service) fn skipped(&self, target: &str, duty: &str, reason: &str) {
        let labels = [target, duty, reason];
        self.skips.with_label_values(&labels).inc();
    }

    /// Number of tables that are due.
    pub(in crate::service) fn backlog(&self, target: &str, duty: &str, tables: usize) {
        let gauge = self.backlog.with_label_values(&[target, duty]);
        gauge.set(count(tables));
    }

    /// A job goes to work.
    pub(in crate::service) fn began(&self, target: &str, duty: &str) {
        self.running.with_label_values(&[target, duty]).inc();
    }

    /// A job ended.
    pub(in crate::service) fn ended(&self, target: &str, duty: &str, outcome: JobOutcome) {
        let labels = [target, duty, outcome.as_str()];
        self.ended.with_label_values(&labels).inc();
        self.running.with_label_values(&[target, duty]).dec();
    }

    /// A job makes no progress.
    pub(in crate::service) fn stuck(&self, target: &str, duty: &str) {
        self.stuck.with_label_values(&[target, duty]).inc();
    }

    /// Work was done for nothing.
    pub(in crate::service) fn lost(&self, target: &str, duty: &str, loss: Loss) {
        let labels = [target, duty, loss.as_str()];
        self.lost.with_label_values(&labels).inc();
    }

    /// Rewrites could not be read back.
    pub(in crate::service) fn unreadable(&self, target: &str, rewrites: usize) {
        let counter = self.unreadable.with_label_values(&[target]);
        counter.inc_by(rewrites as u64);
    }

    /// A compaction was published.
    pub(in crate::service) fn compacted(&self, target: &str, duty: &str, receipt: &CompactReceipt) {
        let jobs = self;
        jobs.took(target, duty, receipt.rewrite, receipt.hold);
        for (counter, n) in [
            (&jobs.bytes_read, receipt.bytes_read),
            (&jobs.bytes_written, receipt.bytes_written),
            (&jobs.index_bytes, receipt.index_bytes),
            (&jobs.carried, receipt.carried),
        ] {
            counter.with_label_values(&[target]).inc_by(n);
        }
    }

    /// Index work was published.
    pub(in crate::service) fn indexed(&self, target: &str, duty: &str, receipt: &IndexReceipt) {
        self.took(target, duty, receipt.work, receipt.hold);
        let rows = self.indexed_rows.with_label_values(&[target]);
        rows.inc_by(receipt.rows);
    }

    /// Versions were removed.
    pub(in crate::service) fn cleaned(&self, target: &str, receipt: &CleanupReceipt) {
        for (counter, n) in [
            (&self.removed_versions, receipt.versions),
            (&self.removed_files, receipt.files),
            (&self.removed_bytes, receipt.bytes),
        ] {
            counter.with_label_values(&[target]).inc_by(n);
        }
    }

    /// When each table of a target was last as its duty wants it, as far as that counts: a duty that no policy leaves on
    /// shows nothing, and no alert fires for it.
    pub(in crate::service) fn succeeded(
        &self,
        target: &str,
        duty: &str,
        tables: impl Iterator<Item = DateTime<Utc>>,
    ) {
        show_earliest(&self.last_success, &[target, duty], tables);
    }
}

#[cfg(test)]
mod tests {
    use squire_config::Daemon;
    use squire_engine::planner::{Decided, Skip, compaction};

    use super::*;
    use crate::service::metrics::Metrics;

    #[test]
    fn a_duty_that_no_policy_leaves_on_any_more_was_never_late() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let shown = || {
            let text = String::from_utf8(metrics.render().unwrap()).unwrap();
            text.contains("squire_last_success_timestamp_seconds{")
        };
        let now = Utc::now();
        metrics.jobs.succeeded("g", "cleanup", [now].into_iter());
        assert!(shown());
        metrics.jobs.succeeded("g", "cleanup", [].into_iter());
        assert!(!shown());
    }

    #[test]
    fn tables_are_counted_by_what_is_decided_now_and_what_is_decided_no_more_goes() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let decided = |table: &str, decision| Decided {
            table: table.parse().unwrap(),
            duty: Duty::Compaction,
            decision,
            not_before: None,
        };
        let show = |decisions: Vec<Decided>| {
            let plan = Plan {
                decisions,
                jobs: Vec::new(),
            };
            metrics.jobs.decided("g", &plan);
            let text = String::from_utf8(metrics.render().unwrap()).unwrap();
            let of = "squire_decided_tables{decision=\"";
            let lines = text.lines().filter_map(|line| line.strip_prefix(of));
            let shown = lines.map(|line| {
                let decision = line.split('"').next().unwrap();
                format!("{decision} {}", line.rsplit(' ').next().unwrap())
            });
            shown.collect::<Vec<_>>()
        };
        let tidy = Decision::Skip(Skip::Compaction(compaction::Skip::Tidy));
        let paused = Decision::Skip(Skip::Paused);
        let (one, two) = ("node:Plane", "edge:Flight");
        assert_eq!(
            show(vec![decided(one, tidy), decided(two, tidy)]),
            ["tidy 2"]
        );
        let both = vec![decided(one, paused), decided(two, tidy)];
        assert_eq!(show(both), ["paused 1", "tidy 1"]);
        assert_eq!(show(vec![decided(one, paused)]), ["paused 1"]);
        assert_eq!(show(Vec::new()), Vec::<String>::new());
    }
}
