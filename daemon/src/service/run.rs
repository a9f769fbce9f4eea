//! The daemon, from its start to an orderly stop.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use squire_config::{Daemon, Layers, Reading, Settings};
use squire_engine::failpoint;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    clock, folders,
    health::Probe,
    http::{self, access::listener::Listener, api::Api},
    job_slots::JobSlots,
    keeper::Shared,
    metrics::Metrics,
    pauses::PauseRegistry,
    presence::PresenceMonitor,
    reload::{
        Record, Running,
        socket::{self, Asker},
    },
    schedule::timetable::Started as Schedules,
    state::{Clock, State, WINDOW},
    status::StatusStore,
    supervisor::Supervisor,
    systemd::{self, Notifier},
};
use crate::{
    api::Writable,
    configuration,
    exit::Failure,
    logging::{self, LogFilter},
};

/// Timeout for writing what the next daemon starts with, and for the end of keepers that are cut off.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the daemon until it is asked to stop.
///
/// On SIGTERM it takes no more work, abandons rewrites, finishes commits, and returns within the shutdown grace, or
/// some seconds after it where something hangs.
///
/// # Errors
/// When the daemon cannot start.
pub(crate) async fn run(layers: &Layers) -> Result<(), Failure> {
    failpoint::hit!(BEFORE_START);
    // A signal that arrives while the configuration is read asks for what is there by then.
    let hangups = signal(SignalKind::hangup()).map_err(|e| Failure::Machine(e.to_string()))?;
    let base = Base::open(layers)?;
    let tcp = listen(&base.settings.daemon, layers.file()).await?;
    let mut daemon = Started::start(base, layers, tcp).await?;
    let askers = listen_for_reloads();
    daemon.running.notifier.ready();
    follow(&mut daemon.running, hangups, askers, &daemon.stop).await;
    daemon.stop().await;
    Ok(())
}

/// What has to be read or opened before anything starts.
struct Base {
    settings: Settings,
    log: LogFilter,
    listener: Arc<Listener>,
    metrics: Arc<Metrics>,
    pauses: Arc<PauseRegistry>,
}

impl Base {
    fn open(layers: &Layers) -> Result<Self, Failure> {
        let settings = configuration::load_for_daemon(layers)?;
        let log = logging::start(&settings.daemon)?;
        let listener = Arc::new(Listener::open(&settings.daemon)?);
        let metrics =
            Metrics::new(&settings.daemon).map_err(|e| Failure::Machine(e.to_string()))?;
        metrics.listen_to_lance()?;
        metrics.configuration.reloaded(true);
        let folder = folders::state_dir(&settings.daemon);
        let pauses = Arc::new(PauseRegistry::open(folder.as_deref())?);
        Ok(Self {
            settings,
            log,
            listener,
            metrics: Arc::new(metrics),
            pauses,
        })
    }
}

/// The wall clock and the daemon's own.
#[derive(Clone, Copy)]
struct DaemonClock {
    wall: DateTime<Utc>,
    /// Where the daemon's own begins: before the start, so that what an earlier daemon did has a time on it.
    monotonic: Instant,
}

impl DaemonClock {
    fn start() -> Self {
        let back = WINDOW.to_std().unwrap_or_default();
        let now = Instant::now();
        Self {
            wall: Utc::now(),
            monotonic: now.checked_sub(back).unwrap_or(now),
        }
    }

    fn now(self) -> Clock {
        Clock {
            wall: clock::not_ahead(),
            monotonic: self.monotonic.elapsed(),
        }
    }
}

/// Binds the address of the HTTP server.
async fn listen(daemon: &Daemon, config: &Path) -> Result<TcpListener, Failure> {
    TcpListener::bind(daemon.listen).await.map_err(|e| {
        Failure::Machine(format!(
            "cannot listen on {}: {e}; choose another daemon.listen in {}",
            daemon.listen,
            config.display()
        ))
    })
}

/// Listens on the socket for `squire reload`, where there is a folder for it.
fn listen_for_reloads() -> Option<mpsc::Receiver<Asker>> {
    let askers = folders::runtime_dir().map(|folder| socket::listen(&folder));
    askers.transpose().unwrap_or_else(|e| {
        tracing::warn!(error = %e, "`squire reload` will not be answered: there is no socket for it");
        None
    })
}

/// A daemon that has started.
struct Started {
    running: Running,
    state: Arc<State>,
    clock: DaemonClock,
    stop: CancellationToken,
    /// Tasks that go on until the process ends, whatever the stop waits for.
    tasks: Vec<JoinHandle<()>>,
}

