//! The state of a keeper: what it knows, how it begins, and what it leaves behind.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use squire_config::{Daemon, Target};
use squire_engine::{
    TableKey,
    planner::{Job, pace::Spent, poll_schedule::LookPolicy},
};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    context::{KeeperConfig, Shared},
    faults::Repeated,
    jobs::Jobs,
    read_results::{Came, Due, Whole},
    reads::Reads,
    table_state::Kept,
    writes::Writes,
};
use crate::{
    api::JobOutcome,
    service::{
        clock,
        schedule::triggers::Forces,
        state::{JobEnd, RestoredTable},
    },
};

/// Keeps one target.
pub(in crate::service) struct Keeper {
    pub(super) target: Target,
    /// Where other orders come from while it works.
    pub(super) orders: watch::Receiver<KeeperConfig>,
    pub(super) shared: Shared,
    pub(super) forces: Arc<Forces>,
    pub(super) looks: LookPolicy,
    /// What was spent on the target as a whole.
    pub(super) spent: Spent,
    /// What an earlier keeper knew of tables that are not found yet.
    pub(super) remembered: BTreeMap<String, RestoredTable>,
    /// Whether it takes writes.
    pub(super) writes: Writes,
    pub(super) tables: BTreeMap<TableKey, Kept>,
    pub(super) reads: Reads<Came>,
    /// What is to be read as soon as there is room, the longest overdue first.
    pub(super) due: VecDeque<Due>,
    /// The target as it was read last.
    pub(super) whole: Option<Whole>,
    /// When the read of it began.
    pub(super) whole_at: Duration,
    /// When a table is looked at before the next tick.
    pub(super) hot: Option<Instant>,
    /// The target was changed while it was read: it is read again.
    pub(super) read_again: bool,
    pub(super) jobs: Jobs,
    pub(super) trouble: Repeated,
    /// Tables that were not there when they were read, and when that was; until the target as a whole was looked at.
    pub(super) missed: BTreeMap<TableKey, Duration>,
    pub(super) look_soon: bool,
    /// Since when a target has no tables that had some.
    pub(super) vanished: Option<Duration>,
    /// Whether the last look at the target as a whole succeeded.
    pub(super) within_reach: bool,
    /// So much was read, or has changed, since it was decided last; and when that was.
    pub(super) taken: usize,
    pub(super) decided: Duration,
    /// Tables that are due and found no place.
    pub(super) backlog: usize,
    /// A place that this keeper stood in line for.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// How often the wall clock had jumped when this keeper acted last.
    pub(super) clock_jumps: u64,
}

impl Keeper {
    pub(in crate::service) fn new(
        mut orders: watch::Receiver<KeeperConfig>,
        mut shared: Shared,
        forces: Arc<Forces>,
    ) -> Self {
        let KeeperConfig { target, daemon } = orders.borrow_and_update().clone();
        shared.daemon = daemon;
        let looks = looks(&shared.daemon);
        let restored = shared
            .state
            .load(&target.name, &target.uri, &shared.clock());
        let pace = target.policies.target_pace();
        let spent = Spent {
            ledger: restored.ledger(&pace),
            pace,
        };
        Self {
            target,
            orders,
            shared,
            forces,
            looks,
            spent,
            remembered: restored.tables,
            writes: Writes::default(),
            tables: BTreeMap::new(),
            reads: Reads::new(true),
            due: VecDeque::new(),
            whole: None,
            whole_at: Duration::ZERO,
            hot: None,
            read_again: false,
            jobs: Jobs::default(),
            trouble: Repeated::default(),
            missed: BTreeMap::new(),
            look_soon: false,
            vanished: None,
            within_reach: false,
            taken: 0,
            decided: Duration::ZERO,
            backlog: 0,
            place: None,
            clock_jumps: clock::jumps(),
        }
    }

    /// Goes by other policies from now on. What is known of the tables stays, and what is at work ends as it began.
    pub(super) fn take_orders(&mut self) {
        let KeeperConfig { target, daemon } = self.orders.borrow_and_update().clone();
        self.target = target;
        self.looks = looks(&daemon);
        self.shared.daemon = daemon;
        self.spent.pace = self.target.policies.target_pace();
        let (name, metrics) = (&self.target.name, &self.shared.metrics);
        for (table, kept) in &mut self.tables {
            let text = table.to_string();
            kept.take_orders(&self.target.policies_of(&text));
            // A table that rests brings no news, and what is small, or due, is another now. None has a version 0.
            if kept.stats.version > 0 {
                metrics.tables.table(name, &text, &kept.stats, &kept.policy);
            }
        }
    }

    /// Keeps no more of a table than where its folder is.
    pub(super) fn bury(&mut self, table: &TableKey) {
        if let Some(kept) = self.tables.get_mut(table) {
            kept.bury();
        }
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.tables.forget(name, &table);
        self.shared.board.forget(name, &table);
    }

    /// Forgets a table that is gone.
    pub(super) fn forget(&mut self, table: &TableKey) {
        self.tables.remove(table);
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.tables.forget(name, &table);
        self.shared.board.forget(name, &table);
    }

    /// Since the daemon started.
    pub(super) fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

fn looks(daemon: &Daemon) -> LookPolicy {
    LookPolicy {
        tick: daemon.tick,
        hot_tick: daemon.hot_tick,
        cold_tick: daemon.cold_tick,
    }
}

impl Drop for Keeper {
    /// A keeper that panicked, or is cut off at the end of the process, leaves jobs behind: whoever saw them begin sees them
    /// end.
    fn drop(&mut self) {
        let why = if std::thread::panicking() {
            "its keeper panicked; it is tried again"
        } else {
            "the daemon stops"
        };
        for Job { table, duty, .. } in self.jobs.abandon() {
            let (name, shared) = (&self.target.name, &self.shared);
            tracing::warn!(target_name = %name, %table, %duty, "job cut off: {why}");
            shared
                .metrics
                .jobs
                .ended(name, duty.as_str(), JobOutcome::Cancelled);
            let (outcome, text) = (JobOutcome::Cancelled, table.to_string());
            shared.board.ended(name, &text, outcome, None);
            if let Some(kept) = self.tables.get_mut(&table) {
                let at = shared.clock();
                let pace = &kept.policy.pace;
                let charge = kept.history.end(duty, at.monotonic, true, 0, pace);
                let history = kept.history.of(duty);
                let end = JobEnd {
                    duty,
                    charge,
                    history,
                };
                shared.state.ended(name, &text, &end, &at);
            }
        }
    }
}
