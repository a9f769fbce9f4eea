//! The plan: which fragments of one table are rewritten together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    decision::{Decision, Reason, Skip},
    group::Group,
    policy::CompactionPolicy,
    remaps, tiers,
};
use crate::planner::{
    options::Ask,
    statistics::{FragmentStats, RewriteRefusal, TableStats},
};

/// A fragment that writers touch just now is rewritten all the same when more of it is deleted than this: by then, its
/// readers and its writers carry more dead rows than live ones.
pub const CONTENDED_DELETED_FRACTION: f64 = 0.5;

/// Plans the compaction of one table.
pub fn plan(stats: &TableStats, policy: &CompactionPolicy, ask: &Ask) -> Decision {
    if stats.unwritable.is_some() {
        return Decision::Skip(Skip::Unwritable);
    }
    let due = |stats: &TableStats, contended| {
        // What is left alone in any case is no reason to hurry.
        let free = |f: &FragmentStats| {
            remaps::hindrance(stats, f.coverage, policy.oldest_client).is_none()
        };
        let small = stats
            .fragments
            .iter()
            .filter(|f| policy.is_small(f) && free(f));
        let emergency = small.count() >= policy.emergency_small_fragments;
        due(stats, contended, policy, ask, emergency)
    };
    let refusal = worst_refusal(stats);
    let willing = refusal.map(|_| willing(stats));
    let able = willing.as_ref().unwrap_or(stats);
    let skip = match due(able, &ask.contended) {
        Ok((groups, reason)) => return Decision::Compact(groups, reason),
        Err(skip) => skip,
    };
    let none = BTreeSet::new();
    let held_back = !ask.contended.is_empty() && due(able, &none).is_ok();
    Decision::Skip(match refusal {
        _ if held_back => Skip::Contended,
        Some(refusal) if due(stats, &none).is_ok() => refusal.into(),
        _ => skip,
    })
}

/// The worst reason for which fragments of a table are left out.
fn worst_refusal(stats: &TableStats) -> Option<RewriteRefusal> {
    stats.fragments.iter().filter_map(|f| f.refused).min()
}

/// The table without the fragments that are left out.
fn willing(stats: &TableStats) -> TableStats {
    let fragments = stats.fragments.iter().filter(|f| f.refused.is_none());
    TableStats {
        version: stats.version,
        fragments: fragments.copied().collect(),
        segments: stats.segments.clone(),
        coverages: stats.coverages.clone(),
        stable_row_ids: stats.stable_row_ids,
        oldest_writer: stats.oldest_writer,
        ..TableStats::default()
    }
}

/// Whether the same ask would find more to do once these groups are rewritten, as far as that can be foreseen: one
/// operation reads a limited number of bytes, and what it leaves may fill further tiers.
pub(crate) fn leaves_more(
    stats: &TableStats,
    groups: &[Group],
    policy: &CompactionPolicy,
    ask: &Ask,
) -> bool {
    let next = Ask {
        max_bytes: None,
        ..ask.clone()
    };
    matches!(
        plan(&after(stats, groups), policy, &next),
        Decision::Compact(..)
    )
}

/// What a table looks like once the groups are rewritten, if its indexes follow.
pub(in crate::planner) fn after(stats: &TableStats, groups: &[Group]) -> TableStats {
    let sources: BTreeSet<_> = groups.iter().flat_map(|g| &g.fragments).collect();
    let (read, mut fragments): (Vec<FragmentStats>, Vec<_>) = stats
        .fragments
        .iter()
        .partition(|f| sources.contains(&f.id));
    let coverages: BTreeMap<_, _> = read.iter().map(|f| (f.id, f.coverage)).collect();
    let next = stats.fragments.iter().map(|f| f.id + 1).max().unwrap_or(0);
    let groups = groups.iter().filter(|group| group.rows > 0);
    fragments.extend((next..).zip(groups).map(|(id, group)| {
        FragmentStats {
            id,
            rows: group.rows,
            deleted: 0,
            bytes: group.live_bytes,
            measured: 0,
            unmeasured: false,
            coverage: group
                .fragments
                .first()
                .and_then(|id| coverages.get(id).copied())
                .unwrap_or(0),
            refused: None,
        }
    }));
    TableStats {
        fragments,
        ..stats.clone()
    }
}

