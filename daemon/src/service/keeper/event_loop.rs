//! The loop of a keeper: one event after the other.

use std::{
    collections::VecDeque,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    context::Shutdown,
    graph_upkeep::Upkeep,
    jobs,
    read_results::{PollOutcome, ReadOutcome},
    reads::{self, Reads},
    state::Keeper,
    table_state::TableState,
    ticks::beats,
};
use crate::target::Opened;

/// Timeout for the end of a round of healing when a keeper detaches, and then for the removal of its heartbeat. What is
/// cut off is recovered by the next process.
const DETACH_TIMEOUT: Duration = Duration::from_secs(10);
/// While reads are in flight, the planner is asked again after this many events, or after this time.
const TAKEN_AT_ONCE: usize = 32;
const DECIDED_EVERY: Duration = Duration::from_millis(250);

/// What a keeper waits for.
enum Event {
    /// The target is to be detached, or the daemon stops.
    Detach,
    /// Another configuration is in force.
    Config,
    /// The target is to be polled.
    Tick,
    /// It is time to check whether anything is stuck.
    Beat,
    /// A job slot is free, and it is this keeper's turn; none where there are no slots any more.
    Slot(Option<OwnedSemaphorePermit>),
    /// A job has ended.
    JobEnded(jobs::Ended),
    /// A schedule or a user requests a duty.
    Triggered,
    /// Tables that are written often are to be polled before the next tick.
    HotPoll,
    /// A read has ended.
    ReadEnded(reads::Ended<ReadOutcome>),
}

/// How the loop goes on after an event.
enum Flow {
    /// The planner is asked when enough has changed.
    Plan,
    /// The planner was asked already.
    Planned,
    /// The loop ends.
    Leave,
}

/// A turn in the queue for the next free job slot.
type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// What a keeper waits for besides its jobs and reads.
struct Timers {
    ticks: Interval,
    beats: Interval,
    /// A keeper with a backlog queues for the next free slot, behind the keepers of other targets.
    turn: Option<Turn>,
}

