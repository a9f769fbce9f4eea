//! How the configuration was loaded.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the configuration was loaded: at the start, or by a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Loaded {
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// Why it was refused, with the place and the remedy; the one before stays in force. Nothing when it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What it changed, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<String>,
    /// The keys that it changes and that only a restart brings into force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for_restart: Vec<String>,
}

/// The configuration of a running daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ConfigInfo {
    /// Since when what holds has been in force.
    pub(crate) in_force_since: DateTime<Utc>,
    /// The last attempt to load it.
    pub(crate) last: Loaded,
}
