//! The process: which Squire it is, its settings, and what it uses.

use chrono::Utc;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Result};
use squire_config::Daemon;

use super::registry::{Register, count, whole};
use crate::service::pauses::PauseRegistry;

/// The commit that this was built from, where the build was given it.
const COMMIT: Option<&str> = option_env!("SQUIRE_COMMIT");

/// Registers what does not change while the process runs, and what its operating system counts.
pub(super) fn register(register: &Register, daemon: &Daemon) -> Result<()> {
    let build = IntGaugeVec::new(
        Opts::new(
            "squire_build_info",
            "Always 1; the labels say which Squire this is, and what it was built from and with.",
        ),
        &["version", "commit", "rustc"],
    )?;
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    let labels = [
        env!("CARGO_PKG_VERSION"),
        commit.unwrap_or("unknown"),
        env!("SQUIRE_RUSTC"),
    ];
    build.with_label_values(&labels).set(1);
    register.registry.register(Box::new(build))?;
    register.constant(
        "squire_memory_budget_bytes",
        "What the process keeps to, with everything in it: daemon.memory.",
        daemon.memory,
    )?;
    #[cfg(target_os = "linux")]
    register.registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}

/// How the configuration was taken.
#[derive(Debug)]
pub(in crate::service) struct Configuration {
    places: IntGauge,
    tick: IntGauge,
    successful: IntGauge,
    last_success: IntGauge,
}

impl Configuration {
    pub(super) fn new(register: &Register) -> Result<Self> {
        Ok(Self {
            places: register.single(
                "squire_job_places",
                "Jobs that can be at work at once, over all targets: daemon.concurrency, or as many as the memory is for.",
            )?,
            tick: register.single(
                "squire_tick_interval_seconds",
                "How often each target is looked at, in whole seconds and at least 1: daemon.tick.",
            )?,
            successful: register.single(
                "squire_config_reload_successful",
                "1 when the configuration that was read last is in force, 0 when it was refused.",
            )?,
            last_success: register.single(
                "squire_config_reload_success_timestamp_seconds",
                "When the configuration in force was read, as seconds since 1970.",
            )?,
        })
    }
}

/// Whether the daemon's disk has what the daemon knows of pauses, and the other way round.
#[derive(Debug)]
pub(super) struct OnDisk {
    unwritten: IntGauge,
    unreadable: IntGauge,
}

impl OnDisk {
    pub(super) fn new(register: &Register) -> Result<Self> {
        Ok(Self {
            unwritten: register.single(
                "squire_pauses_unwritten",
                "1 while daemon.state_dir does not have the pauses as they are: a restart would forget some, or bring some back. 0 without a folder.",
            )?,
            unreadable: register.single(
                "squire_pauses_unreadable",
                "1 when the pauses that the last daemon left cannot be read, and every target is paused for that.",
            )?,
        })
    }

    /// Takes how it is.
    pub(super) fn follow(&self, pauses: &PauseRegistry) {
        self.unwritten.set(pauses.not_kept().is_some().into());
        self.unreadable.set(pauses.unreadable().is_some().into());
    }
}

/// Tasks of the runtime.
#[derive(Debug)]
pub(super) struct Tasks(IntGauge);

impl Tasks {
    pub(super) fn new(register: &Register) -> Result<Self> {
        let help = "Tasks of the process that have not ended, those that wait included.";
        register.single("squire_tasks", help).map(Self)
    }

    /// Counts them, where there is a runtime.
    pub(super) fn count(&self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let tasks = runtime.metrics().num_alive_tasks();
            self.0.set(whole(tasks as u64));
        }
    }
}

/// The wall clock.
#[derive(Debug)]
pub(in crate::service) struct Clock {
    jumps: IntCounter,
    steady: IntGauge,
}

impl Clock {
    pub(super) fn new(register: &Register) -> Result<Self> {
        let jumps = IntCounter::new(
            "squire_clock_jumps_total",
            "Times that the wall clock was set by more than a minute.",
        )?;
        register.registry.register(Box::new(jumps.clone()))?;
        let steady = register.single(
            "squire_clock_steady",
            "1 when the wall clock is trusted; 0 for an hour after it jumped, and when it is behind the build: nothing is removed then.",
        )?;
        steady.set(1);
        Ok(Self { jumps, steady })
    }
}

impl Clock {
    /// How often the wall clock jumped since the last check, and whether it is trusted.
    pub(in crate::service) fn set(&self, jumps: u64, steady: bool) {
        self.jumps.inc_by(jumps);
        self.steady.set(steady.into());
    }
}

impl Configuration {
    /// The settings that are in force, and the maximum number of jobs at once.
    pub(in crate::service) fn follow(&self, daemon: &Daemon, places: usize) {
        self.places.set(count(places));
        let tick = daemon.tick.as_secs().max(1);
        self.tick.set(whole(tick));
    }

    /// A configuration was read, and is in force or was refused.
    pub(in crate::service) fn reloaded(&self, successfully: bool) {
        self.successful.set(successfully.into());
        if successfully {
            self.last_success.set(Utc::now().timestamp());
        }
    }
}
