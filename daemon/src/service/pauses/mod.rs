//! Pauses at run time: set and ended over HTTP, ended by their own time, kept over a restart where there is a folder for it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`registry`] | the registry of all pauses |
//! | [`file`] | the file on the disk |

pub(crate) mod file;
mod registry;

pub(super) use self::registry::{LONGEST, PauseRegistry};
