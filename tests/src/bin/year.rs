//! `make year DATA=...`: the whole of nycflights13, a day a load, with the daemon at work from the first load on.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    path::PathBuf,
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, datatypes::Schema as ArrowSchema};
use squire_engine::{
    Graph, LoadMode, LoadRequest, Options, Rows, TableKey, input::conform, schema::Schema,
};
use squire_tests::{
    daemon::Daemon,
    fingerprint::Fingerprint,
    flights::key,
    layout::measure,
    nycflights,
    show::{bytes, count, say, seconds, table},
};
use tokio::time::sleep;

type Result<T = (), E = Box<dyn StdError>> = std::result::Result<T, E>;

const SCHEMA: &str = include_str!("../../data/flights.toml");
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match year().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            say(format!("the year failed: {e}"));
            std::process::ExitCode::FAILURE
        }
    }
}

async fn year() -> Result {
    let data = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .ok_or("name the folder of nycflights13's Parquet files")?,
    );
    let dir = tempfile::Builder::new().prefix("squire-year-").tempdir()?;
    let uri = dir.path().join("flights");
    let uri = uri
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;
    let options = Options {
        actor: "writer@year".to_owned(),
        ..Options::default()
    };
    let graph = Graph::create(uri, Schema::parse(SCHEMA, "flights.toml")?, options).await?;
    let config = dir.path().join("squire.toml");
    std::fs::write(
        &config,
        format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"500ms\"\nlog_format = \"json\"\n\
             [defaults.compaction]\ninterval_floor = \"1s\"\n\
             [[target]]\nname = \"year\"\nuri = \"{uri}\"\n"
        ),
    )?;
    let mut daemon = Daemon::start(&config, &dir.path().join("squire.log")).await?;

    let mut expected: BTreeMap<TableKey, Fingerprint> = BTreeMap::new();
    let mut loads: Vec<Vec<(&str, RecordBatch)>> = Vec::new();
    let read = |file: &str| nycflights::read(&data.join(file));
    loads.push(vec![
        ("node:Airline", read("airlines.parquet")?),
        ("node:Airport", read("airports.parquet")?),
        ("node:Plane", read("planes.parquet")?),
    ]);
    for day in nycflights::days(&read("flights.parquet")?)? {
        loads.push(vec![("edge:Flight", day.flights)]);
    }
    let snapshot = graph.snapshot().await?;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for (n, load) in loads.iter().enumerate() {
        let mut request = LoadRequest::new();
        for (name, batch) in load {
            let key = key(name);
            let target = ArrowSchema::from(snapshot.open(&key).await?.schema());
            let fitted = conform(batch, &target.into(), name, 0)?;
            expected.entry(key.clone()).or_default().add(&fitted)?;
            request = request.add(key, LoadMode::Append, Rows::Batches(vec![batch.clone()]));
        }
        let began = Instant::now();
        graph
            .load(request)
            .await
            .map_err(|e| format!("load {n} failed: {e}"))?;
        slowest = slowest.max(began.elapsed());
        if (n + 1) % 100 == 0 {
            say(format!("{} of {} loads", n + 1, loads.len()));
        }
    }
    say(format!(
        "{} loads in {}, none failed or was repeated; the slowest took {}",
        loads.len(),
        seconds(started.elapsed()),
        seconds(slowest)
    ));
    let (jobs, worst_hold) = wait_until_tidy(&graph, &mut daemon).await?;
    let layouts = measure(&graph).await?;
    let rows = layouts.iter().map(|(key, layout)| {
        vec![
            key.to_string(),
            count(layout.rows),
            layout.fragments.to_string(),
            bytes(layout.bytes),
            layout.versions.to_string(),
            seconds(layout.scan),
        ]
    });
    say(table(
        &["table", "rows", "fragments", "bytes", "versions", "scan"],
        rows.collect(),
    ));
    say(format!(
        "{jobs} compactions meanwhile; the longest hold was {worst_hold} ms"
    ));
    for (key, expected) in &expected {
        if layouts.get(key).map(|l| l.fingerprint) != Some(*expected) {
            return Err(format!("{key} differs from what was loaded").into());
        }
    }
    say("every row is there as it was loaded, by a hash over all columns");
    daemon.stop(Duration::from_secs(20)).await?;
    Ok(())
}

/// Waits until every table has as few fragments as the byte target allows: one, at this size, or below the
/// threshold of small ones. Returns the number of compactions and the longest hold.
async fn wait_until_tidy(graph: &Graph, daemon: &mut Daemon) -> Result<(usize, u64)> {
    let (mut jobs, mut worst) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        while let Some(line) = daemon.try_next_line() {
            if line["message"] == "job done" && line["duty"] == "compaction" {
                jobs += 1;
                worst = worst.max(line["hold_ms"].as_u64().unwrap_or(0));
            }
            if line["level"] == "ERROR" {
                return Err(format!("the daemon says: {line}").into());
            }
        }
        let snapshot = graph.snapshot().await?;
        let mut tidy = snapshot.manifest().queue.is_empty();
        for key in snapshot.manifest().tables.keys() {
            tidy &= snapshot.stats(key).await?.fragments.len() < 8;
        }
        if tidy {
            return Ok((jobs, worst));
        }
        if Instant::now() > deadline {
            return Err("the daemon did not tidy up in time".into());
        }
        sleep(Duration::from_millis(300)).await;
    }
}
