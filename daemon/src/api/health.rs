//! How a table and a target are, in one word, and how many tables are so.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::word::Spelled;

/// How a table is, worst first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// A job of it makes no progress, and is being cancelled.
    Stuck,
    /// It cannot be read, or its last job failed.
    Failing,
    /// Something is due that cannot be done until an operator acts.
    Blocked,
    /// Something is due, and is done as soon as there is time for it.
    Due,
    /// Something is due, and a user has paused it.
    Paused,
    /// It is as its policy wants it.
    Ok,
    /// It was not polled yet.
    #[default]
    Unknown,
}

impl Health {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 7] = [
        Self::Stuck,
        Self::Failing,
        Self::Blocked,
        Self::Due,
        Self::Paused,
        Self::Ok,
        Self::Unknown,
    ];

    /// How it is spelled in JSON, logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Failing => "failing",
            Self::Blocked => "blocked",
            Self::Due => "due",
            Self::Paused => "paused",
            Self::Ok => "ok",
            Self::Unknown => "unknown",
        }
    }
}

impl Spelled for Health {
    fn spelled(self) -> &'static str {
        self.as_str()
    }
}

/// Whether a target can be maintained, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Its store does not answer, or its keeper makes no progress.
    Stuck,
    /// The last poll of it failed. What is wrong with single tables is in their health.
    Failing,
    /// It was not polled yet.
    Opening,
    /// It is maintained.
    Ok,
}

impl Status {
    /// All of them, the worst first.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::Stuck, Self::Failing, Self::Opening, Self::Ok];

    /// How it is spelled in JSON, logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Failing => "failing",
            Self::Opening => "opening",
            Self::Ok => "ok",
        }
    }
}

impl Spelled for Status {
    fn spelled(self) -> &'static str {
        self.as_str()
    }
}

/// Tables by their health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
#[serde(default)]
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
    /// How many tables have this health.
    pub(crate) fn of(&self, health: Health) -> u64 {
        match health {
            Health::Stuck => self.stuck,
            Health::Failing => self.failing,
            Health::Blocked => self.blocked,
            Health::Due => self.due,
            Health::Paused => self.paused,
            Health::Ok => self.ok,
            Health::Unknown => self.unknown,
        }
    }

    /// Each health with its count, the worst first.
    pub(crate) fn named(&self) -> [(&'static str, u64); 7] {
        Health::ALL.map(|health| (health.as_str(), self.of(health)))
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

    /// Counts one more table.
    pub(crate) fn count(&mut self, health: Health) {
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
