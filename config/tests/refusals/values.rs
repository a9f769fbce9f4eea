//! Keys that are not known, and values that make no sense.

use crate::{assert_says, problem, problems};

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
            "known here: listen, plaintext_behind_proxy",
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
            "[target.compaction] or [target.index]",
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
            "[defaults.compaction]\nverify = 'fill'",
            "2:10 defaults.compaction.verify |",
            "did you mean \"full\"?",
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
        (
            "daemon",
            "reload_timeout = '0s'",
            "no reload would ever be taken",
        ),
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
        ("daemon", "memory = '10MiB'", "below the least, 256.0 MiB"),
        ("daemon", "hot_tick = '1ms'", "nothing but look"),
        ("daemon", "cold_tick = '2days'", "above the most, 1day"),
        ("daemon", "metrics_tables = 0", "which table is in need"),
        ("daemon", "state_dir = 'state'", "not an absolute path"),
        ("defaults.index", "max_segments = 0", "one segment at least"),
        (
            "defaults.index",
            "oldest_client = '0.30.2'",
            "not a package and a version",
        ),
        (
            "defaults.index",
            "oldest_client = 'duckdb 1.0'",
            "no package with Lance in it",
        ),
        (
            "defaults.index",
            "oldest_client = 'lancedb new'",
            "not a version",
        ),
        ("defaults.index", "max_unindexed_rows = -1", "negative"),
        (
            "defaults.cleanup",
            "keep_for = '0s'",
            "from under every reader",
        ),
        (
            "defaults.cleanup",
            "keep_versions = 0",
            "the newest version is the table",
        ),
        (
            "defaults.cleanup",
            "keep_manifests = 1",
            "were asleep for a moment",
        ),
        (
            "defaults.pace",
            "bytes_per_hour = '1KiB'",
            "below the least",
        ),
        (
            "defaults.pace",
            "bytes_per_hour = 'of'",
            "not a number and a unit",
        ),
        ("defaults.pace", "intensity = 0", "below the least"),
        (
            "defaults.windows",
            "allowed = ['Mun 10:00-11:00']",
            "no day of the week",
        ),
        (
            "defaults.windows",
            "blackout = ['10:00-10:00']",
            "no time at all",
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
fn a_target_without_name_or_uri_is_refused_at_its_header() {
    let said = problems("\n[[target]]\n");
    assert_says(&said[0], &["2:1 target[0].name | the target has no name"]);
    assert_says(&said[1], &["2:1 target[0].uri | the target has no uri"]);
}

#[test]
fn a_rule_without_a_pattern_is_refused_at_its_header_and_strange_patterns_are_too() {
    let said = problem("[[target]]\nname = 'a'\nuri = 'memory://'\n[[target.table]]");
    assert_says(
        &said,
        &["4:1 target[0].table[0].match | the table has no match"],
    );
    let said =
        problem("[[target]]\nname = 'a'\nuri = 'memory://'\n[[target.table]]\nmatch = '[a]'");
    assert_says(&said, &["5:9 target[0].table[0].match |", "\"logs_*\""]);
    let said = problem(
        "[[target]]\nname = 'a'\nuri = 'memory://'\n[[target.table]]\nmatch = 'a'\nkeep_for = '1h'",
    );
    assert_says(
        &said,
        &[
            "6:1 target[0].table[0].keep_for |",
            "move it to [target.table.cleanup]",
        ],
    );
}
