//! What a manifest costs in a graph of many tables.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::{ObjectStore, local::LocalFileSystem};
use squire_engine::{Graph, Options, schema::Schema};
use squire_tests::{
    flights::{append, planes},
    show::{bytes, count, say, seconds, table},
};

use super::{
    Result,
    hold::{median, ratio},
};

const ROUNDS: usize = 9;

pub(super) async fn run() -> Result {
    let dir = tempfile::tempdir()?;
    let mut rows = Vec::new();
    let mut smallest = None;
    for tables in [100, 1_000, 10_000] {
        let path = dir.path().join(tables.to_string());
        let uri = path
            .to_str()
            .ok_or("the temporary folder's name is not UTF-8")?;
        let schema = wide(tables)?;
        let started = Instant::now();
        let graph = Graph::create(uri, schema, Options::default()).await?;
        let created = started.elapsed();
        let mut loads = Vec::new();
        for n in 0..ROUNDS {
            let started = Instant::now();
            graph
                .load(append("node:T0", planes(n * 10, n * 10 + 10, 1)))
                .await?;
            loads.push(started.elapsed());
        }
        let manifest = graph.snapshot().await?.manifest().clone();
        let plain = serde_json::to_vec(&manifest)?.len() as u64;
        let stored = newest_size(&path.join("_squire/manifest")).await?;
        let load = median(&mut loads);
        let first: Duration = *smallest.get_or_insert(load);
        rows.push(vec![
            count(tables as u64),
            bytes(plain),
            bytes(stored),
            seconds(load),
            ratio(load, first),
            seconds(created),
        ]);
    }
    let header = [
        "tables",
        "JSON",
        "stored",
        "load (2 publishes)",
        "to 100",
        "create",
    ];
    say(table(&header, rows));
    Ok(())
}

/// A schema of many node types.
fn wide(tables: usize) -> Result<Schema> {
    let mut text = String::new();
    for n in 0..tables {
        text.push_str(&format!(
            "[node.T{n}]\nkey = [\"tailnum\"]\n[node.T{n}.properties]\ntailnum = \"string\"\nseats = \"int32\"\n"
        ));
    }
    Ok(Schema::parse(&text, "wide.toml")?)
}

async fn newest_size(dir: &std::path::Path) -> Result<u64> {
    let store = LocalFileSystem::new_with_prefix(dir)?;
    let objects: Vec<_> = store.list(None).try_collect().await?;
    let newest = objects
        .into_iter()
        .max_by(|a, b| a.location.cmp(&b.location));
    Ok(newest.map_or(0, |object| object.size))
}
