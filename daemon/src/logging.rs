//! Structured logs: text on a terminal, JSON lines otherwise.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
};

use squire_config::{Daemon, LogFormat, Refusal};
use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use crate::exit::Failure;

/// What is wrong with log directives, if anything is.
pub(crate) fn fault(directives: &str) -> Option<Refusal> {
    // A filter takes a misspelt level for the name of a module, and the log falls silent.
    let misspelt = |part: &&str| !part.contains(['=', '[', '{', '}']) && !is_level(part);
    let fault = match directives.split(',').map(str::trim).find(misspelt) {
        Some(part) => format!("`{part}` is no level: off, error, warn, info, debug or trace"),
        None => EnvFilter::try_new(directives).err()?.to_string(),
    };
    Some(Refusal::new(
        format!("{directives:?} cannot be used: {fault}"),
        "write a level such as info, or squire=debug,lance=warn",
    ))
}

fn is_level(part: &str) -> bool {
    part.is_empty() || part.parse::<LevelFilter>().is_ok()
}

/// What is logged; it can change while the daemon runs.
pub(crate) struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Goes by these settings from now on.
    ///
    /// # Errors
    /// When the directives cannot be used: what is logged stays as it is.
    pub(crate) fn follow(&self, daemon: &Daemon) -> Result<(), Failure> {
        let filter = filter(daemon)?;
        let failed = |e| Failure::Machine(format!("what is logged cannot be changed: {e}"));
        self.0.reload(filter).map_err(failed)
    }
}

fn filter(daemon: &Daemon) -> Result<EnvFilter, Failure> {
    // What libraries say at `info` is for their own developers.
    let directives = format!(
        "lance=warn,datafusion=warn,object_store=warn,tokio_cron_scheduler=warn,{}",
        daemon.log
    );
    EnvFilter::try_new(&directives)
        .map_err(|e| Failure::Usage(format!("daemon.log cannot be used: {e}")))
}

/// Starts to log to standard error.
pub(crate) fn start(daemon: &Daemon) -> Result<LogFilter, Failure> {
    let (filter, handle) = reload::Layer::new(filter(daemon)?);
    let as_json = match daemon.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(|| Discreet(std::io::stderr()))
        .with_target(false)
        .with_ansi(is_for_a_person())
        // A log that cannot be written must not stop the daemon.
        .log_internal_errors(false);
    let started = if as_json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines).try_init()
    };
    started.map_err(|e| Failure::Machine(format!("logging cannot start: {e}")))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(LogFilter(handle))
}

/// Whether lines may have colours: a file and the journal keep the escape codes. See <https://no-color.org>.
fn is_for_a_person() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// Logs a panic like everything else: as one line, without what a store repeats of a request.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    // Taken when RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        error = message,
        place,
        thread = thread.name(),
        backtrace,
        "panicked"
    );
}

/// Leaves out of each line what a store repeats of a request: libraries log whole answers.
struct Discreet<W>(W);

impl<W: Write> Write for Discreet<W> {
    /// A line comes as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0
            .write_all(squire_engine::without_echo(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
