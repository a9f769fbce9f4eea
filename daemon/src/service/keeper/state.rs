//! The state of a keeper: what it knows, how it begins, and what it leaves behind.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use squire_config::{Daemon, Target};
use squire_engine::{
    TableKey,
    planner::{Job, pace::Spent, poll_schedule::PollPolicy},
};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    context::{KeeperConfig, Shared},
    faults::Repeated,
    jobs::Jobs,
    read_results::{Due, ReadOutcome, TargetState},
    reads::Reads,
    table_state::TableState,
    writes::Writes,
};
use crate::{
    api::JobOutcome,
    service::{
        clock,
        schedule::triggers::Triggers,
        state::{JobEnd, RestoredTable},
    },
};

/// Maintains one target.
pub(in crate::service) struct Keeper {
    pub(super) target: Target,
    /// Config updates.
    pub(super) config: watch::Receiver<KeeperConfig>,
    pub(super) shared: Shared,
    pub(super) triggers: Arc<Triggers>,
    pub(super) poll_policy: PollPolicy,
    /// What was spent on the target as a whole.
    pub(super) spent: Spent,
    /// What an earlier keeper knew of tables that are not found yet.
    pub(super) remembered: BTreeMap<String, RestoredTable>,
    /// Whether it takes writes.
    pub(super) writes: Writes,
    pub(super) tables: BTreeMap<TableKey, TableState>,
    pub(super) reads: Reads<ReadOutcome>,
    /// What is to be read as soon as there is room, the longest overdue first.
    pub(super) due: VecDeque<Due>,
    /// The target as it was read last.
    pub(super) whole: Option<TargetState>,
    /// When the read of it began.
    pub(super) whole_at: Duration,
    /// When a table is polled before the next tick.
    pub(super) hot: Option<Instant>,
    /// The target was changed while it was read: it is read again.
    pub(super) read_again: bool,
    pub(super) jobs: Jobs,
    pub(super) trouble: Repeated,
    /// Tables that were not there when they were read, and when that was; until the target as a whole was looked at.
    pub(super) missed: BTreeMap<TableKey, Duration>,
    pub(super) poll_soon: bool,
    /// Since when a target has no tables that had some.
    pub(super) vanished: Option<Duration>,
    /// Whether the last poll of the target as a whole succeeded.
    pub(super) within_reach: bool,
    /// How much was read, or has changed, since the planner was asked; and when that was.
    pub(super) taken: usize,
    pub(super) decided: Duration,
    /// Tables that are due and found no job slot.
    pub(super) backlog: usize,
    /// A job slot that this keeper queued for.
    pub(super) slot: Option<OwnedSemaphorePermit>,
    /// How often the wall clock had jumped when this keeper acted last.
    pub(super) clock_jumps: u64,
}

impl Keeper {
    pub(in crate::service) fn new(
        mut config: watch::Receiver<KeeperConfig>,
        mut shared: Shared,
        triggers: Arc<Triggers>,
    ) -> Self {
        let KeeperConfig { target, daemon } = config.borrow_and_update().clone();
        shared.daemon = daemon;
        let poll_policy = poll_policy(&shared.daemon);
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
            config,
            shared,
            triggers,
            poll_policy,
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
            poll_soon: false,
            vanished: None,
            within_reach: false,
            taken: 0,
            decided: Duration::ZERO,
            backlog: 0,
            slot: None,
            clock_jumps: clock::jumps(),
        }
    }

    /// Applies a config update. What is known of the tables stays, and running jobs end as they began.
    pub(super) fn apply_config(&mut self) {
        let KeeperConfig { target, daemon } = self.config.borrow_and_update().clone();
        self.target = target;
        self.poll_policy = poll_policy(&daemon);
        self.shared.daemon = daemon;
        self.spent.pace = self.target.policies.target_pace();
        let (name, metrics) = (&self.target.name, &self.shared.metrics);
        for (table, kept) in &mut self.tables {
            let text = table.to_string();
            kept.apply_config(&self.target.policies_of(&text));
            // A table that rests brings no news, and what is small, or due, is another now. None has a version 0.
            if kept.stats.version > 0 {
                metrics.tables.table(name, &text, &kept.stats, &kept.policy);
            }
        }
    }

    /// Marks a table as missing: nothing is kept of it but where its folder is.
    pub(super) fn mark_missing(&mut self, table: &TableKey) {
        if let Some(kept) = self.tables.get_mut(table) {
            kept.mark_missing();
        }
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.tables.forget(name, &table);
        self.shared.status.forget(name, &table);
    }

    /// Forgets a table that is gone.
    pub(super) fn forget(&mut self, table: &TableKey) {
        self.tables.remove(table);
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.tables.forget(name, &table);
        self.shared.status.forget(name, &table);
    }

    /// Since the daemon started.
    pub(super) fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

fn poll_policy(daemon: &Daemon) -> PollPolicy {
    PollPolicy {
        tick: daemon.tick,
        hot_tick: daemon.hot_tick,
        cold_tick: daemon.cold_tick,
    }
}

impl Drop for Keeper {
    /// A keeper that panicked, or is cut off at the end of the process, leaves jobs behind: a client that saw them
    /// begin sees them end.
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
            shared.status.ended(name, &text, outcome, None);
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
