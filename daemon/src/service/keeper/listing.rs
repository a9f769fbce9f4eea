//! When a table's versions are listed: only when a cleanup could be due, as a list costs a request.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use squire_engine::{
    VersionInfo,
    planner::cleanup::{CleanupPolicy, OVERDUE},
};

/// The versions of a table as they were when they were listed last.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) versions: Vec<VersionInfo>,
    /// Before this time, and before this version, another list cannot show more to remove.
    not_before: DateTime<Utc>,
    not_below: u64,
    /// By this time a few may be overdue, if there are more than stay.
    stale: DateTime<Utc>,
}

impl Listing {
    /// Takes in a list, in any order.
    pub(super) fn new(
        mut versions: Vec<VersionInfo>,
        policy: &CleanupPolicy,
        now: DateTime<Utc>,
    ) -> Self {
        versions.sort_by_key(|v| v.version);
        // The version that took the place of the last one that would have to go.
        let worth = policy.worth(versions.len());
        let successor = versions.get(worth);
        let superseded = successor.map_or(now, |v| v.written);
        let newest = versions.last().map_or(0, |v| v.version);
        let wanted = policy.keep_versions.saturating_add(worth);
        let missing = wanted.saturating_sub(versions.len()) as u64;
        Self {
            not_before: after(superseded, policy.keep_for),
            not_below: newest.saturating_add(missing),
            stale: after(now, OVERDUE),
            versions,
        }
    }
}

/// Whether a list is worth its request: nothing is known, or what is known may be out of date. `newest` is the table's
/// newest version; it has at most so many.
pub(super) fn is_due(
    listing: Option<&Listing>,
    newest: u64,
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
    forced: bool,
) -> bool {
    if !policy.enabled {
        return false;
    }
    match listing {
        None => newest > policy.keep_versions.max(1) as u64,
        Some(known) => {
            let listed = known.versions.last().map_or(0, |v| v.version);
            if forced {
                return newest > listed;
            }
            let many = newest >= known.not_below && now >= known.not_before;
            newest > listed && (many || now >= known.stale)
        }
    }
}

fn after(at: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    at.checked_add_signed(wait)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> CleanupPolicy {
        CleanupPolicy {
            keep_for: Duration::from_secs(100),
            keep_versions: 2,
            min_versions: 3,
            ..CleanupPolicy::default()
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Versions from 1 on, one every ten seconds.
    fn versions(n: u64) -> Vec<VersionInfo> {
        let version = |version: u64| VersionInfo {
            version,
            written: at(i64::try_from(version).unwrap_or(0) * 10),
        };
        (1..=n).map(version).collect()
    }

    #[test]
    fn a_table_of_few_versions_is_never_listed() {
        let due = |newest, forced| is_due(None, newest, &policy(), at(0), forced);
        let keep = policy().keep_versions as u64;
        for forced in [false, true] {
            assert_eq!((due(keep, forced), due(keep + 1, forced)), (false, true));
        }
        let off = CleanupPolicy {
            enabled: false,
            ..policy()
        };
        assert!(!is_due(None, 1_000, &off, at(0), true));
    }

    #[test]
    fn it_is_listed_again_only_when_enough_versions_can_be_past_retention() {
        let listing = Listing::new(versions(4), &policy(), at(45));
        let due = |newest, now| is_due(Some(&listing), newest, &policy(), at(now), false);
        assert!(!due(4, 10_000), "nothing has come");
        assert!(!due(5, 60), "three that are superseded are not old enough");
        assert!(
            due(5, 140),
            "version 4, of 40 s, took the place of the third"
        );
        assert!(is_due(Some(&listing), 5, &policy(), at(60), true));
    }

    #[test]
    fn it_is_listed_once_a_day_for_the_few_that_may_be_overdue() {
        let patient = CleanupPolicy {
            min_versions: 1_000,
            ..policy()
        };
        let listing = Listing::new(versions(4), &patient, at(45));
        let due = |newest, now| is_due(Some(&listing), newest, &patient, at(now), false);
        assert!(!due(5, 86_444));
        assert!(due(5, 86_445));
        assert!(!due(4, 86_445), "nothing has come");
    }

    #[test]
    fn what_is_known_is_not_listed_again() {
        let listing = Listing::new(versions(50), &policy(), at(500));
        assert!(!is_due(Some(&listing), 50, &policy(), at(9_999), false));
        assert!(!is_due(Some(&listing), 50, &policy(), at(9_999), true));
    }
}
