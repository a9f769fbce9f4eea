//! `make demo`: the main job, end to end, on real flights.
//!
//! A writer loads January 2013 in hundreds of small, atomic loads and deletes a little; the real daemon, with a real
//! configuration, brings the graph back into shape while the writer goes on. In the end every row is there.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Int64Type, Schema as ArrowSchema},
};
use squire_engine::{
    DeleteRequest, Graph, LoadMode, LoadRequest, Options, Rows, TableKey, input::conform,
    schema::Schema,
};
use squire_tests::{
    daemon::{self, Daemon},
    fingerprint::Fingerprint,
    flights::key,
    layout::{Layout, measure},
    nycflights::{self, Day},
    show::{bytes, count, say, seconds, table},
};
use tokio::time::{sleep, timeout};

type Result<T = (), E = Box<dyn StdError>> = std::result::Result<T, E>;

const SCHEMA: &str = include_str!("../../data/flights.toml");
/// So many loads a day of flights.
const LOADS_A_DAY: usize = 10;
/// The last days are loaded while the daemon works.
const DAYS_BESIDE_THE_DAEMON: usize = 8;
/// Days whose cancelled flights are deleted.
const CLEANED_DAYS: [i64; 4] = [2, 9, 16, 23];
/// The daemon is given so long to become idle once the writer is done.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match demo().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            say(format!("\nthe demo failed: {e}"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/nycflights13")
        .join(file)
}

/// What the graph must hold when the writer is done.
#[derive(Default)]
struct Ledger {
    rows: BTreeMap<TableKey, Fingerprint>,
    loads: usize,
}

struct Writer {
    graph: Graph,
    targets: BTreeMap<TableKey, arrow::datatypes::SchemaRef>,
    ledger: Ledger,
}

impl Writer {
    async fn new(graph: Graph) -> Result<Self> {
        let snapshot = graph.snapshot().await?;
        let mut targets = BTreeMap::new();
        for key in snapshot.manifest().tables.keys() {
            let schema = ArrowSchema::from(snapshot.open(key).await?.schema());
            targets.insert(key.clone(), schema.into());
        }
        Ok(Self {
            graph,
            targets,
            ledger: Ledger::default(),
        })
    }

    /// One atomic load into several tables.
    async fn load(&mut self, tables: Vec<(&str, RecordBatch)>) -> Result {
        let mut request = LoadRequest::new();
        for (name, batch) in tables {
            let key = key(name);
            let fitted = conform(&batch, &self.targets[&key], name, 0)?;
            let kept = without_cleaned(&fitted)?;
            self.ledger
                .rows
                .entry(key.clone())
                .or_default()
                .add(&kept)?;
            request = request.add(key, LoadMode::Append, Rows::Batches(vec![batch]));
        }
        self.graph.load(request).await?;
        self.ledger.loads += 1;
        Ok(())
    }

    /// A day of flights in small loads; some planes come along in each.
    async fn load_day(&mut self, day: &Day, planes: &[RecordBatch]) -> Result {
        let mut planes = planes.iter();
        for flights in nycflights::parts(&day.flights, LOADS_A_DAY) {
            let mut tables = vec![("edge:Flight", flights)];
            if let Some(some) = planes.next() {
                tables.push(("node:Plane", some.clone()));
            }
            self.load(tables).await?;
        }
        Ok(())
    }
}

/// The rows that no delete of the demo takes away.
fn without_cleaned(rows: &RecordBatch) -> Result<RecordBatch> {
    let (Some(day), Some(dep_time)) = (rows.column_by_name("day"), rows.column_by_name("dep_time"))
    else {
        return Ok(rows.clone());
    };
    let day = cast(day, &DataType::Int64)?;
    let day = day.as_primitive::<Int64Type>();
    let kept: BooleanArray = (0..rows.num_rows())
        .map(|row| Some(!(CLEANED_DAYS.contains(&day.value(row)) && dep_time.is_null(row))))
        .collect();
    Ok(filter_record_batch(rows, &kept)?)
}

