//! Segments of indexes that could not be written for their rows' other addresses, when that was tried. A segment never
//! changes, and its id is unique: so all roots share what is known of them.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use chrono::Utc;
use uuid::Uuid;

use super::{
    lock,
    rest::{Again, Rest},
};

/// Maximum number that is remembered; a process that has seen more begins anew.
const REMEMBERED: usize = 65_536;

static REFUSED: LazyLock<Mutex<HashMap<Uuid, Rest>>> = LazyLock::new(Mutex::default);

/// Notes that these cannot be remapped: fragments under them are left alone from now on.
pub(crate) fn refuse(segments: impl IntoIterator<Item = Uuid>, reason: &str) {
    let (mut refused, now) = (lock(&REFUSED), Utc::now());
    if refused.len() >= REMEMBERED {
        refused.clear();
    }
    for segment in segments {
        let before = refused.get(&segment).map_or(0, |rest| rest.times);
        let rest = Rest::after(before, 0, Again::Later, reason.to_owned(), now);
        refused.insert(segment, rest);
    }
}

/// Why one is not tried again now.
pub(crate) fn reason(segment: Uuid) -> Option<String> {
    let refused = lock(&REFUSED);
    let rest = refused.get(&segment)?;
    rest.holds(true, Utc::now()).then(|| rest.reason.clone())
}

/// How many are not tried again now.
pub(crate) fn count() -> usize {
    let (refused, now) = (lock(&REFUSED), Utc::now());
    refused
        .values()
        .filter(|rest| rest.holds(true, now))
        .count()
}
