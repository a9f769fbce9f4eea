//! Tables: of each target the worst ones by name, and all of them in sums.
//!
//! A target may have ten thousand tables, and Prometheus pays for every series. So only `daemon.metrics_tables` of each
//! target have series of their own: those in most need of maintenance, by what their policies call due, and then those
//! that come first by name. A table at rest thus keeps its series, or goes without, for as long as it rests. Sums over
//! all tables of a target leave none out, and one metric says how many have no series.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use prometheus::{
    IntGaugeVec, Opts, Result,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use squire_engine::{
    TableStats,
    planner::{Duty, Policy},
};

use super::registry::{Register, count, whole};

const TARGET: &[&str] = &["target"];
const TABLE: &[&str] = &["target", "table"];

/// What is known of one table.
#[derive(Clone, Debug, Default)]
struct Table {
    rows: u64,
    deleted_rows: u64,
    fragments: u64,
    small_fragments: u64,
    bytes: u64,
    unindexed_rows: u64,
    index_segments: u64,
    missing: u64,
    blocked: u64,
    /// As of the last list; nothing when there was none.
    versions: Option<u64>,
    /// Versions that should have gone.
    overdue_versions: u64,
    last_success: BTreeMap<Duty, DateTime<Utc>>,
    layout_need: u32,
    versions_need: u32,
}

impl Table {
    fn of(stats: &TableStats, policy: &Policy) -> Self {
        let small = |f: &&squire_engine::FragmentStats| policy.compaction.is_small(f);
        let indexes = stats.indexes.iter();
        let blocked = stats.missing.iter().filter(|m| m.blocked.is_some()).count();
        let table = Self {
            rows: stats.rows(),
            deleted_rows: stats.deleted_rows(),
            fragments: stats.fragments.len() as u64,
            small_fragments: stats.fragments.iter().filter(small).count() as u64,
            bytes: stats.bytes(),
            unindexed_rows: indexes.clone().map(|i| i.unindexed_rows).max().unwrap_or(0),
            index_segments: indexes.map(|i| i.segments as u64).max().unwrap_or(0),
            missing: (stats.missing.len() - blocked) as u64,
            blocked: blocked as u64,
            ..Self::default()
        };
        let in_files = table.rows.saturating_add(table.deleted_rows);
        let layout_need = [
            need(
                table.small_fragments,
                policy.compaction.min_small_fragments as u64,
            ),
            need(
                table.deleted_rows,
                share(in_files, policy.compaction.max_deleted_fraction),
            ),
            need(table.unindexed_rows, policy.index.max_unindexed_rows),
            need(table.index_segments, policy.index.max_segments as u64 + 1),
            need(table.missing + table.blocked, 1),
        ];
        Self {
            layout_need: layout_need.into_iter().max().unwrap_or(0),
            ..table
        }
    }

    /// What its last look leaves as it was.
    fn after(self, before: &Self) -> Self {
        Self {
            versions: before.versions,
            overdue_versions: before.overdue_versions,
            versions_need: before.versions_need,
            last_success: before.last_success.clone(),
            ..self
        }
    }

    /// How much it needs maintenance: 0 when nothing is past what its policy calls due, and one more each time that the
    /// worst of it doubles. Coarse, so that tables do not change places at every look.
    fn need(&self) -> u32 {
        self.layout_need.max(self.versions_need)
    }
}

/// How often `n` would have to be halved to be less than what is due.
fn need(n: u64, due: u64) -> u32 {
    (n / due.max(1))
        .checked_ilog2()
        .map_or(0, |times| times + 1)
}

/// A part of a number, as one that something is compared with.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn share(of: u64, part: f64) -> u64 {
    (of as f64 * part).ceil() as u64
}

/// What is known of the tables of all targets.
#[derive(Debug)]
struct Book(Mutex<BTreeMap<String, BTreeMap<String, Table>>>);

