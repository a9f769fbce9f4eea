//! What a keeper is given: its configuration, what it shares with other keepers, and what ends it.

use std::{sync::Arc, time::Instant};

use squire_config::{Daemon, Target};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::service::{
    clock,
    liveness::Liveness,
    metrics::Metrics,
    pauses::PauseRegistry,
    state::{Clock, State},
    status::StatusStore,
};

/// The configuration of a keeper; an update may come while it runs.
#[derive(Clone, Debug)]
pub(in crate::service) struct KeeperConfig {
    pub(in crate::service) target: Target,
    pub(in crate::service) daemon: Daemon,
}

/// The cancellation of a keeper.
#[derive(Clone, Debug)]
pub(in crate::service) struct Shutdown {
    /// The keeper takes no more work; its running jobs are finished. Cancelled with `stop`, too.
    pub(in crate::service) detach: CancellationToken,
    /// The daemon stops: jobs abandon what they have not committed.
    pub(in crate::service) stop: CancellationToken,
}

/// What all keepers of a daemon share.
#[derive(Clone)]
pub(in crate::service) struct Shared {
    pub(in crate::service) daemon: Daemon,
    /// Job slots, over all targets.
    pub(in crate::service) jobs: Arc<Semaphore>,
    pub(in crate::service) metrics: Arc<Metrics>,
    pub(in crate::service) liveness: Arc<Liveness>,
    pub(in crate::service) pauses: Arc<PauseRegistry>,
    pub(in crate::service) status: Arc<StatusStore>,
    pub(in crate::service) state: Arc<State>,
    /// Where the monotonic clock begins.
    pub(in crate::service) started: Instant,
}

impl Shared {
    /// A target is to be maintained: it is shown, although nothing is known of it yet.
    pub(in crate::service) fn expect(&self, target: &Target) {
        self.liveness.begin(&target.name);
        self.status.expect(&target.name, &target.uri);
    }

    /// What time it is.
    pub(in crate::service) fn clock(&self) -> Clock {
        Clock {
            wall: clock::not_ahead(),
            monotonic: self.started.elapsed(),
        }
    }

    /// A target is no longer maintained: nothing of it is shown.
    pub(in crate::service) fn forget(&self, target: &str) {
        self.liveness.forget(target);
        self.status.remove_target(target);
    }
}
