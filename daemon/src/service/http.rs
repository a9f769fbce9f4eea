//! `/metrics` for Prometheus and `/healthz` for whoever asks whether the daemon works.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use squire_config::Settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// A keeper that has not looked for so many ticks is stuck, or its store is.
const MISSED_TICKS: u32 = 6;
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// When each keeper last looked at its target, and what it found.
#[derive(Debug)]
pub(super) struct Pulse {
    patience: Duration,
    targets: Mutex<BTreeMap<String, Look>>,
}

#[derive(Clone, Debug)]
struct Look {
    last: Instant,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    targets: BTreeMap<String, TargetHealth>,
}

#[derive(Debug, Serialize)]
struct TargetHealth {
    status: &'static str,
    seconds_since_look: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Pulse {
    pub(super) fn new(settings: &Settings) -> Self {
        let look = Look {
            last: Instant::now(),
            error: None,
        };
        let targets = settings
            .targets
            .iter()
            .map(|t| (t.name.clone(), look.clone()));
        Self {
            patience: (settings.daemon.tick * MISSED_TICKS).max(LEAST_PATIENCE),
            targets: Mutex::new(targets.collect()),
        }
    }

    /// Notes that a keeper has looked at its target.
    pub(super) fn looked(&self, target: &str, error: Option<String>) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let look = Look {
            last: Instant::now(),
            error,
        };
        targets.insert(target.to_owned(), look);
    }

    fn health(&self) -> Health {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let targets: BTreeMap<_, _> = targets
            .iter()
            .map(|(name, look)| {
                let since = look.last.elapsed();
                let status = if since > self.patience {
                    "stuck"
                } else if look.error.is_some() {
                    "failing"
                } else {
                    "ok"
                };
                let health = TargetHealth {
                    status,
                    seconds_since_look: since.as_secs(),
                    error: look.error.clone(),
                };
                (name.clone(), health)
            })
            .collect();
        // A failing target is its own trouble; a stuck keeper is the daemon's.
        let stuck = targets.values().any(|t| t.status == "stuck");
        Health {
            status: if stuck { "stuck" } else { "ok" },
            targets,
        }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
}

/// Serves until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .with_state(Shared { metrics, pulse });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(e) = served.await {
        tracing::error!(error = %e, "the HTTP server stopped");
    }
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

async fn show_health(State(shared): State<Shared>) -> Response {
    let health = shared.pulse.health();
    let code = if health.status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(health)).into_response()
}
