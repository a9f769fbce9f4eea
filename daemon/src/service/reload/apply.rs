//! Reads another configuration, applies it, and logs what came of it.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use squire_config::{Daemon, Layers, Reading, Settings};
use squire_engine::failpoint;
use tokio::{sync::watch, time::timeout};

use super::plan::{self, Plan, TargetChange};
use crate::{
    api::Loaded,
    configuration,
    exit::Failure,
    logging::LogFilter,
    service::{
        http::access::listener::Listener,
        job_slots::JobSlots,
        metrics::Metrics,
        presence::PresenceMonitor,
        schedule::{
            timetable::{Started, Timetable},
            triggers::TriggerBook,
        },
        supervisor::Supervisor,
        systemd::Notifier,
    },
};

/// What of a running daemon a reload can change.
pub(in crate::service) struct Running {
    /// Where the settings come from.
    pub(in crate::service) layers: Layers,
    /// What is in force.
    pub(in crate::service) settings: Settings,
    pub(in crate::service) supervisor: Supervisor,
    pub(in crate::service) presence_monitor: PresenceMonitor,
    pub(in crate::service) job_slots: JobSlots,
    pub(in crate::service) timetable: Arc<Timetable>,
    pub(in crate::service) log: LogFilter,
    pub(in crate::service) listener: Arc<Listener>,
    pub(in crate::service) triggers: Arc<TriggerBook>,
    pub(in crate::service) metrics: Arc<Metrics>,
    pub(in crate::service) notifier: Notifier,
    /// Where tasks beside the keepers learn what is in force.
    pub(in crate::service) in_force: watch::Sender<Daemon>,
}

impl Running {
    /// Loads the configuration again. It is in force when this returns, or refused as a whole; jobs go on in any case.
    /// Until it is read, this may be dropped: nothing has changed then. `reading` tells how far it is.
    pub(in crate::service) async fn reload(&mut self, reading: &Reading) -> Loaded {
        self.notifier.reloading();
        let limit = self.settings.daemon.reload_timeout;
        let prepared = timeout(limit, self.prepare(reading)).await;
        let (error, changes, waits) = match prepared.unwrap_or_else(|_| Err(late(reading, limit))) {
            Ok(prepared) => {
                let outcome = (None, prepared.plan.describe(), named(&prepared.plan.waits));
                self.carry_over(prepared).await;
                outcome
            }
            Err(e) => (Some(e.to_string()), Vec::new(), Vec::new()),
        };
        let loaded = Loaded {
            at: Utc::now(),
            error,
            changes,
            waits_for_restart: waits,
        };
        tell(&loaded);
        self.metrics.configuration.reloaded(loaded.error.is_none());
        self.notifier.record.note(loaded.clone());
        self.notifier.ready();
        loaded
    }

    /// Reads and checks the whole configuration, and makes what can still fail. What waits for a disk does so on a thread of
    /// its own, which is left to itself when nothing waits for it any more.
    async fn prepare(&self, reading: &Reading) -> Result<Prepared, Failure> {
        let layers = self.layers.clone().noted_in(reading.clone());
        let noted = reading.clone();
        let read = tokio::task::spawn_blocking(move || {
            noted.begin(&layers.file().display());
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async {
                failpoint::hit!(BEFORE_RELOAD);
            });
            let new = configuration::load_for_daemon(&layers)?;
            match &new.daemon.tls.certificate {
                Some(path) => noted.begin(&format!("{}, or its key", path.display())),
                None => noted.begin(&"the token"),
            }
            // What waits for a restart must be such that the restart succeeds.
            let listener = Listener::open(&new.daemon)?;
            Ok::<_, Failure>((new, listener))
        })
        .await;
        let read = read.map_err(|e| Failure::Machine(format!("it could not be read: {e}")))?;
        let (new, listener) = read?;
        reading.begin(&"the cron schedules");
        let plan = plan::plan(&self.settings, &new, self.job_slots.most());
        let schedule = if plan.schedules {
            let targets = plan.settings.targets.iter();
            let called = targets.map(|t| (t.clone(), self.triggers.open(&t.name)));
            Some(Started::new(called).await?)
        } else {
            None
        };
        Ok(Prepared {
            plan,
            listener,
            schedule,
        })
    }

    /// Makes the new settings those in force.
    async fn carry_over(&mut self, prepared: Prepared) {
        let Prepared {
            plan,
            listener,
            schedule,
        } = prepared;
        let Plan {
            settings,
            changes,
            job_slots,
            ..
        } = plan;
        self.listener.take(&listener);
        if let Some(fresh) = schedule {
            self.timetable.follow(fresh).await;
        }
        if let Err(e) = self.log.follow(&settings.daemon) {
            tracing::warn!(error = %e, "the log goes on as before");
        }
        self.job_slots.change(job_slots);
        self.supervisor.configure(&settings.daemon);
        self.metrics
            .configuration
            .follow(&settings.daemon, job_slots);
        for (name, change) in &changes {
            match change {
                TargetChange::Start | TargetChange::Update => {}
                TargetChange::Restart(_) => self.supervisor.detach(name),
                TargetChange::Detach => {
                    self.supervisor.detach(name);
                    self.triggers.close(name);
                }
            }
        }
        for target in &settings.targets {
            match changes.get(&target.name) {
                Some(TargetChange::Start | TargetChange::Restart(_)) => {
                    self.supervisor.start(target)
                }
                Some(TargetChange::Update) => self.supervisor.update(target),
                Some(TargetChange::Detach) | None => {}
            }
        }
        self.presence_monitor.follow(&settings);
        self.in_force.send_replace(settings.daemon.clone());
        self.settings = settings;
    }
}

/// Another configuration that nothing is wrong with.
struct Prepared {
    plan: Plan,
    /// With the certificate, as it was read.
    listener: Listener,
    /// Schedules that have begun, where they are others.
    schedule: Option<Started>,
}

/// Why a reload is refused that takes too long.
fn late(reading: &Reading, limit: Duration) -> Failure {
    let what = reading.now();
    Failure::Machine(format!(
        "reading {} did not end within {}: see whether its disk answers, then reload again; daemon.reload_timeout is how long a reload may take",
        what.as_deref().unwrap_or("the configuration"),
        humantime::format_duration(limit),
    ))
}

fn named(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// A line in the log for what came of it, and one for what waits.
fn tell(loaded: &Loaded) {
    if let Some(error) = &loaded.error {
        let error = one_line(error);
        tracing::error!(
            error,
            "the new configuration is refused, and the one before stays in force: fix it and reload again"
        );
        return;
    }
    let changes = match &loaded.changes[..] {
        [] => "nothing changed".to_owned(),
        changes => changes.join("; "),
    };
    tracing::info!(changes, "the configuration is reloaded");
    if !loaded.waits_for_restart.is_empty() {
        let keys = loaded.waits_for_restart.join(", ");
        tracing::warn!(
            keys,
            "these settings change only with a restart of the daemon: until then it goes by those before"
        );
    }
}

/// A text of several lines as one.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join("; ")
}
