//! Background work for a graph, beside its keeper's polls so that it delays none: healing, the collection of old manifests,
//! the adoption of drift, and a check of sidecars that shows when healing does not do its work.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use squire_config::Daemon;
use squire_engine::{DriftPolicy, Drifted, Graph, ManifestRetention, TableKey};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::context::KeeperConfig;
use crate::service::{
    clock,
    metrics::{Metrics, Task},
    status::StatusStore,
};

/// Sidecars are looked at this often, or every second tick where that is shorter. However long the interval of healing is,
/// and beside it: that one is left to age must show within minutes, also when healing hangs.
const SIDECARS_EVERY: Duration = Duration::from_secs(15);

/// The upkeep of one target.
#[derive(Clone)]
pub(in crate::service) struct Upkeep {
    pub(in crate::service) graph: Graph,
    pub(in crate::service) name: String,
    /// What the settings say now: a reload may have changed them.
    pub(in crate::service) config: watch::Receiver<KeeperConfig>,
    pub(in crate::service) metrics: Arc<Metrics>,
    pub(in crate::service) status: Arc<StatusStore>,
    pub(in crate::service) stop: CancellationToken,
}

impl Upkeep {
    /// Heals on its interval. As long as a ticket is left that may become due, it looks again after a third of a
    /// lease: a holder is known to be dead only after it was watched for a lease.
    pub(in crate::service) async fn heal(self) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            let next = self.unhurt(Task::Heal, "healing", self.heal_once()).await;
            pause = next.unwrap_or_else(|| self.daemon().heal_interval);
        }
    }

    fn daemon(&self) -> Daemon {
        self.config.borrow().daemon.clone()
    }

    /// One round; says when the next is due.
    async fn heal_once(&self) -> Duration {
        let (name, daemon) = (&self.name, self.daemon());
        // Neither waits for the other to succeed.
        let retention = ManifestRetention {
            keep_manifests: self.config.borrow().target.policies.keep_manifests,
            ..ManifestRetention::default()
        };
        let aged = self.may_remove().await;
        if aged {
            let collected = self.graph.collect(&retention).await;
            self.metrics
                .graphs
                .upkept(name, Task::Collect, collected.is_ok());
            if let Err(e) = collected {
                tracing::error!(target_name = %name, error = %e, "old manifests could not be collected; it is tried again");
            }
        }
        let healed = if aged {
            self.graph.heal().await
        } else {
            self.graph.heal_tickets().await
        };
        match healed {
            Ok(healed) => {
                self.metrics.graphs.healed(name, &healed);
                self.metrics
                    .graphs
                    .upkept(name, Task::Heal, healed.failed.is_empty());
                tracing::debug!(target_name = %name, rolled_forward = healed.rolled_forward, aborted = healed.aborted, discarded = healed.discarded, orphans = healed.orphans, "looked for what the dead left behind");
                for e in &healed.failed {
                    tracing::error!(target_name = %name, error = %e, "healing failed; it is tried again");
                }
                let waits_for_time = healed.left.len() > healed.quarantined;
                next_round(waits_for_time, daemon.heal_interval, daemon.lease)
            }
            Err(e) => {
                self.metrics.graphs.upkept(name, Task::Heal, false);
                tracing::error!(target_name = %name, error = %e, "healing failed; it is tried again");
                daemon.heal_interval
            }
        }
    }

    /// Whether what is old may go: not after a jump of this machine's clock, but where the store has one of its own that
    /// agrees.
    async fn may_remove(&self) -> bool {
        let name = &self.name;
        if clock::distrust(name).is_none() {
            return true;
        }
        match self.graph.own_clock().await {
            Ok(Some(store)) => clock::compare(name, store),
            Ok(None) => {}
            Err(e) => {
                tracing::debug!(target_name = %name, error = %e, "the store could not be asked what time it is");
            }
        }
        clock::distrust(name).is_none()
    }

    /// Lists sidecars, again and again.
    pub(in crate::service) async fn watch_sidecars(self) {
        loop {
            let look = self.list_sidecars();
            self.unhurt(Task::Sidecars, "the look at sidecars", look)
                .await;
            let pause = SIDECARS_EVERY.min(self.daemon().tick * 2);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn list_sidecars(&self) {
        let name = &self.name;
        let looked = self.graph.sidecars().await;
        self.metrics
            .graphs
            .upkept(name, Task::Sidecars, looked.is_ok());
        match looked {
            Ok(sidecars) => self.metrics.graphs.sidecars(name, &sidecars),
            Err(e) => {
                tracing::warn!(target_name = %name, error = %e, "the sidecars could not be looked at; it is tried again");
            }
        }
    }

    /// Checks for drift on its interval, adopts what may be adopted, and says what stays, once for each change.
    pub(in crate::service) async fn adopt_drift(self) {
        let mut logged = BTreeMap::new();
        loop {
            let look = self.check_drift(&mut logged);
            self.unhurt(Task::Drift, "the look for drift", look).await;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = sleep(self.daemon().drift_interval) => {}
            }
        }
    }

    /// A round to its end. A fault of one must not end what is done for this target for good.
    async fn unhurt<T>(&self, task: Task, what: &str, round: impl Future<Output = T>) -> Option<T> {
        let ended = AssertUnwindSafe(round).catch_unwind().await;
        if ended.is_err() {
            self.metrics.graphs.upkept(&self.name, task, false);
            tracing::error!(target_name = %self.name, "{what} panicked; please report it with the lines above");
        }
        ended.ok()
    }

    /// `logged` is what was logged of each table, as pin and head, and is kept up to date.
    async fn check_drift(&self, logged: &mut BTreeMap<TableKey, (u64, u64)>) {
        let name = &self.name;
        let look = match self.graph.drift().await {
            Ok(look) => look,
            Err(e) => {
                self.metrics.graphs.upkept(name, Task::Drift, false);
                tracing::error!(target_name = %name, error = %e, "the look for drift failed; it is tried again");
                return;
            }
        };
        self.metrics
            .graphs
            .upkept(name, Task::Drift, look.failed.is_empty());
        for e in &look.failed {
            tracing::error!(target_name = %name, error = %e, "a table could not be looked at for drift; it is tried again");
        }
        let mut left = Vec::new();
        for drifted in look.drifted {
            if self.may_adopt(&drifted) {
                match self.graph.adopt(&drifted).await {
                    Ok(true) => {
                        self.metrics.graphs.adopted(name, kind(&drifted));
                        continue;
                    }
                    Ok(false) => {}
                    Err(e) => {
                        tracing::error!(target_name = %name, table = %drifted.table, error = %e, "drift could not be adopted; it is tried again");
                    }
                }
            }
            left.push(drifted);
        }
        for of in ["benign", "semantic"] {
            let tables = left.iter().filter(|d| kind(d) == of).count();
            self.metrics.graphs.drifted(name, of, tables);
        }
        let unresolved = left.iter().filter(|drifted| !drifted.is_benign());
        let unresolved = unresolved.map(|drifted| {
            let why = format!(
                "changed outside of Squire ({}): `squire repair`",
                drifted.summary()
            );
            (drifted.table.to_string(), why)
        });
        self.status.drifted(name, &unresolved.collect());
        logged.retain(|table, _| left.iter().any(|d| d.table == *table));
        for drifted in left {
            let now = (drifted.pin, drifted.head);
            if logged.insert(drifted.table.clone(), now) != Some(now) {
                tracing::warn!(target_name = %name, table = %drifted.table, kind = kind(&drifted), pin = drifted.pin, head = drifted.head, what = drifted.summary(), misfit = drifted.misfit, "a table was changed outside of Squire; `squire repair` shows what can be done");
            }
        }
    }

    /// Whether the daemon may adopt it by itself.
    fn may_adopt(&self, drifted: &Drifted) -> bool {
        let by_setting =
            self.config.borrow().target.drift == DriftPolicy::Adopt && drifted.misfit.is_none();
        drifted.is_benign() || by_setting
    }
}

fn kind(drifted: &Drifted) -> &'static str {
    if drifted.is_benign() {
        "benign"
    } else {
        "semantic"
    }
}

/// When to heal again. What waits for time alone, because a holder is not known to be dead yet, must not wait for the
/// next interval as well.
fn next_round(waits_for_time: bool, interval: Duration, lease: Duration) -> Duration {
    if waits_for_time {
        interval.min(lease / 3)
    } else {
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_healed_within_an_interval_a_lease_and_a_beat_however_long_the_interval_is() {
        let (interval, lease) = (Duration::from_secs(600), Duration::from_secs(15));
        // Seen at the end of an interval, watched until the lease is over.
        let mut watched = Duration::ZERO;
        while watched < lease {
            watched += next_round(true, interval, lease);
        }
        assert!(watched <= lease + lease / 3);
        assert_eq!(next_round(false, interval, lease), interval);
        assert_eq!(next_round(true, lease / 30, lease), lease / 30);
    }
}
