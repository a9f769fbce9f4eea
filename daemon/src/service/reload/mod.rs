//! Reloads: another configuration comes into force while the daemon runs, or is refused as a whole.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | reads, carries over, and tells |
//! | [`plan`] | what is to be done: pure |
//! | [`record`] | how the last attempt ended |
//! | [`socket`] | where `squire reload` asks and is answered |

mod plan;
#[cfg(test)]
mod plan_tests;
pub(crate) mod record;
pub(crate) mod socket;

use std::sync::Arc;

use chrono::Utc;
use squire_config::{Layers, Settings};

use self::{
    plan::{Fate, Plan},
    record::Loaded,
};
use super::{
    crew::Crew,
    http::door::{Door, DoorError},
    metrics::Metrics,
    notify::Notifier,
    places::Places,
    schedule::ForceBook,
    timetable::{self, Timetable},
};
use crate::{exit::Failure, logging::LogFilter};

/// What of a running daemon a reload can change.
pub(super) struct Running {
    /// Where the settings come from.
    pub(super) layers: Layers,
    /// What is in force.
    pub(super) settings: Settings,
    pub(super) crew: Crew,
    pub(super) places: Places,
    pub(super) timetable: Arc<Timetable>,
    pub(super) log: LogFilter,
    pub(super) door: Arc<Door>,
    pub(super) forces: Arc<ForceBook>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) notifier: Notifier,
}

impl Running {
    /// Loads the configuration again. It is in force when this returns, or refused as a whole; jobs go on in any case.
    pub(super) async fn reload(&mut self) -> Loaded {
        self.notifier.reloading();
        let (error, changes, waits) = match self.read().await {
            Ok(plan) => {
                let told = (None, plan.told(), named(&plan.waits));
                self.carry_over(plan).await;
                told
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
        self.metrics.reloaded(loaded.error.is_none());
        self.notifier.record.note(loaded.clone());
        self.notifier.ready();
        loaded
    }

    /// Reads and checks the whole configuration, and takes what can still fail: other schedules, and the certificate.
    async fn read(&mut self) -> Result<Plan, Failure> {
        let layers = self.layers.clone();
        let read = tokio::task::spawn_blocking(move || {
            let new = super::load(&layers)?;
            // What waits for a restart must be such that the restart succeeds.
            Door::open(&new.daemon)?;
            Ok::<_, Failure>(new)
        })
        .await;
        let new = read.map_err(|e| Failure::Machine(format!("it could not be read: {e}")))??;
        let plan = plan::plan(&self.settings, &new, self.places.most());
        let targets = plan.settings.targets.iter().filter(|_| plan.schedules);
        let called = targets.map(|t| (t.clone(), self.forces.open(&t.name)));
        let now = Utc::now();
        let fresh = timetable::entries(called, now)?;
        // The certificate comes last: once it is taken, nothing is refused any more.
        if let Err(e) = self.door.reload(&plan.settings.daemon) {
            return Err(DoorError::from(e).into());
        }
        if plan.schedules {
            self.timetable.follow(fresh, now);
        }
        Ok(plan)
    }

    /// Makes the new settings those in force.
    async fn carry_over(&mut self, plan: Plan) {
        let Plan {
            settings,
            fates,
            places,
            ..
        } = plan;
        if let Err(e) = self.log.follow(&settings.daemon) {
            tracing::warn!(error = %e, "the log goes on as before");
        }
        self.places.change(places);
        self.notifier.pulse.follow(&settings.daemon);
        self.crew.follow(&settings.daemon);
        self.metrics.follow(&settings.daemon, places);
        for (name, fate) in &fates {
            match fate {
                Fate::Begin | Fate::Adjust => {}
                Fate::Restart(_) => self.crew.let_go(name),
                Fate::LetGo => {
                    self.crew.let_go(name);
                    self.forces.close(name);
                }
            }
        }
        for target in &settings.targets {
            match fates.get(&target.name) {
                Some(Fate::Begin | Fate::Restart(_)) => self.crew.begin(target),
                Some(Fate::Adjust) => self.crew.adjust(target),
                Some(Fate::LetGo) | None => {}
            }
        }
        self.settings = settings;
    }
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
            "the new configuration is refused, and the one before stays in force: mend it and reload again"
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
