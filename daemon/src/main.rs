//! `squire`: the one binary. `squire run` is the daemon; the other commands work on graphs and directories, or ask the
//! daemon.
//!
//! | file | what is in it |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`api`] | the types that cross HTTP |
//! | [`commands`] | the commands that a user runs |
//! | [`service`] | the daemon: keepers, schedule, pauses, metrics, HTTP |
//! | [`configuration`] | the configuration as every command reads it |
//! | [`cron`] | one cron schedule, and when it comes next |
//! | [`memory`] | keeps the process to its memory |
//! | [`target`] | an opened target of either kind: graph or directory |
//! | [`exit`] | exit codes |
//! | [`logging`] | the log: format, level, and what is kept out of it |
//! | [`output`] | numbers and tables as a user reads them |

mod api;
mod cli;
mod commands;
mod configuration;
mod cron;
mod exit;
mod logging;
mod memory;
mod output;
mod service;
mod target;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // First of all: a hangup would end a daemon that has only begun to start.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == "run") {
        service::systemd::signals::survive_hangups();
    }
    let cli = cli::Cli::parse();
    memory::keep_to_limits(&cli.command);
    #[cfg(feature = "failpoints")]
    let _failpoints = squire_engine::failpoint::from_environment();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        // Lance's futures are deep: what is not used of it is no memory.
        .thread_stack_size(8 << 20)
        // A disk that hangs holds a thread for each read of it that was given up; others need theirs.
        .max_blocking_threads(4096)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            output::complain(&format!("the runtime cannot start: {e}"));
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(commands::dispatch(cli.command));
    // Nothing that matters is left in the background: what is decided has been awaited. The process ends with
    // its threads: to shut the runtime down in the background would detach them, and until version 2.41 glibc reads
    // a thread's memory after it was freed where the thread ends while it is detached (bug 19951).
    std::mem::forget(runtime);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            failure.exit_code()
        }
    }
}
