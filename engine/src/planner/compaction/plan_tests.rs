use proptest::prelude::*;

use super::*;
use crate::planner::sample::{GIB, KIB, MIB, fragment, stats};

/// Fragments of all sizes, some full of deleted rows, covered by indexes in three ways.
fn fragments() -> impl Strategy<Value = Vec<FragmentStats>> {
    let one = (1..5_000_u64, 0..100_u64, 0..20_u32, KIB..2 * KIB, 0..3_u32);
    prop::collection::vec(one, 0..80).prop_map(|all| {
        let all = (0..).zip(all);
        all.map(
            |(id, (rows, deleted, doublings, bytes, coverage))| FragmentStats {
                coverage,
                ..fragment(id, rows, rows * (deleted / 3) / 100, bytes << doublings)
            },
        )
        .collect()
    })
}

fn ask(forced: bool) -> Ask {
    Ask {
        forced,
        ..Ask::default()
    }
}

#[test]
fn small_fragments_become_one() {
    let before = stats((0..100).map(|id| fragment(id, 100, 0, 10_000)).collect());
    let Decision::Compact(groups, reason) =
        plan(&before, &CompactionPolicy::default(), &Ask::default())
    else {
        panic!("100 small fragments are due")
    };
    assert_eq!((groups.len(), reason), (1, Reason::SmallFragments));
    assert_eq!(groups[0].rows, 10_000);
}

#[test]
fn a_large_fragment_is_not_rewritten_for_the_sake_of_tiny_ones() {
    let mut fragments = vec![fragment(0, 1_000_000, 0, 120 * MIB)];
    fragments.extend((1..9).map(|id| fragment(id, 100, 0, 10_000)));
    let decision = plan(
        &stats(fragments),
        &CompactionPolicy::default(),
        &Ask::default(),
    );
    let Decision::Compact(groups, Reason::SmallFragments) = decision else {
        panic!("8 fragments of one size are due, not {decision:?}")
    };
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].fragments, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn small_fragments_of_many_sizes_are_below_the_threshold() {
    let sizes = [KIB, 100 * KIB, MIB, 10 * MIB, 100 * MIB];
    let of = |size: &u64| (0..7).map(|_| *size).collect::<Vec<_>>();
    let sizes = sizes.iter().flat_map(of).enumerate();
    let before = stats(
        sizes
            .map(|(id, bytes)| fragment(id as u64, 1_000, 0, bytes))
            .collect(),
    );
    let policy = CompactionPolicy::default();
    assert_eq!(before.fragments.len(), policy.small_at_rest());
    let decision = plan(&before, &policy, &Ask::default());
    assert_eq!(decision, Decision::Skip(Skip::BelowThreshold));
}

#[test]
fn what_a_full_tier_becomes_may_fill_the_next_one_in_the_same_plan() {
    let mut fragments: Vec<_> = (0..7).map(|id| fragment(id, 1_000, 0, 100 * KIB)).collect();
    fragments.extend((7..15).map(|id| fragment(id, 100, 0, 10 * KIB)));
    let decision = plan(
        &stats(fragments),
        &CompactionPolicy::default(),
        &Ask::default(),
    );
    let Decision::Compact(groups, _) = decision else {
        panic!("a tier is full")
    };
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].fragments.len(), 15);
}

#[test]
fn a_contended_fragment_is_left_to_its_writers_until_most_of_it_is_deleted() {
    let policy = CompactionPolicy::default();
    let ask = Ask {
        contended: BTreeSet::from([0]),
        ..Ask::default()
    };
    let table = |deleted| {
        let small = (1..9).map(|id| fragment(id, 100, 0, 10 * KIB));
        let contended = fragment(0, 10_000, deleted, 200 * MIB);
        stats([contended].into_iter().chain(small).collect())
    };
    let Decision::Compact(groups, _) = plan(&table(4_000), &policy, &ask) else {
        panic!("the small ones are due")
    };
    assert!(groups.iter().all(|g| !g.fragments.contains(&0)));
    let Decision::Compact(groups, _) = plan(&table(6_000), &policy, &ask) else {
        panic!("it is more dead than alive")
    };
    assert!(groups.iter().any(|g| g.fragments == [0]));
    let alone = stats(vec![fragment(0, 10_000, 4_000, 200 * MIB)]);
    assert_eq!(plan(&alone, &policy, &ask), Decision::Skip(Skip::Contended));
}