impl Started {
    /// Starts keepers, schedules and the HTTP server.
    async fn start(base: Base, layers: &Layers, tcp: TcpListener) -> Result<Self, Failure> {
        let Base {
            settings,
            log,
            listener,
            metrics,
            pauses,
        } = base;
        let listening = tcp
            .local_addr()
            .map_err(|e| Failure::Machine(e.to_string()))?;
        let stop = CancellationToken::new();
        let (in_force, config) = watch::channel(settings.daemon.clone());
        systemd::signals::stop_on_signal(stop.clone(), config.clone())
            .map_err(|e| Failure::Machine(e.to_string()))?;
        let clock = DaemonClock::start();
        let folder = folders::state_dir(&settings.daemon);
        let state = Arc::new(State::open(folder.as_deref(), &clock.now()));
        let job_slots = JobSlots::new(&settings.daemon);
        metrics
            .configuration
            .follow(&settings.daemon, job_slots.now());
        let shared = Shared {
            daemon: settings.daemon.clone(),
            jobs: job_slots.jobs(),
            metrics: metrics.clone(),
            liveness: Arc::default(),
            pauses: pauses.clone(),
            status: Arc::new(StatusStore::new(clock.wall)),
            state: state.clone(),
            started: clock.monotonic,
        };
        let notifier = Notifier {
            probe: Probe {
                liveness: shared.liveness.clone(),
                status: shared.status.clone(),
            },
            status: shared.status.clone(),
            record: Arc::new(Record::start()),
            pauses: pauses.clone(),
        };
        tokio::spawn(pauses.clone().attend(config.clone(), stop.clone()));
        tokio::spawn(
            state
                .clone()
                .attend(config, move || clock.now(), stop.clone()),
        );
        let api = Api {
            pauses,
            status: shared.status.clone(),
            triggers: Arc::default(),
            timetable: Arc::default(),
            liveness: shared.liveness.clone(),
            places: job_slots.count(),
            record: notifier.record.clone(),
            writable: if listener.has_token() {
                Writable::Token
            } else {
                Writable::Local
            },
            started: clock.wall,
        };
        let (triggers, timetable) = (api.triggers.clone(), api.timetable.clone());
        let mut presence_monitor =
            PresenceMonitor::new(shared.status.clone(), clock.wall, stop.clone());
        presence_monitor.follow(&settings);
        let mut supervisor = Supervisor::new(shared, triggers.clone(), stop.clone());
        let targets = settings.targets.iter();
        let called = targets.map(|target| (target.clone(), triggers.open(&target.name)));
        timetable.follow(Schedules::new(called).await?).await;
        let monitor = clock::monitor(timetable.clone(), metrics.clone(), stop.clone());
        let monitor = tokio::spawn(monitor);
        settings.targets.iter().for_each(|t| supervisor.start(t));
        let server = tokio::spawn(http::serve(
            tcp,
            listener.clone(),
            metrics.clone(),
            notifier.probe.clone(),
            api,
            stop.clone(),
        ));
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %listening, scheme = listener.scheme(), targets = settings.targets.len(), places = job_slots.now(), "squire is running");
        let notifying = tokio::spawn(notifier.clone().attend(stop.clone()));
        Ok(Self {
            running: Running {
                layers: layers.clone(),
                settings,
                supervisor,
                presence_monitor,
                job_slots,
                timetable,
                log,
                listener,
                triggers,
                metrics,
                notifier,
                in_force,
            },
            state,
            clock,
            stop,
            tasks: vec![notifying, monitor, server],
        })
    }

    /// Waits for the keepers to end, within the shutdown grace, and keeps what is known.
    async fn stop(mut self) {
        tracing::info!(
            "stopping: no more work is taken, rewrites are abandoned, commits are finished"
        );
        let running = &mut self.running;
        let grace = running.settings.daemon.shutdown_grace;
        running.notifier.stopping(grace);
        let left =
            async { tokio::join!(running.supervisor.join(), running.presence_monitor.end()) };
        if tokio::time::timeout(grace, left).await.is_err() {
            cut_off(running, grace).await;
        }
        // Whatever hangs, what is known is kept. A panic of it is logged.
        let (state, clock) = (self.state, self.clock);
        let flushed = tokio::task::spawn_blocking(move || state.flush(true, &clock.now()));
        let _ = tokio::time::timeout(FLUSH_PATIENCE, flushed).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        tracing::info!("stopped");
    }
}

/// Cancels the keepers that have not ended within the grace.
async fn cut_off(running: &mut Running, grace: Duration) {
    let jobs = running.notifier.status.jobs(None, None).into_iter();
    let jobs: Vec<_> = jobs
        .map(|job| format!("{} of {}/{}", job.duty, job.target, job.table))
        .collect();
    let targets = running.supervisor.remaining();
    tracing::warn!(
        ?grace,
        targets = targets.join(", "),
        jobs = jobs.join(", "),
        "the shutdown grace is over, and the keepers of these targets have not ended; the next process heals what is left"
    );
    let cut_off = running.supervisor.abort();
    let _ = tokio::time::timeout(FLUSH_PATIENCE, cut_off).await;
}

/// Serves requests for a reload until `stop`.
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
        // A request that arrives meanwhile is served afterwards.
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
            // A client that does not wait for the answer needs none.
            let _ = asker.send(loaded);
        }
    }
}
