//! Which versions of a table to remove.
//!
//! A version goes only when it is older than the age **and** beyond the count, and nothing protects it. Its age counts
//! from when the next version superseded it: until then a reader could have opened it. What goes is named one by one:
//! the executor has nothing left to decide.
//!
//! Of what protects a version, [`Protected`], the executors tell: `table/protection.rs` tags and branches, `table/readers.rs`
//! clones and views, `graph/operation/cleanup.rs` pins and tickets.

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, Utc};

use super::{skip_class::SkipClass, statistics::VersionInfo};

/// Versions that could have gone for this long make a table due, however few they are.
pub const OVERDUE: Duration = Duration::from_secs(24 * 3600);

/// What a manifest is thought to take, besides its fragments.
const MANIFEST_BYTES: u64 = 2 << 10;
/// What each fragment is thought to take in a manifest.
const FRAGMENT_BYTES: u64 = 128;

/// When the versions of a table are removed.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanupPolicy {
    /// Whether versions are removed at all.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not.
    pub interval_floor: Duration,
    /// How long a version stays after it was superseded.
    pub keep_for: Duration,
    /// The number of newest versions that stay, however old.
    pub keep_versions: usize,
    /// Fewer removable versions than this are no reason, unless one could have gone a day ago, see [`OVERDUE`].
    pub min_versions: usize,
    /// From this many removable versions on, and when they are more than those that stay, windows and paces do not hold
    /// the table back; a pause does.
    pub emergency_versions: usize,
}

impl CleanupPolicy {
    /// The number of versions that must be removable to be worth a cleanup, which reads the manifests of all versions:
    /// as many as `min_versions`, and a tenth of those that stay.
    pub fn worth(&self, versions: usize) -> usize {
        let tenth_of_the_rest = versions.div_ceil(11);
        self.min_versions.max(tenth_of_the_rest)
    }
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
    /// This version and every later one: the oldest pin of a kept manifest, the oldest base of a ticket, the version that
    /// a computed column was last filled at.
    pub from: Option<u64>,
    /// Versions with tags, those that branches begin at, and those that clones read.
    pub versions: BTreeSet<u64>,
}

impl Protected {
    /// Whether it leaves a version to the policy.
    fn lets_go(&self, version: u64) -> bool {
        self.from.is_none_or(|from| version < from) && !self.versions.contains(&version)
    }
}

/// What the planner says of a table's versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Remove versions, and files that no version names.
    Remove {
        /// Exactly these, in order. There are none when it is for the files alone.
        versions: Vec<u64>,
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
    /// A user or the cron asked for it: the least number does not count.
    Forced,
    /// No version need go, but there are old files that none names.
    LeftOver,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Overdue => "overdue",
            Self::Emergency => "emergency",
            Self::Forced => "forced",
            Self::LeftOver => "left_over",
        }
    }
}

/// Why versions are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// All are within retention.
    Retained,
    /// Some are past retention, but fewer than are worth a cleanup.
    BelowThreshold,
    /// All that are past retention are protected.
    Protected,
    /// Its versions were not listed lately.
    Unlisted,
    /// Lance would not remove anything: the statistics tell why.
    Unwritable,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::BelowThreshold => "below_threshold",
            Self::Protected => "protected",
            Self::Unlisted => "unlisted",
            Self::Unwritable => "unwritable",
        }
    }

    /// What it means for health, alerts and schedules.
    pub(super) const fn class(self) -> SkipClass {
        match self {
            Self::Retained | Self::BelowThreshold | Self::Protected => SkipClass::Idle,
            Self::Unlisted => SkipClass::Unlisted,
            Self::Unwritable => SkipClass::Blocked,
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
/// Versions go from the oldest on, up to the first that policy keeps. The newest always stays.
pub fn plan(
    versions: &[VersionInfo],
    protected: &Protected,
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
    forced: bool,
) -> Decision {
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
        return Decision::Skip(Skip::Retained);
    }
    let places = (0..expired).filter(|place| protected.lets_go(versions[*place].version));
    let oldest = places.clone().next();
    let going: Vec<_> = places.map(|place| versions[place].version).collect();
    let stay = versions.len() - going.len();
    let reason = if going.is_empty() {
        return Decision::Skip(Skip::Protected);
    } else if going.len() >= policy.emergency_versions && going.len() > stay {
        Reason::Emergency
    } else if forced {
        Reason::Forced
    } else if going.len() >= policy.worth(versions.len()) {
        Reason::Retention
    } else if is_overdue(&versions, oldest, policy, now) {
        Reason::Overdue
    } else {
        return Decision::Skip(Skip::BelowThreshold);
    };
    Decision::Remove {
        versions: going,
        reason,
    }
}

/// How many versions could have gone a day ago, and are still there. What retention keeps is none of them, nor what is
/// protected: however many these are, it is well. Versions are given in any order.
pub fn overdue(
    versions: &[VersionInfo],
    protected: &Protected,
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
) -> usize {
    if !policy.enabled {
        return 0;
    }
    let mut versions = versions.to_vec();
    versions.sort_unstable_by_key(|v| v.version);
    versions.dedup_by_key(|v| v.version);
    let late = (0..versions.len())
        .take_while(|place| is_overdue(&versions, Some(*place), policy, now))
        .filter(|place| protected.lets_go(versions[*place].version));
    late.count()
}

impl Decision {
    /// The same for a table that has files which no version names, and which are so old that none will: they are a reason
    /// of their own.
    #[must_use]
    pub fn with_left_over_files(self) -> Self {
        match self {
            Self::Remove { .. } => self,
            Self::Skip(_) => Self::Remove {
                versions: Vec::new(),
                reason: Reason::LeftOver,
            },
        }
    }
}

/// Bytes that a cleanup is expected to read of a table with this number of versions and fragments: all manifests.
pub fn reads(versions: usize, fragments: usize) -> u64 {
    let manifest = MANIFEST_BYTES.saturating_add(FRAGMENT_BYTES.saturating_mul(fragments as u64));
    manifest.saturating_mul(versions as u64)
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
