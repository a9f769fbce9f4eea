//! Indexes that hold addresses of rows: a rewrite of a fragment under one writes the index anew.
//!
//! That takes as many bytes as the index has, however few fragments there are. So it is done once for all groups of a
//! job, and only when they save enough.

use std::collections::BTreeSet;

use super::group::Group;
use crate::planner::{
    clients::{FOLLOWS_ROW_IDS, LanceVersion},
    statistics::{TableStats, Unmovable},
};

/// An index is written anew when readers are spared this part of its bytes: each of them, again and again.
const PAYS: u64 = 16;
/// And this part of them, when a user asks for it or it is an emergency.
const PAYS_WHEN_FORCED: u64 = 256;
/// Up to this many bytes, indexes are always worth it: they take no longer than the commit.
const CHEAP: u64 = 8 << 20;

/// Why fragments are left alone for the sake of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hindrance {
    /// What would be written is newer than what the oldest client reads.
    ClientTooOld,
    /// The index would lose the rows.
    CannotFollow,
    /// This build does not know what the index is.
    Unreadable,
    /// Its files lie outside of the target, where it allows nothing.
    Outside,
}

/// Why fragments that are covered like this are left alone; nothing when they can be rewritten.
pub(super) fn hindrance(
    stats: &TableStats,
    coverage: u32,
    configured: Option<LanceVersion>,
) -> Option<Hindrance> {
    let writes = stats.oldest_row_writer(configured);
    if stats.stable_row_ids && writes.is_some_and(|oldest| oldest < FOLLOWS_ROW_IDS) {
        return Some(Hindrance::ClientTooOld);
    }
    let oldest = stats.oldest_reader(configured);
    let hindrances = stats.segments_over(coverage).filter_map(|segment| {
        match (&segment.unmovable, segment.needs) {
            (Some(Unmovable::Outside), _) => Some(Hindrance::Outside),
            (Some(Unmovable::Unreadable), _) => Some(Hindrance::Unreadable),
            (Some(_), _) => Some(Hindrance::CannotFollow),
            (None, Some(needs)) if needs > oldest => Some(Hindrance::ClientTooOld),
            (None, _) => None,
        }
    });
    hindrances.max()
}

/// Whether indexes have to be written anew for a group.
pub(super) fn concerns(stats: &TableStats, group: &Group) -> bool {
    stats.segments_over(group.coverage).next().is_some()
}

/// Bytes of the indexes that are written anew for groups, each once.
pub(super) fn bytes(groups: &[Group], stats: &TableStats) -> u64 {
    let coverages: BTreeSet<_> = groups.iter().map(|group| group.coverage).collect();
    let places = coverages.into_iter().filter_map(|coverage| {
        let coverage = usize::try_from(coverage).ok()?;
        stats.coverages.get(coverage)
    });
    let places: BTreeSet<u32> = places.flatten().copied().collect();
    let segments = places
        .into_iter()
        .filter_map(|place| stats.segments.get(usize::try_from(place).ok()?));
    segments.fold(0, |sum, segment| sum.saturating_add(segment.bytes))
}

