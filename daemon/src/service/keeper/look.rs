//! What is there: tables and their statistics.
//!
//! An unchanged graph costs one request a tick: statistics are kept by pin and declared indexes, and only tables for
//! which those moved are read again. A directory costs one list of its root a tick, and one list for each table that is
//! due for a look: a table that does not change is looked at less and less.
//!
//! A look reads so many tables and no more; the next follows at once. So the first tables are worked on before the last
//! of thousands was seen.

use std::{collections::BTreeSet, time::Duration};

use chrono::Utc;
use futures::{StreamExt, stream};
use squire_config::Kind as Wanted;
use squire_engine::{
    Directory, Error, Graph, Kind, TableKey, TableStats, detect,
    maintenance::{
        Duty,
        looks::{LookPolicy, News},
    },
};

use super::{
    Keeper, Kept,
    kept::{Told, Unlisted},
    listing::{self, Listing},
};
use crate::{
    exit::Failure,
    opened::{Opened, beyond, is_a_graph},
    service::pulse::Pulse,
};

const READ_AT_ONCE: usize = 8;
/// So many tables are read in one look.
const SLICE: usize = 32;
/// What cannot be read is tried again after so many ticks at the latest.
const RETRY_TICKS: u32 = 6;

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is what it was; whether it could be looked at is noted.
    Looked,
    /// Where a directory was kept, there is a graph now.
    Another,
}

impl Keeper {
    /// Looks at the target, and at the first of the tables that are due for it.
    pub(super) async fn look(&mut self, opened: &Opened) -> Seen {
        self.behind = false;
        let seen = match opened {
            Opened::Graph(graph) => self.look_at_graph(graph).await.map(|()| Seen::Looked),
            Opened::Directory(directory) => self.look_at_directory(directory).await,
        };
        self.within_reach = seen.is_ok();
        let metrics = &self.shared.metrics;
        metrics.passed_over(&self.target.name, opened.uri());
        let error = match &seen {
            Ok(_) => self.tables.values().find_map(Kept::complaint),
            Err(e) => Some(e.to_string()),
        };
        self.looked(error);
        seen.unwrap_or(Seen::Looked)
    }

    /// Notes how a look went; logs only when that changes.
    pub(super) fn looked(&mut self, error: Option<String>) {
        let name = &self.target.name;
        self.shared.metrics.looked(name, error.is_none());
        if error != self.failing {
            match &error {
                Some(error) => {
                    tracing::error!(target_name = %name, error, "the target cannot be kept; trying again on every tick");
                }
                None => tracing::info!(target_name = %name, "the target can be kept again"),
            }
        }
        self.shared.pulse.looked(name, error.clone());
        self.shared.board.looked(name, error.clone());
        self.failing = error;
    }

    /// Reads the statistics of tables whose pin or declared indexes moved. A table that cannot be read keeps no other
    /// from being kept.
    async fn look_at_graph(&mut self, graph: &Graph) -> Result<(), Failure> {
        let snapshot = graph.snapshot().await?;
        let manifest = snapshot.manifest();
        self.shared.metrics.manifest(&self.target.name, manifest);
        self.shared.board.queue(&self.target.name, manifest);
        let another = |(table, kept): &(&TableKey, &Kept)| {
            let now = manifest.tables.get(*table);
            let told = kept.told.as_ref();
            told.is_some_and(|told| now.is_some_and(|now| told.is_of_another(now)))
        };
        let another: Vec<_> = self
            .tables
            .iter()
            .filter(another)
            .map(|(t, _)| t.clone())
            .collect();
        another.iter().for_each(|table| self.forget(table));
        self.found(&manifest.tables.keys().cloned().collect());
        let now = self.now();
        let mut due = Vec::new();
        for (table, entry) in &manifest.tables {
            let Some(kept) = self.tables.get_mut(table) else {
                continue;
            };
            kept.protection_is_of(manifest.collected_below);
            let def = manifest.schema.types.get(table);
            if kept
                .told
                .as_ref()
                .is_some_and(|told| told.is_as(entry, def))
            {
                kept.looked_well = kept.failing.is_none();
            } else if kept.looks.due(now) {
                due.push((table.clone(), Told::new(entry, def)));
            }
        }
        self.cut(&mut due);
        let (looks, retries) = (self.looks, self.retries());
        let reads = due.into_iter().map(|(table, told)| {
            let snapshot = &snapshot;
            async move {
                let stats = snapshot.stats(&table).await;
                (table, told, stats)
            }
        });
        let read = each(&self.shared.pulse, &self.target.name, reads.collect()).await;
        for (table, told, stats) in read {
            let well = stats.is_ok();
            let news = self.take_in(&table, stats, Kind::Graph);
            if let Some(kept) = self.tables.get_mut(&table) {
                if well {
                    kept.told = Some(told);
                } else {
                    kept.look_again(news, &looks, &retries, now);
                }
            }
        }
        Ok(())
    }

