//! Pauses: a user says that a target or a table is left alone until some time. They end by themselves, so that no
//! maintenance is off for weeks because a pause was forgotten.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A target, or one table of it, that is left alone until some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The target, by its name in the config.
    pub target: String,
    /// The table, by its key as it is printed; nothing for the whole target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// All pauses of a daemon. As JSON, a list of [`Pause`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Pause>", into = "Vec<Pause>")]
pub struct Pauses {
    until: BTreeMap<(String, Option<String>), DateTime<Utc>>,
}

impl Pauses {
    /// Leaves a target, or one table of it, alone until then. A pause that is there already is replaced, also by a
    /// shorter one.
    pub fn pause(&mut self, target: &str, table: Option<&str>, until: DateTime<Utc>) {
        self.until.insert(key(target, table), until);
    }

    /// Ends the pause of a target, or of one table of it; false when there is none. Those of a target's tables outlive
    /// that of the target.
    pub fn resume(&mut self, target: &str, table: Option<&str>) -> bool {
        self.until.remove(&key(target, table)).is_some()
    }

    /// Until when this table is left alone, on its own account or its target's; nothing when it is not.
    pub fn until(&self, target: &str, table: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let on_account_of = |table| self.until.get(&key(target, table)).copied();
        let pauses = [on_account_of(None), on_account_of(Some(table))];
        pauses
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .max()
    }

    /// Those that have not ended, by target and table.
    pub fn active(&self, now: DateTime<Utc>) -> Vec<Pause> {
        let mut active: Vec<Pause> = self.clone().into();
        active.retain(|pause| pause.until > now);
        active
    }

    /// Forgets those that have ended; true when there were any.
    pub fn expire(&mut self, now: DateTime<Utc>) -> bool {
        let before = self.until.len();
        self.until.retain(|_, until| *until > now);
        self.until.len() < before
    }
}

fn key(target: &str, table: Option<&str>) -> (String, Option<String>) {
    (target.to_owned(), table.map(str::to_owned))
}

impl From<Vec<Pause>> for Pauses {
    fn from(pauses: Vec<Pause>) -> Self {
        let until = pauses.into_iter().map(|p| ((p.target, p.table), p.until));
        Self {
            until: until.collect(),
        }
    }
}

impl From<Pauses> for Vec<Pause> {
    fn from(pauses: Pauses) -> Self {
        let pauses = pauses.until.into_iter();
        pauses
            .map(|((target, table), until)| Pause {
                target,
                table,
                until,
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod tests;
