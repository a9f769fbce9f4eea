//! A folder with graphs in it, commands run on them, and daemons that keep them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use squire_engine::{
    Graph, Options, TableKey,
    planner::{
        Ask,
        compaction::{self, CompactionPolicy, Decision},
    },
};
use squire_tests::{
    daemon::{self, Daemon},
    flights::{SCHEMA, key, schema},
    repository,
};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

pub(crate) use squire_tests::patience::{PATIENCE, until};

/// A short lease, for whoever waits for the dead.
pub(crate) const QUICK: &str =
    "tick = \"100ms\"\nheal_interval = \"500ms\"\nlease = \"1s\"\nshutdown_grace = \"30s\"\n";

/// A file of the real data.
pub(crate) fn real(file: &str) -> String {
    let data = repository::file("tests/data");
    let beside = data.join(file);
    let file = if beside.is_file() {
        beside
    } else {
        data.join("nycflights13").join(file)
    };
    text(&file)
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs one command to its end.
pub(crate) async fn squire(args: &[&str]) -> Ran {
    squire_with(args, &[]).await
}

/// The same, with these variables in its environment.
pub(crate) async fn squire_with(args: &[&str], variables: &[(&str, &str)]) -> Ran {
    daemon::run_with(args, variables)
        .await
        .expect("squire can be started")
        .into()
}

impl From<Output> for Ran {
    fn from(ran: Output) -> Self {
        Self {
            code: ran.status.code(),
            out: String::from_utf8(ran.stdout).expect("it prints UTF-8"),
            err: String::from_utf8(ran.stderr).expect("it prints UTF-8"),
        }
    }
}

/// What a command printed that did what it was told.
#[track_caller]
pub(crate) fn done(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.err, "", "what went well says nothing else");
    ran.out
}

/// The error of a command that was refused with this code: one, on standard error, and nothing else.
#[track_caller]
pub(crate) fn refused(ran: Ran, code: i32, says: &[&str]) -> String {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert_eq!(ran.out, "", "a refusal prints no result");
    let errors = |line: &&str| line.starts_with("squire: ") || line.starts_with("error: ");
    assert_eq!(ran.err.lines().filter(errors).count(), 1, "{}", ran.err);
    for part in says {
        assert!(
            ran.err.contains(part),
            "it does not say {part:?}: {}",
            ran.err
        );
    }
    ran.err
}

