//! The record: how the last attempt to load the configuration ended, for whoever asks.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the configuration was loaded: at the start, or by a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Loaded {
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// Why it was refused, with the place and the remedy; the one before stays in force. Nothing when it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What it changed, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<String>,
    /// The keys that it changes and that only a restart brings into force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for_restart: Vec<String>,
}

/// The configuration of a running daemon.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ConfigNotes {
    /// Since when what holds has been in force.
    pub(crate) in_force_since: DateTime<Utc>,
    /// The last attempt to load it.
    pub(crate) last: Loaded,
}

/// The record.
#[derive(Debug)]
pub(in crate::service) struct Record(Mutex<ConfigNotes>);

impl Record {
    /// Begins with the configuration that the daemon starts with.
    pub(in crate::service) fn start() -> Self {
        let first = Loaded {
            at: Utc::now(),
            error: None,
            changes: Vec::new(),
            waits_for_restart: Vec::new(),
        };
        Self(Mutex::new(ConfigNotes {
            in_force_since: first.at,
            last: first,
        }))
    }

    /// Notes an attempt.
    pub(in crate::service) fn note(&self, loaded: Loaded) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.error.is_none() {
            notes.in_force_since = loaded.at;
        }
        notes.last = loaded;
    }

    /// What there is to tell.
    pub(in crate::service) fn notes(&self) -> ConfigNotes {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_and_what_is_in_force_stays_as_old_as_it_is() {
        let record = Record::start();
        let since = record.notes().in_force_since;
        let later = |seconds, error: Option<&str>| Loaded {
            at: since + chrono::TimeDelta::seconds(seconds),
            error: error.map(str::to_owned),
            changes: Vec::new(),
            waits_for_restart: Vec::new(),
        };
        record.note(later(5, Some("line 3: no")));
        let notes = record.notes();
        assert_eq!(notes.in_force_since, since);
        assert_eq!(notes.last.error.as_deref(), Some("line 3: no"));
        record.note(later(9, None));
        assert_eq!(record.notes().in_force_since, later(9, None).at);
    }
}
