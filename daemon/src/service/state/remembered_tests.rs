use squire_engine::maintenance::pace::{Ledger, Pace};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
/// The daemon's clock reaches back so far when it starts.
const BASE: Duration = Duration::from_secs(31 * 24 * 3600);

fn wall(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

/// A daemon that started at a time of the wall, so many minutes later.
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
        losses,
    }
}

/// What a first daemon leaves that a job of so many bytes ended at, 30 minutes after its start.
fn left(bytes: u64, losses: u32) -> OfTarget {
    let mut of_target = OfTarget::at("/lake");
    let now = clock(0, 30);
    of_target.ended("docs", &end(now.monotonic, bytes, losses), &now);
    of_target
}

fn budget(bytes: u64) -> Pace {
    Pace {
        bytes_per_hour: Some(bytes),
        ..Pace::default()
    }
}

fn ledger(charges: &[Charge]) -> Ledger {
    Ledger::of(charges.iter().copied(), &Pace::default())
}

#[test]
fn a_budget_goes_on_over_a_restart_and_for_no_longer_than_its_hour() {
    let left = left(100, 0);
    for (minutes, spent) in [(31, 100), (89, 100), (91, 0), (10_000, 0)] {
        // Another daemon, whose clock has just begun.
        let now = clock(minutes, 0);
        let restored = left.restore(&now);
        let of = |charges: &[Charge]| Ledger::of(charges.iter().copied(), &budget(150));
        let ledger = of(&restored.charges);
        assert_eq!(ledger.spent(now.monotonic), spent, "{minutes}");
        let of_table = of(&restored.tables["docs"].charges);
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
        let charges = left(1, 0).restore(&now).charges;
        Ledger::of(charges, &half).rests(&half, now.monotonic)
    };
    assert!(restored(30));
    assert!(!restored(32), "it ran for a minute");
}

#[test]
fn a_back_off_and_a_floor_go_on_over_a_restart() {
    let now = clock(31, 0);
    let restored = left(1, 3).restore(&now);
    let of_duty = restored.tables["docs"].history.of(Duty::Compaction);
    assert_eq!(of_duty.losses, 3);
    let ended = of_duty.last_end.unwrap();
    assert_eq!(now.monotonic - ended, Duration::from_secs(60));
    assert_eq!(of_duty.last_ran, Duration::from_secs(60));
    // Two days later, nobody waits for that any more, and floors still count.
    let now = clock(2 * 24 * 60, 0);
    let restored = left(1, 3).restore(&now);
    let of_duty = restored.tables["docs"].history.of(Duty::Compaction);
    assert_eq!(of_duty.losses, 0);
    assert!(now.monotonic - of_duty.last_end.unwrap() > 47 * HOUR);
    // And after the longest floor there is, nothing does.
    let now = clock(32 * 24 * 60, 0);
    let restored = left(1, 3).restore(&now);
    assert_eq!(restored.tables["docs"].history.duties.len(), 0);
}

#[test]
fn what_lies_ahead_as_the_clock_was_put_back_counts_as_just_now() {
    let mut left = left(100, 1);
    left.in_order("docs", wall(20), &[(Duty::Index, wall(25))].into());
    let now = clock(-1_000_000, 0);
    let restored = left.restore(&now);
    assert_eq!(ledger(&restored.charges).spent(now.monotonic), 100);
    let of_table = &restored.tables["docs"];
    let ended = of_table.history.of(Duty::Compaction).last_end;
    assert_eq!(ended, Some(now.monotonic));
    assert_eq!(of_table.found, Some(now.wall));
    assert_eq!(of_table.last_success[&Duty::Index], now.wall);
    // An hour later by the daemon's own clock it is over, whatever the wall says.
    assert_eq!(ledger(&restored.charges).spent(now.monotonic + HOUR), 0);
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
fn so_many_jobs_are_told_apart_and_the_budget_is_kept_beyond() {
    let mut of_target = OfTarget::at("/lake");
    for second in 0..1_000_u64 {
        let now = Clock {
            wall: wall(0) + TimeDelta::seconds(second.cast_signed()),
            monotonic: BASE + Duration::from_secs(second),
        };
        of_target.ended("docs", &end(now.monotonic, 1, 0), &now);
    }
    assert_eq!(of_target.charges.len(), MOST_OF_TARGET);
    let now = clock(17, 0);
    let restored = of_target.restore(&now);
    assert_eq!(ledger(&restored.charges).spent(now.monotonic), 1_000);
    let of_table = ledger(&restored.tables["docs"].charges);
    assert_eq!(of_table.spent(now.monotonic), 1_000);
}

#[test]
fn what_does_not_count_any_more_goes() {
    let mut of_target = left(100, 2);
    of_target.in_order("docs", wall(1), &[(Duty::Cleanup, wall(7))].into());
    of_target.force("other", &[Duty::Index].into(), &clock(0, 0));
    let whole = of_target.clone();
    of_target.prune(&clock(60, 0));
    assert_eq!(of_target, whole);
    of_target.prune(&clock(2 * 24 * 60, 0));
    assert!(of_target.charges.is_empty() && !of_target.tables.contains_key("other"));
    assert!(!of_target.is_empty());
    of_target.prune(&clock(40 * 24 * 60, 0));
    assert!(of_target.is_empty());
}
