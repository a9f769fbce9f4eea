//! Groups of fragments whose rewrite failed, so that it is not tried over and over, and keeps no other group from its turn.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use lance::Dataset;

use super::{
    rewrite::fragments_by_id,
    stats::{FragmentStats, RewriteRefusal, TableStats},
};
use crate::{
    error::{Error, is_of_store},
    maintenance::compaction::Group,
};

/// So long the fragments of a failed group rest; longer each time.
const FIRST_REST: Duration = Duration::from_secs(600);
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);

/// What could not be rewritten, by the path of its table, as far as this process has tried.
#[derive(Debug, Default)]
pub(crate) struct RefusedFragments(Mutex<HashMap<String, Vec<Refusal>>>);

/// What tells a fragment from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    rows: u64,
    deleted: u64,
    bytes: u64,
}

impl From<&FragmentStats> for State {
    fn from(fragment: &FragmentStats) -> Self {
        Self {
            rows: fragment.rows,
            deleted: fragment.deleted,
            bytes: fragment.bytes,
        }
    }
}

/// Fragments that were to become one.
#[derive(Clone, Debug)]
struct Refusal {
    fragments: BTreeMap<u64, State>,
    why: RewriteRefusal,
    reason: String,
    times: u32,
    /// They rest until then. What could not be read back rests longer if nothing has changed: it would be the same again.
    until: DateTime<Utc>,
}

impl Refusal {
    fn holds(&self, same: bool, now: DateTime<Utc>) -> bool {
        now < self.until || (same && self.why == RewriteRefusal::Unreadable)
    }
}

/// What a failure says of the group, and how often it must come before it counts. A store that does not answer once says
/// nothing of a group; one that does not answer for it again and again does: a file may be cut short.
fn meaning(error: &Error) -> Option<(RewriteRefusal, u32)> {
    match error {
        Error::Unreadable { .. } => Some((RewriteRefusal::Unreadable, 1)),
        Error::Lance { source, .. } if is_of_store(source) => Some((RewriteRefusal::Failed, 2)),
        Error::Lance { .. } => Some((RewriteRefusal::Failed, 1)),
        _ => None,
    }
}

/// Whether a fragment is left alone whatever was tried.
fn is_outside(fragment: &FragmentStats) -> bool {
    fragment.refused == Some(RewriteRefusal::Outside)
}

/// How long a group rests that failed so often.
fn rest(times: u32, least: u32) -> Duration {
    match times.checked_sub(least) {
        None => Duration::ZERO,
        Some(more) => FIRST_REST
            .saturating_mul(2_u32.saturating_pow(more))
            .min(LONGEST_REST),
    }
}

impl RefusedFragments {
    /// Tells in the statistics of a table which of its fragments are left out, and forgets what has changed.
    pub(crate) fn mark(&self, path: &str, stats: &mut TableStats) {
        self.mark_at(path, stats, Utc::now());
    }

    fn mark_at(&self, path: &str, stats: &mut TableStats, now: DateTime<Utc>) {
        let mut all = self.all();
        let Some(refusals) = all.get_mut(path) else {
            return;
        };
        let there: HashMap<u64, State> = stats
            .fragments
            .iter()
            .map(|f| (f.id, State::from(f)))
            .collect();
        let mut refused: HashMap<u64, RewriteRefusal> = HashMap::new();
        // The first says what lies outside of the target.
        let outside = stats.fragments.iter().any(is_outside);
        stats.refusals.truncate(usize::from(outside));
        refusals.retain(|refusal| {
            let is_same = |(id, state): (&u64, &State)| there.get(id) == Some(state);
            let same = refusal.fragments.iter().all(is_same);
            let gone = !refusal.fragments.keys().any(|id| there.contains_key(id));
            if gone || (!same && now >= refusal.until) {
                return false;
            }
            if refusal.holds(same, now) {
                refused.extend(refusal.fragments.keys().map(|id| (*id, refusal.why)));
                stats.refusals.push(refusal.reason.clone());
            }
            true
        });
        for fragment in stats.fragments.iter_mut().filter(|f| !is_outside(f)) {
            fragment.refused = refused.get(&fragment.id).copied();
        }
        if refusals.is_empty() {
            all.remove(path);
        }
    }

    /// Notes that a group failed, and tells whether its fragments are left alone from now on: then the next group may have
    /// its turn. Otherwise the error says too little of the group, and ends the job.
    pub(crate) fn note(&self, path: &str, dataset: &Dataset, group: &Group, error: &Error) -> bool {
        let by_id = fragments_by_id(dataset);
        let there = group.fragments.iter().filter_map(|id| by_id.get(id));
        let stats = there.map(|f| FragmentStats::of(f, 0));
        let fragments = stats.map(|f| (f.id, State::from(&f))).collect();
        self.note_at(path, fragments, error, Utc::now())
    }

