//! What the layers add up to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use squire_config::{Compaction, Daemon, Drift, LogFormat, Settings};
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

#[test]
fn an_empty_file_means_the_built_in_defaults() {
    let settings = load("");
    assert_eq!(settings.daemon, Daemon::default());
    assert!(settings.targets.is_empty());
}

#[test]
fn a_target_that_says_nothing_has_the_built_in_policy() {
    let settings = load("[[target]]\nname = 'a'\nuri = 'memory://'");
    assert_eq!(settings.targets[0].compaction, Compaction::default());
}

#[test]
fn every_key_of_the_daemon_arrives() {
    let settings = load(
        "[daemon]\nlisten = '[::1]:0'\nconcurrency = 4\ntick = '1s'\nheal_interval = '2s'\ndrift_interval = '1h'\n\
         lease = '1m 30s'\nshutdown_grace = '500ms'\nlog = 'info,squire=debug'\n\
         log_format = 'json'",
    );
    assert_eq!(
        settings.daemon,
        Daemon {
            listen: "[::1]:0".parse().unwrap(),
            concurrency: 4,
            tick: Duration::from_secs(1),
            heal_interval: Duration::from_secs(2),
            drift_interval: Duration::from_secs(3600),
            lease: Duration::from_secs(90),
            shutdown_grace: Duration::from_millis(500),
            log: "info,squire=debug".to_owned(),
            log_format: LogFormat::Json,
        }
    );
}

#[test]
fn drift_is_an_error_unless_a_target_says_that_it_is_adopted() {
    let settings = load(
        "[[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\ndrift = 'adopt'",
    );
    let drift: Vec<_> = settings.targets.iter().map(|t| t.drift).collect();
    assert_eq!(drift, [Drift::Error, Drift::Adopt]);
}

#[test]
fn every_key_of_a_policy_arrives_and_a_target_overrides_the_defaults_key_by_key() {
    let settings = load(
        "[defaults.compaction]\nenabled = false\ntarget_bytes_per_file = '1 GB'\n\
         small_fragment_bytes = '10MiB'\nmin_small_fragments = 3\nmax_deleted_fraction = 1\n\
         max_source_bytes = '2GB'\ninterval_floor = '1h'\ncron = '0 0 3 * * *'\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\n\
         [target.compaction]\nenabled = true\ncron = 'off'\nmin_small_fragments = 9",
    );
    let defaults = Compaction {
        enabled: false,
        target_bytes_per_file: 1_000_000_000,
        small_fragment_bytes: 10 * MIB,
        min_small_fragments: 3,
        max_deleted_fraction: 1.0,
        max_source_bytes: 2_000_000_000,
        interval_floor: Duration::from_secs(3600),
        cron: Some("0 0 3 * * *".to_owned()),
    };
    assert_eq!(settings.targets[0].compaction, defaults);
    let overridden = Compaction {
        enabled: true,
        cron: None,
        min_small_fragments: 9,
        ..defaults
    };
    assert_eq!(settings.targets[1].compaction, overridden);
}

#[test]
fn a_fragment_is_small_below_half_of_the_target_in_force() {
    let settings = load(
        "[defaults.compaction]\ntarget_bytes_per_file = '64MiB'\n\
         [[target]]\nname = 'a'\nuri = 'memory://a'\n\
         [[target]]\nname = 'b'\nuri = 'memory://b'\n\
         [target.compaction]\ntarget_bytes_per_file = '8MiB'",
    );
    let small = |index: usize| settings.targets[index].compaction.small_fragment_bytes;
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
    let compaction = &settings.targets[0].compaction;
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
    ]);
    assert_eq!(settings.daemon.concurrency, 7);
    assert_eq!(settings.daemon.log, "1");
    assert_eq!(settings.daemon.log_format, LogFormat::Text);
    assert_eq!(settings.daemon.listen.port(), 1);
    let compaction = &settings.targets[0].compaction;
    assert!(!compaction.enabled);
    assert_eq!(compaction.max_deleted_fraction, 0.5);
    assert_eq!(compaction.target_bytes_per_file, MIB);
    assert_eq!(compaction.cron.as_deref(), Some("0 0 3 * * *"));
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
