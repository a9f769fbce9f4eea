//! The record: how the last attempt to load the configuration ended, for clients.

use std::sync::{Mutex, PoisonError};

use chrono::Utc;

use crate::api::{ConfigInfo, Loaded};

/// The record.
#[derive(Debug)]
pub(in crate::service) struct Record(Mutex<ConfigInfo>);

impl Record {
    /// Begins with the configuration that the daemon starts with.
    pub(in crate::service) fn start() -> Self {
        let first = Loaded {
            at: Utc::now(),
            error: None,
            changes: Vec::new(),
            waits_for_restart: Vec::new(),
        };
        Self(Mutex::new(ConfigInfo {
            in_force_since: first.at,
            last: first,
        }))
    }

    /// Notes an attempt.
    pub(in crate::service) fn note(&self, loaded: Loaded) {
        let mut info = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.error.is_none() {
            info.in_force_since = loaded.at;
        }
        info.last = loaded;
    }

    /// What there is to tell.
    pub(in crate::service) fn info(&self) -> ConfigInfo {
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
        let since = record.info().in_force_since;
        let later = |seconds, error: Option<&str>| Loaded {
            at: since + chrono::TimeDelta::seconds(seconds),
            error: error.map(str::to_owned),
            changes: Vec::new(),
            waits_for_restart: Vec::new(),
        };
        record.note(later(5, Some("line 3: no")));
        let info = record.info();
        assert_eq!(info.in_force_since, since);
        assert_eq!(info.last.error.as_deref(), Some("line 3: no"));
        record.note(later(9, None));
        assert_eq!(record.info().in_force_since, later(9, None).at);
    }
}
