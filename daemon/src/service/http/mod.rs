//! What the daemon answers over HTTP: `/metrics` for Prometheus, `/healthz` for whoever asks whether the daemon works, and
//! [`api`] for a person.
//!
//! | room | what is in it |
//! |---|---|
//! | [`door`] | token, certificate and limits; takes connections |
//! | [`guard`] | who may ask for what |
//! | [`refusals`] | what was not answered, counted and told |
//! | [`patient`] | connections whose other side does not read |
//! | [`tls`] | the certificate |
//! | [`api`] | `/api/v1` |
//! | [`page`] | the status page |

pub(crate) mod api;
pub(crate) mod door;
mod guard;
mod page;
mod patient;
mod refusals;
mod tls;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{api::Api, door::Door, guard::Standing, refusals::Refusals};
use super::{clock, metrics::Metrics, pauses::PauseBook, pulse::Pulse};

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    pauses: Arc<PauseBook>,
}

/// Serves until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
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
        pulse,
        pauses: api.pauses.clone(),
    };
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .with_state(shared)
        .merge(api::router(api))
        .merge(page::router());
    if let Err(e) = door.serve(listener, router, refusals, stop).await {
        tracing::error!(error = %e, "the HTTP server stopped");
    }
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let now = clock::not_ahead();
    match shared.metrics.scrape(&shared.pauses.active(now), now) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// Strangers are not told what is kept here.
async fn show_health(
    State(shared): State<Shared>,
    Extension(standing): Extension<Standing>,
) -> Response {
    let health = shared.pulse.health();
    let code = if health.is_well() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match standing {
        Standing::Trusted => (code, Json(health)).into_response(),
        Standing::Stranger => code.into_response(),
    }
}
