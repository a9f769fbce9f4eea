//! The table of threats, and every other place where a test is said to hold something: the tests are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use squire_tests::repository;

use crate::{deletions::sources, pages};

/// Of whom the table has to speak.
const WHO: [&str; 6] = [
    "owner of one table",
    "writer of a target",
    "reader of the API",
    "writer of the configuration",
    "owner of the store's account",
    "network neighbour",
];

/// One line of the table.
struct Threat<'t> {
    who: &'t str,
    /// The files, each with its tests.
    held_by: Vec<(&'t str, Vec<&'t str>)>,
}

/// The table below the heading.
fn threats(text: &str) -> Vec<Threat<'_>> {
    let section = text.split("\n## Threats\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows = rows.skip(1).map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let mut held_by: Vec<(&str, Vec<&str>)> = Vec::new();
        // Every second part of a text is between backquotes.
        let code = cells.last().unwrap_or(&"").split('`').skip(1).step_by(2);
        for word in code {
            match held_by.last_mut() {
                Some((_, tests)) if !word.ends_with(".rs") => tests.push(word),
                _ => held_by.push((word, Vec::new())),
            }
        }
        Threat {
            who: cells[0],
            held_by,
        }
    });
    rows.collect()
}

/// The names of the tests in a source file.
fn tests_in(text: &str) -> BTreeSet<String> {
    let (mut names, mut is_test) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.split_once("fn ").and_then(|(before, after)| {
            matches!(before, "" | "async ").then(|| after.split('(').next())?
        });
        if let Some(name) = function.filter(|_| is_test) {
            names.insert(name.to_owned());
        }
        is_test &= line.is_empty() || line.starts_with("//");
    }
    names
}

fn document() -> String {
    fs::read_to_string(repository::file("docs/security.md")).unwrap()
}

#[test]
fn each_threat_names_the_test_that_holds_the_wall_and_that_test_is_there() {
    let text = document();
    let threats = threats(&text);
    for who in WHO {
        assert!(threats.iter().any(|threat| threat.who == who), "{who}");
    }
    let mut lacking = Vec::new();
    for threat in &threats {
        if threat.held_by.is_empty() {
            lacking.push(format!("{}: a threat that no test holds off", threat.who));
        }
        for (file, names) in &threat.held_by {
            let source = fs::read_to_string(repository::file(file));
            let there = source.map(|source| tests_in(&source)).unwrap_or_default();
            if names.is_empty() {
                lacking.push(format!("{file}: which of its tests?"));
            }
            let not_there = names.iter().filter(|name| !there.contains(**name));
            lacking.extend(not_there.map(|name| format!("{file} has no test {name}")));
        }
    }
    assert!(
        lacking.is_empty(),
        "docs/security.md:\n{}",
        lacking.join("\n")
    );
}

/// A name of five words and more is that of a test; whoever renames one finds the document that speaks of it.
#[test]
fn every_test_that_a_document_names_is_there() {
    let root = repository::file("");
    let mut files: Vec<PathBuf> = Vec::new();
    for part in ["config", "engine", "daemon", "tests/src", "tests/suites"] {
        sources(&root.join(part), &mut files);
    }
    let read = |file: &PathBuf| tests_in(&fs::read_to_string(file).unwrap());
    let there: BTreeSet<_> = files.iter().flat_map(read).collect();
    let is_name = |code: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        code.chars().all(plain) && code.matches('_').count() >= 5
    };
    let mut found = 0;
    let mut lacking = Vec::new();
    for page in pages::all() {
        for (line, code) in page.code.iter().filter(|(_, code)| is_name(code)) {
            found += 1;
            if !there.contains(code) && !is_metric(code) {
                lacking.push(format!(
                    "{}:{line}: no test is called {code}",
                    page.path.display()
                ));
            }
        }
    }
    assert!(found > 20, "{found} names were found");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

fn is_metric(code: &str) -> bool {
    let metrics = ["squire_", "process_", "lance_object_store_"];
    metrics.iter().any(|metric| code.starts_with(metric))
}

#[test]
fn tests_are_told_from_functions_beside_them_and_cells_are_taken_apart() {
    let source = "#[test]\n/// Says why.\nfn one() {\n    let f = 1;\n}\n\nfn two() {}\n#[tokio::test(flavor = \"x\")]\n\
                  #[allow(y)]\nasync fn three() {}\n";
    let found: Vec<_> = tests_in(source).into_iter().collect();
    assert_eq!(found, ["one", "three"]);
    let text = "a\n## Threats\n\n| who | held by |\n|---|---|\n| x | `a.rs`: `t`, `u`; `b.rs`: `v` |\n\n## Next\n| y | z |\n";
    let threats = threats(text);
    assert_eq!(threats.len(), 1);
    let held_by = [("a.rs", vec!["t", "u"]), ("b.rs", vec!["v"])];
    assert_eq!(threats[0].held_by, held_by);
    assert!(Path::new(threats[0].held_by[0].0).is_relative());
}
