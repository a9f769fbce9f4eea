//! `index`, in `[defaults]`, a target and a rule for tables.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use squire_engine::planner::indexing::IndexPolicy;

use super::bounds::{DAY, KIB, MOMENT, TIB};
use super::shared::{client, cron};
use crate::units::{self, Bounds};

/// When and how the indexes of tables are kept up.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawIndex {
    enabled: Option<bool>,
    #[serde(deserialize_with = "max_unindexed_rows")]
    max_unindexed_rows: Option<usize>,
    #[serde(deserialize_with = "max_unindexed_bytes")]
    max_unindexed_bytes: Option<u64>,
    #[serde(deserialize_with = "max_unindexed_fraction")]
    max_unindexed_fraction: Option<f64>,
    #[serde(deserialize_with = "min_unindexed_rows")]
    min_unindexed_rows: Option<usize>,
    #[serde(deserialize_with = "max_segments")]
    max_segments: Option<usize>,
    #[serde(deserialize_with = "client")]
    pub(super) oldest_client: Option<Option<String>>,
    #[serde(deserialize_with = "interval_floor")]
    interval_floor: Option<Duration>,
    #[serde(deserialize_with = "cron")]
    pub(super) cron: Option<Option<String>>,
}

impl RawIndex {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            enabled: self.enabled.or(fallback.enabled),
            max_unindexed_rows: self.max_unindexed_rows.or(fallback.max_unindexed_rows),
            max_unindexed_bytes: self.max_unindexed_bytes.or(fallback.max_unindexed_bytes),
            max_unindexed_fraction: self
                .max_unindexed_fraction
                .or(fallback.max_unindexed_fraction),
            min_unindexed_rows: self.min_unindexed_rows.or(fallback.min_unindexed_rows),
            max_segments: self.max_segments.or(fallback.max_segments),
            oldest_client: self
                .oldest_client
                .clone()
                .or_else(|| fallback.oldest_client.clone()),
            interval_floor: self.interval_floor.or(fallback.interval_floor),
            cron: self.cron.clone().or_else(|| fallback.cron.clone()),
        }
    }

    /// Fills what is not set from the built-in defaults, but for the oldest client.
    pub(crate) fn resolve(&self) -> IndexPolicy {
        let default = IndexPolicy::default();
        let max_unindexed_rows = self
            .max_unindexed_rows
            .map_or(default.max_unindexed_rows, |rows| rows as u64);
        IndexPolicy {
            enabled: self.enabled.unwrap_or(default.enabled),
            max_unindexed_rows,
            max_unindexed_bytes: self
                .max_unindexed_bytes
                .unwrap_or(default.max_unindexed_bytes),
            max_unindexed_fraction: self
                .max_unindexed_fraction
                .unwrap_or(default.max_unindexed_fraction),
            // Never above what is due by itself.
            min_unindexed_rows: self
                .min_unindexed_rows
                .map_or(default.min_unindexed_rows.min(max_unindexed_rows), |rows| {
                    rows as u64
                }),
            max_segments: self.max_segments.unwrap_or(default.max_segments),
            oldest_client: default.oldest_client,
            interval_floor: self.interval_floor.unwrap_or(default.interval_floor),
        }
    }
}

fn max_unindexed_rows<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "an index without rows outside has no work; `enabled = false` switches it off",
            most: 1_000_000_000_000,
            too_large: "no table would ever be indexed; `enabled = false` says so",
        },
    )
}

fn max_unindexed_bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    units::size(
        d,
        &Bounds {
            least: KIB,
            too_small: "nearly every write would start index work",
            most: 16 * TIB,
            too_large: "no table would ever be indexed for its bytes; max_unindexed_rows is for its rows",
        },
    )
}

fn max_unindexed_fraction<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    units::fraction(
        d,
        &Bounds {
            least: 0.001,
            too_small: "nearly every write would start index work",
            most: 1.0,
            too_large: "an index misses no more rows than all of them",
        },
    )
}

fn max_segments<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "an index has one segment at least",
            most: 10_000,
            too_large: "every search asks every segment",
        },
    )
}

fn interval_floor<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "an index under steady writes would get a segment for every write",
            most: 30 * DAY,
            too_large: "searches would scan what is not indexed that long",
        },
    )
}

fn min_unindexed_rows<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "an index without rows outside has no work",
            most: 1_000_000_000_000,
            too_large: "no share would ever be a reason; max_unindexed_fraction = 1 says so",
        },
    )
}
