//! A keeper: looks at one target on every tick, lets the planner decide, and runs the jobs.
//!
//! Its loop waits for nothing but the next event: whatever reads or writes is a task of its own. So nothing that hangs holds
//! the keeper, a job place or a stop.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the keeper, and its loop |
//! | [`reads`] | reads that are under way |
//! | [`refresh`] | what is read, and what is made of the target as a whole |
//! | [`tables`], [`lists`] | the same of tables, and of their versions |
//! | [`listing`] | when versions are listed |
//! | [`decide`] | what to do, and why not |
//! | [`work`] | the jobs, from their start to their end |
//! | [`jobs`] | jobs that are at work, and those that stand still |
//! | [`writes`] | whether the target takes writes |
//! | [`faults`] | what stands in the way, and when that is told |
//! | [`table_state`] | what is known of one table |

mod decide;
mod faults;
mod graph_upkeep;
mod jobs;
mod listing;
mod lists;
mod reads;
mod refresh;
mod table_state;
mod tables;
mod work;
mod writes;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use squire_config::{Daemon, Target};
use squire_engine::{
    Options, TableKey,
    planner::{Job, pace::Spent, poll_schedule::LookPolicy},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    faults::{Repeated, Trouble},
    jobs::Jobs,
    reads::Reads,
    refresh::{Came, Due, Seen, Whole},
    table_state::Kept,
    writes::Writes,
};
use super::{
    clock,
    liveness::Pulse,
    metrics::Metrics,
    pauses::PauseBook,
    schedule::triggers::{Call, Forces},
    state::{Clock, JobEnd, RestoredTable, State},
    status::{Board, words::Ending},
    supervisor::Until,
};
use crate::target::{Opened, beyond};
use graph_upkeep::Upkeep;

/// How often a keeper sees whether anything that is under way stands still.
const BEAT: Duration = Duration::from_secs(1);
/// So long a keeper that leaves waits for a round of healing, and then for its heartbeat to go. What is cut off there is
/// found by whoever comes next.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// While reads are under way, it is decided anew after so many, or after this time.
const TAKEN_AT_ONCE: usize = 32;
const DECIDED_EVERY: Duration = Duration::from_millis(250);

/// What a keeper goes by; it may change while it works.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) target: Target,
    pub(super) daemon: Daemon,
}

/// What all keepers of a daemon share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) daemon: Daemon,
    /// Places for jobs, over all targets.
    pub(super) jobs: Arc<Semaphore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) pauses: Arc<PauseBook>,
    pub(super) board: Arc<Board>,
    pub(super) state: Arc<State>,
    /// Where the monotonic clock begins.
    pub(super) started: Instant,
}

impl Shared {
    /// A target is to be kept: it is shown, although nothing is known of it yet.
    pub(super) fn expect(&self, target: &Target) {
        self.pulse.begin(&target.name);
        self.board.expect(&target.name, &target.uri);
    }

    /// What time it is.
    pub(super) fn clock(&self) -> Clock {
        Clock {
            wall: clock::not_ahead(),
            monotonic: self.started.elapsed(),
        }
    }

    /// A target is kept no more: nothing of it is shown.
    pub(super) fn forget(&self, target: &str) {
        self.pulse.forget(target);
        self.board.let_go(target);
    }
}

