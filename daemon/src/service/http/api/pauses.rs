//! What is left alone for a while.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{
    extract::{Answer, Refusal, Said},
    state::Api,
};
use crate::{
    api::{Pause, PauseRequest, Paused, Refused, ResumeRequest},
    service::{clock, pauses::LONGEST},
};

/// Each client reads all of them.
const LONGEST_REASON: usize = 200;
/// The maximum time until a client is answered, whatever the disk does.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// What is paused
#[utoipa::path(get, path = "/pauses", responses((status = 200, body = Paused)))]
pub(super) async fn list(State(api): State<Api>) -> Json<Paused> {
    Json(api.holding(clock::not_ahead()))
}

/// Pauses a target, or a table of it
///
/// No job begins on it; what has begun is finished.
#[utoipa::path(
    post,
    path = "/pauses",
    request_body = PauseRequest,
    responses(
        (status = 200, body = Paused),
        (status = 400, body = Refused),
        (status = 404, body = Refused),
        (status = 503, body = Refused, description = "No table is known yet")
    )
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Said(asked): Said<PauseRequest>,
) -> Answer<Paused> {
    let table = api.about(&asked.target, asked.table.as_deref())?;
    if asked.lasts.is_zero() || asked.lasts > LONGEST.to_std().unwrap_or(Duration::MAX) {
        let most = LONGEST.num_days();
        let error = format!(
            "a pause lasts longer than nothing and {most} days at most; pause again before it ends"
        );
        return Err(Refusal(StatusCode::BAD_REQUEST, error));
    }
    let reason = asked.reason.as_deref().unwrap_or_default();
    if reason.chars().count() > LONGEST_REASON {
        let error = format!("a reason has {LONGEST_REASON} characters at most");
        return Err(Refusal(StatusCode::BAD_REQUEST, error));
    }
    let now = clock::now();
    let pause = Pause {
        target: asked.target.clone(),
        table: table.clone(),
        until: now + asked.lasts,
        reason: asked.reason,
    };
    api.pauses.pause(pause);
    api.keep().await?;
    let running = api.status.jobs(Some(&asked.target), table.as_deref());
    Ok(Json(Paused {
        running,
        ..api.holding(clock::not_ahead())
    }))
}

/// Ends a pause, or all of them
#[utoipa::path(
    delete,
    path = "/pauses",
    request_body = ResumeRequest,
    responses(
        (status = 200, body = Paused),
        (status = 400, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Said(asked): Said<ResumeRequest>,
) -> Answer<Paused> {
    let now = clock::not_ahead();
    let (was, what) = match (asked.target, asked.table) {
        (Some(target), table) => api.resume_one(target, table, now)?,
        (None, Some(_)) => {
            let error = "a table is of a target: name both, or neither to resume all".to_owned();
            return Err(Refusal(StatusCode::BAD_REQUEST, error));
        }
        (None, None) => (api.pauses.resume_all(), "anything".to_owned()),
    };
    if was {
        api.keep().await?;
        return Ok(Json(api.holding(now)));
    }
    let error = format!("{what} is not paused; `squire pauses` lists what is");
    Err(Refusal(StatusCode::NOT_FOUND, error))
}

impl Api {
    fn holding(&self, now: DateTime<Utc>) -> Paused {
        Paused {
            pauses: self.pauses.active(now),
            unreadable: self.pauses.unreadable(),
            kept: self.pauses.is_kept(),
            not_kept: self.pauses.not_kept(),
            running: Vec::new(),
        }
    }

    /// Ends the pause of a target or a table; whether there was one, and of what.
    fn resume_one(
        &self,
        target: String,
        table: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(bool, String), Refusal> {
        if let Some(why) = self.pauses.unreadable() {
            let error = format!(
                "every target is paused, as the pauses cannot be read ({why}): fix the file and restart the daemon, or resume all with `squire resume`"
            );
            return Err(Refusal(StatusCode::CONFLICT, error));
        }
        // A target that is gone may be paused still, and a table by its whole key.
        let mut paused = self.pauses.active(now);
        paused.retain(|pause| pause.target == target);
        if paused.is_empty() {
            self.known(&target)?;
        }
        let paused: Vec<_> = paused.into_iter().filter_map(|pause| pause.table).collect();
        let key = match &table {
            Some(table) if !paused.contains(table) => Some(self.resolve(&target, table)?),
            table => table.clone(),
        };
        let was = self.pauses.resume(&target, key.as_deref());
        Ok((was, table.unwrap_or(target)))
    }

    /// Brings what was paused or resumed to the disk, where nothing else waits for it. A disk that does not answer is
    /// waited for only so long: what it takes later, [`PauseRegistry`](crate::service::pauses::PauseRegistry) knows.
    async fn keep(&self) -> Result<(), Refusal> {
        let book = self.pauses.clone();
        let kept = tokio::task::spawn_blocking(move || book.keep());
        match timeout(DISK_PATIENCE, kept).await {
            Ok(Err(e)) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use squire_engine::{planner::Duty, progress::Progress};

    use super::*;
    use crate::{
        api::JobOutcome,
        service::{
            http::api::extract::{read, tests::api},
            status::Begun,
        },
    };

    #[tokio::test]
    async fn a_pause_tells_of_the_jobs_that_are_at_work_on_what_it_is_about() {
        let api = api();
        let begun = Begun {
            duty: Duty::Index,
            reason: "unindexed".to_owned(),
            forced: false,
            progress: Progress::default(),
        };
        api.status.began("graph", "node:Person", begun);
        let paused = async |what: &str| {
            let body = format!("{{\"target\": \"graph\", {what}\"for\": \"1h\"}}");
            let asked = read(body.as_bytes()).expect("it is a request");
            let answer = pause(State(api.clone()), Said(asked)).await;
            let running = answer.expect("it is paused").0.running.into_iter();
            running
                .map(|job| (job.table, job.duty.as_str().to_owned()))
                .collect::<Vec<_>>()
        };
        let job = ("node:Person".to_owned(), "index".to_owned());
        assert_eq!(
            paused("\"table\": \"Person\", ").await,
            std::slice::from_ref(&job)
        );
        assert!(paused("\"table\": \"Knows\", ").await.is_empty());
        assert_eq!(paused("").await, [job]);
        api.status
            .ended("graph", "node:Person", JobOutcome::Done, None);
        assert!(paused("").await.is_empty());
    }
}