impl Keeper {
    /// Runs until it is detached; then waits for its jobs to end in order.
    pub(in crate::service) async fn run(mut self, shutdown: &Shutdown) {
        let metrics = self.shared.metrics.clone();
        metrics.begins(&self.target.name, &self.target.uri);
        while let Some(opened) = self.open(&shutdown.detach).await {
            // The dead are healed for as long as a job is running: the next keeper begins only after the last of them.
            let over = shutdown.stop.child_token();
            let mut upkeep = self.upkeep(&opened, &over);
            self.reads = Reads::new(!opened.is_on_disk());
            self.keep(&opened, shutdown).await;
            self.reads = Reads::new(true);
            (self.due, self.whole, self.read_again) = (VecDeque::new(), None, false);
            self.tables.values_mut().for_each(TableState::read_no_more);
            self.see_jobs_end().await;
            over.cancel();
            // A round of healing that has begun is finished, or its heartbeat would come after the leave.
            let finished = async { while upkeep.join_next().await.is_some() {} };
            if timeout(DETACH_TIMEOUT, finished).await.is_err() {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "a round of healing did not end in time and is cut off; the next process goes on with it");
                upkeep.shutdown().await;
            }
            if timeout(DETACH_TIMEOUT, opened.close()).await.is_err() {
                tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "the heartbeat could not be taken back in time; it goes when its lease is over");
            }
            // It goes on only where the target has become something else.
            let gone: Vec<_> = self.tables.keys().cloned().collect();
            gone.iter().for_each(|table| self.forget(table));
        }
        metrics.ends(&self.target.name);
    }

    /// Starts what a graph needs beside the looks.
    fn upkeep(&self, opened: &Opened, stop: &CancellationToken) -> JoinSet<()> {
        let mut upkeep = JoinSet::new();
        if let Opened::Graph(graph) = opened {
            let upkeeper = Upkeep {
                graph: graph.clone(),
                name: self.target.name.clone(),
                config: self.config.clone(),
                metrics: self.shared.metrics.clone(),
                status: self.shared.status.clone(),
                stop: stop.clone(),
            };
            upkeep.spawn(upkeeper.clone().heal());
            upkeep.spawn(upkeeper.clone().watch_sidecars());
            upkeep.spawn(upkeeper.adopt_drift());
        }
        upkeep
    }

    /// Polls, decides and starts jobs until the keeper is to detach, or until the target is something else.
    async fn keep(&mut self, opened: &Opened, shutdown: &Shutdown) {
        let mut timers = Timers {
            ticks: self.ticks(),
            beats: beats(),
            turn: None,
        };
        loop {
            self.shared.liveness.beat(&self.target.name);
            if self.backlog > 0 && timers.turn.is_none() {
                timers.turn = Some(Box::pin(self.shared.jobs.clone().acquire_owned()));
            }
            let event = self.next_event(&mut timers, &shutdown.detach).await;
            // Nothing is awaited from here on: a slot that becomes free meanwhile would stay idle.
            match self.handle(event, &mut timers, opened, &shutdown.stop) {
                Flow::Plan => self.follow_up(opened, &shutdown.stop),
                Flow::Planned => {}
                Flow::Leave => return,
            }
        }
    }

    /// The next event, the most urgent first. None is lost when this is dropped.
    async fn next_event(&mut self, timers: &mut Timers, detach: &CancellationToken) -> Event {
        tokio::select! {
            biased;
            () = detach.cancelled() => Event::Detach,
            Ok(()) = self.config.changed() => Event::Config,
            _ = timers.ticks.tick() => Event::Tick,
            _ = timers.beats.tick() => Event::Beat,
            slot = turn(&mut timers.turn) => Event::Slot(slot.ok()),
            ended = self.jobs.next() => Event::JobEnded(ended),
            () = self.triggers.notified() => Event::Triggered,
            () = at(self.hot) => Event::HotPoll,
            ended = self.reads.next() => Event::ReadEnded(ended),
        }
    }

    /// Handles one event.
    fn handle(
        &mut self,
        event: Event,
        timers: &mut Timers,
        opened: &Opened,
        stop: &CancellationToken,
    ) -> Flow {
        match event {
            Event::Detach => return Flow::Leave,
            Event::Config => {
                let tick = self.poll_policy.tick;
                self.apply_config();
                if self.poll_policy.tick != tick {
                    timers.ticks = self.ticks();
                }
                self.taken += 1;
            }
            Event::Tick => self.poll(opened),
            Event::Beat => self.watch(opened),
            Event::Slot(slot) => {
                // It is used by what is known: no other keeper should wait for a poll.
                timers.turn = None;
                self.slot = slot;
                self.act(opened, stop);
                self.slot = None;
                return Flow::Planned;
            }
            Event::JobEnded(ended) => {
                let table = ended.job.table.clone();
                self.ended(ended);
                // The table may be due again, by its new layout.
                self.poll_own_work(opened, &table);
                self.taken += 1;
            }
            Event::Triggered => {
                self.force();
                self.poll(opened);
                self.taken += 1;
            }
            Event::HotPoll => {
                self.hot = None;
                self.poll_between_ticks(opened);
            }
            Event::ReadEnded(ended) => {
                let mut seen = self.take_in(opened, ended);
                while let Some(ended) = self.reads.try_next() {
                    seen = seen.or(self.take_in(opened, ended));
                }
                if let PollOutcome::BecameGraph = seen {
                    tracing::warn!(target_name = %self.target.name, uri = opened.uri(), "a graph was made where a directory was kept: it is kept as a graph from now on");
                    return Flow::Leave;
                }
            }
        }
        Flow::Plan
    }

    /// Begins the reads that are due, and asks the planner when enough has changed.
    fn follow_up(&mut self, opened: &Opened, stop: &CancellationToken) {
        if std::mem::take(&mut self.poll_soon) {
            self.poll(opened);
        }
        self.read_due(opened);
        let waits = !self.reads.is_idle()
            && self.taken < TAKEN_AT_ONCE
            && self.now() < self.decided + DECIDED_EVERY;
        if self.taken > 0 && !waits {
            (self.taken, self.decided) = (0, self.now());
            self.force();
            self.act(opened, stop);
            self.schedule_lists();
            self.read_due(opened);
            self.hot = self.next_hot_poll();
        }
    }

    /// Checks whether a read or a job is stuck.
    fn watch(&mut self, opened: &Opened) {
        self.give_up_reads(opened);
        self.give_up_jobs();
    }

    /// Waits for what is running. A long job is no keeper that is stuck, and one that makes no progress does not hold the
    /// next keeper.
    async fn see_jobs_end(&mut self) {
        let mut beats = beats();
        while !self.jobs.is_empty() {
            tokio::select! {
                ended = self.jobs.next() => self.ended(ended),
                _ = beats.tick() => {
                    self.shared.liveness.beat(&self.target.name);
                    self.give_up_jobs();
                }
            }
        }
    }

    fn ticks(&self) -> Interval {
        let mut ticks = interval(self.poll_policy.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// When a table is looked at before the next tick.
    fn next_hot_poll(&self) -> Option<Instant> {
        if !self.within_reach {
            return None;
        }
        // What a job of one's own is running on is looked at when it ends.
        let kept = self
            .tables
            .values()
            .filter(|kept| kept.history.running.is_none() && !kept.being_read);
        let next = kept.filter_map(|kept| kept.poll_schedule.between_ticks(&self.poll_policy));
        next.min().map(|next| self.shared.started + next)
    }
}

/// Waits for a turn; for ever where none was taken.
async fn turn(turn: &mut Option<Turn>) -> Result<OwnedSemaphorePermit, AcquireError> {
    match turn {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

/// Waits until a time; for ever where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
