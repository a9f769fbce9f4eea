use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonschema::Validator;
use squire_config::{ConfigError, Layers, Loaded, Place, Policies, Problem, Settings, json_schema};
use tempfile::TempDir;

use crate::spoil::Case;

/// Weighs cases, and counts.
pub(crate) struct Scales {
    directory: TempDir,
    schema: Validator,
    pub(crate) taken: u64,
    pub(crate) refused: u64,
}

impl Scales {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            schema: jsonschema::validator_for(&json_schema()).unwrap(),
            taken: 0,
            refused: 0,
        }
    }

    /// Loads a case, and looks at what comes of it.
    pub(crate) fn weigh(&mut self, case: &Case) {
        let files = self.lay(case);
        let layers = Layers::new(&files[0], case.variables.clone()).with_flags(case.flags.clone());
        match layers.load() {
            Ok(loaded) => {
                self.taken += 1;
                assert_settings(&loaded.settings);
                self.assert_shown(&loaded);
                self.assert_schema_takes(case);
            }
            Err(error) => {
                self.refused += 1;
                assert_placed(&error, &files);
                self.assert_schema_refuses(case, &error);
            }
        }
    }

    /// Writes the files; their paths.
    fn lay(&self, case: &Case) -> Vec<PathBuf> {
        let main = self.directory.path().join("squire.toml");
        let folder = self.directory.path().join("conf.d");
        // What an earlier case left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::write(&main, &case.file).unwrap();
        let mut files = vec![main];
        for (name, bytes) in &case.fragments {
            let path = folder.join(name);
            fs::write(&path, bytes).unwrap();
            files.push(path);
        }
        files
    }

    /// What is shown of settings loads as the same settings.
    fn assert_shown(&self, loaded: &Loaded) {
        let text = loaded.shown().to_string();
        let file = self.directory.path().join("shown.toml");
        let _ = fs::remove_dir_all(self.directory.path().join("conf.d"));
        fs::write(&file, &text).unwrap();
        let again = Layers::new(&file, []).load();
        let again = again.unwrap_or_else(|e| panic!("what is shown does not load: {e}\n{text}"));
        assert_eq!(again.settings, loaded.settings, "shown as\n{text}");
    }

    fn assert_schema_takes(&self, case: &Case) {
        if let Some(json) = json(case) {
            let faults: Vec<_> = self
                .schema
                .iter_errors(&json)
                .map(|e| e.to_string())
                .collect();
            assert!(
                faults.is_empty(),
                "the schema refuses what the loader takes: {faults:?}"
            );
        }
    }

    /// What the loader refuses for its shape, the schema refuses too.
    fn assert_schema_refuses(&self, case: &Case, error: &ConfigError) {
        let of_shape = |problem: &&Problem| {
            // To JSON, 2.0 is a whole number.
            let whole = problem.what.starts_with("invalid type: floating point");
            !whole && is_of_shape(&problem.what)
        };
        if let (Some(problem), Some(json)) = (error.problems().iter().find(of_shape), json(case)) {
            assert!(
                !self.schema.is_valid(&json),
                "the schema takes what the loader refuses: {problem}"
            );
        }
    }
}

/// Unknown keys, wrong types, tables where there is none, and what is missing.
fn is_of_shape(what: &str) -> bool {
    let begins = [
        "not a known key",
        "a secret does not belong here",
        "invalid type",
        "there can be many",
        "there is one",
    ];
    begins.iter().any(|begin| what.starts_with(begin))
        || what == "not a table"
        || ["the target has no ", "the table has no "]
            .iter()
            .any(|lacks| what.starts_with(lacks))
}

/// The one file of a case, as an editor hands it to a schema; nothing where TOML says what JSON cannot.
fn json(case: &Case) -> Option<serde_json::Value> {
    if !case.is_one_file() {
        return None;
    }
    let text = str::from_utf8(&case.file).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table: toml::Table = toml::from_str(text).ok()?;
    let json = serde_json::to_value(table).ok()?;
    // A date.
    (!json.to_string().contains("$__toml_private")).then_some(json)
}

