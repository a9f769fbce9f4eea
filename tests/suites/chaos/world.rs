//! Targets, their tables, and the daemon that keeps them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use squire_tests::{
    daemon::{self, Daemon},
    patience::{PATIENCE, until},
    process,
    proxy::{Harm, Proxy},
    s3::{self, BUCKET, S3},
    small_disk::SmallDisk,
    torn::newest_manifest,
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    faults::{Fault, Store},
    footprint::Footprint,
    place::Place,
};

/// So many targets there are. Nothing happens to most of them.
pub(crate) const TARGETS: usize = 20;
/// The first of those on S3; the others are on disks.
const FIRST_ON_S3: usize = 17;
/// The one on a small disk.
const ON_SMALL_DISK: usize = 16;
const SMALL_DISK_MIB: u32 = 32;
/// Of each, the table that others write and that is to be maintained.
const GOOD: &str = "good";
/// And the one that things happen to.
const VICTIM: &str = "victim";
/// So many fragments make a table due.
const DUE: usize = 4;
/// Rows of a fragment, and of one that a small disk has room for a few of.
const ROWS: i64 = 10;
const MANY_ROWS: i64 = 20_000;
/// What a store that is slow adds to each request.
const DELAY: Duration = Duration::from_millis(100);
/// So long the process stands still, as a rule.
pub(crate) const STOPPED_FOR: Duration = Duration::from_secs(2);
/// And so long once in a while, in a long run: longer than every time limit of the configuration.
pub(crate) const STOPPED_FOR_LONG: Duration = Duration::from_secs(60);
/// How often tables are read. A reload may change it.
const RHYTHMS: [&str; 2] = [
    "tick = \"100ms\"\nhot_tick = \"100ms\"\ncold_tick = \"400ms\"",
    "tick = \"150ms\"\nhot_tick = \"100ms\"\ncold_tick = \"400ms\"",
];
/// The same for a daemon that is to come to rest.
const AT_REST: &str = "tick = \"1m\"\nhot_tick = \"1m\"\ncold_tick = \"1m\"";
/// Threads that wait for no disk any more end after ten seconds.
const UNTIL_AT_REST: Range<u32> = 0..15;

const SETTINGS: &str = r#"
listen = "127.0.0.1:0"
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

/// Where a target is.
pub(crate) fn store(target: usize) -> Store {
    match target {
        ON_SMALL_DISK => Store::SmallDisk,
        FIRST_ON_S3.. => Store::S3,
        _ => Store::Disk,
    }
}

pub(crate) struct World {
    places: Vec<Place>,
    proxy: Proxy,
    _s3: S3,
    /// Nothing where none can be mounted: nothing happens to its target then.
    small_disk: Option<SmallDisk>,
    dir: TempDir,
    daemon: Option<Daemon>,
    /// How often it was started.
    starts: usize,
    rhythm: usize,
    /// So long the process stands still when it is stopped.
    pub(crate) stopped_for: Duration,
    /// How often its clock had jumped before it did last.
    jumps: f64,
    /// What of jobs the logs of daemons that were killed leave open.
    killed: usize,
    /// The targets whose disks hang.
    hanging: BTreeSet<usize>,
    /// Which of those hung while a daemon was asked to end, by the number of its log: their jobs cannot end.
    hung_at_the_end: BTreeMap<usize, BTreeSet<usize>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let s3 = S3::start().await.expect("there is a server");
        let proxy = Proxy::start(s3.address).await.expect("there is a port");
        let small_disk = SmallDisk::new(dir.path(), SMALL_DISK_MIB).await;
        let small_disk = small_disk.expect("the folder can be written");
        let place = |target: usize| {
            let name = format!("t{target}");
            let on_disk = |folder: &Path, outside: &Path| {
                let uri = folder.join(&name).display().to_string();
                Place::on_disk(uri, outside.join(&name))
            };
            match (store(target), &small_disk) {
                (Store::SmallDisk, Some(disk)) => on_disk(&disk.folder, &disk.outside()),
                (Store::S3, _) => {
                    let options = s3::storage_options(s3.address);
                    Place::on_s3(format!("s3://{BUCKET}/{name}"), options)
                }
                (Store::Disk | Store::SmallDisk, _) => on_disk(dir.path(), dir.path()),
            }
        };
        let mut world = Self {
            places: (0..TARGETS).map(place).collect(),
            proxy,
            _s3: s3,
            small_disk,
            dir,
            daemon: None,
            starts: 0,
            rhythm: 0,
            stopped_for: STOPPED_FOR,
            jumps: 0.0,
            killed: 0,
            hanging: BTreeSet::new(),
            hung_at_the_end: BTreeMap::new(),
        };
        for place in &world.places {
            for table in [GOOD, VICTIM] {
                append(place, table, ROWS).await;
            }
        }
        world.turn_clock(0);
        world.configure("");
        world.start(None).await;
        for target in 0..TARGETS {
            world.until_kept(target, 0).await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, target: usize) -> PathBuf {
        self.places[target].folder()
    }

