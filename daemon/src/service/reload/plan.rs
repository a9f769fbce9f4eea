//! What another configuration means for a daemon that runs: a pure function of the settings in force and the new ones.

use std::collections::{BTreeMap, BTreeSet};

use squire_config::{Daemon, Settings, Target};
use squire_engine::{memory::Limits, planner::Duty};

use crate::cron;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What is in force afterwards: the new settings, but for what takes a restart.
    pub(super) settings: Settings,
    /// The targets that change, by name.
    pub(super) changes: BTreeMap<String, TargetChange>,
    /// The keys of `[daemon]` that change.
    pub(super) daemon: Vec<&'static str>,
    /// The keys of `[daemon]` that only a restart changes.
    pub(super) waits: Vec<&'static str>,
    /// How many jobs may run at once.
    pub(super) job_slots: usize,
    /// Whether cron schedules change.
    pub(super) schedules: bool,
}

/// The change of one target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TargetChange {
    /// It is new.
    Start,
    /// It is gone.
    Detach,
    /// Its keeper ends in order, and another begins: these changed.
    Restart(Vec<&'static str>),
    /// Its keeper goes on with other policies.
    Update,
}

/// Compares. `most` is the maximum number of job slots of this process.
pub(super) fn plan(old: &Settings, new: &Settings, most: usize) -> Plan {
    let daemon = compare(&old.daemon, &new.daemon, most);
    let (before, after) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let changes = names.into_iter().filter_map(|name| {
        let (before, after) = (before.get(name).copied(), after.get(name).copied());
        Some((name.to_owned(), change(before, after, &daemon.rhythm)?))
    });
    Plan {
        changes: changes.collect(),
        schedules: schedules(&before) != schedules(&after),
        settings: Settings {
            daemon: daemon.settings,
            targets: new.targets.clone(),
        },
        daemon: daemon.changed,
        waits: daemon.waits,
        job_slots: daemon.job_slots,
    }
}

fn by_name(settings: &Settings) -> BTreeMap<&str, &Target> {
    let targets = settings.targets.iter();
    targets
        .map(|target| (target.name.as_str(), target))
        .collect()
}

/// The cron schedules of those targets that have any.
fn schedules<'a>(
    targets: &BTreeMap<&'a str, &Target>,
) -> BTreeMap<&'a str, BTreeSet<(Duty, String)>> {
    let all = targets
        .iter()
        .map(|(name, target)| (*name, cron::of_target(target)));
    all.filter(|(_, of_target)| !of_target.is_empty()).collect()
}

fn change(
    old: Option<&Target>,
    new: Option<&Target>,
    rhythm: &[&'static str],
) -> Option<TargetChange> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => return Some(TargetChange::Start),
        (Some(_), None) => return Some(TargetChange::Detach),
        (Some(old), Some(new)) => (old, new),
    };
    let other = old.opened_anew_for(new).into_iter();
    let other: Vec<_> = other.chain(rhythm.iter().copied()).collect();
    if !other.is_empty() {
        return Some(TargetChange::Restart(other));
    }
    (old != new).then_some(TargetChange::Update)
}

/// What changes about the process.
struct Compared {
    settings: Daemon,
    changed: Vec<&'static str>,
    /// Those of them that a keeper takes when it begins.
    rhythm: Vec<&'static str>,
    waits: Vec<&'static str>,
    job_slots: usize,
}

/// Every key is named here: one that is new must find out whether it can change while the daemon runs.
fn compare(old: &Daemon, new: &Daemon, most: usize) -> Compared {
    let Daemon {
        listen,
        plaintext_behind_proxy,
        tls,
        concurrency,
        memory,
        tick,
        hot_tick,
        cold_tick,
        heal_interval,
        drift_interval,
        look_timeout,
        stuck_after,
        lease,
        shutdown_grace,
        reload_timeout,
        metrics_tables,
        state_dir,
        log,
        log_format,
    } = new;
    // Memory was divided when the process started. It is whether there is room for as many after a restart that counts.
    let wanted = Limits::of(old.memory, *concurrency).jobs;
    let too_many = wanted > most;
    let switched = tls.certificate.is_some() != old.tls.certificate.is_some();
    let waits = [
        ("daemon.listen", *listen != old.listen),
        (
            "daemon.plaintext_behind_proxy",
            *plaintext_behind_proxy != old.plaintext_behind_proxy,
        ),
        ("daemon.tls", switched),
        (
            "daemon.metrics_tables",
            *metrics_tables != old.metrics_tables,
        ),
        ("daemon.concurrency", too_many),
        ("daemon.memory", *memory != old.memory),
        ("daemon.state_dir", *state_dir != old.state_dir),
        ("daemon.log_format", *log_format != old.log_format),
    ];
    let concurrency = if too_many { most } else { *concurrency };
    let rhythm = [("daemon.lease", *lease != old.lease)];
    let taken_over = [
        ("daemon.tick", *tick != old.tick),
        ("daemon.hot_tick", *hot_tick != old.hot_tick),
        ("daemon.cold_tick", *cold_tick != old.cold_tick),
        ("daemon.heal_interval", *heal_interval != old.heal_interval),
        (
            "daemon.drift_interval",
            *drift_interval != old.drift_interval,
        ),
        ("daemon.look_timeout", *look_timeout != old.look_timeout),
        ("daemon.stuck_after", *stuck_after != old.stuck_after),
    ];
    let changed = [
        ("daemon.concurrency", concurrency != old.concurrency),
        (
            "daemon.shutdown_grace",
            *shutdown_grace != old.shutdown_grace,
        ),
        (
            "daemon.reload_timeout",
            *reload_timeout != old.reload_timeout,
        ),
        ("daemon.log", *log != old.log),
        ("daemon.tls", *tls != old.tls && !switched),
    ];
    let named = |keys: &[(&'static str, bool)]| -> Vec<&'static str> {
        let keys = keys.iter().filter(|(_, so)| *so);
        keys.map(|(key, _)| *key).collect()
    };
    Compared {
        settings: Daemon {
            listen: old.listen,
            plaintext_behind_proxy: old.plaintext_behind_proxy,
            tls: if switched { &old.tls } else { tls }.clone(),
            metrics_tables: old.metrics_tables,
            concurrency,
            memory: old.memory,
            state_dir: old.state_dir.clone(),
            log_format: old.log_format,
            ..new.clone()
        },
        changed: [named(&changed), named(&rhythm), named(&taken_over)].concat(),
        rhythm: named(&rhythm),
        waits: named(&waits),
        job_slots: wanted.min(most),
    }
}

impl Plan {
    /// What changes, a line each, as a user reads it.
    pub(super) fn describe(&self) -> Vec<String> {
        let of_target = |(name, change): (&String, &TargetChange)| match change {
            TargetChange::Start => format!("target {name}: kept from now on"),
            TargetChange::Detach => {
                format!("target {name}: let go of, as soon as its jobs have ended")
            }
            TargetChange::Restart(keys) => {
                format!("target {name}: kept anew ({})", keys.join(", "))
            }
            TargetChange::Update => format!("target {name}: other policies"),
        };
        let keys = self.daemon.iter().map(|key| (*key).to_owned());
        self.changes.iter().map(of_target).chain(keys).collect()
    }
}
