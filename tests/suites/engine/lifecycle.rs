//! One graph, one process: operations do what they say, on every kind of store.

use std::sync::Arc;

use lance::{
    Dataset,
    dataset::{
        CommitBuilder,
        transaction::{Operation, Transaction},
    },
};
use squire_engine::{
    Compacted, DeleteRequest, Graph, LoadMode, LoadRequest, ManifestRetention, Options, Rows,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::flights::{append, day, flights, key, planes, schema};
use tokio_util::sync::CancellationToken;

async fn rows(graph: &Graph, table: &str) -> usize {
    let snapshot = graph.snapshot().await.unwrap();
    let dataset = snapshot.open(&key(table)).await.unwrap();
    dataset.count_rows(None).await.unwrap()
}

/// Runs one story on memory and on local disk.
macro_rules! on_every_store {
    ($name:ident, $story:path) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn in_memory() {
                $story(concat!("memory://", stringify!($name), "/graph")).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn on_local_disk() {
                let dir = tempfile::tempdir().unwrap();
                $story(dir.path().join("graph").to_str().unwrap()).await;
            }
        }
    };
}

on_every_store!(
    old_manifests_are_collected_and_a_process_that_slept_goes_on,
    super::collection_story
);

async fn collection_story(uri: &str) {
    let graph = Graph::create(uri, schema(), Options::default())
        .await
        .unwrap();
    let sleeper = Graph::open(uri, Options::default()).await.unwrap();
    for n in 0..20 {
        graph.load(day(n, 10)).await.unwrap();
    }
    assert!(graph.collect(&ManifestRetention::newest(10)).await.unwrap() > 20);
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert!(manifest.outcomes.len() <= 6, "{}", manifest.outcomes.len());
    assert_eq!(
        graph.collect(&ManifestRetention::newest(10)).await.unwrap(),
        0,
        "nothing more is due"
    );
    // What it has seen is collected by now.
    sleeper.load(day(20, 10)).await.unwrap();
    assert_eq!(rows(&sleeper, "edge:Flight").await, 210);
    assert_eq!(rows(&graph, "edge:Flight").await, 210);
}

on_every_store!(
    loads_deletes_and_compactions_keep_every_row,
    super::main_story
);

async fn main_story(uri: &str) {
    let graph = Graph::create(uri, schema(), Options::default())
        .await
        .unwrap();
    for n in 0..12 {
        let receipt = graph.load(day(n, 100)).await.unwrap();
        assert_eq!(receipt.rows_written, 100);
    }
    let both = LoadRequest::new()
        .add(
            key("node:Plane"),
            LoadMode::Append,
            Rows::Batches(vec![planes(0, 50, 100)]),
        )
        .add(
            key("edge:Flight"),
            LoadMode::Append,
            Rows::Batches(vec![flights(12, 100)]),
        );
    let receipt = graph.load(both).await.unwrap();
    assert_eq!((receipt.pins.len(), receipt.rows_written), (2, 150));

    let deleted = graph
        .delete(DeleteRequest::new().add(key("edge:Flight"), "day = 3"))
        .await
        .unwrap();
    assert_eq!(deleted.rows_deleted, 100);
    let upsert = LoadRequest::new().add(
        key("node:Plane"),
        LoadMode::Upsert,
        Rows::Batches(vec![planes(40, 60, 200)]),
    );
    assert_eq!(graph.load(upsert).await.unwrap().rows_written, 20);
    assert_eq!(rows(&graph, "node:Plane").await, 60);

    let policy = CompactionPolicy::default();
    let compacted = graph
        .compact(
            &key("edge:Flight"),
            &policy,
            &Ask::default(),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    let Compacted::Done(receipt) = compacted else {
        panic!("12 small fragments are due: {compacted:?}")
    };
    assert_eq!(receipt.fragments_after, 1);
    assert_eq!(rows(&graph, "edge:Flight").await, 1_200);

    // Another process sees the same.
    let other = Graph::open(uri, Options::default()).await.unwrap();
    assert_eq!(rows(&other, "edge:Flight").await, 1_200);
    other
        .load(append("node:Plane", planes(100, 110, 1)))
        .await
        .unwrap();
    assert_eq!(rows(&graph, "node:Plane").await, 70);
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert!(manifest.queue.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_head_drifted_past_its_pin_without_a_change_of_meaning_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("graph");
    let graph = Graph::create(root.to_str().unwrap(), schema(), Options::default())
        .await
        .unwrap();
    for n in 0..10 {
        graph.load(day(n, 10)).await.unwrap();
    }
    // A fence leaves such a version, and so does any program that only reorganises.
    let path = root.join("Flight.lance");
    let dataset = Arc::new(Dataset::open(path.to_str().unwrap()).await.unwrap());
    let nothing = Operation::ReserveFragments { num_fragments: 0 };
    let transaction = Transaction::new(dataset.manifest().version, nothing, None);
    CommitBuilder::new(dataset)
        .execute(transaction)
        .await
        .unwrap();

    let compacted = graph
        .compact(
            &key("edge:Flight"),
            &CompactionPolicy::default(),
            &Ask::default(),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    assert_eq!(rows(&graph, "edge:Flight").await, 100);
}
