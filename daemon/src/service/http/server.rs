//! Serves everything over HTTP; the metrics and the probes.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    access::{authorization::Trust, listener::Listener, rejections::Refusals},
    api::{self, Api},
    page,
};
use crate::service::{
    clock,
    health::{Health, Probe},
    metrics::Metrics,
    pauses::PauseRegistry,
};

/// What `/healthz` answers.
#[derive(Serialize)]
struct HealthAnswer {
    #[serde(flatten)]
    health: Health,
    /// Why everything is paused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pauses: Option<String>,
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    probe: Probe,
    pauses: Arc<PauseRegistry>,
}

/// Serves until `stop`.
pub(in crate::service) async fn serve(
    tcp: TcpListener,
    listener: Arc<Listener>,
    metrics: Arc<Metrics>,
    probe: Probe,
    api: Api,
    stop: CancellationToken,
) {
    let refusals = match Refusals::new(metrics.registry()) {
        Ok(refusals) => refusals,
        Err(e) => {
            tracing::error!(error = %e, "the HTTP server cannot start");
            return;
        }
    };
    let shared = Shared {
        metrics,
        probe,
        pauses: api.pauses.clone(),
    };
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .route("/livez", get(show_live))
        .route("/readyz", get(show_ready))
        .with_state(shared)
        .merge(api::router(api))
        .merge(page::router());
    if let Err(e) = listener.serve(tcp, router, refusals, stop).await {
        tracing::error!(error = %e, "the HTTP server stopped");
    }
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let now = clock::not_ahead();
    match shared
        .metrics
        .scrape(&shared.pauses, &shared.probe.status, now)
    {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// How the daemon is. Clients without the token do not learn what it maintains.
async fn show_health(
    State(shared): State<Shared>,
    Extension(standing): Extension<Trust>,
) -> Response {
    let code = code(shared.probe.is_live());
    let health = shared.probe.health();
    let pauses = shared.pauses.unreadable();
    let pauses =
        pauses.map(|why| format!("every target is paused: the pauses cannot be read ({why})"));
    match standing {
        Trust::Full => (code, Json(HealthAnswer { health, pauses })).into_response(),
        Trust::Public => code.into_response(),
    }
}

/// Whether the process gets on: an orchestrator may end one that does not.
async fn show_live(State(shared): State<Shared>) -> StatusCode {
    code(shared.probe.is_live())
}

/// Whether it can do work.
async fn show_ready(State(shared): State<Shared>) -> StatusCode {
    code(shared.probe.is_live() && shared.probe.is_ready())
}

fn code(well: bool) -> StatusCode {
    if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
