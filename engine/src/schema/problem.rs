//! What is wrong with a schema file, and where.

/// One thing that is wrong with a schema file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, and how to put it right.
    pub message: String,
}

/// A schema file that cannot be used, with everything that was found wrong in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.file, .problems))]
pub struct SchemaError {
    /// The file, as the caller named it.
    pub file: String,
    /// The problems in the order of the file, at least one.
    pub problems: Vec<Problem>,
}

/// Maximum number of problems in one message: a file that is no schema at all has one in every line.
const MAX_REPORTED: usize = 30;
/// Maximum length of a message that is shown in full: it may repeat text of the file.
const LONGEST: usize = 500;

fn listed(file: &str, problems: &[Problem]) -> String {
    let lines = problems.iter().take(MAX_REPORTED).map(|p| {
        let message = match p.message.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &p.message[..end]),
            None => p.message.clone(),
        };
        format!("{file}:{}:{}: {message}", p.line, p.column)
    });
    let mut lines: Vec<_> = lines.collect();
    if let Some(more) = problems
        .len()
        .checked_sub(MAX_REPORTED)
        .filter(|more| *more > 0)
    {
        lines.push(format!("{file}: and {more} more"));
    }
    lines.join("\n")
}

/// The word of `known` that was most likely meant by `word`, when one is similar enough to be suggested.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    // A third of the letters may be wrong: more would propose words that have nothing in common.
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|k| {
            (
                strsim::damerau_levenshtein(&word, &k.to_ascii_lowercase()),
                k,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// The end of a message about an unknown word: the nearest known one, or all of them.
pub(super) fn proposal(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("write one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_shown_with_file_line_and_column() {
        let problem = |line, message: &str| Problem {
            line,
            column: 3,
            message: message.into(),
        };
        let problems = vec![problem(1, "a"), problem(7, "b")];
        let error = SchemaError {
            file: "g.toml".into(),
            problems,
        };
        assert_eq!(error.to_string(), "g.toml:1:3: a\ng.toml:7:3: b");
    }

    #[test]
    fn of_very_many_problems_the_first_are_shown_and_the_rest_is_counted() {
        let problem = |line| Problem {
            line,
            column: 1,
            message: "ü".repeat(2_000),
        };
        let error = SchemaError {
            file: "g.toml".into(),
            problems: (1..=100).map(problem).collect(),
        };
        let text = error.to_string();
        assert_eq!(text.lines().count(), MAX_REPORTED + 1);
        assert!(text.ends_with("g.toml: and 70 more"), "{text}");
        assert!(text.len() < 40_000, "{}", text.len());
    }

    #[test]
    fn only_a_word_that_is_near_is_proposed() {
        assert_eq!(
            nearest("proprties", ["properties", "key"]),
            Some("properties")
        );
        assert_eq!(nearest("KEY", ["properties", "key"]), Some("key"));
        assert_eq!(nearest("colour", ["properties", "key"]), None);
        assert_eq!(
            proposal("colour", &["name", "key"]),
            "write one of name, key"
        );
    }
}
