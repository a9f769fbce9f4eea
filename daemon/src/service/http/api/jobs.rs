//! Jobs: those running, those that ended, and calls for more.

use axum::{Json, extract::State, http::StatusCode};
use squire_engine::planner::Duty;

use super::{
    extract::{Asked, Last, Refusal, Said, Which},
    state::Api,
};
use crate::{
    api::{JobInfo, Refused, RunAccepted, RunInfo, RunRequest},
    service::{clock, schedule::triggers::Trigger},
};

/// Number of runs in an answer, by default.
const RUNS: usize = 200;

/// Jobs that are running, those that began first first
#[utoipa::path(
    get,
    path = "/running",
    params(Which),
    responses(
        (status = 200, body = Vec<JobInfo>),
        (status = 400, body = Refused)
    )
)]
pub(super) async fn running(
    State(api): State<Api>,
    Asked(which): Asked<Which>,
) -> Json<Vec<JobInfo>> {
    let (target, table) = (which.target.as_deref(), which.table.as_deref());
    Json(api.status.jobs(target, table))
}

/// Jobs that have ended, the last first
///
/// The daemon remembers 200 of each target. With `since`, only those that ended, or whose tables were looked at, after
/// that revision.
#[utoipa::path(
    get,
    path = "/runs",
    params(Last),
    responses((status = 200, body = Vec<RunInfo>), (status = 400, body = Refused))
)]
pub(super) async fn runs(State(api): State<Api>, Asked(filter): Asked<Last>) -> Json<Vec<RunInfo>> {
    Json(api.status.runs(
        filter.target.as_deref(),
        filter.table.as_deref(),
        filter.since,
        filter.limit.unwrap_or(RUNS),
    ))
}

/// Calls for a duty now
///
/// Thresholds are left aside. Windows, budgets, rests and the interval floor still hold it back, and it begins when they
/// are over.
#[utoipa::path(
    post,
    path = "/runs",
    request_body = RunRequest,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Refused),
        (status = 404, body = Refused),
        (status = 409, body = Refused, description = "It is paused, or the policy switches it off"),
        (status = 503, body = Refused, description = "No table is known yet")
    )
)]
pub(super) async fn call(
    State(api): State<Api>,
    Said(asked): Said<RunRequest>,
) -> Result<(StatusCode, Json<RunAccepted>), Refusal> {
    let target = asked.target;
    let table = api.about(&target, asked.table.as_deref())?;
    let what = table.as_deref().unwrap_or(&target);
    if let Some(why) = api.pauses.unreadable() {
        let error = format!(
            "every target is paused, as the pauses cannot be read ({why}): resume all first"
        );
        return Err(Refusal(StatusCode::CONFLICT, error));
    }
    let until = api
        .pauses
        .until(&target, table.as_deref().unwrap_or(""), clock::not_ahead());
    if let Some(until) = until {
        let error = format!("{what} is paused until {until}: resume it first");
        return Err(Refusal(StatusCode::CONFLICT, error));
    }
    let wanted = Duty::ALL.into_iter();
    let wanted = wanted.filter(|duty| asked.duty.is_none_or(|asked| asked == *duty));
    let duties: Vec<_> = wanted
        .filter(|duty| api.is_enabled(&target, table.as_deref(), *duty))
        .collect();
    let Some(triggers) = api.triggers.of(&target).filter(|_| !duties.is_empty()) else {
        let duty = asked.duty.map_or("every duty", Duty::as_str);
        let error = format!("the policy of {what} switches {duty} off: set `enabled = true`");
        return Err(Refusal(StatusCode::CONFLICT, error));
    };
    for duty in &duties {
        triggers.request(Trigger::User(*duty, table.clone()));
    }
    let tables = match table {
        Some(_) => 1,
        None => api.status.keys(&target).len() as u64,
    };
    let duties = duties.into_iter().map(Into::into).collect();
    Ok((StatusCode::ACCEPTED, Json(RunAccepted { duties, tables })))
}

impl Api {
    /// Whether a policy leaves the duty on, for one of these tables at least; also where nothing was decided yet.
    fn is_enabled(&self, target: &str, table: Option<&str>, duty: Duty) -> bool {
        let decisions = self.status.decisions(target, table, duty);
        let on = |reason: &Option<String>| reason.as_deref() != Some("disabled");
        decisions.is_empty() || decisions.iter().any(on)
    }
}

#[cfg(test)]
mod tests {
    use squire_engine::planner::{Decision, Skip};

    use super::*;
    use crate::{
        api::Pause,
        service::{
            http::api::extract::{read, tests::api},
            status::Decided,
        },
    };

    async fn called(api: &Api, body: &str) -> Result<RunAccepted, StatusCode> {
        let answer = async {
            let asked = Said(read(body.as_bytes())?);
            call(State(api.clone()), asked).await
        };
        let answer = answer.await.map(|(_, called)| called.0);
        answer.map_err(|refusal| refusal.0)
    }

    #[tokio::test]
    async fn a_user_asks_for_a_duty_of_a_table_and_the_keeper_gets_it() {
        let api = api();
        let asked = r#"{"target": "graph", "table": "Person", "duty": "index"}"#;
        assert_eq!(called(&api, asked).await.unwrap().tables, 1);
        let person = Trigger::User(Duty::Index, Some("node:Person".to_owned()));
        let triggers = api.triggers.of("graph").unwrap();
        assert_eq!(triggers.take(true), [person].into());
        let everything = called(&api, r#"{"target": "graph"}"#).await.unwrap();
        assert_eq!((everything.tables, everything.duties.len()), (4, 3));
    }

    #[tokio::test]
    async fn what_is_paused_switched_off_or_not_there_is_not_called_for() {
        let api = api();
        for (asked, code) in [
            (r#"{"target": "grahp"}"#, StatusCode::NOT_FOUND),
            (
                r#"{"target": "graph", "table": "x"}"#,
                StatusCode::NOT_FOUND,
            ),
            (
                r#"{"target": "graph", "duty": "x"}"#,
                StatusCode::BAD_REQUEST,
            ),
        ] {
            assert_eq!(called(&api, asked).await.unwrap_err(), code, "{asked}");
        }
        let off = Decided {
            decision: Decision::Skip(Skip::Disabled),
            details: &[],
            ended_ago: None,
            wait: std::time::Duration::ZERO,
            not_before: None,
        };
        api.status
            .decided("graph", "edge:Knows", Duty::Cleanup, off);
        let asked = r#"{"target": "graph", "table": "Knows", "duty": "cleanup"}"#;
        assert_eq!(called(&api, asked).await.unwrap_err(), StatusCode::CONFLICT);
        let pause = Pause {
            target: "graph".to_owned(),
            table: Some("node:Person".to_owned()),
            until: chrono::Utc::now() + chrono::TimeDelta::hours(1),
            reason: None,
        };
        api.pauses.pause(pause);
        let asked = r#"{"target": "graph", "table": "Person"}"#;
        assert_eq!(called(&api, asked).await.unwrap_err(), StatusCode::CONFLICT);
        let triggers = api.triggers.of("graph").unwrap();
        assert!(triggers.take(true).is_empty());
    }
}
