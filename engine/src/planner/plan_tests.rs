use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::planner::{
    DutyHistory,
    history::Running,
    pace::{Charge, Pace},
    sample::{GIB, KIB, MIB, Table, at},
    window::Window,
};

/// A table that is due for every duty.
fn neglected(name: &str) -> Table {
    let mut table = Table::new(name).indexed("id");
    for _ in 0..100 {
        table.append(100, 10 * KIB, &at(0));
    }
    table.policy.cleanup.keep_for = Duration::ZERO;
    table
}

fn plan_of(table: &Table, now: &Now) -> Plan {
    plan(&[table.view()], &Spent::default(), now)
}

fn decision(plan: &Plan, duty: Duty) -> Decision {
    let decided = plan.decisions.iter().find(|d| d.duty == duty);
    decided.expect("every duty is decided").decision
}

fn compaction_of(table: &Table, now: &Now) -> Decision {
    decision(&plan_of(table, now), Duty::Compaction)
}

const SMALL_FRAGMENTS: Decision =
    Decision::Act(Reason::Compaction(compaction::Reason::SmallFragments));

/// A table whose last compaction ended then, after so many losses in a row.
fn ended(seconds: u64, losses: u32) -> Table {
    let mut table = neglected("table");
    let compaction = DutyHistory {
        last_end: Some(Duration::from_secs(seconds)),
        losses,
        ..DutyHistory::default()
    };
    table.history.duties.insert(Duty::Compaction, compaction);
    table
}

#[test]
fn compaction_goes_first_then_indexes_then_cleanup() {
    let mut table = neglected("table");
    let mut order = Vec::new();
    for round in 1..=3 {
        let now = at(round * 10);
        let plan = plan_of(&table, &now);
        assert_eq!(plan.jobs.len(), 1, "one job for a table");
        let job = &plan.jobs[0];
        order.push(job.duty);
        table.history.begin(job, now.monotonic);
        assert!(plan_of(&table, &now).jobs.is_empty(), "one at a time");
        let bytes = table.execute(job, &now);
        table
            .history
            .end(job.duty, now.monotonic, false, bytes, &table.policy.pace);
    }
    assert_eq!(order, Duty::ALL);
    assert!(plan_of(&table, &at(100)).jobs.is_empty());
}

#[test]
fn the_duties_of_a_table_that_wait_say_for_which() {
    let plan = plan_of(&neglected("table"), &at(0));
    let waits = Decision::Skip(Skip::Waits(Duty::Compaction));
    assert_eq!(decision(&plan, Duty::Compaction), SMALL_FRAGMENTS);
    assert_eq!(decision(&plan, Duty::Index), waits);
    assert_eq!(decision(&plan, Duty::Cleanup), waits);
}

#[test]
fn no_duty_is_starved_by_another_that_is_always_due() {
    let mut table = neglected("table");
    let mut done = Vec::new();
    for round in 0..30 {
        let now = at(round * 1_000);
        // Writers make everything due again.
        let again = neglected("table");
        (table.stats, table.versions) = (again.stats, again.versions);
        let plan = plan_of(&table, &now);
        let job = &plan.jobs[0];
        table.history.begin(job, now.monotonic);
        table
            .history
            .end(job.duty, now.monotonic, false, 0, &table.policy.pace);
        done.push(job.duty);
    }
    for three in done.chunks(3) {
        assert_eq!(BTreeSet::from_iter(three), BTreeSet::from_iter(&Duty::ALL));
    }
}

#[test]
fn a_disabled_duty_is_not_done_though_it_is_forced() {
    let mut table = neglected("table");
    table.policy.compaction.enabled = false;
    table.forced.insert(Duty::Compaction);
    assert_eq!(
        compaction_of(&table, &at(0)),
        Decision::Skip(Skip::Disabled)
    );
}

#[test]
fn nothing_is_removed_by_a_clock_that_jumped_and_other_duties_go_on() {
    let mut table = neglected("table");
    table.clock_jumped = true;
    table.forced.insert(Duty::Cleanup);
    let mut done = BTreeSet::new();
    for round in 1..=3 {
        let now = at(round * 1_000);
        let plan = plan_of(&table, &now);
        let cleanup = decision(&plan, Duty::Cleanup);
        assert_eq!(cleanup, Decision::Skip(Skip::Clock));
        for job in &plan.jobs {
            table.history.begin(job, now.monotonic);
            let bytes = table.execute(job, &now);
            table
                .history
                .end(job.duty, now.monotonic, false, bytes, &table.policy.pace);
            done.insert(job.duty);
        }
    }
    assert_eq!(done, [Duty::Compaction, Duty::Index].into());
    assert!(Skip::Clock.passes(), "what was forced is still to be done");
    table.clock_jumped = false;
    assert_eq!(plan_of(&table, &at(9_000)).jobs[0].duty, Duty::Cleanup);
}

