//! `[daemon]`: the process itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::bounds::{DAY, HOUR, MIB, MINUTE, MOMENT, SECOND, TIB};
use super::tls::RawTls;
use crate::settings::{Daemon, LogFormat};
use crate::units::{self, Bounds};
use crate::values;

/// `[daemon]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDaemon {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
    plaintext_behind_proxy: Option<bool>,
    tls: RawTls,
    #[serde(deserialize_with = "concurrency")]
    concurrency: Option<usize>,
    #[serde(deserialize_with = "memory")]
    memory: Option<u64>,
    #[serde(deserialize_with = "tick")]
    tick: Option<Duration>,
    #[serde(deserialize_with = "hot_tick")]
    hot_tick: Option<Duration>,
    #[serde(deserialize_with = "cold_tick")]
    cold_tick: Option<Duration>,
    #[serde(deserialize_with = "heal_interval")]
    heal_interval: Option<Duration>,
    #[serde(deserialize_with = "drift_interval")]
    drift_interval: Option<Duration>,
    #[serde(deserialize_with = "look_timeout")]
    look_timeout: Option<Duration>,
    #[serde(deserialize_with = "stuck_after")]
    stuck_after: Option<Duration>,
    #[serde(deserialize_with = "lease")]
    lease: Option<Duration>,
    #[serde(deserialize_with = "shutdown_grace")]
    shutdown_grace: Option<Duration>,
    #[serde(deserialize_with = "reload_timeout")]
    reload_timeout: Option<Duration>,
    #[serde(deserialize_with = "metrics_tables")]
    metrics_tables: Option<usize>,
    #[serde(deserialize_with = "state_dir")]
    state_dir: Option<Option<PathBuf>>,
    #[serde(deserialize_with = "log")]
    log: Option<String>,
    log_format: Option<LogFormat>,
}

impl RawDaemon {
    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(self) -> Daemon {
        let default = Daemon::default();
        let tick = self.tick.unwrap_or(default.tick);
        Daemon {
            listen: self.listen.unwrap_or(default.listen),
            plaintext_behind_proxy: self
                .plaintext_behind_proxy
                .unwrap_or(default.plaintext_behind_proxy),
            tls: self.tls.resolve(),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            memory: self.memory.unwrap_or(default.memory),
            tick,
            hot_tick: self.hot_tick.unwrap_or(default.hot_tick.min(tick)),
            cold_tick: self.cold_tick.unwrap_or(default.cold_tick.max(tick)),
            heal_interval: self.heal_interval.unwrap_or(default.heal_interval),
            drift_interval: self.drift_interval.unwrap_or(default.drift_interval),
            look_timeout: self.look_timeout.unwrap_or(default.look_timeout),
            stuck_after: self.stuck_after.unwrap_or(default.stuck_after),
            lease: self.lease.unwrap_or(default.lease),
            shutdown_grace: self.shutdown_grace.unwrap_or(default.shutdown_grace),
            reload_timeout: self.reload_timeout.unwrap_or(default.reload_timeout),
            metrics_tables: self.metrics_tables.unwrap_or(default.metrics_tables),
            state_dir: self.state_dir.unwrap_or(default.state_dir),
            log: self.log.unwrap_or(default.log),
            log_format: self.log_format.unwrap_or(default.log_format),
        }
    }
}

fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    units::text(d, "an address such as \"127.0.0.1:9464\"", values::address)
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

fn look_timeout<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: SECOND,
            too_small: "a store that is only slow would be taken for one that hangs",
            most: HOUR,
            too_large: "a store that hangs would go unseen that long",
        },
    )
}

fn stuck_after<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: SECOND,
            too_small: "jobs that only take their time would be cancelled",
            most: DAY,
            too_large: "a job that hangs would hold its place that long",
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

fn reload_timeout<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "no reload would ever be taken",
            most: HOUR,
            too_large: "a reload would seem to hang",
        },
    )
}

fn log<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    units::text(d, "filter directives such as \"info\"", values::directives)
}

fn memory<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    units::size(
        d,
        &Bounds {
            least: 256 * MIB,
            too_small: "Lance could not read and write one file of wide rows in it",
            most: 16 * TIB,
            too_large: "no machine has that much",
        },
    )
}

fn hot_tick<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "the daemon would do nothing but look, and every look is a request",
            most: HOUR,
            too_large: "small fragments of a table that is written fast would pile up that long",
        },
    )
}

fn cold_tick<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    units::duration(
        d,
        &Bounds {
            least: MOMENT,
            too_small: "the daemon would do nothing but look, and every look is a request for each table",
            most: DAY,
            too_large: "what is written to a table after a long rest would go unseen that long",
        },
    )
}

fn metrics_tables<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    units::count(
        d,
        &Bounds {
            least: 1,
            too_small: "operators could not see which table is in need",
            most: 100_000,
            too_large: "each table has more than ten series, and a scrape would take longer than its interval",
        },
    )
}

fn state_dir<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<PathBuf>>, D::Error> {
    units::text(d, "an absolute path, or \"off\"", |text| {
        values::path(text, "/var/lib/squire")
    })
}
