//! Graphs: the queue, sidecars, healing, drift.
//!
//! Ages are exported as the time at which something began, never as a number of seconds: that goes on to age in a query
//! when the daemon, or its store, makes no progress. So the alert on an old sidecar needs no new check of the sidecar.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prometheus::{IntCounterVec, IntGaugeVec, Result};
use squire_engine::{
    Healed, SidecarLook, SidecarState, Waiting,
    manifest::{Manifest, OperationKind},
};

use super::registry::{Register, count, show_earliest, whole};

const TARGET: &[&str] = &["target"];
const STATE: &[&str] = &["target", "state"];
const AHEAD: &[&str] = &["target", "ahead"];
const DRIFT: &[&str] = &["target", "kind"];
const TICKETS: [&str; 3] = ["waiting", "decided", "quarantined"];
const DRIFTS: [&str; 2] = ["benign", "semantic"];

#[derive(Debug)]
pub(in crate::service) struct Graphs {
    manifest: IntGaugeVec,
    tickets: IntGaugeVec,
    oldest_ticket: IntGaugeVec,
    blocked: IntGaugeVec,
    blocked_since: IntGaugeVec,
    sidecars: IntGaugeVec,
    oldest_sidecar: IntGaugeVec,
    healed: IntCounterVec,
    drifted: IntGaugeVec,
    adopted: IntCounterVec,
    upkeep: IntGaugeVec,
    upkeep_failures: IntCounterVec,
}

/// What is done for a graph beside its keeper's looks.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) enum Task {
    /// What crashed writers left behind is carried to its end.
    Heal,
    /// Old manifests are deleted.
    Collect,
    /// Tables are compared with their pins.
    Drift,
    /// Sidecars are counted.
    Sidecars,
}

impl Task {
    const ALL: [Self; 4] = [Self::Heal, Self::Collect, Self::Drift, Self::Sidecars];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Heal => "heal",
            Self::Collect => "collect",
            Self::Drift => "drift",
            Self::Sidecars => "sidecars",
        }
    }
}

impl Graphs {
    pub(super) fn new(register: &mut Register) -> Result<Self> {
        Ok(Self {
            manifest: register.gauge("squire_manifest_number",
                "The number of the newest manifest.",
                TARGET,
            )?,
            tickets: register.gauge("squire_queue_tickets",
                "Tickets in the queue, by state: waiting, decided or quarantined.",
                STATE,
            )?,
            oldest_ticket: register.gauge("squire_queue_oldest_ticket_timestamp_seconds",
                "When the oldest ticket of a state came in, by its holder's clock, as seconds since 1970; absent when there is none.",
                STATE,
            )?,
            blocked: register.gauge("squire_queue_blocked_tickets",
                "Tickets that wait for a conflicting one ahead, by the kind of operation that they wait for.",
                AHEAD,
            )?,
            blocked_since: register.gauge("squire_queue_blocked_since_timestamp_seconds",
                "When the first of the tickets that wait for a conflicting one ahead came in, by the kind of operation that it waits for, as seconds since 1970; absent when none waits.",
                AHEAD,
            )?,
            sidecars: register.gauge("squire_sidecars",
                "Sidecars, by the state of their operation: waiting, decided or quarantined, unnamed by any manifest, or ended.",
                STATE,
            )?,
            oldest_sidecar: register.gauge("squire_sidecar_oldest_timestamp_seconds",
                "When the oldest sidecar of a state was written, by the store's clock, as seconds since 1970; absent when there is none.",
                STATE,
            )?,
            healed: register.counter("squire_healed_total",
                "What healing did: rolled_forward, aborted, discarded; removed orphans (sidecars), leftovers (old heartbeats, half-written files) or purged data of hard drops.",
                &["target", "how"],
            )?,
            drifted: register.gauge("squire_drift_tables",
                "Tables that other programs moved past their pins, by kind: benign or semantic.",
                DRIFT,
            )?,
            adopted: register.counter("squire_drift_adopted_total",
                "Times that the daemon made such a table's head its pin, by kind: benign or semantic.",
                DRIFT,
            )?,
            upkeep: register.gauge("squire_upkeep_last_success_timestamp_seconds",
                "When a round of what is done beside the looks last went well, or the graph was opened, by task: heal, collect, drift or sidecars, as seconds since 1970.",
                &["target", "task"],
            )?,
            upkeep_failures: register.counter("squire_upkeep_failures_total",
                "Rounds of what is done beside the looks that failed, wholly or in part, by task: heal, collect, drift or sidecars.",
                &["target", "task"],
            )?,
        })
    }

