use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3600;

fn at(hours: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_182_400, 0).unwrap() + Duration::from_secs(hours * HOUR)
}

/// Version 1, 2, 3 and so on, written at these hours.
fn versions(hours: impl IntoIterator<Item = u64>) -> Vec<VersionInfo> {
    let hours = (1..).zip(hours);
    hours
        .map(|(version, hour)| VersionInfo {
            version,
            written: at(hour),
        })
        .collect()
}

fn policy(keep_hours: u64, keep_versions: usize) -> CleanupPolicy {
    CleanupPolicy {
        keep_for: Duration::from_secs(keep_hours * HOUR),
        keep_versions,
        min_versions: 1,
        ..CleanupPolicy::default()
    }
}

fn going(decision: Decision) -> Vec<u64> {
    match decision {
        Decision::Remove { versions, .. } => versions,
        Decision::Skip(skip) => panic!("nothing goes: {skip}"),
    }
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[test]
fn the_age_of_a_version_counts_from_when_the_next_one_was_written() {
    // Version 2 is a hundred hours old, but was the newest until two hours ago.
    let versions = versions([0, 10, 108, 109]);
    let plan = |now| {
        plan(
            &versions,
            &Protected::default(),
            &policy(5, 1),
            at(now),
            false,
        )
    };
    assert_eq!(going(plan(110)), [1]);
    assert_eq!(going(plan(113)), [1, 2]);
}

#[test]
fn a_version_goes_only_when_it_is_beyond_the_count_as_well() {
    let versions = versions(0..30);
    let plan = |keep| {
        plan(
            &versions,
            &Protected::default(),
            &policy(0, keep),
            at(1_000),
            false,
        )
    };
    assert_eq!(going(plan(10)), up_to(20));
    assert_eq!(plan(30), Decision::Skip(Skip::Retained));
    assert_eq!(going(plan(0)), up_to(29), "the newest always stays");
}

#[test]
fn tagged_versions_stay_and_do_not_count() {
    let versions = versions(0..30);
    let tagged = Protected {
        from: None,
        versions: BTreeSet::from([2, 3, 29]),
    };
    let decision = plan(&versions, &tagged, &policy(0, 10), at(1_000), false);
    let others: Vec<_> = (1..=20).filter(|v| ![2, 3].contains(v)).collect();
    assert_eq!(going(decision), others);
    let all = Protected {
        from: None,
        versions: (1..=20).collect(),
    };
    let decision = plan(&versions, &all, &policy(0, 10), at(1_000), true);
    assert_eq!(decision, Decision::Skip(Skip::Protected));
}

#[test]
fn nothing_goes_from_the_oldest_pin_or_base_on() {
    let versions = versions(0..30);
    let pinned = |from| Protected {
        from: Some(from),
        ..Protected::default()
    };
    let plan = |from| plan(&versions, &pinned(from), &policy(0, 10), at(1_000), false);
    assert_eq!(going(plan(5)), up_to(4));
    assert_eq!(going(plan(25)), up_to(20));
    assert_eq!(plan(1), Decision::Skip(Skip::Protected));
}

#[test]
fn a_few_are_not_worth_the_check_unless_the_policy_says_so() {
    let versions = versions(0..30);
    let patient = CleanupPolicy {
        min_versions: 21,
        ..policy(0, 10)
    };
    let plan = |forced| plan(&versions, &Protected::default(), &patient, at(30), forced);
    assert_eq!(plan(false), Decision::Skip(Skip::BelowThreshold));
    assert_eq!(going(plan(true)), up_to(20));
}

#[test]
fn a_few_go_as_well_once_the_oldest_could_have_gone_a_day_ago() {
    let versions = versions(0..30);
    let patient = |keep_hours, keep_versions| CleanupPolicy {
        min_versions: 21,
        ..policy(keep_hours, keep_versions)
    };
    let judged = |policy: &CleanupPolicy, protected: &Protected, now| {
        plan(&versions, protected, policy, at(now), false)
    };
    let nothing = Protected::default();
    let below_threshold = Decision::Skip(Skip::BelowThreshold);
    // Past the age five hours after hour 1, and beyond the count in hour 10.
    let policy = patient(5, 10);
    assert_eq!(judged(&policy, &nothing, 33), below_threshold);
    let overdue = |versions: std::ops::RangeInclusive<u64>| Decision::Remove {
        versions: versions.collect(),
        reason: Reason::Overdue,
    };
    assert_eq!(judged(&policy, &nothing, 34), overdue(1..=20));
    // Beyond the count in hour 20, and past the age in hour 101.
    let policy = patient(100, 20);
    assert_eq!(judged(&policy, &nothing, 124), below_threshold);
    assert_eq!(judged(&policy, &nothing, 125), overdue(1..=10));
    // What a tag keeps is not what waits.
    let tagged = Protected {
        from: None,
        versions: (1..=5).collect(),
    };
    assert_eq!(judged(&policy, &tagged, 129), below_threshold);
    assert_eq!(judged(&policy, &tagged, 130), overdue(6..=10));
}

#[test]
fn a_clock_that_went_back_keeps_more_and_never_less() {
    // Version 2 was superseded in the future, as it seems; those after it are behind it.
    let versions = versions([0, 1, 900, 3, 4, 5]);
    let plan = |now| {
        plan(
            &versions,
            &Protected::default(),
            &policy(1, 1),
            at(now),
            false,
        )
    };
    assert_eq!(going(plan(100)), [1]);
    assert_eq!(going(plan(901)), up_to(5));
}

proptest! {
    #[test]
    fn no_protected_version_is_ever_planned_and_none_within_retention(
        written in prop::collection::btree_map(1..200_u64, 0..500_u64, 0..60),
        from in prop::option::of(1..200_u64),
        tagged in prop::collection::btree_set(1..200_u64, 0..20),
        keep_hours in 0..300_u64,
        keep_versions in 0..20_usize,
        now in 0..600_u64,
        forced in any::<bool>(),
    ) {
        let listed: Vec<_> = written
            .iter()
            .map(|(version, hour)| VersionInfo { version: *version, written: at(*hour) })
            .collect();
        let protected = Protected { from, versions: tagged };
        let policy = policy(keep_hours, keep_versions);
        let decision = plan(&listed, &protected, &policy, at(now), forced);
        let mut shuffled = listed.clone();
        shuffled.reverse();
        prop_assert_eq!(&decision, &plan(&shuffled, &protected, &policy, at(now), forced));
        if let Decision::Remove { versions, .. } = decision {
            prop_assert!(!versions.is_empty());
            prop_assert!(versions.is_sorted());
            let goes = |v: &VersionInfo| versions.contains(&v.version);
            prop_assert_eq!(listed.iter().filter(|v| goes(v)).count(), versions.len());
            prop_assert!(versions.iter().all(|v| !protected.versions.contains(v)));
            prop_assert!(versions.iter().all(|v| protected.from.is_none_or(|from| *v < from)));
            let newest = listed.iter().rev().take(keep_versions.max(1));
            prop_assert!(newest.clone().all(|v| !goes(v)));
            for pair in listed.windows(2).filter(|pair| goes(&pair[0])) {
                let superseded = pair[1].written;
                prop_assert!(superseded + policy.keep_for <= at(now));
            }
        }
    }
}

#[test]
fn a_cleanup_is_due_in_proportion_to_what_it_reads() {
    // A hundred versions an hour.
    let policy = CleanupPolicy {
        min_versions: 20,
        emergency_versions: 1_000,
        ..policy(5_000, 10)
    };
    let judged = |n: u64| {
        let nothing = Protected::default();
        // A day has not passed since the oldest could have gone.
        let versions = versions((0..n).map(|v| v / 100));
        plan(&versions, &nothing, &policy, at(5_000 + 2), false)
    };
    // Those of two hours are past the age, and some of the third: 299.
    assert_eq!(judged(4_000), Decision::Skip(Skip::BelowThreshold));
    assert!(matches!(
        judged(3_000),
        Decision::Remove {
            reason: Reason::Retention,
            ..
        }
    ));
}

#[test]
fn no_number_of_versions_is_an_emergency_as_long_as_more_of_them_stay() {
    let policy = CleanupPolicy {
        emergency_versions: 1_000,
        ..policy(0, 3_000)
    };
    let judged = |n| {
        let nothing = Protected::default();
        match plan(&versions(0..n), &nothing, &policy, at(n), false) {
            Decision::Remove { reason, .. } => reason,
            Decision::Skip(skip) => panic!("nothing goes: {skip}"),
        }
    };
    assert_eq!(judged(5_000), Reason::Retention);
    assert_eq!(judged(6_001), Reason::Emergency);
}

#[test]
fn left_over_files_are_a_reason_of_their_own_and_no_version_goes_for_them() {
    let skipped = Decision::Skip(Skip::Retained).with_left_over_files();
    let for_files = Decision::Remove {
        versions: Vec::new(),
        reason: Reason::LeftOver,
    };
    assert_eq!(skipped, for_files);
    let due = plan(
        &versions(0..24),
        &Protected::default(),
        &policy(0, 1),
        at(99),
        false,
    );
    assert_eq!(due.clone().with_left_over_files(), due);
}

#[test]
fn what_policy_or_protection_keeps_is_never_overdue_however_much_it_is() {
    let many = versions(0..500);
    let count = |policy: &CleanupPolicy, protected: &Protected| {
        overdue(&many, protected, policy, at(10_000))
    };
    let nothing = Protected::default();
    assert_eq!(count(&policy(1, 1_000), &nothing), 0, "a count keeps them");
    assert_eq!(count(&policy(20_000, 1), &nothing), 0, "an age keeps them");
    let tags = Protected {
        from: Some(400),
        versions: (1..=399).collect(),
    };
    assert_eq!(count(&policy(1, 10), &tags), 0, "tags and pins keep them");
    let disabled = CleanupPolicy {
        enabled: false,
        ..policy(1, 1)
    };
    assert_eq!(count(&disabled, &nothing), 0, "cleanup is off");
}

#[test]
fn what_could_have_gone_a_day_ago_is_overdue_and_what_can_go_since_an_hour_is_not() {
    // One each hour; two hours are kept, and five of the newest.
    let late = |now| {
        overdue(
            &versions(0..100),
            &Protected::default(),
            &policy(2, 5),
            at(now),
        )
    };
    assert_eq!(late(2), 0);
    assert_eq!(late(26), 0);
    // The first was followed at hour 1: it could go at hour 5, when five others were there.
    assert_eq!(late(28), 0);
    assert_eq!(late(29), 1);
    assert_eq!(late(39), 11);
    assert_eq!(late(10_000), 95, "the newest five never are");
}

proptest! {
    #[test]
    fn all_that_is_overdue_would_go(
        hours in prop::collection::btree_set(0_u64..400, 0..40),
        keep_hours in 0_u64..100,
        keep in 0_usize..20,
        kept in prop::collection::btree_set(1_u64..40, 0..5),
        now in 0_u64..600,
    ) {
        let versions = versions(hours);
        let protected = Protected { from: None, versions: kept };
        let policy = policy(keep_hours, keep);
        let late = overdue(&versions, &protected, &policy, at(now));
        let goes = match plan(&versions, &protected, &policy, at(now), true) {
            Decision::Remove { versions, .. } => versions.len(),
            Decision::Skip(_) => 0,
        };
        prop_assert!(late <= goes, "{late} of {goes}");
    }
}
