//! When to look at a table again. A table that did not change is looked at half as often each time, down to once in a
//! longest interval; a change brings it back to every tick. One that brings enough to be compacted at every look is
//! looked at twice as often each time, up to once in a shortest interval. So a directory of a thousand tables of which
//! five are written costs little more than the five, and the fragments of those do not pile up between two ticks.

use std::time::Duration;

use super::compaction::CompactionPolicy;
use super::statistics::TableStats;

/// A look at a table that changes is due by this part of the interval earlier: ticks are not exact.
const EARLY: u32 = 16;

/// How often tables are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookPolicy {
    /// The time between two looks at a table that changes.
    pub tick: Duration,
    /// The shortest time between two looks at one that is written fast; at most `tick`.
    pub hot_tick: Duration,
    /// The longest time between two looks at one that does not change; at least `tick`.
    pub cold_tick: Duration,
}

/// What a look brought, beside one's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The table had not changed.
    Nothing,
    /// It had changed.
    Some,
    /// It had so many new fragments that they may well make it due: as many as it takes, times this.
    Much(u32),
}

impl News {
    /// What one look tells beside the one before it, at a table that is compacted by this policy.
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

/// When one table is looked at. Times are on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    interval: Duration,
    next: Duration,
    /// Where the table's own sequence of random numbers stands.
    random: u64,
}

impl Looks {
    /// For a table that was just found: it is looked at at once. Tables with different seeds drift apart.
    pub fn at_once(policy: &LookPolicy, now: Duration, seed: u64) -> Self {
        Self {
            interval: policy.tick,
            next: now,
            random: seed,
        }
    }

    /// Whether a look is due.
    pub fn due(&self, now: Duration) -> bool {
        self.next <= now
    }

    /// When the next look is due.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// When a look is due that must not wait for the next tick, as the table is written fast.
    pub fn between_ticks(&self, policy: &LookPolicy) -> Option<Duration> {
        (self.interval < policy.tick).then_some(self.next)
    }

    /// The time between two looks, as it stands.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Somebody was looking at it, and found this.
    pub fn looked(&mut self, news: News, policy: &LookPolicy, now: Duration) {
        self.interval = match news {
            News::Much(times) => {
                (self.interval.min(policy.tick) / times.max(2)).max(policy.hot_tick)
            }
            News::Some => (self.interval * 2).min(policy.tick),
            News::Nothing => (self.interval * 2).min(policy.cold_tick),
        };
        self.again(policy, now);
    }

    /// A table that was just found was written a moment ago: it may be one that is written fast.
    pub fn soon(&mut self, policy: &LookPolicy, now: Duration) {
        self.interval = policy.hot_tick;
        self.again(policy, now);
    }

    /// One's own work on the table has ended: it tells nothing of others, so the interval stays. Before `rested`, nothing
    /// could be done on the table; when it is written fast, it is looked at right then.
    pub fn worked(&mut self, policy: &LookPolicy, now: Duration, rested: Duration) {
        self.again(policy, now);
        if self.interval < policy.tick {
            self.next = self.next.max(rested);
        }
    }

    /// Up to a quarter earlier than the interval says, never later: tables that came together do not stay together. One
    /// that changes is looked at on every tick, also on one that comes a moment early.
    fn again(&mut self, policy: &LookPolicy, now: Duration) {
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

    const POLICY: LookPolicy = LookPolicy {
        tick: Duration::from_secs(10),
        hot_tick: Duration::from_secs(1),
        cold_tick: Duration::from_secs(600),
    };

    /// The times of the looks at a table that changes at these times, on ticks, up to `end`.
    fn looks(seed: u64, changes: &[u64], end: u64) -> Vec<u64> {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, seed);
        let mut last = 0;
        let mut times = Vec::new();
        for second in (0..end).step_by(10) {
            let now = Duration::from_secs(second);
            if looks.due(now) {
                // To whoever finds it, a table is news.
                let changed = changes.iter().any(|at| (last..second).contains(at));
                let news = if changed || second == 0 {
                    News::Some
                } else {
                    News::Nothing
                };
                looks.looked(news, &POLICY, now);
                last = second;
                times.push(second);
            }
        }
        times
    }

