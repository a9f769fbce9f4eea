//! `/api/v1`: what a person asks of a running daemon, as JSON. Who may ask is [`guard`](super::access::authorization)'s to say.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | the routes, and their description in OpenAPI |
//! | `answers` | refusals, and how requests are read |
//! | `overview` | the daemon as a whole |
//! | `targets` | targets, tables and queues |
//! | `jobs` | jobs at work, those that ended, and calls for more |
//! | `pauses` | what is left alone for a while |
//!
//! Whoever follows the daemon asks again and again with the revision that the last answer had: `since`.

mod extract;
mod jobs;
mod overview;
mod pauses;
mod targets;

use std::sync::{Arc, atomic::AtomicUsize};

use axum::{Json, Router, routing::get};
use chrono::{DateTime, Utc};
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::{
    extract::Refused,
    jobs::{CallRequest, Called},
    overview::Writable,
    pauses::{PauseRequest, Paused, ResumeRequest},
};
use super::{super::pauses::PauseBook, access::authorization};
use crate::service::{
    liveness::Pulse,
    reload::outcome::Record,
    schedule::{timetable::Timetable, triggers::ForceBook},
    status::Board,
};

/// What the handlers share.
#[derive(Clone)]
pub(in crate::service) struct Api {
    pub(in crate::service) pauses: Arc<PauseBook>,
    pub(in crate::service) board: Arc<Board>,
    pub(in crate::service) forces: Arc<ForceBook>,
    pub(in crate::service) timetable: Arc<Timetable>,
    pub(in crate::service) pulse: Arc<Pulse>,
    /// How many places for jobs there are.
    pub(in crate::service) places: Arc<AtomicUsize>,
    /// How the configuration was loaded.
    pub(in crate::service) record: Arc<Record>,
    pub(in crate::service) writable: Writable,
    pub(in crate::service) started: DateTime<Utc>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Squire",
        description = "What a running daemon knows and does, and what may be asked of it."
    ),
    modifiers(&Token),
    security((), ("token" = []))
)]
struct Described;

/// How whoever asks proves himself.
struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The daemon's SQUIRE_TOKEN, where it has one."))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// What the guard may answer to an operation, before anybody else sees the request.
fn describe_guard(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    for (code, told) in authorization::answers(has_body) {
        let refused = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Refused")))
            .build();
        let response = ResponseBuilder::new()
            .description(told)
            .content("application/json", refused)
            .build();
        let all = &mut operation.responses.responses;
        all.entry(code.as_str().to_owned())
            .or_insert_with(|| response.into());
    }
}

fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::new()
        .routes(routes!(overview::overview))
        .routes(routes!(targets::targets))
        .routes(routes!(targets::target))
        .routes(routes!(targets::queue))
        .routes(routes!(targets::table))
        .routes(routes!(targets::tables))
        .routes(routes!(jobs::running))
        .routes(routes!(jobs::runs, jobs::call))
        .routes(routes!(pauses::list, pauses::pause, pauses::resume))
        .fallback(extract::nowhere);
    let (router, mut description) = OpenApiRouter::with_openapi(Described::openapi())
        .nest("/api/v1", routes)
        .split_for_parts();
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(describe_guard);
    }
    (router, description)
}

/// The routes, with their description at `openapi.json`.
pub(super) fn router(api: Api) -> Router {
    let (router, description) = described();
    let description = Arc::new(description);
    let describe = get(async move || Json(description.as_ref().clone()));
    router
        .route("/api/v1/openapi.json", describe)
        .method_not_allowed_fallback(extract::not_so)
        .with_state(api)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the manual says there is, from the rows of its table.
    fn written() -> BTreeSet<(String, String)> {
        // Tests run in their package's folder.
        let text = std::fs::read_to_string("../docs/api.md").expect("the API has a manual");
        let rows = text.lines().filter_map(|line| {
            let row = line.strip_prefix("| `")?;
            let (asked, _) = row.split_once('`')?;
            let (method, path) = asked.split_once(" /api/v1/")?;
            Some((method.to_owned(), format!("/api/v1/{path}")))
        });
        rows.collect()
    }

    #[test]
    fn every_operation_is_described_with_what_the_guard_may_answer() {
        let (_, description) = described();
        for (path, item) in &description.paths.paths {
            let operations = [&item.get, &item.post, &item.delete];
            for operation in operations.into_iter().flatten() {
                let codes = &operation.responses.responses;
                let expected = if operation.request_body.is_some() {
                    &["401", "403", "408", "413", "415"][..]
                } else {
                    &["401", "403", "408"]
                };
                for code in expected {
                    assert!(codes.contains_key(*code), "{path}: {code}");
                }
            }
        }
    }

    #[test]
    fn the_manual_lists_every_route_and_no_other() {
        let (_, description) = described();
        let described = serde_json::to_value(description).expect("it is JSON");
        let paths = described["paths"].as_object().expect("there are paths");
        let routes = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("each has methods").keys();
            let path = path.clone();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        });
        let mut routes: BTreeSet<_> = routes.collect();
        routes.insert(("GET".to_owned(), "/api/v1/openapi.json".to_owned()));
        assert_eq!(written(), routes);
    }
}
