//! What users of Lance suffer from, as far as it is a matter of judgement. Each test is named after the report.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Decision, Duty, Job, Now, Plan, Reason, Skip,
    compaction::CONTENDED_DELETED_FRACTION,
    contention::{Contention, LateDeletes},
    pace::Spent,
    plan,
    sample::{GIB, KIB, MIB, Table, at},
    window::Window,
};

const DAY: u64 = 24 * 3600;

fn plan_of(table: &Table, now: &Now) -> Plan {
    plan(&[table.view()], &Spent::default(), now)
}

/// Does what is planned every 10 minutes, for so long; says what was done.
fn keep(table: &mut Table, from: u64, seconds: u64) -> Vec<(Job, u64)> {
    let mut done = Vec::new();
    for now in (from..from + seconds).step_by(600).map(at) {
        for job in plan_of(table, &now).jobs {
            table.history.begin(&job, now.monotonic);
            let bytes = table.execute(&job, &now);
            table
                .history
                .end(job.duty, now.monotonic, false, bytes, &table.policy.pace);
            done.push((job, bytes));
        }
    }
    done
}

#[test]
fn lancedb_1115_maintenance_needs_nobody_who_asks_for_it() {
    let mut table = Table::new("table").indexed("vector");
    for minute in 0..2_000 {
        table.append(100, 100 * KIB, &at(minute * 60));
    }
    let done = keep(&mut table, 10 * DAY, 2 * DAY);
    let duties: BTreeSet<_> = done.iter().map(|(job, _)| job.duty).collect();
    assert_eq!(duties, Duty::ALL.into());
    assert!(table.stats.fragments.len() <= table.policy.compaction.small_at_rest());
    assert!(table.stats.indexes[0].unindexed_rows < 1_000);
    assert!(table.versions.len() < 40, "{}", table.versions.len());
}

#[test]
fn lance_2318_versions_do_not_pile_up_under_steady_writes() {
    let mut table = Table::new("table");
    table.policy.cleanup.keep_for = Duration::from_secs(3600);
    let mut most = 0;
    for minute in 0..7 * 24 * 60 {
        table.append(10, 10 * KIB, &at(minute * 60));
        if minute % 10 == 0 {
            keep(&mut table, minute * 60, 1);
        }
        most = most.max(table.versions.len());
    }
    // An hour of writes and compactions, the rounds until the next cleanup, and the least number that is worth one.
    assert!(most <= 60 + 6 + 3 * 12 + 20, "{most}");
}

#[test]
fn lancedb_2325_and_lance_4561_no_job_reads_more_than_it_may_and_the_rest_follows() {
    let mut table = Table::new("wide");
    table.policy.compaction.max_source_bytes = GIB;
    for _ in 0..2_000 {
        table.append(1_000, 20 * MIB, &at(0));
    }
    table.policy.cleanup.enabled = false;
    let done = keep(&mut table, 3600, 2 * DAY);
    assert!(done.len() > 30);
    assert!(done.iter().all(|(_, bytes)| *bytes <= GIB));
    let small = table.stats.fragments.iter().filter(|f| f.bytes < 128 * MIB);
    assert!(small.count() < 8);
}

#[test]
fn lancedb_2894_wide_rows_are_not_merged_again_and_again() {
    // 500 rows of half a megabyte make a full fragment: by rows it would be tiny for ever.
    let mut table = Table::new("wide");
    let (mut appended, mut rewritten) = (0, 0);
    for minute in 0..5_000 {
        table.append(20, 10 * MIB, &at(minute * 60));
        appended += 10 * MIB;
        let done = keep(&mut table, minute * 60, 1);
        rewritten += done.iter().map(|(_, bytes)| bytes).sum::<u64>();
    }
    assert!(rewritten <= 2 * appended, "{rewritten} for {appended}");
}

