//! Exit codes that mean something.

use std::{error::Error as _, process::ExitCode};

use squire_config::ConfigError;
use squire_engine::{Advice, Error, without_echo};

use crate::service::http::access::error::ListenerError;

/// How a command ends.
pub(crate) type Done = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", with_causes(.0))]
    Engine(#[from] Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// The command itself cannot be followed.
    #[error("{0}")]
    Usage(String),
    /// Something is left that only an operator can fix.
    #[error("{0}")]
    Operator(String),
    /// A writer went first, and what was asked for is not done.
    #[error("{0}")]
    Overtaken(String),
    /// The machine refuses: a port is taken, a file cannot be read.
    #[error("{0}")]
    Machine(String),
}

/// The error with its causes, one a line, as far as the message does not hold them already.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let cause_text = inner.to_string();
        let cause_text = without_echo(&cause_text);
        if !text.contains(&*cause_text) {
            text.push_str("\n  because: ");
            text.push_str(&cause_text);
        }
        cause = inner.source();
    }
    text
}

impl Failure {
    /// See `squire --help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The exit code as a number.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Listener(_) | Self::Usage(_) => 2,
            Self::Machine(_) => 1,
            Self::Operator(_) => 5,
            Self::Overtaken(_) => 3,
            Self::Engine(e) => match e.advice() {
                Advice::FixInput => 2,
                Advice::Retry => match e {
                    Error::ExpectedVersionMismatch { .. }
                    | Error::SchemaMoved { .. }
                    | Error::Aborted { .. } => 3,
                    _ => 1,
                },
                Advice::DoNotRetry => 4,
                Advice::Repair => 5,
            },
        }
    }
}
