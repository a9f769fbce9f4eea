//! What is wrong with the answers of a client.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// So many rows are named of an answer that is wrong.
const NAMED: usize = 3;

/// What came of all questions about one table at one step. A step that failed counts as a question.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// How many questions there were.
    pub asked: usize,
    /// The answers that are not what the rows say.
    pub wrong: BTreeMap<String, Wrong>,
}

/// An answer that is not what the rows say.
#[derive(Clone, Debug, Default)]
pub struct Wrong {
    /// It is an error.
    pub error: Option<String>,
    /// What it lacks.
    pub missing: Vec<String>,
    /// What it has too much.
    pub extra: Vec<String>,
    /// How much there should be.
    pub wanted: u64,
    /// There is no right answer, only more or less: the rows outside of an index, what a search of indexes alone finds.
    pub relative: bool,
}

/// The answers of a table in comparison with those that the same client gets when nobody maintains it.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// How many questions there were.
    pub asked: usize,
    /// Answers that are wrong without maintenance, too, and not more so now.
    pub as_alone: usize,
    /// Answers that are worse than without maintenance.
    pub bad: Vec<(String, Wrong)>,
}

impl Asked {
    /// Reads what the client says.
    pub fn parse(answer: &Value) -> Self {
        let wrong = answer["bad"].as_object().into_iter().flatten();
        Self {
            asked: answer["asked"]
                .as_u64()
                .and_then(|n| n.try_into().ok())
                .unwrap_or_default(),
            wrong: wrong
                .map(|(question, wrong)| (question.clone(), Wrong::parse(wrong)))
                .collect(),
        }
    }

    /// Something that was tried and ended with an error.
    pub fn failed(what: &str, error: impl Into<String>) -> Self {
        let mut asked = Self::default();
        asked.note(what, Some(error.into()));
        asked
    }

    /// Counts something besides the questions, and the error that it ended with.
    pub fn note(&mut self, what: &str, error: Option<String>) {
        self.asked += 1;
        if let Some(error) = error {
            let wrong = Wrong {
                error: Some(error),
                ..Wrong::default()
            };
            self.wrong.insert(what.to_owned(), wrong);
        }
    }

    /// Compares with what the client gets when nobody maintains the table; `None` when that is not known.
    pub fn judge(&self, alone: Option<&Self>) -> Judged {
        let mut judged = Judged {
            asked: self.asked,
            ..Judged::default()
        };
        for (question, wrong) in &self.wrong {
            let forgiven = alone
                .and_then(|alone| alone.wrong.get(question))
                .is_some_and(|alone| wrong.is_no_worse_than(alone));
            if !forgiven {
                judged.bad.push((question.clone(), wrong.clone()));
            } else if !wrong.relative {
                judged.as_alone += 1;
            }
        }
        judged
    }

    /// Answers that are wrong where there is a right one.
    pub fn plainly_wrong(&self) -> usize {
        self.wrong.values().filter(|w| !w.relative).count()
    }
}

impl Wrong {
    fn parse(wrong: &Value) -> Self {
        let texts = |name: &str| {
            let texts = wrong[name].as_array().into_iter().flatten();
            texts
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            error: wrong["error"].as_str().map(str::to_owned),
            missing: texts("missing"),
            extra: texts("extra"),
            wanted: wrong["wanted"].as_u64().unwrap_or_default(),
            relative: wrong["relative"].as_bool().unwrap_or_default(),
        }
    }

    /// All that is missing or too many.
    pub fn rows(&self) -> String {
        let rows: Vec<_> = self.missing.iter().chain(&self.extra).cloned().collect();
        rows.join(", ")
    }

    /// Whether this is no worse than another answer to the same question: no more is missing, and no more too much. Which
    /// rows a faulty client loses depends on how they lie in files, so they are counted. An error instead of rows is worse,
    /// and so are wrong rows instead of an error.
    fn is_no_worse_than(&self, other: &Self) -> bool {
        match (&self.error, &other.error) {
            (Some(_), Some(_)) => true,
            (None, None) => {
                self.missing.len() <= other.missing.len() && self.extra.len() <= other.extra.len()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return f.write_str(error);
        }
        let some = |rows: &[String]| {
            let more = if rows.len() > NAMED { ", …" } else { "" };
            format!("{}{more}", rows[..rows.len().min(NAMED)].join(", "))
        };
        let mut comma = "";
        for (what, rows) in [("missing", &self.missing), ("too many", &self.extra)] {
            if !rows.is_empty() {
                write!(f, "{comma}{} {what} ({})", rows.len(), some(rows))?;
                comma = ", ";
            }
        }
        write!(f, ", of {}", self.wanted)
    }
}
