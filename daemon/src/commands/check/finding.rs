//! What was found, how bad it is, and what that makes of the exit code.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::{exit::Failure, output};

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// As it should be.
    Good,
    /// Worth knowing; no reason not to start.
    Note,
    /// Wrong, with the exit code that says what kind of wrong.
    Bad(u8),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What: a target's name, or a key of `[daemon]`.
    pub(super) about: String,
    #[serde(serialize_with = "graded")]
    pub(super) grade: Grade,
    /// What was found, and where it is bad, what to do. Programs know it by its first name.
    #[serde(rename = "told")]
    pub(super) message: String,
}

fn graded<S: Serializer>(grade: &Grade, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(grade.as_str())
}

impl Grade {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad(_) => "bad",
        }
    }
}

impl Finding {
    pub(super) fn good(about: &str, message: impl Into<String>) -> Self {
        Self::graded(about, Grade::Good, message)
    }

    pub(super) fn note(about: &str, message: impl Into<String>) -> Self {
        Self::graded(about, Grade::Note, message)
    }

    pub(super) fn bad(about: &str, code: u8, message: impl Into<String>) -> Self {
        Self::graded(about, Grade::Bad(code), message)
    }

    fn graded(about: &str, grade: Grade, message: impl Into<String>) -> Self {
        Self {
            about: about.to_owned(),
            grade,
            message: message.into(),
        }
    }

    /// In one line: of an error with its causes, the first.
    fn line(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}",
            self.about,
            self.grade.as_str(),
            self.line()
        )
    }
}

/// A target that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) uri: String,
    /// What it is, where that could be seen.
    pub(super) kind: Option<&'static str>,
    /// How many tables it has.
    pub(super) tables: Option<usize>,
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub(super) took: Duration,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

fn seconds<S: Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64())
}

/// A line for each target.
pub(super) fn table(targets: &[Seen]) -> String {
    let row = |seen: &Seen| {
        vec![
            seen.finding.about.clone(),
            seen.kind.unwrap_or("-").to_owned(),
            seen.tables
                .map_or("-".to_owned(), |n| output::count(n as u64)),
            output::duration(seen.took),
            seen.finding.grade.as_str().to_owned(),
            seen.finding.line().to_owned(),
        ]
    };
    let header = ["target", "kind", "tables", "took", "is", "because"];
    output::table(&header, targets.iter().map(row).collect())
}

/// What all of it comes to: a failure that tells everything that is bad, with the code that needs a user most.
pub(super) fn verdict<'f>(findings: impl Iterator<Item = &'f Finding>) -> Result<(), Failure> {
    let bad = findings.filter_map(|finding| match finding.grade {
        Grade::Bad(code) => Some((code, format!("{}: {}", finding.about, finding.message))),
        Grade::Good | Grade::Note => None,
    });
    let bad: Vec<(u8, String)> = bad.collect();
    let message = bad.iter().map(|(_, message)| message.as_str());
    let message = message.collect::<Vec<_>>().join("\n");
    let has = |wanted: u8| bad.iter().any(|(code, _)| *code == wanted);
    if bad.is_empty() {
        Ok(())
    } else if has(5) {
        Err(Failure::Operator(message))
    } else if has(2) {
        Err(Failure::Usage(message))
    } else {
        Err(Failure::Machine(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(findings: &[Finding]) -> u8 {
        verdict(findings.iter()).map_or_else(|failure| failure.code(), |()| 0)
    }

    #[test]
    fn the_exit_code_is_that_of_what_needs_a_person_most() {
        let [good, note] = [Finding::good("a", "it is"), Finding::note("b", "so so")];
        let [store, config, repair] = [1, 2, 5].map(|code| Finding::bad("c", code, "broken"));
        assert_eq!(code(&[good.clone(), note]), 0);
        assert_eq!(code(&[good, store.clone()]), 1);
        assert_eq!(code(&[store.clone(), config.clone()]), 2);
        assert_eq!(code(&[repair, config, store]), 5);
    }

    #[test]
    fn everything_that_is_bad_is_reported() {
        let found = [
            Finding::bad("a", 1, "x\n  because: y"),
            Finding::bad("b", 1, "z"),
        ];
        let message = verdict(found.iter()).unwrap_err().to_string();
        assert_eq!(message, "a: x\n  because: y\nb: z");
        assert_eq!(found[0].to_string(), "a: bad: x");
    }
}