#[test]
fn a_handful_of_deleted_rows_is_no_reason_unless_they_are_many_bytes_or_it_is_forced() {
    let policy = CompactionPolicy::default();
    let plan = |bytes, ask| plan(&stats(vec![fragment(0, 20, 10, bytes)]), &policy, &ask);
    assert_eq!(
        plan(20 * KIB, Ask::default()),
        Decision::Skip(Skip::BelowThreshold)
    );
    let forced = plan(20 * KIB, Ask::forced());
    assert!(matches!(forced, Decision::Compact(_, Reason::Forced)));
    let wide = plan(GIB, Ask::default());
    assert!(matches!(wide, Decision::Compact(_, Reason::DeletedRows)));
}

#[test]
fn in_an_emergency_a_threshold_above_it_does_not_count() {
    let patient = CompactionPolicy {
        min_small_fragments: 10_000,
        ..CompactionPolicy::default()
    };
    let table = |n| stats((0..n).map(|id| fragment(id, 100, 0, 10 * KIB)).collect());
    let decision = plan(&table(999), &patient, &Ask::default());
    assert_eq!(decision, Decision::Skip(Skip::BelowThreshold));
    let decision = plan(&table(1_000), &patient, &Ask::default());
    assert!(matches!(decision, Decision::Compact(_, Reason::Emergency)));
}

#[test]
fn the_best_for_its_bytes_comes_first() {
    let mut fragments: Vec<_> = (0..8).map(|id| fragment(id, 1_000, 0, 30 * MIB)).collect();
    fragments.extend((8..16).map(|id| fragment(id, 100, 0, 10 * KIB)));
    let Decision::Compact(groups, _) = plan(
        &stats(fragments),
        &CompactionPolicy::default(),
        &Ask::default(),
    ) else {
        panic!("two tiers are full")
    };
    let firsts: Vec<_> = groups.iter().map(|g| g.fragments[0]).collect();
    assert_eq!(firsts, [8, 0]);
}

#[test]
fn fragments_that_indexes_cover_differently_do_not_become_one() {
    let covered = |id| FragmentStats {
        coverage: u32::from(id < 6),
        ..fragment(u64::from(id), 100, 0, 10_000)
    };
    let before = stats((0..16_u8).map(covered).collect());
    let Decision::Compact(groups, _) = plan(&before, &CompactionPolicy::default(), &Ask::forced())
    else {
        panic!("16 small fragments are due")
    };
    let sizes: Vec<_> = groups.iter().map(|g| g.fragments.len()).collect();
    assert_eq!(sizes, [10, 6]);
}

#[test]
fn wide_rows_are_not_merged_again_and_again() {
    // Few rows, many bytes: by rows these would be tiny for ever.
    let before = stats(
        (0..20)
            .map(|id| fragment(id, 1_000, 0, 200 * MIB))
            .collect(),
    );
    let decision = plan(&before, &CompactionPolicy::default(), &Ask::forced());
    assert_eq!(decision, Decision::Skip(Skip::Tidy));
}

#[test]
fn a_fragment_full_of_deleted_rows_is_rewritten_alone() {
    let before = stats(vec![fragment(0, 1_000, 500, 300 * MIB)]);
    let decision = plan(&before, &CompactionPolicy::default(), &Ask::default());
    assert!(matches!(
        decision,
        Decision::Compact(_, Reason::DeletedRows)
    ));
}

#[test]
fn a_lone_small_fragment_is_tidy_and_a_few_are_below_the_threshold() {
    let policy = CompactionPolicy::default();
    let few = |n| stats((0..n).map(|id| fragment(id, 10, 0, 100)).collect());
    assert_eq!(
        plan(&few(1), &policy, &Ask::forced()),
        Decision::Skip(Skip::Tidy)
    );
    assert_eq!(
        plan(&few(3), &policy, &Ask::default()),
        Decision::Skip(Skip::BelowThreshold)
    );
    assert!(matches!(
        plan(&few(3), &policy, &Ask::forced()),
        Decision::Compact(_, Reason::Forced)
    ));
}

