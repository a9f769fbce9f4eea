//! Who waits for whom: a waiter says so, nobody is overtaken, and opening for writing clears the way.

use futures::TryStreamExt;
use squire_engine::{
    Compacted, Error, Graph, Options, Receipt, Waiting,
    manifest::{OperationKind, TicketState},
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, day, key, planes},
    patience::until,
    place::{Place, rows},
    store::{Gate, Moment, Verb},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const COMMIT: &str = "Flight.lance/_versions/";
const SIDECAR: &str = "_squire/recovery/";

fn load(graph: &Graph, n: i32) -> JoinHandle<Result<Receipt, Error>> {
    let graph = graph.clone();
    tokio::spawn(async move { graph.load(day(n, 10)).await })
}

fn compact(graph: &Graph) -> JoinHandle<Result<Compacted, Error>> {
    let graph = graph.clone();
    tokio::spawn(async move {
        let policy = CompactionPolicy::default();
        let stop = CancellationToken::new();
        graph
            .compact(&key("edge:Flight"), &policy, &Ask::forced(), &stop)
            .await
    })
}

/// A load that is decided and held before its commit.
async fn held_load(place: &Place) -> (JoinHandle<Result<Receipt, Error>>, Arc<Gate>) {
    let (graph, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let load = load(&graph, 1);
    gate.reached().await;
    (load, gate)
}

/// Waits until an operation of this handle waits.
async fn wait_of(graph: &Graph) -> Waiting {
    let mut waits = graph.waiting();
    let waits = waits.wait_for(|waits| !waits.is_empty()).await.unwrap();
    waits[0].clone()
}

async fn queue(graph: &Graph) -> usize {
    graph.snapshot().await.unwrap().manifest().queue.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_says_whom_it_waits_for_and_no_more_when_it_goes_on() {
    let (place, _) = Place::with_graph().await;
    let (ahead, gate) = held_load(&place).await;
    let options = Options {
        actor: "ada@lab".to_owned(),
        ..Options::default()
    };
    let behind = place.open_with(options).await;
    let second = load(&behind, 2);
    let waiting = wait_of(&behind).await;
    let manifest = behind.snapshot().await.unwrap().manifest().clone();
    let [first, mine] = manifest.queue.as_slice() else {
        panic!("{:?}", manifest.queue)
    };
    assert_eq!((waiting.operation, &waiting.ahead), (mine.operation, first));
    assert_eq!(waiting.ahead.kind, OperationKind::Load);
    assert!(matches!(waiting.ahead.state, TicketState::Decided { .. }));
    assert_eq!(waiting.tables, BTreeSet::from([key("edge:Flight")]));
    let told = waiting.describe(waiting.since);
    let expected = format!(
        "waiting for Load {} by {}, 0 s",
        first.operation.short(),
        first.actor
    );
    assert_eq!(told, expected);
    assert_eq!(Waiting::of(&manifest, mine).as_ref(), Some(&waiting));

    gate.open();
    ahead.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert!(behind.waiting().borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_says_whom_it_waits_for_too() {
    let (place, graph) = Place::with_graph().await;
    for n in 10..13 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let (ahead, gate) = held_load(&place).await;
    let compaction = compact(&graph);
    let waiting = wait_of(&graph).await;
    assert_eq!(waiting.ahead.kind, OperationKind::Load);
    gate.open();
    ahead.await.unwrap().unwrap();
    compaction.await.unwrap().unwrap();
    assert!(graph.waiting().borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_its_caller_gives_up_is_no_wait_any_more() {
    let (place, graph) = Place::with_graph().await;
    let (ahead, gate) = held_load(&place).await;
    let second = load(&graph, 2);
    wait_of(&graph).await;
    second.abort();
    let mut waits = graph.waiting();
    waits.wait_for(Vec::is_empty).await.unwrap();
    until("its ticket is taken back", async || {
        queue(&graph).await == 1
    })
    .await;
    gate.open();
    ahead.await.unwrap().unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_come_is_first_served_and_neither_a_later_load_nor_a_compaction_overtakes() {
    let (place, graph) = Place::with_graph().await;
    for n in 10..13 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let (first, at_commit) = held_load(&place).await;
    // The compaction has done its work before the others come.
    let compactor = place.open().await;
    let compaction = compact(&compactor);
    wait_of(&compactor).await;
    let (second_writer, watch) = place.watched().await;
    let staging = watch.hold_first(Verb::Put, SIDECAR);
    let second = load(&second_writer, 2);
    until("the second is in line", async || queue(&graph).await == 2).await;
    let third = load(&place.open().await, 3);
    until("the third is in line", async || queue(&graph).await == 3).await;

    at_commit.open();
    let first = first.await.unwrap().unwrap();
    staging.reached().await;
    // It is its turn and it is not decided: nobody comes in between.
    let elsewhere = graph.load(append("node:Plane", planes(0, 5, 1))).await;
    elsewhere.unwrap();
    assert_eq!(queue(&graph).await, 2, "the second and the third");
    assert!(!compaction.is_finished() && !third.is_finished());
    staging.open();
    let second = second.await.unwrap().unwrap();
    let third = third.await.unwrap().unwrap();
    let Compacted::Done(last) = compaction.await.unwrap().unwrap() else {
        panic!("its sources were all there")
    };
    let order = [
        first.manifest,
        second.manifest,
        third.manifest,
        last.manifest,
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(rows(&graph, "edge:Flight").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_for_writing_finishes_a_decided_compaction_at_once_whoever_it_belongs_to() {
    let (place, graph) = Place::with_graph().await;
    for n in 10..13 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let (compactor, watch) = place.watched().await;
    let gate = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let compaction = compact(&compactor);
    gate.reached().await;
    // Leases of the usual length: it does not wait for one to end.
    let opened = Graph::open_for_writing(place.uri(), Options::default()).await;
    let opened = opened.unwrap();
    until("the compaction is finished", async || {
        queue(&opened).await == 0
    })
    .await;
    gate.open();
    assert!(matches!(
        compaction.await.unwrap().unwrap(),
        Compacted::Done(_)
    ));
    let log: Vec<_> = graph.log().try_collect().await.unwrap();
    let compactions = log.iter().filter(|e| {
        e.change.transition == "publish" && e.change.kind == Some(OperationKind::Compact)
    });
    assert_eq!(compactions.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_for_writing_does_not_fail_for_what_cannot_be_healed() {
    let (place, graph) = Place::with_graph().await;
    let (ahead, gate) = held_load(&place).await;
    let (store, _) = place.store().await;
    for sidecar in place.sidecars().await {
        let damaged = "{\"format\": 99}".into();
        let path = sidecar.as_str().into();
        object_store::ObjectStoreExt::put(&*store.inner, &path, damaged)
            .await
            .unwrap();
    }
    let opened = Graph::open_for_writing(place.uri(), Options::default()).await;
    let opened = opened.unwrap();
    opened
        .load(append("node:Plane", planes(0, 5, 1)))
        .await
        .unwrap();
    gate.open();
    ahead.await.unwrap().unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 10);
}