/// A folder of a test's own.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("there is a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn uri(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// A file of this text; its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("the folder can be written");
        // It may be a key.
        let mine = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, mine).expect("it was made here");
        self.uri(name)
    }

    /// A graph with the suites' small schema, made by this process.
    pub(crate) async fn graph(&self, name: &str) -> Graph {
        let options = Options {
            actor: "writer@suite".to_owned(),
            ..Options::default()
        };
        let created = Graph::create(&self.uri(name), schema(), options).await;
        created.expect("an empty root takes a graph")
    }

    /// A graph with the suites' small schema, made by `squire init`; its URI.
    pub(crate) async fn init(&self, name: &str) -> String {
        let (uri, schema) = (self.uri(name), self.write("small.toml", SCHEMA));
        done(squire(&["init", &uri, "--schema", &schema]).await);
        uri
    }

    /// A graph for the real data, made by `squire init`; its URI.
    pub(crate) async fn init_real(&self, name: &str) -> String {
        let uri = self.uri(name);
        done(squire(&["init", &uri, "--schema", &real("flights.toml")]).await);
        uri
    }

    /// A configuration: keys of `[daemon]`, and targets as name, graph and keys of `[target.compaction]`.
    pub(crate) fn config(&self, daemon: &str, targets: &[(&str, &str, &str)]) -> PathBuf {
        let mut config = format!("[daemon]\nlisten = \"127.0.0.1:0\"\n{daemon}");
        for (name, graph, compaction) in targets {
            write!(
                config,
                "\n[[target]]\nname = \"{name}\"\nuri = \"{graph}\"\n[target.compaction]\n{compaction}"
            )
            .expect("memory can be written");
        }
        let names: Vec<_> = targets.iter().map(|(name, ..)| *name).collect();
        PathBuf::from(self.write(&format!("squire-{}.toml", names.join("-")), config))
    }

    /// What `squire explain` says of a target.
    pub(crate) async fn explain(&self, daemon: &Keeping, target: &str) -> String {
        let config = self.write("none.toml", "");
        let args = [
            "explain",
            target,
            "--config",
            &config,
            "--daemon",
            daemon.address(),
        ];
        done(squire(&args).await)
    }

    /// A daemon with this configuration; its log is the file `name` of the folder.
    pub(crate) async fn daemon(&self, config: &Path, name: &str) -> Keeping {
        self.daemon_with(config, name, &[]).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn daemon_with(
        &self,
        config: &Path,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Keeping {
        let log = self.path(name);
        let daemon = Daemon::start_in(config, &log, variables.iter().copied()).await;
        Keeping::new(daemon.expect("the daemon starts"), log)
    }

    /// The same by a program that becomes the daemon.
    pub(crate) async fn daemon_by(&self, program: Command, config: &Path, name: &str) -> Keeping {
        let log = self.path(name);
        let daemon = Daemon::start_by(program, config, &log).await;
        Keeping::new(daemon.expect("the daemon starts"), log)
    }
}

/// Errors of the log that tell of what a test did to a target, a table or a disk.
const OF_THE_TARGET: [&str; 5] = [
    "the target cannot be kept",
    "the target still cannot be kept",
    "the table cannot be read",
    "the job is stuck",
    "job cut off, as it was stuck",
];

fn is_no_fault_of_the_daemon(line: &Value) -> bool {
    let text = line["message"].as_str().unwrap_or_default();
    line["level"] != "ERROR" || OF_THE_TARGET.iter().any(|told| text.starts_with(told))
}

/// A running daemon, and what it has logged so far.
pub(crate) struct Keeping {
    daemon: Daemon,
    seen: Vec<Value>,
    log: PathBuf,
}

impl Keeping {
    fn new(daemon: Daemon, log: PathBuf) -> Self {
        Self {
            daemon,
            seen: Vec::new(),
            log,
        }
    }

    /// Waits for a line of the log; the lines so far count, too.
    pub(crate) async fn until_logged(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.seen.iter().find(|line| is(line)) {
            return line.clone();
        }
        let found = timeout(PATIENCE, async {
            loop {
                let line = self.daemon.next_line().await.expect("the log goes on");
                self.seen.push(line.clone());
                if is(&line) {
                    return line;
                }
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("never logged: {what}; the log says {:#?}", self.seen))
    }

    /// Waits until a job on a target ended well.
    pub(crate) async fn until_compacted(&mut self, target: &str) -> Value {
        self.until_logged("a job done", |line| {
            let done = line["message"] == "job done" && line["duty"] == "compaction";
            done && line["target_name"] == target
        })
        .await
    }

    /// A metric's samples, by their labels as they are written.
    pub(crate) async fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let samples = self.daemon.metric(name).await;
        samples.expect("the daemon answers")
    }

    /// Waits until a metric of a target is as it should be. Labels are as they are written, the target's last.
    pub(crate) async fn until_metric(&self, name: &str, labels: &str, is: impl Fn(f64) -> bool) {
        until(
            &format!("{name}{{{labels}}} is as it should be"),
            async || {
                self.metric(name)
                    .await
                    .get(labels)
                    .is_some_and(|value| is(*value))
            },
        )
        .await;
    }

    /// The whole lines of its log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).expect("there is a log");
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let lines = whole.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .expect("every line of the log is JSON")
    }

    /// Waits until so many more looks at a target have come.
    pub(crate) async fn until_looked(&self, target: &str, more: f64) {
        let labels = format!("target=\"{target}\"");
        let before = self.metric("squire_ticks_total").await;
        let before = before.get(&labels).copied().unwrap_or(0.0);
        self.until_metric("squire_ticks_total", &labels, |n| n > before + more)
            .await;
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.id().expect("it runs")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.daemon.listening
    }

    /// Has it read its configuration again.
    pub(crate) async fn hang_up(&self) {
        let sent = squire_tests::process::signal(self.id(), "HUP").await;
        sent.expect("it takes signals");
    }

    /// What `/healthz` says.
    pub(crate) async fn health(&self) -> Value {
        let (code, body) = self.get("/healthz").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("it is JSON")
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.daemon.get(path).await.expect("the daemon answers")
    }

    /// Kills it: it has no time for anything.
    pub(crate) async fn kill(self) {
        self.daemon.kill().await.expect("it can be killed");
    }

    /// Stops it by SIGTERM, in order; all lines of its log.
    pub(crate) async fn stop(self) -> Vec<Value> {
        let lines = self.stop_after_errors().await;
        assert!(lines.iter().all(is_no_fault_of_the_daemon), "{lines:#?}");
        lines
    }

    /// The same, where errors were to be expected.
    pub(crate) async fn stop_after_errors(self) -> Vec<Value> {
        let ended = self.daemon.stop(PATIENCE).await.expect("it stops in time");
        assert!(ended.success(), "{ended}");
        let log = fs::read_to_string(&self.log).expect("there is a log");
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("every line of the log is JSON"))
            .collect();
        // At the finest level, libraries go on to say how they end.
        let own = lines.iter().rfind(|line| line["level"] != "TRACE");
        let last = own.expect("the log says something");
        assert_eq!(last["message"], "stopped");
        lines
    }
}

