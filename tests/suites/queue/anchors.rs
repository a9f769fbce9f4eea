//! What users of another graph on Lance suffer from, each as a test that is named after the report.

use std::time::Duration;

use arrow::array::RecordBatch;
use squire_engine::{Graph, Options, SchemaRequest, failpoint, schema::Schema};
use squire_tests::{
    flights::{SCHEMA, append, day, flights, key, planes},
    place::{rows, until_idle},
};

use crate::process::Site;

/// A nightly compaction beside a live server left a recovery record that blocked every write for 15 hours, until the
/// server was started anew. Here a compaction may die wherever it wants: the next write of a process that has had
/// the graph open all the time goes through, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn omnigraph_554_a_compaction_that_dies_beside_a_live_writer_blocks_none_of_its_writes() {
    for point in [
        failpoint::AFTER_SIDECAR_CREATE,
        failpoint::BEFORE_COMMIT,
        failpoint::AFTER_COMMIT,
        failpoint::BEFORE_SIDECAR_DELETE,
    ] {
        let (site, first) = Site::new().await;
        drop(first);
        let options = Options {
            actor: "server".to_owned(),
            lease: Duration::from_secs(1),
            ..Options::default()
        };
        let server = Graph::open(&site.text("graph"), options).await.unwrap();
        server.load(day(10, 10)).await.unwrap();
        let nightly = ["compact", "graph"];
        let killed = site.dies(&nightly, point);
        let (code, said) = killed.ends().await;
        assert_eq!(code, None, "{point}: it was killed: {said}");
        for table in ["edge:Flight", "node:Plane"] {
            let before = rows(&server, table).await;
            let loaded = server.load(append(table, ten_more(table))).await;
            loaded.unwrap_or_else(|e| panic!("{point}: a write to {table} failed: {e}"));
            assert_eq!(rows(&server, table).await, before + 10);
        }
        server.heal_now().await.unwrap();
        until_idle(&server).await;
    }
}

fn ten_more(table: &str) -> RecordBatch {
    match table {
        "edge:Flight" => flights(11, 10),
        _ => planes(1_000, 1_010, 1),
    }
}

/// A compaction of one table failed the schema change of another: 8 of 12, and 9 of 12 on the table itself.
#[tokio::test(flavor = "multi_thread")]
async fn omnigraph_254_no_schema_apply_fails_beside_compactions_of_another_process() {
    let (site, graph) = Site::new().await;
    let mut wanted = SCHEMA.to_owned();
    for n in 0..12 {
        graph.load(day(20 + n, 10)).await.unwrap();
        let compacting = site.run(&["compact", "graph"]);
        // By turns the table that has most to compact, and one that has least.
        let after = if n % 2 == 0 {
            "day = \"int32\"\n"
        } else {
            "seats = \"int32\"\n"
        };
        wanted = wanted.replacen(after, &format!("{after}note_{n} = \"string\"\n"), 1);
        let schema = Schema::parse(&wanted, "wanted.toml").unwrap();
        let applied = graph.apply_schema(SchemaRequest::new(schema)).await;
        applied.unwrap_or_else(|e| panic!("apply {n} failed: {e}"));
        let (code, said) = compacting.ends().await;
        // 3: the apply went first, and nothing was changed.
        assert!(matches!(code, Some(0 | 3)), "{said}");
    }
    assert_eq!(rows(&graph, "edge:Flight").await, 150);
    let schema = graph.snapshot().await.unwrap().manifest().schema.clone();
    let notes = ["edge:Flight", "node:Plane"].map(|table| {
        let properties = schema.types[&key(table)].properties.iter();
        properties.filter(|p| p.name.starts_with("note_")).count()
    });
    assert_eq!(notes, [6, 6]);
}
