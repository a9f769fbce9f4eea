//! Ten tables, the programs that use them, and the daemons beside.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lance::Dataset;
use squire_tests::{
    daemon::Daemon,
    lancedb::{
        kept::Jobs,
        ledger::{Expected, Ledger},
        look::{self, Look},
        python::{self, Program},
    },
    show::{bytes, count, say, table},
};
use tempfile::TempDir;
use tokio::time::sleep;

const TABLES: usize = 10;
/// Programs that write. Each table has one of them.
const WRITERS: usize = 2;
/// Rows that nobody changes, as `tests/python/tables.py` has them.
const STABLE: i64 = 1_000;
/// How long the programs work at least, unless `MINUTES` says otherwise.
const SECONDS: u64 = 30;
/// How long the daemons may take, once nobody writes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Low thresholds and a short retention.
const SETTINGS: &str = r#"
[daemon]
listen = "127.0.0.1:0"
tick = "200ms"
cold_tick = "1s"
log_format = "json"

[defaults.compaction]
min_small_fragments = 8
interval_floor = "500ms"

[defaults.index]
max_unindexed_rows = 500
max_segments = 2
interval_floor = "1s"

[defaults.cleanup]
keep_for = "10s"
keep_versions = 5
min_versions = 10
interval_floor = "2s"

[[target]]
name = "field"
"#;
/// At rest each tier of sizes has fewer small fragments than `min_small_fragments`, for each way in which segments of
/// indexes cover them (docs/planner.md). These tables have three tiers, to 2 MiB, and rows in the one segment, in the
/// other or in none.
const MAX_FRAGMENTS: usize = 3 * 7 * 3;
const MAX_UNINDEXED_ROWS: usize = 500;
const KEEP_VERSIONS: usize = 5;
const MIN_VERSIONS: usize = 10;

/// The tables, before anybody works on them.
pub(crate) struct Field {
    dir: TempDir,
    python: PathBuf,
}

/// What the table named so is at its newest version, and how many versions there are.
struct Seen {
    look: Look,
    versions: usize,
}

impl Field {
    /// Makes the tables.
    pub(crate) async fn seeded() -> Self {
        let python = python::interpreter()
            .await
            .expect("the lancedb package can be installed");
        let field = Self {
            dir: tempfile::tempdir().unwrap(),
            python,
        };
        std::fs::create_dir(field.ledgers()).unwrap();
        field.run("seed", [TABLES.to_string()]).await;
        field
    }

    /// Lets the programs work beside so many daemons, and checks everything.
    pub(crate) async fn work_beside(&self, daemons: usize) {
        let mut running = Vec::new();
        for n in 0..daemons {
            let daemon = Daemon::start(&self.config(), &self.log(n)).await;
            running.push(daemon.expect("the daemon starts"));
        }
        let seeded = look::disk(&self.root()).unwrap();
        let (operations, searches) = self.work().await;
        let worked = look::disk(&self.root()).unwrap();
        self.rows_are_exact().await;

        let settled = Instant::now();
        let mut seen = self.look().await;
        while !seen.iter().all(Seen::is_kept) && settled.elapsed() < PATIENCE {
            sleep(Duration::from_millis(500)).await;
            seen = self.look().await;
        }
        let took = settled.elapsed();
        self.run("check", names()).await;
        self.rows_are_exact().await;
        for daemon in running {
            assert!(daemon.stop(PATIENCE).await.unwrap().success());
        }
        let kept = look::disk(&self.root()).unwrap();
        let fresh = self.fresh_size().await;

        let jobs: Vec<_> = (0..daemons)
            .map(|n| Jobs::read(&self.log(n)).unwrap())
            .collect();
        let done = |duty: &str| jobs.iter().map(|jobs| jobs.done(duty)).sum::<u64>();
        let most = |of: fn(&Seen) -> usize| seen.iter().map(of).max().unwrap_or_default() as u64;
        say(table(
            &["what", "figure"],
            [
                ("daemons", daemons as u64),
                ("writes", operations),
                ("searches", searches),
                ("compactions", done("compaction")),
                ("index jobs", done("index")),
                ("cleanups", done("cleanup")),
                ("rewrites lost", jobs.iter().map(|jobs| jobs.lost).sum()),
                (
                    "jobs failed",
                    jobs.iter().map(|jobs| jobs.failed.len() as u64).sum(),
                ),
                (
                    "versions written",
                    most(|s| usize::try_from(s.look.version).unwrap_or_default()),
                ),
                (
                    "most fragments of a table at the end",
                    most(|s| s.look.fragments),
                ),
                (
                    "most unindexed rows of a table at the end",
                    most(|s| s.look.unindexed),
                ),
                ("most versions of a table at the end", most(|s| s.versions)),
            ]
            .map(|(what, figure)| vec![what.to_owned(), count(figure)])
            .into(),
        ));
        say(format!(
            "disk: {} seeded, {} after {operations} writes, {} kept in the end; the rows and indexes alone take {}. At rest after {:.0} s.",
            bytes(seeded),
            bytes(worked),
            bytes(kept),
            bytes(fresh),
            took.as_secs_f64(),
        ));
        for failed in jobs.iter().flat_map(|jobs| &jobs.failed) {
            say(format!("  {failed}"));
        }

        for (seen, name) in seen.iter().zip(names()) {
            let Look {
                fragments,
                unindexed,
                ..
            } = seen.look;
            assert!(
                seen.is_kept(),
                "{name}: {fragments} fragments, {unindexed} unindexed rows, {} versions",
                seen.versions
            );
        }
        for duty in ["compaction", "index", "cleanup"] {
            assert!(done(duty) > 0, "no daemon did any {duty}: {jobs:?}");
        }
        assert!(jobs.iter().all(|jobs| jobs.failed.is_empty()));
        assert!(
            kept <= 4 * fresh,
            "{} on disk, where {} are needed",
            bytes(kept),
            bytes(fresh)
        );
    }

