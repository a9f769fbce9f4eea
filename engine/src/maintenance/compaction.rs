//! Which fragments to rewrite together, by bytes.
//!
//! A fragment is a candidate when it is small, or when too many of its rows are deleted. Candidates are packed,
//! in the table's order, into groups of about the target size, and each group becomes one fragment. The plan is a
//! fixed point: what was just compacted is no candidate, whatever the width of its rows.

use std::{collections::BTreeMap, fmt};

use crate::table::stats::{FragmentStats, TableStats};

/// When and how a table is compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionPolicy {
    /// What a fragment should grow to, in bytes of data files.
    pub target_bytes: u64,
    /// Below this many bytes a fragment is small.
    pub small_bytes: u64,
    /// So many small fragments make a table due.
    pub min_small_fragments: usize,
    /// A fragment with a larger share of deleted rows, 0 to 1, makes a table due.
    pub max_deleted_fraction: f64,
    /// One operation reads at most this many bytes; a single larger fragment is left alone.
    pub max_source_bytes: u64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        let target_bytes = 256 << 20;
        Self {
            target_bytes,
            small_bytes: target_bytes / 2,
            min_small_fragments: 8,
            max_deleted_fraction: 0.1,
            max_source_bytes: 4 << 30,
        }
    }
}

/// Fragments that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their ids, in the table's order.
    pub fragments: Vec<u64>,
    /// Live rows that the rewrite keeps.
    pub rows: u64,
    /// Bytes that the rewrite reads.
    pub bytes: u64,
}

/// What the planner says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rewrite these groups, because of this.
    Compact(Vec<Group>, Reason),
    /// Leave it alone, because of this.
    Skip(Skip),
}

/// Why a table is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It has at least the threshold of small fragments.
    SmallFragments,
    /// A fragment has more deleted rows than allowed.
    DeletedRows,
    /// Somebody said so, or the cron did: thresholds do not count.
    Forced,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SmallFragments => "small_fragments",
            Self::DeletedRows => "deleted_rows",
            Self::Forced => "forced",
        }
    }
}

/// Why a table is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Nothing about its layout could be better.
    Tidy,
    /// Fewer small fragments than the threshold, and few deleted rows.
    BelowThreshold,
    /// Every candidate is larger than one operation may read.
    TooLarge,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::BelowThreshold => "below_threshold",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Plans the compaction of one table. `forced` leaves the thresholds aside, not the sizes.
pub fn plan(stats: &TableStats, policy: &CompactionPolicy, forced: bool) -> Verdict {
    let small = |f: &&FragmentStats| f.live_bytes() < policy.small_bytes;
    let riddled = |f: &&FragmentStats| f.deleted_fraction() > policy.max_deleted_fraction;
    let candidates: Vec<_> = stats
        .fragments
        .iter()
        .filter(|f| small(f) || riddled(f))
        .copied()
        .collect();
    let groups = pack(&candidates, policy);
    let readable = candidates
        .iter()
        .any(|f| f.bytes <= policy.max_source_bytes);
    if groups.is_empty() {
        return Verdict::Skip(if candidates.is_empty() || readable {
            Skip::Tidy
        } else {
            Skip::TooLarge
        });
    }
    let reason = if forced {
        Reason::Forced
    } else if stats.fragments.iter().any(|f| riddled(&f)) {
        Reason::DeletedRows
    } else if candidates.len() >= policy.min_small_fragments {
        Reason::SmallFragments
    } else {
        return Verdict::Skip(Skip::BelowThreshold);
    };
    Verdict::Compact(groups, reason)
}

/// Packs candidates into groups that are worth a rewrite, up to the bytes that one operation may read. Fragments
/// that indexes cover differently never share a group.
fn pack(candidates: &[FragmentStats], policy: &CompactionPolicy) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut open: BTreeMap<u32, Vec<FragmentStats>> = BTreeMap::new();
    let mut read = 0_u64;
    for fragment in candidates {
        if read.saturating_add(fragment.bytes) > policy.max_source_bytes {
            continue;
        }
        read += fragment.bytes;
        let filling = open.entry(fragment.coverage).or_default();
        filling.push(*fragment);
        let live: u64 = filling.iter().map(FragmentStats::live_bytes).sum();
        if live >= policy.target_bytes {
            groups.extend(group(filling, policy));
            filling.clear();
        }
    }
    groups.extend(open.values().filter_map(|filling| group(filling, policy)));
    groups
}

