//! The policies of one table: the planner's, and what only settings know.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use squire_engine::{
    ManifestRetention,
    planner::{
        Duty, Policy,
        cleanup::CleanupPolicy,
        compaction::CompactionPolicy,
        indexing::IndexPolicy,
        pace::Pace,
        window::{Window, Windows},
    },
};

use crate::serialize;
use crate::values;

/// The policies of one table, and of the target that it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// What the planner decides by, for this table.
    pub table: Policy,
    /// When a duty is done whatever its thresholds say: second, minute, hour, day of month, month, day of week, and
    /// perhaps year. Only the form has been checked.
    pub crons: BTreeMap<Duty, String>,
    /// The oldest client of the table, as package and version: nothing is written that it does not read. When it is not
    /// named, it is found from who writes the table.
    pub oldest_client: Option<String>,
    /// How many manifests of a graph stay, and with them its log. Of a target, never of a table.
    pub keep_manifests: u64,
    /// The most bytes that are read for all tables of the target in an hour. Of a target, never of a table.
    pub target_bytes_per_hour: Option<u64>,
}

impl Default for Policies {
    fn default() -> Self {
        let table = Policy::default();
        Self {
            crons: BTreeMap::new(),
            oldest_client: None,
            keep_manifests: ManifestRetention::default().keep_manifests,
            target_bytes_per_hour: table.pace.bytes_per_hour,
            table,
        }
    }
}

impl Policies {
    /// The pace of the target as a whole.
    pub fn target_pace(&self) -> Pace {
        Pace {
            bytes_per_hour: self.target_bytes_per_hour,
            intensity: self.table.pace.intensity,
        }
    }

    /// The schedule of a duty.
    pub fn cron(&self, duty: Duty) -> Option<&str> {
        self.crons.get(&duty).map(String::as_str)
    }
}

/// As `[defaults]` of a file says them. A field that the planner's policies get does not compile until it is said.
impl Serialize for Policies {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Policy {
            compaction,
            index,
            cleanup,
            pace,
            windows,
        } = &self.table;
        let sections = Sections {
            compaction: Compaction::of(compaction, self),
            index: Index::of(index, self),
            cleanup: Cleanup::of(cleanup, self),
            pace: PaceSection::of(pace, self),
            windows: WindowsSection::of(windows),
        };
        sections.serialize(to)
    }
}

#[derive(Serialize)]
struct Sections<'p> {
    compaction: Compaction<'p>,
    index: Index<'p>,
    cleanup: Cleanup<'p>,
    pace: PaceSection,
    windows: WindowsSection<'p>,
}

#[derive(Serialize)]
struct Compaction<'p> {
    enabled: bool,
    #[serde(serialize_with = "serialize::size")]
    target_bytes_per_file: u64,
    #[serde(serialize_with = "serialize::size")]
    small_fragment_bytes: u64,
    min_small_fragments: usize,
    emergency_small_fragments: usize,
    max_deleted_fraction: f64,
    #[serde(serialize_with = "serialize::size")]
    max_source_bytes: u64,
    #[serde(serialize_with = "serialize::duration")]
    interval_floor: Duration,
    #[serde(serialize_with = "serialize::cron")]
    cron: Option<&'p str>,
    verify: &'static str,
}

impl<'p> Compaction<'p> {
    fn of(policy: &CompactionPolicy, policies: &'p Policies) -> Self {
        let CompactionPolicy {
            enabled,
            interval_floor,
            target_bytes,
            small_bytes,
            min_small_fragments,
            max_deleted_fraction,
            max_source_bytes,
            emergency_small_fragments,
            // Said once, with the indexes.
            oldest_client: _,
            verify,
        } = policy;
        Self {
            enabled: *enabled,
            target_bytes_per_file: *target_bytes,
            small_fragment_bytes: *small_bytes,
            min_small_fragments: *min_small_fragments,
            emergency_small_fragments: *emergency_small_fragments,
            max_deleted_fraction: *max_deleted_fraction,
            max_source_bytes: *max_source_bytes,
            interval_floor: *interval_floor,
            cron: policies.cron(Duty::Compaction),
            verify: values::word_of(verify, &values::VERIFY),
        }
    }
}

