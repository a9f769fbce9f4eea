//! `make soak`: a bank on a graph, whose writers and daemons are killed again and again.
//!
//! Writers in processes of their own move money between the graph's tables, two daemons keep the graph, and a reader
//! checks every snapshot that it gets. Writers and daemons are killed with SIGKILL, or paused past their lease, at
//! moments that a seed chooses. In the end the daemons heal what is left, and every ledger must agree with the graph.
//! The bank itself, its ledgers and all choices are in [`squire_tests::bank`].
//!
//! | file | what is in it |
//! |---|---|
//! | this file | the phases: calm, storm, calm, healing, reckoning |
//! | [`order`] | the command line |
//! | [`reaper`] | starts, pauses, kills and restarts |
//! | [`writer`] | one writer's life |
//! | [`perform`] | doing it |
//! | [`reader`] | checks snapshots as long as the soak runs |
//! | [`tally`] | what happened, in numbers |

mod order;
mod perform;
mod reader;
mod reaper;
mod tally;
mod writer;

use std::{
    error::Error as StdError,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use squire_engine::{Graph, Options, schema::Schema};
use squire_tests::{
    bank::{Holdings, Ledger, Shelf, Tag, Told, check, check::check_schema, choice, schema},
    daemon::Daemon,
    show::{say, seconds},
};
use tempfile::TempDir;
use tokio::time::sleep;

use order::Order;
use reader::Reader;
use reaper::Reaper;
use tally::Tally;

pub(crate) type Result<T = (), E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

/// Writer processes at once.
pub(crate) const WRITERS: usize = 4;
/// Daemons at once.
pub(crate) const DAEMONS: usize = 2;
/// How long a writer may be silent. Waiters and daemons go by their own lease.
pub(crate) const LEASE: Duration = Duration::from_millis(400);
/// Before the storm and after it, to compare.
const CALM: Duration = Duration::from_secs(5);
/// Until everybody is at work, and what a storm left is healed.
const SETTLE: Duration = Duration::from_secs(2);
/// Nothing waits longer than this: what takes longer will never come.
const PATIENCE: Duration = Duration::from_secs(90);
/// The daemons' settings: everything often, a lease as short as can be set, and nothing kept for long.
const SETTINGS: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"100ms\"\nheal_interval = \"300ms\"\nlease = \"1s\"\n\
     log = \"info,squire=debug\"\nlog_format = \"json\"\n\n\
     [defaults.compaction]\nmin_small_fragments = 6\ninterval_floor = \"500ms\"\n\n\
     [defaults.cleanup]\nkeep_for = \"1s\"\nkeep_versions = 2\nmin_versions = 3\nkeep_manifests = 10\ninterval_floor = \"1s\"\n\n";

#[tokio::main]
async fn main() -> ExitCode {
    let ran = match Order::parse(std::env::args().skip(1)) {
        Ok(Order::Write(order)) => writer::write(order).await,
        Ok(Order::Soak(order)) => soak(&order).await,
        Err(e) => Err(e),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(format!("\nthe soak failed: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// Where everything is.
pub(crate) struct Site {
    dir: PathBuf,
}

impl Site {
    /// The graph's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("bank")
    }

    /// The graph's root, as text.
    pub(crate) fn uri(&self) -> String {
        self.root().to_string_lossy().into_owned()
    }

    /// The daemons' configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("squire.toml")
    }

    /// A writer's ledger.
    pub(crate) fn ledger(&self, writer: usize) -> PathBuf {
        self.dir.join(format!("ledger-{writer}"))
    }

    /// The log of one life of a daemon.
    pub(crate) fn log(&self, daemon: usize, life: u64) -> PathBuf {
        self.dir.join(format!("daemon-{daemon}-{life}.log"))
    }

    /// Every log of a daemon.
    fn logs(&self) -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.path()));
        let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "log"));
        Ok(paths)
    }

    /// Sidecars on the store.
    fn sidecars(&self) -> Vec<PathBuf> {
        let dir = self.root().join("_squire/recovery");
        let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
        found.retain(|path| path.extension().is_some_and(|e| e == "json"));
        found
    }
}

/// Runs a soak, and keeps its folder when something is wrong.
async fn soak(order: &order::Soak) -> Result {
    let mut dir = tempfile::Builder::new().prefix("squire-soak-").tempdir()?;
    say(format!(
        "A bank of {WRITERS} writers and {DAEMONS} daemons; seed {}. (SEED={} chooses the same victims and moments again.)",
        order.seed, order.seed
    ));
    let ended = run(order, &dir).await;
    if ended.is_err() {
        dir.disable_cleanup(true);
        say(format!("   The folder is kept: {}", dir.path().display()));
    }
    ended
}

