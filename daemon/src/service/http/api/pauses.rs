//! What is left alone for a while.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    Api,
    extract::{Answer, Refusal, Refused, Said},
};
use crate::service::{
    clock,
    pauses::{LONGEST, Noted},
    status::jobs::JobNotes,
};

/// Everybody who looks reads all of them.
const LONGEST_REASON: usize = 200;
/// Whoever asks is answered after so long, whatever the disk does.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
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

/// What is to go on.
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

/// What holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Paused {
    /// The pauses that have not ended.
    pub(crate) pauses: Vec<Noted>,
    /// Why everything is paused, whatever the list says: the pauses that the last daemon left cannot be read. To resume all
    /// ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
    /// Whether a restart of the daemon remembers exactly these.
    pub(crate) kept: bool,
    /// Why it does not, although there is a folder for them. It is tried again on every tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_kept: Option<String>,
    /// After a pause: the jobs that were at work on what it is about. They are finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) running: Vec<JobNotes>,
}

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
    let pause = Noted {
        target: asked.target.clone(),
        table: table.clone(),
        until: now + asked.lasts,
        reason: asked.reason,
    };
    api.pauses.pause(pause);
    api.keep().await?;
    let running = api.board.jobs(Some(&asked.target), table.as_deref());
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
                "every target is paused, as the pauses cannot be read ({why}): mend the file and restart the daemon, or resume all with `squire resume`"
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

    /// Brings what was paused or resumed to the disk, where nobody else waits for it. A disk that does not answer is waited
    /// for only so long: what it takes later, [`PauseBook`](crate::service::pauses::PauseBook) knows.
    async fn keep(&self) -> Result<(), Refusal> {
        let book = self.pauses.clone();
        let kept = tokio::task::spawn_blocking(move || book.keep());
        match timeout(DISK_PATIENCE, kept).await {
            Ok(Err(e)) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
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

#[cfg(test)]
mod tests {
    use squire_engine::{planner::Duty, progress::Progress};

    use super::*;
    use crate::service::http::api::extract::{read, tests::api};
    use crate::service::status::{jobs::Begun, words::Ending};

    #[tokio::test]
    async fn a_pause_tells_of_the_jobs_that_are_at_work_on_what_it_is_about() {
        let api = api();
        let begun = Begun {
            duty: Duty::Index.into(),
            reason: "unindexed".to_owned(),
            forced: false,
            progress: Progress::default(),
        };
        api.board.began("graph", "node:Person", begun);
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
        api.board.ended("graph", "node:Person", Ending::Done, None);
        assert!(paused("").await.is_empty());
    }
}
