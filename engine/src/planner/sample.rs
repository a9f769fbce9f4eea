//! A table in memory, for tests: writers change it, and jobs do to it what executors do to a real one.

use std::{collections::BTreeSet, time::Duration};

use chrono::DateTime;

use super::{
    Ask, Duty, History, Job, Now, Policy, TableView,
    cleanup::{self, Protected},
    compaction,
    indexing::{self, Task},
    statistics::{FragmentStats, IndexStats, TableStats, VersionInfo},
};
use crate::ids::TableKey;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// `seconds` after the start, which was on a Wednesday at noon.
pub(super) fn at(seconds: u64) -> Now {
    let start = DateTime::from_timestamp(1_767_182_400, 0).unwrap_or_default();
    let wall = start + Duration::from_secs(seconds);
    Now {
        monotonic: Duration::from_secs(seconds),
        wall,
        local: wall.naive_utc(),
    }
}

pub(super) fn fragment(id: u64, rows: u64, deleted: u64, bytes: u64) -> FragmentStats {
    FragmentStats {
        id,
        rows,
        deleted,
        bytes,
        measured: 0,
        unmeasured: false,
        coverage: 0,
        refused: None,
    }
}

pub(super) fn stats(fragments: Vec<FragmentStats>) -> TableStats {
    TableStats {
        version: 1,
        fragments,
        ..TableStats::default()
    }
}

/// Numbers that look like chance, and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// From 0 to below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    /// A size of which each doubling is as likely as the others.
    pub(super) fn size(&mut self, least: u64, doublings: u64) -> u64 {
        let size = least << self.roll(doublings);
        size + self.roll(size)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) key: TableKey,
    pub(super) stats: TableStats,
    pub(super) versions: Vec<VersionInfo>,
    pub(super) protected: Protected,
    pub(super) policy: Policy,
    pub(super) history: History,
    pub(super) contended: BTreeSet<u64>,
    pub(super) forced: BTreeSet<Duty>,
    pub(super) paused: bool,
    pub(super) clock_jumped: bool,
    next_fragment: u64,
    next_coverage: u32,
}

impl Table {
    pub(super) fn new(name: &str) -> Self {
        Self {
            key: TableKey::of_directory(name),
            stats: stats(Vec::new()),
            versions: Vec::new(),
            protected: Protected::default(),
            policy: Policy::default(),
            history: History::default(),
            contended: BTreeSet::new(),
            forced: BTreeSet::new(),
            paused: false,
            clock_jumped: false,
            next_fragment: 0,
            next_coverage: 1,
        }
    }

    /// With an index that covers what is there.
    pub(super) fn indexed(mut self, name: &str) -> Self {
        self.stats.indexes.push(IndexStats {
            name: name.to_owned(),
            columns: vec![name.to_owned()],
            segments: 1,
            vector: true,
            ..IndexStats::default()
        });
        self
    }

    pub(super) fn view(&self) -> TableView<'_> {
        TableView {
            key: &self.key,
            stats: &self.stats,
            versions: Some(&self.versions),
            protected: &self.protected,
            left_over: false,
            policy: &self.policy,
            history: &self.history,
            contended: &self.contended,
            forced: &self.forced,
            paused: self.paused,
            clock_jumped: self.clock_jumped,
        }
    }

    pub(super) fn append(&mut self, rows: u64, bytes: u64, now: &Now) {
        self.put(rows, bytes, 0);
        for index in &mut self.stats.indexes {
            index.unindexed_rows += rows;
            index.unindexed_fragments += 1;
        }
        self.committed(now);
    }

    /// Does a job as its executor would, planned anew; says how many bytes it rewrote.
    pub(super) fn execute(&mut self, job: &Job, now: &Now) -> u64 {
        match job.duty {
            Duty::Compaction => self.compact(&job.ask, now),
            Duty::Index => self.index(&job.ask, now),
            Duty::Cleanup => self.cleanup(&job.ask, now),
        }
    }

    fn compact(&mut self, ask: &Ask, now: &Now) -> u64 {
        let decision = compaction::plan(&self.stats, &self.policy.compaction, ask);
        let compaction::Decision::Compact(groups, _) = decision else {
            return 0;
        };
        for group in &groups {
            let sources: BTreeSet<_> = group.fragments.iter().collect();
            let covered = self.stats.fragments.iter();
            let covered = covered
                .filter(|f| sources.contains(&f.id))
                .any(|f| f.coverage != 0);
            self.stats.fragments.retain(|f| !sources.contains(&f.id));
            if group.rows > 0 {
                self.put(group.rows, group.live_bytes, 0);
            }
            // As on tables without stable row ids: what was rewritten is no longer covered.
            for index in self.stats.indexes.iter_mut().filter(|_| covered) {
                index.unindexed_rows += group.rows;
            }
        }
        self.committed(now);
        groups.iter().map(|g| g.bytes).sum()
    }

    fn index(&mut self, ask: &Ask, now: &Now) -> u64 {
        let decision = indexing::plan(&self.stats, &self.policy.index, now.wall, ask.forced);
        let indexing::Decision::Index(tasks, _) = decision else {
            return 0;
        };
        let bytes = tasks.iter().map(|t| indexing::work(t, &self.stats).bytes);
        let bytes = bytes.sum();
        let mut merged = false;
        for task in &tasks {
            let (name, merge) = match task {
                Task::Append(name) => (name, false),
                Task::Merge(name) => (name, true),
                Task::Create(column) => {
                    self.stats.missing.retain(|m| m.column != *column);
                    *self = self.clone().indexed(column);
                    continue;
                }
            };
            merged |= merge;
            for index in self.stats.indexes.iter_mut().filter(|i| i.name == *name) {
                index.segments = if merge { 1 } else { index.segments + 1 };
                index.unindexed_rows = 0;
                index.unindexed_fragments = 0;
            }
        }
        self.next_coverage += 1;
        for fragment in &mut self.stats.fragments {
            if merged || fragment.coverage == 0 {
                fragment.coverage = self.next_coverage;
            }
        }
        self.committed(now);
        bytes
    }

    fn cleanup(&mut self, ask: &Ask, now: &Now) -> u64 {
        let (policy, protected) = (&self.policy.cleanup, &self.protected);
        let decision = cleanup::plan(&self.versions, protected, policy, now.wall, ask.forced);
        if let cleanup::Decision::Remove { versions, .. } = decision {
            self.versions.retain(|v| !versions.contains(&v.version));
        }
        0
    }

    fn put(&mut self, rows: u64, bytes: u64, coverage: u32) {
        self.stats.fragments.push(FragmentStats {
            coverage,
            ..fragment(self.next_fragment, rows, 0, bytes)
        });
        self.next_fragment += 1;
    }

    fn committed(&mut self, now: &Now) {
        self.stats.version += 1;
        self.versions.push(VersionInfo {
            version: self.stats.version,
            written: now.wall,
        });
    }
}
