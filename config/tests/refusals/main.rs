//! What is refused, where it is said to be, and how to put it right.
//!
//! | file | what is in it |
//! |---|---|
//! | [`values`] | keys that are not known, and values that make no sense |
//! | [`contradictions`] | settings that are right by themselves and do not go together |
//! | [`secrets`] | secrets where none may be |
//! | [`sources`] | where a problem is reported to be: a file, a variable, several of them |
#![allow(clippy::unwrap_used)]

mod contradictions;
mod secrets;
mod sources;
mod values;

use std::fs;

use squire_config::{ConfigError, Place, Settings};
use tempfile::TempDir;

/// Loads files of these names and texts, the first as the settings file.
fn refused(files: &[(&str, &str)], variables: &[(&str, &str)]) -> ConfigError {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load_with_env(&directory.path().join("squire.toml"), variables).unwrap_err()
}

/// Each problem of one file as `line:column key | what | fix`.
fn problems(text: &str) -> Vec<String> {
    listed(&refused(&[("squire.toml", text)], &[]))
}

fn listed(error: &ConfigError) -> Vec<String> {
    let described = error.problems().iter().map(|problem| {
        let place = match &problem.place {
            Place::File { line, column, .. } => format!("{line}:{column}"),
            Place::Path(path) => path.file_name().unwrap().display().to_string(),
            Place::Variable(name) => name.clone(),
            Place::Flag(key) => format!("--set {key}"),
        };
        let key = problem.key.as_deref().unwrap_or("-");
        format!("{place} {key} | {} | {}", problem.what, problem.fix)
    });
    described.collect()
}

/// The one problem of one file.
fn problem(text: &str) -> String {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}
