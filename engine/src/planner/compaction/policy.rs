//! When and how a table is compacted.

use std::time::Duration;

use crate::planner::{clients::LanceVersion, statistics::FragmentStats};

/// Fewer deleted rows than this are no reason, unless they are many bytes.
const FEW_DELETED: u64 = 20;
/// From this many bytes of deleted rows on, they are a reason, however few.
const MUCH_DELETED: u64 = 1 << 20;

/// The sizes of small fragments are distinguished down to this part of the largest.
const TIER_DEPTH: u64 = 4096;
/// Sizes in one tier differ by this factor at most, or fragments would be merged that are nothing alike.
const WIDEST_TIER: u64 = 16;

/// How much of what a rewrite wrote is read back before it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing.
    Off,
    /// The first and the last rows of each new file, and the same rows of the sources.
    #[default]
    Ends,
    /// Every row of both.
    Full,
}

/// When and how a table is compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionPolicy {
    /// Whether tables are compacted at all.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not, nor before as much time as the last one took.
    pub interval_floor: Duration,
    /// What a fragment should grow to, in bytes of data files.
    pub target_bytes: u64,
    /// Below this many bytes a fragment is small.
    pub small_bytes: u64,
    /// The number of small fragments of one tier that makes a table due. Sizes in one tier differ by this factor (2 to 16).
    pub min_small_fragments: usize,
    /// A fragment with a larger share of deleted rows, 0 to 1, makes a table due; a handful of small rows does not.
    pub max_deleted_fraction: f64,
    /// One operation reads at most this many bytes; a single fragment may be larger when a large share of it is deleted.
    pub max_source_bytes: u64,
    /// From this many small fragments on, windows and paces do not hold the table back; a pause does.
    pub emergency_small_fragments: usize,
    /// The oldest client of the table; nothing when it is to be found from who writes it.
    pub oldest_client: Option<LanceVersion>,
    /// How much of what was written is read back before it is committed.
    pub verify: Verify,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        let target_bytes = 256 << 20;
        Self {
            enabled: true,
            interval_floor: Duration::from_secs(1),
            target_bytes,
            small_bytes: target_bytes / 2,
            min_small_fragments: 8,
            max_deleted_fraction: 0.1,
            max_source_bytes: 4 << 30,
            emergency_small_fragments: 1_000,
            oldest_client: None,
            verify: Verify::default(),
        }
    }
}

impl CompactionPolicy {
    /// Whether a fragment is known to be small.
    pub fn is_small(&self, fragment: &FragmentStats) -> bool {
        !fragment.unmeasured && fragment.live_bytes() < self.small_bytes
    }

    /// Whether too large a share of a fragment's rows is deleted.
    pub fn exceeds_deleted_fraction(&self, fragment: &FragmentStats) -> bool {
        fragment.deleted_fraction() > self.max_deleted_fraction
    }

    /// Whether so much of a fragment is deleted that it makes a table due.
    pub fn is_delete_heavy(&self, fragment: &FragmentStats) -> bool {
        let dead = fragment.bytes - fragment.live_bytes();
        self.exceeds_deleted_fraction(fragment)
            && (fragment.deleted >= FEW_DELETED || dead >= MUCH_DELETED)
    }

    /// The most small fragments that a table at rest has, for each way in which indexes cover them: one short of a full
    /// tier, in each tier.
    pub fn small_at_rest(&self) -> usize {
        let largest = self.small_bytes.saturating_sub(1);
        let tiers = (self.tier_of(largest) as usize).saturating_add(1);
        tiers.saturating_mul(self.tier_full_at() - 1)
    }

    /// The number of fragments that makes a tier full; at least 2.
    pub(super) fn tier_full_at(&self) -> usize {
        self.min_small_fragments.max(2)
    }

    /// The tier of a small fragment, by its live bytes; 0 is the lowest.
    pub(super) fn tier_of(&self, live_bytes: u64) -> u32 {
        let lowest = (self.small_bytes / TIER_DEPTH).max(1);
        let factor = (self.tier_full_at() as u64).min(WIDEST_TIER);
        (live_bytes / lowest)
            .checked_ilog(factor)
            .map_or(0, |n| n + 1)
    }
}
