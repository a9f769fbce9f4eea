//! The settings as the daemon uses them: complete, typed, checked.

mod policies;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::glob;
use crate::raw::RawPolicies;
use crate::written;
pub use policies::{Cleanup, Compaction, Index, Pace, Policies, Verify, Window, Windows};

/// Everything the daemon is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The process itself.
    pub daemon: Daemon,
    /// What it maintains, in the order of the files; the names are unique.
    pub targets: Vec<Target>,
}

/// Settings of the process, whatever it maintains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Daemon {
    /// Address of everything that is answered over HTTP. Port 0 takes a free one. When it is no loopback address, there is TLS
    /// here or in a proxy.
    pub listen: SocketAddr,
    /// A proxy in front of an address that others can reach ends TLS.
    pub plaintext_behind_proxy: bool,
    /// TLS of the address.
    pub tls: Tls,
    /// Most jobs at once, over all targets; at least 1.
    pub concurrency: usize,
    /// Bytes of memory that the process keeps to.
    #[serde(serialize_with = "written::size")]
    pub memory: u64,
    /// Time between two looks of a keeper at its target.
    #[serde(serialize_with = "written::duration")]
    pub tick: Duration,
    /// Shortest time between two looks at a directory's table that is written fast; at most `tick`.
    #[serde(serialize_with = "written::duration")]
    pub hot_tick: Duration,
    /// Longest time between two looks at a directory's table that does not change; at least `tick`.
    #[serde(serialize_with = "written::duration")]
    pub cold_tick: Duration,
    /// Time between two searches for what crashed writers left behind.
    #[serde(serialize_with = "written::duration")]
    pub heal_interval: Duration,
    /// Time between two searches for tables that other programs changed.
    #[serde(serialize_with = "written::duration")]
    pub drift_interval: Duration,
    /// How long a store may take to answer a look at a target or a table, 1 second to 1 hour.
    #[serde(serialize_with = "written::duration")]
    pub look_timeout: Duration,
    /// How long a job and its store may stand still before it is cancelled, 1 second to 1 day.
    #[serde(serialize_with = "written::duration")]
    pub stuck_after: Duration,
    /// Age at which a heartbeat counts as its holder's death.
    #[serde(serialize_with = "written::duration")]
    pub lease: Duration,
    /// Time running jobs get to finish when the daemon is told to stop.
    #[serde(serialize_with = "written::duration")]
    pub shutdown_grace: Duration,
    /// Time that reading another configuration may take; a reload that takes longer is refused.
    #[serde(serialize_with = "written::duration")]
    pub reload_timeout: Duration,
    /// For so many tables of each target the metrics have series of their own; the sums of a target count all.
    pub metrics_tables: usize,
    /// Where pauses, and what holds jobs back, are kept over a restart; absolute. Nothing is kept without.
    #[serde(serialize_with = "written::path")]
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
    #[serde(serialize_with = "written::path")]
    pub certificate: Option<PathBuf>,
    /// Its private key; absolute. Without, the systemd credential `squire-tls-key` has it.
    #[serde(serialize_with = "written::path")]
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

/// One thing to maintain.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name in logs and metrics: 1 to 64 of `a-z`, `0-9`, `_` and `-`; unique.
    pub name: String,
    /// Where it is: an absolute path, or a URI of the scheme `file`, `memory` or `s3`, without credentials.
    pub uri: String,
    /// Whether it is a graph or a directory.
    pub kind: Kind,
    /// What happens to a graph's table whose meaning another program changed.
    pub drift: Drift,
    /// Folders that symbolic links in the target may lead to; absolute.
    pub follow_links: Vec<PathBuf>,
    /// Places beyond the target whose files may be read where a table names them: absolute paths and URIs.
    pub allow_bases: Vec<String>,
    /// The policies of its tables, where no rule says otherwise.
    pub policies: Policies,
    /// What single tables have besides, in the order of the file; later ones win, key by key.
    pub(crate) rules: Vec<Rule>,
    /// What `policies` were made of, so that rules can be laid over it.
    pub(crate) base: RawPolicies,
}

impl Target {
    /// The policies of one table, given by its key (`node:Person`) or, in a directory, by its name.
    pub fn policies_of(&self, table: &str) -> Policies {
        let mut layers = self
            .rules
            .iter()
            .filter(|rule| rule.is_for(table))
            .peekable();
        if layers.peek().is_none() {
            return self.policies.clone();
        }
        let laid = layers.fold(self.base.clone(), |below, rule| rule.policies.or(&below));
        laid.resolve()
    }

    /// Whether a table is left alone altogether: it is not even looked at.
    pub fn ignores(&self, table: &str) -> bool {
        let rules = self.rules.iter().filter(|rule| rule.is_for(table));
        rules
            .filter_map(|rule| rule.ignore)
            .next_back()
            .unwrap_or(false)
    }

    /// Every policy that a table of this target may have: the target's own, and each rule's.
    pub fn all_policies(&self) -> impl Iterator<Item = Policies> {
        let of_rule = |rule: &Rule| rule.policies.or(&self.base).resolve();
        std::iter::once(self.policies.clone()).chain(self.rules.iter().map(of_rule))
    }
}

/// Policies of the tables whose names match a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) pattern: String,
    /// Whether they are left alone altogether.
    pub(crate) ignore: Option<bool>,
    pub(crate) policies: RawPolicies,
}

impl Rule {
    /// Whether it is for a table; the pattern may be of the key or of the bare name.
    fn is_for(&self, table: &str) -> bool {
        let bare = table.split_once(':').map_or(table, |(_, name)| name);
        glob::matches(&self.pattern, table) || glob::matches(&self.pattern, bare)
    }
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Whichever of the two is found there.
    #[default]
    Auto,
    /// Many tables under one manifest.
    Graph,
    /// Plain Lance tables, such as a LanceDB database.
    Directory,
}

/// What happens to a table whose meaning a program changed that knows nothing of Squire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Operations on it are refused until an operator has looked.
    #[default]
    Error,
    /// The change is taken along, as long as the table has the columns that the schema declares.
    Adopt,
}
