//! One target on the board.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    jobs::{AtWork, History},
    queue::TicketNotes,
    series::{Layout, Series},
    table::TableState,
    words::Health,
};
use crate::service::schedule::timetable::ScheduleNotes;

/// A target, as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TargetNotes {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it is, without secrets.
    pub(crate) uri: String,
    /// `graph` or `directory`; nothing as long as it could not be opened.
    pub(crate) kind: Option<String>,
    /// Whether it can be kept.
    pub(crate) status: Status,
    /// Why the last look at it failed.
    pub(crate) failing: Option<String>,
    /// Since when it is as it is.
    pub(crate) since: Option<DateTime<Utc>>,
    /// When it was looked at last.
    pub(crate) looked: Option<DateTime<Utc>>,
    /// How many tables it has, by their health.
    pub(crate) health: HealthCounts,
    /// Its tables.
    pub(crate) tables: u64,
    /// Fragments and bytes of all of them.
    pub(crate) layout: Layout,
    /// How these went.
    pub(crate) trend: Series,
    /// Jobs at work.
    pub(crate) running: u64,
    /// Tables that are due and wait for a place.
    pub(crate) backlog: u64,
    /// Tickets in the queue of a graph.
    pub(crate) tickets: u64,
    /// Its cron schedules, with when they come next.
    #[serde(default)]
    pub(crate) schedules: Vec<ScheduleNotes>,
}

/// Whether a target can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Its store does not answer, or its keeper stands still.
    Stuck,
    /// The last look at it failed. What is wrong with single tables is told by their health.
    Failing,
    /// Nobody has looked at it yet.
    Opening,
    /// It is kept.
    Ok,
}

/// Tables by their health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub(crate) struct HealthCounts {
    pub(crate) stuck: u64,
    pub(crate) failing: u64,
    pub(crate) blocked: u64,
    pub(crate) due: u64,
    pub(crate) paused: u64,
    pub(crate) ok: u64,
    pub(crate) unknown: u64,
}

impl HealthCounts {
    /// Each health with its word, the worst first.
    pub(crate) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("stuck", self.stuck),
            ("failing", self.failing),
            ("blocked", self.blocked),
            ("due", self.due),
            ("paused", self.paused),
            ("ok", self.ok),
            ("unknown", self.unknown),
        ]
    }

    /// Adds those of another target.
    pub(crate) fn add(&mut self, other: &Self) {
        self.stuck += other.stuck;
        self.failing += other.failing;
        self.blocked += other.blocked;
        self.due += other.due;
        self.paused += other.paused;
        self.ok += other.ok;
        self.unknown += other.unknown;
    }

    fn count(&mut self, health: Health) {
        *match health {
            Health::Stuck => &mut self.stuck,
            Health::Failing => &mut self.failing,
            Health::Blocked => &mut self.blocked,
            Health::Due => &mut self.due,
            Health::Paused => &mut self.paused,
            Health::Ok => &mut self.ok,
            Health::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// One target, as the board keeps it.
#[derive(Debug, Default)]
pub(super) struct TargetState {
    pub(super) uri: String,
    pub(super) kind: Option<String>,
    pub(super) failing: Option<String>,
    /// Since when it fails, or does not.
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) looked: Option<DateTime<Utc>>,
    pub(super) tables: BTreeMap<String, TableState>,
    pub(super) running: BTreeMap<String, AtWork>,
    pub(super) history: History,
    pub(super) queue: Vec<TicketNotes>,
    pub(super) backlog: u64,
    pub(super) trend: Series,
    /// Other daemons that keep the same place.
    pub(super) other_daemons: usize,
    /// Tables that went, with the revision at which they did.
    pub(super) gone: BTreeMap<String, u64>,
}

impl TargetState {
    /// Takes the layouts of its tables together.
    pub(super) fn note_layout(&mut self, now: DateTime<Utc>) {
        let layout = self.layout();
        self.trend.note(layout, now);
    }

    fn layout(&self) -> Layout {
        let layouts = self.tables.values().map(TableState::layout);
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

    pub(super) fn notes(&self, name: &str) -> TargetNotes {
        let health = self.health();
        TargetNotes {
            name: name.to_owned(),
            uri: self.uri.clone(),
            kind: self.kind.clone(),
            status: match (&self.failing, self.looked) {
                (Some(_), _) => Status::Failing,
                (None, None) => Status::Opening,
                (None, Some(_)) => Status::Ok,
            },
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
