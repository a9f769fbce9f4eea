//! The daemon: `squire run`.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | start, and an orderly stop |
//! | [`keeper`] | one per target: looks, decides, runs jobs |
//! | [`upkeep`] | beside each keeper: heals, adopts drift |
//! | [`schedule`] | cron schedules that force a look |
//! | [`metrics`] | what Prometheus sees |
//! | [`http`] | `/metrics` and `/healthz` |

mod http;
mod keeper;
mod metrics;
mod schedule;
mod upkeep;

use std::{path::Path, sync::Arc, time::Instant};

use squire_config::Settings;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{exit::Failure, logging};
use keeper::Keeper;
use metrics::Metrics;

/// What only the daemon can tell about a configuration: log directives and cron expressions.
pub(crate) fn validate(settings: &Settings) -> Result<(), Failure> {
    logging::filter(&settings.daemon.log)?;
    for target in &settings.targets {
        if let Some(cron) = &target.compaction.cron {
            schedule::check(&target.name, cron)?;
        }
    }
    Ok(())
}

/// Cancels `stop` on SIGTERM or SIGINT.
pub(crate) fn cancel_on_signal(stop: CancellationToken) {
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        stop.cancel();
    });
}

/// Runs the daemon until it is told to stop.
///
/// On SIGTERM it takes no more work, abandons rewrites, finishes commits, and returns within the shutdown grace.
pub(crate) async fn run(config: &Path) -> Result<(), Failure> {
    let settings = Settings::load(config)?;
    settings.require_targets(config)?;
    validate(&settings)?;
    logging::start(&settings.daemon)?;
    let metrics = Arc::new(Metrics::new().map_err(|e| Failure::Machine(e.to_string()))?);
    let listener = TcpListener::bind(settings.daemon.listen)
        .await
        .map_err(|e| {
            Failure::Machine(format!(
                "cannot listen on {}: {e}; choose another daemon.listen in {}",
                settings.daemon.listen,
                config.display()
            ))
        })?;
    let listening = listener
        .local_addr()
        .map_err(|e| Failure::Machine(e.to_string()))?;
    let stop = CancellationToken::new();
    cancel_on_signal(stop.clone());
    let pulse = Arc::new(http::Pulse::new(&settings));
    let jobs = Arc::new(Semaphore::new(settings.daemon.concurrency));
    let started = Instant::now();
    let mut keepers = JoinSet::new();
    let mut forces = Vec::new();
    for target in &settings.targets {
        let force = Arc::new(Notify::new());
        forces.push((target.clone(), force.clone()));
        let keeper = Keeper::new(
            target.clone(),
            settings.daemon.clone(),
            jobs.clone(),
            metrics.clone(),
            pulse.clone(),
            force,
            started,
        );
        keepers.spawn(keeper.run(stop.clone()));
    }
    let _schedule = schedule::start(forces).await?;
    let server = tokio::spawn(http::serve(listener, metrics, pulse, stop.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listening, targets = settings.targets.len(), concurrency = settings.daemon.concurrency, "squire is running");

    stop.cancelled().await;
    tracing::info!("stopping: no more work is taken, rewrites are abandoned, commits are finished");
    let all = async { while keepers.join_next().await.is_some() {} };
    let grace = settings.daemon.shutdown_grace;
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!(
            ?grace,
            "the shutdown grace is over; what is left is healed by whoever comes next"
        );
    }
    server.abort();
    tracing::info!("stopped");
    Ok(())
}
