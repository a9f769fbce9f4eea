//! How the daemon is: one account of it, for probes, the service manager, metrics and people.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    liveness::Liveness,
    status::{StatusStore, UnwellTable},
};
use crate::api::{HealthCounts, Status};

/// What tells how the daemon is.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) liveness: Arc<Liveness>,
    pub(super) status: Arc<StatusStore>,
}

/// How the daemon is, target by target.
#[derive(Debug, Default, Serialize)]
pub(super) struct Health {
    /// The worst that is known: `stuck`, `failing`, `blocked` or `ok`.
    pub(super) status: &'static str,
    /// All tables, by their health.
    pub(super) tables: HealthCounts,
    pub(super) targets: BTreeMap<String, TargetHealth>,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetHealth {
    /// `stuck`, `failing`, `opening` or `ok`: whether it can be looked at.
    pub(super) status: &'static str,
    /// Since when that is so.
    pub(super) since: DateTime<Utc>,
    seconds_since_look: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    tables: HealthCounts,
    /// The tables that are stuck, failing or blocked, by name: the first of them, as many as are read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unwell: BTreeMap<String, UnwellTable>,
}

/// Maximum number of tables of a target that are named.
const MOST_NAMED: usize = 20;

impl Health {
    /// The names of the targets with this status.
    pub(super) fn named(&self, status: Status) -> Vec<&str> {
        let targets = self.targets.iter();
        let targets = targets.filter(|(_, target)| target.status == status.as_str());
        targets.map(|(name, _)| name.as_str()).collect()
    }
}

impl Probe {
    /// All of it.
    pub(super) fn health(&self) -> Health {
        let counts = self.status.health();
        let mut unwell = self.status.unwell(MOST_NAMED);
        let mut tables = HealthCounts::default();
        let targets = self.liveness.all().into_iter().map(|(name, beat)| {
            let of_target = counts.get(&name).copied().unwrap_or_default();
            tables.add(&of_target);
            let health = TargetHealth {
                status: beat.status.as_str(),
                since: beat.since,
                seconds_since_look: beat.seconds_since_look,
                error: beat.error,
                tables: of_target,
                unwell: unwell.remove(&name).unwrap_or_default(),
            };
            (name, health)
        });
        let targets: BTreeMap<_, _> = targets.collect();
        let mut health = Health {
            status: "",
            tables,
            targets,
        };
        health.status = worst(&health);
        health
    }

    /// Whether the process and its runtime get on.
    pub(super) fn is_live(&self) -> bool {
        self.liveness.is_live()
    }

    /// Whether it can do work: a target can be kept, or there is none.
    pub(super) fn is_ready(&self) -> bool {
        let targets = self.liveness.all();
        let mut statuses = targets.values().map(|beat| beat.status);
        targets.is_empty() || statuses.any(|status| status == Status::Ok)
    }
}

fn worst(health: &Health) -> &'static str {
    let has = |status| !health.named(status).is_empty();
    let tables = &health.tables;
    if has(Status::Stuck) || tables.stuck > 0 {
        "stuck"
    } else if has(Status::Failing) || tables.failing > 0 {
        "failing"
    } else if tables.blocked > 0 {
        "blocked"
    } else {
        "ok"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            liveness: Arc::default(),
            status: Arc::new(StatusStore::new(Utc::now())),
        }
    }

    #[test]
    fn the_worst_of_targets_and_tables_is_the_daemons_health() {
        let probe = probe();
        assert!(
            probe.is_ready() && probe.health().status == "ok",
            "it keeps nothing"
        );
        probe.liveness.begin("lake");
        assert!(!probe.is_ready(), "there was no poll yet");
        probe.liveness.polled("lake", None);
        assert!(probe.is_ready() && probe.health().status == "ok");
        probe.status.found("lake", "t");
        assert_eq!(probe.health().tables.unknown, 1);
        probe.status.table_failing("lake", "t", "a wrong length");
        let health = probe.health();
        assert_eq!((health.status, health.tables.failing), ("failing", 1));
        let named = &health.targets["lake"].unwell["t"];
        assert_eq!(named.reason.as_deref(), Some("a wrong length"));
        assert_eq!(
            health.targets["lake"].status, "ok",
            "it is the table's trouble"
        );
        probe.liveness.answers("lake", false);
        assert_eq!(probe.health().status, "stuck");
        assert!(!probe.is_ready() && probe.is_live());
    }
}
