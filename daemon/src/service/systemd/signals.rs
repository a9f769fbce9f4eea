//! Signals to the daemon, on a thread of their own: a runtime that hangs must not keep the process from its end.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use squire_config::Daemon;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// After the grace, for the end of the process in order.
pub(in crate::service) const MARGIN: Duration = Duration::from_secs(10);
/// For the last line of the log: it may be the log that hangs.
const LAST_LINE: Duration = Duration::from_secs(1);

/// Ignores SIGHUP until it has a receiver. By default it ends the process: a reload that is asked for while the
/// daemon starts would do that.
pub(crate) fn survive_hangups() {
    // The first of all signals can always be followed.
    let _ = signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false)));
}

/// Cancels `stop` on SIGTERM or SIGINT. When the process has not ended by itself a while after the grace, whatever holds it
/// up, it is ended.
///
/// # Errors
/// When the machine refuses.
pub(in crate::service) fn stop_on_signal(
    stop: CancellationToken,
    daemon: watch::Receiver<Daemon>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        if signals.forever().next().is_none() {
            return;
        }
        stop.cancel();
        let most = daemon.borrow().shutdown_grace.saturating_add(MARGIN);
        // There is no sender: the process ends, and this thread with it.
        let (_silent, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(most);
        let (said, line) = mpsc::channel();
        let say = move || {
            tracing::error!(
                ?most,
                "the daemon does not end by itself, and is ended; the next process heals what is left"
            );
            let _ = said.send(());
        };
        if thread::Builder::new().spawn(say).is_ok() {
            let _ = line.recv_timeout(LAST_LINE);
        }
        end();
    };
    let builder = thread::Builder::new().name("signals".to_owned());
    builder.spawn(wait).map(drop)
}

#[allow(
    clippy::disallowed_methods,
    reason = "what would clean up is what hangs"
)]
fn end() -> ! {
    std::process::exit(1)
}
