//! The daemon: `squire run`.
//!
//! | room | what is in it |
//! |---|---|
//! | this file | start, and an orderly stop |
//! | [`keeper`] | one per target: polls, decides, runs jobs; heals and adopts drift beside that |
//! | [`supervisor`] | the keepers at work: begun, given other policies, stopped |
//! | [`schedule`] | cron schedules, and what else forces a duty |
//! | [`job_slots`] | how many jobs run at once |
//! | [`pauses`] | what users want left alone for a while |
//! | [`state`] | what survives a restart |
//! | [`status`] | what keepers know and do: keepers write, the API reads |
//! | [`health`], [`liveness`] | how the daemon is; whether each keeper gets on |
//! | [`metrics`] | what Prometheus scrapes |
//! | [`http`] | `/metrics`, the probes, `/api/v1` and the status page |
//! | [`reload`] | another configuration comes into force, or is refused |
//! | [`systemd`] | readiness, watchdog, status line, signals |
//! | [`presence`] | other daemons on the same targets |
//! | [`clock`] | whether the wall clock can be trusted with removals |

mod clock;
mod health;
pub(crate) mod http;
mod job_slots;
mod keeper;
mod liveness;
mod metrics;
pub(crate) mod pauses;
mod presence;
pub(crate) mod reload;
pub(crate) mod schedule;
mod state;
pub(crate) mod status;
mod supervisor;
pub(crate) mod systemd;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use squire_config::{Layers, Reading, Settings};
use squire_engine::failpoint;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{exit::Failure, logging};
use health::Probe;
use http::{
    access::listener::Door,
    api::{Api, Writable},
};
use job_slots::Places;
use keeper::Shared;
use liveness::Pulse;
use metrics::Metrics;
use pauses::PauseBook;
use presence::Residents;
use reload::{Running, outcome::Record, socket::Asker};
use schedule::timetable::Started;
use state::{Clock, State, WINDOW};
use status::Board;
use supervisor::Crew;
use systemd::Notifier;

/// For writing down what the next daemon goes on with.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Loads a configuration that a daemon can run with.
pub(crate) fn load(layers: &Layers) -> Result<Settings, Failure> {
    let loaded = layers.load()?;
    loaded.settings.require_targets(layers.file())?;
    loaded.require_separate_places(layers.file())?;
    Ok(loaded.settings)
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
    failpoint::hit!(BEFORE_START);
    // One that comes while the configuration is read asks for what is there by then.
    let hangups = signal(SignalKind::hangup()).map_err(|e| Failure::Machine(e.to_string()))?;
    let config = layers.file();
    let settings = load(layers)?;
    let log = logging::start(&settings.daemon)?;
    let door = Arc::new(Door::open(&settings.daemon)?);
    let metrics = Metrics::new(&settings.daemon).map_err(|e| Failure::Machine(e.to_string()))?;
    metrics.listen_to_lance()?;
    metrics.reloaded(true);
    let metrics = Arc::new(metrics);
    let folder = state_dir(&settings.daemon);
    let pauses = Arc::new(PauseBook::open(folder.as_deref())?);
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
    let (in_force, told) = watch::channel(settings.daemon.clone());
    systemd::signals::stop_on_signal(stop.clone(), told.clone())
        .map_err(|e| Failure::Machine(e.to_string()))?;
    let pulse = Arc::new(Pulse::default());
    let places = Places::new(&settings.daemon);
    metrics.follow(&settings.daemon, places.now());
    let started = Utc::now();
    // What an earlier daemon did has a time on this one's clock, too.
    let back = WINDOW.to_std().unwrap_or_default();
    let begins = Instant::now();
    let begins = begins.checked_sub(back).unwrap_or(begins);
    let clock = move || Clock {
        wall: clock::not_ahead(),
        monotonic: begins.elapsed(),
    };
    let state = Arc::new(State::open(folder.as_deref(), &clock()));
    let shared = Shared {
        daemon: settings.daemon.clone(),
        jobs: places.jobs(),
        metrics: metrics.clone(),
        pulse: pulse.clone(),
        pauses: pauses.clone(),
        board: Arc::new(Board::new(started)),
        state: state.clone(),
        started: begins,
    };
    let record = Arc::new(Record::start());
    let probe = Probe {
        pulse: pulse.clone(),
        board: shared.board.clone(),
    };
    let notifier = Notifier {
        probe: probe.clone(),
        board: shared.board.clone(),
        record: record.clone(),
        pauses: pauses.clone(),
    };
    tokio::spawn(pauses.clone().attend(told.clone(), stop.clone()));
    tokio::spawn(state.clone().attend(told, clock, stop.clone()));
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
    let mut residents = Residents::new(shared.board.clone(), started, stop.clone());
    residents.follow(&settings);
    let mut crew = Crew::new(shared, forces.clone(), stop.clone());
    let targets = settings.targets.iter();
    let called = targets.map(|target| (target.clone(), forces.open(&target.name)));
    timetable.follow(Started::new(called).await?).await;
    let watch = clock::keep(timetable.clone(), metrics.clone(), stop.clone());
    let watch = tokio::spawn(watch);
    settings.targets.iter().for_each(|t| crew.begin(t));
    let server = tokio::spawn(http::serve(
        listener,
        door.clone(),
        metrics.clone(),
        probe,
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
        residents,
        places,
        timetable,
        log,
        door,
        forces,
        metrics,
        notifier,
        in_force,
    };
    follow(&mut running, hangups, askers, &stop).await;

    tracing::info!("stopping: no more work is taken, rewrites are abandoned, commits are finished");
    let grace = running.settings.daemon.shutdown_grace;
    running.notifier.stopping(grace);
    let left = async { tokio::join!(running.crew.end(), running.residents.end()) };
    if tokio::time::timeout(grace, left).await.is_err() {
        let jobs = running.notifier.board.jobs(None, None).into_iter();
        let jobs: Vec<_> = jobs
            .map(|job| format!("{} of {}/{}", job.duty.as_str(), job.target, job.table))
            .collect();
        let targets = running.crew.left();
        tracing::warn!(
            ?grace,
            targets = targets.join(", "),
            jobs = jobs.join(", "),
            "the shutdown grace is over, and the keepers of these targets have not ended; what is left is healed by whoever comes next"
        );
        let cut_off = running.crew.cut_off();
        let _ = tokio::time::timeout(FLUSH_PATIENCE, cut_off).await;
    }
    // Whatever hangs, what is known is kept. A panic of it has been told.
    let flushed = tokio::task::spawn_blocking(move || state.flush(true, &clock()));
    let _ = tokio::time::timeout(FLUSH_PATIENCE, flushed).await;
    attended.abort();
    watch.abort();
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
        let reading = Reading::default();
        // Whoever asks meanwhile is heard afterwards.
        let loaded = tokio::select! {
            biased;
            () = stop.cancelled() => {
                let reading = reading.now();
                tracing::warn!(reading, "a reload is given up, as the daemon stops; it was not in force");
                return;
            }
            loaded = running.reload(&reading) => loaded,
        };
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