/// Every file below a folder, by its path in it, with its length.
pub(crate) fn files(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => {
                    let path = entry.path();
                    let inside = path.strip_prefix(root).expect("it was found in there");
                    found.insert(text(inside), meta.len());
                }
                Err(_) => {}
            }
        }
    }
    found
}

/// Files of a graph besides its manifests: a place in line is taken and given back in manifests of its own.
pub(crate) fn files_but_manifests(root: &Path) -> BTreeMap<String, u64> {
    let mut found = files(root);
    found.retain(|path, _| !path.starts_with("_squire/manifest/"));
    found
}

/// Sidecars and heartbeats of other processes: what an operation has on disk while it is under way.
pub(crate) fn under_way(root: &Path) -> Vec<String> {
    let own = format!("-{}-", std::process::id());
    let others = |path: &String| {
        // A store's own half-written file, which no listing of it shows, is no sidecar.
        path.starts_with("_squire/recovery/") && path.ends_with(".json")
            || path.starts_with("_squire/alive/") && !path.contains(&own)
    };
    files(root).into_keys().filter(others).collect()
}

/// Data files of a table that no version names.
pub(crate) async fn unnamed_data(graph: &Graph, root: &Path, table: &str) -> Vec<String> {
    let table = key(table);
    let snapshot = graph.snapshot().await.expect("a graph can be read");
    let newest = snapshot.open(&table).await.expect("the pin can be opened");
    let mut named = BTreeSet::new();
    for version in newest.versions().await.expect("versions can be listed") {
        let dataset = newest.checkout_version(version.version).await;
        let dataset = dataset.expect("every version can be opened");
        for fragment in dataset.manifest().fragments.iter() {
            named.extend(fragment.files.iter().map(|f| f.path.clone()));
        }
    }
    let folder = &snapshot.manifest().tables[&table].path;
    let there = files(&root.join(folder).join("data")).into_keys();
    there.filter(|file| !named.contains(file)).collect()
}

/// Rows, fragments, deleted rows and version of each table, and whether the queue is empty, as `status` tells it.
pub(crate) async fn status(uri: &str) -> Value {
    let out = done(squire(&["status", uri, "--json"]).await);
    serde_json::from_str(&out).expect("it is JSON")
}

/// Fragments of a table.
pub(crate) async fn fragments(graph: &Graph, table: &TableKey) -> usize {
    let snapshot = graph.snapshot().await.expect("a graph can be read");
    let stats = snapshot.stats(table).await.expect("statistics can be read");
    stats.fragments.len()
}

/// Whether a table's fragments are no reason to compact it any more, for a daemon with this threshold.
pub(crate) async fn is_at_rest(
    graph: &Graph,
    table: &TableKey,
    min_small_fragments: usize,
) -> bool {
    let snapshot = graph.snapshot().await.expect("a graph can be read");
    let stats = snapshot.stats(table).await.expect("statistics can be read");
    let policy = CompactionPolicy {
        min_small_fragments,
        ..CompactionPolicy::default()
    };
    matches!(
        compaction::plan(&stats, &policy, &Ask::default()),
        Decision::Skip(_)
    )
}
