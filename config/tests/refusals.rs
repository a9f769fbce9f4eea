//! What is refused, where it is said to be, and how to put it right.
#![allow(clippy::unwrap_used)]

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
fn unknown_keys_are_refused_everywhere_with_the_nearest_known_one() {
    for (text, start, fix) in [
        ("deamon = 1", "1:1 deamon |", "`daemon`"),
        ("[daemonn]", "1:2 daemonn |", "`daemon`"),
        (
            "[defaults.compactoin]",
            "1:11 defaults.compactoin |",
            "`compaction`",
        ),
        ("[daemon]\nLISTEN = 1", "2:1 daemon.LISTEN |", "`listen`"),
        (
            "[defaults.compaction]\nenable = 1",
            "2:1 defaults.compaction.enable |",
            "`enabled`",
        ),
        (
            "defaults.compaction.enable = 1",
            "1:21 defaults.compaction.enable |",
            "`enabled`",
        ),
        ("daemon = { tikc = 1 }", "1:12 daemon.tikc |", "`tick`"),
        (
            "[daemon]\n\"a b\" = 1",
            "2:1 daemon.\"a b\" |",
            "known here: listen, concurrency",
        ),
        (
            "[[target]]\nname='a'\nuri='memory://'\n[target.compaction]\ncorn = 1",
            "5:1 target[0].compaction.corn |",
            "`cron`",
        ),
        (
            "[[target]]\nname='a'\nuri='memory://'\nurl = 1",
            "4:1 target[0].url |",
            "`uri`",
        ),
        (
            "[[target]]\nname='a'\nuri='memory://'\nenabled = true",
            "4:1 target[0].enabled |",
            "[target.compaction]",
        ),
    ] {
        let said = problem(text);
        assert!(said.starts_with(start), "{said}");
        assert_says(&said, &["not a known key", fix]);
    }
}

#[test]
fn wrong_types_are_refused_with_what_is_expected() {
    for (text, start, fix) in [
        (
            "[daemon]\ntick = 10",
            "2:8 daemon.tick |",
            "a duration such as \"30s\"",
        ),
        (
            "[daemon]\nconcurrency = '2'",
            "2:15 daemon.concurrency |",
            "a whole number",
        ),
        (
            "[daemon]\nconcurrency = 2.5",
            "2:15 daemon.concurrency |",
            "a whole number",
        ),
        (
            "[[target]]\nname = 'a'\nuri = 'memory://'\ndrift = 'adpot'",
            "4:9 target[0].drift |",
            "did you mean \"adopt\"?",
        ),
        (
            "[daemon]\nlog_format = 'jsn'",
            "2:14 daemon.log_format |",
            "`json`",
        ),
        (
            "[daemon]\nlog = []",
            "2:7 daemon.log |",
            "filter directives",
        ),
        (
            "[defaults.compaction]\nenabled = 'yes'",
            "2:11 defaults.compaction.enabled |",
            "boolean",
        ),
        (
            "[defaults.compaction]\nmax_source_bytes = 5",
            "2:20 defaults",
            "a size such as",
        ),
        (
            "[defaults.compaction]\nmax_deleted_fraction = 'x'",
            "2:24 defaults",
            "a fraction",
        ),
        ("daemon = 4", "1:1 daemon |", "[daemon]"),
        ("daemon = ['127.0.0.1:1']", "1:1 daemon |", "[daemon]"),
        ("[[daemon]]", "1:3 daemon |", "[daemon]"),
        (
            "defaults.compaction = []",
            "1:10 defaults.compaction |",
            "[defaults.compaction]",
        ),
        ("[target]\nname = 'a'", "1:2 target |", "[[target]]"),
        ("target = [1]", "1:11 target[0] |", "[[target]]"),
        (
            "[daemon]\nlog = 2020-01-01",
            "2:7 daemon.log |",
            "no key takes a date",
        ),
    ] {
        let said = problem(text);
        assert!(said.starts_with(start), "{said}");
        assert_says(&said, &[fix]);
    }
}