    /// Writers and a searcher, all at once, at full speed. Gives how often they wrote and searched.
    async fn work(&self) -> (u64, u64) {
        let seconds = std::env::var("MINUTES").map_or(SECONDS, |m| 60 * m.parse::<u64>().unwrap());
        let seconds = seconds.to_string();
        let (root, ledgers, searcher) = (self.root(), self.ledgers(), self.searcher());
        let tables: Vec<_> = names().collect();
        let program = |what: &str, ledger: &Path, tables: &[String]| {
            let mut args = vec![
                what.into(),
                root.as_os_str().to_owned(),
                ledger.into(),
                (&seconds).into(),
            ];
            args.extend(tables.iter().map(Into::into));
            Program::start(&self.python, "tables", args).unwrap()
        };
        let mut programs = vec![program("search", &searcher, &tables)];
        for tables in tables.chunks(TABLES / WRITERS) {
            programs.push(program("write", &ledgers, tables));
        }
        for program in &mut programs {
            program.ready().await.unwrap();
        }
        for program in &mut programs {
            program.go().await.unwrap();
        }
        for program in programs {
            program.end().await.unwrap();
        }
        let searched = Ledger::read(&searcher).unwrap();
        let written: Vec<_> = names().map(|name| self.ledger(&name)).collect();
        let errors: Vec<_> = written
            .iter()
            .chain([&searched])
            .flat_map(Ledger::errors)
            .collect();
        assert!(
            errors.is_empty(),
            "{} errors in the clients, such as {}",
            errors.len(),
            errors[0]
        );
        let written = written
            .iter()
            .map(|ledger| ledger.operations.len() as u64)
            .sum();
        (written, searched.operations.len() as u64)
    }

    /// Every row that a ledger speaks of is there as it says, once.
    async fn rows_are_exact(&self) {
        for name in names() {
            let mut expected = Expected::seeded(0..STABLE, 0);
            expected.follow(&self.ledger(&name));
            let difference = expected.compare(&self.open(&name).await).await.unwrap();
            assert!(difference.is_none(), "{name}: {difference}");
        }
    }

    async fn look(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for name in names() {
            let dataset = self.open(&name).await;
            seen.push(Seen {
                look: Look::at(&dataset).await.unwrap(),
                versions: self.versions(&name),
            });
        }
        seen
    }

    /// How many versions of a table there are.
    fn versions(&self, name: &str) -> usize {
        let files = std::fs::read_dir(self.path(name).join("_versions")).unwrap();
        let names = files.map(|file| file.unwrap().path());
        names
            .filter(|path| path.extension().is_some_and(|e| e == "manifest"))
            .count()
    }

    /// What the same rows and indexes take in tables that were never written to since.
    async fn fresh_size(&self) -> u64 {
        let mut size = 0;
        for name in names() {
            let dataset = self.open(&name).await;
            let files = dataset.manifest().fragments.iter().flat_map(|f| &f.files);
            let sizes = files.filter_map(|file| file.file_size_bytes.get());
            size += sizes.map(std::num::NonZero::get).sum::<u64>();
            for index in lance::index::DatasetIndexExt::load_indices(&dataset)
                .await
                .unwrap()
                .iter()
            {
                size += look::disk(
                    &self
                        .path(&name)
                        .join("_indices")
                        .join(index.uuid.to_string()),
                )
                .unwrap();
            }
        }
        size
    }

    /// Runs a program to its end.
    async fn run(&self, what: &str, args: impl IntoIterator<Item = String>) {
        let mut all = vec![OsString::from(what), self.root().into()];
        all.extend(args.into_iter().map(OsString::from));
        let program = Program::start(&self.python, "tables", all).unwrap();
        program.end().await.unwrap();
    }

    async fn open(&self, name: &str) -> Dataset {
        Dataset::open(self.path(name).to_str().unwrap())
            .await
            .unwrap()
    }

    fn config(&self) -> PathBuf {
        let config = self.dir.path().join("squire.toml");
        let root = self.root();
        std::fs::write(&config, format!("{SETTINGS}uri = \"{}\"\n", root.display())).unwrap();
        config
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("database")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(format!("{name}.lance"))
    }

    fn ledgers(&self) -> PathBuf {
        self.dir.path().join("ledgers")
    }

    fn ledger(&self, name: &str) -> Ledger {
        Ledger::read(&self.ledgers().join(name)).unwrap()
    }

    fn searcher(&self) -> PathBuf {
        self.dir.path().join("searcher")
    }

    fn log(&self, daemon: usize) -> PathBuf {
        self.dir.path().join(format!("daemon-{daemon}.log"))
    }
}

impl Seen {
    /// Whether nothing about the table is past a threshold.
    fn is_kept(&self) -> bool {
        self.look.fragments <= MAX_FRAGMENTS
            && self.look.unindexed <= MAX_UNINDEXED_ROWS
            && self.versions < KEEP_VERSIONS + MIN_VERSIONS
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..TABLES).map(|n| format!("table_{n}"))
}
