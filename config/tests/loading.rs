//! What the layers add up to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use squire_config::{Daemon, Layers, LogFormat, Policies, Refusal, Settings, Tls};
use squire_engine::planner::{
    Duty, Policy,
    cleanup::CleanupPolicy,
    clients::LanceVersion,
    compaction::{CompactionPolicy, Verify},
    indexing::IndexPolicy,
    pace::Pace,
    window::{Window, Windows},
};
use squire_engine::{DriftPolicy, Kind};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

/// A directory with a settings file and fragments.
struct Layout {
    directory: TempDir,
}

impl Layout {
    fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("squire.toml"), text).unwrap();
        Self { directory }
    }

    fn with(self, fragment: &str, text: &str) -> Self {
        let directory = self.path("conf.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(fragment), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self, variables: &[(&str, &str)]) -> Settings {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match Settings::load_with_env(&self.path("squire.toml"), variables) {
            Ok(settings) => settings,
            Err(error) => panic!("{error}"),
        }
    }
}

fn load(text: &str) -> Settings {
    Layout::new(text).load(&[])
}

/// Why the settings of a layout are refused.
fn refusal(layout: &Layout) -> String {
    let refused = Settings::load_with_env(&layout.path("squire.toml"), std::iter::empty());
    refused.unwrap_err().to_string()
}

