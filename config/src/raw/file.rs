//! The file, the targets, the rules for single tables.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use squire_engine::{DriftPolicy, Kind};

use super::cleanup::RawCleanup;
use super::compaction::RawCompaction;
use super::daemon::RawDaemon;
use super::index::RawIndex;
use super::pace::RawPace;
use super::policies::RawPolicies;
use super::windows::RawWindows;
use crate::units;
use crate::values;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) daemon: RawDaemon,
    pub(crate) defaults: RawPolicies,
    pub(crate) target: Vec<RawTarget>,
}

/// One `[[target]]`. A missing name or URI is found with the other problems of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTarget {
    #[serde(deserialize_with = "name")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "uri")]
    pub(crate) uri: Option<String>,
    #[serde(deserialize_with = "kind")]
    pub(crate) kind: Option<Option<Kind>>,
    #[serde(deserialize_with = "drift")]
    pub(crate) drift: Option<DriftPolicy>,
    #[serde(deserialize_with = "follow_links")]
    pub(crate) follow_links: Option<Vec<PathBuf>>,
    #[serde(deserialize_with = "allow_bases")]
    pub(crate) allow_bases: Option<Vec<String>>,
    compaction: RawCompaction,
    index: RawIndex,
    cleanup: RawCleanup,
    pace: RawPace,
    windows: RawWindows,
    pub(crate) table: Vec<RawTable>,
}

impl RawTarget {
    /// What the target says of its policies.
    pub(crate) fn policies(&self) -> RawPolicies {
        RawPolicies {
            compaction: self.compaction.clone(),
            index: self.index.clone(),
            cleanup: self.cleanup.clone(),
            pace: self.pace.clone(),
            windows: self.windows.clone(),
        }
    }
}

/// One `[[target.table]]`. A missing pattern is found with the other problems of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTable {
    #[serde(rename = "match", deserialize_with = "pattern")]
    pub(crate) pattern: Option<String>,
    pub(crate) ignore: Option<bool>,
    compaction: RawCompaction,
    index: RawIndex,
    cleanup: RawCleanup,
    pace: RawPace,
    windows: RawWindows,
}

impl RawTable {
    /// What the rule says of the policies.
    pub(crate) fn policies(&self) -> RawPolicies {
        RawPolicies {
            compaction: self.compaction.clone(),
            index: self.index.clone(),
            cleanup: self.cleanup.clone(),
            pace: self.pace.clone(),
            windows: self.windows.clone(),
        }
    }
}

// One function per key that has a rule; each is named after its key.

fn name<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a name such as \"flights\"", values::name)
}

fn uri<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a path or a URI, in quotes", values::location)
}

fn kind<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<Kind>>, D::Error> {
    let form = "\"auto\", \"graph\" or \"directory\"";
    units::word(d, form, &values::KIND)
}

fn drift<'de, D: Deserializer<'de>>(d: D) -> Result<Option<DriftPolicy>, D::Error> {
    units::word(d, "\"error\" or \"adopt\"", &values::DRIFT)
}

fn follow_links<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<PathBuf>>, D::Error> {
    let form = "a list of folders such as [\"/mnt/big/lancedb\"]";
    units::texts(d, form, values::folder)
}

fn allow_bases<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    let form =
        "a list of folders and URIs such as [\"/srv/shared/lancedb\", \"s3://bucket/shared\"]";
    units::texts(d, form, values::base)
}

fn pattern<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a pattern such as \"logs_*\"", values::pattern)
}