    fn note_at(
        &self,
        path: &str,
        fragments: BTreeMap<u64, State>,
        error: &Error,
        now: DateTime<Utc>,
    ) -> bool {
        let Some((why, least)) = meaning(error) else {
            return false;
        };
        let mut all = self.all();
        let refusals = all.entry(path.to_owned()).or_default();
        let overlaps = |refusal: &Refusal| {
            refusal
                .fragments
                .keys()
                .any(|id| fragments.contains_key(id))
        };
        let before = refusals.iter().filter(|r| overlaps(r)).map(|r| r.times);
        let times = before.max().unwrap_or(0).saturating_add(1);
        refusals.retain(|refusal| !overlaps(refusal));
        refusals.push(Refusal {
            fragments,
            why,
            reason: error.to_string(),
            times,
            until: now + rest(times, least),
        });
        times >= least
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<Refusal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TableKey;

    const PATH: &str = "t.lance";

    fn fragment(id: u64, deleted: u64) -> FragmentStats {
        FragmentStats {
            id,
            rows: 100,
            deleted,
            bytes: 1_000,
            unmeasured: false,
            coverage: 0,
            refused: None,
        }
    }

    fn stats(fragments: impl IntoIterator<Item = (u64, u64)>) -> TableStats {
        let fragments = fragments.into_iter();
        TableStats {
            version: 1,
            fragments: fragments.map(|(id, n)| fragment(id, n)).collect(),
            ..TableStats::default()
        }
    }

    fn unreadable() -> Error {
        Error::Unreadable {
            table: TableKey::of_directory("t"),
            column: "city".to_owned(),
            reason: "a key is out of range".to_owned(),
            uri: "/lake".to_owned(),
        }
    }

    fn of_lance(source: lance::Error) -> Error {
        Error::Lance {
            action: "rewriting",
            table: TableKey::of_directory("t"),
            uri: "/lake".to_owned(),
            source: Box::new(source),
        }
    }

    fn noted(refused: &RefusedFragments, error: &Error, now: DateTime<Utc>) -> bool {
        let fragments = [fragment(1, 0), fragment(2, 0)];
        let fragments = fragments.iter().map(|f| (f.id, State::from(f))).collect();
        refused.note_at(PATH, fragments, error, now)
    }

    /// The fragments that are left out.
    fn left_out(refused: &RefusedFragments, mut stats: TableStats, now: DateTime<Utc>) -> Vec<u64> {
        refused.mark_at(PATH, &mut stats, now);
        let left_out = stats.fragments.iter().filter(|f| f.refused.is_some());
        left_out.map(|f| f.id).collect()
    }

    #[test]
    fn what_cannot_be_read_back_is_left_out_until_it_changes_and_others_never_were() {
        let (refused, now) = (RefusedFragments::default(), Utc::now());
        assert!(noted(&refused, &unreadable(), now));
        let long_after = now + Duration::from_secs(1_000_000);
        for at in [now, long_after] {
            assert_eq!(
                left_out(&refused, stats([(0, 0), (1, 0), (2, 0)]), at),
                [1, 2]
            );
        }
        let mut other = stats([(1, 0)]);
        refused.mark_at("u.lance", &mut other, now);
        assert_eq!(other.fragments[0].refused, None);
        let changed = || stats([(1, 5), (2, 0)]);
        assert_eq!(left_out(&refused, changed(), now), [1, 2], "it rests");
        assert!(left_out(&refused, changed(), long_after).is_empty());
        assert!(refused.all().is_empty(), "nothing is kept of it");
    }

    #[test]
    fn fragments_that_are_gone_are_forgotten() {
        let (refused, now) = (RefusedFragments::default(), Utc::now());
        noted(&refused, &unreadable(), now);
        assert!(left_out(&refused, stats([(3, 0)]), now).is_empty());
        assert!(refused.all().is_empty());
    }

    #[test]
    fn what_failed_rests_longer_each_time_and_a_store_may_fail_once() {
        let (refused, now) = (RefusedFragments::default(), Utc::now());
        let there = || stats([(1, 0), (2, 0)]);
        let broken = of_lance(lance::Error::internal("a bug"));
        noted(&refused, &broken, now);
        assert_eq!(left_out(&refused, there(), now), [1, 2]);
        let later = now + FIRST_REST;
        assert!(left_out(&refused, there(), later).is_empty());
        noted(&refused, &broken, later);
        assert_eq!(left_out(&refused, there(), later + FIRST_REST), [1, 2]);

        let refused = RefusedFragments::default();
        let silent = of_lance(lance::Error::from(object_store::Error::Generic {
            store: "S3",
            source: "connection reset".into(),
        }));
        assert!(!noted(&refused, &silent, now));
        assert!(left_out(&refused, there(), now).is_empty());
        assert!(noted(&refused, &silent, now));
        assert_eq!(left_out(&refused, there(), now), [1, 2]);
    }

    #[test]
    fn an_error_that_says_nothing_of_the_fragments_leaves_none_out() {
        let refused = RefusedFragments::default();
        assert!(!noted(&refused, &Error::Cancelled, Utc::now()));
        assert!(left_out(&refused, stats([(1, 0), (2, 0)]), Utc::now()).is_empty());
    }
}