async fn demo() -> Result {
    let keep = std::env::var("KEEP").is_ok_and(|keep| keep == "1");
    let dir = tempfile::Builder::new()
        .prefix("squire-demo-")
        .disable_cleanup(keep)
        .tempdir()?;
    let root = dir.path().join("flights");
    let uri = root
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;

    say("1. A graph of flights: airlines, airports and planes are nodes, flights are edges.");
    let schema = Schema::parse(SCHEMA, "flights.toml")?;
    let graph = Graph::create(uri, schema, options("writer")).await?;
    let mut writer = Writer::new(graph.clone()).await?;
    let days = nycflights::days(&nycflights::read(&data("flights_january.parquet"))?)?;
    let planes = nycflights::parts(&nycflights::read(&data("planes.parquet"))?, days.len() * 4);
    let mut planes = planes.chunks(4);

    say("2. A writer loads January 2013 in small atomic loads, several tables at once.");
    let airlines = nycflights::read(&data("airlines.parquet"))?;
    let airports = nycflights::read(&data("airports.parquet"))?;
    writer
        .load(vec![("node:Airline", airlines), ("node:Airport", airports)])
        .await?;
    let (early, late) = days.split_at(days.len() - DAYS_BESIDE_THE_DAEMON);
    let started = Instant::now();
    for (n, day) in early.iter().enumerate() {
        writer
            .load_day(day, planes.next().unwrap_or_default())
            .await?;
        if (n + 1) % 7 == 0 {
            say(format!(
                "   {} days, {} loads ...",
                n + 1,
                writer.ledger.loads
            ));
        }
    }
    let mut deleted = 0;
    for day in CLEANED_DAYS {
        let cancelled = format!("day = {day} AND dep_time IS NULL");
        let request = DeleteRequest::new().add(key("edge:Flight"), cancelled);
        deleted += graph.delete(request).await?.rows_deleted;
    }
    say(format!(
        "   {} loads and {} deletes ({} cancelled flights) in {}.",
        writer.ledger.loads,
        CLEANED_DAYS.len(),
        count(deleted),
        seconds(started.elapsed())
    ));
    let before = measure(&graph).await?;

    say("3. The daemon starts, with this configuration, while the writer goes on:\n");
    let config = dir.path().join("squire.toml");
    let settings = settings(uri);
    settings
        .lines()
        .for_each(|line| say(format!("      {line}")));
    say("");
    std::fs::write(&config, &settings)?;
    let mut daemon = Daemon::start(&config, &dir.path().join("squire.log")).await?;
    for day in late {
        writer
            .load_day(day, planes.next().unwrap_or_default())
            .await?;
        while let Some(line) = daemon.try_next_line() {
            tell(&line);
        }
    }
    say(format!(
        "   The writer is done: {} loads, none failed.",
        writer.ledger.loads
    ));
    let idle = timeout(PATIENCE, until_idle(&mut daemon, &graph)).await;
    idle.map_err(|_| "the daemon did not become idle in time")??;
    let after = measure(&graph).await?;

    say("\n4. Before and after:\n");
    say(compare(&before, &after));
    check(&writer, &after)?;
    if keep {
        keep_running(daemon, dir.path(), uri);
    } else {
        let ended = daemon.stop(Duration::from_secs(20)).await?;
        if !ended.success() {
            return Err(format!("the daemon ended with {ended}").into());
        }
        say("   The daemon stopped in order.");
        say(
            "\nNext: `make demo KEEP=1` leaves the daemon running to look at; `make test` proves it; the README shows the commands.",
        );
    }
    Ok(())
}

fn options(actor: &str) -> Options {
    Options {
        actor: format!("{actor}@demo"),
        ..Options::default()
    }
}

fn settings(uri: &str) -> String {
    format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"500ms\"\nlog_format = \"json\"\n\n\
         [defaults.compaction]\nmin_small_fragments = 8\ninterval_floor = \"2s\"\n\n\
         [[target]]\nname = \"flights\"\nuri = \"{uri}\"\n"
    )
}

