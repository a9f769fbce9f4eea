//! Groups of fragments whose rewrite failed or was refused, so that it is not tried over and over, and keeps no other group
//! from its turn.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use chrono::{DateTime, Utc};
use lance::Dataset;

use super::{
    super::{
        fragments::fragments_by_id,
        stats::{FragmentStats, RewriteRefusal, TableStats},
    },
    lock,
    rest::{Again, Rest},
};
use crate::{
    error::{Error, cause::Cause},
    planner::compaction::Group,
};

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
            // By its manifest: who notes a failure has nothing else.
            bytes: fragment.bytes.saturating_sub(fragment.measured),
        }
    }
}

/// The indexes of a table: how many segments each has.
type Indexes = BTreeMap<String, usize>;

fn indexes_of(stats: &TableStats) -> Indexes {
    let indexes = stats.indexes.iter();
    indexes.map(|i| (i.name.clone(), i.segments)).collect()
}

/// Fragments that were to become one.
#[derive(Clone, Debug)]
struct Refusal {
    fragments: BTreeMap<u64, State>,
    /// The indexes of the table, where it may be their doing.
    indexes: Option<Indexes>,
    why: RewriteRefusal,
    rest: Rest,
}

/// What a failure says of the group: why it is left alone, until when, and how often the failure is free. A store that does
/// not answer once says nothing of a group; one that does not answer for it again and again does: a file may be cut short.
/// That its disk is full says nothing of any. A file that is not there, or is none, is the group's own.
fn meaning(error: &Error) -> Option<(RewriteRefusal, Again, u32)> {
    match error {
        Error::Unreadable { .. } => Some((RewriteRefusal::Unreadable, Again::Changed, 0)),
        Error::RowTooLarge { .. } => Some((RewriteRefusal::RowTooLarge, Again::Changed, 0)),
        Error::CommitRefused { .. } => Some((RewriteRefusal::Refused, Again::Changed, 0)),
        Error::Lance { source, .. } => match Cause::of(&**source) {
            Cause::NoSpace | Cause::NotPermitted => None,
            Cause::Unavailable | Cause::Unsupported => {
                Some((RewriteRefusal::Failed, Again::Later, 1))
            }
            Cause::Missing | Cause::Content => Some((RewriteRefusal::Failed, Again::Later, 0)),
        },
        Error::AccessDenied { .. } => Some((RewriteRefusal::Failed, Again::Later, 0)),
        _ => None,
    }
}

/// Whether a fragment is left alone whatever was tried.
fn is_outside(fragment: &FragmentStats) -> bool {
    fragment.refused == Some(RewriteRefusal::Outside)
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
        let indexes = indexes_of(stats);
        let mut refused: HashMap<u64, RewriteRefusal> = HashMap::new();
        // The first says what lies outside of the target.
        let outside = stats.fragments.iter().any(is_outside);
        stats.refusals.truncate(usize::from(outside));
        refusals.retain(|refusal| {
            let is_same = |(id, state): (&u64, &State)| there.get(id) == Some(state);
            let same = refusal.fragments.iter().all(is_same)
                && refusal.indexes.as_ref().is_none_or(|i| *i == indexes);
            let gone = !refusal.fragments.keys().any(|id| there.contains_key(id));
            let holds = refusal.rest.holds(same, now);
            if gone || (!same && !holds) {
                return false;
            }
            if holds {
                refused.extend(refusal.fragments.keys().map(|id| (*id, refusal.why)));
                stats.refusals.push(refusal.rest.reason.clone());
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
        self.note_at(path, fragments, None, error, Utc::now())
    }

    /// Notes that the rewrite of a group could not be committed to a table that was planned by these statistics. Its
    /// fragments are left alone until they or the indexes of the table change.
    pub(crate) fn note_refused(
        &self,
        path: &str,
        stats: &TableStats,
        group: &Group,
        error: &Error,
    ) -> bool {
        let own = |f: &&FragmentStats| group.fragments.contains(&f.id);
        let fragments = stats.fragments.iter().filter(own);
        let fragments = fragments.map(|f| (f.id, State::from(f))).collect();
        self.note_at(path, fragments, Some(indexes_of(stats)), error, Utc::now())
    }

    fn note_at(
        &self,
        path: &str,
        fragments: BTreeMap<u64, State>,
        indexes: Option<Indexes>,
        error: &Error,
        now: DateTime<Utc>,
    ) -> bool {
        let Some((why, again, free)) = meaning(error) else {
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
        let before = refusals
            .iter()
            .filter(|r| overlaps(r))
            .map(|r| r.rest.times);
        let before = before.max().unwrap_or(0);
        refusals.retain(|refusal| !overlaps(refusal));
        refusals.push(Refusal {
            fragments,
            indexes,
            why,
            rest: Rest::after(before, free, again, error.to_string(), now),
        });
        before >= free
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<Refusal>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ids::TableKey, table::stats::IndexStats};

    const PATH: &str = "t.lance";
    const REST: Duration = Duration::from_secs(600);

    fn fragment(id: u64, deleted: u64) -> FragmentStats {
        FragmentStats {
            id,
            rows: 100,
            deleted,
            bytes: 1_000,
            measured: 0,
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
        refused.note_at(PATH, fragments, None, error, now)
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
        let later = now + REST;
        assert!(left_out(&refused, there(), later).is_empty());
        noted(&refused, &broken, later);
        assert_eq!(left_out(&refused, there(), later + REST), [1, 2]);

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

    #[test]
    fn a_full_disk_says_nothing_of_the_fragments_however_often_it_is_met() {
        let refused = RefusedFragments::default();
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = of_lance(lance::Error::from(full));
        for _ in 0..5 {
            assert!(!noted(&refused, &full, Utc::now()));
        }
        assert!(left_out(&refused, stats([(1, 0), (2, 0)]), Utc::now()).is_empty());
    }

    #[test]
    fn what_lance_will_not_have_rests_until_its_fragments_or_the_tables_indexes_change() {
        let (refused, now) = (RefusedFragments::default(), Utc::now());
        let with_segments = |segments| TableStats {
            indexes: vec![IndexStats {
                segments,
                name: "a".to_owned(),
                ..IndexStats::default()
            }],
            ..stats([(1, 0), (2, 0), (3, 0)])
        };
        let group = Group {
            fragments: vec![1, 2],
            rows: 200,
            bytes: 2_000,
            live_bytes: 2_000,
            coverage: 0,
        };
        let error = Error::CommitRefused {
            table: TableKey::of_directory("t"),
            reason: "a mixed coverage".to_owned(),
            always: false,
            uri: "/lake".to_owned(),
        };
        assert!(refused.note_refused(PATH, &with_segments(1), &group, &error));
        let long_after = now + REST * 1_000;
        assert_eq!(left_out(&refused, with_segments(1), long_after), [1, 2]);
        assert_eq!(left_out(&refused, with_segments(2), now), [1, 2]);
        assert!(left_out(&refused, with_segments(2), long_after).is_empty());
    }
}
