//! How a table is, in one word, with the reason: a pure function of what is known of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use squire_engine::planner::{Decision, Duty, Skip, SkipClass};

use crate::api::Health;

/// What is known of one table.
pub(super) struct Known<'a> {
    /// It has been polled.
    pub(super) looked: bool,
    /// A job of it makes no progress.
    pub(super) stuck: bool,
    /// Why the last look failed.
    pub(super) failing: Option<&'a str>,
    /// Why its versions could not be listed.
    pub(super) unlisted: Option<&'a str>,
    /// The duties whose last job failed, with the error, until one of it ends well.
    pub(super) failed: &'a BTreeMap<Duty, String>,
    /// What an operator has to resolve before its writers go on.
    pub(super) unresolved: Option<&'a str>,
    /// What was decided last about each duty, with details.
    pub(super) decisions: &'a [(Duty, Decision, String)],
}

/// The worst that is known of the table, and why; no reason where all is well.
pub(super) fn classify(known: &Known<'_>) -> (Health, Option<String>) {
    if known.stuck {
        let why = "a job stands still, and is being cancelled";
        return (Health::Stuck, Some(why.to_owned()));
    }
    if let Some(error) = known.failing {
        return (Health::Failing, Some(error.to_owned()));
    }
    if !known.failed.is_empty() {
        let failed = known.failed.iter();
        let failed: Vec<_> = failed
            .map(|(duty, error)| format!("the last {} failed: {error}", duty.as_str()))
            .collect();
        return (Health::Failing, Some(failed.join("; ")));
    }
    if let Some(error) = known.unlisted {
        let why = format!("its versions cannot be listed: {error}");
        return (Health::Failing, Some(why));
    }
    if let Some(why) = known.unresolved {
        return (Health::Blocked, Some(why.to_owned()));
    }
    let worst = known.decisions.iter().map(|(duty, decision, reason)| {
        let reason = format!("{}: {reason}", duty.as_str());
        (of(*decision), Some(reason))
    });
    match worst.min_by_key(|(health, _)| *health) {
        Some((Health::Ok, _)) => (Health::Ok, None),
        Some(worst) => worst,
        None if known.looked => (Health::Ok, None),
        None => (Health::Unknown, None),
    }
}

fn of(decision: Decision) -> Health {
    let skip = match decision {
        Decision::Act(_) => return Health::Due,
        Decision::Skip(skip) => skip,
    };
    match skip.class() {
        SkipClass::Paused => Health::Paused,
        SkipClass::Blocked => Health::Blocked,
        SkipClass::Delayed => Health::Due,
        // What was done a moment ago, or is being done, is no reason to check the table.
        SkipClass::Idle | SkipClass::Excluded | SkipClass::Busy | SkipClass::Unlisted => Health::Ok,
    }
}

/// How long a skip holds at least, where that is known.
pub(super) fn not_before(
    skip: Skip,
    ended: Option<DateTime<Utc>>,
    wait: std::time::Duration,
) -> Option<DateTime<Utc>> {
    match skip {
        Skip::IntervalFloor | Skip::BackOff => {
            ended?.checked_add_signed(chrono::TimeDelta::from_std(wait).ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use squire_engine::planner::{compaction, indexing};

    use super::*;

    const TIDY: Decision = Decision::Skip(Skip::Compaction(compaction::Skip::Tidy));
    const BACK_OFF: Decision = Decision::Skip(Skip::BackOff);
    const REFUSED: Decision = Decision::Skip(Skip::Index(indexing::Skip::Refused));

    fn health(
        failing: Option<&str>,
        failed: &[(Duty, &str)],
        decisions: &[(Duty, Decision)],
    ) -> (Health, Option<String>) {
        let decisions: Vec<_> = decisions
            .iter()
            .map(|(duty, decision)| match decision {
                Decision::Act(reason) => (*duty, *decision, reason.to_string()),
                Decision::Skip(skip) => (*duty, *decision, skip.to_string()),
            })
            .collect();
        let failed = failed
            .iter()
            .map(|(duty, error)| (*duty, (*error).to_owned()));
        classify(&Known {
            looked: !decisions.is_empty(),
            stuck: false,
            failing,
            unlisted: None,
            failed: &failed.collect(),
            unresolved: None,
            decisions: &decisions,
        })
    }

    #[test]
    fn what_an_operator_has_to_resolve_blocks_a_table_that_has_nothing_else() {
        let none = BTreeMap::new();
        let known = |failing| Known {
            looked: true,
            stuck: false,
            failing,
            unlisted: None,
            failed: &none,
            unresolved: Some("quarantined"),
            decisions: &[],
        };
        let why = Some("quarantined".to_owned());
        assert_eq!(classify(&known(None)), (Health::Blocked, why));
        assert_eq!(classify(&known(Some("torn"))).0, Health::Failing);
    }

    #[test]
    fn the_worst_that_is_known_of_a_table_is_its_health() {
        use Duty::{Compaction, Index};
        assert_eq!(health(None, &[], &[]).0, Health::Unknown);
        let tidy = (Compaction, TIDY);
        assert_eq!(health(None, &[], &[tidy]), (Health::Ok, None));
        let (word, why) = health(None, &[], &[tidy, (Index, BACK_OFF)]);
        assert_eq!(
            (word, why.as_deref()),
            (Health::Due, Some("index: back_off"))
        );
        let (word, why) = health(None, &[], &[(Compaction, BACK_OFF), (Index, REFUSED)]);
        assert_eq!(
            (word, why.as_deref()),
            (Health::Blocked, Some("index: refused"))
        );
        let failed = [(Compaction, "no space")];
        let (word, why) = health(None, &failed, &[tidy]);
        assert_eq!(
            (word, why.as_deref()),
            (
                Health::Failing,
                Some("the last compaction failed: no space")
            )
        );
        let failed = [failed[0], (Index, "gone")];
        let why = health(None, &failed, &[tidy]).1.unwrap_or_default();
        assert!(why.contains("no space") && why.contains("gone"), "{why}");
        let (word, why) = health(Some("no route"), &failed, &[tidy]);
        assert_eq!((word, why.as_deref()), (Health::Failing, Some("no route")));
    }

    #[test]
    fn what_a_person_or_the_last_job_holds_back_is_no_fault() {
        let of_skip = |skip| of(Decision::Skip(skip));
        assert_eq!(of_skip(Skip::Paused), Health::Paused);
        assert_eq!(of_skip(Skip::Running), Health::Ok);
        assert_eq!(of_skip(Skip::IntervalFloor), Health::Ok);
        assert_eq!(of_skip(Skip::Budget), Health::Due);
        assert_eq!(of_skip(Skip::Disabled), Health::Ok);
    }
}
