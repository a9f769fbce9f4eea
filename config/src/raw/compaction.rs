//! `compaction`, in `[defaults]`, a target and a rule for tables.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use squire_engine::planner::compaction::{CompactionPolicy, Verify};

use super::bounds::{DAY, KIB, MOMENT, TIB};
use super::shared::cron;
use crate::units::{self, Bounds};
use crate::values;

/// When and how tables are compacted.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawCompaction {
    enabled: Option<bool>,
    #[serde(deserialize_with = "target_bytes_per_file")]
    target_bytes_per_file: Option<u64>,
    #[serde(deserialize_with = "small_fragment_bytes")]
    small_fragment_bytes: Option<u64>,
    #[serde(deserialize_with = "min_small_fragments")]
    min_small_fragments: Option<usize>,
    #[serde(deserialize_with = "emergency_small_fragments")]
    emergency_small_fragments: Option<usize>,
    #[serde(deserialize_with = "max_deleted_fraction")]
    max_deleted_fraction: Option<f64>,
    #[serde(deserialize_with = "max_source_bytes")]
    max_source_bytes: Option<u64>,
    #[serde(deserialize_with = "interval_floor")]
    interval_floor: Option<Duration>,
    #[serde(deserialize_with = "cron")]
    pub(super) cron: Option<Option<String>>,
    #[serde(deserialize_with = "verify")]
    verify: Option<Verify>,
}

impl RawCompaction {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            enabled: self.enabled.or(fallback.enabled),
            target_bytes_per_file: self
                .target_bytes_per_file
                .or(fallback.target_bytes_per_file),
            small_fragment_bytes: self.small_fragment_bytes.or(fallback.small_fragment_bytes),
            min_small_fragments: self.min_small_fragments.or(fallback.min_small_fragments),
            emergency_small_fragments: self
                .emergency_small_fragments
                .or(fallback.emergency_small_fragments),
            max_deleted_fraction: self.max_deleted_fraction.or(fallback.max_deleted_fraction),
            max_source_bytes: self.max_source_bytes.or(fallback.max_source_bytes),
            interval_floor: self.interval_floor.or(fallback.interval_floor),
            cron: self.cron.clone().or_else(|| fallback.cron.clone()),
            verify: self.verify.or(fallback.verify),
        }
    }

    /// Fills what is not set from the built-in defaults. The oldest client is set with the index policy.
    pub(crate) fn resolve(&self) -> CompactionPolicy {
        let default = CompactionPolicy::default();
        let target_bytes = self.target_bytes_per_file.unwrap_or(default.target_bytes);
        let mut compaction = CompactionPolicy {
            enabled: self.enabled.unwrap_or(default.enabled),
            interval_floor: self.interval_floor.unwrap_or(default.interval_floor),
            target_bytes,
            // Half of the target in force, not of the built-in one.
            small_bytes: self.small_fragment_bytes.unwrap_or(target_bytes / 2),
            min_small_fragments: self
                .min_small_fragments
                .unwrap_or(default.min_small_fragments),
            max_deleted_fraction: self
                .max_deleted_fraction
                .unwrap_or(default.max_deleted_fraction),
            max_source_bytes: self.max_source_bytes.unwrap_or(default.max_source_bytes),
            emergency_small_fragments: default.emergency_small_fragments,
            oldest_client: default.oldest_client,
            verify: self.verify.unwrap_or(default.verify),
        };
        // A table at rest is no emergency.
        let least = compaction.small_at_rest().saturating_add(1);
        compaction.emergency_small_fragments = self
            .emergency_small_fragments
            .unwrap_or(default.emergency_small_fragments.max(least));
        compaction
    }
}

fn target_bytes_per_file<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    units::size(
        d,
        &Bounds {
            least: KIB,
            too_small: "a file's own header and footer would outweigh its rows",
            most: TIB,
            too_large: "one rewrite could never end in reasonable time",
        },
    )
}

fn small_fragment_bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    units::size(
        d,
        &Bounds {
            least: 1,
            too_small: "no fragment is smaller; `enabled = false` switches compaction off",
            most: TIB,
            too_large: "every fragment would be small for ever",
        },
    )
}

fn min_small_fragments<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 2,
            too_small: "one small fragment has nothing to be merged with",
            most: 1_000_000,
            too_large: "no table would ever be compacted; `enabled = false` says so",
        },
    )
}

fn max_deleted_fraction<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    units::fraction(
        d,
        &Bounds {
            least: 0.001,
            too_small: "nearly every delete would rewrite whole fragments",
            most: 1.0,
            too_large: "a fragment has no more rows than all of them",
        },
    )
}

fn max_source_bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    units::size(
        d,
        &Bounds {
            least: KIB,
            too_small: "no rewrite could read a single fragment",
            most: 16 * TIB,
            too_large: "one rewrite could never end in reasonable time",
        },
    )
}

fn interval_floor<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "a table under steady writes would be rewritten without end",
            most: 30 * DAY,
            too_large: "small fragments would pile up that long",
        },
    )
}

fn verify<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Verify>, D::Error> {
    units::word(d, "\"off\", \"ends\" or \"full\"", &values::VERIFY)
}

fn emergency_small_fragments<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 2,
            too_small: "one small fragment has nothing to be merged with",
            most: 10_000_000,
            too_large: "no table would get there before it cannot be opened",
        },
    )
}
