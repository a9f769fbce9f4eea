//! When to poll a table again. The interval of a table that did not change doubles with each poll, up to a longest one;
//! a change brings it back to one tick. The interval of a table that gets enough to compact between two polls halves,
//! down to a shortest one. So a directory of a thousand tables of which five are written costs little more than the
//! five, and the fragments of those do not pile up between two ticks.

use std::time::Duration;

use super::compaction::CompactionPolicy;
use super::statistics::TableStats;

/// A poll of a table that changes is due by this part of the interval earlier: ticks are not exact.
const EARLY: u32 = 16;

/// How often tables are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollPolicy {
    /// The time between two polls of a table that changes.
    pub tick: Duration,
    /// The shortest time between two polls of one that is written fast; at most `tick`.
    pub hot_tick: Duration,
    /// The longest time between two polls of one that does not change; at least `tick`.
    pub cold_tick: Duration,
}

/// What a poll found, beside the work of Squire's own jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The table had not changed.
    Nothing,
    /// It had changed.
    Some,
    /// It had enough new fragments to make it due: this many times the threshold.
    Much(u32),
}

impl Change {
    /// The change between two polls of a table that is compacted by this policy.
    pub fn between(before: &TableStats, now: &TableStats, policy: &CompactionPolicy) -> Self {
        if before == now {
            return Self::Nothing;
        }
        let known = before.fragments.iter().map(|f| f.id).max();
        let new = |id: u64| known.is_some_and(|known| id > known);
        let fragments = now.fragments.iter();
        let fresh = fragments.filter(|f| new(f.id) && policy.is_small(f));
        match fresh.count() / policy.min_small_fragments.max(1) {
            times @ 1.. if policy.enabled => Self::Much(u32::try_from(times).unwrap_or(u32::MAX)),
            _ => Self::Some,
        }
    }
}

/// When one table is polled. Times are on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollSchedule {
    interval: Duration,
    next: Duration,
    /// The state of the table's own sequence of random numbers.
    random: u64,
}

impl PollSchedule {
    /// For a table that was just found: it is polled at once. Tables with different seeds drift apart.
    pub fn at_once(policy: &PollPolicy, now: Duration, seed: u64) -> Self {
        Self {
            interval: policy.tick,
            next: now,
            random: seed,
        }
    }

    /// Whether a poll is due.
    pub fn due(&self, now: Duration) -> bool {
        self.next <= now
    }

    /// When the next poll is due.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// When a poll is due that must not wait for the next tick, as the table is written fast.
    pub fn between_ticks(&self, policy: &PollPolicy) -> Option<Duration> {
        (self.interval < policy.tick).then_some(self.next)
    }

    /// The current time between two polls.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The table was polled, and this was found.
    pub fn polled(&mut self, change: Change, policy: &PollPolicy, now: Duration) {
        self.interval = match change {
            Change::Much(times) => {
                (self.interval.min(policy.tick) / times.max(2)).max(policy.hot_tick)
            }
            Change::Some => (self.interval * 2).min(policy.tick),
            Change::Nothing => (self.interval * 2).min(policy.cold_tick),
        };
        self.again(policy, now);
    }

    /// A table that was just found was written a moment ago: it may be one that is written fast, and is polled soon.
    pub fn poll_soon(&mut self, policy: &PollPolicy, now: Duration) {
        self.interval = policy.hot_tick;
        self.again(policy, now);
    }

    /// A job on the table has ended: it says nothing of other writers, so the interval stays. Before `rested`, nothing could
    /// be done on the table; when it is written fast, it is polled right then.
    pub fn job_ended(&mut self, policy: &PollPolicy, now: Duration, rested: Duration) {
        self.again(policy, now);
        if self.interval < policy.tick {
            self.next = self.next.max(rested);
        }
    }

    /// Up to a quarter earlier than the interval says, never later: tables that came together do not stay together. One
    /// that changes is polled on every tick, also on one that comes a moment early.
    fn again(&mut self, policy: &PollPolicy, now: Duration) {
        let earlier = if self.interval > policy.tick {
            let part = u32::try_from(self.random() % 256).unwrap_or(0);
            let earlier = self.interval / 4 * part / 256;
            earlier.min(self.interval - policy.tick)
        } else {
            self.interval / EARLY
        };
        self.next = now + (self.interval - earlier);
    }

    /// The next number of a splitmix sequence.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::sample::{KIB, fragment, stats};

    const POLICY: PollPolicy = PollPolicy {
        tick: Duration::from_secs(10),
        hot_tick: Duration::from_secs(1),
        cold_tick: Duration::from_secs(600),
    };