async fn run(order: &order::Soak, dir: &TempDir) -> Result {
    let site = Arc::new(Site {
        dir: dir.path().to_owned(),
    });
    let options = Options {
        actor: "soak".to_owned(),
        ..Options::default()
    };
    let graph = Graph::create(&site.uri(), schema()?, options).await?;
    let born = graph.snapshot().await?.manifest().schema.clone();
    let target = format!("[[target]]\nname = \"bank\"\nuri = \"{}\"\n", site.uri());
    std::fs::write(site.config(), format!("{SETTINGS}{target}"))?;

    let reader = Reader::start(site.clone(), graph.clone());
    let reaper = Reaper::new(site.clone(), order.seed);
    let phases = async {
        let before = calm(&site, &reaper).await?;
        say(format!(
            "   Calm: {before:.1} operations a second. The storm begins."
        ));
        let started = Instant::now();
        let daemons = reaper.storm(order.until()).await?;
        say(format!(
            "   {} kills in {}. Calm again.",
            reaper.killed(),
            seconds(started.elapsed())
        ));
        let after = calm_with(&site, &reaper, daemons).await?;
        Ok::<_, Box<dyn StdError + Send + Sync>>((before, after))
    };
    let (before, (after, daemons)) = tokio::select! {
        violated = reader.violated() => return Err(violated),
        ended = phases => ended?,
    };
    let healing = Instant::now();
    heal(&site, &graph).await?;
    let healing = healing.elapsed();
    let snapshots = reader.stop().await?;
    for daemon in daemons {
        let ended = daemon.stop(PATIENCE).await?;
        if !ended.success() {
            return Err(format!("a daemon ended with {ended}").into());
        }
    }
    reckon(&site, &graph, &born).await?;
    let tally = Tally::of(&site, &reaper, snapshots)?;
    tally.say(before, after, healing);
    tally.verdict()
}

/// Daemons and writers work and nobody is killed but, in the end, everybody. Operations a second.
async fn calm(site: &Arc<Site>, reaper: &Reaper) -> Result<f64> {
    let (rate, daemons) = calm_with(site, reaper, reaper.daemons().await?).await?;
    for daemon in daemons {
        daemon.kill().await?;
    }
    Ok(rate)
}

/// The same, with these daemons, which go on.
async fn calm_with(
    site: &Arc<Site>,
    reaper: &Reaper,
    daemons: Vec<Daemon>,
) -> Result<(f64, Vec<Daemon>)> {
    let writers = reaper.writers()?;
    sleep(SETTLE).await;
    let begun = tally::acknowledged(site)?;
    sleep(CALM).await;
    let done = tally::acknowledged(site)? - begun;
    // They die in the middle of whatever they are at.
    for writer in writers {
        reaper.kill(writer).await?;
    }
    Ok((done as f64 / CALM.as_secs_f64(), daemons))
}

/// Nobody writes any more: the daemons heal until nothing is left.
async fn heal(site: &Site, graph: &Graph) -> Result {
    let started = Instant::now();
    loop {
        let snapshot = graph.snapshot().await?;
        let queue = &snapshot.manifest().queue;
        let sidecars = site.sidecars();
        if queue.is_empty() && sidecars.is_empty() {
            return Ok(());
        }
        if queue.is_empty() {
            // What no ticket names counts as left behind after ten minutes: make it that old.
            age(&sidecars)?;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!(
                "healing does not come to an end: sidecars {sidecars:?}, queue {queue:#?}"
            )
            .into());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn age(sidecars: &[PathBuf]) -> Result {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for path in sidecars {
        // A healer may be faster.
        if let Ok(file) = std::fs::File::options().write(true).open(path) {
            file.set_modified(long_ago)?;
        }
    }
    Ok(())
}

/// Nothing is under way any more: the ledgers must agree with the graph, and everybody can go on.
async fn reckon(site: &Site, graph: &Graph, born: &Schema) -> Result {
    let held = Holdings::of(&graph.snapshot().await?, &mut Shelf::default()).await?;
    let ledgers = reader::ledgers(site)?;
    let known: Vec<_> = ledgers.iter().map(|ledger| ledger.lines).collect();
    let mut violations = check(&ledgers, &known, &held);
    violations.extend(check_schema(&ledgers, born, &held));
    if let Some(violation) = violations.first() {
        return Err(format!("in the end: {violation}; {} in all", violations.len()).into());
    }
    one_more_of_each(graph, &ledgers).await
}

/// No table is blocked: a load of all of them goes through, and its delete.
async fn one_more_of_each(graph: &Graph, ledgers: &[Ledger]) -> Result {
    let writer = ledgers.len();
    let [load, delete] = choice::farewell();
    for (seq, intent) in [(1, &load), (2, &delete)] {
        let snapshot = graph.snapshot().await?;
        let told = perform::perform(graph, &snapshot, Tag { writer, seq }, intent, &load).await;
        if !matches!(told, Told::Acknowledged(_)) {
            return Err(format!("the last {} did not go through: {told:?}", intent.kind()).into());
        }
    }
    let held = Holdings::of(&graph.snapshot().await?, &mut Shelf::default()).await?;
    let known: Vec<_> = ledgers.iter().map(|ledger| ledger.lines).collect();
    match check(ledgers, &known, &held).first() {
        Some(violation) => Err(format!("after the last delete: {violation}").into()),
        None => Ok(()),
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