#[test]
fn a_fragment_larger_than_one_operation_may_read_is_left_alone_unless_much_of_it_is_deleted() {
    let policy = CompactionPolicy {
        max_source_bytes: MIB,
        ..CompactionPolicy::default()
    };
    let whole = stats(vec![fragment(0, 100, 1, 2 * MIB)]);
    assert_eq!(
        plan(&whole, &policy, &Ask::forced()),
        Decision::Skip(Skip::TooLarge)
    );
    let policy = CompactionPolicy::default();
    // A bulk load of 1,536 dimensions, and what makes the lowest tiers full.
    let loaded = fragment(0, 1_048_576, 300_000, 6_400 * MIB);
    let small = (1..9).map(|id| fragment(id, 100, 20, 300 * KIB));
    let before = stats([loaded].into_iter().chain(small).collect());
    for ask in [Ask::default(), Ask::forced()] {
        let mut table = before.clone();
        let mut groups = Vec::new();
        while let Decision::Compact(next, _) = plan(&table, &policy, &ask) {
            table = after(&table, &next);
            groups.extend(next);
        }
        let alone = groups.iter().filter(|g| g.fragments.contains(&0));
        let alone: Vec<_> = alone.map(|g| g.fragments.len()).collect();
        assert_eq!(alone, [1], "{groups:?}");
        assert!(table.fragments.iter().all(|f| f.deleted == 0), "{table:?}");
    }
}

#[test]
fn fragments_that_cannot_be_rewritten_are_left_out_and_keep_no_others_from_their_turn() {
    let policy = CompactionPolicy::default();
    let refused = |why| {
        move |id| FragmentStats {
            refused: Some(why),
            ..fragment(id, 100, 0, 10 * KIB)
        }
    };
    let unreadable = refused(RewriteRefusal::Unreadable);
    let all = stats((0..2_000).map(unreadable).collect());
    for ask in [Ask::default(), Ask::forced()] {
        let decision = plan(&all, &policy, &ask);
        assert_eq!(decision, Decision::Skip(Skip::Unreadable));
    }
    let failed = stats((0..8).map(refused(RewriteRefusal::Failed)).collect());
    let decision = plan(&failed, &policy, &Ask::default());
    assert_eq!(decision, Decision::Skip(Skip::Failed));
    let few = stats((0..2).map(unreadable).collect());
    let decision = plan(&few, &policy, &Ask::default());
    assert_eq!(
        decision,
        Decision::Skip(Skip::Tidy),
        "they would not be due"
    );
    let mut mixed = all;
    let sound = (2_000..2_008).map(|id| fragment(id, 100, 0, 10 * KIB));
    mixed.fragments.extend(sound);
    let Decision::Compact(groups, reason) = plan(&mixed, &policy, &Ask::default()) else {
        panic!("eight others are due")
    };
    assert_eq!(reason, Reason::SmallFragments, "it is no emergency");
    assert_eq!(groups[0].fragments, (2_000..2_008).collect::<Vec<_>>());
}

#[test]
fn a_fragment_of_unknown_size_is_no_candidate_and_counts_for_no_emergency() {
    let policy = CompactionPolicy::default();
    let unmeasured = |id| FragmentStats {
        unmeasured: true,
        ..fragment(id, 1_000, 900, 0)
    };
    let foreign = stats((0..2_000).map(unmeasured).collect());
    for ask in [Ask::default(), Ask::forced()] {
        let decision = plan(&foreign, &policy, &ask);
        assert_eq!(decision, Decision::Skip(Skip::Unmeasured));
    }
    let mut mixed = foreign;
    let own = (2_000..2_008).map(|id| fragment(id, 100, 0, 10 * KIB));
    mixed.fragments.extend(own);
    let Decision::Compact(groups, reason) = plan(&mixed, &policy, &Ask::default()) else {
        panic!("eight that are known to be small are due")
    };
    assert_eq!(reason, Reason::SmallFragments);
    assert_eq!(groups.len(), 1);
    assert!(groups[0].fragments.iter().all(|id| *id >= 2_000));
}

