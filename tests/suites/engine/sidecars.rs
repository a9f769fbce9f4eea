//! Which sidecars there are, and how their operations stand: what tells that somebody left one behind.

use chrono::{TimeDelta, Utc};
use squire_engine::{Graph, LoadMode, LoadRequest, Rows, SidecarState};
use squire_tests::{
    flights::{append, key, planes},
    patience::until,
    place::Place,
    store::{Moment, Verb},
};

const RECOVERY: &str = "_squire/recovery/";
const COMMIT: &str = "Plane.lance/_versions/";

/// How the operations of all sidecars stand.
async fn states(graph: &Graph) -> Vec<SidecarState> {
    let sidecars = graph.sidecars().await.expect("they can be listed");
    for sidecar in &sidecars {
        let age = Utc::now() - sidecar.written;
        assert!(
            age < TimeDelta::minutes(10),
            "it was written just now: {age}"
        );
    }
    sidecars.iter().map(|s| s.state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_told_with_the_state_of_its_operation_from_its_writing_to_its_end() {
    let (place, graph) = Place::with_graph().await;
    let (writer, watch) = place.watched().await;
    let written = watch.hold_at(Moment::After, Verb::Put, RECOVERY);
    let committing = watch.hold_first(Verb::Put, COMMIT);
    let ending = watch.hold_first(Verb::Delete, RECOVERY);
    assert_eq!(states(&graph).await, []);
    // An upsert is in line before it is staged.
    let rows = Rows::Batches(vec![planes(0, 10, 1)]);
    let load = LoadRequest::new().add(key("node:Plane"), LoadMode::Upsert, rows);
    let load = tokio::spawn(async move { writer.load(load).await });
    written.reached().await;
    assert_eq!(states(&graph).await, [SidecarState::Waiting]);
    written.open();
    committing.reached().await;
    assert_eq!(states(&graph).await, [SidecarState::Decided]);
    committing.open();
    ending.reached().await;
    assert_eq!(states(&graph).await, [SidecarState::Ended]);
    ending.open();
    load.await.unwrap().unwrap();
    until("it is deleted", async || states(&graph).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_no_manifest_names_is_told_as_such_until_its_operation_comes_in() {
    let (place, graph) = Place::with_graph().await;
    let (writer, watch) = place.watched().await;
    let written = watch.hold_at(Moment::After, Verb::Put, RECOVERY);
    // An append comes in with its decision, after its sidecar.
    let load = append("node:Plane", planes(0, 10, 1));
    let load = tokio::spawn(async move { writer.load(load).await });
    written.reached().await;
    assert_eq!(states(&graph).await, [SidecarState::Unnamed]);
    written.open();
    load.await.unwrap().unwrap();
    until("it is deleted", async || states(&graph).await.is_empty()).await;
}
