//! How long what was written for a table, and is named by no version yet, may still be committed.

use chrono::{DateTime, TimeDelta, Utc};

/// Maximum age of staged files at their commit. Cleanup removes files that no version names once they are seven days
/// old by the store's clock; the difference is for clocks that disagree.
const STAGED_FILES_EXPIRE_AFTER: TimeDelta = TimeDelta::days(3);

/// Whether files whose writing began then are too old to be committed, by the clock of this machine.
pub(crate) fn is_expired(began: DateTime<Utc>) -> bool {
    Utc::now() - began > STAGED_FILES_EXPIRE_AFTER
}