#[test]
fn nothing_is_removed_by_a_clock_that_is_behind_the_newest_version_by_more_than_clocks_differ() {
    let mut table = neglected("table");
    table.policy.compaction.enabled = false;
    table.policy.index.enabled = false;
    let of = |ahead: u64| {
        let mut table = table.clone();
        let newest = table.versions.len() - 1;
        table.versions[newest].written = at(1_000 + ahead).wall;
        decision(&plan_of(&table, &at(1_000)), Duty::Cleanup)
    };
    assert_eq!(of(15 * 60 + 1), Decision::Skip(Skip::Clock));
    assert!(matches!(of(15 * 60), Decision::Act(_)));
}

#[test]
fn one_table_never_has_two_jobs() {
    let mut table = neglected("table");
    table.forced.extend(Duty::ALL);
    table.history.running = Some(Running {
        duty: Duty::Index,
        bytes: 0,
        since: Duration::ZERO,
        emergency: false,
    });
    let plan = plan_of(&table, &at(0));
    assert!(plan.jobs.is_empty());
    let running = |d: &Decided| d.decision == Decision::Skip(Skip::Running);
    assert!(plan.decisions.iter().all(running));
}

#[test]
fn the_interval_floor_holds_even_when_forced_and_passes() {
    let mut table = ended(100, 0);
    table.forced.insert(Duty::Compaction);
    assert_eq!(
        compaction_of(&table, &at(100)),
        Decision::Skip(Skip::IntervalFloor)
    );
    let forced = Reason::Compaction(compaction::Reason::Forced);
    assert_eq!(compaction_of(&table, &at(101)), Decision::Act(forced));
}

#[test]
fn after_a_compaction_its_writers_have_the_table_for_as_long_as_that_took() {
    let mut table = ended(100, 0);
    let compaction = table.history.duties.entry(Duty::Compaction).or_default();
    compaction.last_ran = Duration::from_secs(20);
    assert_eq!(
        compaction_of(&table, &at(119)),
        Decision::Skip(Skip::IntervalFloor)
    );
    assert_eq!(compaction_of(&table, &at(120)), SMALL_FRAGMENTS);
}

#[test]
fn what_failed_for_a_reason_that_lasts_waits_for_hours_unless_the_table_changes_or_a_person_calls()
{
    let hour = 3_600;
    let mut table = ended(0, 20);
    let held = |table: &Table, seconds| {
        let decision = compaction_of(table, &at(seconds));
        decision == Decision::Skip(Skip::BackOff)
    };
    assert!(
        held(&table, 599) && !held(&table, 600),
        "it may pass by itself"
    );
    table.history.lasts(Duty::Compaction, table.stats.version);
    assert!(held(&table, 5 * hour));
    table
        .history
        .duties
        .entry(Duty::Compaction)
        .or_default()
        .losses = 1_000;
    assert!(
        held(&table, 6 * hour - 1) && !held(&table, 6 * hour),
        "never longer"
    );
    let mut changed = table.clone();
    changed.stats.version += 1;
    assert!(held(&changed, 599) && !held(&changed, 600));
    let mut called = table.clone();
    called.history.forgive(Duty::Compaction);
    assert!(!held(&called, 599));
    // The first failures are tried again soon, whatever they are.
    table
        .history
        .duties
        .entry(Duty::Compaction)
        .or_default()
        .losses = 2;
    assert!(held(&table, 9) && !held(&table, 10));
}

#[test]
fn lost_rewrites_back_off_further_and_further() {
    let decide = |losses, now| {
        let mut table = ended(0, losses);
        table.policy.compaction.interval_floor = Duration::ZERO;
        compaction_of(&table, &at(now))
    };
    assert_eq!(decide(1, 4), Decision::Skip(Skip::BackOff));
    assert_eq!(decide(1, 5), SMALL_FRAGMENTS);
    assert_eq!(decide(4, 39), Decision::Skip(Skip::BackOff));
    assert_eq!(
        decide(40, 600),
        SMALL_FRAGMENTS,
        "never longer than ten minutes"
    );
}

