//! Drift: what strangers did to a graph's tables is told apart, adopted where that is allowed, and never goes unseen.

use squire_engine::{
    Compacted, DeleteRequest, DriftPolicy, Drifted, Error, Graph, Options,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, day, flights, key, planes},
    place::{Place, rows, until_idle},
    store::Verb,
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

async fn three_days() -> (Place, Graph) {
    let (place, graph) = Place::with_graph().await;
    for n in 0..3 {
        graph.load(day(n, 10)).await.unwrap();
    }
    (place, graph)
}

async fn stranger(place: &Place) -> Stranger {
    Stranger::at(&place.lance_uri(), "Flight.lance").await
}

async fn adopting(place: &Place) -> Graph {
    let options = Options {
        drift: DriftPolicy::Adopt,
        ..Options::default()
    };
    place.open_with(options).await
}

/// The one table with drift.
async fn drifted(graph: &Graph) -> Drifted {
    let mut look = graph.drift().await.unwrap();
    assert!(look.failed.is_empty(), "{:?}", look.failed);
    assert_eq!(look.drifted.len(), 1, "{:?}", look.drifted);
    look.drifted.remove(0)
}

async fn pin(graph: &Graph) -> u64 {
    let snapshot = graph.snapshot().await.unwrap();
    snapshot.manifest().pin(&key("edge:Flight"))
}

fn is_drift(refused: &Result<squire_engine::Receipt, Error>, says: &str) -> bool {
    matches!(refused, Err(Error::Drift { table, what, .. }) if *table == key("edge:Flight") && what.contains(says))
}

#[tokio::test(flavor = "multi_thread")]
async fn benign_drift_becomes_the_pin_when_no_operation_is_under_way() {
    let (place, graph) = three_days().await;
    let mut stranger = stranger(&place).await;
    stranger.compact().await;
    let found = drifted(&graph).await;
    assert!(found.is_benign());
    assert_eq!(
        (found.pin, found.head),
        (pin(&graph).await, stranger.version())
    );
    assert!(graph.adopt(&found).await.unwrap());
    assert_eq!(pin(&graph).await, stranger.version());
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
    assert!(graph.drift().await.unwrap().drifted.is_empty());
    assert!(graph.adopt(&found).await.unwrap(), "once more is no harm");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_not_adopted_under_an_operation_and_what_operations_do_is_no_drift() {
    let (place, graph) = three_days().await;
    stranger(&place).await.compact().await;
    let found = drifted(&graph).await;
    let (writer, watch) = place.watched().await;
    let committed = watch.hold_at(
        squire_tests::store::Moment::After,
        Verb::Put,
        "Flight.lance/_versions/",
    );
    let load = tokio::spawn(async move { writer.load(day(5, 10)).await });
    committed.reached().await;
    assert!(!graph.adopt(&found).await.unwrap());
    assert!(graph.drift().await.unwrap().drifted.is_empty());
    committed.open();
    load.await.unwrap().unwrap();
    assert!(!graph.adopt(&found).await.unwrap(), "the pin has moved on");
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_stranger_changed_is_described_version_by_version() {
    let (place, graph) = three_days().await;
    let mut stranger = stranger(&place).await;
    stranger.append(flights(9, 4)).await;
    stranger.delete("day = 1").await;
    stranger.compact().await;
    let found = drifted(&graph).await;
    assert!(!found.is_benign());
    assert_eq!(found.misfit, None);
    let told: Vec<_> = found
        .versions
        .iter()
        .filter(|v| !v.benign)
        .map(|v| (v.operation.as_str(), v.rows_added, v.rows_removed))
        .collect();
    assert_eq!(told, [("Append", 4, 0), ("Delete", 0, 10)]);
    assert!(found.versions.iter().any(|v| v.operation == "Rewrite"));
    assert_eq!(found.summary(), "Append, Delete: +4 rows, -10 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_appended_is_an_error_unless_drift_is_to_be_adopted() {
    let (place, graph) = three_days().await;
    stranger(&place).await.append(flights(9, 4)).await;
    assert!(is_drift(&graph.load(day(5, 10)).await, "Append"));
    let delete = || DeleteRequest::new().add(key("edge:Flight"), "day = 0");
    assert!(is_drift(&graph.delete(delete()).await, "Append"));
    assert_eq!(rows(&graph, "edge:Flight").await, 30, "readers see the pin");
    // Other tables have nothing to do with it.
    graph
        .load(append("node:Plane", planes(0, 5, 1)))
        .await
        .unwrap();

    let adopting = adopting(&place).await;
    adopting.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 44);
    stranger(&place).await.append(flights(9, 1)).await;
    assert_eq!(adopting.delete(delete()).await.unwrap().rows_deleted, 10);
    assert_eq!(rows(&graph, "edge:Flight").await, 35);
    graph.load(day(6, 10)).await.unwrap();
    until_idle(&graph).await;
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_changes_the_columns_is_an_error_whatever_the_setting() {
    let (place, graph) = three_days().await;
    let mut stranger = stranger(&place).await;
    stranger.add_column("delay").await;
    let found = drifted(&graph).await;
    assert_eq!(
        found.misfit.as_deref(),
        Some("column `delay` is not declared")
    );
    let adopting = adopting(&place).await;
    assert!(is_drift(
        &adopting.load(day(5, 10)).await,
        "`delay` is not declared"
    ));
    // Once the column is gone again, it fits again.
    stranger.drop_column("delay").await;
    adopting.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_never_publishes_what_a_stranger_changed() {
    let (place, _) = three_days().await;
    stranger(&place).await.append(flights(9, 4)).await;
    let adopting = adopting(&place).await;
    let before = pin(&adopting).await;
    let compacted = adopting
        .compact(
            &key("edge:Flight"),
            &CompactionPolicy::default(),
            &Ask::forced(),
            &CancellationToken::new(),
        )
        .await;
    assert!(
        !matches!(compacted, Ok(Compacted::Done(_))),
        "{compacted:?}"
    );
    assert_eq!(pin(&adopting).await, before);
}
