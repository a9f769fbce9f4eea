//! Structured logs: text on a terminal, JSON lines otherwise.

use std::io::IsTerminal;

use squire_config::{Daemon, LogFormat};
use tracing_subscriber::{
    EnvFilter, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::exit::Failure;

/// Checks log directives.
pub(crate) fn filter(directives: &str) -> Result<EnvFilter, Failure> {
    let bad = |e: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "daemon.log = \"{directives}\" cannot be used: {e}; write a level such as info, or squire=debug,lance=warn"
        ))
    };
    // A filter takes a misspelt level for the name of a module, and the log falls silent.
    let misspelt = |part: &&str| !part.contains(['=', '[', '{', '}']) && !is_level(part);
    if let Some(part) = directives.split(',').map(str::trim).find(misspelt) {
        return Err(bad(&format_args!(
            "`{part}` is no level: off, error, warn, info, debug or trace"
        )));
    }
    EnvFilter::try_new(directives).map_err(|e| bad(&e))
}

fn is_level(part: &str) -> bool {
    part.is_empty() || part.parse::<LevelFilter>().is_ok()
}

/// Starts to log to standard error.
pub(crate) fn start(daemon: &Daemon) -> Result<(), Failure> {
    // What libraries say at `info` is for their own developers.
    let directives = format!(
        "lance=warn,datafusion=warn,object_store=warn,{}",
        daemon.log
    );
    let filter = filter(&directives)?;
    let as_json = match daemon.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        // A log that cannot be written must not stop the daemon.
        .log_internal_errors(false);
    let started = if as_json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines).try_init()
    };
    started.map_err(|e| Failure::Machine(format!("logging cannot start: {e}")))
}
