//! Other daemons on the same targets: each shows at its targets that it is there, and logs when another daemon is, too.
//! Apart from the keepers: neither waits for the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use squire_config::{Settings, Target};
use squire_engine::{Kind, Other, Presence, Resident};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{host::host, status::StatusStore};
use crate::{api::Status, target::beyond};

/// A sign of life is shown at least this often.
const SELDOM: Duration = Duration::from_secs(60);
/// Signs of life in a row that may fail to come.
const MISSED: u32 = 3;
/// For taking back what was written, when a target is let go of.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// This daemon's presence at all of its targets.
pub(super) struct PresenceMonitor {
    status: Arc<StatusStore>,
    started: DateTime<Utc>,
    stop: CancellationToken,
    at: BTreeMap<String, (Stay, CancellationToken)>,
    tasks: JoinSet<()>,
}

/// What a presence is made of: when it changes, another takes its place.
#[derive(Clone, Debug, PartialEq)]
struct Stay {
    uri: String,
    follow_links: Vec<std::path::PathBuf>,
    allow_bases: Vec<String>,
    tick: Duration,
    every: Duration,
}

impl PresenceMonitor {
    /// At no target yet. `stop` ends all.
    pub(super) fn new(
        status: Arc<StatusStore>,
        started: DateTime<Utc>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            status,
            started,
            stop,
            at: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Is at these targets from now on, and at no others.
    pub(super) fn follow(&mut self, settings: &Settings) {
        while self.tasks.try_join_next().is_some() {}
        let every = every(settings.daemon.lease);
        let mut before = std::mem::take(&mut self.at);
        for target in &settings.targets {
            // No other process gets into this process's memory.
            if target.uri.starts_with("memory:") {
                continue;
            }
            let stay = Stay {
                uri: target.uri.clone(),
                follow_links: target.follow_links.clone(),
                allow_bases: target.allow_bases.clone(),
                tick: settings.daemon.tick,
                every,
            };
            let as_before = before.remove(&target.name);
            let (same, other): (Vec<_>, Vec<_>) =
                as_before.into_iter().partition(|(was, _)| *was == stay);
            other.iter().for_each(|(_, over)| over.cancel());
            let over = match same.into_iter().next() {
                Some((_, over)) => over,
                None => self.begin(target, &stay),
            };
            self.at.insert(target.name.clone(), (stay, over));
        }
        before.values().for_each(|(_, over)| over.cancel());
    }

    fn begin(&mut self, target: &Target, stay: &Stay) -> CancellationToken {
        let over = self.stop.child_token();
        let resident = Resident {
            target: target.name.clone(),
            host: host(),
            pid: std::process::id(),
            started: self.started,
        };
        let there = There {
            target: target.clone(),
            resident,
            stay: stay.clone(),
            status: self.status.clone(),
            logged: BTreeSet::new(),
        };
        self.tasks.spawn(there.stay(over.clone()));
        over
    }

    /// Waits until all have left.
    pub(super) async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// How often a sign of life is shown.
fn every(lease: Duration) -> Duration {
    lease.saturating_mul(4).min(SELDOM)
}

/// This daemon at one target.
struct There {
    target: Target,
    resident: Resident,
    stay: Stay,
    status: Arc<StatusStore>,
    /// The others that were logged.
    logged: BTreeSet<String>,
}

impl There {
    async fn stay(mut self, over: CancellationToken) {
        let mut presence = None;
        let mut pause = self.stay.tick.min(self.stay.every);
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = sleep(pause) => {}
            }
            // What cannot be kept is left alone: it may be a disk that is not mounted.
            let Some(kind) = self.kept_as() else {
                continue;
            };
            pause = self.stay.every;
            let mut beat = Box::pin(timeout(pause, self.beat(&mut presence, kind)));
            let left = tokio::select! {
                () = over.cancelled() => true,
                _ = &mut beat => false,
            };
            if left {
                // What is being written would land after it was taken back.
                let _ = timeout(LEAVE_PATIENCE, beat).await;
                break;
            }
        }
        if let Some(presence) = presence {
            let _ = timeout(LEAVE_PATIENCE, presence.leave()).await;
        }
    }

    /// What the target is, when it is well and has tables.
    fn kept_as(&self) -> Option<Kind> {
        let info = self.status.target(&self.target.name)?;
        if info.status.known() != Some(Status::Ok) || info.tables == 0 {
            return None;
        }
        let kinds = [Kind::Graph, Kind::Directory].into_iter();
        let mut kinds = kinds.filter(|kind| info.kind.as_deref() == Some(kind.as_str()));
        kinds.next()
    }

    async fn beat(&mut self, presence: &mut Option<Presence>, kind: Kind) {
        let name = &self.target.name;
        if presence.is_none() {
            let is_directory = kind == Kind::Directory;
            let beyond = beyond(&self.target);
            let opened = Presence::open(&self.stay.uri, &beyond, is_directory, &self.resident);
            *presence = opened.await.ok();
        }
        let Some(presence) = presence else {
            return;
        };
        match presence.beat(self.stay.every * MISSED).await {
            Ok(others) => {
                self.status.saw_other_daemons(name, others.len());
                self.tell(&others);
            }
            Err(e) => {
                tracing::debug!(target_name = %name, error = %e, "other daemons could not be looked for; it is tried again");
            }
        }
    }

    /// A line for each that has come.
    fn tell(&mut self, others: &[Other]) {
        for other in others {
            if !self.logged.insert(other.id.clone()) {
                continue;
            }
            let resident = other.resident.as_ref();
            tracing::warn!(
                target_name = %self.target.name,
                host = resident.map(|of| of.host.as_str()),
                pid = resident.map(|of| of.pid),
                started = resident.map(|of| of.started.to_string()),
                called = resident.map(|of| of.target.as_str()),
                "another daemon keeps the same place: both do the same work, and pauses and budgets of the one do not hold the other; stop one of them"
            );
        }
        self.logged
            .retain(|id| others.iter().any(|other| other.id == *id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_as_far_apart_as_the_lease_is_long_and_a_minute_at_most() {
        for (lease, apart) in [(1, 4), (15, 60), (600, 60)] {
            assert_eq!(
                every(Duration::from_secs(lease)),
                Duration::from_secs(apart)
            );
        }
    }
}
