//! Settings that are right by themselves and do not go together.

use std::fs;

use squire_config::{Place, Settings};
use tempfile::TempDir;

use crate::{assert_says, problem, refused};

#[test]
fn an_address_that_others_can_reach_is_refused_without_tls_with_the_reason() {
    for address in ["0.0.0.0:9464", "192.168.1.1:9464", "[::]:9464"] {
        let said = problem(&format!("[daemon]\nlisten = '{address}'"));
        assert!(said.starts_with("2:1 daemon.listen |"), "{said}");
        let ways = ["[daemon.tls]", "127.0.0.1:9464", "plaintext_behind_proxy"];
        assert_says(&said, &["other machines"]);
        assert_says(&said, &ways);
    }
    let said = problem("[daemon]\nlisten = 'localhost:9464'");
    assert_says(&said, &["not an IP address and a port"]);
}

#[test]
fn ways_to_the_daemon_that_contradict_each_other_are_refused() {
    let key = problem("[daemon.tls]\nkey = '/etc/squire/tls.key'");
    assert!(key.starts_with("2:1 daemon.tls.key |"), "{key}");
    assert_says(&key, &["without its certificate", "set certificate"]);
    let both = "[daemon]\nplaintext_behind_proxy = true\ntls.certificate = '/etc/squire/tls.pem'";
    let both = problem(both);
    assert!(
        both.starts_with("2:1 daemon.plaintext_behind_proxy |"),
        "{both}"
    );
    assert_says(&both, &["both in a proxy and here"]);
    let relative = problem("[daemon.tls]\ncertificate = 'tls.pem'");
    assert_says(&relative, &["absolute path", "/etc/squire/tls.pem"]);
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
fn contradictions_of_the_other_sections_are_refused_where_they_are_set() {
    const TARGET: &str = "[[target]]\nname = 'a'\nuri = 'memory://'\n";
    for (text, start, part) in [
        (
            "[daemon]\nhot_tick = '1m'".to_owned(),
            "2:1 daemon.hot_tick |",
            "less often than any other that changes",
        ),
        (
            "[daemon]\ncold_tick = '1s'".to_owned(),
            "2:1 daemon.cold_tick |",
            "more often than one that changes",
        ),
        (
            "[defaults.windows]\nallowed = ['Mon 10:00-12:00']\nblackout = ['09:00-13:00']"
                .to_owned(),
            "3:1 defaults.windows.blackout |",
            "no minute of the week",
        ),
        (
            "[defaults.compaction]\nemergency_small_fragments = 3".to_owned(),
            "2:1 defaults.compaction.emergency_small_fragments |",
            "may have 35 of them at rest",
        ),
        (
            format!(
                "[defaults.pace]\ntable_bytes_per_hour = '1GiB'\n{TARGET}[target.pace]\nbytes_per_hour = '1MiB'"
            ),
            "7:1 target[0].pace.bytes_per_hour |",
            "all tables together",
        ),
        (
            format!("{TARGET}kind = 'directory'\ndrift = 'adopt'"),
            "5:1 target[0].drift |",
            "no pins to drift from",
        ),
        (
            format!(
                "{TARGET}[[target.table]]\nmatch = '*'\n[target.table.pace]\nbytes_per_hour = '1GiB'"
            ),
            "7:1 target[0].table[0].pace.bytes_per_hour |",
            "[target.pace]",
        ),
        (
            format!(
                "{TARGET}[[target.table]]\nmatch = '*'\n[target.table.cleanup]\nkeep_manifests = 10"
            ),
            "7:1 target[0].table[0].cleanup.keep_manifests |",
            "[target.cleanup]",
        ),
    ] {
        let said = problem(&text);
        assert!(said.starts_with(start), "{said}");
        assert_says(&said, &[part]);
    }
}

#[test]
fn two_rules_that_contradict_each_other_are_refused_only_where_one_table_can_match_both() {
    let rules = |one: &str, other: &str| {
        format!(
            "[[target]]\nname = 'a'\nuri = 'memory://'\n\
             [[target.table]]\nmatch = '{one}'\n[target.table.compaction]\ntarget_bytes_per_file = '8MiB'\n\
             [[target.table]]\nmatch = '{other}'\n[target.table.compaction]\nsmall_fragment_bytes = '9MiB'"
        )
    };
    let said = problem(&rules("logs_*", "*_raw"));
    assert!(
        said.starts_with("11:1 target[0].table[1].compaction.small_fragment_bytes |"),
        "{said}"
    );
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("squire.toml");
    fs::write(&path, rules("logs_*", "users_*")).unwrap();
    assert!(Settings::load_with_env(&path, std::iter::empty()).is_ok());
}
