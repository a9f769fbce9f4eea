//! What holds of every plan, whatever tables, policies and histories there are.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    ids::TableKey,
    planner::{
        DutyHistory,
        history::Running,
        pace::Charge,
        sample::{Dice, GIB, KIB, MIB, Table, at},
        statistics::VersionInfo,
        window::Window,
    },
};

/// Any table.
fn table(name: usize) -> impl Strategy<Value = Table> {
    let layout = (
        prop::collection::vec((1..5_000_u64, 0..18_u32, KIB..2 * KIB, 0..3_u32), 0..40),
        prop::collection::vec(0..600_000_u64, 0..60),
        (0..3_usize, 0..200_000_u64, 1..12_usize),
    );
    let policy = (
        any::<[bool; 3]>(),
        prop::option::of(0..GIB),
        1..=10_u32,
        any::<[bool; 2]>(),
        10..100_usize,
    );
    let past = (
        prop::collection::vec((0..100_000_u64, 0..4_u32, 0..4_u32), Duty::ALL.len()),
        prop::collection::vec((90_000..100_000_u64, 0..GIB), 0..5),
        prop::option::weighted(0.1, 0..Duty::ALL.len()),
    );
    let asked = (
        any::<[bool; Duty::ALL.len()]>(),
        prop::bool::weighted(0.1),
        any::<u64>(),
    );
    (layout, policy, past, asked).prop_map(move |(layout, policy, past, asked)| {
        let mut table = Table::new(&format!("table-{name}"));
        let (fragments, written, (indexes, unindexed_rows, segments)) = layout;
        for (rows, doublings, bytes, coverage) in fragments {
            table.append(rows, bytes << doublings, &at(0));
            if let Some(fragment) = table.stats.fragments.last_mut() {
                fragment.coverage = coverage;
            }
        }
        for index in 0..indexes {
            table = table.indexed(&format!("index-{index}"));
            if let Some(index) = table.stats.indexes.last_mut() {
                (index.unindexed_rows, index.segments) = (unindexed_rows, segments);
            }
        }
        let versions = (1..).zip(written).map(|(version, seconds)| VersionInfo {
            version,
            written: at(seconds).wall,
        });
        table.versions = versions.collect();
        let (enabled, bytes_per_hour, intensity, windows, emergency) = policy;
        let settings = &mut table.policy;
        settings.compaction.enabled = enabled[0] || enabled[1];
        settings.index.enabled = enabled[1] || enabled[2];
        settings.cleanup.enabled = enabled[2] || enabled[0];
        settings.cleanup.keep_for = Duration::from_secs(3_600);
        settings.compaction.emergency_small_fragments = emergency;
        settings.pace.bytes_per_hour = bytes_per_hour;
        settings.pace.intensity = f64::from(intensity) / 10.0;
        let afternoon = Window {
            days: Window::EVERY_DAY,
            from: 12 * 60,
            to: 18 * 60,
        };
        settings
            .windows
            .allowed
            .extend(windows[0].then_some(afternoon));
        settings
            .windows
            .blackout
            .extend((windows[0] && windows[1]).then_some(afternoon));
        let (duties, charges, running) = past;
        for (duty, (end, losses, passed_over)) in Duty::ALL.into_iter().zip(duties) {
            let history = DutyHistory {
                last_end: (end > 10_000).then(|| Duration::from_secs(end)),
                losses,
                passed_over,
                ..DutyHistory::default()
            };
            table.history.duties.insert(duty, history);
        }
        for (ended, bytes) in charges {
            table.history.ledger.charge(
                Charge {
                    emergency: bytes % 3 == 0,
                    ended: Duration::from_secs(ended),
                    ran: Duration::from_secs(bytes % 100),
                    bytes,
                },
                &table.policy.pace,
            );
        }
        table.history.running = running.map(|duty| Running {
            duty: Duty::ALL[duty],
            bytes: 0,
            since: Duration::ZERO,
            emergency: false,
        });
        let (forced, paused, contended) = asked;
        let forced = Duty::ALL.into_iter().zip(forced);
        table.forced = forced
            .filter(|(_, forced)| *forced)
            .map(|(d, _)| d)
            .collect();
        table.paused = paused;
        table.contended = (0..40)
            .filter(|id| contended & contended >> 1 & 1 << id != 0)
            .collect();
        table
    })
}

fn tables() -> impl Strategy<Value = Vec<Table>> {
    let tables: [_; 6] = std::array::from_fn(table);
    (tables, 0..=6_usize).prop_map(|(tables, n)| tables.into_iter().take(n).collect())
}

fn target() -> impl Strategy<Value = Spent> {
    (prop::option::of(0..GIB), 1..=10_u32, 0..GIB).prop_map(|(bytes_per_hour, intensity, bytes)| {
        let mut target = Spent::default();
        target.pace.bytes_per_hour = bytes_per_hour;
        target.pace.intensity = f64::from(intensity) / 10.0;
        target.ledger.charge(
            Charge {
                ended: Duration::from_secs(99_000),
                ran: Duration::from_secs(bytes % 2_000),
                bytes,
                emergency: false,
            },
            &target.pace,
        );
        target
    })
}