    fn configure(&self, more: &str) {
        self.configure_with(RHYTHMS[self.rhythm], more);
    }

    fn configure_with(&self, rhythm: &str, more: &str) {
        let mut text = format!(
            "[daemon]{SETTINGS}{rhythm}\nstate_dir = \"{}\"\n{more}\n{POLICY}",
            self.path("state").display()
        );
        for (target, place) in self.places.iter().enumerate() {
            text.push_str(&format!(
                "[[target]]\nname = \"t{target}\"\nuri = \"{}\"\n",
                place.uri
            ));
        }
        fs::write(self.path("squire.toml"), text).expect("the folder can be written");
    }

    /// Starts the daemon, where a failpoint is to do something, with that.
    async fn start(&mut self, failpoint: Option<&str>) {
        fs::create_dir_all(self.path("state")).expect("the folder can be written");
        let log = self.path(&format!("log{}", self.starts));
        self.starts += 1;
        let mut squire = match &self.small_disk {
            Some(disk) => disk.squire(),
            None => daemon::squire().map(Command::new),
        }
        .expect("it is built");
        squire.env("SQUIRE_TURNED_CLOCK", self.path("clock"));
        squire.envs(s3::environment(self.proxy.address));
        squire.envs(failpoint.map(|what| ("FAILPOINTS", what)));
        let config = self.path("squire.toml");
        let daemon = Daemon::start_by(squire, &config, &log).await;
        self.daemon = Some(daemon.expect("the daemon starts"));
    }

    async fn kill(&mut self) {
        let daemon = self.daemon.take().expect("it runs");
        daemon.kill().await.expect("it can be killed");
        self.killed += 1;
    }