#[test]
fn a_window_holds_a_table_back_but_not_in_an_emergency_and_a_pause_does_even_then() {
    let night = Window {
        days: Window::EVERY_DAY,
        from: 60,
        to: 120,
    };
    let noon = at(0);
    let mut table = neglected("table");
    table.policy.windows.allowed = vec![night];
    assert_eq!(
        compaction_of(&table, &noon),
        Decision::Skip(Skip::OutsideWindow)
    );
    assert_eq!(compaction_of(&table, &at(13 * 3600)), SMALL_FRAGMENTS);
    table.policy.windows.blackout = vec![Window {
        days: Window::EVERY_DAY,
        from: 0,
        to: 0,
    }];
    assert_eq!(compaction_of(&table, &noon), Decision::Skip(Skip::Blackout));
    table.policy.compaction.emergency_small_fragments = 100;
    let emergency = Reason::Compaction(compaction::Reason::Emergency);
    assert_eq!(compaction_of(&table, &noon), Decision::Act(emergency));
    table.paused = true;
    assert_eq!(compaction_of(&table, &noon), Decision::Skip(Skip::Paused));
    table.paused = false;
    table.policy.compaction.enabled = false;
    assert_eq!(compaction_of(&table, &noon), Decision::Skip(Skip::Disabled));
}

#[test]
fn an_emergency_goes_before_paces_and_before_other_tables() {
    let mut tables = [neglected("a"), neglected("b")];
    tables[1].policy.compaction.emergency_small_fragments = 100;
    let mut target = Spent::default();
    target.pace.bytes_per_hour = Some(1);
    target.ledger.charge(
        Charge {
            bytes: 1,
            ..Charge::default()
        },
        &target.pace,
    );
    let views: Vec<_> = tables.iter().map(Table::view).collect();
    let plan = plan(&views, &target, &at(60));
    let named: Vec<_> = plan.jobs.iter().map(|job| &job.table).collect();
    assert_eq!(named, [&tables[1].key]);
    assert_eq!(
        decision(&plan, Duty::Compaction),
        Decision::Skip(Skip::Budget)
    );
}

