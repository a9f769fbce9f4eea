//! The settings as the daemon uses them: complete, typed, checked.

mod daemon;
mod policies;
mod targets;

pub use daemon::{Daemon, LogFormat, Tls};
pub use policies::Policies;
pub(crate) use targets::Rule;
pub use targets::{Settings, Target};
