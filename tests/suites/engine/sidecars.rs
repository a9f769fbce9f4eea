//! Which sidecars there are, and how their operations stand: what tells that somebody left one behind.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{TimeDelta, Utc};
use object_store::path::Path;
use squire_engine::{Error, Graph, LoadMode, LoadRequest, Options, Rows, SidecarState};
use squire_tests::{
    flights::{append, key, planes},
    patience::until,
    place::{Place, rows},
    store::{Moment, Verb},
    wrapped::{Hooks, wrapper},
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

/// A store that answers so many creates of sidecars as S3 does when two puts meet: that the object is there, although
/// none was written.
#[derive(Debug)]
struct Conflicting(AtomicUsize);

impl Hooks for Conflicting {
    fn admits(&self, verb: Verb, path: &Path) -> object_store::Result<()> {
        let left = &self.0;
        let is_sidecar = verb == Verb::Put && path.as_ref().contains(RECOVERY);
        let take = |left: usize| left.checked_sub(1);
        if is_sidecar
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
        {
            return Err(object_store::Error::AlreadyExists {
                path: path.to_string(),
                source: "409 ConditionalRequestConflict".into(),
            });
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_while_the_store_says_that_a_sidecar_is_there_and_shows_none() {
    let (place, graph) = Place::with_graph().await;
    let with = async |conflicts| {
        let options = Options {
            wrapper: wrapper(Arc::new(Conflicting(AtomicUsize::new(conflicts)))),
            ..Options::default()
        };
        place.open_with(options).await
    };
    let writer = with(2).await;
    writer
        .load(append("node:Plane", planes(0, 10, 1)))
        .await
        .unwrap();
    assert_eq!(rows(&graph, "node:Plane").await, 10);
    let writer = with(usize::MAX).await;
    let failed = writer.load(append("node:Plane", planes(10, 20, 1))).await;
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!(rows(&graph, "node:Plane").await, 10);
    assert!(graph.snapshot().await.unwrap().manifest().queue.is_empty());
}