    pub(super) fn opened(&self, target: &str) {
        for (how, _) in done(&Healed::default()) {
            self.healed.with_label_values(&[target, how]);
        }
        for kind in DRIFTS {
            self.drifted.with_label_values(&[target, kind]).set(0);
            self.adopted.with_label_values(&[target, kind]);
        }
        let now = Utc::now().timestamp();
        for task in Task::ALL {
            let labels = [target, task.as_str()];
            self.upkeep.with_label_values(&labels).set(now);
            self.upkeep_failures.with_label_values(&labels);
        }
    }
}

/// What a round of healing did, as `squire_healed_total` counts it.
fn done(healed: &Healed) -> [(&'static str, usize); 6] {
    [
        ("rolled_forward", healed.rolled_forward),
        ("aborted", healed.aborted),
        ("discarded", healed.discarded),
        ("orphans", healed.orphans),
        ("leftovers", healed.leftovers),
        ("purged", healed.purged),
    ]
}

/// The tickets ahead of those that wait: how many wait for each kind of operation, and since when.
fn blocked(manifest: &Manifest) -> BTreeMap<&'static str, Vec<DateTime<Utc>>> {
    let mut blocked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ticket in &manifest.queue {
        if let Some(waiting) = Waiting::of(manifest, ticket) {
            let since = blocked.entry(waiting.ahead.kind.as_str()).or_default();
            since.push(waiting.since);
        }
    }
    blocked
}

impl Graphs {
    /// The newest manifest of a target.
    pub(in crate::service) fn manifest(&self, target: &str, manifest: &Manifest) {
        let of = self;
        let number = whole(manifest.number);
        of.manifest.with_label_values(&[target]).set(number);
        for state in TICKETS {
            let in_state = manifest.queue.iter().filter(|t| t.state.as_str() == state);
            let tickets = of.tickets.with_label_values(&[target, state]);
            tickets.set(count(in_state.clone().count()));
            show_earliest(&of.oldest_ticket, &[target, state], in_state.map(|t| t.at));
        }
        let blocked = blocked(manifest);
        for kind in OperationKind::ALL {
            let labels = [target, kind.as_str()];
            let since = blocked.get(kind.as_str()).map_or(&[][..], Vec::as_slice);
            of.blocked
                .with_label_values(&labels)
                .set(count(since.len()));
            show_earliest(&of.blocked_since, &labels, since.iter().copied());
        }
    }

    /// The sidecars of a target.
    pub(in crate::service) fn sidecars(&self, target: &str, sidecars: &[SidecarLook]) {
        let of = self;
        for state in SidecarState::ALL {
            let labels = [target, state.as_str()];
            let in_state = sidecars.iter().filter(|s| s.state == state);
            let n = count(in_state.clone().count());
            of.sidecars.with_label_values(&labels).set(n);
            show_earliest(&of.oldest_sidecar, &labels, in_state.map(|s| s.written));
        }
    }

    /// A round of healing.
    pub(in crate::service) fn healed(&self, target: &str, healed: &Healed) {
        for (how, n) in done(healed) {
            let counter = self.healed.with_label_values(&[target, how]);
            counter.inc_by(n as u64);
        }
    }

    /// Number of tables that have drift of a kind.
    pub(in crate::service) fn drifted(&self, target: &str, kind: &str, tables: usize) {
        let gauge = self.drifted.with_label_values(&[target, kind]);
        gauge.set(count(tables));
    }

    /// Drift of a kind was adopted.
    pub(in crate::service) fn adopted(&self, target: &str, kind: &str) {
        self.adopted.with_label_values(&[target, kind]).inc();
    }

