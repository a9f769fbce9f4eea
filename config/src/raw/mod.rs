//! The settings as they are written: every key optional, every value checked by itself.
//!
//! These types are the only list of the keys there is. A new policy is a new section: a struct in a file of its own
//! here, a field in [`RawPolicies`], [`RawTarget`] and [`RawTable`], a line in `keys.rs`.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the file, the targets, the rules for single tables |
//! | [`daemon`], [`tls`] | `[daemon]` |
//! | [`compaction`], [`index`], [`cleanup`] | the policies of the three duties |
//! | [`pace`], [`windows`] | how much at once, and when |

pub(crate) mod cleanup;
pub(crate) mod compaction;
pub(crate) mod daemon;
pub(crate) mod index;
pub(crate) mod pace;
pub(crate) mod tls;
pub(crate) mod windows;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::settings::{Drift, Kind, Policies};
use crate::units;
use crate::values;
use cleanup::RawCleanup;
use compaction::RawCompaction;
use daemon::RawDaemon;
use index::RawIndex;
use pace::RawPace;
use windows::RawWindows;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) daemon: RawDaemon,
    pub(crate) defaults: RawPolicies,
    pub(crate) target: Vec<RawTarget>,
}

/// `[defaults]`: one section per policy.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPolicies {
    pub(crate) compaction: RawCompaction,
    pub(crate) index: RawIndex,
    pub(crate) cleanup: RawCleanup,
    pub(crate) pace: RawPace,
    pub(crate) windows: RawWindows,
}

impl RawPolicies {
    /// These policies, with `fallback` where they say nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            compaction: self.compaction.or(&fallback.compaction),
            index: self.index.or(&fallback.index),
            cleanup: self.cleanup.or(&fallback.cleanup),
            pace: self.pace.or(&fallback.pace),
            windows: self.windows.or(&fallback.windows),
        }
    }

    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(&self) -> Policies {
        Policies {
            compaction: self.compaction.resolve(),
            index: self.index.resolve(),
            cleanup: self.cleanup.resolve(),
            pace: self.pace.resolve(),
            windows: self.windows.resolve(),
        }
    }
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
    pub(crate) kind: Option<Kind>,
    #[serde(deserialize_with = "drift")]
    pub(crate) drift: Option<Drift>,
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

const MOMENT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;

// One function per key that has a rule; each is named after its key.

fn name<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a name such as \"flights\"", values::name)
}

fn uri<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a path or a URI, in quotes", values::location)
}

fn kind<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Kind>, D::Error> {
    let form = "\"auto\", \"graph\" or \"directory\"";
    units::word(d, form, &values::KIND)
}

fn drift<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Drift>, D::Error> {
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

/// `cron` of each duty.
fn client<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    let form = "a client such as \"lancedb 0.30.2\", or \"auto\"";
    units::text(d, form, values::client)
}

fn cron<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    let form = "a schedule such as \"0 */5 * * * *\", or \"off\"";
    units::text(d, form, values::cron)
}
