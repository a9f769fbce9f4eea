//! A keeper: looks at one target on every tick, lets the planner decide, and runs the jobs.
//!
//! An unchanged graph costs one request a tick: statistics are kept by pin, and only tables whose pin moved are
//! read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use futures::{FutureExt, StreamExt, stream};
use squire_config::{Daemon, Drift, Target};
use squire_engine::{
    Compacted, DriftPolicy, Error, Graph, Options, Snapshot, TableKey, TableStats,
    maintenance::{
        Decision, History, Policy, Skip,
        compaction::{self, CompactionPolicy, Reason},
        decide,
    },
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{http::Pulse, metrics::Metrics, upkeep::Upkeep};

/// The duty's name in logs and metrics.
const COMPACTION: &str = "compaction";
const READ_AT_ONCE: usize = 8;

/// Keeps one target.
pub(super) struct Keeper {
    target: Target,
    daemon: Daemon,
    policy: Policy,
    jobs: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    force: Arc<Notify>,
    started: Instant,
    tables: BTreeMap<TableKey, Kept>,
    at_work: JoinSet<Ended>,
    failing: Option<String>,
    /// Tables that are due and found no place.
    backlog: usize,
    /// A place that this keeper stood in line for.
    place: Option<OwnedSemaphorePermit>,
}

/// What the keeper knows of one table.
#[derive(Default)]
struct Kept {
    stats: TableStats,
    history: History,
    /// The last decision, so that only changes are logged.
    decision: Option<Decision>,
    forced: bool,
}

struct Ended {
    table: TableKey,
    forced: bool,
    /// Nothing when the job panicked.
    result: Option<Result<Compacted, Error>>,
    /// Given back once the end is told, so that the log shows no two jobs in one place.
    _place: OwnedSemaphorePermit,
}

impl Keeper {
    pub(super) fn new(
        target: Target,
        daemon: Daemon,
        jobs: Arc<Semaphore>,
        metrics: Arc<Metrics>,
        pulse: Arc<Pulse>,
        force: Arc<Notify>,
        started: Instant,
    ) -> Self {
        let compaction = &target.compaction;
        let policy = Policy {
            enabled: compaction.enabled,
            interval_floor: compaction.interval_floor,
            compaction: CompactionPolicy {
                target_bytes: compaction.target_bytes_per_file,
                small_bytes: compaction.small_fragment_bytes,
                min_small_fragments: compaction.min_small_fragments,
                max_deleted_fraction: compaction.max_deleted_fraction,
                max_source_bytes: compaction.max_source_bytes,
            },
        };
        Self {
            target,
            daemon,
            policy,
            jobs,
            metrics,
            pulse,
            force,
            started,
            tables: BTreeMap::new(),
            at_work: JoinSet::new(),
            failing: None,
            backlog: 0,
            place: None,
        }
    }

    /// Runs until `stop`; then waits for what is at work to end in order.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Some(graph) = self.open(&stop).await else {
            return;
        };
        let mut upkeep = JoinSet::new();
        let upkeeper = Upkeep {
            graph: graph.clone(),
            target: self.target.clone(),
            daemon: self.daemon.clone(),
            metrics: self.metrics.clone(),
            stop: stop.clone(),
        };
        upkeep.spawn(upkeeper.clone().heal());
        upkeep.spawn(upkeeper.adopt_drift());
        let mut ticks = interval(self.daemon.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A keeper with a backlog stands in line for the next free place, behind the other targets' keepers.
        let mut in_line = None;
        loop {
            if self.backlog > 0 && in_line.is_none() {
                in_line = Some(Box::pin(self.jobs.clone().acquire_owned()));
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                place = async {
                    match &mut in_line {
                        Some(place) => place.await,
                        None => std::future::pending().await,
                    }
                } => {
                    in_line = None;
                    self.place = place.ok();
                    self.look(&graph, &stop).await;
                    self.place = None;
                }
                Some(ended) = self.at_work.join_next() => {
                    if let Ok(ended) = ended {
                        self.ended(ended);
                    }
                    // A freed table may be due again, by its new layout.
                    self.look(&graph, &stop).await;
                }
                () = self.force.notified() => {
                    tracing::info!(target_name = %self.target.name, "the schedule forces compaction");
                    self.tables.values_mut().for_each(|kept| kept.forced = true);
                    self.look(&graph, &stop).await;
                }
                _ = ticks.tick() => self.look(&graph, &stop).await,
            }
        }
        while let Some(ended) = self.at_work.join_next().await {
            if let Ok(ended) = ended {
                self.ended(ended);
            }
        }
        // A round of healing that has begun is finished, or its heartbeat would come after the leave.
        upkeep.join_all().await;
        graph.close().await;
    }

    /// Opens the target, again and again until it is there.
    async fn open(&mut self, stop: &CancellationToken) -> Option<Graph> {
        let options = Options {
            actor: format!("squire@{}", host()),
            lease: self.daemon.lease,
            drift: match self.target.drift {
                Drift::Error => DriftPolicy::Error,
                Drift::Adopt => DriftPolicy::Adopt,
            },
            ..Options::default()
        };
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                opened = Graph::open(&self.target.uri, options.clone()) => opened,
            };
            match opened {
                Ok(graph) => {
                    tracing::info!(target_name = %self.target.name, uri = graph.uri(), "keeping a graph");
                    return Some(graph);
                }
                Err(e) => self.looked(Err(e)),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(self.daemon.tick) => {}
            }
        }
    }

    /// Notes how a look went; logs only when that changes.
    fn looked(&mut self, looked: Result<(), Error>) {
        self.metrics.looked(&self.target.name, looked.is_ok());
        let error = looked.err().map(|e| e.to_string());
        if error != self.failing {
            match &error {
                Some(error) => {
                    tracing::error!(target_name = %self.target.name, error, "the target cannot be kept; trying again on every tick");
                }
                None => {
                    tracing::info!(target_name = %self.target.name, "the target can be kept again")
                }
            }
        }
        self.pulse.looked(&self.target.name, error.clone());
        self.failing = error;
    }

    async fn look(&mut self, graph: &Graph, stop: &CancellationToken) {
        let looked = match graph.snapshot().await {
            Ok(snapshot) => {
                // A table that cannot be read keeps no other from being kept.
                let read = self.read(&snapshot).await;
                self.act(graph, stop);
                read
            }
            Err(e) => Err(e),
        };
        self.looked(looked);
    }

    /// Reads the statistics of tables whose pin moved.
    async fn read(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let name = &self.target.name;
        let manifest = snapshot.manifest();
        self.metrics.manifest(name, manifest);
        let gone: BTreeSet<_> = self.tables.keys().cloned().collect();
        for table in gone.iter().filter(|t| !manifest.tables.contains_key(*t)) {
            self.tables.remove(table);
            self.metrics.forget_table(name, &table.to_string());
        }
        let moved = manifest.tables.iter().filter(|(table, entry)| {
            self.tables
                .get(*table)
                .is_none_or(|kept| kept.stats.version != entry.pin)
        });
        let reads = moved.map(|(table, _)| async move { (table, snapshot.stats(table).await) });
        let read: Vec<_> = stream::iter(reads.collect::<Vec<_>>())
            .buffer_unordered(READ_AT_ONCE)
            .collect()
            .await;
        let mut failed = None;
        for (table, stats) in read {
            let stats = match stats {
                Ok(stats) => stats,
                Err(e) => {
                    failed.get_or_insert(e);
                    continue;
                }
            };
            let small = self.policy.compaction.small_bytes;
            self.metrics.table(name, &table.to_string(), &stats, small);
            self.tables.entry(table.clone()).or_default().stats = stats;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Decides about every table and starts the jobs, as far as there are places.
    fn act(&mut self, graph: &Graph, stop: &CancellationToken) {
        let name = &self.target.name;
        let now = self.started.elapsed();
        let mut due = Vec::new();
        for (table, kept) in &mut self.tables {
            let decision = decide(&kept.stats, &self.policy, &kept.history, now, kept.forced);
            let changed = kept.decision != Some(decision);
            kept.decision = Some(decision);
            match decision {
                Decision::Act(reason) => due.push((table.clone(), reason)),
                Decision::Skip(skip) => {
                    if !skip.passes() {
                        kept.forced = false;
                    }
                    if changed {
                        self.metrics.skipped(name, COMPACTION, skip.as_str());
                        tracing::debug!(target_name = %name, %table, duty = COMPACTION, reason = %skip, "left alone");
                    }
                }
            }
        }
        let tidy = |kept: &Kept| {
            let layout = [compaction::Skip::Tidy, compaction::Skip::BelowThreshold];
            layout
                .iter()
                .any(|skip| kept.decision == Some(Decision::Skip(Skip::Layout(*skip))))
        };
        if self.tables.values().all(tidy) {
            self.metrics.succeeded(name, COMPACTION, Utc::now());
        }
        // The most fragmented first.
        due.sort_by_key(|(table, _)| {
            std::cmp::Reverse(
                self.tables
                    .get(table)
                    .map_or(0, |kept| kept.stats.fragments.len()),
            )
        });
        let mut waiting = 0;
        for (table, reason) in due {
            let place = self.place.take();
            match place.or_else(|| self.jobs.clone().try_acquire_owned().ok()) {
                Some(place) => self.start(graph, table, reason, place, stop),
                None => waiting += 1,
            }
        }
        self.backlog = waiting;
        self.metrics.backlog(&self.target.name, COMPACTION, waiting);
    }

    fn start(
        &mut self,
        graph: &Graph,
        table: TableKey,
        reason: Reason,
        place: OwnedSemaphorePermit,
        stop: &CancellationToken,
    ) {
        let Some(kept) = self.tables.get_mut(&table) else {
            return;
        };
        kept.history.running = true;
        let forced = std::mem::take(&mut kept.forced);
        tracing::info!(target_name = %self.target.name, %table, duty = COMPACTION, %reason, fragments = kept.stats.fragments.len(), bytes = kept.stats.bytes(), deleted_rows = kept.stats.deleted_rows(), "job started");
        let (graph, policy, stop) = (graph.clone(), self.policy.compaction.clone(), stop.clone());
        self.at_work.spawn(async move {
            let job = graph.compact(&table, &policy, forced, &stop);
            // A table whose job panicked must not count as at work for ever.
            let result = AssertUnwindSafe(job).catch_unwind().await.ok();
            Ended {
                table,
                forced,
                result,
                _place: place,
            }
        });
    }

    fn ended(&mut self, ended: Ended) {
        let Ended {
            table,
            forced,
            result,
            _place,
        } = ended;
        let name = &self.target.name;
        let lost = match &result {
            Some(Ok(Compacted::Done(receipt))) => {
                self.metrics.compacted(name, COMPACTION, receipt);
                tracing::info!(target_name = %name, %table, duty = COMPACTION, operation = %receipt.operation, manifest = receipt.manifest, fragments_before = receipt.fragments_before, fragments_after = receipt.fragments_after, bytes_read = receipt.bytes_read, bytes_written = receipt.bytes_written, rewrite_ms = millis(receipt.rewrite), hold_ms = millis(receipt.hold), "job done");
                false
            }
            Some(Ok(Compacted::Skipped(_))) => false,
            Some(Ok(Compacted::Lost)) => {
                tracing::info!(target_name = %name, %table, duty = COMPACTION, "job lost: the layout moved on; it is planned anew");
                true
            }
            Some(Err(Error::Cancelled)) => {
                tracing::info!(target_name = %name, %table, duty = COMPACTION, "job abandoned: the daemon stops");
                false
            }
            None => {
                tracing::error!(target_name = %name, %table, duty = COMPACTION, "job panicked; please report it with the lines above");
                true
            }
            Some(Err(e)) => {
                tracing::error!(target_name = %name, %table, duty = COMPACTION, error = %e, "job failed; it is tried again after a pause");
                true
            }
        };
        let outcome = match &result {
            Some(Ok(Compacted::Done(_))) => "done",
            Some(Ok(Compacted::Skipped(_))) => "skipped",
            Some(Ok(Compacted::Lost)) => "lost",
            Some(Err(Error::Cancelled)) => "cancelled",
            Some(Err(_)) | None => "failed",
        };
        self.metrics.job(name, COMPACTION, outcome);
        if let Some(kept) = self.tables.get_mut(&table) {
            // What the schedule asked for is still to be done.
            kept.forced |= forced && lost;
            kept.history = History {
                last_end: Some(self.started.elapsed()),
                losses: if lost { kept.history.losses + 1 } else { 0 },
                running: false,
            };
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn host() -> String {
    Options::default()
        .actor
        .rsplit_once('@')
        .map_or_else(|| "unknown".to_owned(), |(_, host)| host.to_owned())
}
