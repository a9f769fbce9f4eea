//! What a seed chooses, it chooses again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use squire_tests::bank::{Intent, Ledger, Till, Told, choice, fate::Fates, schema};

/// The first lives of one process.
fn lives(seed: u64, process: usize, is_writer: bool) -> Vec<String> {
    let mut fates = Fates::of(seed, process, is_writer);
    (0..50).map(|_| format!("{:?}", fates.draw())).collect()
}

/// What one writer chooses when everything is acknowledged.
fn choices(seed: u64) -> Vec<Intent> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ledger = Ledger::default();
    let schema = schema().unwrap();
    for _ in 0..100 {
        let intent = choice::next(&mut rng, &ledger, 0, &schema);
        ledger.intend(&intent).unwrap();
        ledger.told(&Told::Acknowledged(1)).unwrap();
    }
    ledger.entries.into_iter().map(|e| e.intent).collect()
}

proptest! {
    #[test]
    fn a_seed_chooses_the_same_lives_again_for_each_process(seed in any::<u64>(), process in 0..6_usize) {
        let is_writer = process < 4;
        prop_assert_eq!(lives(seed, process, is_writer), lives(seed, process, is_writer));
        prop_assert_ne!(lives(seed, process, is_writer), lives(seed, process + 1, is_writer));
        prop_assert_ne!(lives(seed, process, is_writer), lives(seed ^ 1, process, is_writer));
    }

    #[test]
    fn a_seed_chooses_the_same_work_again(seed in any::<u64>()) {
        prop_assert_eq!(choices(seed), choices(seed));
    }

    #[test]
    fn an_operation_is_balanced_and_half_of_it_is_not(seed in any::<u64>()) {
        for intent in choices(seed) {
            let mut sums: BTreeMap<Till, i64> = BTreeMap::new();
            for posting in intent.postings() {
                *sums.entry(posting.till).or_default() += posting.amount;
            }
            prop_assert_eq!(sums.values().sum::<i64>(), 0);
            let sums: Vec<_> = sums.into_values().collect();
            for some in 1..(1_usize << sums.len()).saturating_sub(1) {
                let is_in = |n: &usize| some & (1 << n) != 0;
                let part: i64 = (0..sums.len()).filter(is_in).map(|n| sums[n]).sum();
                prop_assert_ne!(part, 0);
            }
        }
    }
}
