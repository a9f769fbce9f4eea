//! The supervisor of the keepers, one for each target: starts, updates, restarts and detaches them.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use squire_config::{Daemon, Target};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    keeper::{Keeper, KeeperConfig, Shared, Shutdown},
    schedule::triggers::{TriggerBook, Triggers},
};

/// Delay before a keeper that panicked is restarted; shorter than the liveness limit.
const AFTER_A_PANIC: Duration = Duration::from_secs(5);

/// The handle of one keeper.
struct WorkerHandle {
    config: watch::Sender<KeeperConfig>,
    detach: CancellationToken,
}

/// Starts, updates and stops the keepers.
pub(super) struct Supervisor {
    shared: Shared,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    workers: BTreeMap<String, WorkerHandle>,
    triggers: Arc<TriggerBook>,
    /// By name, cancelled when the last keeper of that name has ended.
    ended: BTreeMap<String, CancellationToken>,
}

impl Supervisor {
    /// Without keepers. `stop` ends all that are started later.
    pub(super) fn new(shared: Shared, triggers: Arc<TriggerBook>, stop: CancellationToken) -> Self {
        Self {
            shared,
            triggers,
            stop,
            tasks: JoinSet::new(),
            workers: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Gives all keepers these settings of `[daemon]`.
    pub(super) fn configure(&mut self, daemon: &Daemon) {
        self.shared.daemon = daemon.clone();
        for worker in self.workers.values() {
            // Settings that did not change wake no keeper.
            worker.config.send_if_modified(|config| {
                let other = config.daemon != *daemon;
                config.daemon = daemon.clone();
                other
            });
        }
    }

    /// Starts the keeper of a target, as soon as an earlier one of its name has ended.
    pub(super) fn start(&mut self, target: &Target) {
        while self.tasks.try_join_next().is_some() {}
        self.ended.retain(|_, ended| !ended.is_cancelled());
        let (name, shared) = (target.name.clone(), self.shared.clone());
        let triggers = self.triggers.open(&name);
        let shutdown = Shutdown {
            detach: self.stop.child_token(),
            stop: self.stop.clone(),
        };
        let ended = CancellationToken::new();
        let before = self.ended.insert(name.clone(), ended.clone());
        let config = KeeperConfig {
            target: target.clone(),
            daemon: self.shared.daemon.clone(),
        };
        let (give, config) = watch::channel(config);
        let worker = WorkerHandle {
            config: give,
            detach: shutdown.detach.clone(),
        };
        self.workers.insert(name.clone(), worker);
        shared.expect(target);
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            if let Some(before) = before {
                before.cancelled().await;
                shared.expect(&config.borrow().target);
            }
            keep(config, &shared, triggers, &shutdown).await;
            if !shutdown.stop.is_cancelled() {
                tracing::info!(target_name = %name, "let go of a target");
                shared.forget(&name);
            }
        });
    }

    /// Sends a config update to the keeper of a target.
    pub(super) fn update(&self, target: &Target) {
        if let Some(worker) = self.workers.get(&target.name) {
            let target = target.clone();
            worker.config.send_modify(|config| config.target = target);
        }
    }

    /// Detaches a target: its keeper takes no more work, and its running jobs are finished.
    pub(super) fn detach(&mut self, name: &str) {
        if let Some(worker) = self.workers.remove(name) {
            worker.detach.cancel();
        }
    }

    /// The targets whose keepers still run.
    pub(super) fn remaining(&self) -> Vec<String> {
        let left = self.ended.iter().filter(|(_, ended)| !ended.is_cancelled());
        left.map(|(name, _)| name.clone()).collect()
    }

    /// Aborts the keepers that still run.
    pub(super) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits until all keepers have ended.
    pub(super) async fn join(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs the keeper of a target until it is detached. One that panics is restarted.
async fn keep(
    config: watch::Receiver<KeeperConfig>,
    shared: &Shared,
    triggers: Arc<Triggers>,
    shutdown: &Shutdown,
) {
    while !shutdown.detach.is_cancelled() {
        let kept = async {
            let keeper = Keeper::new(config.clone(), shared.clone(), triggers.clone());
            keeper.run(shutdown).await;
        };
        let kept = AssertUnwindSafe(kept).catch_unwind();
        if kept.await.is_ok() {
            return;
        }
        let name = config.borrow().target.name.clone();
        tracing::error!(target_name = %name, "the keeper of the target panicked, and another begins; please report it with the lines above");
        shared.metrics.targets.keeper_restarted(&name);
        shared.status.begin_anew(&name);
        tokio::select! {
            () = shutdown.detach.cancelled() => {}
            () = tokio::time::sleep(AFTER_A_PANIC) => {}
        }
    }
}
