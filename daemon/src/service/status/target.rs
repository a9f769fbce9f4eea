//! The state of one target.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    jobs::{AtWork, History},
    table::TableStatus,
};
use crate::api::{Health, HealthCounts, Layout, Series, Status, TargetInfo, TicketInfo};

/// A table that somebody has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::service) struct UnwellTable {
    /// `stuck`, `failing` or `blocked`.
    pub(in crate::service) health: &'static str,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) since: Option<DateTime<Utc>>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) reason: Option<String>,
}

/// The state of one target.
#[derive(Debug, Default)]
pub(super) struct TargetStatus {
    pub(super) uri: String,
    pub(super) kind: Option<String>,
    pub(super) failing: Option<String>,
    /// Since when it fails, or does not.
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) looked: Option<DateTime<Utc>>,
    pub(super) tables: BTreeMap<String, TableStatus>,
    pub(super) running: BTreeMap<String, AtWork>,
    pub(super) history: History,
    pub(super) queue: Vec<TicketInfo>,
    pub(super) backlog: u64,
    pub(super) trend: Series,
    /// Other daemons that keep the same place.
    pub(super) other_daemons: usize,
    /// Tables that went, with the revision at which they did.
    pub(super) gone: BTreeMap<String, u64>,
}

impl TargetStatus {
    /// Takes the layouts of its tables together.
    pub(super) fn note_layout(&mut self, now: DateTime<Utc>) {
        let layout = self.layout();
        self.trend.note(layout, now);
    }

    fn layout(&self) -> Layout {
        let layouts = self.tables.values().map(TableStatus::layout);
        layouts.fold(Layout::default(), |sum, layout| Layout {
            fragments: sum.fragments + layout.fragments,
            bytes: sum.bytes + layout.bytes,
        })
    }

    /// How many tables it has, by their health.
    pub(super) fn health(&self) -> HealthCounts {
        let mut health = HealthCounts::default();
        self.tables
            .values()
            .for_each(|table| health.count(table.health().0));
        health
    }

    /// The first `most` tables that somebody has to look at, by name, and how each is.
    pub(super) fn unwell(&self, most: usize) -> BTreeMap<String, UnwellTable> {
        let is_unwell =
            |health| matches!(health, Health::Stuck | Health::Failing | Health::Blocked);
        let unwell = self.tables.iter().filter_map(|(name, table)| {
            let (health, reason) = table.health();
            let unwell = is_unwell(*health).then(|| UnwellTable {
                health: health.as_str(),
                since: table.since(),
                reason: reason.clone(),
            })?;
            Some((name.clone(), unwell))
        });
        unwell.take(most).collect()
    }

    pub(super) fn info(&self, name: &str) -> TargetInfo {
        let health = self.health();
        TargetInfo {
            name: name.to_owned(),
            uri: self.uri.clone(),
            kind: self.kind.clone(),
            status: match (&self.failing, self.looked) {
                (Some(_), _) => Status::Failing,
                (None, None) => Status::Opening,
                (None, Some(_)) => Status::Ok,
            }
            .into(),
            failing: self.failing.clone(),
            since: self.since,
            looked: self.looked,
            health,
            tables: self.tables.len() as u64,
            layout: self.layout(),
            trend: self.trend.clone(),
            running: self.running.len() as u64,
            backlog: self.backlog,
            tickets: self.queue.len() as u64,
            // The timetable has them.
            schedules: Vec::new(),
        }
    }
}
