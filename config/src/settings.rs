//! The settings as the daemon uses them: complete, typed, checked.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

/// Everything the daemon is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The process itself.
    pub daemon: Daemon,
    /// What it maintains, in the order of the files; the names are unique.
    pub targets: Vec<Target>,
}

/// Settings of the process, whatever it maintains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Address of `/metrics` and `/healthz`; always a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Most jobs at once, over all targets; at least 1.
    pub concurrency: usize,
    /// Time between two looks of a keeper at its target.
    pub tick: Duration,
    /// Time between two searches for what crashed writers left behind.
    pub heal_interval: Duration,
    /// Time between two searches for tables that other programs changed.
    pub drift_interval: Duration,
    /// Age at which a heartbeat counts as its holder's death.
    pub lease: Duration,
    /// Time running jobs get to finish when the daemon is told to stop.
    pub shutdown_grace: Duration,
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
            concurrency: 2,
            tick: Duration::from_secs(10),
            heal_interval: Duration::from_secs(30),
            drift_interval: Duration::from_secs(5 * 60),
            lease: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(10),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

/// One thing to maintain.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name in logs and metrics: 1 to 64 of `a-z`, `0-9`, `_` and `-`; unique.
    pub name: String,
    /// Where it is: an absolute path, or a URI of the scheme `file`, `memory`, `s3`, `gs` or
    /// `az`, without credentials.
    pub uri: String,
    /// What happens to a table whose meaning another program changed.
    pub drift: Drift,
    /// When and how its tables are compacted.
    pub compaction: Compaction,
}

/// What happens to a table whose meaning a program changed that knows nothing of Squire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drift {
    /// Operations on it are refused until an operator has looked.
    #[default]
    Error,
    /// The change is taken along, as long as the table has the columns that the schema declares.
    Adopt,
}

/// When and how the tables of one target are compacted.
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    /// Whether they are compacted at all.
    pub enabled: bool,
    /// What a fragment should grow to, in bytes.
    pub target_bytes_per_file: u64,
    /// A fragment with fewer bytes than this is small. Always below `target_bytes_per_file`; half
    /// of it unless set, so that two small fragments fit into one.
    pub small_fragment_bytes: u64,
    /// This many small fragments make a table a candidate; at least 2.
    pub min_small_fragments: usize,
    /// A fragment with a greater part of its rows deleted is a candidate; above 0, and never met
    /// at 1.
    pub max_deleted_fraction: f64,
    /// Most bytes one rewrite reads; at least `target_bytes_per_file`.
    pub max_source_bytes: u64,
    /// Shortest time between two compactions of one table.
    pub interval_floor: Duration,
    /// When to compact whatever the thresholds say: second, minute, hour, day of month, month,
    /// day of week, and perhaps year. Only its form has been checked.
    pub cron: Option<String>,
}

impl Default for Compaction {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            enabled: true,
            target_bytes_per_file: 256 * MIB,
            small_fragment_bytes: 128 * MIB,
            min_small_fragments: 8,
            max_deleted_fraction: 0.1,
            max_source_bytes: 4096 * MIB,
            interval_floor: Duration::from_secs(30),
            cron: None,
        }
    }
}