    /// A round of what is done beside the looks went well, or did not.
    pub(in crate::service) fn upkept(&self, target: &str, task: Task, well: bool) {
        let labels = [target, task.as_str()];
        if well {
            let now = Utc::now().timestamp();
            self.upkeep.with_label_values(&labels).set(now);
        } else {
            self.upkeep_failures.with_label_values(&labels).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use squire_config::Daemon;
    use squire_engine::{
        Kind,
        manifest::{Ticket, TicketState, Touched},
    };

    use super::*;
    use crate::service::metrics::Metrics;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn ticket(n: u8, kind: OperationKind, state: TicketState, table: &str, since: i64) -> Ticket {
        let operation = format!("019aad0e-0000-7000-8000-0000000000{n:02}");
        let (operation, holder) = (operation.parse().unwrap(), "host-1-abcd".into());
        let touched = Touched::writing([table.parse().unwrap()]);
        let ticket = Ticket::waiting(operation, holder, "ops@host", kind, touched, at(since));
        Ticket { state, ..ticket }
    }

    fn shows(metrics: &Metrics, line: &str) -> bool {
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        text.lines().any(|l| l == line)
    }

    #[test]
    fn the_queue_tells_how_many_wait_for_which_kind_and_since_when_and_forgets_when_they_do_not() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let decided = TicketState::Decided {
            bases: BTreeMap::new(),
        };
        let waiting = || TicketState::Waiting;
        let mut manifest = Manifest::first(uuid::Uuid::nil(), "ops@host", at(0));
        manifest.queue = vec![
            ticket(1, OperationKind::Load, decided, "node:Plane", 100),
            ticket(2, OperationKind::Delete, waiting(), "node:Plane", 300),
            ticket(3, OperationKind::Load, waiting(), "node:Plane", 200),
            ticket(4, OperationKind::Load, waiting(), "edge:Flight", 50),
        ];
        metrics.graphs.manifest("g", &manifest);
        let blocked = "squire_queue_blocked_since_timestamp_seconds{ahead=\"Load\",target=\"g\"}";
        let oldest = "squire_queue_oldest_ticket_timestamp_seconds";
        for line in [
            "squire_queue_tickets{state=\"waiting\",target=\"g\"} 3",
            "squire_queue_tickets{state=\"quarantined\",target=\"g\"} 0",
            "squire_queue_blocked_tickets{ahead=\"Load\",target=\"g\"} 2",
            "squire_queue_blocked_tickets{ahead=\"Delete\",target=\"g\"} 0",
            &format!("{blocked} 200"),
            &format!("{oldest}{{state=\"waiting\",target=\"g\"}} 50"),
            &format!("{oldest}{{state=\"decided\",target=\"g\"}} 100"),
        ] {
            assert!(shows(&metrics, line), "{line}");
        }
        manifest.queue.clear();
        metrics.graphs.manifest("g", &manifest);
        let none = "squire_queue_blocked_tickets{ahead=\"Load\",target=\"g\"} 0";
        assert!(shows(&metrics, none));
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(
            !text.contains(blocked) && !text.contains(oldest),
            "a time of nothing is absent"
        );
    }

    #[test]
    fn sidecars_are_counted_by_state_and_the_oldest_of_each_is_exported() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        metrics.opened("g", Kind::Graph);
        let look = |state, written| SidecarLook {
            operation: "019aad0e-0000-7000-8000-000000000001".parse().unwrap(),
            written: at(written),
            state,
        };
        let (decided, unnamed) = (SidecarState::Decided, SidecarState::Unnamed);
        metrics.graphs.sidecars(
            "g",
            &[look(decided, 70), look(decided, 60), look(unnamed, 10)],
        );
        let oldest = "squire_sidecar_oldest_timestamp_seconds";
        for line in [
            "squire_sidecars{state=\"decided\",target=\"g\"} 2",
            "squire_sidecars{state=\"quarantined\",target=\"g\"} 0",
            &format!("{oldest}{{state=\"decided\",target=\"g\"}} 60"),
            &format!("{oldest}{{state=\"unnamed\",target=\"g\"}} 10"),
        ] {
            assert!(shows(&metrics, line), "{line}");
        }
        metrics.graphs.sidecars("g", &[look(unnamed, 10)]);
        assert!(shows(
            &metrics,
            "squire_sidecars{state=\"decided\",target=\"g\"} 0"
        ));
        let gone = format!("{oldest}{{state=\"decided\",target=\"g\"}} 60");
        assert!(!shows(&metrics, &gone));
    }
}