/// Keeps one target.
pub(super) struct Keeper {
    target: Target,
    /// Where other orders come from while it works.
    orders: watch::Receiver<Orders>,
    shared: Shared,
    forces: Arc<Forces>,
    looks: LookPolicy,
    /// What was spent on the target as a whole.
    spent: Spent,
    /// What an earlier keeper knew of tables that are not found yet.
    remembered: BTreeMap<String, RestoredTable>,
    /// Whether it takes writes.
    writes: Writes,
    tables: BTreeMap<TableKey, Kept>,
    reads: Reads<Came>,
    /// What is to be read as soon as there is room, the longest overdue first.
    due: VecDeque<Due>,
    /// The target as it was read last.
    whole: Option<Whole>,
    /// When the read of it began.
    whole_at: Duration,
    /// When a table is looked at before the next tick.
    hot: Option<Instant>,
    /// The target was changed while it was read: it is read again.
    read_again: bool,
    jobs: Jobs,
    trouble: Repeated,
    /// Tables that were not there when they were read, and when that was; until the target as a whole was looked at.
    missed: BTreeMap<TableKey, Duration>,
    look_soon: bool,
    /// Since when a target has no tables that had some.
    vanished: Option<Duration>,
    /// Whether the last look at the target as a whole succeeded.
    within_reach: bool,
    /// So much was read, or has changed, since it was decided last; and when that was.
    taken: usize,
    decided: Duration,
    /// Tables that are due and found no place.
    backlog: usize,
    /// A place that this keeper stood in line for.
    place: Option<OwnedSemaphorePermit>,
    /// How often the wall clock had jumped when this keeper acted last.
    clock_jumps: u64,
}