/// Leaves the groups that are worth what they cost: those under no index, and of the others all, or else those that are
/// covered alike and pay by themselves.
pub(super) fn keep_what_pays(groups: &mut Vec<Group>, stats: &TableStats, forced: bool) {
    let times = if forced { PAYS_WHEN_FORCED } else { PAYS };
    let pays = |groups: &[Group]| {
        let saved = groups
            .iter()
            .fold(0_u64, |sum, group| sum.saturating_add(group.saved()));
        bytes(groups, stats) <= saved.saturating_mul(times).max(CHEAP)
    };
    let (covered, mut kept): (Vec<Group>, Vec<Group>) =
        groups.drain(..).partition(|group| concerns(stats, group));
    if pays(&covered) {
        kept.extend(covered);
    } else {
        let coverages: BTreeSet<_> = covered.iter().map(|group| group.coverage).collect();
        let alike = coverages.into_iter().map(|coverage| {
            let alike = covered.iter().filter(|group| group.coverage == coverage);
            alike.cloned().collect::<Vec<_>>()
        });
        // One of them: several may not pay together.
        kept.extend(
            alike
                .into_iter()
                .find(|alike| pays(alike))
                .into_iter()
                .flatten(),
        );
    }
    *groups = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{
        Ask,
        compaction::{CompactionPolicy, Decision, Skip, plan},
        sample::{GIB, KIB, MIB, fragment, stats},
        statistics::{FragmentStats, SegmentStats},
    };

    fn segment(bytes: u64) -> SegmentStats {
        SegmentStats {
            index: "id_idx".to_owned(),
            bytes,
            unmovable: None,
            needs: None,
        }
    }

    /// A table with `covered` small fragments under a segment, and `free` ones under none.
    fn table(segment: SegmentStats, covered: u64, free: u64) -> TableStats {
        let small = |id| FragmentStats {
            coverage: u32::from(id < covered),
            ..fragment(id, 100, 0, 10 * KIB)
        };
        TableStats {
            segments: vec![segment],
            coverages: vec![Vec::new(), vec![0]],
            ..stats((0..covered + free).map(small).collect())
        }
    }

    fn planned(table: &TableStats, ask: &Ask) -> Result<Vec<Group>, Skip> {
        match plan(table, &CompactionPolicy::default(), ask) {
            Decision::Compact(groups, _) => Ok(groups),
            Decision::Skip(skip) => Err(skip),
        }
    }

    #[test]
    fn a_large_index_is_never_written_anew_for_eight_small_fragments_not_even_by_force() {
        let large = table(segment(10 * GIB), 8, 0);
        assert_eq!(planned(&large, &Ask::default()), Err(Skip::IndexTooLarge));
        assert_eq!(planned(&large, &Ask::forced()), Err(Skip::IndexTooLarge));
        let small = table(segment(4 * MIB), 8, 0);
        assert_eq!(planned(&small, &Ask::default()).map(|g| g.len()), Ok(1));
        let many = table(segment(GIB), 100, 0);
        assert_eq!(planned(&many, &Ask::default()).map(|g| g.len()), Ok(1));
    }

    #[test]
    fn what_no_index_covers_is_merged_first_and_for_free() {
        let groups = planned(&table(segment(10 * GIB), 8, 8), &Ask::default()).unwrap();
        let fragments: Vec<_> = groups.iter().flat_map(|g| &g.fragments).collect();
        assert_eq!(fragments, [&8, &9, &10, &11, &12, &13, &14, &15]);
        let groups = planned(&table(segment(MIB), 8, 8), &Ask::default()).unwrap();
        assert_eq!(
            groups.iter().map(|g| g.coverage).collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn a_table_with_stable_row_ids_is_left_alone_where_a_client_is_known_that_does_not_follow_them()
    {
        let table = |oldest_writer| TableStats {
            stable_row_ids: true,
            oldest_writer,
            ..table(segment(MIB), 0, 8)
        };
        let (old, new) = (LanceVersion::new(12, 0), FOLLOWS_ROW_IDS);
        let planned = |oldest| planned(&table(oldest), &Ask::default()).map(|g| g.len());
        assert_eq!(planned(Some(old)), Err(Skip::ClientTooOld));
        assert_eq!(planned(Some(new)), Ok(1));
        assert_eq!(planned(None), Ok(1), "only Squire changes rows");
    }

    #[test]
    fn a_budget_has_to_have_room_for_the_index_as_well() {
        let table = table(segment(64 * MIB), 100, 0);
        let groups = planned(&table, &Ask::default()).unwrap();
        let cost = crate::planner::compaction::cost(&groups, &table);
        assert_eq!(cost, 64 * MIB + 100 * 10 * KIB);
        let short = Ask {
            max_bytes: Some(cost - 1),
            ..Ask::default()
        };
        assert_eq!(planned(&table, &short), Err(Skip::Outgrown));
    }

    #[test]
    fn fragments_are_left_alone_under_an_index_that_would_lose_them_or_old_clients() {
        let under = |unmovable, needs| {
            let segment = SegmentStats {
                unmovable,
                needs,
                ..segment(MIB)
            };
            planned(&table(segment, 100, 0), &Ask::forced()).map(|_| ())
        };
        let new = Some(LanceVersion::new(0, 39));
        assert_eq!(
            under(Some(Unmovable::Unreadable), None),
            Err(Skip::IndexUnreadable)
        );
        assert_eq!(
            under(Some(Unmovable::Unsupported), None),
            Err(Skip::IndexCannotFollow)
        );
        assert_eq!(under(None, new), Err(Skip::ClientTooOld));
        let written = |by| {
            let mut table = table(
                SegmentStats {
                    needs: new,
                    ..segment(MIB)
                },
                100,
                0,
            );
            table.oldest_writer = Some(by);
            planned(&table, &Ask::default()).map(|_| ())
        };
        assert_eq!(written(LanceVersion::new(0, 29)), Err(Skip::ClientTooOld));
        assert_eq!(written(LanceVersion::new(0, 39)), Ok(()));
        let policy = CompactionPolicy {
            oldest_client: Some(LanceVersion::new(4, 0)),
            ..CompactionPolicy::default()
        };
        let table = table(
            SegmentStats {
                needs: new,
                ..segment(MIB)
            },
            100,
            0,
        );
        let decision = plan(&table, &policy, &Ask::default());
        assert!(
            matches!(decision, Decision::Compact(..)),
            "the configured client counts"
        );
    }
}