    /// Looks at the tables that are due for it.
    async fn look_at_directory(&mut self, directory: &Directory) -> Result<Seen, Failure> {
        let there: BTreeSet<_> = directory.tables().await?.into_iter().collect();
        let known = self.tables.keys().eq(there.iter());
        // A graph that is made here has a manifest before it has tables.
        if (!known || there.is_empty())
            && detect(&self.target.uri, None, &beyond(&self.target)).await? == Kind::Graph
        {
            return match self.target.kind {
                Wanted::Directory => Err(is_a_graph(directory.uri())),
                Wanted::Graph | Wanted::Auto => Ok(Seen::Another),
            };
        }
        self.found(&there);
        self.look_at_due(directory).await;
        Ok(Seen::Looked)
    }

    /// Looks at tables of a directory that are written so fast that they must not wait for the next tick.
    pub(super) async fn look_between_ticks(&mut self, opened: &Opened) -> Seen {
        if let Opened::Directory(directory) = opened {
            self.look_at_due(directory).await;
        }
        Seen::Looked
    }

    async fn look_at_due(&mut self, directory: &Directory) {
        let began = self.now();
        let due = self.tables.iter().filter(|(_, kept)| kept.looks.due(began));
        let mut due: Vec<_> = due.map(|(table, _)| table.clone()).collect();
        self.cut(&mut due);
        let (looks, retries) = (self.looks, self.retries());
        let reads = due.into_iter().map(|table| async move {
            let stats = directory.stats(&table).await;
            (table, stats)
        });
        let read = each(&self.shared.pulse, &self.target.name, reads.collect()).await;
        let tick = chrono::TimeDelta::from_std(looks.tick).unwrap_or_default();
        for (table, stats) in read {
            let known = self.tables.get(&table).is_some_and(|k| k.stats.version > 0);
            let news = self.take_in(&table, stats, Kind::Directory);
            let written = directory.last_written(&table);
            if let Some(kept) = self.tables.get_mut(&table) {
                kept.look_again(news, &looks, &retries, began);
                if !known && written.is_some_and(|at| Utc::now() - at < tick) {
                    kept.looks.soon(&looks, began);
                }
            }
        }
    }

    /// Looks at what a job of ours left: at a whole graph, as its one request tells of all, and at one table of a
    /// directory.
    pub(super) async fn look_at_own_work(&mut self, opened: &Opened, table: &TableKey) -> Seen {
        let directory = match opened {
            Opened::Graph(_) => return self.look(opened).await,
            Opened::Directory(directory) => directory,
        };
        if self.tables.contains_key(table) {
            let stats = directory.stats(table).await;
            self.take_in(table, stats, Kind::Directory);
            let now = self.now();
            if let Some(kept) = self.tables.get_mut(table) {
                let rested = kept.rested();
                kept.looks.worked(&self.looks, now, rested);
            }
        }
        Seen::Looked
    }