#[derive(Serialize)]
struct Index<'p> {
    enabled: bool,
    max_unindexed_rows: u64,
    #[serde(serialize_with = "serialize::size")]
    max_unindexed_bytes: u64,
    max_unindexed_fraction: f64,
    min_unindexed_rows: u64,
    max_segments: usize,
    #[serde(serialize_with = "serialize::client")]
    oldest_client: Option<&'p str>,
    #[serde(serialize_with = "serialize::duration")]
    interval_floor: Duration,
    #[serde(serialize_with = "serialize::cron")]
    cron: Option<&'p str>,
}

impl<'p> Index<'p> {
    fn of(policy: &IndexPolicy, policies: &'p Policies) -> Self {
        let IndexPolicy {
            enabled,
            interval_floor,
            max_unindexed_rows,
            max_unindexed_bytes,
            max_unindexed_fraction,
            min_unindexed_rows,
            max_segments,
            // As the user has named it.
            oldest_client: _,
        } = policy;
        Self {
            enabled: *enabled,
            max_unindexed_rows: *max_unindexed_rows,
            max_unindexed_bytes: *max_unindexed_bytes,
            max_unindexed_fraction: *max_unindexed_fraction,
            min_unindexed_rows: *min_unindexed_rows,
            max_segments: *max_segments,
            oldest_client: policies.oldest_client.as_deref(),
            interval_floor: *interval_floor,
            cron: policies.cron(Duty::Index),
        }
    }
}

#[derive(Serialize)]
struct Cleanup<'p> {
    enabled: bool,
    #[serde(serialize_with = "serialize::duration")]
    keep_for: Duration,
    keep_versions: usize,
    min_versions: usize,
    emergency_versions: usize,
    keep_manifests: u64,
    #[serde(serialize_with = "serialize::duration")]
    interval_floor: Duration,
    #[serde(serialize_with = "serialize::cron")]
    cron: Option<&'p str>,
}

impl<'p> Cleanup<'p> {
    fn of(policy: &CleanupPolicy, policies: &'p Policies) -> Self {
        let CleanupPolicy {
            enabled,
            interval_floor,
            keep_for,
            keep_versions,
            min_versions,
            emergency_versions,
        } = policy;
        Self {
            enabled: *enabled,
            keep_for: *keep_for,
            keep_versions: *keep_versions,
            min_versions: *min_versions,
            emergency_versions: *emergency_versions,
            keep_manifests: policies.keep_manifests,
            interval_floor: *interval_floor,
            cron: policies.cron(Duty::Cleanup),
        }
    }
}

#[derive(Serialize)]
struct PaceSection {
    #[serde(serialize_with = "serialize::size_or_off")]
    bytes_per_hour: Option<u64>,
    #[serde(serialize_with = "serialize::size_or_off")]
    table_bytes_per_hour: Option<u64>,
    intensity: f64,
}

impl PaceSection {
    fn of(pace: &Pace, policies: &Policies) -> Self {
        let Pace {
            bytes_per_hour,
            intensity,
        } = pace;
        Self {
            bytes_per_hour: policies.target_bytes_per_hour,
            table_bytes_per_hour: *bytes_per_hour,
            intensity: *intensity,
        }
    }
}

#[derive(Serialize)]
struct WindowsSection<'p> {
    #[serde(serialize_with = "serialize::windows")]
    allowed: &'p [Window],
    #[serde(serialize_with = "serialize::windows")]
    blackout: &'p [Window],
}

impl<'p> WindowsSection<'p> {
    fn of(windows: &'p Windows) -> Self {
        let Windows { allowed, blackout } = windows;
        Self { allowed, blackout }
    }
}
