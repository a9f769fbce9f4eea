//! Files of a table that no version names, as far as they were looked for.

use std::time::Duration;

/// How often Squire searches for files that no version names.
const LEFT_OVER_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Files that no version names, as far as it was looked for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftOver {
    /// Whether there are old ones.
    pub(super) found: bool,
    /// When it is looked again.
    again: Duration,
}

impl LeftOver {
    /// They are days old, and a search lists all files: it comes an hour after the table was found, or somewhat later,
    /// so that not all tables are listed at once.
    pub(super) fn after(now: Duration, seed: u64) -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            found: false,
            again: now + hour + Duration::from_secs(seed % hour.as_secs()),
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.again
    }

    /// Takes in a search. One that failed is made again a day later, too.
    pub(super) fn looked(&mut self, found: bool, now: Duration) {
        *self = Self {
            found,
            again: now + LEFT_OVER_EVERY,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_over_files_are_looked_for_some_time_after_the_start_and_then_once_a_day() {
        let at = Duration::from_secs;
        for seed in [0, 3_599, 3_600, u64::MAX] {
            let mut left_over = LeftOver::after(at(10), seed);
            assert!(!left_over.is_due(at(10 + 3_599)) && left_over.is_due(at(10 + 7_200)));
            left_over.looked(true, at(8_000));
            assert!(left_over.found);
            assert!(!left_over.is_due(at(8_000 + 86_399)) && left_over.is_due(at(8_000 + 86_400)));
        }
    }
}