#[test]
fn lance_7207_rewrites_that_writers_would_preempt_are_not_begun() {
    for late in [LateDeletes::Discard, LateDeletes::Rebase] {
        // Writers delete at random in one fragment of 200 MiB, and append small ones.
        let mut table = Table::new("contended");
        table.append(1_000_000, 200 * MIB, &at(0));
        table.policy.compaction.interval_floor = Duration::ZERO;
        let mut contention = Contention::default();
        let mut touched = 0;
        for second in 0..3_600 {
            let now = at(second);
            table.append(100, 10 * KIB, &now);
            table.stats.fragments[0].deleted += 50;
            contention.observe(&table.stats, now.monotonic);
            table.contended = contention.contended(late, now.monotonic);
            for job in plan_of(&table, &now).jobs {
                let large = table.stats.fragments[0];
                table.execute(&job, &now);
                touched += usize::from(table.stats.fragments[0] != large);
            }
        }
        let large = table.stats.fragments[0];
        assert!(large.deleted_fraction() > table.policy.compaction.max_deleted_fraction);
        assert!(large.deleted_fraction() < CONTENDED_DELETED_FRACTION);
        assert_eq!(touched, 0, "the large one was left to its writers");
        assert!(
            table.stats.fragments.len() < 40,
            "and the small ones were merged"
        );
    }
}

#[test]
fn lance_6607_a_version_that_a_reader_may_have_opened_lately_stays() {
    // There was no write for a month; then there was one. A reader opened the old version a moment before.
    let mut table = Table::new("table");
    for second in 0..50 {
        table.append(10, KIB, &at(second));
    }
    table.append(10, KIB, &at(30 * DAY));
    let opened = table.versions[table.versions.len() - 2].version;
    keep(&mut table, 30 * DAY, 6 * DAY);
    assert!(table.versions.iter().any(|v| v.version == opened));
    table.forced.insert(Duty::Cleanup);
    table.policy.cleanup.keep_versions = 1;
    keep(&mut table, 36 * DAY, 2 * DAY);
    assert!(
        table.versions.iter().all(|v| v.version != opened),
        "retention has passed"
    );
}

#[test]
fn lance_5143_and_lance_8896_compaction_and_index_work_never_run_at_once_on_a_table() {
    let mut table = Table::new("table").indexed("vector");
    for _ in 0..100 {
        table.append(10_000, MIB, &at(0));
    }
    table.forced.extend(Duty::ALL);
    let now = at(60);
    let plan = plan_of(&table, &now);
    let duties: Vec<_> = plan.jobs.iter().map(|job| job.duty).collect();
    assert_eq!(duties, [Duty::Compaction]);
    table.history.begin(&plan.jobs[0], now.monotonic);
    assert!(plan_of(&table, &at(120)).jobs.is_empty());
}

#[test]
fn xagent_1195_whoever_loses_a_race_waits_longer_each_time() {
    let mut table = Table::new("table");
    for _ in 0..100 {
        table.append(10, KIB, &at(0));
    }
    table.policy.compaction.interval_floor = Duration::ZERO;
    let mut attempts = Vec::new();
    for second in 0..3_600 {
        let now = at(second);
        for job in plan_of(&table, &now).jobs {
            table.history.begin(&job, now.monotonic);
            table
                .history
                .end(job.duty, now.monotonic, true, job.bytes, &table.policy.pace);
            attempts.push(second);
        }
    }
    assert_eq!(attempts[..6], [0, 5, 15, 35, 75, 155]);
    assert!(attempts.len() < 15, "{attempts:?}");
}

#[test]
fn lancedb_1971_a_huge_table_is_compacted_in_parts_that_do_not_depend_on_each_other() {
    // 587 million rows in fragments of 100,000, a tenth of which are small and fresh.
    let mut table = Table::new("huge");
    for n in 0..5_870 {
        let bytes = if n % 10 == 0 { 40 * MIB } else { 400 * MIB };
        table.append(100_000, bytes, &at(0));
    }
    table.policy.cleanup.enabled = false;
    let large: BTreeSet<_> = table
        .stats
        .fragments
        .iter()
        .filter(|f| f.bytes >= 400 * MIB)
        .map(|f| f.id)
        .collect();
    let done = keep(&mut table, 60, 2 * DAY);
    let total: u64 = done.iter().map(|(_, bytes)| bytes).sum();
    assert!(done.iter().all(|(_, bytes)| *bytes <= 4 * GIB));
    let small = table.stats.fragments.iter().filter(|f| f.bytes == 40 * MIB);
    let small = small.count() as u64;
    assert!(small < 8);
    assert_eq!(
        total,
        (587 - small) * 40 * MIB,
        "each small fragment is rewritten once, and nothing else"
    );
    let left: BTreeSet<_> = table.stats.fragments.iter().map(|f| f.id).collect();
    assert!(large.is_subset(&left));
}

