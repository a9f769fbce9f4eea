//! Targets, their tables and their queues.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    extract::{Answer, Asked, At, News, Refusal},
    state::Api,
};
use crate::{
    api::{Refused, Status, TableInfo, Tables, TargetInfo, TicketInfo},
    service::clock,
};

impl Api {
    /// All targets, with their schedules; those whose keepers do not get on are stuck.
    pub(super) fn targets(&self) -> Vec<TargetInfo> {
        let beats = self.liveness.all();
        let mut targets = self.status.targets();
        for target in &mut targets {
            let beat = beats.get(&target.name);
            if let Some(beat) = beat.filter(|beat| beat.status == Status::Stuck) {
                (target.status, target.since) = (Status::Stuck.into(), Some(beat.since));
            }
            target.schedules = self.timetable.of(&target.name, clock::now());
        }
        targets
    }
}

/// All targets
#[utoipa::path(get, path = "/targets", responses((status = 200, body = Vec<TargetInfo>)))]
pub(super) async fn targets(State(api): State<Api>) -> Json<Vec<TargetInfo>> {
    Json(api.targets())
}

/// One target
#[utoipa::path(
    get,
    path = "/targets/{target}",
    params(("target" = String, Path, description = "Its name in the configuration")),
    responses(
        (status = 200, body = TargetInfo),
        (status = 400, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn target(State(api): State<Api>, At(target): At<String>) -> Answer<TargetInfo> {
    api.known(&target)?;
    let mut targets = api.targets().into_iter();
    match targets.find(|info| info.name == target) {
        Some(info) => Ok(Json(info)),
        None => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("{target} is kept no more"),
        )),
    }
}

/// The queue of a graph: who waits for whom
///
/// As the keeper saw it at its last look. A directory has none.
#[utoipa::path(
    get,
    path = "/targets/{target}/queue",
    params(("target" = String, Path, description = "Its name in the configuration")),
    responses(
        (status = 200, body = Vec<TicketInfo>),
        (status = 400, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn queue(
    State(api): State<Api>,
    At(target): At<String>,
) -> Answer<Vec<TicketInfo>> {
    api.known(&target)?;
    Ok(Json(api.status.tickets(&target)))
}

/// One table
#[utoipa::path(
    get,
    path = "/targets/{target}/tables/{table}",
    params(
        ("target" = String, Path, description = "Its target's name in the configuration"),
        ("table" = String, Path, description = "Its key, or its bare name where that is unambiguous")
    ),
    responses(
        (status = 200, body = TableInfo),
        (status = 400, body = Refused),
        (status = 404, body = Refused),
        (status = 503, body = Refused, description = "No table is known yet")
    )
)]
pub(super) async fn table(
    State(api): State<Api>,
    At((target, table)): At<(String, String)>,
) -> Answer<TableInfo> {
    api.known(&target)?;
    let key = api.resolve(&target, &table)?;
    api.status.of_table(&target, &key).map(Json).ok_or_else(|| {
        let error = format!("{table} of {target} went just now");
        Refusal(StatusCode::NOT_FOUND, error)
    })
}

/// Tables, with how they are and why
///
/// With `since`, only those that changed or went after that revision.
#[utoipa::path(
    get,
    path = "/tables",
    params(News),
    responses(
        (status = 200, body = Tables),
        (status = 400, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn tables(State(api): State<Api>, Asked(filter): Asked<News>) -> Answer<Tables> {
    let target = filter.target.as_deref();
    target.map_or(Ok(()), |target| api.known(target))?;
    let mut read = api.status.tables(target, filter.since);
    if let Some(table) = &filter.table {
        read.tables.retain(|info| info.table == *table);
        read.gone.retain(|gone| gone.table == *table);
    }
    Ok(Json(read))
}