impl Book {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Table>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables that have series of their own, worst first.
fn shown(tables: &BTreeMap<String, Table>, limit: usize) -> Vec<(&str, &Table)> {
    let mut shown: Vec<_> = tables.iter().map(|(name, t)| (name.as_str(), t)).collect();
    shown.sort_by_key(|(name, table)| (Reverse(table.need()), *name));
    shown.truncate(limit);
    shown
}

/// A number of a table; nothing where it is not known.
type Of = fn(&Table) -> Option<u64>;

/// Makes the series when they are asked for.
#[derive(Debug)]
struct Series {
    book: Arc<Book>,
    limit: usize,
    /// By `target` and `table`.
    single: Vec<(IntGaugeVec, Of)>,
    missing: IntGaugeVec,
    last_success: IntGaugeVec,
    /// By `target`, over all of its tables.
    sums: Vec<(IntGaugeVec, Of)>,
    left_out: IntGaugeVec,
}

impl Series {
    fn new(book: Arc<Book>, limit: usize) -> Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let single = |name: &str, help: &str, of: Of| {
            Ok::<_, prometheus::Error>((gauge(name, help, TABLE)?, of))
        };
        let sum = |name: &str, help: &str, of: Of| {
            Ok::<_, prometheus::Error>((gauge(name, help, TARGET)?, of))
        };
        Ok(Self {
            book,
            limit,
            single: vec![
                single("squire_table_rows", "Live rows.", |t| Some(t.rows))?,
                single(
                    "squire_table_deleted_rows",
                    "Rows that are deleted but still in files.",
                    |t| Some(t.deleted_rows),
                )?,
                single("squire_table_fragments", "Fragments.", |t| {
                    Some(t.fragments)
                })?,
                single(
                    "squire_table_small_fragments",
                    "Fragments below the size that the policy calls small.",
                    |t| Some(t.small_fragments),
                )?,
                single("squire_table_bytes", "Bytes of data files.", |t| {
                    Some(t.bytes)
                })?,
                single(
                    "squire_table_unindexed_rows",
                    "Live rows outside an index, of the index that misses most.",
                    |t| Some(t.unindexed_rows),
                )?,
                single(
                    "squire_table_index_segments",
                    "Segments of the index that has most.",
                    |t| Some(t.index_segments),
                )?,
                single(
                    "squire_table_versions",
                    "Versions on the store, as of the last list; absent for a table that has too few to be listed.",
                    |t| t.versions,
                )?,
            ],
            missing: gauge(
                "squire_table_missing_indexes",
                "Declared indexes that a table does not have, by state: due, or blocked until it can be built.",
                &["target", "table", "state"],
            )?,
            last_success: gauge(
                "squire_table_last_success_timestamp_seconds",
                "When the duty was last in order on the table, or when the table was found, as seconds since 1970.",
                &["target", "table", "duty"],
            )?,
            sums: vec![
                sum("squire_target_tables", "Tables that were read.", |_| {
                    Some(1)
                })?,
                sum("squire_target_rows", "Live rows of all tables.", |t| {
                    Some(t.rows)
                })?,
                sum(
                    "squire_target_deleted_rows",
                    "Rows of all tables that are deleted but still in files.",
                    |t| Some(t.deleted_rows),
                )?,
                sum("squire_target_fragments", "Fragments of all tables.", |t| {
                    Some(t.fragments)
                })?,
                sum(
                    "squire_target_small_fragments",
                    "Fragments of all tables below the size that their policies call small.",
                    |t| Some(t.small_fragments),
                )?,
                sum(
                    "squire_target_bytes",
                    "Bytes of data files of all tables.",
                    |t| Some(t.bytes),
                )?,
                sum(
                    "squire_target_unindexed_rows",
                    "Live rows outside an index, of the index of each table that misses most.",
                    |t| Some(t.unindexed_rows),
                )?,
                sum(
                    "squire_target_versions",
                    "Versions on the store of the tables that were listed, as of the last lists.",
                    |t| Some(t.versions.unwrap_or(0)),
                )?,
                sum(
                    "squire_target_overdue_versions",
                    "Versions that neither retention nor anything else keeps, and that could have been removed a day ago.",
                    |t| Some(t.overdue_versions),
                )?,
            ],
            left_out: gauge(
                "squire_target_tables_left_out",
                "Tables that have no series of their own, because others are in more need: see daemon.metrics_tables.",
                TARGET,
            )?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &IntGaugeVec> {
        let numbers = self.single.iter().chain(&self.sums).map(|(gauge, _)| gauge);
        numbers.chain([&self.missing, &self.last_success, &self.left_out])
    }

    fn show_target(&self, target: &str, tables: &BTreeMap<String, Table>) {
        let of_target = [target];
        for (gauge, of) in &self.sums {
            let sum = tables.values().filter_map(of).fold(0, u64::saturating_add);
            gauge.with_label_values(&of_target).set(whole(sum));
        }
        let left_out = self.left_out.with_label_values(&of_target);
        left_out.set(count(tables.len().saturating_sub(self.limit)));
        for (name, table) in shown(tables, self.limit) {
            self.show_table(target, name, table);
        }
    }

    fn show_table(&self, target: &str, name: &str, table: &Table) {
        for (gauge, of) in &self.single {
            if let Some(n) = of(table) {
                gauge.with_label_values(&[target, name]).set(whole(n));
            }
        }
        for (state, n) in [("due", table.missing), ("blocked", table.blocked)] {
            let gauge = self.missing.with_label_values(&[target, name, state]);
            gauge.set(whole(n));
        }
        for (duty, at) in &table.last_success {
            let labels = [target, name, duty.as_str()];
            let gauge = self.last_success.with_label_values(&labels);
            gauge.set(at.timestamp());
        }
    }
}

impl Collector for Series {
    fn desc(&self) -> Vec<&Desc> {
        self.all().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held until the end: two scrapes at once would fill the same series.
        let book = self.book.lock();
        self.all().for_each(IntGaugeVec::reset);
        for (target, tables) in &*book {
            self.show_target(target, tables);
        }
        self.all().flat_map(Collector::collect).collect()
    }
}

#[derive(Debug)]
pub(in crate::service) struct Tables {
    book: Arc<Book>,
}

impl Tables {
    pub(super) fn new(register: &Register, limit: usize) -> Result<Self> {
        let book = Arc::new(Book(Mutex::default()));
        register
            .registry
            .register(Box::new(Series::new(book.clone(), limit)?))?;
        Ok(Self { book })
    }

    /// A target without tables has sums, too.
    pub(super) fn opened(&self, target: &str) {
        self.book.lock().entry(target.to_owned()).or_default();
    }

    pub(super) fn ends(&self, target: &str) {
        self.book.lock().remove(target);
    }
}

impl Tables {
    /// The layout of one table.
    pub(in crate::service) fn table(
        &self,
        target: &str,
        table: &str,
        stats: &TableStats,
        policy: &Policy,
    ) {
        let now = Table::of(stats, policy);
        let mut book = self.book.lock();
        let tables = book.entry(target.to_owned()).or_default();
        let now = match tables.get(table) {
            Some(before) => now.after(before),
            None => now,
        };
        tables.insert(table.to_owned(), now);
    }

    /// Sets the number of versions of a table.
    pub(in crate::service) fn versions(
        &self,
        target: &str,
        table: &str,
        versions: usize,
        policy: &Policy,
    ) {
        let mut book = self.book.lock();
        let known = book
            .get_mut(target)
            .and_then(|tables| tables.get_mut(table));
        if let Some(known) = known {
            let due = policy.cleanup.keep_versions + policy.cleanup.emergency_versions;
            known.versions = Some(versions as u64);
            known.versions_need = need(versions as u64, due as u64);
        }
    }

    /// Number of versions of a table that should have been removed.
    pub(in crate::service) fn overdue_versions(&self, target: &str, table: &str, overdue: usize) {
        let mut book = self.book.lock();
        let known = book
            .get_mut(target)
            .and_then(|tables| tables.get_mut(table));
        if let Some(known) = known {
            known.overdue_versions = overdue as u64;
        }
    }

    /// When each duty was last in order on a table; nothing where that does not count.
    pub(in crate::service) fn succeeded(
        &self,
        target: &str,
        table: &str,
        last: &[(Duty, Option<DateTime<Utc>>)],
    ) {
        let mut book = self.book.lock();
        let known = book
            .get_mut(target)
            .and_then(|tables| tables.get_mut(table));
        if let Some(known) = known {
            let last = last.iter().filter_map(|(duty, at)| Some((*duty, (*at)?)));
            known.last_success = last.collect();
        }
    }

    /// A table is gone.
    pub(in crate::service) fn forget(&self, target: &str, table: &str) {
        if let Some(tables) = self.book.lock().get_mut(target) {
            tables.remove(table);
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
