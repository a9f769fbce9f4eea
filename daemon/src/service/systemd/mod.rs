//! What the service manager is notified of: that the daemon is ready, reloads or stops, its status, and the watchdog.
//!
//! Outside of systemd, where `NOTIFY_SOCKET` is not set, nothing is sent.
//!
//! | file | what is in it |
//! |---|---|
//! | [`notifier`] | notifies the service manager |
//! | [`status_line`] | the status of the daemon in one line |
//! | [`watchdog`] | when the watchdog is fed |
//! | [`signals`] | signals to the daemon, on a thread of their own |

mod notifier;
pub(crate) mod signals;
mod status_line;
mod watchdog;

pub(super) use self::notifier::Notifier;
