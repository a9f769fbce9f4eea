//! The daemon: `squire run`.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | start, and an orderly stop |
//! | [`keeper`] | one per target: looks, decides, runs jobs |
//! | [`upkeep`] | beside each keeper: heals, adopts drift |
//! | [`schedule`] | what forces a duty: cron schedules, and persons |
//! | [`clock`] | whether the wall clock can be trusted with removals |
//! | [`timetable`] | when each cron schedule comes next |
//! | [`pauses`] | what a person wants left alone for a while |
//! | [`board`] | what keepers know and do, for whoever asks |
//! | [`metrics`] | what Prometheus sees |
//! | [`crew`] | the keepers at work: begun, given other policies, let go of |
//! | [`reload`] | another configuration comes into force, or is refused |
//! | [`places`] | how many jobs run at once |
//! | [`notify`] | what the service manager is told |
//! | [`pulse`] | whether each keeper gets on |
//! | [`http`] | `/metrics`, `/healthz`, `/api/v1` and the status page |

pub(crate) mod board;
mod clock;
mod crew;
pub(crate) mod http;
mod keeper;
mod metrics;
mod notify;
pub(crate) mod pauses;
mod places;
mod pulse;
pub(crate) mod reload;
mod schedule;
mod timetable;
mod upkeep;

use std::{path::PathBuf, sync::Arc, time::Instant};

use chrono::Utc;
use squire_config::{Layers, Settings};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{exit::Failure, logging};
use board::Board;
use crew::Crew;
use http::{
    api::{Api, Writable},
    door::Door,
};
use keeper::Shared;
use metrics::Metrics;
use notify::Notifier;
use pauses::PauseBook;
use places::Places;
use pulse::Pulse;
use reload::{Running, record::Record, socket::Asker};

/// Loads a configuration that a daemon can run with.
pub(crate) fn load(layers: &Layers) -> Result<Settings, Failure> {
    let settings = layers.load()?.settings;
    settings.require_targets(layers.file())?;
    Ok(settings)
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
pub(crate) async fn run(layers: &Layers) -> Result<(), Failure> {
    let config = layers.file();
    let settings = load(layers)?;
    let log = logging::start(&settings.daemon)?;
    // A reload that comes early must not end the process.
    let hangups = signal(SignalKind::hangup()).map_err(|e| Failure::Machine(e.to_string()))?;
    let door = Arc::new(Door::open(&settings.daemon)?);
    let metrics = Metrics::new(&settings.daemon).map_err(|e| Failure::Machine(e.to_string()))?;
    metrics.listen_to_lance()?;
    metrics.reloaded(true);
    let metrics = Arc::new(metrics);
    let state = state_dir(&settings.daemon);
    let pauses = Arc::new(PauseBook::open(state.as_deref())?);
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
    let pulse = Arc::new(Pulse::new(&settings.daemon));
    let places = Places::new(&settings.daemon);
    metrics.follow(&settings.daemon, places.now());
    let started = Utc::now();
    let shared = Shared {
        daemon: settings.daemon.clone(),
        jobs: places.jobs(),
        metrics: metrics.clone(),
        pulse: pulse.clone(),
        pauses: pauses.clone(),
        board: Arc::new(Board::new(started)),
        started: Instant::now(),
    };
    let record = Arc::new(Record::start());
    let notifier = Notifier {
        pulse: pulse.clone(),
        board: shared.board.clone(),
        record: record.clone(),
    };
    let api = Api {
        pauses,
        board: shared.board.clone(),
        forces: Arc::default(),
        timetable: Arc::default(),
        pulse: pulse.clone(),
        places: places.count(),
        record,
        writable: if door.has_token() {
            Writable::Token
        } else {
            Writable::Local
        },
        started,
    };
    let (forces, timetable) = (api.forces.clone(), api.timetable.clone());
    let mut crew = Crew::new(shared, forces.clone(), stop.clone());
    let targets = settings.targets.iter();
    let called = targets.map(|target| (target.clone(), forces.open(&target.name)));
    let entries = timetable::entries(called, started)?;
    timetable.follow(entries, started);
    let clock = clock::keep(timetable.clone(), metrics.clone(), stop.clone());
    let clock = tokio::spawn(clock);
    settings.targets.iter().for_each(|t| crew.begin(t));
    let server = tokio::spawn(http::serve(
        listener,
        door.clone(),
        metrics.clone(),
        pulse,
        api,
        stop.clone(),
    ));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listening, scheme = door.scheme(), targets = settings.targets.len(), places = places.now(), "squire is running");
    let askers = runtime_dir().map(|folder| reload::socket::listen(&folder));
    let askers = askers.transpose().unwrap_or_else(|e| {
        tracing::warn!(error = %e, "`squire reload` will not be answered: there is no socket for it");
        None
    });
    notifier.ready();
    let attended = tokio::spawn(notifier.clone().attend(stop.clone()));
    let mut running = Running {
        layers: layers.clone(),
        settings,
        crew,
        places,
        timetable,
        log,
        door,
        forces,
        metrics,
        notifier,
    };
    follow(&mut running, hangups, askers, &stop).await;

    tracing::info!("stopping: no more work is taken, rewrites are abandoned, commits are finished");
    let grace = running.settings.daemon.shutdown_grace;
    running.notifier.stopping(grace);
    if tokio::time::timeout(grace, running.crew.end())
        .await
        .is_err()
    {
        tracing::warn!(
            ?grace,
            "the shutdown grace is over; what is left is healed by whoever comes next"
        );
    }
    attended.abort();
    clock.abort();
    server.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Reloads whenever somebody says so, until `stop`.
async fn follow(
    running: &mut Running,
    mut hangups: Signal,
    mut askers: Option<mpsc::Receiver<Asker>>,
    stop: &CancellationToken,
) {
    loop {
        let asker = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(()) = hangups.recv() => None,
            Some(asker) = async {
                match &mut askers {
                    Some(askers) => askers.recv().await,
                    None => std::future::pending().await,
                }
            } => Some(asker),
        };
        let loaded = running.reload().await;
        if let Some(asker) = asker {
            // Whoever does not wait for the answer needs none.
            let _ = asker.send(loaded);
        }
    }
}

/// Where a service manager made a folder for as long as this daemon runs.
pub(crate) fn runtime_dir() -> Option<PathBuf> {
    first_folder("RUNTIME_DIRECTORY")
}

/// Where this daemon keeps what must survive a restart: where the config says, or where systemd made a folder.
pub(crate) fn state_dir(daemon: &squire_config::Daemon) -> Option<PathBuf> {
    let said = daemon.state_dir.clone();
    said.or_else(|| first_folder("STATE_DIRECTORY"))
}

/// The first of the folders that systemd made and lists in a variable, with colons.
fn first_folder(variable: &str) -> Option<PathBuf> {
    let folders = std::env::var_os(variable)?;
    std::env::split_paths(&folders).find(|folder| folder.is_absolute())
}