fn due(
    stats: &TableStats,
    contended: &BTreeSet<u64>,
    policy: &CompactionPolicy,
    ask: &Ask,
    emergency: bool,
) -> Result<(Vec<Group>, Reason), Skip> {
    let left_to_writers = |f: &&FragmentStats| {
        contended.contains(&f.id) && f.deleted_fraction() <= CONTENDED_DELETED_FRACTION
    };
    let (unmeasured, measured): (Vec<&FragmentStats>, Vec<&FragmentStats>) = stats
        .fragments
        .iter()
        .filter(|f| !left_to_writers(f))
        .partition(|f| f.unmeasured);
    let candidates = measured
        .into_iter()
        .filter(|f| policy.is_small(f) || policy.exceeds_deleted_fraction(f));
    let (candidates, left): (Vec<_>, Vec<_>) = candidates
        .partition(|f| remaps::hindrance(stats, f.coverage, policy.oldest_client).is_none());
    // The rewrite of a single one streams, however large it is; and nothing else takes its deleted rows down.
    let fits = |f: &&FragmentStats| {
        f.bytes <= policy.max_source_bytes || policy.exceeds_deleted_fraction(f)
    };
    let (readable, too_large): (Vec<_>, Vec<_>) = candidates.into_iter().partition(fits);
    let groups_of = |readable: &[&FragmentStats]| {
        let tidied = tiers::as_few_as_possible(readable, policy);
        let groups = if ask.forced {
            tidied.clone()
        } else {
            tiers::by_size(readable, policy)
        };
        if emergency && groups.is_empty() {
            (tidied.clone(), tidied)
        } else {
            (groups, tidied)
        }
    };
    let (mut groups, tidied) = groups_of(&readable);
    if groups.is_empty() {
        let hindered = || {
            let (hindered, _) = groups_of(&left);
            let first = hindered.first().map(|group| group.coverage);
            first.and_then(|coverage| remaps::hindrance(stats, coverage, policy.oldest_client))
        };
        return Err(if let Some(hindrance) = hindered() {
            hindrance.into()
        } else if readable.is_empty() && !too_large.is_empty() {
            Skip::TooLarge
        } else if readable.is_empty() && !unmeasured.is_empty() {
            Skip::Unmeasured
        } else if tidied.is_empty() {
            Skip::Tidy
        } else {
            Skip::BelowThreshold
        });
    }
    best(&mut groups, stats, policy.max_source_bytes);
    remaps::keep_what_pays(&mut groups, stats, ask.forced || emergency);
    if groups.is_empty() {
        return Err(Skip::IndexTooLarge);
    }
    if let Some(most) = ask.max_bytes {
        fitting(&mut groups, stats, most);
        if groups.is_empty() {
            return Err(Skip::Outgrown);
        }
    }
    let reason = if emergency {
        Reason::Emergency
    } else if ask.forced {
        Reason::Forced
    } else if readable.iter().any(|f| policy.is_delete_heavy(f)) {
        Reason::DeletedRows
    } else {
        Reason::SmallFragments
    };
    Ok((groups, reason))
}

/// Puts the groups that save most for what they cost first, those under no index before the others, and leaves as many as
/// one operation may read, and one in any case. The others follow in the next ones.
fn best(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let gain = |g: &Group| (u128::from(g.saved()) << 20) / (u128::from(g.bytes) + 1);
    groups.sort_by_cached_key(|g| {
        let first = g.fragments.first().copied();
        (
            remaps::concerns(stats, g),
            std::cmp::Reverse(gain(g)),
            first,
        )
    });
    // What the indexes take comes on top: they are written anew once, however many groups there are.
    let mut read = 0_u64;
    let first = groups.first().cloned();
    groups.retain(|group| {
        let fits = read.saturating_add(group.bytes) <= most;
        read += if fits { group.bytes } else { 0 };
        fits
    });
    if groups.is_empty() {
        groups.extend(first);
    }
}

/// Keeps as many groups as fit into `most` bytes, indexes that are written anew included; when none is so small, the first
/// alone.
pub(in crate::planner) fn fitting_or_first(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let first = groups.first().cloned();
    fitting(groups, stats, most);
    if groups.is_empty() {
        groups.extend(first);
    }
}

/// Keeps as many groups as fit into `most` bytes, indexes that are written anew included.
fn fitting(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let mut taken: Vec<Group> = Vec::new();
    for group in groups.drain(..) {
        taken.push(group);
        if cost(&taken, stats) > most {
            taken.pop();
        }
    }
    // What is left of them has to be worth the indexes still.
    remaps::keep_what_pays(&mut taken, stats, true);
    *groups = taken;
}

/// Bytes that are read to rewrite groups: their own, and those of the indexes that are written anew.
pub(in crate::planner) fn cost(groups: &[Group], stats: &TableStats) -> u64 {
    let own = groups
        .iter()
        .fold(0_u64, |sum, group| sum.saturating_add(group.bytes));
    own.saturating_add(remaps::bytes(groups, stats))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
