//! The settings as they are written: every key optional, every value checked by itself.
//!
//! These types are the only list of the keys there is. A new policy is a new section: a struct
//! here, a field in [`Defaults`] and [`RawTarget`], a line in `keys.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::settings::{Compaction, Daemon, Drift, LogFormat};
use crate::units::{self, Bounds};
use crate::values;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) daemon: RawDaemon,
    pub(crate) defaults: Defaults,
    pub(crate) target: Vec<RawTarget>,
}

/// `[defaults]`: one section per policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) compaction: RawCompaction,
}

/// One `[[target]]`. A missing name or URI is found with the other problems of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTarget {
    #[serde(deserialize_with = "name")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "uri")]
    pub(crate) uri: Option<String>,
    #[serde(deserialize_with = "drift")]
    pub(crate) drift: Option<Drift>,
    pub(crate) compaction: RawCompaction,
}

/// `[daemon]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDaemon {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "concurrency")]
    concurrency: Option<usize>,
    #[serde(deserialize_with = "tick")]
    tick: Option<Duration>,
    #[serde(deserialize_with = "heal_interval")]
    heal_interval: Option<Duration>,
    #[serde(deserialize_with = "drift_interval")]
    drift_interval: Option<Duration>,
    #[serde(deserialize_with = "lease")]
    lease: Option<Duration>,
    #[serde(deserialize_with = "shutdown_grace")]
    shutdown_grace: Option<Duration>,
    #[serde(deserialize_with = "log")]
    log: Option<String>,
    log_format: Option<LogFormat>,
}

impl RawDaemon {
    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(self) -> Daemon {
        let default = Daemon::default();
        Daemon {
            listen: self.listen.unwrap_or(default.listen),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            tick: self.tick.unwrap_or(default.tick),
            heal_interval: self.heal_interval.unwrap_or(default.heal_interval),
            drift_interval: self.drift_interval.unwrap_or(default.drift_interval),
            lease: self.lease.unwrap_or(default.lease),
            shutdown_grace: self.shutdown_grace.unwrap_or(default.shutdown_grace),
            log: self.log.unwrap_or(default.log),
            log_format: self.log_format.unwrap_or(default.log_format),
        }
    }
}

/// `[defaults.compaction]` and `[target.compaction]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawCompaction {
    enabled: Option<bool>,
    #[serde(deserialize_with = "target_bytes_per_file")]
    target_bytes_per_file: Option<u64>,
    #[serde(deserialize_with = "small_fragment_bytes")]
    small_fragment_bytes: Option<u64>,
    #[serde(deserialize_with = "min_small_fragments")]
    min_small_fragments: Option<usize>,
    #[serde(deserialize_with = "max_deleted_fraction")]
    max_deleted_fraction: Option<f64>,
    #[serde(deserialize_with = "max_source_bytes")]
    max_source_bytes: Option<u64>,
    #[serde(deserialize_with = "interval_floor")]
    interval_floor: Option<Duration>,
    #[serde(deserialize_with = "cron")]
    cron: Option<Option<String>>,
}

impl RawCompaction {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(self, fallback: &Self) -> Self {
        Self {
            enabled: self.enabled.or(fallback.enabled),
            target_bytes_per_file: self
                .target_bytes_per_file
                .or(fallback.target_bytes_per_file),
            small_fragment_bytes: self.small_fragment_bytes.or(fallback.small_fragment_bytes),
            min_small_fragments: self.min_small_fragments.or(fallback.min_small_fragments),
            max_deleted_fraction: self.max_deleted_fraction.or(fallback.max_deleted_fraction),
            max_source_bytes: self.max_source_bytes.or(fallback.max_source_bytes),
            interval_floor: self.interval_floor.or(fallback.interval_floor),
            cron: self.cron.or_else(|| fallback.cron.clone()),
        }
    }

    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(self) -> Compaction {
        let default = Compaction::default();
        let target_bytes_per_file = self
            .target_bytes_per_file
            .unwrap_or(default.target_bytes_per_file);
        Compaction {
            enabled: self.enabled.unwrap_or(default.enabled),
            target_bytes_per_file,
            // Half of the target in force, not of the built-in one.
            small_fragment_bytes: self
                .small_fragment_bytes
                .unwrap_or(target_bytes_per_file / 2),
            min_small_fragments: self
                .min_small_fragments
                .unwrap_or(default.min_small_fragments),
            max_deleted_fraction: self
                .max_deleted_fraction
                .unwrap_or(default.max_deleted_fraction),
            max_source_bytes: self.max_source_bytes.unwrap_or(default.max_source_bytes),
            interval_floor: self.interval_floor.unwrap_or(default.interval_floor),
            cron: self.cron.unwrap_or(default.cron),
        }
    }
}

const MOMENT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: u64 = 1024;
const TIB: u64 = 1024 * 1024 * 1024 * 1024;

// One function per key that has a rule; each is named after its key.

fn name<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a name such as \"flights\"", values::name)
}

fn uri<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "a path or a URI, in quotes", values::location)
}

fn drift<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Drift>, D::Error> {
    units::text(d, "\"error\" or \"adopt\"", values::drift)
}

fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    units::text(d, "an address such as \"127.0.0.1:9464\"", values::loopback)
}

fn concurrency<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "no job would ever run; `enabled = false` switches a policy off",
            most: 256,
            too_large: "the jobs share one machine's memory and one way to the store",
        },
    )
}

fn tick<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "the daemon would do nothing but look, and every look is a request",
            most: HOUR,
            too_large: "tables would wait that long to be seen",
        },
    )
}

fn heal_interval<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "the daemon would do nothing but look, and every look is a request",
            most: HOUR,
            too_large: "what a crashed writer left would be in the way that long",
        },
    )
}

fn drift_interval<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "the daemon would do nothing but look, and every look is a request for each table",
            most: DAY,
            too_large: "what other programs did to tables would go unseen that long",
        },
    )
}

fn lease<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: SECOND,
            too_small: "object stores date in whole seconds, so a live holder would look dead",
            most: 10 * MINUTE,
            too_large: "a crashed holder's place in the queue would be in the way that long",
        },
    )
}

fn shutdown_grace<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "every job would be cut off and its work lost",
            most: HOUR,
            too_large: "a stop would seem to hang",
        },
    )
}

fn log<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "filter directives such as \"info\"", values::directives)
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

fn cron<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    let form = "a schedule such as \"0 */5 * * * *\", or \"off\"";
    units::text(d, form, values::cron)
}
