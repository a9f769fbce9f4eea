//! Tiers of small fragments: which of them are alike enough to become one.
//!
//! The lowest tier takes everything below a 4,096th of a small fragment, because a rewrite of so few bytes costs
//! no more than its commit. Each further tier begins where the one below ends, and ends at as many times that size as
//! fragments make it full. So what a full tier becomes always belongs to a higher one, or is small no more.

use std::collections::BTreeMap;

use super::{group::Group, policy::CompactionPolicy};
use crate::planner::statistics::FragmentStats;

/// One fragment, or several that become one.
#[derive(Clone, Debug, Default)]
struct Unit {
    /// Places in the list of candidates.
    of: Vec<usize>,
    bytes: u64,
    live_bytes: u64,
    /// Whether it is rewritten, with company or without.
    rewritten: bool,
}

/// Groups of like size: full tiers, and what is delete-heavy.
pub(super) fn by_size(candidates: &[&FragmentStats], policy: &CompactionPolicy) -> Vec<Group> {
    let mut done = Vec::new();
    for units in by_coverage(candidates, |f| policy.is_delete_heavy(f)) {
        let is_small = |unit: &Unit| unit.live_bytes < policy.small_bytes;
        let (heavy, mut small): (Vec<_>, Vec<_>) = units.into_iter().partition(|u| u.rewritten);
        small.retain(is_small);
        let (few, large): (Vec<_>, Vec<_>) = heavy.into_iter().partition(is_small);
        done.extend(large);
        // They are rewritten in any case, so they may as well become one.
        let (full, rest) = pack(few, policy);
        done.extend(full);
        let rest = (!rest.is_empty()).then(|| join(rest));
        let (few, large): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_small);
        small.extend(few);
        done.extend(large);
        done.extend(fill_tiers(small, policy));
    }
    groups(candidates, done)
}

/// Everything that is small, in as few groups as possible, and what has too large a share of deleted rows.
pub(in crate::planner) fn as_few_as_possible(
    candidates: &[&FragmentStats],
    policy: &CompactionPolicy,
) -> Vec<Group> {
    let mut done = Vec::new();
    for units in by_coverage(candidates, |f| policy.exceeds_deleted_fraction(f)) {
        let (full, rest) = pack(units, policy);
        done.extend(full);
        done.push(join(rest));
    }
    groups(candidates, done)
}

/// Merges tiers that are full, from the lowest on. What a tier becomes counts in its new one.
fn fill_tiers(small: Vec<Unit>, policy: &CompactionPolicy) -> Vec<Unit> {
    let mut tiers: BTreeMap<u32, Vec<Unit>> = BTreeMap::new();
    for unit in small {
        let tier = tiers.entry(policy.tier_of(unit.live_bytes)).or_default();
        tier.push(unit);
    }
    let mut done = Vec::new();
    while let Some((at, mut units)) = tiers.pop_first() {
        if units.len() < policy.tier_full_at() {
            done.extend(units);
            continue;
        }
        units.sort_by(|a, b| (a.live_bytes, &a.of).cmp(&(b.live_bytes, &b.of)));
        let (full, rest) = pack(units, policy);
        done.extend(full);
        if rest.len() < policy.tier_full_at() {
            done.extend(rest);
            continue;
        }
        let merged = join(rest);
        let becomes = policy.tier_of(merged.live_bytes);
        if merged.live_bytes < policy.small_bytes && becomes > at {
            tiers.entry(becomes).or_default().push(merged);
        } else {
            done.push(merged);
        }
    }
    done
}

/// Joins units, in their order, to ones of the target size, and none of more than an operation may read; what is left
/// at the end comes apart.
fn pack(units: Vec<Unit>, policy: &CompactionPolicy) -> (Vec<Unit>, Vec<Unit>) {
    let (mut full, mut rest): (Vec<Unit>, Vec<Unit>) = (Vec::new(), Vec::new());
    let (mut bytes, mut live_bytes) = (0_u64, 0_u64);
    for unit in units {
        if bytes.saturating_add(unit.bytes) > policy.max_source_bytes {
            full.push(join(std::mem::take(&mut rest)));
            (bytes, live_bytes) = (0, 0);
        }
        bytes += unit.bytes;
        live_bytes += unit.live_bytes;
        rest.push(unit);
        if live_bytes >= policy.target_bytes {
            full.push(join(std::mem::take(&mut rest)));
            (bytes, live_bytes) = (0, 0);
        }
    }
    (full, rest)
}

fn join(units: Vec<Unit>) -> Unit {
    let several = units.len() > 1;
    let mut joined = Unit::default();
    for unit in units {
        joined.of.extend(unit.of);
        joined.bytes += unit.bytes;
        joined.live_bytes += unit.live_bytes;
        joined.rewritten |= unit.rewritten || several;
    }
    joined
}

/// Each candidate as a unit, those apart that indexes cover differently: they never become one.
fn by_coverage(
    candidates: &[&FragmentStats],
    rewritten: impl Fn(&FragmentStats) -> bool,
) -> impl Iterator<Item = Vec<Unit>> {
    let mut apart: BTreeMap<u32, Vec<Unit>> = BTreeMap::new();
    for (place, fragment) in candidates.iter().enumerate() {
        apart.entry(fragment.coverage).or_default().push(Unit {
            of: vec![place],
            bytes: fragment.bytes,
            live_bytes: fragment.live_bytes(),
            rewritten: rewritten(fragment),
        });
    }
    apart.into_values()
}

/// The units that are rewritten, as groups of fragments in the table's order.
fn groups(candidates: &[&FragmentStats], units: Vec<Unit>) -> Vec<Group> {
    let rewritten = units.into_iter().filter(|unit| unit.rewritten);
    let group = |mut unit: Unit| {
        unit.of.sort_unstable();
        let fragments = unit.of.iter().filter_map(|place| candidates.get(*place));
        Group {
            fragments: fragments.clone().map(|f| f.id).collect(),
            rows: fragments
                .clone()
                .map(|f| f.rows - f.deleted.min(f.rows))
                .sum(),
            bytes: unit.bytes,
            live_bytes: unit.live_bytes,
            coverage: fragments.map(|f| f.coverage).next().unwrap_or(0),
        }
    };
    rewritten.map(group).collect()
}
