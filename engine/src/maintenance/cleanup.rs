//! Which versions of a table to remove.
//!
//! A version goes only when it is older than the age **and** beyond the count, and nothing protects it. Its age counts
//! from when the next version superseded it: until then a reader could have opened it.

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, Utc};

use crate::table::stats::VersionInfo;

/// What could have gone for so long makes a table due, however few versions that are.
pub const OVERDUE: Duration = Duration::from_secs(24 * 3600);

/// When the versions of a table are removed.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanupPolicy {
    /// Whether versions are removed at all.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not.
    pub interval_floor: Duration,
    /// A version stays for so long after it was superseded.
    pub keep_for: Duration,
    /// So many of the newest versions stay, however old.
    pub keep_versions: usize,
    /// Fewer removable versions than this are no reason, unless one could have gone a day ago, see [`OVERDUE`].
    pub min_versions: usize,
    /// From so many removable versions on, windows and paces do not hold the table back; a pause does.
    pub emergency_versions: usize,
}

impl Default for CleanupPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_floor: Duration::from_secs(600),
            keep_for: Duration::from_secs(7 * 24 * 3600),
            keep_versions: 10,
            min_versions: 20,
            emergency_versions: 1_000,
        }
    }
}

/// What must stay, whatever the policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    /// This version and every later one: the oldest pin of a kept manifest, the oldest base of a ticket.
    pub from: Option<u64>,
    /// Versions with tags, and those that branches began at.
    pub versions: BTreeSet<u64>,
}

/// What the planner says of a table's versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Remove the versions before `below`, of which there are so many that nothing protects.
    Remove {
        /// The first version that stays.
        below: u64,
        /// How many go.
        versions: usize,
        /// Why.
        reason: Reason,
    },
    /// Leave them alone, because of this.
    Skip(Skip),
}

/// Why versions are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// They are past what retention promises.
    Retention,
    /// They are few, but the oldest could have gone a day ago.
    Overdue,
    /// There are so many that windows and paces do not hold the table back.
    Emergency,
    /// Somebody said so, or the cron did: the least number does not count.
    Forced,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Overdue => "overdue",
            Self::Emergency => "emergency",
            Self::Forced => "forced",
        }
    }
}

/// Why versions are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// All are within retention.
    Retained,
    /// Some are past retention, but fewer than are worth the look.
    BelowThreshold,
    /// All that are past retention are protected.
    Protected,
    /// Its versions were not listed lately.
    Unlisted,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::BelowThreshold => "below_threshold",
            Self::Protected => "protected",
            Self::Unlisted => "unlisted",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Plans the removal of one table's versions, which are given in any order. `forced` leaves the least number aside, not
/// retention. When it is the least number that keeps a few of them, they go a day later.
///
/// Versions go from the oldest on, up to the first that must stay. The newest always stays.
pub fn plan(
    versions: &[VersionInfo],
    protected: &Protected,
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
    forced: bool,
) -> Verdict {
    let mut versions = versions.to_vec();
    versions.sort_unstable_by_key(|v| v.version);
    versions.dedup_by_key(|v| v.version);
    let beyond = versions.len().saturating_sub(policy.keep_versions.max(1));
    let expired = versions.windows(2).take(beyond).take_while(|pair| {
        let superseded = now.signed_duration_since(pair[1].written);
        superseded.to_std().is_ok_and(|age| age >= policy.keep_for)
    });
    let expired = expired.count();
    if expired == 0 {
        return Verdict::Skip(Skip::Retained);
    }
    let from = protected.from.unwrap_or(u64::MAX);
    let before = versions[..expired].partition_point(|v| v.version < from);
    let goes = |v: &VersionInfo| !protected.versions.contains(&v.version);
    let going = versions[..before].iter().filter(|v| goes(v)).count();
    let reason = if going == 0 {
        return Verdict::Skip(Skip::Protected);
    } else if going >= policy.emergency_versions {
        Reason::Emergency
    } else if forced {
        Reason::Forced
    } else if going >= policy.min_versions {
        Reason::Retention
    } else if is_overdue(
        &versions,
        versions[..before].iter().position(goes),
        policy,
        now,
    ) {
        Reason::Overdue
    } else {
        return Verdict::Skip(Skip::BelowThreshold);
    };
    let last = versions[..before].last().map_or(0, |v| v.version);
    Verdict::Remove {
        below: last.saturating_add(1).min(from),
        versions: going,
        reason,
    }
}

/// Whether the version at this place, in the order of numbers, could have gone a day ago: it was past the age and
/// beyond the count by then.
fn is_overdue(
    versions: &[VersionInfo],
    place: Option<usize>,
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
) -> bool {
    let since = |place: Option<usize>, wait: Duration| {
        let at = place.and_then(|place| versions.get(place));
        let passed = at.map(|v| now.signed_duration_since(v.written).to_std());
        passed.is_some_and(|passed| passed.is_ok_and(|passed| passed >= wait))
    };
    let after = |n: usize| place.and_then(|place| place.checked_add(n));
    since(after(1), policy.keep_for.saturating_add(OVERDUE))
        && since(after(policy.keep_versions.max(1)), OVERDUE)
}

#[cfg(test)]
#[path = "cleanup_tests.rs"]
mod tests;
