//! Where a problem is said to be: in a file, in a variable, in several of them.

use std::fs;

use squire_config::Settings;
use tempfile::TempDir;

use crate::{assert_says, listed, problem, refused};

#[test]
fn the_message_names_file_line_column_key_fault_and_remedy() {
    let error = refused(&[("squire.toml", "[daemon]\n  tik = '1s'\n")], &[]);
    let message = error.to_string();
    assert_says(
        &message,
        &[
            "squire.toml:2:3: `daemon.tik`: not a known key",
            "\n  fix: did you mean `tick`?",
        ],
    );
}

#[test]
fn all_problems_of_all_layers_are_found_at_once_and_in_order() {
    let error = refused(
        &[
            (
                "squire.toml",
                "[defaults.compaction]\nenabled = 1\n[[target]]\nname = 'A'\n[daemon]\ntik = 1\n\
                 tick = 5\n",
            ),
            ("conf.d/1.toml", "x = 1"),
            ("conf.d/2.toml", "x = \ny = 'abc"),
        ],
        &[("SQUIRE__DAEMON__TICK", "soon")],
    );
    let said = listed(&error);
    let starts = [
        "2:11 defaults.compaction.enabled",
        "3:1 target[0].uri",
        "4:8 target[0].name",
        "6:1 daemon.tik",
        "7:8 daemon.tick",
        "1:1 x",
        "1:5 -",
        "2:9 -",
        "SQUIRE__DAEMON__TICK daemon.tick",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said} should start with {start}");
    }
}

#[test]
fn unknown_variables_are_refused_by_name_with_the_nearest_known_one() {
    for (name, fix) in [
        ("SQUIRE__DAEMON__TIK", "SQUIRE__DAEMON__TICK"),
        ("SQUIRE__DAEMON_TICK", "SQUIRE__DAEMON__TICK"),
        ("SQUIRE__daemon__tick", "SQUIRE__DAEMON__TICK"),
        ("SQUIRE__", "unset it"),
        ("SQUIRE__DAEMON", "unset it"),
        (
            "SQUIRE__TARGET__A__URI",
            "write the target into the settings file",
        ),
    ] {
        let error = refused(&[("squire.toml", "")], &[(name, "1")]);
        assert_says(
            &error.to_string(),
            &[&format!("environment variable {name}: "), fix],
        );
    }
}

#[test]
fn bad_values_of_variables_are_refused_by_name() {
    for (name, value, part) in [
        ("SQUIRE__DAEMON__TICK", "10", "time unit needed"),
        ("SQUIRE__DAEMON__CONCURRENCY", "0", "no job would ever run"),
        ("SQUIRE__DAEMON__CONCURRENCY", "many", "a whole number"),
        ("SQUIRE__DAEMON__LISTEN", "0.0.0.0:1", "other machines"),
        ("SQUIRE__DAEMON__LOG", "", "empty"),
        ("SQUIRE__DEFAULTS__COMPACTION__ENABLED", "yes", "boolean"),
    ] {
        let error = refused(&[("squire.toml", "")], &[(name, value)]);
        assert_says(&error.to_string(), &[name, part]);
    }
}

#[test]
fn files_that_cannot_be_read_are_refused_by_name() {
    let said = listed(&refused(&[], &[]));
    assert_says(&said[0], &["squire.toml - | cannot be read"]);
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("squire.toml"),
        b"[daemon]\nlog = '\xff'",
    )
    .unwrap();
    let path = directory.path().join("squire.toml");
    let error = Settings::load_with_env(&path, std::iter::empty()).unwrap_err();
    assert_says(&error.to_string(), &["squire.toml:2:8: not UTF-8"]);
}

#[test]
fn columns_count_characters_not_bytes() {
    assert!(problem("daemon = { log = 'äöü', tik = 1 }").starts_with("1:25 "));
}