#[test]
fn what_every_user_may_change_is_refused_with_the_command_that_closes_it() {
    let open = |layout: &Layout, name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(layout.path(name), mode).unwrap();
    };
    for (name, is_open, is_closed) in [
        ("squire.toml", 0o666, 0o664),
        ("conf.d", 0o1777, 0o775),
        ("conf.d/a.toml", 0o602, 0o640),
    ] {
        let layout = Layout::new("").with("a.toml", "");
        open(&layout, name, is_open);
        let message = refusal(&layout);
        let fix = format!("chmod o-w {}", layout.path(name).display());
        assert!(message.contains(&fix), "{message}");
        open(&layout, name, is_closed);
        layout.load(&[]);
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_and_not_waited_for() {
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    let layout = Layout::new("");
    fs::remove_file(layout.path("squire.toml")).unwrap();
    pipe(&layout.path("squire.toml"));
    assert!(refusal(&layout).contains("no regular file"));

    let layout = Layout::new("").with("a.toml", "");
    pipe(&layout.path("conf.d/b.toml"));
    let message = refusal(&layout);
    assert!(
        message.contains("b.toml") && message.contains("no regular file"),
        "{message}"
    );
}

#[test]
fn an_empty_file_means_the_built_in_defaults() {
    let settings = load("");
    assert_eq!(settings.daemon, Daemon::default());
    assert!(settings.targets.is_empty());
}

#[test]
fn a_target_that_says_nothing_has_the_built_in_policy() {
    let settings = load("[[target]]\nname = 'a'\nuri = 'memory://'");
    assert_eq!(settings.targets[0].policies, Policies::default());
}

#[test]
fn every_key_of_the_daemon_arrives() {
    let settings = load(
        "[daemon]\nlisten = '[::1]:0'\ntls = { certificate = '/etc/squire/tls.pem', key = '/etc/squire/tls.key' }\nconcurrency = 4\nmemory = '2GiB'\ntick = '1s'\nhot_tick = '200ms'\ncold_tick = '1m'\nmetrics_tables = 50\nstate_dir = '/var/lib/squire'\nheal_interval = '2s'\ndrift_interval = '1h'\nlook_timeout = '4m'\nstuck_after = '2h'\n\
         lease = '1m 30s'\nshutdown_grace = '500ms'\nreload_timeout = '5s'\nlog = 'info,squire=debug'\n\
         log_format = 'json'",
    );
    assert_eq!(
        settings.daemon,
        Daemon {
            listen: "[::1]:0".parse().unwrap(),
            plaintext_behind_proxy: false,
            tls: Tls {
                certificate: Some("/etc/squire/tls.pem".into()),
                key: Some("/etc/squire/tls.key".into()),
            },
            concurrency: 4,
            memory: 2048 * MIB,
            tick: Duration::from_secs(1),
            hot_tick: Duration::from_millis(200),
            cold_tick: Duration::from_secs(60),
            metrics_tables: 50,
            state_dir: Some("/var/lib/squire".into()),
            heal_interval: Duration::from_secs(2),
            drift_interval: Duration::from_secs(3600),
            look_timeout: Duration::from_secs(240),
            stuck_after: Duration::from_secs(7200),
            lease: Duration::from_secs(90),
            shutdown_grace: Duration::from_millis(500),
            reload_timeout: Duration::from_secs(5),
            log: "info,squire=debug".to_owned(),
            log_format: LogFormat::Json,
        }
    );
}

#[test]
fn a_table_is_ignored_where_the_last_rule_for_it_says_so() {
    let settings = load(
        "[[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target.table]]\nmatch = 'logs_*'\nignore = true\n\
         [[target.table]]\nmatch = 'logs_new'\nignore = false\n\
         [[target.table]]\nmatch = '*'\n[target.table.cleanup]\nkeep_for = '1day'",
    );
    let target = &settings.targets[0];
    assert!(target.ignores("logs_old"));
    assert!(!target.ignores("logs_new") && !target.ignores("users"));
}

#[test]
fn drift_is_an_error_unless_a_target_says_that_it_is_adopted() {
    let settings = load(
        "[[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\ndrift = 'adopt'",
    );
    let drift: Vec<_> = settings.targets.iter().map(|t| t.drift).collect();
    assert_eq!(drift, [DriftPolicy::Error, DriftPolicy::Adopt]);
}

#[test]
fn every_key_of_a_policy_arrives_and_a_target_overrides_the_defaults_key_by_key() {
    let settings = load(
        "[defaults.compaction]\nenabled = false\ntarget_bytes_per_file = '1 GB'\n\
         small_fragment_bytes = '10MiB'\nmin_small_fragments = 3\nmax_deleted_fraction = 1\n\
         emergency_small_fragments = 41\n\
         max_source_bytes = '2GB'\ninterval_floor = '1h'\ncron = '0 0 3 * * *'\nverify = 'full'\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\n\
         [target.compaction]\nenabled = true\ncron = 'off'\nmin_small_fragments = 9",
    );
    let defaults = CompactionPolicy {
        enabled: false,
        target_bytes: 1_000_000_000,
        small_bytes: 10 * MIB,
        min_small_fragments: 3,
        emergency_small_fragments: 41,
        max_deleted_fraction: 1.0,
        max_source_bytes: 2_000_000_000,
        interval_floor: Duration::from_secs(3600),
        oldest_client: None,
        verify: Verify::Full,
    };
    let policies = |n: usize| &settings.targets[n].policies;
    assert_eq!(policies(0).table.compaction, defaults);
    assert_eq!(policies(0).cron(Duty::Compaction), Some("0 0 3 * * *"));
    let overridden = CompactionPolicy {
        enabled: true,
        min_small_fragments: 9,
        ..defaults
    };
    assert_eq!(policies(1).table.compaction, overridden);
    assert_eq!(policies(1).cron(Duty::Compaction), None);
}

#[test]
fn every_key_of_the_other_policies_arrives() {
    let settings = load(
        "[defaults.index]\nenabled = false\nmax_unindexed_rows = 7\nmax_unindexed_bytes = '5MiB'\nmax_unindexed_fraction = 0.5\n\
         min_unindexed_rows = 5\nmax_segments = 3\noldest_client = 'lancedb 0.30.2'\ninterval_floor = '1m'\ncron = '0 0 4 * * *'\n\
         [defaults.cleanup]\nenabled = false\nkeep_for = '1day'\nkeep_versions = 2\nmin_versions = 5\n\
         emergency_versions = 60\nkeep_manifests = 50\ninterval_floor = '2m'\ncron = '0 0 5 * * *'\n\
         [defaults.pace]\nbytes_per_hour = '10MiB'\ntable_bytes_per_hour = '5MiB'\nintensity = 0.25\n\
         [defaults.windows]\nallowed = ['Mon-Fri 22:00-06:00']\nblackout = '03:00-04:00'\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\nkind = 'directory'",
    );
    let window = |days, from, to| Window { days, from, to };
    let oldest_client = Some(LanceVersion::new(4, 0));
    let crons = [(Duty::Index, "0 0 4 * * *"), (Duty::Cleanup, "0 0 5 * * *")];
    let expected = Policies {
        table: Policy {
            compaction: CompactionPolicy {
                oldest_client,
                ..CompactionPolicy::default()
            },
            index: IndexPolicy {
                enabled: false,
                interval_floor: Duration::from_secs(60),
                max_unindexed_rows: 7,
                max_unindexed_bytes: 5 * MIB,
                max_unindexed_fraction: 0.5,
                min_unindexed_rows: 5,
                max_segments: 3,
                oldest_client,
            },
            cleanup: CleanupPolicy {
                enabled: false,
                interval_floor: Duration::from_secs(120),
                keep_for: Duration::from_secs(24 * 3600),
                keep_versions: 2,
                min_versions: 5,
                emergency_versions: 60,
            },
            pace: Pace {
                bytes_per_hour: Some(5 * MIB),
                intensity: 0.25,
            },
            windows: Windows {
                allowed: vec![window(0b1_1111, 22 * 60, 6 * 60)],
                blackout: vec![window(0b111_1111, 3 * 60, 4 * 60)],
            },
        },
        crons: crons.map(|(duty, cron)| (duty, cron.to_owned())).into(),
        oldest_client: Some("lancedb 0.30.2".to_owned()),
        keep_manifests: 50,
        target_bytes_per_hour: Some(10 * MIB),
    };
    assert_eq!(settings.targets[0].policies, expected);
    assert_eq!(settings.targets[0].kind, Some(Kind::Directory));
}

#[test]
fn rules_for_tables_win_over_the_target_and_later_rules_over_earlier_ones_key_by_key() {
    let settings = load(
        "[defaults.pace]\ntable_bytes_per_hour = '8MiB'\n[defaults.windows]\nallowed = ['01:00-02:00']\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\n[target.cleanup]\nkeep_versions = 7\n\
         [[target.table]]\nmatch = 'logs_*'\n[target.table.compaction]\nenabled = false\n\
         [target.table.cleanup]\nkeep_versions = 1\nkeep_for = '1h'\n\
         [[target.table]]\nmatch = '*_raw'\n[target.table.cleanup]\nkeep_versions = 3\n\
         [target.table.pace]\ntable_bytes_per_hour = 'off'\n[target.table.windows]\nallowed = []",
    );
    let target = &settings.targets[0];
    let of = |table| target.policies_of(table);
    assert_eq!(of("users"), target.policies);
    assert_eq!(of("users").table.cleanup.keep_versions, 7);
    let logs = of("logs_a");
    assert!(!logs.table.compaction.enabled && logs.table.index.enabled);
    assert_eq!(logs.table.cleanup.keep_versions, 1);
    assert_eq!(logs.table.pace.bytes_per_hour, Some(8 * MIB));
    let both = of("logs_raw");
    assert!(!both.table.compaction.enabled);
    assert_eq!(both.table.cleanup.keep_versions, 3);
    assert_eq!(both.table.cleanup.keep_for, Duration::from_secs(3600));
    assert_eq!(both.table.pace.bytes_per_hour, None);
    assert_eq!(both.table.windows.allowed, []);
    assert_eq!(
        of("node:x_raw").table.cleanup.keep_versions,
        3,
        "the bare name"
    );
    assert_eq!(target.all_policies().count(), 3);
}

#[test]
fn what_is_left_out_follows_what_is_set() {
    let daemon = load("[daemon]\ntick = '1h'").daemon;
    assert_eq!(daemon.cold_tick, Duration::from_secs(3600));
    let daemon = load("[daemon]\ntick = '500ms'").daemon;
    assert_eq!(daemon.hot_tick, Duration::from_millis(500));
    let settings = load(
        "[defaults.compaction]\nmin_small_fragments = 5000\n[[target]]\nname = 'a'\nuri = 'memory://'",
    );
    let compaction = &settings.targets[0].policies.table.compaction;
    assert_eq!(compaction.emergency_small_fragments, 4 * 4_999 + 1);
}

#[test]
fn a_fragment_is_small_below_half_of_the_target_in_force() {
    let settings = load(
        "[defaults.compaction]\ntarget_bytes_per_file = '64MiB'\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\n\
         [target.compaction]\ntarget_bytes_per_file = '8MiB'",
    );
    let small = |index: usize| {
        settings.targets[index]
            .policies
            .table
            .compaction
            .small_bytes
    };
    assert_eq!((small(0), small(1)), (32 * MIB, 4 * MIB));
}

#[test]
fn later_layers_win_key_by_key() {
    let layout =
        Layout::new("[daemon]\ntick = '1s'\nlease = '2s'\nheal_interval = '3s'\nlog = 'a'")
            .with("20.toml", "[daemon]\nheal_interval = '30s'\nlog = 'c'")
            .with(
                "10.toml",
                "[daemon]\nlease = '20s'\nlog = 'b'\nheal_interval = '9s'",
            );
    let daemon = layout.load(&[("SQUIRE__DAEMON__LOG", "d")]).daemon;
    assert_eq!(daemon.concurrency, Daemon::default().concurrency);
    assert_eq!(daemon.tick, Duration::from_secs(1));
    assert_eq!(daemon.lease, Duration::from_secs(20));
    assert_eq!(daemon.heal_interval, Duration::from_secs(30));
    assert_eq!(daemon.log, "d");
}

#[test]
fn defaults_of_any_layer_reach_the_targets_of_every_file() {
    let layout = Layout::new("[[target]]\nname = 'a'\nuri = 'memory://a'")
        .with("a.toml", "[defaults.compaction]\nmin_small_fragments = 5");
    let settings = layout.load(&[("SQUIRE__DEFAULTS__COMPACTION__INTERVAL_FLOOR", "7s")]);
    let compaction = &settings.targets[0].policies.table.compaction;
    assert_eq!(compaction.min_small_fragments, 5);
    assert_eq!(compaction.interval_floor, Duration::from_secs(7));
}

#[test]
fn targets_of_all_files_are_collected_in_order() {
    let layout = Layout::new("[[target]]\nname = 'z'\nuri = 'memory://'")
        .with("2.toml", "[[target]]\nname = 'a'\nuri = 'memory://'")
        .with("1.toml", "[[target]]\nname = 'm'\nuri = 'memory://'");
    let settings = layout.load(&[]);
    let names: Vec<&str> = settings.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["z", "m", "a"]);
}

