//! The daemon as a whole.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{configuration::ConfigInfo, target::TargetInfo, word::Word};

/// Who may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Writable {
    /// Clients that send the daemon's token.
    Token,
    /// Programs on this machine. A page in a browser may change nothing: the daemon has no token that it could send.
    Local,
}

/// The daemon, and all that it keeps.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Overview {
    /// Squire's version.
    #[serde(default)]
    pub(crate) version: String,
    /// When this daemon started.
    pub(crate) started: DateTime<Utc>,
    /// What time it is there.
    #[serde(default)]
    pub(crate) now: DateTime<Utc>,
    /// The number of the last change of anything: as long as it stays, tables, runs and queues do.
    pub(crate) revision: u64,
    /// Who may change anything.
    #[serde(default)]
    #[schema(value_type = Writable)]
    pub(crate) writable: Word<Writable>,
    /// Jobs that can run at once, over all targets.
    #[serde(default)]
    pub(crate) places: u64,
    /// Jobs that run.
    #[serde(default)]
    pub(crate) taken: u64,
    /// Why the machine's clock is not trusted and nothing is removed; nothing when it is.
    #[serde(default)]
    pub(crate) clock: Option<String>,
    /// How the configuration was loaded.
    #[serde(default)]
    pub(crate) configuration: ConfigInfo,
    /// The targets, by name.
    pub(crate) targets: Vec<TargetInfo>,
}
