use super::*;

const HOUR: Duration = Duration::from_secs(3600);
/// The daemon's clock reaches back so far when it starts.
const BASE: Duration = Duration::from_secs(31 * 24 * 3600);

fn wall(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

/// The clock of a daemon that started at minute `started` of the wall clock, `later` minutes after that.
fn clock(started: i64, later: i64) -> Clock {
    Clock {
        wall: wall(started + later),
        monotonic: BASE + Duration::from_secs(later.unsigned_abs() * 60),
    }
}

fn end(ended: Duration, bytes: u64, losses: u32) -> JobEnd {
    JobEnd {
        duty: Duty::Compaction,
        charge: Charge {
            ended,
            ran: Duration::from_secs(60),
            bytes,
            emergency: false,
        },
        history: DutyHistory {
            losses,
            lasting: (losses > 0).then_some(7),
            ..DutyHistory::default()
        },
    }
}

/// What a first daemon leaves that a job of so many bytes ended at, 30 minutes after its start.
fn left(bytes: u64, losses: u32) -> OfTarget {
    let mut of_target = OfTarget::at("/lake");
    let now = clock(0, 30);
    of_target.ended("docs", &end(now.monotonic, bytes, losses), &now);
    of_target
}

fn of_compaction(restored: &Restored) -> DutyHistory {
    let of_table = &restored.tables["docs"];
    of_table.history(&Pace::default()).of(Duty::Compaction)
}

fn budget(bytes: u64) -> Pace {
    Pace {
        bytes_per_hour: Some(bytes),
        ..Pace::default()
    }
}

#[test]
fn a_budget_goes_on_over_a_restart_and_for_no_longer_than_its_hour() {
    let left = left(100, 0);
    for (minutes, spent) in [(31, 100), (89, 100), (91, 0), (10_000, 0)] {
        // Another daemon, whose clock has just begun.
        let now = clock(minutes, 0);
        let restored = left.restore(&now);
        let ledger = restored.ledger(&budget(150));
        assert_eq!(ledger.spent(now.monotonic), spent, "{minutes}");
        let of_table = restored.tables["docs"].history(&budget(150)).ledger;
        assert_eq!(of_table.spent(now.monotonic), spent, "{minutes}");
        let affords = ledger.affords(&budget(150), 100, 0, now.monotonic);
        assert_eq!(affords, spent == 0, "{minutes}");
    }
}

#[test]
fn a_rest_goes_on_over_a_restart() {
    let half = Pace {
        intensity: 0.5,
        ..Pace::default()
    };
    let restored = |minutes| {
        let now = clock(minutes, 0);
        let ledger = left(1, 0).restore(&now).ledger(&half);
        ledger.rests(&half, now.monotonic)
    };
    assert!(restored(30));
    assert!(!restored(32), "it ran for a minute");
}

#[test]
fn a_back_off_and_a_floor_go_on_over_a_restart() {
    let now = clock(31, 0);
    let restored = left(1, 3).restore(&now);
    let of_duty = of_compaction(&restored);
    assert_eq!((of_duty.losses, of_duty.lasting), (3, Some(7)));
    let ended = of_duty.last_end.unwrap();
    assert_eq!(now.monotonic - ended, Duration::from_secs(60));
    assert_eq!(of_duty.last_ran, Duration::from_secs(60));
    // Two days later, nothing waits for that any more, and floors still count.
    let now = clock(2 * 24 * 60, 0);
    let restored = left(1, 3).restore(&now);
    let of_duty = of_compaction(&restored);
    assert_eq!((of_duty.losses, of_duty.lasting), (0, None));
    assert!(now.monotonic - of_duty.last_end.unwrap() > 47 * HOUR);
    // And after the longest floor there is, nothing does.
    let now = clock(32 * 24 * 60, 0);
    let restored = left(1, 3).restore(&now);
    assert_eq!(of_compaction(&restored), DutyHistory::default());
}

#[test]
fn what_lies_ahead_as_the_clock_was_put_back_counts_as_just_now() {
    let mut left = left(100, 1);
    left.in_order("docs", wall(20), &[(Duty::Index, wall(25))].into());
    let now = clock(-1_000_000, 0);
    let restored = left.restore(&now);
    let ledger = restored.ledger(&Pace::default());
    assert_eq!(ledger.spent(now.monotonic), 100);
    let of_table = &restored.tables["docs"];
    let ended = of_compaction(&restored).last_end;
    assert_eq!(ended, Some(now.monotonic));
    assert_eq!(of_table.found, Some(now.wall));
    assert_eq!(of_table.last_success[&Duty::Index], now.wall);
    // An hour later by the daemon's own clock it is over, whatever the wall says.
    assert_eq!(ledger.spent(now.monotonic + HOUR), 0);
}

#[test]
fn last_successes_stay_as_old_as_they_are() {
    let mut left = OfTarget::at("/lake");
    left.in_order("docs", wall(1), &[(Duty::Cleanup, wall(7))].into());
    let restored = left.restore(&clock(5_000, 0));
    let of_table = &restored.tables["docs"];
    assert_eq!(of_table.found, Some(wall(1)));
    assert_eq!(of_table.last_success, [(Duty::Cleanup, wall(7))].into());
}

#[test]
fn what_a_person_asked_for_waits_over_a_restart_for_a_day_from_when_he_did() {
    let mut left = OfTarget::at("/lake");
    let both = [Duty::Compaction, Duty::Index].into();
    assert!(left.force("docs", &both, &clock(0, 0)));
    assert!(
        !left.force("docs", &both, &clock(0, 60)),
        "that is nothing new"
    );
    let forced = |left: &OfTarget, minutes| {
        let restored = left.restore(&clock(minutes, 0));
        restored.tables["docs"].forced.clone()
    };
    assert_eq!(forced(&left, 23 * 60), both);
    assert!(forced(&left, 24 * 60 + 1).is_empty());
    assert!(left.force("docs", &[Duty::Index].into(), &clock(0, 61)));
    assert_eq!(forced(&left, 62), [Duty::Index].into());
    assert!(left.force("docs", &BTreeSet::new(), &clock(0, 62)));
    assert!(forced(&left, 63).is_empty());
    assert!(!left.force("other", &BTreeSet::new(), &clock(0, 62)));
}

#[test]
fn jobs_close_to_each_other_are_one_and_the_budget_is_kept_all_the_same() {
    let mut of_target = OfTarget::at("/lake");
    let seconds = 6 * 3600_u64;
    for second in (0..=seconds).step_by(10) {
        let now = Clock {
            wall: wall(0) + TimeDelta::seconds(second.cast_signed()),
            monotonic: BASE + Duration::from_secs(second),
        };
        of_target.ended("docs", &end(now.monotonic, 1, 0), &now);
    }
    assert!(of_target.charges.len() < 80, "{}", of_target.charges.len());
    let of_table = &of_target.tables["docs"].charges;
    assert!(of_table.len() < 20, "{}", of_table.len());
    let now = clock(6 * 60, 0);
    let restored = of_target.restore(&now);
    // What ended in the last hour, and no more than the jobs that were at its edge.
    let spent = restored.ledger(&Pace::default()).spent(now.monotonic);
    assert!((360..=366).contains(&spent), "{spent}");
    let of_table = restored.tables["docs"].history(&Pace::default()).ledger;
    let spent = of_table.spent(now.monotonic);
    assert!((360..=390).contains(&spent), "{spent}");
}

#[test]
fn what_is_owed_is_paid_off_over_a_restart_as_without() {
    let now = clock(0, 30);
    let (pace, mut ledger) = (budget(100), Ledger::default());
    let charge = end(now.monotonic, 1_000, 0).charge;
    ledger.charge(charge, &pace);
    let restored = left(1_000, 0).restore(&clock(120, 0)).ledger(&pace);
    // The one daemon goes on for 90 minutes; the other begins then.
    let later = Duration::from_secs(90 * 60);
    for hours in 0..12 {
        let more = HOUR * hours;
        let without = ledger.affords(&pace, 60, 0, now.monotonic + later + more);
        assert_eq!(
            restored.affords(&pace, 60, 0, BASE + more),
            without,
            "{hours}"
        );
    }
}

#[test]
fn what_a_person_wants_done_waits_no_more_for_what_failed() {
    let mut left = left(1, 3);
    assert!(left.forgive("docs", Duty::Compaction));
    assert!(!left.forgive("docs", Duty::Compaction));
    assert!(!left.forgive("other", Duty::Index));
    let of_duty = of_compaction(&left.restore(&clock(31, 0)));
    assert_eq!((of_duty.losses, of_duty.lasting), (0, None));
}

#[test]
fn what_does_not_count_any_more_goes() {
    let mut of_target = left(100, 2);
    of_target.in_order("docs", wall(1), &[(Duty::Cleanup, wall(7))].into());
    of_target.force("other", &[Duty::Index].into(), &clock(0, 0));
    let whole = of_target.clone();
    of_target.prune(&clock(60, 0));
    assert_eq!(of_target, whole);
    of_target.prune(&clock(8 * 24 * 60, 0));
    assert!(of_target.charges.is_empty() && !of_target.tables.contains_key("other"));
    assert!(!of_target.is_empty());
    of_target.prune(&clock(40 * 24 * 60, 0));
    assert!(of_target.is_empty());
}
