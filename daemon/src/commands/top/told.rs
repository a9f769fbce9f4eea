//! What the daemon tells of itself, as far as it is shown. What a daemon of another version tells besides is passed over,
//! and what it does not tell is empty.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{output, service::pauses::Noted};

/// A text of the daemon's, which may be of anybody's making. It is shown only as a terminal can be given it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text(String);

impl Text {
    /// As it is, to be sent back.
    pub(super) fn raw(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// On one line, without orders to the terminal.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match output::harmless(&self.0) {
            text if text.contains('\n') => f.pad(&text.replace('\n', " ")),
            Cow::Borrowed(text) => f.pad(text),
            Cow::Owned(text) => f.pad(&text),
        }
    }
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Jobs that can be at work at once.
    pub(super) places: u64,
    /// Why the last configuration was refused, if it was.
    pub(super) refused: Option<Text>,
    pub(super) targets: Vec<Target>,
    pub(super) tables: BTreeMap<(Text, Text), Table>,
    pub(super) running: Vec<Job>,
    /// With the targets' names.
    pub(super) queue: Vec<(Text, Ticket)>,
    /// The last first.
    pub(super) history: Vec<Run>,
    pub(super) pauses: Vec<Noted>,
    /// Why everything is paused, if it is.
    pub(super) pauses_unreadable: Option<Text>,
}

impl Told {
    /// Whether a person has paused exactly this.
    pub(super) fn is_paused(&self, target: &str, table: Option<&str>) -> bool {
        let mut pauses = self.pauses.iter();
        pauses.any(|pause| pause.target == target && pause.table.as_deref() == table)
    }
}

/// How the configuration was loaded.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub(super) last: Loaded,
}

/// The last attempt at it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Loaded {
    pub(super) error: Option<Text>,
}

/// A target.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) name: Text,
    pub(super) uri: Text,
    pub(super) kind: Option<Text>,
    pub(super) status: Text,
    pub(super) failing: Option<Text>,
    pub(super) looked: Option<DateTime<Utc>>,
    pub(super) health: BTreeMap<String, u64>,
    pub(super) tables: u64,
    pub(super) layout: Layout,
    pub(super) trend: Trend,
    pub(super) running: u64,
    pub(super) backlog: u64,
    pub(super) tickets: u64,
    pub(super) schedules: Vec<Schedule>,
}

/// A cron schedule of a target.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Schedule {
    pub(super) duty: Text,
    pub(super) next: Option<DateTime<Utc>>,
}

/// How much something has.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Layout {
    pub(super) fragments: u64,
    pub(super) bytes: u64,
}

/// How that went.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trend {
    pub(super) fragments: Vec<u64>,
}

/// A table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Table {
    pub(super) target: Text,
    pub(super) table: Text,
    pub(super) health: Text,
    pub(super) reason: Option<Text>,
    pub(super) looked: Option<DateTime<Utc>>,
    pub(super) rows: u64,
    pub(super) fragments: u64,
    pub(super) small_fragments: u64,
    pub(super) bytes: u64,
    pub(super) deleted_fraction: f64,
    pub(super) unindexed_fraction: Option<f64>,
    pub(super) versions: Option<u64>,
    pub(super) running: Option<Text>,
    pub(super) trend: Trend,
}

/// A job that is at work.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    pub(super) target: Text,
    pub(super) table: Text,
    pub(super) duty: Text,
    pub(super) reason: Text,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) phase: Text,
    pub(super) done: u64,
    pub(super) all: u64,
}

/// An operation's place in the queue of a graph.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ticket {
    pub(super) operation: Text,
    pub(super) kind: Text,
    pub(super) actor: Text,
    pub(super) writes: Vec<Text>,
    pub(super) state: Text,
    pub(super) reason: Option<Text>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) waits_for: Vec<Text>,
}

/// A job that has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) target: Text,
    pub(super) table: Text,
    pub(super) duty: Text,
    pub(super) reason: Text,
    pub(super) began: Option<DateTime<Utc>>,
    pub(super) seconds: f64,
    pub(super) outcome: Text,
    pub(super) detail: Option<Text>,
    pub(super) before: Layout,
    pub(super) after: Option<Layout>,
}