impl Keeper {
    pub(super) fn new(
        mut orders: watch::Receiver<Orders>,
        mut shared: Shared,
        forces: Arc<Forces>,
    ) -> Self {
        let Orders { target, daemon } = orders.borrow_and_update().clone();
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

    /// Runs until it is time to leave; then waits for what is at work to end in order.
    pub(super) async fn run(mut self, until: &Until) {
        let metrics = self.shared.metrics.clone();
        metrics.begins(&self.target.name, &self.target.uri);
        while let Some(opened) = self.open(&until.leave).await {
            // The dead are healed for as long as a job is at work: the next keeper begins only after the last of them.
            let over = until.stop.child_token();
            let mut upkeep = self.upkeep(&opened, &over);
            self.reads = Reads::new(!opened.is_on_disk());
            self.keep(&opened, until).await;
            self.reads = Reads::new(true);
            (self.due, self.whole, self.read_again) = (VecDeque::new(), None, false);
            self.tables.values_mut().for_each(Kept::read_no_more);
            self.see_jobs_end().await;
            over.cancel();
            // A round of healing that has begun is finished, or its heartbeat would come after the leave.
            let finished = async { while upkeep.join_next().await.is_some() {} };
            if timeout(LEAVE_PATIENCE, finished).await.is_err() {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "a round of healing did not end in time and is cut off; whoever comes next goes on with it");
                upkeep.shutdown().await;
            }
            if timeout(LEAVE_PATIENCE, opened.close()).await.is_err() {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "the heartbeat could not be taken back in time; it goes when its lease is over");
            }
            // It goes on only where the target has become something else.
            let gone: Vec<_> = self.tables.keys().cloned().collect();
            gone.iter().for_each(|table| self.forget(table));
        }
        metrics.ends(&self.target.name);
    }

    /// Opens the target, again and again until it is there.
    async fn open(&mut self, stop: &CancellationToken) -> Option<Opened> {
        let options = Options {
            actor: format!("squire@{}", host()),
            lease: self.shared.daemon.lease,
            drift: self.target.drift,
            beyond: beyond(&self.target),
            ..Options::default()
        };
        let mut beats = beats();
        loop {
            let opened = {
                let Target { uri, kind, .. } = self.target.clone();
                let options = options.clone();
                let opening = async move { Opened::open(&uri, kind, options).await };
                let mut opening = std::pin::pin!(opening);
                let patience = self.shared.daemon.look_timeout;
                let mut late = std::pin::pin!(tokio::time::sleep(patience));
                let mut in_time = true;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return None,
                        opened = &mut opening => break opened,
                        // It is not begun anew: on a disk that hangs, each attempt would hold another thread.
                        () = &mut late, if in_time => {
                            in_time = false;
                            self.looked(Err(Trouble::NoAnswer(patience)));
                            self.shared.pulse.answers(&self.target.name, false);
                        }
                        _ = beats.tick() => self.shared.pulse.beat(&self.target.name),
                    }
                }
            };
            self.shared.pulse.answers(&self.target.name, true);
            match opened {
                Ok(opened) => {
                    tracing::info!(target_name = %self.target.name, uri = opened.uri(), kind = %opened.kind(), "keeping a target");
                    self.shared.metrics.opened(&self.target.name, opened.kind());
                    self.shared
                        .board
                        .opened(&self.target.name, opened.uri(), opened.kind());
                    return Some(opened);
                }
                Err(e) => self.looked(Err(Trouble::Failed(e))),
            }
            let mut pause = std::pin::pin!(tokio::time::sleep(self.shared.daemon.tick));
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    () = &mut pause => break,
                    _ = beats.tick() => self.shared.pulse.beat(&self.target.name),
                }
            }
        }
    }

    /// Starts what a graph needs beside the looks.
    fn upkeep(&self, opened: &Opened, stop: &CancellationToken) -> JoinSet<()> {
        let mut upkeep = JoinSet::new();
        if let Opened::Graph(graph) = opened {
            let upkeeper = Upkeep {
                graph: graph.clone(),
                name: self.target.name.clone(),
                orders: self.orders.clone(),
                metrics: self.shared.metrics.clone(),
                stop: stop.clone(),
            };
            upkeep.spawn(upkeeper.clone().heal());
            upkeep.spawn(upkeeper.clone().watch_sidecars());
            upkeep.spawn(upkeeper.adopt_drift());
        }
        upkeep
    }

    /// Looks, decides and starts jobs until it is time to leave, or until the target is something else.
    async fn keep(&mut self, opened: &Opened, until: &Until) {
        let Until { leave, stop } = until;
        let mut ticks = self.ticks();
        let mut beats = beats();
        // A keeper with a backlog stands in line for the next free place, behind the other targets' keepers.
        let mut in_line = None;
        loop {
            self.shared.pulse.beat(&self.target.name);
            if self.backlog > 0 && in_line.is_none() {
                in_line = Some(Box::pin(self.shared.jobs.clone().acquire_owned()));
            }
            let hot = self.hot;
            let mut seen = Seen::Looked;
            // Nothing is awaited in what follows an event: a place that comes meanwhile would lie idle.
            tokio::select! {
                biased;
                () = leave.cancelled() => return,
                Ok(()) = self.orders.changed() => {
                    let tick = self.looks.tick;
                    self.take_orders();
                    if self.looks.tick != tick {
                        ticks = self.ticks();
                    }
                    self.taken += 1;
                }
                _ = ticks.tick() => self.look(opened),
                _ = beats.tick() => self.watch(opened),
                place = async {
                    match &mut in_line {
                        Some(place) => place.await,
                        None => std::future::pending().await,
                    }
                } => {
                    // It is taken by what is known: nobody else should wait for a look.
                    in_line = None;
                    self.place = place.ok();
                    self.act(opened, stop);
                    self.place = None;
                    continue;
                }
                ended = self.jobs.next() => {
                    let table = ended.job.table.clone();
                    self.ended(ended);
                    // A freed table may be due again, by its new layout.
                    self.look_at_own_work(opened, &table);
                    self.taken += 1;
                }
                () = self.forces.called() => {
                    self.force();
                    self.look(opened);
                    self.taken += 1;
                }
                () = async {
                    match hot {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                } => {
                    self.hot = None;
                    self.look_between_ticks(opened);
                }
                ended = self.reads.next() => {
                    seen = self.take_in(opened, ended);
                    while let Some(ended) = self.reads.try_next() {
                        seen = seen.or(self.take_in(opened, ended));
                    }
                }
            };
            if let Seen::Another = seen {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "a graph was made where a directory was kept: it is kept as a graph from now on");
                return;
            }
            if std::mem::take(&mut self.look_soon) {
                self.look(opened);
            }
            self.read_due(opened);
            let waits = !self.reads.is_idle()
                && self.taken < TAKEN_AT_ONCE
                && self.now() < self.decided + DECIDED_EVERY;
            if self.taken > 0 && !waits {
                (self.taken, self.decided) = (0, self.now());
                self.force();
                self.act(opened, stop);
                self.find_lists_due();
                self.read_due(opened);
                self.hot = self.next_hot_look();
            }
        }
    }

    /// Sees whether anything that is under way stands still.
    fn watch(&mut self, opened: &Opened) {
        self.give_up_reads(opened);
        self.give_up_jobs();
    }

    /// Waits for what is at work. A long job is no keeper that is stuck, and one that stands still does not hold the
    /// next keeper.
    async fn see_jobs_end(&mut self) {
        let mut beats = beats();
        while !self.jobs.is_empty() {
            tokio::select! {
                ended = self.jobs.next() => self.ended(ended),
                _ = beats.tick() => {
                    self.shared.pulse.beat(&self.target.name);
                    self.give_up_jobs();
                }
            }
        }
    }

    /// Goes by other policies from now on. What is known of the tables stays, and what is at work ends as it began.
    fn take_orders(&mut self) {
        let Orders { target, daemon } = self.orders.borrow_and_update().clone();
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
                metrics.table(name, &text, &kept.stats, &kept.policy);
            }
        }
    }

    fn ticks(&self) -> Interval {
        let mut ticks = interval(self.looks.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// When a table is looked at before the next tick.
    fn next_hot_look(&self) -> Option<Instant> {
        if !self.within_reach {
            return None;
        }
        // What a job of one's own is at work on is looked at when it ends.
        let kept = self
            .tables
            .values()
            .filter(|kept| kept.history.running.is_none() && !kept.being_read);
        let next = kept.filter_map(|kept| kept.looks.between_ticks(&self.looks));
        next.min().map(|next| self.shared.started + next)
    }

    /// Leaves the thresholds of the duties aside that a schedule or a person calls for. What is called for before tables
    /// are known waits for them. A schedule's call waits for the end of a pause, too; a person's does not: he means now.
    fn force(&mut self) {
        let name = &self.target.name;
        let now = clock::not_ahead();
        for call in self.forces.take(!self.tables.is_empty()) {
            let duty = match &call {
                Call::Schedule(duty, cron) => {
                    tracing::info!(target_name = %name, cron, "the schedule forces {duty}");
                    *duty
                }
                Call::Person(duty, table) => {
                    tracing::info!(target_name = %name, table = table.as_deref().unwrap_or("all"), "a person forces {duty}");
                    *duty
                }
            };
            for (key, kept) in &mut self.tables {
                let text = key.to_string();
                let meant = match &call {
                    Call::Schedule(_, cron) => kept.crons.get(&duty) == Some(cron),
                    Call::Person(_, table) => {
                        let paused = self.shared.pauses.until(name, &text, now).is_some();
                        table.as_ref().is_none_or(|table| *table == text) && !paused
                    }
                };
                if meant {
                    kept.unneeded.remove(&duty);
                    kept.forced.insert(duty);
                    if let Call::Person(..) = call {
                        kept.history.forgive(duty);
                        self.writes.made_room();
                    }
                    let (state, clock) = (&self.shared.state, self.shared.clock());
                    state.forced(name, &text, &kept.forced, &clock);
                    if let Call::Person(..) = call {
                        state.forgiven(name, &text, duty);
                    }
                }
            }
        }
    }

    /// Keeps no more of a table than where its folder is.
    fn bury(&mut self, table: &TableKey) {
        if let Some(kept) = self.tables.get_mut(table) {
            kept.bury();
        }
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.forget_table(name, &table);
        self.shared.board.forget(name, &table);
    }

    /// Forgets a table that is gone.
    fn forget(&mut self, table: &TableKey) {
        self.tables.remove(table);
        let (name, table) = (&self.target.name, table.to_string());
        self.shared.metrics.forget_table(name, &table);
        self.shared.board.forget(name, &table);
    }

    /// Since the daemon started.
    fn now(&self) -> Duration {
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
            shared.metrics.job(name, duty.as_str(), "cancelled");
            let (ending, text) = (Ending::Cancelled, table.to_string());
            shared.board.ended(name, &text, ending, None);
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

/// Ticks to see by whether something stands still.
fn beats() -> Interval {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// This machine's name.
pub(super) fn host() -> String {
    Options::default()
        .actor
        .rsplit_once('@')
        .map_or_else(|| "unknown".to_owned(), |(_, host)| host.to_owned())
}
