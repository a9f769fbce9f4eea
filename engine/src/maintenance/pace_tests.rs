use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn charge(ended: u64, ran: u64, bytes: u64) -> Charge {
    Charge {
        ended: seconds(ended),
        ran: seconds(ran),
        bytes,
    }
}

fn hourly(bytes: u64) -> Pace {
    Pace {
        bytes_per_hour: Some(bytes),
        ..Pace::default()
    }
}

#[test]
fn the_budget_is_that_of_the_last_hour_to_the_second() {
    let mut ledger = Ledger::default();
    ledger.charge(charge(0, 0, 60));
    ledger.charge(charge(1_800, 0, 30));
    assert_eq!(ledger.spent(seconds(3_599)), 90);
    assert_eq!(ledger.spent(seconds(3_600)), 30);
    assert_eq!(ledger.spent(seconds(5_400)), 0);
    assert!(ledger.affords(&hourly(100), 10, 0, seconds(3_599)));
    assert!(!ledger.affords(&hourly(100), 11, 0, seconds(3_599)));
    assert!(!ledger.affords(&hourly(100), 10, 1, seconds(3_599)));
}

#[test]
fn a_job_larger_than_the_budget_runs_once_the_budget_is_untouched() {
    let mut ledger = Ledger::default();
    assert!(ledger.affords(&hourly(100), 1_000, 0, seconds(0)));
    assert!(!ledger.affords(&hourly(100), 1_000, 1, seconds(0)));
    ledger.charge(charge(10, 10, 1_000));
    assert!(!ledger.affords(&hourly(100), 1, 0, seconds(3_609)));
    assert!(
        ledger.affords(&hourly(100), 0, 0, seconds(3_609)),
        "it rewrites nothing"
    );
    assert!(ledger.affords(&hourly(100), 1_000, 0, seconds(3_610)));
}

#[test]
fn a_rest_is_as_long_as_the_intensity_asks() {
    let mut ledger = Ledger::default();
    let quarter = Pace {
        intensity: 0.25,
        ..Pace::default()
    };
    assert!(!ledger.rests(&quarter, seconds(0)));
    ledger.charge(charge(100, 10, 0));
    assert!(ledger.rests(&quarter, seconds(129)));
    assert!(!ledger.rests(&quarter, seconds(130)));
    assert!(!ledger.rests(&Pace::default(), seconds(100)));
}

#[test]
fn a_short_emergency_does_not_end_the_rest_of_a_long_job() {
    let mut ledger = Ledger::default();
    let quarter = Pace {
        intensity: 0.25,
        ..Pace::default()
    };
    ledger.charge(charge(1_000, 1_000, 0));
    ledger.charge(charge(1_010, 1, 0));
    assert!(ledger.rests(&quarter, seconds(1_013)));
    assert!(ledger.rests(&quarter, seconds(3_999)));
    assert!(!ledger.rests(&quarter, seconds(4_000)));
}

#[test]
fn however_many_emergencies_come_the_longest_rest_is_remembered() {
    let mut ledger = Ledger::default();
    let half = Pace {
        intensity: 0.5,
        ..Pace::default()
    };
    for n in 0..1_000 {
        ledger.charge(charge(10_000 + n, 2_000 - n, 0));
    }
    assert!(ledger.rests.len() <= MAX_RESTS);
    assert!(ledger.rests(&half, seconds(11_999)));
    assert!(!ledger.rests(&half, seconds(12_000)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_ledger_never_grows_beyond_bounds_and_never_counts_too_little(
        charges in prop::collection::vec((0..4_u64, 1..100_u64), 0..3_000),
        later in 0..4_000_u64,
    ) {
        let (mut ledger, mut exact, mut now) = (Ledger::default(), Vec::new(), 0);
        for (pause, bytes) in charges {
            now += pause;
            ledger.charge(charge(now, 0, bytes));
            exact.push((now, bytes));
        }
        prop_assert!(ledger.charges.len() <= MAX_CHARGES);
        now += later;
        let lately = exact.iter().filter(|(at, _)| at + 3_600 > now);
        let lately: u64 = lately.map(|(_, bytes)| bytes).sum();
        let spent = ledger.spent(seconds(now));
        prop_assert!(spent >= lately);
        if exact.len() <= MAX_CHARGES {
            prop_assert_eq!(spent, lately);
        }
    }
}
