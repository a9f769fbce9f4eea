//! Refusals, and how requests are read.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::state::Api;
use crate::api::Refused;

/// A refusal, with its code.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(code, error) = self;
        (code, Json(Refused { error })).into_response()
    }
}

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// Which of them are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those of this target.
    pub(super) target: Option<String>,
    /// Only those of this table, by its key.
    pub(super) table: Option<String>,
}

/// Which of them are asked for, by a client that follows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct News {
    /// Only those of this target.
    pub(super) target: Option<String>,
    /// Only those of this table, by its key.
    pub(super) table: Option<String>,
    /// Only what changed after this revision, which an earlier answer had.
    pub(super) since: Option<u64>,
}

/// Which of those that ended are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Last {
    /// Only those of this target.
    pub(super) target: Option<String>,
    /// Only those of this table, by its key.
    pub(super) table: Option<String>,
    /// Only what changed after this revision, which an earlier answer had.
    pub(super) since: Option<u64>,
    /// Maximum number, the last ones.
    pub(super) limit: Option<usize>,
}

/// What a query says.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(e) => Err(Refusal(e.status(), e.body_text())),
        }
    }
}

/// What a path says.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(at)) => Ok(Self(at)),
            Err(e) => Err(Refusal(e.status(), e.body_text())),
        }
    }
}

/// What a body says.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Bytes::from_request(request, state).await {
            Ok(body) => read(&body).map(Self),
            Err(e) => Err(Refusal(e.status(), e.body_text())),
        }
    }
}

/// What a body says.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| {
        let error = format!("the request cannot be read: {e}");
        Refusal(StatusCode::BAD_REQUEST, error)
    })
}

pub(super) async fn nowhere() -> Refusal {
    let error = "there is nothing here: GET /api/v1/openapi.json describes what there is";
    Refusal(StatusCode::NOT_FOUND, error.to_owned())
}

pub(super) async fn not_so() -> Refusal {
    let error = "it takes no such method: GET /api/v1/openapi.json describes what it takes";
    Refusal(StatusCode::METHOD_NOT_ALLOWED, error.to_owned())
}

impl Api {
    /// The key of the table that a request is about, if it is about one, of a target that is kept.
    pub(super) fn about(
        &self,
        target: &str,
        table: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        self.known(target)?;
        table.map(|table| self.resolve(target, table)).transpose()
    }

    /// Refuses a target that is not kept.
    pub(super) fn known(&self, target: &str) -> Result<(), Refusal> {
        if self.status.has(target) {
            return Ok(());
        }
        let there: Vec<_> = self.status.targets().into_iter().map(|t| t.name).collect();
        let there = there.join(", ");
        let error = format!("there is no target {target}; there are {there}");
        Err(Refusal(StatusCode::NOT_FOUND, error))
    }

    /// The key of a table of a target: as it is, or by its bare name where that is unambiguous.
    pub(super) fn resolve(&self, target: &str, table: &str) -> Result<String, Refusal> {
        let known = self.status.keys(target);
        if known.iter().any(|key| key == table) {
            return Ok(table.to_owned());
        }
        let bare = |key: &&String| key.split_once(':').is_some_and(|(_, name)| name == table);
        let named: Vec<_> = known.iter().filter(bare).collect();
        match &named[..] {
            [key] => Ok((*key).clone()),
            [] if known.is_empty() => Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "no table of {target} is known yet: try again after the first look at it, or pause the whole target"
                ),
            )),
            [] => Err(Refusal(
                StatusCode::NOT_FOUND,
                format!(
                    "{target} has no table {table}: `squire explain {target}` lists what there is"
                ),
            )),
            several => {
                let several: Vec<_> = several.iter().map(|key| key.as_str()).collect();
                let error = format!("{table} may be {}: write which", several.join(" or "));
                Err(Refusal(StatusCode::NOT_FOUND, error))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use chrono::Utc;
    use squire_engine::{TableStats, planner::Policy};

    use super::*;
    use crate::{
        api::Writable,
        service::{
            liveness::Liveness, pauses::PauseRegistry, reload::Record,
            schedule::triggers::TriggerBook, status::StatusStore,
        },
    };

    pub(crate) fn api() -> Api {
        let status = StatusStore::new(Utc::now());
        let triggers = TriggerBook::default();
        for target in ["graph", "later"] {
            status.expect(target, "/data");
            triggers.open(target);
        }
        for key in ["node:Person", "edge:Knows", "node:Same", "edge:Same"] {
            status.table("graph", key, &TableStats::default(), &Policy::default());
        }
        Api {
            pauses: Arc::new(PauseRegistry::open(None).expect("nothing is kept")),
            status: Arc::new(status),
            triggers: Arc::new(triggers),
            timetable: Arc::default(),
            liveness: Arc::new(Liveness::default()),
            places: Arc::new(AtomicUsize::new(2)),
            record: Arc::new(Record::start()),
            writable: Writable::Local,
            started: Utc::now(),
        }
    }

    #[test]
    fn a_table_is_known_by_its_key_or_its_bare_name() {
        let api = api();
        let resolved = |table| api.resolve("graph", table).map_err(|refusal| refusal.0);
        for table in ["node:Person", "Person"] {
            assert_eq!(resolved(table), Ok("node:Person".to_owned()));
        }
        for table in ["Same", "Persons", "edge:Person"] {
            assert_eq!(resolved(table), Err(StatusCode::NOT_FOUND), "{table}");
        }
        let early = api.resolve("later", "Person").map_err(|refusal| refusal.0);
        assert_eq!(early, Err(StatusCode::SERVICE_UNAVAILABLE));
    }
}