#[test]
fn only_visible_toml_files_of_conf_d_are_read() {
    let layout = Layout::new("")
        .with(".#a.toml", "nonsense")
        .with("a.toml~", "nonsense")
        .with("README", "nonsense");
    assert_eq!(layout.load(&[]), Settings::default());
}

#[test]
fn relative_paths_count_from_the_settings_file_also_in_conf_d() {
    let layout = Layout::new("[[target]]\nname = 'a'\nuri = 'data/a'")
        .with("b.toml", "[[target]]\nname = 'b'\nuri = './data/../b'");
    let settings = layout.load(&[]);
    assert_eq!(Path::new(&settings.targets[0].uri), layout.path("data/a"));
    assert_eq!(Path::new(&settings.targets[1].uri), layout.path("b"));
}

#[test]
fn variables_take_the_type_of_their_key() {
    let settings = Layout::new("[[target]]\nname = 'a'\nuri = 'memory://'").load(&[
        ("SQUIRE__DAEMON__CONCURRENCY", "7"),
        ("SQUIRE__DAEMON__LOG", "1"),
        ("SQUIRE__DAEMON__LOG_FORMAT", "text"),
        ("SQUIRE__DAEMON__LISTEN", "127.0.0.1:1"),
        ("SQUIRE__DEFAULTS__COMPACTION__ENABLED", "false"),
        ("SQUIRE__DEFAULTS__COMPACTION__MAX_DELETED_FRACTION", "0.5"),
        (
            "SQUIRE__DEFAULTS__COMPACTION__TARGET_BYTES_PER_FILE",
            "1MiB",
        ),
        ("SQUIRE__DEFAULTS__COMPACTION__CRON", "0 0 3 * * *"),
        ("SQUIRE__DEFAULTS__WINDOWS__ALLOWED", "Mon 01:00-02:00"),
        (
            "SQUIRE__DEFAULTS__WINDOWS__BLACKOUT",
            "['Mon 01:10-01:20', 'Mon 01:30-01:40']",
        ),
    ]);
    assert_eq!(settings.daemon.concurrency, 7);
    assert_eq!(settings.daemon.log, "1");
    assert_eq!(settings.daemon.log_format, LogFormat::Text);
    assert_eq!(settings.daemon.listen.port(), 1);
    let compaction = &settings.targets[0].policies.table.compaction;
    assert!(!compaction.enabled);
    let windows = &settings.targets[0].policies.table.windows;
    assert_eq!((windows.allowed.len(), windows.blackout.len()), (1, 2));
    assert_eq!(compaction.max_deleted_fraction, 0.5);
    assert_eq!(compaction.target_bytes, MIB);
    let cron = settings.targets[0].policies.cron(Duty::Compaction);
    assert_eq!(cron, Some("0 0 3 * * *"));
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [("SQUIRE_CONFIG", "x"), ("SQUIRES__A", "x"), ("PATH", "x")];
    assert_eq!(Layout::new("").load(&others), Settings::default());
}

