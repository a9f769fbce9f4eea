//! Pauses: requests to set and end one, and those that hold.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::jobs::JobInfo;

/// A pause with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Pause {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key; nothing for the whole target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// When it ends.
    pub(crate) until: DateTime<Utc>,
    /// Why, as the request has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A request to pause a target, or a table of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseRequest {
    /// The target's name.
    pub(crate) target: String,
    /// The table's key; nothing for the whole target.
    #[serde(default)]
    pub(crate) table: Option<String>,
    /// For how long: `2h`.
    #[serde(rename = "for", with = "humantime_text")]
    #[schema(value_type = String, example = "2h")]
    pub(crate) lasts: Duration,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// A request to end a pause, or all of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeRequest {
    /// The target's name; nothing for all that is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// The table's key; nothing for the whole target.
    #[serde(default)]
    pub(crate) table: Option<String>,
}

/// The pauses that hold.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Paused {
    /// The pauses that have not ended.
    pub(crate) pauses: Vec<Pause>,
    /// Why everything is paused, whatever the list says: the pauses that the last daemon left cannot be read. To resume all
    /// ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
    /// Whether a restart of the daemon remembers exactly these.
    pub(crate) kept: bool,
    /// Why it does not, although there is a folder for them. It is tried again on every tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_kept: Option<String>,
    /// After a pause: the jobs that were running on what it is about. They are finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) running: Vec<JobInfo>,
}

/// Durations as texts.
mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(lasts: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*lasts))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}
