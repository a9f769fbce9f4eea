//! Targets: whether each can be looked at, when that was done last, and what a user wants left alone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prometheus::{IntCounterVec, IntGaugeVec, Result};
use squire_engine::{Kind, passed_over};

use super::registry::{Register, count, whole};
use crate::api::{HealthCounts, Pause};

const TARGET: &[&str] = &["target"];
/// What a look at a single table can find.
const FOUND: [&str; 4] = ["changed", "unchanged", "gone", "failed"];

#[derive(Debug)]
pub(in crate::service) struct Targets {
    up: IntGaugeVec,
    ticks: IntCounterVec,
    last_look: IntGaugeVec,
    health: IntGaugeVec,
    restarts: IntCounterVec,
    looks: IntCounterVec,
    paused_until: IntGaugeVec,
    budget_left: IntGaugeVec,
    passed_over: IntGaugeVec,
    other_daemons: IntGaugeVec,
    /// Maximum number of single tables that are shown as paused.
    tables: usize,
}

impl Targets {
    pub(super) fn new(register: &mut Register, tables: usize) -> Result<Self> {
        Ok(Self {
            up: register.gauge("squire_target_up",
                "1 when the last look at the target succeeded, 0 when it failed.",
                TARGET,
            )?,
            ticks: register.counter("squire_ticks_total", "Looks at a target.", TARGET)?,
            last_look: register.gauge("squire_last_look_timestamp_seconds",
                "When the last look at the target ended, well or not, or its keeper began, as seconds since 1970.",
                TARGET,
            )?,
            health: register.gauge("squire_health_tables",
                "Tables by their health: stuck, failing, blocked, due, paused, ok, or unknown as they have not been polled yet.",
                &["target", "health"],
            )?,
            restarts: register.counter("squire_keeper_restarts_total",
                "Keepers that panicked; another began in their place.",
                TARGET,
            )?,
            looks: register.counter("squire_table_looks_total",
                "Looks at single tables, by the kind of the target and what was found: changed, unchanged, gone or failed.",
                &["target", "kind", "found"],
            )?,
            paused_until: register.gauge("squire_paused_until_timestamp_seconds",
                "When a pause ends, as seconds since 1970; table \"\" is the whole target. Absent when nothing is paused.",
                &["target", "table"],
            )?,
            budget_left: register.gauge("squire_budget_left_bytes",
                "What is left of the target's bytes_per_hour; absent without one.",
                TARGET,
            )?,
            passed_over: register.gauge("squire_passed_over_entries",
                "Entries below a target on a local disk that were passed over since the daemon began, by reason: link, no_file, name, too_deep or time. Absent while there are none.",
                &["target", "reason"],
            )?,
            other_daemons: register.gauge("squire_target_other_daemons",
                "Other daemons that were seen to keep the same place. 0 as long as none was.",
                TARGET,
            )?,
            tables,
        })
    }

    pub(super) fn begins(&self, target: &str) {
        self.ticks.with_label_values(&[target]);
        self.restarts.with_label_values(&[target]);
        // A keeper that comes in place of one that panicked has not looked yet.
        let last_look = self.last_look.with_label_values(&[target]);
        if last_look.get() == 0 {
            last_look.set(Utc::now().timestamp());
        }
    }

    pub(super) fn opened(&self, target: &str, kind: Kind) {
        for found in FOUND {
            let labels = [target, kind.as_str(), found];
            self.looks.with_label_values(&labels);
        }
    }

    /// How many other daemons keep the place of each target.
    pub(super) fn other_daemons(&self, others: &BTreeMap<String, usize>) {
        self.other_daemons.reset();
        for (target, others) in others {
            let gauge = self.other_daemons.with_label_values(&[target]);
            gauge.set(count(*others));
        }
    }

    /// How many tables each target has, by their health.
    pub(super) fn healths(&self, health: &BTreeMap<String, HealthCounts>) {
        // A target may have been let go of since the last scrape, or since these were counted.
        self.health.reset();
        for (target, counts) in health {
            for (health, n) in counts.named() {
                let gauge = self.health.with_label_values(&[target, health]);
                gauge.set(whole(n));
            }
        }
    }

    /// What is paused: whole targets, and of single tables no more than have series of their own.
    pub(super) fn paused(&self, pauses: &[Pause], now: DateTime<Utc>) {
        let gauge = &self.paused_until;
        gauge.reset();
        let (whole, single): (Vec<_>, Vec<_>) = pauses
            .iter()
            .filter(|pause| pause.until > now)
            .partition(|pause| pause.table.is_none());
        let single = single.into_iter().take(self.tables);
        for pause in whole.into_iter().chain(single) {
            let labels = [pause.target.as_str(), pause.table.as_deref().unwrap_or("")];
            gauge
                .with_label_values(&labels)
                .set(pause.until.timestamp());
        }
    }
}

impl Targets {
    /// What is passed over below a root on a local disk, as the target's URI has it.
    pub(in crate::service) fn passed_over(&self, target: &str, root: &str) {
        for (why, entries) in passed_over(root) {
            let labels = [target, why.as_str()];
            let gauge = self.passed_over.with_label_values(&labels);
            gauge.set(whole(entries));
        }
    }

    /// A keeper panicked, and another begins.
    pub(in crate::service) fn keeper_restarted(&self, target: &str) {
        self.restarts.with_label_values(&[target]).inc();
    }

    /// A look at a target succeeded or failed.
    pub(in crate::service) fn polled(&self, target: &str, succeeded: bool) {
        let of = self;
        of.ticks.with_label_values(&[target]).inc();
        of.up.with_label_values(&[target]).set(succeeded.into());
        let now = Utc::now().timestamp();
        of.last_look.with_label_values(&[target]).set(now);
    }

    /// A look at one table.
    pub(in crate::service) fn table_polled(&self, target: &str, kind: Kind, found: &str) {
        let labels = [target, kind.as_str(), found];
        self.looks.with_label_values(&labels).inc();
    }

    /// What is left of a target's budget, when it has one.
    pub(in crate::service) fn budget_left(&self, target: &str, left: Option<u64>) {
        let gauge = &self.budget_left;
        match left {
            Some(left) => gauge.with_label_values(&[target]).set(whole(left)),
            // A reload may have taken the budget away; there may never have been one.
            None => drop(gauge.remove_label_values(&[target])),
        }
    }
}