fn group(fragments: &[FragmentStats], policy: &CompactionPolicy) -> Option<Group> {
    let riddled = |f: &FragmentStats| f.deleted_fraction() > policy.max_deleted_fraction;
    let gains = fragments.len() > 1 || fragments.iter().any(riddled);
    gains.then(|| Group {
        fragments: fragments.iter().map(|f| f.id).collect(),
        rows: fragments
            .iter()
            .map(|f| f.rows - f.deleted.min(f.rows))
            .sum(),
        bytes: fragments.iter().map(|f| f.bytes).sum(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn fragment(id: u64, rows: u64, deleted: u64, bytes: u64) -> FragmentStats {
        FragmentStats {
            id,
            rows,
            deleted,
            bytes,
            coverage: 0,
        }
    }

    fn stats(fragments: Vec<FragmentStats>) -> TableStats {
        TableStats {
            version: 1,
            fragments,
        }
    }

    /// What the table looks like once the groups are rewritten, in the worst case: bytes follow live rows.
    fn rewritten(before: &TableStats, groups: &[Group]) -> TableStats {
        let mut fragments = before.fragments.clone();
        for (n, group) in groups.iter().enumerate() {
            let of = |f: &&FragmentStats| group.fragments.contains(&f.id);
            let bytes = fragments
                .iter()
                .filter(of)
                .map(FragmentStats::live_bytes)
                .sum();
            fragments.retain(|f| !group.fragments.contains(&f.id));
            if group.rows > 0 {
                fragments.push(fragment(1_000_000 + n as u64, group.rows, 0, bytes));
            }
        }
        stats(fragments)
    }

    #[test]
    fn small_fragments_become_one() {
        let before = stats((0..100).map(|id| fragment(id, 100, 0, 10_000)).collect());
        let Verdict::Compact(groups, reason) = plan(&before, &CompactionPolicy::default(), false)
        else {
            panic!("100 small fragments are due")
        };
        assert_eq!((groups.len(), reason), (1, Reason::SmallFragments));
        assert_eq!(groups[0].rows, 10_000);
    }

    #[test]
    fn fragments_that_indexes_cover_differently_do_not_become_one() {
        let covered = |id| FragmentStats {
            coverage: u32::from(id < 6),
            ..fragment(u64::from(id), 100, 0, 10_000)
        };
        let before = stats((0..16_u8).map(covered).collect());
        let Verdict::Compact(groups, _) = plan(&before, &CompactionPolicy::default(), false) else {
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
        let verdict = plan(&before, &CompactionPolicy::default(), true);
        assert_eq!(verdict, Verdict::Skip(Skip::Tidy));
    }

    #[test]
    fn a_fragment_full_of_deleted_rows_is_rewritten_alone() {
        let before = stats(vec![fragment(0, 1_000, 500, 300 * MIB)]);
        let verdict = plan(&before, &CompactionPolicy::default(), false);
        assert!(matches!(verdict, Verdict::Compact(_, Reason::DeletedRows)));
    }

    #[test]
    fn a_lone_small_fragment_is_tidy_and_a_few_are_below_the_threshold() {
        let policy = CompactionPolicy::default();
        let few = |n| stats((0..n).map(|id| fragment(id, 10, 0, 100)).collect());
        assert_eq!(plan(&few(1), &policy, true), Verdict::Skip(Skip::Tidy));
        assert_eq!(
            plan(&few(3), &policy, false),
            Verdict::Skip(Skip::BelowThreshold)
        );
        assert!(matches!(
            plan(&few(3), &policy, true),
            Verdict::Compact(_, Reason::Forced)
        ));
    }

    #[test]
    fn a_fragment_larger_than_one_operation_may_read_is_left_alone() {
        let policy = CompactionPolicy {
            max_source_bytes: MIB,
            ..CompactionPolicy::default()
        };
        let before = stats(vec![fragment(0, 10, 9, 2 * MIB)]);
        assert_eq!(plan(&before, &policy, true), Verdict::Skip(Skip::TooLarge));
    }

    proptest! {
        #[test]
        fn what_was_just_compacted_is_no_candidate(
            fragments in prop::collection::vec((1..5_000_u64, 0..100_u64, 1..400 * MIB), 0..60),
            forced in any::<bool>(),
        ) {
            let policy = CompactionPolicy { max_source_bytes: u64::MAX, ..CompactionPolicy::default() };
            let fragments = fragments.into_iter().enumerate().map(|(id, (rows, deleted, bytes))| {
                fragment(id as u64, rows, rows * deleted / 100, bytes)
            });
            let before = stats(fragments.collect());
            if let Verdict::Compact(groups, _) = plan(&before, &policy, forced) {
                let after = rewritten(&before, &groups);
                prop_assert!(matches!(plan(&after, &policy, forced), Verdict::Skip(_)), "{after:?}");
            }
        }

        #[test]
        fn a_plan_never_reads_more_than_it_may_and_no_fragment_twice(
            fragments in prop::collection::vec((1..5_000_u64, 0..100_u64, 1..400 * MIB), 0..60),
            max_source_bytes in 1..3_000 * MIB,
        ) {
            let policy = CompactionPolicy { max_source_bytes, ..CompactionPolicy::default() };
            let fragments = fragments.into_iter().enumerate().map(|(id, (rows, deleted, bytes))| {
                fragment(id as u64, rows, rows * deleted / 100, bytes)
            });
            if let Verdict::Compact(groups, _) = plan(&stats(fragments.collect()), &policy, true) {
                prop_assert!(groups.iter().map(|g| g.bytes).sum::<u64>() <= max_source_bytes);
                let mut ids: Vec<_> = groups.iter().flat_map(|g| &g.fragments).collect();
                let all = ids.len();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), all);
            }
        }
    }
}
