//! The settings as the daemon uses them: complete, typed, checked.
//!
//! | file | what is in it |
//! |---|---|
//! | [`daemon`] | settings of the process |
//! | [`targets`] | the targets |
//! | [`policies`] | the policies of one table |

mod daemon;
mod policies;
mod targets;

pub use daemon::{Daemon, LogFormat, Tls};
pub use policies::Policies;
pub(crate) use targets::Rule;
pub use targets::{Settings, Target};
