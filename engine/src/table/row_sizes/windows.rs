//! Consecutive rows: the maximum number of bytes of a number of them.

use crate::memory::MOST_ROWS;

/// Numbers of rows that are distinguished: powers of two, up to the largest batch.
const SIZES: usize = MOST_ROWS.ilog2() as usize + 1;

/// For each power of two up to the largest batch, the maximum number of bytes of that many consecutive rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows([u64; SIZES]);

impl Windows {
    /// Takes the larger of each.
    pub(super) fn widen(&mut self, other: &Self) {
        for (most, other) in self.0.iter_mut().zip(other.0) {
            *most = other.max(*most);
        }
    }

    /// Numbers of rows, the smallest first, and their bytes.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().map(|(n, most)| (1 << n, *most))
    }

    /// The largest row.
    pub(super) fn largest(&self) -> u64 {
        self.0[0]
    }
}

/// Goes along rows.
#[derive(Debug)]
pub(super) struct Sliding {
    /// The last rows, as many as the largest window has.
    last: Vec<u64>,
    rows: usize,
    sums: [u64; SIZES],
    most: Windows,
    /// The last row, and how often it came without another.
    run: (u64, u64),
}

impl Default for Sliding {
    fn default() -> Self {
        Self {
            last: vec![0; MOST_ROWS],
            rows: 0,
            sums: [0; SIZES],
            most: Windows::default(),
            run: (0, 0),
        }
    }
}

impl Sliding {
    /// Adds `rows` rows of `bytes` bytes each.
    pub(super) fn push(&mut self, rows: u64, bytes: u64) {
        let alike = if self.run.0 == bytes { self.run.1 } else { 0 };
        // Further ones make no difference: there is nothing else in any window.
        for _ in 0..rows.min((MOST_ROWS as u64).saturating_sub(alike)) {
            self.push_one(bytes);
        }
        self.run = (bytes, alike.saturating_add(rows));
    }

    fn push_one(&mut self, bytes: u64) {
        let at = |before: usize| (self.rows + MOST_ROWS - before) % MOST_ROWS;
        for (n, (sum, most)) in self.sums.iter_mut().zip(&mut self.most.0).enumerate() {
            // What lies before the first row is zero.
            let leaves = self.last[at(1 << n)];
            *sum = sum.saturating_add(bytes).saturating_sub(leaves);
            *most = (*most).max(*sum);
        }
        let here = at(0);
        self.last[here] = bytes;
        self.rows = (self.rows + 1) % MOST_ROWS;
    }

    pub(super) fn most(&self) -> Windows {
        self.most.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slid(rows: &[(u64, u64)]) -> Windows {
        let mut sliding = Sliding::default();
        rows.iter()
            .for_each(|(rows, bytes)| sliding.push(*rows, *bytes));
        sliding.most()
    }

    proptest! {
        #[test]
        fn no_rows_that_follow_each_other_are_larger_than_their_window_says(
            runs in prop::collection::vec((1..40_u64, 0..1_000_u64), 1..12),
        ) {
            let windows = slid(&runs);
            let rows: Vec<u64> = runs.iter().flat_map(|(n, bytes)| (0..*n).map(|_| *bytes)).collect();
            for (size, most) in windows.sizes() {
                let largest = rows.windows(size.min(rows.len())).map(|w| w.iter().sum::<u64>()).max();
                prop_assert_eq!(Some(most), largest, "of {} rows", size);
            }
        }
    }

    #[test]
    fn a_long_run_counts_as_long_as_the_largest_window() {
        let windows = slid(&[(1_000_000, 10), (1, 5_000), (1_000_000, 10)]);
        assert_eq!(windows.largest(), 5_000);
        assert_eq!(windows.sizes().last(), Some((8192, 8191 * 10 + 5_000)));
        assert_eq!(
            slid(&[(1 << 40, 3), (1 << 40, 3)]).sizes().nth(4),
            Some((16, 48))
        );
    }
}
