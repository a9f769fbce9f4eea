//! Targets, their tables, and the daemon that keeps them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use squire_tests::{
    daemon::Daemon,
    patience::{PATIENCE, until},
    plain, process,
    torn::newest_manifest,
};
use tempfile::TempDir;

use crate::faults::Fault;

/// So many targets there are. Nothing happens to most of them.
pub(crate) const TARGETS: usize = 10;
/// Of each, the table that others write and that is to be maintained.
const GOOD: &str = "good";
/// And the one that things happen to.
const VICTIM: &str = "victim";
/// So many fragments make a table due.
const DUE: usize = 4;
/// So long the process stands still.
const STOPPED_FOR: Duration = Duration::from_secs(2);
/// A reload may change what the daemon works to.
const RHYTHMS: [&str; 2] = ["100ms", "150ms"];
/// An open file, or thread, more or less is nothing; a leak grows with every seed.
const SLACK: u64 = 48;

const SETTINGS: &str = r#"
listen = "127.0.0.1:0"
hot_tick = "100ms"
cold_tick = "400ms"
look_timeout = "1s"
stuck_after = "3s"
shutdown_grace = "30s"
concurrency = 2
"#;

const POLICY: &str = r#"
[defaults.compaction]
min_small_fragments = 4
interval_floor = "100ms"
[defaults.cleanup]
keep_for = "1s"
keep_versions = 2
min_versions = 2
interval_floor = "1s"
"#;

/// The targets that nothing happens to, but for what happens to the whole process: two of them, others for other faults.
pub(crate) fn others(faults: &[Fault]) -> Vec<usize> {
    let hit: Vec<_> = faults.iter().filter_map(Fault::target).collect();
    let shift = hit.iter().sum::<usize>();
    let others = (0..TARGETS).map(|n| (n + shift) % TARGETS);
    others
        .filter(|target| !hit.contains(target))
        .take(2)
        .collect()
}

pub(crate) struct World {
    dir: TempDir,
    daemon: Option<Daemon>,
    /// How often it was started.
    starts: usize,
    rhythm: usize,
    /// How often its clock had jumped before it did last.
    jumps: f64,
    /// What of jobs the logs of daemons that were killed leave open.
    killed: usize,
}