#[test]
fn a_forced_compaction_of_more_than_one_operation_may_read_says_that_more_is_left() {
    let policy = CompactionPolicy {
        max_source_bytes: 512 * MIB,
        ..CompactionPolicy::default()
    };
    let mut table = stats((0..14).map(|id| fragment(id, 1_000, 0, 60 * MIB)).collect());
    let mut left = Vec::new();
    while let Decision::Compact(groups, _) = plan(&table, &policy, &Ask::forced()) {
        left.push(leaves_more(&table, &groups, &policy, &Ask::forced()));
        table = after(&table, &groups);
    }
    assert_eq!(left, [true, true, false]);
}

proptest! {
    #[test]
    fn what_was_just_compacted_is_no_candidate(fragments in fragments(), forced in any::<bool>(), least in 2..20_usize) {
        let policy = CompactionPolicy {
            max_source_bytes: u64::MAX,
            min_small_fragments: least,
            ..CompactionPolicy::default()
        };
        let before = stats(fragments);
        if let Decision::Compact(groups, _) = plan(&before, &policy, &ask(forced)) {
            let after = after(&before, &groups);
            let decision = plan(&after, &policy, &ask(forced));
            prop_assert!(matches!(decision, Decision::Skip(_)), "{decision:?} of {after:?}");
        }
    }

    #[test]
    fn a_table_at_rest_has_few_small_fragments(fragments in fragments(), least in 2..20_usize) {
        let policy = CompactionPolicy { min_small_fragments: least, ..CompactionPolicy::default() };
        let mut table = stats(fragments);
        while let Decision::Compact(groups, _) = plan(&table, &policy, &Ask::default()) {
            table = after(&table, &groups);
        }
        for coverage in 0..3 {
            let covered = table.fragments.iter().filter(|f| f.coverage == coverage);
            let small = covered.filter(|f| policy.is_small(f)).count();
            prop_assert!(small <= policy.small_at_rest(), "{small} with {table:?}");
        }
    }

    #[test]
    fn a_table_larger_than_one_operation_comes_to_rest_step_by_step(
        fragments in fragments(),
        max_source_bytes in 1..3_000 * MIB,
        forced in any::<bool>(),
    ) {
        let policy = CompactionPolicy { max_source_bytes, ..CompactionPolicy::default() };
        let mut table = stats(fragments);
        let mut steps = 0..=table.fragments.len();
        while let Decision::Compact(groups, _) = plan(&table, &policy, &ask(forced)) {
            prop_assert!(steps.next().is_some(), "it never comes to rest: {table:?}");
            table = after(&table, &groups);
        }
    }

    #[test]
    fn a_plan_never_reads_more_than_it_may_and_no_fragment_twice_or_beside_others_of_its_coverage(
        fragments in fragments(),
        max_source_bytes in 1..3_000 * MIB,
        contended in prop::collection::btree_set(0..80_u64, 0..10),
        forced in any::<bool>(),
    ) {
        let policy = CompactionPolicy { max_source_bytes, ..CompactionPolicy::default() };
        let table = stats(fragments);
        let ask = Ask { forced, contended, max_bytes: None };
        if let Decision::Compact(groups, _) = plan(&table, &policy, &ask) {
            // Nothing but its rewrite takes a delete-heavy fragment's deleted rows down.
            let alone = groups.len() == 1 && groups[0].fragments.len() == 1;
            prop_assert!(alone || groups.iter().map(|g| g.bytes).sum::<u64>() <= max_source_bytes);
            let mut seen = BTreeSet::new();
            for group in &groups {
                let sources = group.fragments.iter().map(|id| &table.fragments[usize::try_from(*id).unwrap()]);
                let coverages: BTreeSet<_> = sources.clone().map(|f| f.coverage).collect();
                prop_assert_eq!(coverages.len(), 1);
                prop_assert_eq!(group.bytes, sources.clone().map(|f| f.bytes).sum::<u64>());
                for source in sources {
                    prop_assert!(seen.insert(source.id));
                    prop_assert!(!ask.contended.contains(&source.id) || source.deleted_fraction() > CONTENDED_DELETED_FRACTION);
                }
            }
        }
    }
}