/// Every refusal says where, what, and what to do about it.
fn assert_placed(error: &ConfigError, files: &[PathBuf]) {
    assert!(!error.problems().is_empty());
    for problem in error.problems() {
        let said = problem.to_string();
        assert!(
            !problem.what.trim().is_empty() && !problem.fix.trim().is_empty(),
            "{said}"
        );
        assert!(!said.contains("hush@"), "a secret is repeated: {said}");
        assert!(
            !said.contains("do not fit together"),
            "an unexpected kind of error: {said}"
        );
        match &problem.place {
            Place::File { path, line, column } => {
                let bytes = fs::read(files.iter().find(|file| *file == path).unwrap()).unwrap();
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                assert!((1..=lines).contains(line) && *column >= 1, "{said}");
            }
            Place::Variable(name) => assert!(name.starts_with("SQUIRE__"), "{said}"),
            Place::Flag(_) => {}
            // All files can be read, so there is a key.
            Place::Path(_) => assert!(problem.key.is_some(), "{said}"),
        }
    }
}

/// What the types of the settings promise.
fn assert_settings(settings: &Settings) {
    let daemon = &settings.daemon;
    let within = |value: Duration, least_ms, most_s| {
        assert!(
            (Duration::from_millis(least_ms)..=Duration::from_secs(most_s)).contains(&value),
            "{daemon:?}"
        );
    };
    assert!((1..=256).contains(&daemon.concurrency));
    assert!((256 << 20..=16 << 40).contains(&daemon.memory));
    within(daemon.tick, 100, 3_600);
    within(daemon.heal_interval, 100, 3_600);
    within(daemon.drift_interval, 100, 86_400);
    within(daemon.lease, 1_000, 600);
    within(daemon.shutdown_grace, 100, 3_600);
    within(daemon.reload_timeout, 100, 3_600);
    assert!(daemon.hot_tick <= daemon.tick && daemon.tick <= daemon.cold_tick);
    assert!(
        daemon
            .state_dir
            .as_ref()
            .is_none_or(|path| path.is_absolute())
    );
    assert!(!daemon.log.trim().is_empty());
    let mut names = HashSet::new();
    for target in &settings.targets {
        assert!(names.insert(&target.name), "{} twice", target.name);
        let simple = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        assert!((1..=64).contains(&target.name.len()) && target.name.chars().all(simple));
        assert!(
            Path::new(&target.uri).is_absolute() || target.uri.contains("://"),
            "{}",
            target.uri
        );
        for table in ["", "logs_a", "node:Person", "é"] {
            assert_policies(&target.policies_of(table));
        }
        target
            .all_policies()
            .for_each(|policies| assert_policies(&policies));
    }
}

fn assert_policies(policies: &Policies) {
    let compaction = &policies.table.compaction;
    assert!((1..compaction.target_bytes).contains(&compaction.small_bytes));
    assert!(compaction.max_source_bytes >= compaction.target_bytes);
    assert!(compaction.min_small_fragments >= 2);
    assert!(compaction.emergency_small_fragments > compaction.small_at_rest());
    let index = &policies.table.index;
    assert!(
        (1..=index.max_unindexed_rows).contains(&index.min_unindexed_rows)
            && index.max_segments >= 1
    );
    let cleanup = &policies.table.cleanup;
    assert!(cleanup.keep_versions >= 1 && cleanup.keep_for >= Duration::from_secs(1));
    assert!((1..=cleanup.emergency_versions).contains(&cleanup.min_versions));
    let pace = &policies.table.pace;
    assert!(pace.bytes_per_hour.is_none_or(|table| {
        policies
            .target_bytes_per_hour
            .is_none_or(|all| table <= all)
    }));
    for fraction in [
        compaction.max_deleted_fraction,
        index.max_unindexed_fraction,
        pace.intensity,
    ] {
        assert!(fraction > 0.0 && fraction <= 1.0);
    }
    for window in policies
        .table
        .windows
        .allowed
        .iter()
        .chain(&policies.table.windows.blackout)
    {
        assert!(window.days != 0 && window.days < 128 && window.from < 1440 && window.to <= 1440);
    }
}
