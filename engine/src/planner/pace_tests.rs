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
        emergency: false,
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
    ledger.charge(charge(0, 0, 60), &hourly(100));
    ledger.charge(charge(1_800, 0, 30), &hourly(100));
    assert_eq!(ledger.spent(seconds(3_599)), 90);
    assert_eq!(ledger.spent(seconds(3_600)), 30);
    assert_eq!(ledger.spent(seconds(5_400)), 0);
    assert!(ledger.affords(&hourly(100), 10, 0, seconds(3_599)));
    assert!(!ledger.affords(&hourly(100), 11, 0, seconds(3_599)));
    assert!(!ledger.affords(&hourly(100), 10, 1, seconds(3_599)));
}

#[test]
fn a_job_larger_than_the_budget_is_held_back_by_little_and_is_paid_off_afterwards() {
    let (pace, mut ledger) = (hourly(100), Ledger::default());
    assert!(ledger.affords(&pace, 1_000, 0, seconds(0)));
    assert!(!ledger.affords(&pace, 1_000, 1, seconds(0)));
    ledger.charge(charge(10, 10, 50), &pace);
    assert!(ledger.affords(&pace, 1_000, 0, seconds(10)));
    ledger.charge(charge(100, 10, 300), &pace);
    let owed = 347.5;
    let paid_off = |within: f64| 100 + ((owed - within) * 36.0) as u64;
    for (bytes, within) in [(1, 99.0), (40, 60.0), (100, 0.0), (1_000, 50.0)] {
        let at = ledger.affords_at(&pace, bytes, seconds(200)).as_secs();
        assert!(at.abs_diff(paid_off(within)) <= 36, "{bytes}: {at}");
        assert!(ledger.affords(&pace, bytes, 0, seconds(at + 1)), "{bytes}");
        assert!(!ledger.affords(&pace, bytes, 0, seconds(at - 1)), "{bytes}");
    }
    assert!(
        ledger.affords(&pace, 0, 0, seconds(100)),
        "it rewrites nothing"
    );
    assert_eq!(ledger.left(&pace, seconds(100)), Some(0));
    assert_eq!(ledger.left(&pace, seconds(100_000)), Some(100));
    assert_eq!(ledger.left(&Pace::default(), seconds(100)), None);
}

#[test]
fn an_emergency_counts_for_a_half_of_the_budget_at_most() {
    let (pace, mut ledger) = (hourly(100), Ledger::default());
    for n in 0..100 {
        let charge = Charge {
            emergency: true,
            ..charge(n, 0, 1_000)
        };
        ledger.charge(charge, &pace);
    }
    assert_eq!(ledger.spent(seconds(100)), 100_000);
    assert_eq!(ledger.left(&pace, seconds(100)), Some(50));
    assert!(ledger.affords(&pace, 1_000, 0, seconds(100)));
    assert!(ledger.affords(&pace, 50, 0, seconds(100)));
    assert!(!ledger.affords(&pace, 60, 0, seconds(100)));
}

#[test]
fn a_small_job_begins_when_the_hour_has_room_and_it_is_known_when_that_is() {
    let (pace, mut ledger) = (hourly(100), Ledger::default());
    ledger.charge(charge(0, 0, 60), &pace);
    ledger.charge(charge(1_800, 0, 30), &pace);
    assert_eq!(ledger.affords_at(&pace, 10, seconds(2_000)), seconds(2_000));
    assert_eq!(ledger.affords_at(&pace, 11, seconds(2_000)), seconds(3_600));
    assert_eq!(ledger.affords_at(&pace, 80, seconds(2_000)), seconds(5_400));
}

#[test]
fn a_rest_is_as_long_as_the_intensity_asks() {
    let mut ledger = Ledger::default();
    let quarter = Pace {
        intensity: 0.25,
        ..Pace::default()
    };
    assert!(!ledger.rests(&quarter, seconds(0)));
    ledger.charge(charge(100, 10, 0), &Pace::default());
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
    ledger.charge(charge(1_000, 1_000, 0), &Pace::default());
    ledger.charge(charge(1_010, 1, 0), &Pace::default());
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
        ledger.charge(charge(10_000 + n, 2_000 - n, 0), &Pace::default());
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
            ledger.charge(charge(now, 0, bytes), &Pace::default());
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

    /// Jobs of any size that all want to run, a few at once, beside emergencies.
    #[test]
    fn over_any_time_no_more_is_rewritten_than_the_budget_and_one_job_and_every_job_begins_in_time(
        budget in 100..10_000_u64,
        jobs in prop::collection::vec((1..400_u64, 0..30_u64, 0..5_u64, prop::bool::weighted(0.1)), 1..80),
    ) {
        let (pace, mut ledger) = (hourly(budget), Ledger::default());
        let mut now = 0_u64;
        // Until when each is at work, and what it costs.
        let mut at_work: Vec<(u64, u64)> = Vec::new();
        let mut done: Vec<(u64, u64)> = Vec::new();
        let mut largest = 0;
        for (percent, minutes, gap, emergency) in jobs {
            let bytes = (budget * percent / 100).max(1);
            now += gap;
            if emergency {
                let charge = Charge { emergency: true, ..charge(now, 0, bytes) };
                ledger.charge(charge, &pace);
                continue;
            }
            let waits_from = now;
            loop {
                at_work.sort_unstable();
                while at_work.first().is_some_and(|(until, _)| *until <= now) {
                    let (until, bytes) = at_work.remove(0);
                    ledger.charge(charge(until, 0, bytes), &pace);
                    done.push((until, bytes));
                }
                let reserved = at_work.iter().map(|(_, bytes)| bytes).sum();
                if ledger.affords(&pace, bytes, reserved, seconds(now)) {
                    break;
                }
                if at_work.is_empty() {
                    let at = ledger.affords_at(&pace, bytes, seconds(now));
                    prop_assert!(at > seconds(now));
                    prop_assert!(ledger.affords(&pace, bytes, 0, at));
                }
                now += 10;
                // What is at work, the longest debt, and the hour itself.
                let bound = 30 * 60 + largest * 3_600 / budget + 2 * 3_600;
                prop_assert!(now - waits_from <= bound, "{bytes} of {budget} have waited since {waits_from}");
            }
            largest = largest.max(bytes);
            at_work.push((now + minutes * 60, bytes));
        }
        done.extend(at_work);
        done.sort_unstable();
        for (n, (from, _)) in done.iter().enumerate() {
            let mut sum = 0;
            for (until, bytes) in &done[n..] {
                sum += bytes;
                let paid = u128::from(budget) * u128::from(until - from) / 3_600;
                prop_assert!(u128::from(sum) <= paid + u128::from(budget + largest) + 1);
                if largest <= budget && until - from < 3_600 {
                    prop_assert!(sum <= budget, "an hour of small ones");
                }
            }
        }
    }
}