#[test]
fn the_environment_of_the_process_is_read_by_load() {
    let layout = Layout::new("[daemon]\nconcurrency = 3");
    let settings = Settings::load(&layout.path("squire.toml")).unwrap();
    assert_eq!(settings.daemon.concurrency, 3);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let settings = load("\u{feff}[daemon]\r\nconcurrency = 3\r\n");
    assert_eq!(settings.daemon.concurrency, 3);
}

#[test]
fn a_daemon_without_targets_is_refused_by_name_of_the_file() {
    let path = Path::new("/etc/squire/squire.toml");
    let error = Settings::default().require_targets(path).unwrap_err();
    assert!(error.to_string().starts_with("/etc/squire/squire.toml: "));
    let some = load("[[target]]\nname = 'a'\nuri = 'memory://'");
    assert!(some.require_targets(path).is_ok());
}

#[test]
fn flags_win_over_the_environment_and_later_ones_over_earlier_ones() {
    let layout = Layout::new("[daemon]\ntick = '1s'\nlease = '2s'\nlog = 'a'");
    let variables = [
        ("SQUIRE__DAEMON__LEASE", "20s"),
        ("SQUIRE__DAEMON__LOG", "b"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = [
        "daemon.log=c",
        "daemon.concurrency=3",
        "daemon.concurrency=4",
    ];
    let layers = Layers::new(layout.path("squire.toml"), variables);
    let daemon = layers
        .with_flags(flags.map(str::to_owned))
        .load()
        .unwrap()
        .settings
        .daemon;
    assert_eq!(daemon.tick, Duration::from_secs(1));
    assert_eq!(daemon.lease, Duration::from_secs(20));
    assert_eq!((daemon.log.as_str(), daemon.concurrency), ("c", 4));
}

#[test]
fn what_is_shown_has_the_place_of_the_last_layer_that_sets_it_and_defaults_as_comments() {
    let layout = Layout::new(
        "[daemon]\ntick = '1s'\n[[target]]\nname = 'a'\nuri = '/a'\n[target.cleanup]\nkeep_for = '24h'\n\
         [[target.table]]\nmatch = 'x'\n[target.table.pace]\nintensity = 0.5",
    )
    .with("b.toml", "[daemon]\nmemory = '512MiB'\n[[target]]\nname = 'b'\nuri = '/b'");
    let variables = [("SQUIRE__DAEMON__LEASE".to_owned(), "20s".to_owned())];
    let layers = Layers::new(layout.path("squire.toml"), variables);
    let loaded = layers
        .with_flags(["daemon.log=warn".to_owned()])
        .load()
        .unwrap();
    let shown = loaded.shown().to_string();
    let (main, fragment) = (layout.path("squire.toml"), layout.path("conf.d/b.toml"));
    let (main, fragment) = (main.display(), fragment.display());
    let mut lines = shown.lines();
    for expected in [
        "[daemon]",
        "#listen = \"127.0.0.1:9464\"",
        &format!("memory = \"512MiB\"  # {fragment}:2:1"),
        &format!("tick = \"1s\"        # {main}:2:1"),
        "#hot_tick = \"1s\"",
        "lease = \"20s\"      # environment variable SQUIRE__DAEMON__LEASE",
        "log = \"warn\"       # --set daemon.log",
        "[defaults.compaction]",
        "#target_bytes_per_file = \"256MiB\"",
        "[[target]]",
        &format!("name = \"a\"  # {main}:4:1"),
        "[target.cleanup]",
        &format!("keep_for = \"1day\"  # {main}:7:1"),
        "[[target.table]]",
        "[target.table.pace]",
        &format!("intensity = 0.5  # {main}:11:1"),
        "[[target]]",
        &format!("name = \"b\"  # {fragment}:4:1"),
    ] {
        let found = lines.any(|line| line == expected);
        assert!(
            found,
            "{expected} is not shown, or not in its place:\n{shown}"
        );
    }
}

#[test]
fn a_check_of_the_program_sees_every_text_of_every_layer_and_its_refusals_have_places() {
    fn check(key: &str, text: &str) -> Option<Refusal> {
        (text == "0 0 3 * * *").then(|| Refusal::new(format!("{key} is early"), "sleep"))
    }
    let layout = Layout::new(
        "[defaults.index]\ncron = '0 0 3 * * *'\n[[target]]\nname = 'a'\nuri = '/a'\n\
         [[target.table]]\nmatch = 'x'\n[target.table.cleanup]\ncron = '0 0 3 * * *'",
    );
    let variables = [(
        "SQUIRE__DEFAULTS__COMPACTION__CRON".to_owned(),
        "0 0 3 * * *".to_owned(),
    )];
    let layers = Layers::new(layout.path("squire.toml"), variables).with_check(check);
    let said = layers.load().unwrap_err().to_string();
    for part in [
        "squire.toml:2:8: `defaults.index.cron`: defaults.index.cron is early",
        "squire.toml:9:8: `target[0].table[0].cleanup.cron`: target.table.cleanup.cron is early",
        "environment variable SQUIRE__DEFAULTS__COMPACTION__CRON: ",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
