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

fn listed(file: &str, problems: &[Problem]) -> String {
    let lines = problems
        .iter()
        .map(|p| format!("{file}:{}:{}: {}", p.line, p.column, p.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// The word of `known` that was most likely meant by `word`, when one is near enough to be told.
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
