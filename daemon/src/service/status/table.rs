//! The state of one table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use squire_engine::{
    TableStats,
    planner::{Decision, Duty, Policy, Skip},
};

use super::health::{self, Known};
use crate::api::{DutyInfo, Health, Layout, Series, TableInfo};

/// The state of one table.
#[derive(Debug, Default)]
pub(super) struct TableStatus {
    facts: Facts,
    versions: Option<u64>,
    looked: Option<DateTime<Utc>>,
    failing: Option<String>,
    /// Why its versions could not be listed.
    unlisted: Option<String>,
    /// A job of it makes no progress.
    stuck: bool,
    /// A quarantined operation keeps its writers out, or another program changed it.
    quarantined: Option<String>,
    drifted: Option<String>,
    /// The duties whose last job failed, with the error.
    failed: BTreeMap<Duty, String>,
    decisions: BTreeMap<Duty, (Decision, DutyInfo)>,
    health: (Health, Option<String>),
    since: Option<DateTime<Utc>>,
    trend: Series,
    /// The store's revision when something of it changed last.
    pub(super) changed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Facts {
    version: u64,
    rows: u64,
    small_fragments: u64,
    layout: Layout,
    deleted_fraction: f64,
    unindexed_fraction: Option<f64>,
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        (part as f64 / of as f64).min(1.0)
    }
}

impl Facts {
    fn of(stats: &TableStats, policy: &Policy) -> Self {
        let small = |f: &&squire_engine::FragmentStats| policy.compaction.is_small(f);
        let rows = stats.rows();
        let unindexed = stats.indexes.iter().map(|index| index.unindexed_rows).max();
        Self {
            version: stats.version,
            rows,
            small_fragments: stats.fragments.iter().filter(small).count() as u64,
            layout: Layout {
                fragments: stats.fragments.len() as u64,
                bytes: stats.bytes(),
            },
            deleted_fraction: share(stats.deleted_rows(), rows + stats.deleted_rows()),
            unindexed_fraction: unindexed.map(|unindexed| share(unindexed, rows)),
        }
    }
}

/// Sets a reason, or takes it away; whether that is news.
fn replace(reason: &mut Option<String>, why: Option<&str>) -> bool {
    let news = reason.as_deref() != why;
    if news {
        *reason = why.map(str::to_owned);
    }
    news
}

impl TableStatus {
    pub(super) fn layout(&self) -> Layout {
        self.facts.layout
    }

    /// A read went well; returns whether it brought anything to report.
    pub(super) fn looked(
        &mut self,
        stats: &TableStats,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> bool {
        let first = self.looked.replace(now).is_none();
        let facts = Facts::of(stats, policy);
        let news = first || facts != self.facts || self.failing.is_some();
        self.facts = facts;
        self.failing = None;
        self.classify();
        if news {
            self.trend.note(facts.layout, now);
        }
        news
    }

    /// A look failed; whether that is news.
    pub(super) fn fails(&mut self, error: &str) -> bool {
        let news = self.failing.as_deref() != Some(error);
        self.failing = Some(error.to_owned());
        self.classify();
        news
    }

    pub(super) fn has_versions(&mut self, versions: u64) -> bool {
        self.versions.replace(versions) != Some(versions)
    }

    /// Its versions could not be listed, or could again.
    pub(super) fn is_unlisted(&mut self, why: Option<&str>) -> bool {
        let news = replace(&mut self.unlisted, why);
        self.classify();
        news
    }

    /// A job of it makes no progress.
    pub(super) fn is_stuck(&mut self) -> bool {
        let news = !std::mem::replace(&mut self.stuck, true);
        self.classify();
        news
    }

    /// A quarantined operation keeps its writers out, or does no more.
    pub(super) fn is_quarantined(&mut self, why: Option<&str>) -> bool {
        let news = replace(&mut self.quarantined, why);
        self.classify_if(news)
    }

    /// Another program changed it, or that is resolved.
    pub(super) fn is_drifted(&mut self, why: Option<&str>) -> bool {
        let news = replace(&mut self.drifted, why);
        self.classify_if(news)
    }

    /// Every look at a graph comes here for each table: mostly there is no news.
    fn classify_if(&mut self, news: bool) -> bool {
        if news {
            self.classify();
        }
        news
    }

    /// A job ended, with this error or well.
    pub(super) fn ended(&mut self, duty: Duty, error: Option<&str>) {
        self.stuck = false;
        match error {
            Some(error) => drop(self.failed.insert(duty, error.to_owned())),
            None => drop(self.failed.remove(&duty)),
        }
        self.classify();
    }

    pub(super) fn decided(&mut self, duty: Duty, decision: Decision, info: DutyInfo) {
        if decision == Decision::Skip(Skip::Disabled) {
            // Nothing is expected of it any more.
            self.failed.remove(&duty);
        }
        self.decisions.insert(duty, (decision, info));
        self.classify();
    }

    /// What was decided last about a duty.
    pub(super) fn decision(&self, duty: Duty) -> Option<&DutyInfo> {
        self.decisions.get(&duty).map(|(_, info)| info)
    }

    /// How it is, in one word, and why.
    pub(super) fn health(&self) -> &(Health, Option<String>) {
        &self.health
    }

    /// Since when it is so.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    /// A client finds the word ready: that is often, and while keepers wait.
    fn classify(&mut self) {
        let decisions = self.decisions.iter();
        let decisions =
            decisions.map(|(duty, (decision, info))| (*duty, *decision, info.because()));
        let health = health::classify(&Known {
            looked: self.looked.is_some(),
            stuck: self.stuck,
            failing: self.failing.as_deref(),
            unlisted: self.unlisted.as_deref(),
            failed: &self.failed,
            unresolved: self.quarantined.as_deref().or(self.drifted.as_deref()),
            decisions: &decisions.collect::<Vec<_>>(),
        });
        if self.since.is_none() || health.0 != self.health.0 {
            self.since = Some(Utc::now());
        }
        self.health = health;
    }

    pub(super) fn info(&self, target: &str, table: &str, running: Option<Duty>) -> TableInfo {
        let (health, reason) = self.health.clone();
        let facts = self.facts;
        TableInfo {
            target: target.to_owned(),
            table: table.to_owned(),
            health: health.into(),
            since: self.since,
            reason,
            looked: self.looked,
            version: facts.version,
            rows: facts.rows,
            fragments: facts.layout.fragments,
            small_fragments: facts.small_fragments,
            bytes: facts.layout.bytes,
            deleted_fraction: facts.deleted_fraction,
            unindexed_fraction: facts.unindexed_fraction,
            versions: self.versions,
            duties: self
                .decisions
                .values()
                .map(|(_, info)| info.clone())
                .collect(),
            running: running.map(Into::into),
            trend: self.trend.clone(),
        }
    }
}