impl World {
    pub(crate) async fn new() -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().expect("there is a temporary folder"),
            daemon: None,
            starts: 0,
            rhythm: 0,
            jumps: 0.0,
            killed: 0,
        };
        for target in 0..TARGETS {
            for table in [GOOD, VICTIM] {
                append(&world.root(target), table).await;
            }
        }
        world.turn_clock(0);
        world.configure("");
        world.start().await;
        for target in 0..TARGETS {
            world.until_kept(target, 0).await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, target: usize) -> PathBuf {
        self.path(&format!("t{target}"))
    }

    fn configure(&self, more: &str) {
        let mut text = format!(
            "[daemon]{SETTINGS}tick = \"{}\"\nstate_dir = \"{}\"\n{more}\n{POLICY}",
            RHYTHMS[self.rhythm],
            self.path("state").display()
        );
        for target in 0..TARGETS {
            let root = self.root(target);
            text.push_str(&format!(
                "[[target]]\nname = \"t{target}\"\nuri = \"{}\"\n",
                root.display()
            ));
        }
        fs::write(self.path("squire.toml"), text).expect("the folder can be written");
    }

    async fn start(&mut self) {
        fs::create_dir_all(self.path("state")).expect("the folder can be written");
        let log = self.path(&format!("log{}", self.starts));
        self.starts += 1;
        let clock = self.path("clock");
        let clock = clock.to_str().expect("paths of tests are UTF-8");
        let config = self.path("squire.toml");
        let variables = [("SQUIRE_TURNED_CLOCK", clock)];
        let daemon = Daemon::start_in(&config, &log, variables).await;
        self.daemon = Some(daemon.expect("the daemon starts"));
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    async fn signal(&self, name: &str) {
        let id = self.daemon().id().expect("it runs");
        process::signal(id, name).await.expect("it takes signals");
    }

    /// Turns the daemon's clock ahead by so many seconds; it is trusted again two seconds after it jumped.
    fn turn_clock(&self, ahead: u64) {
        let fresh = self.path("clock.new");
        fs::write(&fresh, format!("{ahead} 2")).expect("the folder can be written");
        fs::rename(fresh, self.path("clock")).expect("the folder can be written");
    }

    fn hang(&self, target: usize, below: &Path) {
        let real = fs::canonicalize(self.root(target)).expect("it is there");
        let below = real.join(below);
        let mut said = real.into_os_string();
        said.push(".hang");
        fs::write(said, below.to_str().expect("paths of tests are UTF-8"))
            .expect("the folder can be written");
    }

    /// The folder of the table that things happen to.
    fn victim(&self, target: usize) -> PathBuf {
        self.root(target).join(format!("{VICTIM}.lance"))
    }

    /// Has it happen.
    pub(crate) async fn cause(&mut self, fault: Fault) {
        match fault {
            Fault::DiskHangs(target) => self.hang(target, Path::new("")),
            Fault::TableHangs(target) => {
                self.hang(target, Path::new(&format!("{VICTIM}.lance")));
            }
            Fault::VolumeVanishes(target) => {
                let root = self.root(target);
                fs::rename(&root, root.with_extension("away")).expect("it is there");
            }
            Fault::TableTorn(target) => {
                let newest = newest_manifest(&self.victim(target)).expect("there is one");
                let bytes = fs::read(&newest).expect("it can be read");
                let number = newest.file_stem().and_then(|stem| stem.to_str());
                let number: Option<u64> = number.and_then(|number| number.parse().ok());
                // Their names count down.
                let next = number.expect("it is a number") - 1;
                let torn = newest.with_file_name(format!("{next:020}.manifest"));
                fs::write(torn, &bytes[..20]).expect("it can be written");
            }
            Fault::TableRemade(target) => {
                let root = self.root(target);
                fs::remove_dir_all(self.victim(target)).expect("it is there");
                for _ in 0..DUE + 2 {
                    append(&root, VICTIM).await;
                }
            }
            Fault::BadReload => {
                self.configure("hot_tock = \"1s\"");
                self.signal("HUP").await;
            }
            Fault::GoodReload => {
                self.rhythm = 1 - self.rhythm;
                self.configure("");
                self.signal("HUP").await;
            }
            Fault::ClockJumps => {
                self.jumps = self.jumps().await;
                self.turn_clock(30 * 24 * 3600);
            }
            Fault::Stopped => {
                self.signal("STOP").await;
                tokio::time::sleep(STOPPED_FOR).await;
                self.signal("CONT").await;
            }
            Fault::Killed => {
                let daemon = self.daemon.take().expect("it runs");
                daemon.kill().await.expect("it can be killed");
                self.killed += 1;
                self.start().await;
            }
        }
    }

    /// Has it be over.
    pub(crate) async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::DiskHangs(target) | Fault::TableHangs(target) => {
                let real = fs::canonicalize(self.root(target)).expect("it is there");
                let mut said = real.into_os_string();
                said.push(".hang");
                fs::remove_file(said).expect("it was made");
            }
            Fault::VolumeVanishes(target) => {
                let root = self.root(target);
                // A daemon may have made an empty folder of that name, as a mount point is.
                let _ = fs::remove_dir_all(&root);
                fs::rename(root.with_extension("away"), &root).expect("it was moved");
            }
            Fault::TableTorn(target) => {
                let torn = newest_manifest(&self.victim(target)).expect("there is one");
                fs::remove_file(torn).expect("it was made");
            }
            Fault::BadReload => {
                self.configure("");
                self.signal("HUP").await;
            }
            Fault::ClockJumps => self.turn_clock(0),
            Fault::TableRemade(_) | Fault::GoodReload | Fault::Stopped | Fault::Killed => {}
        }
    }

    async fn health(&self) -> Option<Value> {
        let (_, body) = self.daemon().get("/healthz").await.ok()?;
        serde_json::from_str(&body).ok()
    }

    async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let samples = self.daemon().metric(name).await.ok()?;
        samples.get(labels).copied()
    }

    async fn jumps(&self) -> f64 {
        let jumps = self.metric("squire_clock_jumps_total", "").await;
        jumps.unwrap_or_default()
    }

    /// Whether it shows, where somebody would look.
    async fn shows(&self, fault: Fault) -> bool {
        let Some(health) = self.health().await else {
            return false;
        };
        let of = |target: usize| &health["targets"][format!("t{target}")];
        match fault {
            // One that was just started has never seen it well, and only says that it cannot be opened.
            Fault::DiskHangs(target) => of(target)["status"] == "stuck",
            Fault::VolumeVanishes(target) => of(target)["status"] == "failing",
            Fault::TableHangs(target) | Fault::TableTorn(target) => {
                of(target)["status"] == "ok"
                    && of(target)["tables"]["failing"] == 1
                    && health["status"] != "ok"
            }
            Fault::BadReload => {
                self.metric("squire_config_reload_successful", "").await == Some(0.0)
            }
            // It is trusted again soon, whoever looks.
            Fault::ClockJumps => self.jumps().await > self.jumps,
            // Nothing of these is a fault for long.
            Fault::TableRemade(_) | Fault::GoodReload | Fault::Stopped | Fault::Killed => true,
        }
    }

    /// Waits until it is named.
    pub(crate) async fn until_noticed(&self, fault: Fault) -> Duration {
        let began = Instant::now();
        until(&format!("it is noticed that {fault}"), async || {
            self.shows(fault).await
        })
        .await;
        began.elapsed()
    }

    /// Waits until it is named no more, and its target is maintained.
    pub(crate) async fn until_recovered(&self, fault: Fault, seed: u64) -> Duration {
        let began = Instant::now();
        until(&format!("it is over that {fault}"), async || {
            let well = match fault.target() {
                Some(target) => {
                    let health = self.health().await.unwrap_or_default();
                    let of_target = &health["targets"][format!("t{target}")];
                    of_target["status"] == "ok"
                        && ["failing", "stuck", "unknown"]
                            .iter()
                            .all(|word| of_target["tables"][word] == 0)
                }
                None => true,
            };
            well && match fault {
                Fault::BadReload | Fault::GoodReload => {
                    self.metric("squire_config_reload_successful", "").await == Some(1.0)
                }
                Fault::ClockJumps => self.metric("squire_clock_steady", "").await == Some(1.0),
                _ => true,
            }
        })
        .await;
        let took = began.elapsed();
        if let Some(target) = fault.target() {
            self.until_kept(target, seed).await;
        }
        took
    }

    /// Writes a table of a target until it is due, and waits until it is compacted.
    pub(crate) async fn until_kept(&self, target: usize, seed: u64) -> Duration {
        let root = self.root(target);
        for _ in 0..DUE + 2 {
            append(&root, GOOD).await;
        }
        let began = Instant::now();
        let what = format!("t{target} is compacted under seed {seed}");
        until(&what, async || fragments(&root, GOOD).await < DUE).await;
        began.elapsed()
    }

    /// No store and no table makes a liveness probe fail.
    pub(crate) async fn is_live(&self) {
        let (code, _) = self.daemon().get("/livez").await.expect("it answers");
        assert_eq!(code, 200);
    }

    /// What the process takes, once it has come to rest.
    pub(crate) async fn footprint(&self) -> Footprint {
        let id = self.daemon().id().expect("it runs");
        let mut least = Footprint::of(id);
        // Threads that wait for no disk any more end after ten seconds.
        let quiet: Range<u32> = 0..12;
        for _ in quiet {
            tokio::time::sleep(Duration::from_secs(1)).await;
            least = least.or(Footprint::of(id));
        }
        least
    }

    /// Ends the daemon in order, and looks through what all of them have logged.
    pub(crate) async fn end(mut self) {
        let daemon = self.daemon.take().expect("it runs");
        let ended = daemon.stop(PATIENCE).await.expect("it ends");
        assert!(ended.success(), "{ended}");
        let mut open = 0;
        for n in 0..self.starts {
            let log = fs::read_to_string(self.path(&format!("log{n}"))).expect("it is there");
            let lines: Vec<Value> = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            open += left_open(&lines);
            for line in &lines {
                let text = line["message"].as_str().unwrap_or_default();
                // A torn table makes Lance panic, which is caught and told of the table.
                let ours = text != "panicked" && text.contains("panicked");
                assert!(!ours && !text.contains("grace is over"), "{line}");
            }
        }
        // Whoever is killed tells of no end. Two jobs run at once at most.
        assert!(open <= 2 * self.killed, "{open} jobs began and never ended");
    }
}

