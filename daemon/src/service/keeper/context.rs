//! What a keeper is given: its configuration, what it shares with other keepers, and what ends it.

use std::{sync::Arc, time::Instant};

use squire_config::{Daemon, Target};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::service::{
    clock,
    liveness::Pulse,
    metrics::Metrics,
    pauses::PauseBook,
    state::{Clock, State},
    status::Board,
};

/// What a keeper goes by; it may change while it works.
#[derive(Clone, Debug)]
pub(in crate::service) struct KeeperConfig {
    pub(in crate::service) target: Target,
    pub(in crate::service) daemon: Daemon,
}

/// What ends a keeper.
#[derive(Clone, Debug)]
pub(in crate::service) struct Shutdown {
    /// It takes no more work; its jobs go on to their end. Comes with `stop`, too.
    pub(in crate::service) leave: CancellationToken,
    /// The daemon stops: its jobs give up what they have not committed.
    pub(in crate::service) stop: CancellationToken,
}

/// What all keepers of a daemon share.
#[derive(Clone)]
pub(in crate::service) struct Shared {
    pub(in crate::service) daemon: Daemon,
    /// Places for jobs, over all targets.
    pub(in crate::service) jobs: Arc<Semaphore>,
    pub(in crate::service) metrics: Arc<Metrics>,
    pub(in crate::service) pulse: Arc<Pulse>,
    pub(in crate::service) pauses: Arc<PauseBook>,
    pub(in crate::service) board: Arc<Board>,
    pub(in crate::service) state: Arc<State>,
    /// Where the monotonic clock begins.
    pub(in crate::service) started: Instant,
}

impl Shared {
    /// A target is to be kept: it is shown, although nothing is known of it yet.
    pub(in crate::service) fn expect(&self, target: &Target) {
        self.pulse.begin(&target.name);
        self.board.expect(&target.name, &target.uri);
    }

    /// What time it is.
    pub(in crate::service) fn clock(&self) -> Clock {
        Clock {
            wall: clock::not_ahead(),
            monotonic: self.started.elapsed(),
        }
    }

    /// A target is kept no more: nothing of it is shown.
    pub(in crate::service) fn forget(&self, target: &str) {
        self.pulse.forget(target);
        self.board.let_go(target);
    }
}