#[test]
fn ol_infrastructure_5258_two_schedules_at_one_time_do_not_overlap() {
    let mut table = Table::new("table").indexed("id");
    for _ in 0..3 {
        table.append(10, KIB, &at(0));
    }
    table.forced = BTreeSet::from([Duty::Compaction, Duty::Index]);
    let now = at(0);
    let plan = plan_of(&table, &now);
    let decided = |duty| {
        plan.decisions
            .iter()
            .find(|d| d.duty == duty)
            .unwrap()
            .decision
    };
    assert!(matches!(
        decided(Duty::Compaction),
        Decision::Act(Reason::Compaction(_))
    ));
    assert_eq!(
        decided(Duty::Index),
        Decision::Skip(Skip::Waits(Duty::Compaction))
    );
    assert!(
        Skip::Waits(Duty::Compaction).passes(),
        "what was forced is still to be done"
    );
}

#[test]
fn gascity_3341_maintenance_that_is_off_says_so_for_every_duty() {
    let mut table = Table::new("table").indexed("id");
    for _ in 0..100 {
        table.append(1_000, KIB, &at(0));
    }
    table.policy.compaction.enabled = false;
    table.paused = true;
    let decisions = plan_of(&table, &at(16 * DAY)).decisions;
    let skips = decisions.iter().map(|d| match d.decision {
        Decision::Act(reason) => panic!("{reason}"),
        Decision::Skip(skip) => skip.as_str(),
    });
    assert_eq!(skips.collect::<Vec<_>>(), ["disabled", "paused", "paused"]);
}

#[test]
fn cognee_4684_six_thousand_fragments_become_a_few() {
    let mut table = Table::new("triplets").indexed("vector");
    for n in 0..6_557 {
        table.append(60, 63 * KIB, &at(n * 90));
    }
    let done = keep(&mut table, 8 * DAY, 10 * DAY);
    assert!(
        table.stats.fragments.len() <= 27,
        "{}",
        table.stats.fragments.len()
    );
    let rewritten: u64 = done
        .iter()
        .filter(|(job, _)| job.duty == Duty::Compaction)
        .map(|(_, b)| b)
        .sum();
    assert!(rewritten <= 2 * 6_557 * 63 * KIB);
    assert!(table.versions.len() < 40, "{}", table.versions.len());
    assert!(
        plan_of(&table, &at(20 * DAY)).jobs.is_empty(),
        "and then it is at rest"
    );
}

#[test]
fn aim_591_a_table_that_is_rewritten_every_minute_keeps_what_retention_says_and_no_more() {
    let mut table = Table::new("runs");
    table.policy.cleanup.keep_for = Duration::from_secs(DAY);
    for minute in 0..7 * 24 * 60 {
        table.append(1, KIB, &at(minute * 60));
        if minute % 60 == 0 {
            keep(&mut table, minute * 60, 1);
        }
    }
    keep(&mut table, 7 * DAY, 3 * 3600);
    let now = at(7 * DAY + 3 * 3600);
    let old = table
        .versions
        .iter()
        .filter(|v| v.written < now.wall - Duration::from_secs(DAY + 3600));
    assert!(old.count() <= table.policy.cleanup.min_versions);
}

