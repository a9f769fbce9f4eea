//! Who maintains the table while the writers are at work.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use squire_tests::{
    daemon::Daemon,
    lancedb::{
        kept::{Ended, Jobs},
        ledger::Ledger,
        python::Program,
    },
    show::say,
};

use super::Pace;
use crate::Result;

/// The daemon's settings: the default ones. It finds out by itself that the table is hot.
const SETTINGS: &str = r#"
[daemon]
listen = "127.0.0.1:0"
log_format = "json"

[[target]]
name = "contended"
"#;
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maintenance {
    /// Nobody maintains the table.
    None,
    /// A fourth program calls `table.optimize()` every second.
    Optimize,
    /// `squire run` keeps the directory.
    Squire,
}

/// What became of its rewrites.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrites {
    /// They were committed.
    pub(super) done: u64,
    /// Their work was for nothing: somebody else had committed first.
    pub(super) lost: u64,
    /// The daemon's jobs.
    pub(super) jobs: Vec<Ended>,
}

impl Rewrites {
    /// The share of the lost ones, 0 to 1.
    pub(super) fn share_lost(&self) -> f64 {
        self.lost as f64 / (self.done + self.lost).max(1) as f64
    }
}

impl Maintenance {
    /// In the order in which they are measured: the first is what the others are compared with.
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Optimize, Self::Squire];

    /// As the command line and the figures spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optimize => "optimize",
            Self::Squire => "squire",
        }
    }

    /// Gets ready to maintain the tables at `place`.
    pub(super) async fn start(
        self,
        interpreter: &Path,
        place: &Path,
        pace: Pace,
    ) -> Result<Maintainer> {
        match self {
            Self::None => Ok(Maintainer::Nobody),
            Self::Optimize => {
                let (mut program, ledger) = super::start(interpreter, self.as_str(), place, pace)?;
                program.ready().await?;
                Ok(Maintainer::Optimize(program, ledger))
            }
            Self::Squire => {
                let config = place.with_extension("toml");
                std::fs::write(
                    &config,
                    format!("{SETTINGS}uri = \"{}\"\n", place.display()),
                )?;
                let log = place.with_extension("log");
                let daemon = Daemon::start(&config, &log).await?;
                Ok(Maintainer::Squire(daemon, log))
            }
        }
    }
}

/// Maintenance that is ready, or at work.
#[derive(Debug)]
pub(super) enum Maintainer {
    Nobody,
    Optimize(Program, PathBuf),
    Squire(Daemon, PathBuf),
}

impl Maintainer {
    /// The writers begin now.
    pub(super) async fn go(&mut self) -> Result {
        if let Self::Optimize(program, _) = self {
            program.go().await?;
        }
        Ok(())
    }

    /// The writers have ended.
    pub(super) async fn end(self) -> Result<Rewrites> {
        match self {
            Self::Nobody => Ok(Rewrites::default()),
            Self::Optimize(program, ledger) => {
                program.end().await?;
                let ledger = Ledger::read(&ledger)?;
                let lost = ledger.errors().count() as u64;
                let done = ledger.operations.len() as u64 - lost;
                Ok(Rewrites {
                    done,
                    lost,
                    jobs: Vec::new(),
                })
            }
            Self::Squire(daemon, log) => {
                daemon.stop(PATIENCE).await?;
                let jobs = Jobs::read(&log)?;
                for failed in &jobs.failed {
                    say(format!("    {failed}"));
                }
                Ok(Rewrites {
                    done: jobs.rewrites,
                    lost: jobs.lost,
                    jobs: jobs.ended,
                })
            }
        }
    }
}
