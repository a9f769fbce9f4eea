use super::*;
use crate::planner::sample::{KIB, MIB, fragment, stats};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A large fragment of 18,000 rows and forty small ones of 50, after so many seconds in which ten rows a second were
/// deleted, at random.
fn contended(second: u64) -> TableStats {
    let large = fragment(0, 18_000, second * 9, 10 * MIB);
    let small = (1..=40).map(|id| fragment(id, 50, u64::from(second * 10 / 400 >= id), 25 * KIB));
    TableStats {
        version: 1 + second * 10,
        ..stats([large].into_iter().chain(small).collect())
    }
}

#[test]
fn the_large_fragment_that_every_delete_touches_is_contended_and_small_ones_are_not() {
    let mut contention = Contention::default();
    for second in 0..60 {
        contention.observe(&contended(second), seconds(second));
    }
    assert_eq!(
        contention.contended(LateDeletes::Discard, seconds(60)),
        BTreeSet::from([0])
    );
}

#[test]
fn where_deletions_are_carried_over_small_fragments_are_never_contended_and_the_large_one_is() {
    // Beside the large one, each of forty small ones loses a row with every version.
    let busy = |second: u64| {
        let large = fragment(0, 18_000, second * 9, 10 * MIB);
        let small = (1..=40).map(|id| fragment(id, 5_000, second * 9, 400 * KIB));
        TableStats {
            version: 1 + second * 10,
            ..stats([large].into_iter().chain(small).collect())
        }
    };
    let mut contention = Contention::default();
    for second in 0..60 {
        contention.observe(&busy(second), seconds(second));
    }
    let contended = |late| contention.contended(late, seconds(60));
    assert_eq!(contended(LateDeletes::Rebase), BTreeSet::from([0]));
    assert_eq!(contended(LateDeletes::Discard).len(), 41);
}

#[test]
fn it_is_contended_from_the_first_deletes_on_and_cools_down_by_itself() {
    let mut contention = Contention::default();
    contention.observe(&contended(0), seconds(0));
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(0))
            .is_empty()
    );
    contention.observe(&contended(1), seconds(1));
    assert_eq!(
        contention.contended(LateDeletes::Discard, seconds(1)),
        BTreeSet::from([0])
    );
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(1_200))
            .is_empty()
    );
}

#[test]
fn deletions_that_were_there_before_the_first_look_say_nothing() {
    let mut contention = Contention::default();
    contention.observe(&contended(1_000), seconds(0));
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(0))
            .is_empty()
    );
}

#[test]
fn one_delete_of_many_rows_is_one_touch() {
    let deleted = |version, deleted| TableStats {
        version,
        ..stats(vec![fragment(0, 100_000, deleted, MIB)])
    };
    let mut contention = Contention::default();
    contention.observe(&deleted(1, 0), seconds(0));
    contention.observe(&deleted(2, 10_000), seconds(600));
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(600))
            .is_empty()
    );
    let mut contention = Contention::default();
    contention.observe(&deleted(1, 0), seconds(0));
    contention.observe(&deleted(10_001, 10_000), seconds(600));
    assert_eq!(
        contention.contended(LateDeletes::Discard, seconds(600)),
        BTreeSet::from([0])
    );
}

#[test]
fn a_slow_store_makes_a_warm_fragment_contended() {
    let warm = |second| TableStats {
        version: 1 + second,
        ..stats(vec![fragment(0, 10_000, second / 100, MIB)])
    };
    let mut contention = Contention::default();
    for second in 0..300 {
        contention.observe(&warm(second), seconds(second));
    }
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(300))
            .is_empty()
    );
    for _ in 0..8 {
        contention.measured(8 * MIB, seconds(60));
    }
    assert_eq!(
        contention.contended(LateDeletes::Discard, seconds(300)),
        BTreeSet::from([0])
    );
}

#[test]
fn a_look_at_the_same_version_changes_nothing() {
    let mut contention = Contention::default();
    for second in 0..10 {
        contention.observe(&contended(second), seconds(second));
    }
    let before = contention.clone();
    contention.observe(&contended(9), seconds(20));
    assert_eq!(contention, before);
}

#[test]
fn a_table_that_is_made_anew_is_not_judged_by_what_was_before() {
    let mut contention = Contention::default();
    for second in 0..10 {
        contention.observe(&contended(second), seconds(second));
    }
    assert!(
        !contention
            .contended(LateDeletes::Discard, seconds(10))
            .is_empty()
    );
    contention.observe(&contended(5), seconds(11));
    assert!(
        contention
            .contended(LateDeletes::Discard, seconds(11))
            .is_empty()
    );
}
