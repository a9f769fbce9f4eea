//! Who may delete what: the table in the documents has every rule, and no code deletes but by a rule.

use std::{
    fs,
    path::{Path, PathBuf},
};

use squire_engine::DeletionRule;
use squire_tests::repository;

/// What deletes a file, an object or a folder.
const CALLS: [&str; 6] = [
    "store.delete(",
    ".delete_stream(",
    "remove_file(",
    "remove_dir",
    "unlinkat(",
    "inner.delete(",
];

/// Files that may: the module itself, the local store below it, and the daemon's own files in its own folders.
const MAY: [&str; 6] = [
    "engine/src/storage/deletion.rs",
    "engine/src/storage/local/",
    "engine/src/graph/manifest/flaky.rs",
    "daemon/src/commands/daemon/service/layout.rs",
    "daemon/src/service/atomic_file.rs",
    "daemon/src/service/reload/socket.rs",
];

/// The Rust files of a folder.
pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of a source file that delete, but for those of its tests, which stand at its end.
fn deletions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.rfind("#[cfg(test)]");
    let code = &text[..tests.unwrap_or(text.len())];
    let lines = code.lines().enumerate();
    let calls = |line: &str| {
        let called = line.split("//").next().unwrap_or(line);
        CALLS.iter().any(|call| called.contains(call))
    };
    lines.filter(move |(_, line)| calls(line))
}

#[test]
fn no_code_deletes_but_through_the_module_that_names_the_rule() {
    let root = repository::file("");
    let mut found = Vec::new();
    for part in ["config/src", "engine/src", "daemon/src"] {
        sources(&root.join(part), &mut found);
    }
    let mut elsewhere = Vec::new();
    for path in found {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if MAY.iter().any(|may| name.starts_with(may)) || name.ends_with("_tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = deletions(&text).map(|(n, line)| format!("{name}:{}: {}", n + 1, line.trim()));
        elsewhere.extend(lines);
    }
    assert!(
        elsewhere.is_empty(),
        "delete through engine/src/storage/deletion.rs, by a rule of its own, and say it in docs/security.md:\n{}",
        elsewhere.join("\n")
    );
}

#[test]
fn what_deletes_is_found_in_code_and_not_in_comments_or_tests() {
    let text = "a;\nself.store.delete(&path);\n// unlinkat(x)\n#[cfg(test)]\nmod tests { remove_file(x) }\n";
    assert_eq!(deletions(text).map(|(n, _)| n).collect::<Vec<_>>(), [1]);
}

#[test]
fn the_documents_say_of_every_rule_who_deletes_what_by_it() {
    let text = fs::read_to_string(repository::file("docs/security.md")).unwrap();
    for rule in DeletionRule::ALL {
        assert!(
            text.contains(&format!("| `{}` |", rule.as_str())),
            "{}",
            rule.as_str()
        );
    }
}
