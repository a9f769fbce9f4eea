//! Notifies the service manager.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    signals::MARGIN,
    status_line::{self, Amiss},
    watchdog::Watchdog,
};
use crate::service::{health::Probe, pauses::PauseRegistry, reload::Record, status::StatusStore};

/// Interval at which liveness and status are read.
const EVERY: Duration = Duration::from_secs(1);

/// Tells the service manager.
#[derive(Clone)]
pub(in crate::service) struct Notifier {
    pub(in crate::service) probe: Probe,
    pub(in crate::service) status: Arc<StatusStore>,
    pub(in crate::service) record: Arc<Record>,
    pub(in crate::service) pauses: Arc<PauseRegistry>,
}

impl Notifier {
    /// The daemon listens and its keepers have begun; or a reload has ended, however it did.
    pub(in crate::service) fn ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status(&self.running())]);
    }

    /// A reload begins.
    pub(in crate::service) fn reloading(&self) {
        let status = NotifyState::Status("reloading the configuration");
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now, status]),
            Err(e) => {
                tracing::warn!(error = %e, "the monotonic clock cannot be read; the service manager does not learn of the reload")
            }
        }
    }

    /// The daemon stops; `grace` is how long that may take.
    pub(in crate::service) fn stopping(&self, grace: Duration) {
        let most = u32::try_from((grace + MARGIN).as_micros()).unwrap_or(u32::MAX);
        tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(most),
            NotifyState::Status(&status_line::stopping(self.status.load())),
        ]);
    }

    /// Tells how the daemon is whenever that changes, and feeds the watchdog as long as the process gets on. Runs until it
    /// is dropped, or does nothing where there is no listener.
    pub(in crate::service) async fn attend(self, stop: CancellationToken) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let watchdog = sd_notify::watchdog_enabled();
        let mut watchdog = watchdog.map(Watchdog::new);
        let every = watchdog
            .as_ref()
            .map_or(EVERY, |watchdog| watchdog.half().min(EVERY));
        let mut ticks = interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        loop {
            ticks.tick().await;
            let status = if stop.is_cancelled() {
                status_line::stopping(self.status.load())
            } else {
                self.running()
            };
            if status != last {
                tell(&[NotifyState::Status(&status)]);
                last = status;
            }
            if let Some(watchdog) = &mut watchdog
                && watchdog.is_due(self.probe.is_live(), Instant::now())
            {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }

    fn running(&self) -> String {
        let refused = self.record.info().last.error.is_some();
        let unreadable = self.pauses.unreadable().is_some();
        let amiss = Amiss {
            refused,
            unreadable,
        };
        status_line::running(&self.probe.health(), self.status.load(), amiss)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "the daemon's status could not be sent to the service manager");
    }
}