#[test]
fn cocoindex_2002_what_is_written_while_a_job_runs_counts_for_the_next_one() {
    let mut table = Table::new("target").indexed("vector");
    let threshold = table.policy.compaction.min_small_fragments;
    let append = |table: &mut Table, second| {
        for _ in 0..threshold {
            table.append(100, 100 * KIB, &at(second));
        }
    };
    append(&mut table, 0);
    let jobs = plan_of(&table, &at(10)).jobs;
    let [job] = &jobs[..] else {
        panic!("{jobs:?}");
    };
    table.history.begin(job, at(10).monotonic);
    let bytes = table.execute(job, &at(10));
    append(&mut table, 15);
    assert!(plan_of(&table, &at(20)).jobs.is_empty(), "one at a time");
    table
        .history
        .end(job.duty, at(20).monotonic, false, bytes, &table.policy.pace);
    let next = plan_of(&table, &at(60)).jobs;
    assert!(
        next.iter().any(|next| next.duty == Duty::Compaction),
        "{next:?}"
    );
}

#[test]
fn memos_1457_upserts_of_a_graphs_nodes_do_not_rewrite_the_table_again_and_again() {
    // 100,000 nodes; every minute 100 of them are written anew.
    let mut table = Table::new("nodes").indexed("embedding").indexed("text");
    table.append(100_000, 200 * MIB, &at(0));
    let (mut written, mut rewritten) = (0, 0);
    for minute in 1..3 * 24 * 60 {
        let live = table.stats.fragments.iter_mut();
        let oldest = live.max_by_key(|f| f.rows - f.deleted).unwrap();
        oldest.deleted += 100;
        table.append(100, 200 * KIB, &at(minute * 60));
        written += 200 * KIB;
        let done = keep(&mut table, minute * 60, 1);
        let compacted = done.iter().filter(|(job, _)| job.duty == Duty::Compaction);
        rewritten += compacted.map(|(_, bytes)| bytes).sum::<u64>();
    }
    // A large fragment is rewritten once a tenth of it is dead: ten bytes for one. The small ones are merged besides.
    assert!(rewritten <= 14 * written, "{rewritten} for {written}");
    let dead: u64 = table.stats.fragments.iter().map(|f| f.deleted).sum();
    assert!(dead < 20_000, "{dead} rows are deleted and still there");
    assert!(table.stats.fragments.len() <= table.policy.compaction.small_at_rest() + 2);
    let unindexed = table.stats.indexes.iter().map(|i| i.unindexed_rows);
    assert!(unindexed.max().unwrap() < 10_000);
}

#[test]
fn memory_lancedb_pro_793_a_thousand_entries_do_not_grow_by_every_write() {
    let mut table = Table::new("memories");
    table.policy.cleanup.keep_for = Duration::from_secs(DAY);
    for entry in 0..1_000 {
        table.append(1, KIB, &at(entry * 300));
        keep(&mut table, entry * 300, 1);
    }
    let (last, fragments) = (1_000 * 300, table.stats.fragments.len());
    assert!(
        fragments <= table.policy.compaction.small_at_rest(),
        "{fragments}"
    );
    keep(&mut table, last, DAY + 7_200);
    let (left, policy) = (table.versions.len(), &table.policy.cleanup);
    // What is left over goes another day later.
    assert!(
        left < policy.keep_versions + policy.min_versions,
        "{left} of a thousand versions"
    );
}

#[test]
fn lance_context_16_quiet_hours_are_kept_and_a_table_can_be_left_to_another_scheduler() {
    let mut table = Table::new("context");
    for second in 0..100 {
        table.append(10, KIB, &at(second));
    }
    let all_day = Window {
        days: Window::EVERY_DAY,
        from: 0,
        to: 0,
    };
    let decided = |table: &Table| plan_of(table, &at(200)).decisions[0].decision;
    assert!(matches!(decided(&table), Decision::Act(_)));
    table.policy.windows.blackout = vec![all_day];
    assert_eq!(decided(&table), Decision::Skip(Skip::Blackout));
    table.policy.windows.blackout.clear();
    table.policy.compaction.enabled = false;
    assert_eq!(decided(&table), Decision::Skip(Skip::Disabled));
}