/// How many jobs of a log began and have no end.
fn left_open(lines: &[Value]) -> usize {
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let job = format!("{} {} {}", line["target_name"], line["table"], line["duty"]);
        let text = line["message"].as_str().unwrap_or_default();
        if text == "job started" {
            *open.entry(job).or_default() += 1;
        } else if [
            "job done",
            "job lost",
            "job failed",
            "job abandoned",
            "job cut off",
        ]
        .iter()
        .any(|end| text.starts_with(end))
        {
            open.remove(&job);
        }
    }
    open.len()
}

async fn append(root: &Path, table: &str) {
    plain::append(root, table, plain::rows(0, 10))
        .await
        .expect("a client of a sound table is not disturbed");
}

async fn fragments(root: &Path, table: &str) -> usize {
    let dataset = plain::open(root, table).await;
    dataset.expect("it is a table").get_fragments().len()
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    resident_kib: u64,
    files: u64,
    threads: u64,
}

impl Footprint {
    fn of(id: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Self {
            resident_kib: field("VmRSS:"),
            files: fs::read_dir(format!("/proc/{id}/fd")).map_or(0, |files| files.count() as u64),
            threads: field("Threads:"),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            resident_kib: self.resident_kib.min(other.resident_kib),
            files: self.files.min(other.files),
            threads: self.threads.min(other.threads),
        }
    }

    /// Nothing has grown beyond what comes and goes.
    pub(crate) fn is_no_larger_than(&self, before: &Self) {
        assert!(self.files <= before.files + SLACK, "{before}, then {self}");
        assert!(
            self.threads <= before.threads + SLACK,
            "{before}, then {self}"
        );
        assert!(
            self.resident_kib <= 2 * before.resident_kib + (128 << 10),
            "{before}, then {self}"
        );
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, {} open files, {} threads",
            self.resident_kib >> 10,
            self.files,
            self.threads
        )
    }
}
