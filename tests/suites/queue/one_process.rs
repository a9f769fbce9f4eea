//! Tasks of one process.

use fail::FailScenario;
use squire_engine::{Error, failpoint};
use squire_tests::{
    flights::{day, key},
    place::{Place, rows},
};

use crate::held::Held;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_moved_under_an_operation_that_bypassed_the_queue_is_a_mismatch_and_nothing_is_lost()
 {
    let _scenario = FailScenario::setup();
    let (place, graph) = Place::with_graph().await;
    let flight = key("edge:Flight");
    graph.load(day(0, 10)).await.unwrap();
    let pin = graph.snapshot().await.unwrap().manifest().pin(&flight);

    // The short form stages without a place in the queue.
    let held = Held::first_at(failpoint::AFTER_STAGE);
    let (insists, other) = (graph.clone(), place.open().await);
    let load = day(1, 10).expect(flight.clone(), pin);
    let load = tokio::spawn(async move { insists.load(load).await });
    held.came().await;
    let files = place.objects("Flight.lance/data/").await;
    other.load(day(2, 10)).await.unwrap();
    let published = other.snapshot().await.unwrap().manifest().clone();
    drop(held);
    let refused = load.await.unwrap();
    assert!(
        matches!(&refused, Err(Error::ExpectedVersionMismatch { table, expected, found, .. })
            if *table == flight && *expected == pin && *found == pin + 1),
        "{refused:?}"
    );

    let after = other.snapshot().await.unwrap();
    assert_eq!(*after.manifest(), published, "nothing is published");
    assert_eq!(rows(&other, "edge:Flight").await, 20, "nothing is lost");
    assert!(place.sidecars().await.is_empty());
    let left = place.objects("Flight.lance/data/").await;
    assert_eq!(
        left.len(),
        files.len(),
        "its file is gone, the other's is there"
    );
    graph
        .load(day(1, 10).expect(flight, pin + 1))
        .await
        .unwrap();
    assert_eq!(rows(&other, "edge:Flight").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_bypassed_the_queue_and_insists_on_nothing_goes_the_long_way_instead() {
    let _scenario = FailScenario::setup();
    let (place, graph) = Place::with_graph().await;
    let held = Held::first_at(failpoint::AFTER_STAGE);
    let loads = graph.clone();
    let load = tokio::spawn(async move { loads.load(day(1, 10)).await });
    held.came().await;
    let other = place.open().await;
    other.load(day(2, 10)).await.unwrap();
    drop(held);
    assert_eq!(load.await.unwrap().unwrap().rows_written, 10);
    assert_eq!(rows(&other, "edge:Flight").await, 20);
    assert_eq!(
        place.objects("Flight.lance/data/").await.len(),
        2,
        "it staged anew"
    );
    assert!(place.sidecars().await.is_empty());
}
