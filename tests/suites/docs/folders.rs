//! The tables of files at the heads of folders: who reads one does not find a file that it leaves out.

use std::{collections::BTreeSet, fs, path::Path};

use squire_tests::repository;

use crate::deletions::sources;

/// Whether it is a file that declares the others of its folder.
fn is_head(file: &Path) -> bool {
    let heads = ["lib.rs", "main.rs", "mod.rs"];
    heads.iter().any(|head| file.ends_with(head))
}

/// The names in the rows of the table at the head of a file.
fn named(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with("//! | "));
    // Every second part of a row is between backquotes.
    let code = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let apart = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let names = code.flat_map(|code| code.split(apart));
    names.collect()
}

/// The modules that a file declares, but for those of its tests.
fn declared(text: &str) -> Vec<&str> {
    let (mut found, mut before) = (Vec::new(), "");
    for line in text.lines() {
        let module = line.strip_suffix(';').and_then(|line| {
            let (visible, name) = line.split_once("mod ")?;
            (visible.is_empty() || visible.starts_with("pub")).then_some(name)
        });
        found.extend(module.filter(|_| before != "#[cfg(test)]"));
        before = line;
    }
    found
}

#[test]
fn a_table_of_files_at_the_head_of_a_folder_names_each_of_them() {
    let root = repository::file("");
    let mut files = Vec::new();
    for part in ["config", "engine", "daemon", "tests/src", "tests/suites"] {
        sources(&root.join(part), &mut files);
    }
    let (mut found, mut lacking) = (0, Vec::new());
    for file in files.iter().filter(|file| is_head(file)) {
        let text = fs::read_to_string(file).unwrap();
        let there = named(&text);
        if there.is_empty() {
            continue;
        }
        found += 1;
        let modules = declared(&text).into_iter();
        let missing = modules.filter(|module| !there.contains(module));
        let missing = missing.map(|module| format!("{}: {module}", file.display()));
        lacking.extend(missing);
    }
    assert!(found > 40, "{found} tables were found");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn a_module_is_told_from_one_of_tests_and_a_name_from_what_is_said_of_it() {
    let text = "//! | file | what |\n//! |---|---|\n//! | [`one`], `two()` | a three |\n\n\
                mod one;\n#[cfg(test)]\nmod one_tests;\npub(crate) mod three;\nuse one::x;\n";
    assert_eq!(declared(text), ["one", "three"]);
    let names = named(text);
    assert!(names.contains("one") && names.contains("two"));
    assert!(!names.contains("three"));
}
