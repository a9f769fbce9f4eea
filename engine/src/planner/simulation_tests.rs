//! A table that grows for long, compacted by the plan after each tick: what it costs, and what is left.
#![expect(
    clippy::print_stdout,
    reason = "figures, shown when it runs with --nocapture"
)]

use super::statistics::TableStats;
use super::{
    Ask,
    compaction::{self, CompactionPolicy, Decision, Group},
    sample::{Dice, KIB, fragment, stats},
};

/// What the growth of a table cost.
#[derive(Debug, Default)]
struct Cost {
    appends: u64,
    appended: u64,
    rewritten: u64,
    jobs: u64,
    /// The most small fragments after a tick.
    most_small: usize,
}

impl Cost {
    /// Bytes rewritten for a hundred appended.
    fn percent(&self) -> u64 {
        self.rewritten * 100 / self.appended
    }
}

/// Appends fragments of `sizes`, up to 20 in one tick, and rewrites what `judge` says.
fn grow(
    appends: u64,
    sizes: impl Fn(&mut Dice) -> u64,
    judge: impl Fn(&TableStats) -> Vec<Group>,
) -> Cost {
    let policy = CompactionPolicy::default();
    let mut dice = Dice(4);
    let mut table = stats(Vec::new());
    let mut cost = Cost::default();
    let mut ids = 0..;
    while cost.appends < appends {
        for _ in 0..=dice.roll(20) {
            let bytes = sizes(&mut dice);
            table
                .fragments
                .extend(ids.next().map(|id| fragment(id, bytes, 0, bytes)));
            cost.appends += 1;
            cost.appended += bytes;
        }
        let groups = judge(&table);
        cost.jobs += u64::from(!groups.is_empty());
        for group in groups {
            cost.rewritten += group.bytes;
            table.fragments.retain(|f| !group.fragments.contains(&f.id));
            let merged = |id| fragment(id, group.rows, 0, group.live_bytes);
            table.fragments.extend(ids.next().map(merged));
        }
        // Full fragments are never looked at again.
        table.fragments.retain(|f| policy.is_small(f));
        cost.most_small = cost.most_small.max(table.fragments.len());
    }
    cost
}

fn by_the_plan(table: &TableStats) -> Vec<Group> {
    match compaction::plan(table, &CompactionPolicy::default(), &Ask::default()) {
        Decision::Compact(groups, _) => groups,
        Decision::Skip(_) => Vec::new(),
    }
}

/// What a planner without tiers does: once eight are small, all become one.
fn without_tiers(table: &TableStats) -> Vec<Group> {
    let policy = CompactionPolicy::default();
    let small: Vec<_> = table.fragments.iter().collect();
    if small.len() < policy.min_small_fragments {
        return Vec::new();
    }
    compaction::as_few_as_possible(&small, &policy)
}

#[test]
fn a_hundred_thousand_appends_of_all_sizes_cost_two_and_a_half_rewrites_and_leave_few_small_fragments()
 {
    let sizes = |dice: &mut Dice| dice.size(KIB, 13);
    let cost = grow(100_000, sizes, by_the_plan);
    println!("{cost:?}: {} %", cost.percent());
    assert!(cost.percent() <= 250, "{cost:?}");
    assert!(
        cost.most_small <= CompactionPolicy::default().small_at_rest(),
        "{cost:?}"
    );
    let others = grow(100_000, sizes, without_tiers);
    println!("without tiers {others:?}: {} %", others.percent());
    assert!(others.percent() > 2 * cost.percent(), "{others:?}");
}

#[test]
fn a_hundred_thousand_tiny_appends_cost_five_rewrites_and_leave_few_small_fragments() {
    let policy = CompactionPolicy::default();
    let sizes = |dice: &mut Dice| dice.size(KIB, 3);
    let cost = grow(100_000, sizes, by_the_plan);
    println!("{cost:?}: {} %", cost.percent());
    assert!(cost.percent() <= 500, "{cost:?}");
    assert!(cost.most_small <= policy.small_at_rest(), "{cost:?}");
    let others = grow(100_000, sizes, without_tiers);
    println!("without tiers {others:?}: {} %", others.percent());
    assert!(others.rewritten > 100 * cost.rewritten, "{others:?}");
}
