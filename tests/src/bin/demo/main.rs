//! `make demo`: the main jobs, end to end, on real flights.
//!
//! A writer loads January 2013 in hundreds of small, atomic loads and deletes a little; the real daemon, with a real
//! configuration, brings the graph back into shape while the writer goes on. Then other writers are killed in the
//! middle of their work, and the daemon carries it to its end. Finally every row is there.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | the story |
//! | [`ledger`] | the writer, and what the graph must hold |
//! | [`keeping`] | the daemon, and what it says |
//! | [`deaths`] | writers that are killed |
//! | [`compare`] | before and after |

mod compare;
mod deaths;
mod keeping;
mod ledger;

use std::{error::Error as StdError, path::PathBuf, time::Instant};

use arrow::array::RecordBatch;
use squire_engine::{DeleteRequest, Graph, Options, schema::Schema};
use squire_tests::{
    flights::key,
    layout::measure,
    nycflights::{self, Day},
    repository,
    show::{count, say, seconds},
};

use compare::{check, compare};
use deaths::Scene;
use keeping::{Keeping, settings};
use ledger::{CLEANED_DAYS, Writer};

pub(crate) type Result<T = (), E = Box<dyn StdError>> = std::result::Result<T, E>;

const SCHEMA: &str = include_str!("../../../data/flights.toml");
/// The last days are loaded while the daemon works: these many while nobody dies,
const DAYS_BESIDE_THE_DAEMON: usize = 4;
/// and these many while others do.
const DAYS_AMONG_DEATHS: usize = 4;
/// So many loads a day of flights among deaths.
const LOADS_AMONG_DEATHS: usize = 20;

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
    repository::file("tests/data/nycflights13").join(file)
}

/// Flights by day, and nodes: most of them for the first writer, the last quarter for those who die.
struct Data {
    days: Vec<Day>,
    nodes: [(&'static str, RecordBatch); 3],
    late_nodes: [(&'static str, RecordBatch); 3],
}

impl Data {
    fn read() -> Result<Self> {
        let read =
            |table, file: &str| Ok::<_, Box<dyn StdError>>((table, nycflights::read(&data(file))?));
        let nodes = [
            read("node:Airline", "airlines.parquet")?,
            read("node:Airport", "airports.parquet")?,
            read("node:Plane", "planes.parquet")?,
        ];
        let early = |rows: &RecordBatch| rows.num_rows() - rows.num_rows() / 4;
        Ok(Self {
            days: nycflights::days(&nycflights::read(&data("flights_january.parquet"))?)?,
            late_nodes: nodes
                .clone()
                .map(|(table, rows)| (table, rows.slice(early(&rows), rows.num_rows() / 4))),
            nodes: nodes.map(|(table, rows)| (table, rows.slice(0, early(&rows)))),
        })
    }
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
    let Data {
        days,
        nodes: [airlines, airports, (_, planes)],
        late_nodes,
    } = Data::read()?;
    let among_deaths = days.len() - DAYS_AMONG_DEATHS;
    let (days, last) = days.split_at(among_deaths);
    let (early, late) = days.split_at(days.len() - DAYS_BESIDE_THE_DAEMON);
    let planes = nycflights::parts(&planes, days.len() * 4);
    let mut planes = planes.chunks(4);

    say("2. A writer loads January 2013 in small atomic loads, several tables at once.");
    let mut writer = Writer::new(graph.clone());
    writer.load(vec![airlines, airports]).await?;
    let started = Instant::now();
    for (n, day) in early.iter().enumerate() {
        writer
            .load_day(day, planes.next().unwrap_or_default())
            .await?;
        if (n + 1) % 7 == 0 {
            say(format!("   {} days, {} loads ...", n + 1, writer.loads));
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
        writer.loads,
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
    let mut keeping = Keeping::start(&config, &dir.path().join("squire.log")).await?;
    for day in late {
        writer
            .load_day(day, planes.next().unwrap_or_default())
            .await?;
        keeping.listen();
    }

    say(
        "\n4. Another process loads airlines, airports and planes in one load, and dies in the middle of it.",
    );
    let loads = last
        .iter()
        .flat_map(|day| nycflights::parts(&day.flights, LOADS_AMONG_DEATHS));
    let mut loads = loads.collect::<Vec<_>>().into_iter();
    let mut scene = Scene {
        graph: &graph,
        uri,
        dir: dir.path(),
        writer: &mut writer,
        keeping: &mut keeping,
    };
    scene.in_a_load(&late_nodes, &mut loads).await?;
    say(
        "\n5. One more renames a column of airports and adds one to planes, in one schema apply, and dies.",
    );
    scene.in_a_schema_apply(SCHEMA, &mut loads).await?;
    say("");
    for flights in loads {
        writer.load(vec![("edge:Flight", flights)]).await?;
        keeping.listen();
    }
    say(format!(
        "   The first writer is done: {} loads, none failed.",
        writer.loads
    ));
    keeping.until_idle(&graph).await?;
    let after = measure(&graph).await?;

    say("\n6. Before and after:\n");
    say(compare(&before, &after));
    check(&graph, &writer.ledger, &after).await?;
    if keep {
        keeping.leave(dir.path(), uri, &data("flights_january.parquet"));
    } else {
        keeping.stop().await?;
        say(
            "\nNext: `make demo KEEP=1` leaves the daemon running to look at; `make test` proves it; `make soak` kills for as long as you like; the README shows the commands.",
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
