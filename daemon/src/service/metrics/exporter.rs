//! All metrics, and the answer to a scrape.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::{Encoder, Result, TextEncoder};
use squire_config::Daemon;
use squire_engine::Kind;

use super::{
    deletions,
    graph::Graphs,
    jobs::Jobs,
    process::{self, Clock, Configuration, OnDisk, Tasks},
    registry::Register,
    store::Store,
    table::Tables,
    target::Targets,
};
use crate::{
    api::Pause,
    exit::Failure,
    service::{pauses::PauseRegistry, status::StatusStore},
};

/// The daemon's metrics.
#[derive(Debug)]
pub(in crate::service) struct Metrics {
    register: Register,
    pub(in crate::service) configuration: Configuration,
    pauses: OnDisk,
    tasks: Tasks,
    pub(in crate::service) clock: Clock,
    pub(in crate::service) targets: Targets,
    pub(in crate::service) jobs: Jobs,
    pub(in crate::service) graphs: Graphs,
    pub(in crate::service) tables: Tables,
    pub(super) store: Store,
    /// Held while a scrape is answered.
    scraping: Mutex<()>,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When two of them have one name.
    pub(in crate::service) fn new(daemon: &Daemon) -> Result<Self> {
        let mut register = Register::default();
        process::register(&register, daemon)?;
        deletions::register(&register)?;
        Ok(Self {
            configuration: Configuration::new(&register)?,
            pauses: OnDisk::new(&register)?,
            tasks: Tasks::new(&register)?,
            clock: Clock::new(&register)?,
            targets: Targets::new(&mut register, daemon.metrics_tables)?,
            jobs: Jobs::new(&mut register)?,
            graphs: Graphs::new(&mut register)?,
            tables: Tables::new(&register, daemon.metrics_tables)?,
            store: Store::new()?,
            register,
            scraping: Mutex::default(),
        })
    }

    /// Where other parts of the daemon register their metrics.
    pub(in crate::service) fn registry(&self) -> &prometheus::Registry {
        &self.register.registry
    }

    /// All metrics in Prometheus's text format, with what is paused now and how tables are.
    pub(in crate::service) fn scrape(
        &self,
        pauses: &PauseRegistry,
        status: &StatusStore,
        now: DateTime<Utc>,
    ) -> Result<Vec<u8>> {
        // What is paused is written anew each time: another scrape would meet half of it.
        let _scraping = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let active: Vec<Pause> = pauses.active(now);
        self.targets.paused(&active, now);
        self.targets.healths(&status.health());
        self.targets.other_daemons(&status.other_daemons());
        self.pauses.follow(pauses);
        self.tasks.count();
        self.render()
    }

    /// All metrics, in Prometheus's text format.
    pub(super) fn render(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry().gather(), &mut text)?;
        Ok(text)
    }

    /// A keeper begins to keep a target: what may never happen to it counts from zero, and what another keeper left
    /// under way is not any more.
    pub(in crate::service) fn begins(&self, target: &str, uri: &str) {
        self.targets.begins(target);
        self.jobs.begins(target);
        self.tables.ends(target);
        self.store.begins(uri);
    }

    /// A target was opened, as what it is.
    pub(in crate::service) fn opened(&self, target: &str, kind: Kind) {
        self.targets.opened(target, kind);
        self.tables.opened(target);
        if kind == Kind::Graph {
            self.graphs.opened(target);
        }
    }

    /// Takes in what Lance counts, from now on and for the whole process. Comes before anything is opened.
    ///
    /// # Errors
    /// When another recorder is installed already.
    pub(in crate::service) fn listen_to_lance(&self) -> std::result::Result<(), Failure> {
        self.store.listen(self.registry())
    }

    /// A target is no longer maintained: its series are removed.
    pub(in crate::service) fn ends(&self, target: &str) {
        self.register.forget(target);
        self.jobs.ends(target);
        self.tables.ends(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_target_after_it_was_let_go_of_is_not_shown() {
        let metrics = Metrics::new(&Daemon::default()).unwrap();
        let (status, pauses) = (
            StatusStore::new(Utc::now()),
            PauseRegistry::open(None).unwrap(),
        );
        let shown = || {
            let text = metrics.scrape(&pauses, &status, Utc::now()).unwrap();
            let text = String::from_utf8(text).unwrap();
            text.lines()
                .filter(|line| line.contains("target=\"lake\""))
                .count()
        };
        status.expect("lake", "/data");
        status.found("lake", "t");
        status.saw_other_daemons("lake", 1);
        assert!(shown() > 1);
        metrics.ends("lake");
        // A scrape comes between the two.
        assert!(shown() > 1);
        status.remove_target("lake");
        status.saw_other_daemons("lake", 2);
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
            metrics.targets.polled(target, true);
            metrics
                .tables
                .table(target, "t", &Default::default(), &Default::default());
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
