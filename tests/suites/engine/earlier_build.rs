//! What an earlier build wrote: `tests/data/fuzz/graph-killed`, whose writer was killed between its decision and its commits. Its
//! files never change, whatever becomes of names in the code.

use squire_engine::{
    Compacted, Graph, Options,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, key, planes},
    folder,
    patience::until,
    place::rows,
    repository,
};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_whose_writer_an_earlier_build_was_killed_in_is_opened_healed_loaded_and_maintained()
 {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("graph");
    folder::copy(&repository::file("tests/data/fuzz/graph-killed"), &root).unwrap();
    let graph = Graph::open(&root.display().to_string(), Options::default())
        .await
        .unwrap();
    let before = graph.snapshot().await.unwrap();
    assert_eq!(before.manifest().queue.len(), 1, "it was decided");
    let (planes_before, flights_before) = (
        rows(&graph, "node:Plane").await,
        rows(&graph, "edge:Flight").await,
    );

    until("the killed load is carried out", async || {
        graph.heal().await.unwrap();
        graph.snapshot().await.unwrap().manifest().queue.is_empty()
    })
    .await;
    let (planes_after, flights_after) = (
        rows(&graph, "node:Plane").await,
        rows(&graph, "edge:Flight").await,
    );
    let came = planes_after + flights_after - planes_before - flights_before;
    assert_eq!(came, 4, "the sidecar says so");
    assert!(planes_after > planes_before && flights_after > flights_before);

    graph
        .load(append("node:Plane", planes(1_000, 1_010, 1)))
        .await
        .unwrap();
    let policy = CompactionPolicy {
        min_small_fragments: 2,
        ..CompactionPolicy::default()
    };
    let compacted = graph
        .compact(
            &key("node:Plane"),
            &policy,
            &Ask::forced(),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    assert_eq!(rows(&graph, "node:Plane").await, planes_after + 10);
}