#[test]
fn durations_and_sizes_that_make_no_sense_are_refused_with_the_reason() {
    for (section, setting, reason) in [
        (
            "daemon",
            "tick = '0s'",
            "below the least, 100ms: the daemon would do nothing but look",
        ),
        ("daemon", "tick = '2h'", "above the most, 1h"),
        ("daemon", "tick = '-3s'", "negative"),
        ("daemon", "tick = '30'", "time unit needed"),
        ("daemon", "tick = ''", "empty"),
        ("daemon", "tick = '584942417355y'", "too large"),
        ("daemon", "heal_interval = '0s'", "below the least"),
        ("daemon", "lease = '10ms'", "a live holder would look dead"),
        ("daemon", "lease = '1day'", "above the most, 10m"),
        ("daemon", "shutdown_grace = '0s'", "below the least"),
        ("daemon", "concurrency = 0", "no job would ever run"),
        ("daemon", "concurrency = -1", "negative"),
        ("daemon", "concurrency = 100000", "above the most, 256"),
        ("daemon", "log = ' '", "empty"),
        (
            "defaults.compaction",
            "target_bytes_per_file = '0B'",
            "below the least",
        ),
        (
            "defaults.compaction",
            "target_bytes_per_file = '-1GB'",
            "negative",
        ),
        (
            "defaults.compaction",
            "target_bytes_per_file = '1000'",
            "no unit",
        ),
        (
            "defaults.compaction",
            "target_bytes_per_file = '5 parsecs'",
            "not a number and a unit",
        ),
        (
            "defaults.compaction",
            "target_bytes_per_file = '9999999999PB'",
            "above the most",
        ),
        (
            "defaults.compaction",
            "small_fragment_bytes = '0B'",
            "below the least",
        ),
        (
            "defaults.compaction",
            "max_source_bytes = '0B'",
            "below the least",
        ),
        (
            "defaults.compaction",
            "min_small_fragments = 1",
            "nothing to be merged with",
        ),
        (
            "defaults.compaction",
            "max_deleted_fraction = 0",
            "below the least",
        ),
        (
            "defaults.compaction",
            "max_deleted_fraction = 1.5",
            "above the most, 1",
        ),
        (
            "defaults.compaction",
            "max_deleted_fraction = -0.1",
            "below the least",
        ),
        (
            "defaults.compaction",
            "max_deleted_fraction = nan",
            "not a number",
        ),
        (
            "defaults.compaction",
            "max_deleted_fraction = inf",
            "above the most",
        ),
        (
            "defaults.compaction",
            "interval_floor = '0s'",
            "rewritten without end",
        ),
        ("defaults.compaction", "cron = '*/5 * * * *'", "5 fields"),
        ("defaults.compaction", "cron = '0 60 * * * *'", "minute"),
    ] {
        let said = problem(&format!("[{section}]\n{setting}"));
        let column = setting.find(" = ").unwrap() + 4;
        assert!(
            said.starts_with(&format!("2:{column} {section}.")),
            "{said}"
        );
        assert_says(&said, &[reason]);
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused_with_the_reason() {
    for address in ["0.0.0.0:9464", "192.168.1.1:9464", "[::]:9464"] {
        let said = problem(&format!("[daemon]\nlisten = '{address}'"));
        assert_says(&said, &["other machines", "127.0.0.1:9464"]);
    }
    let said = problem("[daemon]\nlisten = 'localhost:9464'");
    assert_says(&said, &["not an IP address and a port"]);
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
fn a_target_without_name_or_uri_is_refused_at_its_header() {
    let said = problems("\n[[target]]\n");
    assert_says(&said[0], &["2:1 target[0].name | the target has no name"]);
    assert_says(&said[1], &["2:1 target[0].uri | the target has no uri"]);
}

#[test]
fn two_targets_of_one_name_are_refused_within_a_file_and_across_files() {
    const A: &str = "[[target]]\nname = 'a'\nuri = 'memory://'\n";
    assert_says(
        &problem(&format!("{A}{A}")),
        &["5:8 target.name", "\"a\" is taken", "squire.toml:2:8"],
    );
    let error = refused(&[("squire.toml", A), ("conf.d/b.toml", A)], &[]);
    let said = error.to_string();
    assert_says(&said, &["b.toml:2:8: ", "squire.toml:2:8"]);
}

#[test]
fn credentials_of_a_target_are_refused_and_not_repeated() {
    let text = "[[target]]\nname = 'a'\nuri = 's3://key:hush@bucket/x'";
    let said = refused(&[("squire.toml", text)], &[]).to_string();
    assert_says(&said, &["squire.toml:3:7: ", "holds credentials"]);
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn keys_that_contradict_each_other_are_refused_where_they_are_set() {
    let small = problem("[defaults.compaction]\nsmall_fragment_bytes = '256MiB'");
    assert_says(
        &small,
        &[
            "2:1 defaults.compaction.small_fragment_bytes",
            "rewritten for ever",
        ],
    );
    let source = problem(
        "[[target]]\nname = 'a'\nuri = 'memory://'\n\
         [target.compaction]\ntarget_bytes_per_file = '8GiB'",
    );
    assert_says(
        &source,
        &[
            "5:1 target[0].compaction.target_bytes_per_file",
            "cannot fill a file",
        ],
    );
    let name = "SQUIRE__DEFAULTS__COMPACTION__MAX_SOURCE_BYTES";
    let text = "[[target]]\nname = 'a'\nuri = 'memory://'";
    let error = refused(&[("squire.toml", text)], &[(name, "1MiB")]);
    assert_eq!(error.problems().len(), 1);
    assert_eq!(error.problems()[0].place, Place::Variable(name.to_owned()));
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
