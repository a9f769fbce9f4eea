//! Settings of the process, whatever it maintains.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::serialize;

/// Settings of the process, whatever it maintains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Daemon {
    /// Address of the HTTP server. Port 0 takes a free one. When it is no loopback address, there is TLS
    /// here or in a proxy.
    pub listen: SocketAddr,
    /// A proxy in front of an address that others can reach ends TLS.
    pub plaintext_behind_proxy: bool,
    /// TLS of the address.
    pub tls: Tls,
    /// Most jobs at once, over all targets; at least 1.
    pub concurrency: usize,
    /// Bytes of memory that the process keeps to.
    #[serde(serialize_with = "serialize::size")]
    pub memory: u64,
    /// Time between two polls of a target by its keeper.
    #[serde(serialize_with = "serialize::duration")]
    pub tick: Duration,
    /// Shortest time between two polls of a directory's table that is written fast; at most `tick`.
    #[serde(serialize_with = "serialize::duration")]
    pub hot_tick: Duration,
    /// Longest time between two polls of a directory's table that does not change; at least `tick`.
    #[serde(serialize_with = "serialize::duration")]
    pub cold_tick: Duration,
    /// Time between two searches for what crashed writers left behind.
    #[serde(serialize_with = "serialize::duration")]
    pub heal_interval: Duration,
    /// Time between two searches for tables that other programs changed.
    #[serde(serialize_with = "serialize::duration")]
    pub drift_interval: Duration,
    /// How long a store may take to answer a poll of a target or a table, 1 second to 1 hour.
    #[serde(serialize_with = "serialize::duration")]
    pub look_timeout: Duration,
    /// How long a job and its store may stand still before it is cancelled, 1 second to 1 day.
    #[serde(serialize_with = "serialize::duration")]
    pub stuck_after: Duration,
    /// Age at which a heartbeat counts as its holder's death.
    #[serde(serialize_with = "serialize::duration")]
    pub lease: Duration,
    /// Time running jobs get to finish when the daemon is asked to stop.
    #[serde(serialize_with = "serialize::duration")]
    pub shutdown_grace: Duration,
    /// Time that reading another configuration may take; a reload that takes longer is refused.
    #[serde(serialize_with = "serialize::duration")]
    pub reload_timeout: Duration,
    /// The number of tables of each target that have metric series of their own; the sums of a target count all.
    pub metrics_tables: usize,
    /// Where pauses, and what holds jobs back, are kept over a restart; absolute. Nothing is kept without.
    #[serde(serialize_with = "serialize::path")]
    pub state_dir: Option<PathBuf>,
    /// Filter directives of the log, as `tracing-subscriber` reads them; not empty, otherwise
    /// unchecked.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            plaintext_behind_proxy: false,
            tls: Tls::default(),
            concurrency: 2,
            memory: 1 << 30,
            tick: Duration::from_secs(10),
            hot_tick: Duration::from_secs(1),
            cold_tick: Duration::from_secs(10 * 60),
            heal_interval: Duration::from_secs(30),
            drift_interval: Duration::from_secs(5 * 60),
            look_timeout: Duration::from_secs(3 * 60),
            stuck_after: Duration::from_secs(30 * 60),
            lease: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(10),
            reload_timeout: Duration::from_secs(30),
            metrics_tables: 200,
            state_dir: None,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// `[daemon.tls]`: the files of a certificate, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tls {
    /// The certificate, with those between it and its authority after it; absolute. There is no TLS without.
    #[serde(serialize_with = "serialize::path")]
    pub certificate: Option<PathBuf>,
    /// Its private key; absolute. Without, the systemd credential `squire-tls-key` has it.
    #[serde(serialize_with = "serialize::path")]
    pub key: Option<PathBuf>,
}

impl Daemon {
    /// Whether other machines can reach the address.
    pub fn is_exposed(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