proptest! {
    #[test]
    fn a_plan_does_not_depend_on_the_order_of_tables_and_is_the_same_each_time(
        tables in tables(),
        target in target(),
        seed in any::<u64>(),
    ) {
        let now = at(100_000);
        let mut views: Vec<_> = tables.iter().map(Table::view).collect();
        let first = plan(&views, &target, &now);
        prop_assert_eq!(&first, &plan(&views, &target, &now));
        let mut dice = Dice(seed);
        views.sort_by_cached_key(|_| dice.roll(u64::MAX));
        prop_assert_eq!(&first, &plan(&views, &target, &now));
    }

    #[test]
    fn every_duty_of_every_table_is_decided_with_a_reason_and_a_table_has_one_job_at_most(
        tables in tables(),
        target in target(),
    ) {
        let views: Vec<_> = tables.iter().map(Table::view).collect();
        let plan = plan(&views, &target, &at(100_000));
        let decided: Vec<_> = plan.decisions.iter().map(|d| (d.table.clone(), d.duty)).collect();
        let all = tables.iter().flat_map(|t| Duty::ALL.map(|duty| (t.key.clone(), duty)));
        prop_assert_eq!(decided, all.collect::<Vec<_>>());
        let acts = plan.decisions.iter().filter_map(|d| match d.decision {
            Decision::Act(reason) => Some((d.table.clone(), d.duty, reason)),
            Decision::Skip(_) => None,
        });
        let jobs: BTreeSet<_> = plan.jobs.iter().map(|j| (j.table.clone(), j.duty, j.reason.as_str())).collect();
        prop_assert_eq!(&jobs, &acts.map(|(t, d, r)| (t, d, r.as_str())).collect());
        let busy: BTreeSet<TableKey> = plan.jobs.iter().map(|j| j.table.clone()).collect();
        prop_assert_eq!(busy.len(), plan.jobs.len());
        for job in &plan.jobs {
            let table = tables.iter().find(|t| t.key == job.table).unwrap();
            prop_assert!(!table.paused && table.history.running.is_none());
        }
    }
}

proptest! {
    // Each case is a day of many jobs.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_hour_has_more_bytes_than_the_budget_but_for_a_job_that_is_larger_and_is_paid_off(
        tables in prop::collection::vec((1..40_u64, prop::option::of(1..400 * MIB)), 1..5),
        budget in prop::option::of(1..800 * MIB),
        seed in any::<u64>(),
    ) {
        let mut dice = Dice(seed);
        let mut target = Spent::default();
        target.pace.bytes_per_hour = budget;
        let mut tables: Vec<_> = tables.into_iter().enumerate().map(|(n, (size, budget))| {
            let mut table = Table::new(&format!("table-{n}"));
            table.policy.pace.bytes_per_hour = budget;
            (table, size * MIB / 8)
        }).collect();
        let (mut at_work, mut charges) = (Vec::new(), Vec::new());
        for tick in 0..120 {
            let now = at(tick * 120);
            for (table, bytes) in &mut tables {
                for _ in 0..dice.roll(8) {
                    table.append(100, *bytes, &now);
                }
            }
            at_work.retain(|(n, job, until): &(usize, Job, u64)| {
                let table: &mut Table = &mut tables[*n].0;
                if *until <= tick {
                    let bytes = table.execute(job, &now);
                    let charge = table.history.end(job.duty, now.monotonic, false, bytes, &table.policy.pace);
                    target.ledger.charge(charge, &target.pace);
                    charges.push((*n, charge));
                }
                *until > tick
            });
            let views: Vec<_> = tables.iter().map(|(table, _)| table.view()).collect();
            for job in plan(&views, &target, &now).jobs {
                let n = tables.iter().position(|(table, _)| table.key == job.table).unwrap();
                tables[n].0.history.begin(&job, now.monotonic);
                at_work.push((n, job, tick + dice.roll(20)));
            }
        }
        // Of jobs that are no larger than it; and over a longer time, one that is larger besides.
        let within_hour = |of: Vec<Charge>, budget: Option<u64>| {
            let Some(budget) = budget else {
                return true;
            };
            let largest = of.iter().map(|c| c.bytes).max().unwrap_or(0);
            (0..of.len()).all(|n| {
                let mut sum = 0;
                of[n..].iter().all(|c| {
                    sum += c.bytes;
                    let passed = c.ended - of[n].ended;
                    let paid = u128::from(budget) * passed.as_millis() / 3_600_000;
                    let small = largest > budget || passed.as_secs() >= 3_600 || sum <= budget;
                    small && u128::from(sum) <= paid + u128::from(budget + largest)
                })
            })
        };
        prop_assert!(within_hour(charges.iter().map(|(_, c)| *c).collect(), budget));
        for (n, (table, _)) in tables.iter().enumerate() {
            let of_table = charges.iter().filter(|(of, _)| *of == n).map(|(_, c)| *c);
            prop_assert!(within_hour(of_table.collect(), table.policy.pace.bytes_per_hour));
        }
    }
}
