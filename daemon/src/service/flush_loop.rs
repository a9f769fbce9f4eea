//! Writes to the daemon's own disk, on ticks.

use squire_config::Daemon;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Writes on every tick what is due, on a thread that may wait for the disk, until `stop`. A disk that does not answer holds
/// up nothing else.
pub(in crate::service) async fn on_ticks<W: FnOnce() + Send + 'static>(
    daemon: watch::Receiver<Daemon>,
    stop: CancellationToken,
    due: impl Fn() -> Option<W>,
) {
    loop {
        let tick = daemon.borrow().tick;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(tick) => {}
        }
        let Some(write) = due() else {
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tokio::task::spawn_blocking(write) => {}
        }
    }
}
