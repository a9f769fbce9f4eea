//! The arrows of `docs/architecture.md`: which folder may use which, and that no files use each other in a circle.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | the rules |
//! | [`modules`] | the modules of a crate, and which file each of their paths leads to |
//! | [`circles`] | a circle in a graph |
//! | [`outside`] | what a file uses of another crate |

mod circles;
mod modules;
mod outside;

use std::collections::{BTreeMap, BTreeSet};

use squire_tests::repository;

use self::modules::Crate;
use crate::deletions;

/// A file, by its path below the crate's `src`, and those that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// A folder or file of a crate, with those below it that it may use. Whatever is not named may use everything.
type Rule = (&'static str, &'static [&'static str]);

/// What all of the engine may use.
const BASE: [&str; 6] = ["error", "failpoint", "ids", "memory", "progress", "redact"];

/// The engine's arrows. `error` names the typed errors of every folder; `lib` and `fuzz` are the way in.
const ENGINE: [Rule; 11] = [
    ("failpoint", &[]),
    ("memory", &[]),
    ("progress", &[]),
    ("redact", &[]),
    ("ids", &[]),
    ("storage", &[]),
    ("schema", &[]),
    ("planner", &[]),
    ("table", &["storage", "schema", "planner"]),
    ("directory", &["storage", "schema", "planner", "table"]),
    ("graph", &["storage", "schema", "planner", "table"]),
];

fn uses(krate: &str, root: &str) -> Uses {
    Crate::read(krate, root).uses()
}

/// The daemon's arrows. `exit` names the typed errors of every folder; `main` and `commands` may use everything.
const DAEMON: [Rule; 8] = [
    ("api", &[]),
    ("cli", &[]),
    ("cron", &["exit"]),
    ("output", &[]),
    ("logging", &["exit"]),
    ("target", &["exit"]),
    ("configuration", &["cli", "cron", "exit", "logging"]),
    (
        "service",
        &[
            "api",
            "configuration",
            "cron",
            "exit",
            "logging",
            "output",
            "target",
        ],
    ),
];

/// Parts of the daemon with all that may use them: nothing that they use points back at them.
const DAEMON_TOPS: [Rule; 2] = [
    (
        "service/keeper/",
        &["service/run.rs", "service/supervisor.rs"],
    ),
    (
        "service/http/",
        &["service/run.rs", "service/reload/", "commands/", "exit.rs"],
    ),
];

/// What the configuration may use of the engine: the types of its settings, and no code that works on a target.
const OF_CONFIG: [&str; 5] = ["DriftPolicy", "Kind", "ManifestRetention", "planner", "uri"];

/// The folder below `src`, or the file's name, that a file belongs to.
fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// What breaks the rules, as lines that name the two files.
fn broken(uses: &Uses, rules: &[Rule], base: &[&str]) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, used) in uses {
        let Some((from, may)) = rules.iter().find(|(from, _)| *from == room(file)) else {
            continue;
        };
        for used in used {
            let to = room(used);
            if to != *from && !may.contains(&to) && !base.contains(&to) {
                broken.push(format!("{file} must not use {used}: {from} is below {to}"));
            }
        }
    }
    broken
}

/// What uses the top of a crate without leave, as lines that name the two files.
fn pointing_back(uses: &Uses, tops: &[Rule]) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, used) in uses {
        for used in used {
            let top = tops.iter().find(|(top, _)| used.starts_with(top));
            let Some((top, by)) = top.filter(|(top, _)| !file.starts_with(top)) else {
                continue;
            };
            if !by.iter().any(|by| file.starts_with(by)) {
                broken.push(format!("{file} must not use {used}: {top} is above it"));
            }
        }
    }
    broken
}

#[test]
fn the_arrows_between_the_folders_of_the_engine_run_one_way() {
    let broken = broken(&uses("engine", "lib.rs"), &ENGINE, &BASE);
    assert!(
        broken.is_empty(),
        "see docs/architecture.md:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_arrows_between_the_folders_of_the_daemon_run_one_way() {
    let uses = uses("daemon", "main.rs");
    let mut broken = broken(&uses, &DAEMON, &[]);
    broken.extend(pointing_back(&uses, &DAEMON_TOPS));
    assert!(
        broken.is_empty(),
        "see docs/architecture.md:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_configuration_uses_of_the_engine_only_the_types_of_settings() {
    let mut files = Vec::new();
    deletions::sources(&repository::file("config/src"), &mut files);
    let used = files.iter().flat_map(|file| {
        let used = outside::used_of("squire_engine", file).into_iter();
        used.map(|name| format!("{} must not use {name} of the engine", file.display()))
            .collect::<Vec<_>>()
    });
    let is_allowed = |line: &String| {
        OF_CONFIG
            .iter()
            .any(|name| line.contains(&format!(" use {name} of")))
    };
    let broken: Vec<_> = used.filter(|line| !is_allowed(line)).collect();
    assert!(
        files.len() > 20 && broken.is_empty(),
        "see docs/architecture.md:\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut told = Vec::new();
    for (krate, root) in [
        ("engine", "lib.rs"),
        ("config", "lib.rs"),
        ("daemon", "main.rs"),
    ] {
        for circle in circles::all(&uses(krate, root)) {
            told.push(format!("{krate}/src: {}", circle.join(" -> ")));
        }
    }
    let told = told.join("\n");
    assert!(told.is_empty(), "move what both need below both:\n{told}");
}

#[test]
fn a_file_that_uses_what_is_above_it_is_named_with_it() {
    let uses = Uses::from([
        (
            "planner/plan.rs".to_owned(),
            BTreeSet::from(["table/stats.rs".to_owned()]),
        ),
        (
            "table/stats.rs".to_owned(),
            BTreeSet::from(["planner/plan.rs".to_owned()]),
        ),
        (
            "lib.rs".to_owned(),
            BTreeSet::from(["graph/mod.rs".to_owned()]),
        ),
    ]);
    let broken = broken(&uses, &ENGINE, &BASE);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].starts_with("planner/plan.rs must not use table/stats.rs"));
    assert_eq!(
        circles::all(&uses),
        [["planner/plan.rs", "table/stats.rs", "planner/plan.rs"]]
    );
}

#[test]
fn the_modules_are_read_as_the_compiler_reads_them() {
    let uses = uses("engine", "lib.rs");
    let of = |file: &str| &uses[file];
    // By a path of `use`, by a name that another module passes on, and by a path within the code.
    assert!(of("graph/options.rs").contains("table/drift_policy.rs"));
    assert!(of("lib.rs").is_empty(), "what is passed on is no use");
    assert!(!uses.keys().any(|file| file.ends_with("_tests.rs")));
}
