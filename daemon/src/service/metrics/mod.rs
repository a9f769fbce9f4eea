//! What Prometheus sees.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the metrics as a whole |
//! | [`process`] | the process: its build, its settings, its memory |
//! | [`deletions`] | what was deleted, by what allowed it |
//! | [`target`] | targets: looks and pauses |
//! | [`jobs`] | decisions, jobs, and what they did |
//! | [`graph`] | graphs: the queue, sidecars, healing, drift |
//! | [`table`] | tables: the worst ones by name, all of them in sums |
//! | [`store`] | requests to stores, as Lance counts them |
//! | [`registry`] | how each kind of metric is made, and how those of a target go |
//!
//! Every name, label and unit stands in these rooms and in `docs/metrics.md`. What is kept is counted from zero: a
//! series is there from the moment its target is, so that a rate over it misses nothing. A time that has not come yet,
//! and a number that nobody has read yet, is absent.

mod deletions;
mod graph;
mod jobs;
mod process;
mod registry;
mod store;
mod table;
mod target;

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::{Encoder, IntGaugeVec, Result, TextEncoder};
use squire_config::Daemon;

pub(super) use graph::Task;
use registry::Register;

use super::{
    pauses::{Noted, PauseBook},
    status::Board,
};

/// The daemon's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    register: Register,
    reloads: process::Reloads,
    pauses: process::OnDisk,
    clock: process::Clock,
    target: target::Targets,
    jobs: jobs::Jobs,
    graph: graph::Graphs,
    tables: table::Tables,
    store: store::Store,
    /// Whoever shows the metrics holds this.
    scraping: Mutex<()>,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When two of them have one name.
    pub(super) fn new(daemon: &Daemon) -> Result<Self> {
        let mut register = Register::default();
        process::register(&register, daemon)?;
        deletions::register(&register)?;
        Ok(Self {
            reloads: process::Reloads::new(&register)?,
            pauses: process::OnDisk::new(&register)?,
            clock: process::Clock::new(&register)?,
            target: target::Targets::new(&mut register, daemon.metrics_tables)?,
            jobs: jobs::Jobs::new(&mut register)?,
            graph: graph::Graphs::new(&mut register)?,
            tables: table::Tables::new(&register, daemon.metrics_tables)?,
            store: store::Store::new()?,
            register,
            scraping: Mutex::default(),
        })
    }

    /// Where whoever else has something to count registers it.
    pub(super) fn registry(&self) -> &prometheus::Registry {
        &self.register.registry
    }

    /// All metrics in Prometheus's text format, with what is paused now and how tables are.
    pub(super) fn scrape(
        &self,
        pauses: &PauseBook,
        board: &Board,
        now: DateTime<Utc>,
    ) -> Result<Vec<u8>> {
        // What is paused is written anew each time: another scrape would meet half of it.
        let _scraping = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let active: Vec<Noted> = pauses.active(now);
        self.target.paused(&active, now);
        self.target.healths(&board.health());
        self.target.other_daemons(&board.other_daemons());
        self.pauses.follow(pauses);
        self.render()
    }

    /// All metrics, in Prometheus's text format.
    fn render(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry().gather(), &mut text)?;
        Ok(text)
    }

    /// A keeper begins to keep a target: what may never happen to it counts from zero, and what another keeper left
    /// under way is not any more.
    pub(super) fn begins(&self, target: &str, uri: &str) {
        self.target.begins(target);
        self.jobs.begins(target);
        self.tables.ends(target);
        self.store.begins(uri);
    }

    /// A target is kept no more: nothing of it is shown.
    pub(super) fn ends(&self, target: &str) {
        self.register.forget(target);
        self.jobs.ends(target);
        self.tables.ends(target);
    }
}

/// A gauge's number.
fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How many, as a gauge's number.
fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Shows the earliest of some times, as seconds since 1970; nothing when there is none.
fn show_earliest(gauge: &IntGaugeVec, labels: &[&str], times: impl Iterator<Item = DateTime<Utc>>) {
    match times.min() {
        Some(earliest) => gauge.with_label_values(labels).set(earliest.timestamp()),
        // It may never have been there.
        None => drop(gauge.remove_label_values(labels)),
    }
}

#[cfg(test)]
mod tests {
    use squire_engine::Kind;

    use super::*;

    #[test]
    fn what_is_told_of_a_target_after_it_was_let_go_of_is_not_shown() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let (board, pauses) = (Board::new(Utc::now()), PauseBook::open(None).unwrap());
        let shown = || {
            let text = metrics.scrape(&pauses, &board, Utc::now()).unwrap();
            let text = String::from_utf8(text).unwrap();
            text.lines()
                .filter(|line| line.contains("target=\"lake\""))
                .count()
        };
        board.expect("lake", "/data");
        board.found("lake", "t");
        board.saw_other_daemons("lake", 1);
        assert!(shown() > 1);
        metrics.ends("lake");
        // A scrape comes between the two.
        assert!(shown() > 1);
        board.let_go("lake");
        board.saw_other_daemons("lake", 2);
        assert_eq!(shown(), 0);
    }

    #[test]
    fn a_target_that_is_kept_no_more_leaves_nothing_and_another_keeps_all() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let show = || String::from_utf8(metrics.render().unwrap()).unwrap();
        let lines_of = |target: &str| {
            let of = format!("target=\"{target}\"");
            show().lines().filter(|l| l.contains(&of)).count()
        };
        let keep = |target: &str| {
            metrics.begins(target, "/data");
            metrics.opened(target, Kind::Graph);
            metrics.looked(target, true);
            metrics.table(target, "t", &Default::default(), &Default::default());
        };
        keep("stays");
        let before = lines_of("stays");
        keep("goes");
        assert_eq!(lines_of("goes"), before);
        metrics.ends("goes");
        assert_eq!((lines_of("goes"), lines_of("stays")), (0, before));
        keep("goes");
        assert_eq!(lines_of("goes"), before, "it is kept again");
    }
}
