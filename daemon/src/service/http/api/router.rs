//! The routes, and their description in OpenAPI.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Components, ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::Operation,
        schema::Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{extract, jobs, overview, pauses, state::Api, targets};
use crate::{
    api::{
        ConfigInfo, DutyInfo, GoneTable, HealthCounts, JobInfo, Layout, Loaded, Overview, Pause,
        Paused, RunAccepted, RunInfo, ScheduleInfo, Series, TableInfo, Tables, TargetInfo,
        TicketInfo,
    },
    service::http::access::authorization,
};

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

/// How a client authenticates.
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

/// What the guard may answer to an operation, before any handler sees the request.
fn describe_guard(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    for (code, text) in authorization::answers(has_body) {
        let refused = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Refused")))
            .build();
        let response = ResponseBuilder::new()
            .description(text)
            .content("application/json", refused)
            .build();
        let all = &mut operation.responses.responses;
        all.entry(code.as_str().to_owned())
            .or_insert_with(|| response.into());
    }
}

/// Marks the fields as required that every answer of this version has. The types default what is missing, for clients of
/// daemons of another version, so their derived description calls all of it optional.
fn require_what_is_sent(components: &mut Components) {
    fn require<T: Default + Serialize + ToSchema>(components: &mut Components) {
        let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&*T::name()) else {
            return;
        };
        let Ok(Value::Object(sent)) = serde_json::to_value(T::default()) else {
            return;
        };
        let sent = sent.into_iter().filter(|(_, value)| !value.is_null());
        object.required = sent.map(|(field, _)| field).collect();
    }
    for require in [
        require::<ConfigInfo>,
        require::<DutyInfo>,
        require::<GoneTable>,
        require::<HealthCounts>,
        require::<JobInfo>,
        require::<Layout>,
        require::<Loaded>,
        require::<Overview>,
        require::<Pause>,
        require::<Paused>,
        require::<RunAccepted>,
        require::<RunInfo>,
        require::<ScheduleInfo>,
        require::<Series>,
        require::<TableInfo>,
        require::<Tables>,
        require::<TargetInfo>,
        require::<TicketInfo>,
    ] {
        require(components);
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
    require_what_is_sent(description.components.get_or_insert_default());
    (router, description)
}

/// The routes, with their description at `openapi.json`.
pub(in crate::service::http) fn router(api: Api) -> Router {
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
    fn what_every_answer_has_is_described_as_required_and_what_may_be_missing_is_not() {
        let (_, description) = described();
        let described = serde_json::to_value(description).expect("it is JSON");
        let required = |of: &str| described["components"]["schemas"][of]["required"].to_string();
        assert!(required("TableInfo").contains("\"rows\""));
        assert!(!required("TableInfo").contains("\"versions\""));
        assert_eq!(required("Pause"), "[\"target\",\"until\"]");
        assert_eq!(required("PauseRequest"), "[\"target\",\"for\"]");
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