    /// Begins to keep tables that are new, and forgets those that are gone.
    fn found(&mut self, there: &BTreeSet<TableKey>) {
        let gone = self.tables.keys().filter(|table| !there.contains(*table));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|table| self.forget(table));
        let now = self.now();
        for table in there {
            if !self.tables.contains_key(table) {
                let text = table.to_string();
                let policies = self.target.policies_of(&text);
                let mut kept = Kept::new(table, &policies, &self.looks, now);
                if let Some(was) = self.remembered.remove(&text) {
                    kept.remember(was);
                }
                self.tables.insert(table.clone(), kept);
                self.shared.board.found(&self.target.name, &text);
            }
        }
    }

    /// Takes in a look at one table; says what it brought. That it cannot be read any more, or can again, is news, too.
    fn take_in(&mut self, table: &TableKey, stats: Result<TableStats, Error>, kind: Kind) -> News {
        let now = self.now();
        let (name, shared) = (&self.target.name, &self.shared);
        let Some(kept) = self.tables.get_mut(table) else {
            return News::Nothing;
        };
        let was_well = kept.is_well();
        let text = table.to_string();
        let mut brought = News::Nothing;
        let found = match stats {
            Ok(stats) => {
                let news = kept.take_in(stats, now);
                shared.board.table(name, &text, &kept.stats, &kept.policy);
                if news != News::Nothing {
                    shared.metrics.table(name, &text, &kept.stats, &kept.policy);
                }
                brought = news;
                if news == News::Nothing {
                    "unchanged"
                } else {
                    "changed"
                }
            }
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => {
                self.bury(table);
                "gone"
            }
            Err(e) => {
                let error = e.to_string();
                shared.board.table_failing(name, &text, &error);
                kept.failing = Some(error);
                "failed"
            }
        };
        let (name, shared) = (&self.target.name, &self.shared);
        tracing::debug!(target_name = %name, %table, found, "looked at a table");
        shared.metrics.table_looked(name, kind, found);
        let is_well = self.tables.get(table).is_some_and(Kept::is_well);
        if brought == News::Nothing && was_well != is_well {
            return News::Some;
        }
        brought
    }

    /// Lists the versions of tables that a cleanup could be due for.
    pub(super) async fn list_versions(&mut self, opened: &Opened) {
        let (now, monotonic) = (Utc::now(), self.now());
        let due = self.tables.iter().filter(|(_, kept)| {
            let (listing, policy) = (kept.listing.as_ref(), &kept.policy.cleanup);
            let forced = kept.forced.contains(&Duty::Cleanup);
            let rests = kept.unlisted.as_ref().is_some_and(|u| monotonic < u.again);
            !rests
                && kept.history.running.is_none()
                && listing::is_due(listing, kept.stats.version, policy, now, forced)
        });
        let mut due: Vec<_> = due.map(|(table, _)| table.clone()).collect();
        self.cut(&mut due);
        let lists = due.into_iter().map(|table| async move {
            let versions = opened.versions(&table).await;
            (table, versions)
        });
        let listed = each(&self.shared.pulse, &self.target.name, lists.collect()).await;
        for (table, versions) in listed {
            let again = self.now() + self.retries().cold_tick;
            let Some(kept) = self.tables.get_mut(&table) else {
                continue;
            };
            match versions {
                Ok(versions) => {
                    let (name, n) = (&self.target.name, versions.len());
                    let metrics = &self.shared.metrics;
                    metrics.versions(name, &table.to_string(), n, &kept.policy);
                    self.shared.board.versions(name, &table.to_string(), n);
                    kept.unlisted = None;
                    kept.listing = Some(Listing::new(versions, &kept.policy.cleanup, now));
                }
                Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => self.bury(&table),
                Err(e) => {
                    tracing::debug!(target_name = %self.target.name, %table, error = %e, "the versions could not be listed");
                    kept.unlisted = Some(Unlisted {
                        why: e.to_string(),
                        again,
                    });
                }
            }
        }
    }

    /// Looks for files that no version names, where it was not looked for them for a day.
    pub(super) async fn look_for_left_over_files(&mut self, opened: &Opened) {
        let now = self.now();
        let due = self.tables.iter().filter(|(_, kept)| {
            kept.policy.cleanup.enabled
                && kept.is_well()
                && kept.history.running.is_none()
                && kept.left_over.is_due(now)
        });
        let mut due: Vec<_> = due.map(|(table, _)| table.clone()).collect();
        self.cut(&mut due);
        let looks = due.into_iter().map(|table| async move {
            let found = opened.has_left_over_files(&table).await;
            (table, found)
        });
        for (table, found) in each(&self.shared.pulse, &self.target.name, looks.collect()).await {
            if let Err(e) = &found {
                tracing::debug!(target_name = %self.target.name, %table, error = %e, "files that no version names could not be looked for");
            }
            if let Some(kept) = self.tables.get_mut(&table) {
                kept.left_over.looked(found.unwrap_or(false), now);
            }
        }
    }

    /// Leaves the first of what is due; the rest is for the next look.
    fn cut<T>(&mut self, due: &mut Vec<T>) {
        self.behind |= due.len() > SLICE;
        due.truncate(SLICE);
    }

    /// How often a table is looked at that cannot be read.
    fn retries(&self) -> LookPolicy {
        let longest: Duration = self.looks.tick * RETRY_TICKS;
        LookPolicy {
            cold_tick: longest.min(self.looks.cold_tick),
            ..self.looks
        }
    }
}

/// Waits for all of these, a few at a time; each that ends is a sign of life of the target's keeper.
async fn each<F: Future>(pulse: &Pulse, target: &str, reads: Vec<F>) -> Vec<F::Output> {
    let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
    let mut all = Vec::new();
    while let Some(read) = reads.next().await {
        pulse.beat(target);
        all.push(read);
    }
    all
}
