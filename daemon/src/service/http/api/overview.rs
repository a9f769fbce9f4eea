//! The daemon as a whole.

use std::sync::atomic::Ordering;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use crate::service::clock;
use crate::service::reload::outcome::ConfigNotes;
use crate::service::status::target::TargetNotes;

/// Who may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Writable {
    /// Whoever shows the daemon's token.
    Token,
    /// Programs on this machine. A page in a browser may change nothing: the daemon has no token that it could show.
    Local,
}

/// The daemon, and all that it keeps.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Overview {
    /// Squire's version.
    pub(crate) version: String,
    /// When this daemon started.
    pub(crate) started: DateTime<Utc>,
    /// What time it is there.
    pub(crate) now: DateTime<Utc>,
    /// The number of the last change of anything: as long as it stays, tables, runs and queues do.
    pub(crate) revision: u64,
    /// Who may change anything.
    pub(crate) writable: Writable,
    /// Jobs that can be at work at once, over all targets.
    pub(crate) places: u64,
    /// Of these, places that are taken.
    pub(crate) taken: u64,
    /// Why the machine's clock is not trusted and nothing is removed; nothing when it is.
    #[serde(default)]
    pub(crate) clock: Option<String>,
    /// How the configuration was loaded.
    pub(crate) configuration: ConfigNotes,
    /// The targets, by name.
    pub(crate) targets: Vec<TargetNotes>,
}

/// The daemon as a whole
///
/// Everything else is asked for when `revision` has moved.
#[utoipa::path(get, path = "/overview", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(api): State<Api>) -> Json<Overview> {
    // What is read later is not older than the revision says.
    let revision = api.board.revision();
    let taken = api.board.load().at_work;
    Json(Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: api.started,
        now: Utc::now(),
        revision,
        writable: api.writable,
        places: api.places.load(Ordering::Relaxed) as u64,
        taken: taken as u64,
        clock: clock::distrust("").map(|distrust| distrust.to_string()),
        configuration: api.record.notes(),
        targets: api.targets(),
    })
}