/// What the daemon says, for people.
fn tell(line: &serde_json::Value) {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| count(line[name].as_u64().unwrap_or_default());
    match line["message"].as_str() {
        Some("job started") => say(format!(
            "   daemon: {} is due ({}): {} fragments, {} deleted rows",
            text("table"),
            text("reason"),
            number("fragments"),
            number("deleted_rows")
        )),
        Some("job done") => say(format!(
            "   daemon: {} compacted: {} fragments into {}; rewritten in {} ms with nothing held, held {} ms to commit",
            text("table"),
            number("fragments_before"),
            number("fragments_after"),
            number("rewrite_ms"),
            number("hold_ms")
        )),
        Some(message) if message.starts_with("job lost") => {
            say(format!(
                "   daemon: {} moved on meanwhile; planned anew",
                text("table")
            ));
        }
        Some(message) if line["level"] == "ERROR" || line["level"] == "WARN" => {
            say(format!("   daemon: {message}: {}", text("error")));
        }
        _ => {}
    }
}

/// Waits until no table is due and nothing is under way.
async fn until_idle(daemon: &mut Daemon, graph: &Graph) -> Result {
    loop {
        while let Some(line) = daemon.try_next_line() {
            tell(&line);
        }
        let layouts = graph.snapshot().await?;
        let mut tidy = layouts.manifest().queue.is_empty();
        for key in layouts.manifest().tables.keys() {
            tidy &= layouts.stats(key).await?.fragments.len() < 8;
            tidy &= layouts.stats(key).await?.deleted_rows() == 0;
        }
        if tidy {
            sleep(Duration::from_millis(200)).await;
            while let Some(line) = daemon.try_next_line() {
                tell(&line);
            }
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn compare(before: &BTreeMap<TableKey, Layout>, after: &BTreeMap<TableKey, Layout>) -> String {
    let mut rows = Vec::new();
    for (key, after) in after {
        let before = before.get(key).cloned().unwrap_or_default();
        let mut row = |when: &str, layout: &Layout| {
            rows.push(vec![
                format!("{key} {when}"),
                count(layout.rows),
                layout.fragments.to_string(),
                layout.files.to_string(),
                bytes(layout.bytes),
                count(layout.deleted),
                layout.versions.to_string(),
                seconds(layout.scan),
            ]);
        };
        row("before", &before);
        row("after", after);
    }
    let header = [
        "table",
        "rows",
        "fragments",
        "files",
        "bytes",
        "deleted",
        "versions",
        "scan",
    ];
    table(&header, rows)
}

/// Every loaded row is there, as it was loaded, and nothing else.
fn check(writer: &Writer, after: &BTreeMap<TableKey, Layout>) -> Result {
    for (key, expected) in &writer.ledger.rows {
        let found = after
            .get(key)
            .map(|layout| layout.fingerprint)
            .unwrap_or_default();
        if found != *expected {
            return Err(format!(
                "{key} holds {} rows that differ from the {} expected ones",
                found.rows, expected.rows
            )
            .into());
        }
    }
    let total: u64 = after.values().map(|layout| layout.rows).sum();
    say(format!(
        "\n   All {} rows are there as they were loaded, compared by a hash over all columns.\n   The versions behind them are kept for their readers; removing old ones comes with a later release.",
        count(total)
    ));
    Ok(())
}

fn keep_running(daemon: Daemon, dir: &Path, uri: &str) {
    let squire = daemon::squire().unwrap_or_else(|_| PathBuf::from("squire"));
    let squire = squire.display();
    let (listening, id) = (daemon.listening.clone(), daemon.id().unwrap_or_default());
    say(format!(
        "\nThe daemon runs on (process {id}). Try:\n  {squire} status {uri}\n  {squire} log {uri}\n  {squire} load {uri} Flight={}\n  curl -s http://{listening}/metrics | grep ^squire_\n  tail -f {}/squire.log\n  kill {id} && rm -r {}",
        data("flights_january.parquet").display(),
        dir.display(),
        dir.display(),
    ));
    daemon.leave_running();
}
