//! What the service manager is notified of: that the daemon is ready, reloads or stops, its status, and the watchdog.
//!
//! Outside of systemd, where `NOTIFY_SOCKET` is not set, nothing is sent.

mod notifier;
pub(crate) mod signals;
mod status_line;
mod watchdog;

pub(super) use self::notifier::Notifier;