#[test]
fn what_is_better_for_its_bytes_comes_first_until_the_other_has_waited() {
    let cheap = neglected("cheap");
    let mut dear = Table::new("dear");
    for _ in 0..8 {
        dear.append(1_000, 100 * MIB, &at(0));
    }
    let order = |waited: u64| {
        let mut cheap = cheap.clone();
        let now = at(100_000);
        let fresh = now.monotonic - Duration::from_secs(60);
        let old = now.monotonic - Duration::from_secs(60 + waited);
        let mut dear = dear.clone();
        for (table, last_end) in [(&mut cheap, fresh), (&mut dear, old)] {
            let compaction = DutyHistory {
                last_end: Some(last_end),
                ..DutyHistory::default()
            };
            table.history.duties.insert(Duty::Compaction, compaction);
        }
        let plan = plan(&[dear.view(), cheap.view()], &Spent::default(), &now);
        let names = plan.jobs.iter().map(|job| job.table.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(order(0), ["cheap", "dear"]);
    assert_eq!(order(16 * 600), ["dear", "cheap"]);
}

#[test]
fn a_budget_is_kept_for_the_job_whose_turn_it_is() {
    let mut large = Table::new("large");
    for _ in 0..8 {
        large.append(1_000, 100 * MIB, &at(0));
    }
    let mut target = Spent::default();
    target.pace.bytes_per_hour = Some(100 * MIB);
    target.ledger.charge(
        Charge {
            ended: Duration::from_secs(17_100),
            bytes: 95 * MIB,
            ..Charge::default()
        },
        &target.pace,
    );
    // The large one has waited for hours.
    let now = at(18_000);
    let mut waiting = neglected("small");
    let fresh = DutyHistory {
        last_end: Some(now.monotonic),
        ..DutyHistory::default()
    };
    waiting.policy.compaction.interval_floor = Duration::ZERO;
    waiting.policy.index.enabled = false;
    waiting.policy.cleanup.enabled = false;
    waiting.history.duties.insert(Duty::Compaction, fresh);
    let views = [large.view(), waiting.view()];
    let plan_at = |seconds| plan(&views, &target, &at(seconds));
    let waits = plan_at(18_000);
    assert!(waits.jobs.is_empty());
    let begins = waits.decisions[0].not_before.unwrap();
    assert_eq!(begins, Duration::from_secs(17_100 + 45 * 36));
    assert!(plan_at(begins.as_secs() - 1).jobs.is_empty());
    let plan = plan_at(begins.as_secs());
    assert_eq!(plan.jobs.len(), 1);
    assert_eq!(
        (&plan.jobs[0].table, plan.jobs[0].bytes),
        (&large.key, 300 * MIB),
        "a group that is larger than the budget, alone"
    );
}

#[test]
fn emergencies_that_come_all_the_time_keep_a_job_that_is_larger_than_the_budget_out_for_minutes_only()
 {
    let mut large = Table::new("large");
    for _ in 0..8 {
        large.append(1_000, 100 * MIB, &at(0));
    }
    let mut target = Spent::default();
    target.pace.bytes_per_hour = Some(100 * MIB);
    let mut busy = neglected("busy");
    busy.policy.compaction.emergency_small_fragments = 100;
    busy.policy.compaction.interval_floor = Duration::ZERO;
    busy.policy.index.enabled = false;
    busy.policy.cleanup.enabled = false;
    // A small one has just taken the whole budget.
    target.ledger.charge(
        Charge {
            bytes: 100 * MIB,
            ..Charge::default()
        },
        &target.pace,
    );
    let (mut began, mut emergencies) = (None, 0);
    for minute in 0..120 {
        let now = at(minute * 60);
        if busy.stats.fragments.len() < 100 {
            let again = neglected("busy");
            (busy.stats, busy.versions) = (again.stats, again.versions);
        }
        let plan = plan(&[large.view(), busy.view()], &target, &now);
        for job in plan.jobs {
            if job.table == large.key {
                began.get_or_insert(minute);
                continue;
            }
            emergencies += 1;
            busy.history.begin(&job, now.monotonic);
            busy.execute(&job, &now);
            // Each takes as much as the whole budget.
            let charge =
                busy.history
                    .end(job.duty, now.monotonic, false, 100 * MIB, &Pace::default());
            assert!(charge.emergency);
            target.ledger.charge(charge, &target.pace);
        }
        if began.is_some() {
            break;
        }
    }
    assert!(
        began.is_some_and(|minute| (30..=31).contains(&minute)) && emergencies > 20,
        "{began:?}, {emergencies} emergencies"
    );
}

#[test]
fn a_compaction_takes_no_more_than_an_hour_may_have_and_goes_on_in_the_next() {
    let mut table = Table::new("table");
    for _ in 0..80 {
        table.append(1_000, 100 * MIB, &at(0));
    }
    table.policy.pace.bytes_per_hour = Some(GIB);
    table.policy.cleanup.enabled = false;
    let mut hours = Vec::new();
    for hour in 0..12 {
        let mut rewritten = 0;
        for minute in 0..60 {
            let now = at(hour * 3_600 + minute * 60);
            for job in plan_of(&table, &now).jobs {
                table.history.begin(&job, now.monotonic);
                let bytes = table.execute(&job, &now);
                assert_eq!(bytes, job.bytes);
                table
                    .history
                    .end(job.duty, now.monotonic, false, bytes, &table.policy.pace);
                rewritten += bytes;
            }
        }
        hours.push(rewritten);
    }
    assert!(hours.iter().all(|bytes| *bytes <= GIB), "{hours:?}");
    let idle = hours.iter().take(8).filter(|bytes| **bytes == 0);
    assert_eq!(idle.count(), 0, "{hours:?}");
}

#[test]
fn a_table_that_grew_since_the_plan_is_not_rewritten_beyond_what_was_admitted() {
    let mut table = Table::new("table");
    for _ in 0..8 {
        table.append(100, 10 * MIB, &at(0));
    }
    table.policy.pace.bytes_per_hour = Some(100 * MIB);
    let job = plan_of(&table, &at(60)).jobs[0].clone();
    assert_eq!(job.bytes, 80 * MIB);
    for _ in 0..8 {
        table.append(100, 10 * MIB, &at(60));
    }
    let decision = compaction::plan(&table.stats, &table.policy.compaction, &job.ask);
    let outgrown = compaction::Decision::Skip(compaction::Skip::Outgrown);
    assert_eq!(decision, outgrown);
}

#[test]
fn below_full_intensity_a_target_has_one_job_at_a_time_and_rests_after_it() {
    let mut tables = [neglected("a"), neglected("b")];
    let mut target = Spent::default();
    target.pace.intensity = 0.5;
    let plan = |tables: &[Table; 2], target: &Spent, seconds| {
        let views: Vec<_> = tables.iter().map(Table::view).collect();
        super::plan(&views, target, &at(seconds))
    };
    let first = plan(&tables, &target, 0);
    assert_eq!(first.jobs.len(), 1);
    let job = &first.jobs[0];
    tables[0].history.begin(job, Duration::ZERO);
    assert!(plan(&tables, &target, 50).jobs.is_empty());
    let charge = tables[0].history.end(
        job.duty,
        Duration::from_secs(100),
        false,
        0,
        &Pace::default(),
    );
    target.ledger.charge(charge, &target.pace);
    assert!(plan(&tables, &target, 199).jobs.is_empty());
    assert_eq!(plan(&tables, &target, 200).jobs.len(), 1);
}

#[test]
fn a_few_versions_go_in_the_end_but_not_more_than_once_in_a_day() {
    const DAY: u64 = 24 * 3_600;
    let mut table = neglected("table");
    table.versions.truncate(12);
    table.policy.compaction.enabled = false;
    table.policy.index.enabled = false;
    let judged = |table: &Table, now| decision(&plan_of(table, &at(now)), Duty::Cleanup);
    let few = Decision::Skip(Skip::Cleanup(cleanup::Skip::BelowThreshold));
    assert_eq!(judged(&table, DAY - 1), few);
    assert_eq!(judged(&table, DAY), Decision::Act(OVERDUE));
    let ended = DutyHistory {
        last_end: Some(Duration::from_secs(DAY)),
        ..DutyHistory::default()
    };
    table.history.duties.insert(Duty::Cleanup, ended);
    assert_eq!(judged(&table, 2 * DAY - 1), few);
    assert_eq!(judged(&table, 2 * DAY), Decision::Act(OVERDUE));
}

#[test]
fn files_that_no_version_names_make_a_cleanup_due_by_themselves() {
    let mut table = Table::new("table");
    table.append(1_000, 100 * MIB, &at(0));
    let judged = |left_over, listed| {
        let mut view = table.view();
        view.left_over = left_over;
        view.versions = view.versions.filter(|_| listed);
        decision(&plan(&[view], &Spent::default(), &at(60)), Duty::Cleanup)
    };
    let due = Decision::Act(Reason::Cleanup(cleanup::Reason::LeftOver));
    assert_eq!((judged(true, true), judged(true, false)), (due, due));
    let retained = Decision::Skip(Skip::Cleanup(cleanup::Skip::Retained));
    assert_eq!(judged(false, true), retained);
}

#[test]
fn the_poorest_job_is_not_starved_by_tables_that_are_always_better() {
    // One job slot, and twenty busy tables whose jobs are as good as any.
    let mut busy: Vec<_> = (0..20).map(|n| neglected(&format!("busy-{n}"))).collect();
    let mut poor = Table::new("poor");
    for _ in 0..8 {
        poor.append(1_000, 100 * MIB, &at(0));
    }
    busy.push(poor);
    let mut waited = Vec::new();
    for minute in 0..600 {
        let now = at(minute * 60);
        let views: Vec<_> = busy.iter().map(Table::view).collect();
        let plan = plan(&views, &Spent::default(), &now);
        let job = plan.jobs[0].clone();
        if job.table.name() == "poor" {
            waited.push(minute);
        }
        let table = busy.iter_mut().find(|t| t.key == job.table).unwrap();
        table.history.begin(&job, now.monotonic);
        let charge = table.history.end(
            job.duty,
            now.monotonic + Duration::from_secs(60),
            false,
            0,
            &Pace::default(),
        );
        assert_eq!(charge.ran, Duration::from_secs(60));
    }
    // It is served as soon as its waiting outweighs what it is worse by: never more than sixteen doublings.
    let bound = 16 * SECONDS_PER_DOUBLING / 60 + 60;
    let gaps = [0].iter().chain(&waited).zip(&waited);
    let longest = gaps.map(|(before, after)| after - before).max().unwrap();
    assert!(longest <= bound, "{waited:?}");
}