    /// The times of the polls of a table that changes at these times, on ticks, up to `end`.
    fn polls(seed: u64, changes: &[u64], end: u64) -> Vec<u64> {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, seed);
        let mut last = 0;
        let mut times = Vec::new();
        for second in (0..end).step_by(10) {
            let now = Duration::from_secs(second);
            if schedule.due(now) {
                // A table that was just found is a change.
                let changed = changes.iter().any(|at| (last..second).contains(at));
                let change = if changed || second == 0 {
                    Change::Some
                } else {
                    Change::Nothing
                };
                schedule.polled(change, &POLICY, now);
                last = second;
                times.push(second);
            }
        }
        times
    }

    #[test]
    fn a_table_that_rests_is_polled_less_and_less_down_to_once_in_the_longest_interval() {
        for seed in 0..100 {
            let times = polls(seed, &[], 4 * 3600);
            let gaps: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).collect();
            assert!(gaps.iter().all(|gap| *gap <= 610), "{gaps:?}");
            assert!(gaps[8..].iter().all(|gap| *gap >= 450), "{gaps:?}");
        }
    }

    #[test]
    fn a_change_brings_it_back_to_every_tick() {
        let change = 7_200;
        let times = polls(7, &[change], 3 * 3600);
        let seen = times.iter().position(|at| *at > change).unwrap_or_default();
        assert!(times[seen] - change <= 600);
        assert_eq!(times[seen + 1] - times[seen], 10);
    }

    #[test]
    fn a_table_that_changes_is_polled_on_every_tick() {
        let changes: Vec<_> = (0..600).collect();
        assert_eq!(polls(1, &changes, 600).len(), 60);
    }

    /// A table that got this many small fragments at this second.
    fn written(each: u64, second: u64) -> TableStats {
        let small = |id| fragment(id, 10, 0, 4 * KIB);
        TableStats {
            version: 1 + second * each,
            ..stats((0..=second * each).map(small).collect())
        }
    }

    #[test]
    fn a_table_that_is_written_fast_is_polled_about_as_often_as_there_is_something_to_compact() {
        let policy = CompactionPolicy::default();
        for (each, least, most) in [(1, 5, 10), (3, 2, 4), (20, 1, 1)] {
            let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 1);
            let mut seen = TableStats::default();
            let mut times = Vec::new();
            for second in 0..300 {
                let now = Duration::from_secs(second);
                if schedule.due(now) {
                    let found = written(each, second);
                    schedule.polled(Change::between(&seen, &found, &policy), &POLICY, now);
                    seen = found;
                    times.push(second);
                }
            }
            let gaps: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).skip(4).collect();
            let (shortest, longest) = (gaps.iter().min(), gaps.iter().max());
            assert!(shortest >= Some(&least), "{each} each second: {gaps:?}");
            assert!(longest <= Some(&most), "{each} each second: {gaps:?}");
        }
    }

    #[test]
    fn only_a_table_that_is_written_fast_is_polled_between_ticks() {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 1);
        assert_eq!(schedule.between_ticks(&POLICY), None);
        schedule.polled(Change::Much(1), &POLICY, Duration::ZERO);
        let next = schedule.between_ticks(&POLICY);
        assert!(next.is_some_and(|at| at <= POLICY.tick / 2), "{next:?}");
        schedule.polled(Change::Some, &POLICY, Duration::from_secs(5));
        assert_eq!(schedule.between_ticks(&POLICY), None);
    }

    #[test]
    fn a_table_that_was_just_found_or_is_not_compacted_brings_no_great_change() {
        let policy = CompactionPolicy::default();
        let (before, now) = (written(20, 1), written(20, 2));
        assert_eq!(Change::between(&before, &now, &policy), Change::Much(2));
        assert_eq!(Change::between(&now, &now, &policy), Change::Nothing);
        let first = TableStats::default();
        assert_eq!(Change::between(&first, &now, &policy), Change::Some);
        let off = CompactionPolicy {
            enabled: false,
            ..policy
        };
        assert_eq!(Change::between(&before, &now, &off), Change::Some);
    }

    #[test]
    fn a_job_of_squire_does_not_shorten_the_interval() {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 3);
        for n in 0..6 {
            schedule.polled(Change::Nothing, &POLICY, Duration::from_secs(n));
        }
        let before = schedule.interval();
        schedule.job_ended(&POLICY, Duration::from_secs(9), Duration::ZERO);
        assert_eq!(schedule.interval(), before);
        assert!(!schedule.due(Duration::from_secs(9) + before / 2));
    }

    #[test]
    fn a_table_that_is_written_very_fast_is_polled_as_often_as_can_be_after_one_look() {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 1);
        schedule.polled(Change::Much(25), &POLICY, Duration::from_secs(10));
        assert_eq!(schedule.interval(), POLICY.hot_tick);
    }

    #[test]
    fn a_table_that_was_found_just_after_it_was_written_is_polled_soon_and_less_and_less_when_it_rests()
     {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 1);
        schedule.polled(Change::Some, &POLICY, Duration::ZERO);
        schedule.poll_soon(&POLICY, Duration::ZERO);
        let next = schedule.between_ticks(&POLICY);
        assert!(next <= Some(POLICY.hot_tick), "{next:?}");
        for second in [1, 3, 7] {
            schedule.polled(Change::Nothing, &POLICY, Duration::from_secs(second));
        }
        assert_eq!(schedule.interval(), POLICY.hot_tick * 8);
    }

    #[test]
    fn a_table_that_is_written_fast_is_polled_when_it_has_rested_from_a_job() {
        let mut schedule = PollSchedule::at_once(&POLICY, Duration::ZERO, 1);
        schedule.polled(Change::Much(25), &POLICY, Duration::ZERO);
        let rested = Duration::from_millis(3_500);
        schedule.job_ended(&POLICY, Duration::from_secs(2), rested);
        assert_eq!(schedule.between_ticks(&POLICY), Some(rested));
    }

    #[test]
    fn tables_that_came_together_do_not_stay_together() {
        let mut at = std::collections::BTreeMap::new();
        for seed in 0..1_000 {
            for time in polls(seed, &[], 4 * 3600) {
                *at.entry(time).or_insert(0) += 1;
            }
        }
        let late = at.range(2 * 3600..).map(|(_, n)| *n).max();
        assert!(
            late < Some(60),
            "a tick has 1,000 / 52 polls or so: {late:?}"
        );
    }
}