    #[test]
    fn a_table_that_rests_is_looked_at_less_and_less_down_to_once_in_the_longest_interval() {
        for seed in 0..100 {
            let times = looks(seed, &[], 4 * 3600);
            let gaps: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).collect();
            assert!(gaps.iter().all(|gap| *gap <= 610), "{gaps:?}");
            assert!(gaps[8..].iter().all(|gap| *gap >= 450), "{gaps:?}");
        }
    }

    #[test]
    fn a_change_brings_it_back_to_every_tick() {
        let change = 7_200;
        let times = looks(7, &[change], 3 * 3600);
        let seen = times.iter().position(|at| *at > change).unwrap_or_default();
        assert!(times[seen] - change <= 600);
        assert_eq!(times[seen + 1] - times[seen], 10);
    }

    #[test]
    fn a_table_that_changes_is_looked_at_on_every_tick() {
        let changes: Vec<_> = (0..600).collect();
        assert_eq!(looks(1, &changes, 600).len(), 60);
    }

    /// A table to which so many small fragments came at this second.
    fn written(each: u64, second: u64) -> TableStats {
        let small = |id| fragment(id, 10, 0, 4 * KIB);
        TableStats {
            version: 1 + second * each,
            ..stats((0..=second * each).map(small).collect())
        }
    }

    #[test]
    fn a_table_that_is_written_fast_is_looked_at_about_as_often_as_there_is_something_to_compact() {
        let policy = CompactionPolicy::default();
        for (each, least, most) in [(1, 5, 10), (3, 2, 4), (20, 1, 1)] {
            let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 1);
            let mut seen = TableStats::default();
            let mut times = Vec::new();
            for second in 0..300 {
                let now = Duration::from_secs(second);
                if looks.due(now) {
                    let found = written(each, second);
                    looks.looked(News::between(&seen, &found, &policy), &POLICY, now);
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
    fn only_a_table_that_is_written_fast_is_looked_at_between_ticks() {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 1);
        assert_eq!(looks.between_ticks(&POLICY), None);
        looks.looked(News::Much(1), &POLICY, Duration::ZERO);
        let next = looks.between_ticks(&POLICY);
        assert!(next.is_some_and(|at| at <= POLICY.tick / 2), "{next:?}");
        looks.looked(News::Some, &POLICY, Duration::from_secs(5));
        assert_eq!(looks.between_ticks(&POLICY), None);
    }

    #[test]
    fn a_table_that_was_just_found_or_is_not_compacted_brings_no_great_news() {
        let policy = CompactionPolicy::default();
        let (before, now) = (written(20, 1), written(20, 2));
        assert_eq!(News::between(&before, &now, &policy), News::Much(2));
        assert_eq!(News::between(&now, &now, &policy), News::Nothing);
        let first = TableStats::default();
        assert_eq!(News::between(&first, &now, &policy), News::Some);
        let off = CompactionPolicy {
            enabled: false,
            ..policy
        };
        assert_eq!(News::between(&before, &now, &off), News::Some);
    }

    #[test]
    fn ones_own_work_does_not_make_a_table_hot() {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 3);
        for n in 0..6 {
            looks.looked(News::Nothing, &POLICY, Duration::from_secs(n));
        }
        let before = looks.interval();
        looks.worked(&POLICY, Duration::from_secs(9), Duration::ZERO);
        assert_eq!(looks.interval(), before);
        assert!(!looks.due(Duration::from_secs(9) + before / 2));
    }

    #[test]
    fn a_table_that_is_written_very_fast_is_looked_at_as_often_as_can_be_after_one_look() {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 1);
        looks.looked(News::Much(25), &POLICY, Duration::from_secs(10));
        assert_eq!(looks.interval(), POLICY.hot_tick);
    }

    #[test]
    fn a_table_that_was_found_just_after_it_was_written_is_looked_at_soon_and_less_and_less_when_it_rests()
     {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 1);
        looks.looked(News::Some, &POLICY, Duration::ZERO);
        looks.soon(&POLICY, Duration::ZERO);
        let next = looks.between_ticks(&POLICY);
        assert!(next <= Some(POLICY.hot_tick), "{next:?}");
        for second in [1, 3, 7] {
            looks.looked(News::Nothing, &POLICY, Duration::from_secs(second));
        }
        assert_eq!(looks.interval(), POLICY.hot_tick * 8);
    }

    #[test]
    fn a_table_that_is_written_fast_is_looked_at_when_it_has_rested_from_ones_own_work() {
        let mut looks = Looks::at_once(&POLICY, Duration::ZERO, 1);
        looks.looked(News::Much(25), &POLICY, Duration::ZERO);
        let rested = Duration::from_millis(3_500);
        looks.worked(&POLICY, Duration::from_secs(2), rested);
        assert_eq!(looks.between_ticks(&POLICY), Some(rested));
    }

    #[test]
    fn tables_that_came_together_do_not_stay_together() {
        let mut at = std::collections::BTreeMap::new();
        for seed in 0..1_000 {
            for time in looks(seed, &[], 4 * 3600) {
                *at.entry(time).or_insert(0) += 1;
            }
        }
        let late = at.range(2 * 3600..).map(|(_, n)| *n).max();
        assert!(
            late < Some(60),
            "a tick has 1,000 / 52 looks or so: {late:?}"
        );
    }
}