    async fn terminate(&mut self) {
        let hung = self.hanging.clone();
        self.hung_at_the_end.insert(self.starts - 1, hung);
        let daemon = self.daemon.take().expect("it runs");
        let ended = daemon.stop(PATIENCE).await.expect("it ends");
        assert!(ended.success(), "{ended}");
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

    fn hang(&mut self, target: usize, below: &Path) {
        self.hanging.insert(target);
        let real = fs::canonicalize(self.root(target)).expect("it is there");
        let below = real.join(below);
        let mut said = real.into_os_string();
        said.push(".hang");
        fs::write(said, below.to_str().expect("paths of tests are UTF-8"))
            .expect("the folder can be written");
    }

    /// The folder of the table that things happen to.
    fn victim(&self, target: usize) -> PathBuf {
        self.places[target].table(VICTIM)
    }

    /// Does this to what the daemon asks of a target's store.
    fn harm(&self, target: usize, harm: Option<Harm>) {
        self.proxy.harm(&format!("/{BUCKET}/t{target}/"), harm);
        // Lists name the folder in their query.
        self.proxy.harm(&format!("prefix=t{target}/"), harm);
    }

    /// Leaves a disk room for some more fragments of a table, and not for their rewrite.
    async fn fill_disk(&self, target: usize) {
        let Some(disk) = &self.small_disk else {
            return;
        };
        let place = &self.places[target];
        fs::remove_dir_all(place.table(VICTIM)).expect("it is there");
        append(place, VICTIM, MANY_ROWS).await;
        let bytes = place.data_bytes(VICTIM);
        let due = u64::try_from(DUE).expect("it is small");
        let room = bytes * due + bytes / 2;
        disk.fill_but(room).expect("it can be filled");
        for _ in 0..DUE {
            // The daemon's own jobs may have what is left at this moment.
            if place.append(VICTIM, MANY_ROWS).await.is_err() {
                break;
            }
        }
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
                fs::remove_dir_all(self.victim(target)).expect("it is there");
                for _ in 0..DUE + 2 {
                    append(&self.places[target], VICTIM, ROWS).await;
                }
            }
            Fault::DiskFull(target) => self.fill_disk(target).await,
            Fault::StoreHangs(target) => self.harm(target, Some(Harm::Hang)),
            Fault::StoreIsSlow(target) => self.harm(target, Some(Harm::Delay(DELAY))),
            Fault::StoreOverloaded(target) => self.harm(target, Some(Harm::Overload)),
            Fault::StoreResets(target) => self.harm(target, Some(Harm::Reset)),
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
                tokio::time::sleep(self.stopped_for).await;
                self.signal("CONT").await;
            }
            Fault::Killed => {
                self.kill().await;
                self.start(None).await;
            }
            Fault::Terminated => {
                self.terminate().await;
                self.start(None).await;
            }
            Fault::StateUnreadable => {
                self.terminate().await;
                fs::write(self.path("state/pauses.json"), "{\"version\"")
                    .expect("it can be written");
                self.start(None).await;
            }
            Fault::JobsPanic => {
                self.terminate().await;
                self.start(Some("after-rewrite=3*panic")).await;
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
                self.hanging.remove(&target);
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
            Fault::DiskFull(_) => {
                if let Some(disk) = &self.small_disk {
                    disk.empty().expect("it was filled");
                }
            }
            Fault::StoreHangs(target)
            | Fault::StoreIsSlow(target)
            | Fault::StoreOverloaded(target)
            | Fault::StoreResets(target) => self.harm(target, None),
            Fault::StateUnreadable => {
                // An operator has seen to it.
                let resumed = self.resume_all().await;
                resumed.expect("the daemon takes it");
            }
            Fault::TableRemade(_)
            | Fault::GoodReload
            | Fault::Stopped
            | Fault::Killed
            | Fault::Terminated
            | Fault::JobsPanic => {}
        }
    }

    /// Ends all pauses, as an operator does.
    async fn resume_all(&self) -> io::Result<()> {
        let config = self.path("squire.toml").display().to_string();
        let address = &self.daemon().listening;
        let ran = daemon::run(["resume", "--config", &config, "--daemon", address]).await?;
        if ran.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{ran:?}")))
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
            Fault::DiskFull(target) => {
                self.small_disk.is_none() || of(target)["tables"]["failing"] != 0
            }
            // The client tries again for longer than a look may take.
            Fault::StoreHangs(target)
            | Fault::StoreOverloaded(target)
            | Fault::StoreResets(target) => {
                matches!(of(target)["status"].as_str(), Some("stuck" | "failing"))
            }
            Fault::StateUnreadable => health["pauses"].is_string(),
            // Nothing of these is a fault for long.
            Fault::TableRemade(_)
            | Fault::StoreIsSlow(_)
            | Fault::GoodReload
            | Fault::Stopped
            | Fault::Killed
            | Fault::Terminated
            | Fault::JobsPanic => true,
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
                Fault::StateUnreadable => {
                    self.metric("squire_pauses_unreadable", "").await == Some(0.0)
                }
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
        let place = &self.places[target];
        for _ in 0..DUE + 2 {
            append(place, GOOD, ROWS).await;
        }
        let began = Instant::now();
        let what = format!("t{target} is compacted under seed {seed}");
        until(&what, async || place.fragments(GOOD).await < DUE).await;
        began.elapsed()
    }

    /// No store and no table makes a liveness probe fail.
    pub(crate) async fn is_live(&self) {
        let (code, _) = self.daemon().get("/livez").await.expect("it answers");
        assert_eq!(code, 200);
    }

    /// One more fragment for a target's table.
    pub(crate) async fn write(&self, target: usize) {
        append(&self.places[target], GOOD, ROWS).await;
    }

    /// Lines that the daemon has logged so far: about jobs, and all others.
    pub(crate) fn log_lines(&self) -> (usize, usize) {
        let log = self.path(&format!("log{}", self.starts - 1));
        let log = fs::read_to_string(log).expect("it is there");
        let of_jobs = |line: &&str| {
            [
                "\"job ",
                "\"compacted",
                "\"old versions removed",
                "\"versions stay",
            ]
            .iter()
            .any(|text| line.contains(text))
        };
        let jobs = log.lines().filter(of_jobs).count();
        (jobs, log.lines().count() - jobs)
    }

    /// Tasks of the daemon's runtime.
    pub(crate) async fn tasks(&self) -> f64 {
        let tasks = self.metric("squire_tasks", "").await;
        tasks.unwrap_or_default()
    }

    /// What the process takes at this moment.
    pub(crate) fn footprint_now(&self) -> Footprint {
        Footprint::of(self.daemon().id().expect("it runs"))
    }

    /// What the process takes at rest: while tables are read many times a second, a pool of threads that was once large
    /// stays so.
    pub(crate) async fn footprint(&self) -> Footprint {
        self.configure_with(AT_REST, "");
        self.signal("HUP").await;
        let id = self.daemon().id().expect("it runs");
        let mut least = Footprint::of(id);
        for _ in UNTIL_AT_REST {
            tokio::time::sleep(Duration::from_secs(1)).await;
            least = least.or(Footprint::of(id));
        }
        self.configure("");
        self.signal("HUP").await;
        least
    }

    /// Ends the daemon in order, and looks through what all of them have logged.
    pub(crate) async fn end(mut self) {
        let daemon = self.daemon.take().expect("it runs");
        let ended = daemon.stop(PATIENCE).await.expect("it ends");
        assert!(ended.success(), "{ended}");
        let (mut open, mut cut_off) = (Vec::new(), 0);
        for n in 0..self.starts {
            let log = fs::read_to_string(self.path(&format!("log{n}"))).expect("it is there");
            let lines: Vec<Value> = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            open.extend(left_open(&lines));
            for line in &lines {
                let text = line["message"].as_str().unwrap_or_default();
                // A torn table makes Lance panic, which is caught and told of the table.
                // So do the jobs that are to panic.
                let ours =
                    text != "panicked" && text.contains("panicked") && !text.starts_with("job");
                assert!(!ours, "{line}");
                if text.contains("grace is over") {
                    let hung = self.hung_at_the_end.get(&n);
                    let hung = hung
                        .into_iter()
                        .flatten()
                        .map(|target| format!("t{target}"));
                    let hung: BTreeSet<_> = hung.collect();
                    let left = line["targets"].as_str().unwrap_or_default().split(", ");
                    assert!(left.into_iter().all(|name| hung.contains(name)), "{line}");
                    cut_off += 1;
                }
            }
        }
        // A process that is killed, or ends before its jobs, logs no end of them. Two jobs run at once at most.
        assert!(
            open.len() <= 2 * (self.killed + cut_off),
            "jobs that began and never ended: {open:?}"
        );
    }
}

/// The jobs of a log that began and have no end.
fn left_open(lines: &[Value]) -> Vec<String> {
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let job = format!("{} {} {}", line["target_name"], line["table"], line["duty"]);
        let text = line["message"].as_str().unwrap_or_default();
        if text == "job started" {
            *open.entry(job).or_default() += 1;
        } else if [
            "job done",
            "job lost",
            "job skipped",
            "job failed",
            "job abandoned",
            "job cut off",
            "job panicked",
        ]
        .iter()
        .any(|end| text.starts_with(end))
        {
            open.remove(&job);
        }
    }
    open.into_keys().collect()
}

async fn append(place: &Place, table: &str, rows: i64) {
    let appended = place.append(table, rows).await;
    appended.expect("a client of a sound table is not disturbed");
}
