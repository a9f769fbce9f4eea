//! The file that is being read, for messages of timeouts: a disk that does not answer says nothing itself.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

/// A note of what is being read; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Reading(Arc<Mutex<Option<String>>>);

impl Reading {
    /// This is read from now on, in the words of a message: a path.
    pub fn begin(&self, what: &dyn Display) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_string());
    }

    /// What is read; nothing before anything is.
    pub fn now(&self) -> Option<String> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }
}
