//! A keeper: looks at one target on every tick, lets the planner decide, and runs the jobs.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the keeper, and its loop |
//! | [`look`] | what is there: tables and their statistics |
//! | [`listing`] | when versions are listed |
//! | [`decide`] | what to do, and why not |
//! | [`work`] | the jobs, from their start to their end |
//! | [`writes`] | whether the target takes writes |
//! | [`kept`] | what is known of one table |

mod decide;
mod kept;
mod listing;
mod look;
mod work;
mod writes;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use squire_config::{Daemon, Drift, Target};
use squire_engine::{
    DriftPolicy, Options, TableKey,
    maintenance::{looks::LookPolicy, pace::Spent},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::{kept::Kept, look::Seen, work::Ended, writes::Writes};
use super::{
    board::Board,
    crew::Until,
    metrics::Metrics,
    pauses::PauseBook,
    pulse::Pulse,
    schedule::{Call, Forces},
    state::{Clock, RestoredTable, State},
    upkeep::Upkeep,
};
use crate::{
    opened::{Opened, beyond},
    policy,
};

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
            wall: Utc::now(),
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
    /// Where other policies come from while it works.
    told: watch::Receiver<Target>,
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
    at_work: JoinSet<Ended>,
    failing: Option<String>,
    /// Whether the last look at the target as a whole succeeded.
    within_reach: bool,
    /// Tables are due for a look that the last one had no room for.
    behind: bool,
    /// Tables that are due and found no place.
    backlog: usize,
    /// A place that this keeper stood in line for.
    place: Option<OwnedSemaphorePermit>,
}

impl Keeper {
    pub(super) fn new(
        mut told: watch::Receiver<Target>,
        shared: Shared,
        forces: Arc<Forces>,
    ) -> Self {
        let target = told.borrow_and_update().clone();
        let looks = LookPolicy {
            tick: shared.daemon.tick,
            hot_tick: shared.daemon.hot_tick,
            cold_tick: shared.daemon.cold_tick,
        };
        let restored = shared
            .state
            .load(&target.name, &target.uri, &shared.clock());
        let spent = Spent {
            pace: policy::of_target(&target.policies),
            ledger: restored.ledger,
        };
        Self {
            target,
            told,
            shared,
            forces,
            looks,
            spent,
            remembered: restored.tables,
            writes: Writes::default(),
            tables: BTreeMap::new(),
            at_work: JoinSet::new(),
            failing: None,
            within_reach: false,
            behind: false,
            backlog: 0,
            place: None,
        }
    }

    /// Runs until it is time to leave; then waits for what is at work to end in order.
    pub(super) async fn run(mut self, until: &Until) {
        let metrics = self.shared.metrics.clone();
        metrics.begins(&self.target.name, &self.target.uri);
        while let Some(opened) = self.open(&until.leave).await {
            // The dead are healed for as long as a job is at work: the next keeper begins only after the last of them.
            let over = until.stop.child_token();
            let upkeep = self.upkeep(&opened, &over);
            self.keep(&opened, until).await;
            self.see_jobs_end().await;
            over.cancel();
            // A round of healing that has begun is finished, or its heartbeat would come after the leave.
            upkeep.join_all().await;
            opened.close().await;
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
            drift: match self.target.drift {
                Drift::Error => DriftPolicy::Error,
                Drift::Adopt => DriftPolicy::Adopt,
            },
            beyond: beyond(&self.target),
            ..Options::default()
        };
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                opened = Opened::open(&self.target.uri, self.target.kind, options.clone()) => opened,
            };
            match opened {
                Ok(opened) => {
                    tracing::info!(target_name = %self.target.name, uri = opened.uri(), kind = %opened.kind(), "keeping a target");
                    self.shared.metrics.opened(&self.target.name, opened.kind());
                    self.shared
                        .board
                        .opened(&self.target.name, opened.uri(), opened.kind());
                    return Some(opened);
                }
                Err(e) => self.looked(Some(e.to_string())),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(self.shared.daemon.tick) => {}
            }
        }
    }

    /// Starts what a graph needs beside the looks.
    fn upkeep(&self, opened: &Opened, stop: &CancellationToken) -> JoinSet<()> {
        let mut upkeep = JoinSet::new();
        if let Opened::Graph(graph) = opened {
            let upkeeper = Upkeep {
                graph: graph.clone(),
                target: self.target.clone(),
                told: self.told.clone(),
                daemon: self.shared.daemon.clone(),
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
        let mut ticks = interval(self.shared.daemon.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A keeper with a backlog stands in line for the next free place, behind the other targets' keepers.
        let mut in_line = None;
        loop {
            if self.backlog > 0 && in_line.is_none() {
                in_line = Some(Box::pin(self.shared.jobs.clone().acquire_owned()));
            }
            let hot = self.next_hot_look();
            let seen = tokio::select! {
                biased;
                () = leave.cancelled() => return,
                Ok(()) = self.told.changed() => {
                    self.take_orders();
                    Seen::Looked
                }
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
                Some(ended) = self.at_work.join_next() => match ended {
                    // A freed table may be due again, by its new layout.
                    Ok(ended) => {
                        let table = ended.job.table.clone();
                        self.ended(ended);
                        self.look_at_own_work(opened, &table).await
                    }
                    Err(_) => Seen::Looked,
                },
                () = self.forces.called() => self.look(opened).await,
                _ = ticks.tick() => self.look(opened).await,
                () = std::future::ready(()), if self.behind => self.look(opened).await,
                () = async {
                    match hot {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                } => self.look_between_ticks(opened).await,
            };
            if let Seen::Another = seen {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "a graph was made where a directory was kept: it is kept as a graph from now on");
                return;
            }
            self.force();
            if self.within_reach {
                self.list_versions(opened).await;
                self.look_for_left_over_files(opened).await;
            }
            self.act(opened, stop);
        }
    }

    /// Waits for what is at work. A long job is no keeper that is stuck.
    async fn see_jobs_end(&mut self) {
        let mut beats = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = self.at_work.join_next() => match ended {
                    Some(Ok(ended)) => self.ended(ended),
                    Some(Err(_)) => {}
                    None => return,
                },
                _ = beats.tick() => self.shared.pulse.beat(&self.target.name),
            }
        }
    }

    /// Goes by other policies from now on. What is known of the tables stays, and what is at work ends as it began.
    fn take_orders(&mut self) {
        self.target = self.told.borrow_and_update().clone();
        self.spent.pace = policy::of_target(&self.target.policies);
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

    /// When a table is looked at before the next tick.
    fn next_hot_look(&self) -> Option<Instant> {
        if !self.within_reach {
            return None;
        }
        // What a job of one's own is at work on is looked at when it ends.
        let kept = self.tables.values().filter(|k| k.history.running.is_none());
        let next = kept.filter_map(|kept| kept.looks.between_ticks(&self.looks));
        next.min().map(|next| self.shared.started + next)
    }

    /// Leaves the thresholds of the duties aside that a schedule or a person calls for. What is called for before tables
    /// are known waits for them. A schedule's call waits for the end of a pause, too; a person's does not: he means now.
    fn force(&mut self) {
        let name = &self.target.name;
        let now = Utc::now();
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
                    let (state, clock) = (&self.shared.state, self.shared.clock());
                    state.forced(name, &text, &kept.forced, &clock);
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

/// This machine's name.
pub(super) fn host() -> String {
    Options::default()
        .actor
        .rsplit_once('@')
        .map_or_else(|| "unknown".to_owned(), |(_, host)| host.to_owned())
}
