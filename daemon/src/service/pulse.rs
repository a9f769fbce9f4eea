//! The pulse: when each keeper last got on with its work. Health checks and the service manager's watchdog go by it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use squire_config::Daemon;

/// A keeper that has not looked for so many ticks is stuck, or its store is.
const MISSED_TICKS: u32 = 6;
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// When each keeper last looked at its target, and what it found.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Keepers>);

#[derive(Debug)]
struct Keepers {
    patience: Duration,
    targets: BTreeMap<String, Look>,
}

#[derive(Clone, Debug)]
struct Look {
    last: Instant,
    error: Option<String>,
}

/// All targets at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) targets: usize,
    /// Those whose last look failed.
    pub(super) failing: Vec<String>,
    /// Those whose keepers do not get on.
    pub(super) stuck: Vec<String>,
}

/// Whether the daemon works, target by target.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    targets: BTreeMap<String, TargetHealth>,
}

#[derive(Debug, Serialize)]
struct TargetHealth {
    status: &'static str,
    seconds_since_look: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Health {
    /// No keeper is stuck.
    pub(super) fn is_well(&self) -> bool {
        self.status == "ok"
    }
}

impl Look {
    fn begin() -> Self {
        Self {
            last: Instant::now(),
            error: None,
        }
    }

    fn status(&self, patience: Duration) -> &'static str {
        if self.last.elapsed() > patience {
            "stuck"
        } else if self.error.is_some() {
            "failing"
        } else {
            "ok"
        }
    }
}

impl Pulse {
    /// No keepers yet.
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self(Mutex::new(Keepers {
            patience: patience(daemon),
            targets: BTreeMap::new(),
        }))
    }

    /// Looks are as far apart as these settings say from now on.
    pub(super) fn follow(&self, daemon: &Daemon) {
        self.lock().patience = patience(daemon);
    }

    /// A keeper begins: its first look is due within a while, too.
    pub(super) fn begin(&self, target: &str) {
        self.lock().targets.insert(target.to_owned(), Look::begin());
    }

    /// Notes that a keeper has looked at its target.
    pub(super) fn looked(&self, target: &str, error: Option<String>) {
        if let Some(look) = self.lock().targets.get_mut(target) {
            look.last = Instant::now();
            look.error = error;
        }
    }

    /// Notes that a keeper goes on with its look: a part of it is done.
    pub(super) fn beat(&self, target: &str) {
        if let Some(look) = self.lock().targets.get_mut(target) {
            look.last = Instant::now();
        }
    }

    /// A target is kept no more.
    pub(super) fn forget(&self, target: &str) {
        self.lock().targets.remove(target);
    }

    /// Whether each keeper gets on.
    pub(super) fn health(&self) -> Health {
        let keepers = self.lock();
        let targets = keepers.targets.iter().map(|(name, look)| {
            let health = TargetHealth {
                status: look.status(keepers.patience),
                seconds_since_look: look.last.elapsed().as_secs(),
                error: look.error.clone(),
            };
            (name.clone(), health)
        });
        let targets: BTreeMap<_, _> = targets.collect();
        // A failing target is its own trouble; a stuck keeper is the daemon's.
        let stuck = targets.values().any(|t| t.status == "stuck");
        Health {
            status: if stuck { "stuck" } else { "ok" },
            targets,
        }
    }

    /// All targets at a glance.
    pub(super) fn summary(&self) -> Summary {
        let keepers = self.lock();
        let mut summary = Summary {
            targets: keepers.targets.len(),
            ..Summary::default()
        };
        for (name, look) in &keepers.targets {
            match look.status(keepers.patience) {
                "stuck" => summary.stuck.push(name.clone()),
                "failing" => summary.failing.push(name.clone()),
                _ => {}
            }
        }
        summary
    }

    fn lock(&self) -> MutexGuard<'_, Keepers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn patience(daemon: &Daemon) -> Duration {
    (daemon.tick * MISSED_TICKS).max(LEAST_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_is_stuck_only_when_not_even_a_part_of_its_look_ends() {
        let long_ago = Instant::now().checked_sub(2 * LEAST_PATIENCE);
        let Some(long_ago) = long_ago else {
            return;
        };
        let pulse = Pulse::new(&Daemon {
            tick: Duration::from_secs(1),
            ..Daemon::default()
        });
        pulse.begin("lake");
        assert_eq!(pulse.health().status, "ok", "it has just begun");
        pulse.looked("lake", Some("no route".to_owned()));
        pulse.lock().targets.insert(
            "lake".to_owned(),
            Look {
                last: long_ago,
                error: Some("no route".to_owned()),
            },
        );
        assert_eq!(pulse.health().status, "stuck");
        assert_eq!(pulse.summary().stuck, ["lake"]);
        pulse.beat("lake");
        let health = pulse.health();
        assert_eq!(health.status, "ok");
        assert_eq!(
            health.targets["lake"].status, "failing",
            "what it found stays"
        );
        assert_eq!(pulse.summary().failing, ["lake"]);
    }

    #[test]
    fn a_longer_tick_makes_the_pulse_more_patient_while_it_beats() {
        let Some(long_ago) = Instant::now().checked_sub(2 * LEAST_PATIENCE) else {
            return;
        };
        let every = |seconds| Daemon {
            tick: Duration::from_secs(seconds),
            ..Daemon::default()
        };
        let pulse = Pulse::new(&every(1));
        pulse.begin("lake");
        if let Some(look) = pulse.lock().targets.get_mut("lake") {
            look.last = long_ago;
        }
        assert_eq!(pulse.health().status, "stuck");
        pulse.follow(&every(60));
        assert_eq!(pulse.health().status, "ok");
    }

    #[test]
    fn a_summary_forgets_targets_that_are_gone_whatever_is_told_of_them_later() {
        let pulse = Pulse::new(&Daemon::default());
        ["a", "b"].iter().for_each(|name| pulse.begin(name));
        assert_eq!(pulse.summary().targets, 2);
        pulse.forget("b");
        pulse.looked("b", Some("no route".to_owned()));
        let summary = pulse.summary();
        assert_eq!((summary.targets, summary.failing), (1, Vec::new()));
    }
}
