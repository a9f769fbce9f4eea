//! `cleanup`, in `[defaults]`, a target and a rule for tables.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use squire_engine::planner::cleanup::CleanupPolicy;

use super::bounds::{DAY, SECOND};
use super::shared::cron;
use crate::units::{self, Bounds};

/// Which old versions go, and when.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawCleanup {
    enabled: Option<bool>,
    #[serde(deserialize_with = "keep_for")]
    keep_for: Option<Duration>,
    #[serde(deserialize_with = "keep_versions")]
    keep_versions: Option<usize>,
    #[serde(deserialize_with = "min_versions")]
    min_versions: Option<usize>,
    #[serde(deserialize_with = "emergency_versions")]
    emergency_versions: Option<usize>,
    #[serde(deserialize_with = "keep_manifests")]
    pub(crate) keep_manifests: Option<usize>,
    #[serde(deserialize_with = "interval_floor")]
    interval_floor: Option<Duration>,
    #[serde(deserialize_with = "cron")]
    pub(super) cron: Option<Option<String>>,
}

impl RawCleanup {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            enabled: self.enabled.or(fallback.enabled),
            keep_for: self.keep_for.or(fallback.keep_for),
            keep_versions: self.keep_versions.or(fallback.keep_versions),
            min_versions: self.min_versions.or(fallback.min_versions),
            emergency_versions: self.emergency_versions.or(fallback.emergency_versions),
            keep_manifests: self.keep_manifests.or(fallback.keep_manifests),
            interval_floor: self.interval_floor.or(fallback.interval_floor),
            cron: self.cron.clone().or_else(|| fallback.cron.clone()),
        }
    }

    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(&self) -> CleanupPolicy {
        let default = CleanupPolicy::default();
        let min_versions = self.min_versions.unwrap_or(default.min_versions);
        CleanupPolicy {
            enabled: self.enabled.unwrap_or(default.enabled),
            keep_for: self.keep_for.unwrap_or(default.keep_for),
            keep_versions: self.keep_versions.unwrap_or(default.keep_versions),
            min_versions,
            emergency_versions: self
                .emergency_versions
                .unwrap_or(default.emergency_versions.max(min_versions)),
            interval_floor: self.interval_floor.unwrap_or(default.interval_floor),
        }
    }
}

fn keep_for<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: SECOND,
            too_small: "files would go from under every reader",
            most: 3650 * DAY,
            too_large: "no version would ever go; `enabled = false` says so",
        },
    )
}

fn keep_versions<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "the newest version is the table",
            most: 1_000_000,
            too_large: "no version would ever go; `enabled = false` says so",
        },
    )
}

fn min_versions<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "without a version to remove there is nothing to do",
            most: 1_000_000,
            too_large: "no version would ever go; `enabled = false` says so",
        },
    )
}

fn keep_manifests<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 10,
            too_small: "readers and writers that were asleep for a moment would find their graph's state gone",
            most: 1_000_000_000,
            too_large: "no graph would get there",
        },
    )
}

fn interval_floor<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: SECOND,
            too_small: "each cleanup lists all files of the table",
            most: 30 * DAY,
            too_large: "old versions would pile up that long",
        },
    )
}

fn emergency_versions<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "without a version to remove there is nothing to do",
            most: 10_000_000,
            too_large: "no table would get there before it cannot be opened",
        },
    )
}
