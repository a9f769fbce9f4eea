//! The daemon as a whole.

use std::sync::atomic::Ordering;

use axum::{Json, extract::State};
use chrono::Utc;

use super::state::Api;
use crate::{api::Overview, service::clock};

/// The daemon as a whole
///
/// Everything else is asked for when `revision` has moved.
#[utoipa::path(get, path = "/overview", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(api): State<Api>) -> Json<Overview> {
    // What is read later is not older than the revision says.
    let revision = api.status.revision();
    let taken = api.status.load().at_work;
    Json(Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: api.started,
        now: Utc::now(),
        revision,
        writable: api.writable.into(),
        places: api.places.load(Ordering::Relaxed) as u64,
        taken: taken as u64,
        clock: clock::distrust("").map(|distrust| distrust.to_string()),
        configuration: api.record.info(),
        targets: api.targets(),
    })
}
