//! Keeps the process to its memory.
//!
//! Some of the limits can only be set before a process starts: Lance and the allocator read them from the environment. So
//! the process replaces itself by itself, once, with those variables set. It stays the same process to the process that
//! started it.

use std::{os::unix::process::CommandExt, process};

use squire_engine::memory::{self, Limits};

use crate::{cli::Command, configuration};

/// Sets the limits: those of the configuration for the daemon, the default ones for a command. Comes first in `main`, and
/// does not return where the process has to be replaced.
pub(crate) fn keep_to_limits(command: &Command) {
    let limits = match command {
        Command::Run(args) => match configuration::layers_with_flags(args).load() {
            Ok(loaded) => {
                let daemon = loaded.settings.daemon;
                Limits::of(daemon.memory, daemon.concurrency)
            }
            // The daemon reads it again, and says what is wrong with it.
            Err(_) => return,
        },
        _ => Limits::default(),
    };
    memory::limit(limits);
    let missing = limits.missing_environment();
    if !missing.is_empty()
        && let Ok(program) = std::env::current_exe()
    {
        let mut again = process::Command::new(program);
        let mut arguments = std::env::args_os();
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // It only returns when it fails: then the limits that are options hold nevertheless.
        let failed = again.args(arguments).envs(missing).exec();
        crate::output::complain(&format!(
            "the memory of this process is not limited in full: {failed}"
        ));
    }
}
