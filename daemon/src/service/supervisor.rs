//! The keepers at work, one for each target. While the daemon runs, each can be given other orders, and be let go of.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use squire_config::{Daemon, Target};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    keeper::{Keeper, KeeperConfig, Shared, Shutdown},
    schedule::triggers::{ForceBook, Forces},
};

/// A keeper begins so long after one that panicked: soon enough for whoever sees whether the process gets on.
const AFTER_A_PANIC: Duration = Duration::from_secs(5);

/// One keeper.
struct Post {
    orders: watch::Sender<KeeperConfig>,
    leave: CancellationToken,
}

/// All keepers.
pub(super) struct Crew {
    shared: Shared,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    posts: BTreeMap<String, Post>,
    forces: Arc<ForceBook>,
    /// Of each name, the end of the keeper that came last.
    ended: BTreeMap<String, CancellationToken>,
}

impl Crew {
    /// No keepers yet. `stop` ends them all.
    pub(super) fn new(shared: Shared, forces: Arc<ForceBook>, stop: CancellationToken) -> Self {
        Self {
            shared,
            forces,
            stop,
            tasks: JoinSet::new(),
            posts: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// All keepers go by these settings from now on.
    pub(super) fn follow(&mut self, daemon: &Daemon) {
        self.shared.daemon = daemon.clone();
        for post in self.posts.values() {
            // What a keeper does not go by is no order.
            post.orders.send_if_modified(|orders| {
                let other = orders.daemon != *daemon;
                orders.daemon = daemon.clone();
                other
            });
        }
    }

    /// Begins to keep a target, as soon as nobody of its name is at work any more.
    pub(super) fn begin(&mut self, target: &Target) {
        while self.tasks.try_join_next().is_some() {}
        self.ended.retain(|_, ended| !ended.is_cancelled());
        let (name, shared) = (target.name.clone(), self.shared.clone());
        let forces = self.forces.open(&name);
        let until = Shutdown {
            leave: self.stop.child_token(),
            stop: self.stop.clone(),
        };
        let ended = CancellationToken::new();
        let before = self.ended.insert(name.clone(), ended.clone());
        let orders = KeeperConfig {
            target: target.clone(),
            daemon: self.shared.daemon.clone(),
        };
        let (give, orders) = watch::channel(orders);
        let post = Post {
            orders: give,
            leave: until.leave.clone(),
        };
        self.posts.insert(name.clone(), post);
        shared.expect(target);
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            if let Some(before) = before {
                before.cancelled().await;
                shared.expect(&orders.borrow().target);
            }
            keep(orders, &shared, forces, &until).await;
            if !until.stop.is_cancelled() {
                tracing::info!(target_name = %name, "let go of a target");
                shared.forget(&name);
            }
        });
    }

    /// Gives the keeper of a target other policies.
    pub(super) fn adjust(&self, target: &Target) {
        if let Some(post) = self.posts.get(&target.name) {
            let target = target.clone();
            post.orders.send_modify(|orders| orders.target = target);
        }
    }

    /// Lets go of a target: its keeper takes no more work, and its jobs go on to their end.
    pub(super) fn let_go(&mut self, name: &str) {
        if let Some(post) = self.posts.remove(name) {
            post.leave.cancel();
        }
    }

    /// The targets whose keepers have not ended.
    pub(super) fn left(&self) -> Vec<String> {
        let left = self.ended.iter().filter(|(_, ended)| !ended.is_cancelled());
        left.map(|(name, _)| name.clone()).collect()
    }

    /// Cuts off those that have not ended.
    pub(super) async fn cut_off(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits until all keepers have ended.
    pub(super) async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Keeps a target until it is time. A keeper that panics must not end what is done for its target for good: another comes
/// in its place.
async fn keep(
    orders: watch::Receiver<KeeperConfig>,
    shared: &Shared,
    forces: Arc<Forces>,
    until: &Shutdown,
) {
    while !until.leave.is_cancelled() {
        let kept = async {
            let keeper = Keeper::new(orders.clone(), shared.clone(), forces.clone());
            keeper.run(until).await;
        };
        let kept = AssertUnwindSafe(kept).catch_unwind();
        if kept.await.is_ok() {
            return;
        }
        let name = orders.borrow().target.name.clone();
        tracing::error!(target_name = %name, "the keeper of the target panicked, and another begins; please report it with the lines above");
        shared.metrics.targets.keeper_restarted(&name);
        shared.board.begin_anew(&name);
        tokio::select! {
            () = until.leave.cancelled() => {}
            () = tokio::time::sleep(AFTER_A_PANIC) => {}
        }
    }
}
