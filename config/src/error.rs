//! What is wrong with the settings, where, and how to put it right.

use std::fmt;
use std::path::{Path, PathBuf};

/// The settings were refused. Displays one [`Problem`] after the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Everything that was found wrong, in the order of the layers and, within a file, of the
    /// places. Never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong. Displays as two lines: place, key and fault; then the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was found.
    pub place: Place,
    /// The full path of the key it concerns, such as `defaults.compaction.cron`, if it concerns one.
    pub key: Option<String>,
    /// What is wrong, and why it is refused.
    pub what: String,
    /// How to put it right.
    pub fix: String,
}

impl Problem {
    pub(crate) fn new(place: Place, key: Option<String>, refusal: Refusal) -> Self {
        Self {
            place,
            key,
            what: tame(&refusal.what),
            fix: tame(&refusal.fix),
        }
    }
}

/// A message fit to be shown, as it may repeat a value: without what looks like credentials in a URI, and not too long.
fn tame(message: &str) -> String {
    const LONGEST: usize = 600;
    let mut tame = message.to_owned();
    if let Some(begin) = message.find("://")
        && let Some(end) = message.rfind('@').filter(|end| *end > begin)
    {
        tame.replace_range(begin + 3..end, "...");
    }
    match tame.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &tame[..end]),
        None => tame,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        write!(f, "{}\n  fix: {}", self.what, self.fix)
    }
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A position in a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// A file or directory as a whole.
    Path(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
    /// A `--set` of the command line, by its key.
    Flag(String),
}

impl Place {
    /// The position of a byte of a file's text.
    pub(crate) fn of_byte(path: &Path, text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Path(path) => write!(f, "{}", path.display()),
            Place::Variable(name) => write!(f, "environment variable {name}"),
            Place::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// Why one value is refused. It travels through serde as text, fault and remedy on a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and why it is refused.
    pub what: String,
    /// How to put it right.
    pub fix: String,
}

impl Refusal {
    /// A fault and its remedy.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Reads a refusal back from a serde error, be it one of ours or one of serde's own.
    pub(crate) fn from_message(message: &str) -> Self {
        if let Some((what, fix)) = message.split_once('\n') {
            return Self::new(what, fix);
        }
        match message.split_once(", expected ") {
            Some((what, expected)) => Self::new(what, format!("write {expected}")),
            None => Self::new(message, "correct the value"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_no_credentials_and_no_endless_value() {
        assert_eq!(
            tame("cannot read \"s3://k:h/@sh@b/x\""),
            "cannot read \"s3://...@b/x\""
        );
        assert_eq!(tame("a@b and s3://bucket"), "a@b and s3://bucket");
        assert_eq!(tame(&"é".repeat(10_000)).chars().count(), 603);
    }
}
