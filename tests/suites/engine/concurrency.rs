//! Many at once: tasks in one process, and handles that are processes to each other.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::AsArray, datatypes::Int32Type};
use futures::{TryStreamExt, future::join_all};
use squire_engine::{
    Compacted, DeleteRequest, Error, Graph, LoadMode, LoadRequest, Rows,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, day, flights, key, planes},
    patience::until,
    place::{Place, rows, rows_in, until_idle},
    store::Verb,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

async fn compact(graph: &Graph, table: &str, policy: &CompactionPolicy, forced: bool) -> Compacted {
    let ask = Ask {
        forced,
        ..Ask::default()
    };
    let compacted = graph
        .compact(&key(table), policy, &ask, &CancellationToken::new())
        .await;
    compacted.unwrap()
}

/// Compacts both tables again and again until it is told to stop; says how often it was done.
async fn compact_until(graph: Graph, stop: CancellationToken) -> usize {
    let policy = CompactionPolicy {
        min_small_fragments: 3,
        ..CompactionPolicy::default()
    };
    let mut done = 0;
    while !stop.is_cancelled() {
        for table in ["edge:Flight", "node:Plane"] {
            match compact(&graph, table, &policy, false).await {
                Compacted::Done(_) => done += 1,
                Compacted::Skipped(_) | Compacted::Lost(_) => tokio::task::yield_now().await,
            }
        }
    }
    done
}

/// How many rows each day has.
async fn rows_by_day(graph: &Graph) -> BTreeMap<i32, usize> {
    let dataset = graph
        .snapshot()
        .await
        .unwrap()
        .open(&key("edge:Flight"))
        .await
        .unwrap();
    let mut scan = dataset.scan();
    scan.project(&["day"]).unwrap();
    let batches: Vec<_> = scan
        .try_into_stream()
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut days = BTreeMap::new();
    for batch in batches {
        for day in batch.column(0).as_primitive::<Int32Type>().values() {
            *days.entry(*day).or_default() += 1;
        }
    }
    days
}

#[tokio::test(flavor = "multi_thread")]
async fn no_load_fails_beside_compactions_and_every_acknowledged_row_is_there_once() {
    const HANDLES: i32 = 3;
    const LOADS: i32 = 5;
    let (place, graph) = Place::with_graph().await;
    let stop = CancellationToken::new();
    let compactor = tokio::spawn(compact_until(place.open().await, stop.clone()));
    let mut loads = JoinSet::new();
    for handle in 0..HANDLES {
        let graph = place.open().await;
        for task in 0..2 {
            let graph = graph.clone();
            loads.spawn(async move {
                for n in 0..LOADS {
                    let of = (handle * 2 + task) * LOADS + n;
                    graph.load(day(of, 20)).await.unwrap();
                }
            });
        }
        loads.spawn(async move {
            for n in 0..LOADS {
                let from = usize::try_from(handle * LOADS + n).unwrap() * 10;
                graph
                    .load(append("node:Plane", planes(from, from + 10, 100)))
                    .await
                    .unwrap();
            }
        });
    }
    loads.join_all().await;
    stop.cancel();
    assert!(
        compactor.await.unwrap() > 0,
        "compactions took place meanwhile"
    );
    let expected: BTreeMap<_, _> = (0..HANDLES * 2 * LOADS).map(|day| (day, 20)).collect();
    assert_eq!(rows_by_day(&graph).await, expected);
    assert_eq!(
        rows(&graph, "node:Plane").await,
        usize::try_from(HANDLES * LOADS).unwrap() * 10
    );
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert!(manifest.queue.is_empty());
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_deletes_and_upserts_of_one_table_at_once_all_take_effect_once() {
    let (place, graph) = Place::with_graph().await;
    graph
        .load(append("node:Plane", planes(0, 60, 1)))
        .await
        .unwrap();
    let handles = [place.open().await, place.open().await, graph.clone()];
    let works = handles.iter().enumerate().map(|(n, graph)| async move {
        let first = n * 20;
        let upsert = LoadRequest::new().add(
            key("node:Plane"),
            LoadMode::Upsert,
            Rows::Batches(vec![planes(first, first + 10, 2)]),
        );
        let tail = format!(
            "tailnum >= 'N{:05}' AND tailnum < 'N{:05}'",
            first + 10,
            first + 20
        );
        let delete = DeleteRequest::new().add(key("node:Plane"), tail);
        let more = append("node:Plane", planes(1_000 + first, 1_000 + first + 5, 3));
        let (upserted, deleted, loaded) =
            tokio::join!(graph.load(upsert), graph.delete(delete), graph.load(more));
        assert_eq!(upserted.unwrap().rows_written, 10);
        assert_eq!(deleted.unwrap().rows_deleted, 10);
        assert_eq!(loaded.unwrap().rows_written, 5);
    });
    join_all(works).await;
    let dataset = graph
        .snapshot()
        .await
        .unwrap()
        .open(&key("node:Plane"))
        .await
        .unwrap();
    let with = async |seats: i32| {
        dataset
            .count_rows(Some(format!("seats = {seats}")))
            .await
            .unwrap()
    };
    assert_eq!((with(1).await, with(2).await, with(3).await), (0, 30, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_one_table_never_waits_for_a_load_of_another() {
    let (place, other) = Place::with_graph().await;
    let (held, watch) = place.watched().await;
    let at_commit = watch.hold(Verb::Put, "Flight.lance/_versions");
    let flight = tokio::spawn({
        let held = held.clone();
        async move { held.load(day(1, 100)).await }
    });
    at_commit.reached().await;
    // Decided, and not yet done: neither another process nor this one waits for it on another table.
    other
        .load(append("node:Plane", planes(0, 10, 1)))
        .await
        .unwrap();
    held.load(append("node:Plane", planes(10, 20, 1)))
        .await
        .unwrap();
    assert_eq!(
        (
            rows(&other, "node:Plane").await,
            rows(&other, "edge:Flight").await
        ),
        (20, 0)
    );
    assert!(!flight.is_finished());
    at_commit.open();
    flight.await.unwrap().unwrap();
    assert_eq!(rows(&other, "edge:Flight").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loads_of_one_table_line_up_across_processes() {
    let (place, second) = Place::with_graph().await;
    let (first, watch) = place.watched().await;
    let at_commit = watch.hold(Verb::Put, "Flight.lance/_versions");
    let one = tokio::spawn(async move { first.load(day(1, 100)).await });
    at_commit.reached().await;
    let two = tokio::spawn({
        let second = second.clone();
        async move { second.load(day(2, 100)).await }
    });
    until("the second stands in line", async || {
        second.snapshot().await.unwrap().manifest().queue.len() == 2
    })
    .await;
    assert_eq!(rows(&second, "edge:Flight").await, 0);
    at_commit.open();
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert!(one.manifest < two.manifest, "first come, first served");
    assert_eq!(rows(&second, "edge:Flight").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_expectation_is_refused_with_table_expected_and_found_and_nothing_changes() {
    let (place, graph) = Place::with_graph().await;
    graph.load(day(1, 10)).await.unwrap();
    let table = key("edge:Flight");
    let seen = graph.snapshot().await.unwrap().manifest().pin(&table);
    place.open().await.load(day(2, 10)).await.unwrap();
    let before = (
        graph.snapshot().await.unwrap().manifest().clone(),
        place.objects("").await,
    );

    let load = graph.load(day(3, 10).expect(table.clone(), seen)).await;
    let Err(Error::ExpectedVersionMismatch {
        table: named,
        expected,
        found,
        ..
    }) = load
    else {
        panic!("{load:?}")
    };
    assert_eq!((named, expected, found), (table.clone(), seen, seen + 1));
    let after = (
        graph.snapshot().await.unwrap().manifest().clone(),
        place.objects("").await,
    );
    assert_eq!(after, before, "not even a file stays behind");

    // The long way in, and a table that is only looked at.
    let delete = DeleteRequest::new()
        .add(table.clone(), "day = 1")
        .expect(table.clone(), seen);
    assert!(matches!(
        graph.delete(delete).await,
        Err(Error::ExpectedVersionMismatch { .. })
    ));
    let nothing = DeleteRequest::new()
        .add(table.clone(), "day = 77")
        .expect(table.clone(), seen);
    assert!(matches!(
        graph.delete(nothing).await,
        Err(Error::ExpectedVersionMismatch { .. })
    ));
    let elsewhere = append("node:Plane", planes(0, 5, 1)).expect(table.clone(), seen);
    assert!(matches!(
        graph.load(elsewhere).await,
        Err(Error::ExpectedVersionMismatch { .. })
    ));
    assert_eq!(
        (
            rows(&graph, "edge:Flight").await,
            rows(&graph, "node:Plane").await
        ),
        (20, 0)
    );
    assert!(place.sidecars().await.is_empty());
    until_idle(&graph).await;

    graph
        .load(day(3, 10).expect(table, seen + 1))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_readable_and_the_same_whatever_comes_after_it() {
    let (place, graph) = Place::with_graph().await;
    for n in 0..4 {
        graph.load(day(n, 25)).await.unwrap();
    }
    let snapshot = place.open().await.snapshot().await.unwrap();
    let opened = snapshot.open(&key("edge:Flight")).await.unwrap();
    graph
        .delete(DeleteRequest::new().add(key("edge:Flight"), "day = 0"))
        .await
        .unwrap();
    let policy = CompactionPolicy::default();
    let compacted = compact(&graph, "edge:Flight", &policy, true).await;
    assert!(matches!(compacted, Compacted::Done(_)));
    let overwrite = Rows::Batches(vec![flights(9, 7)]);
    let overwrite = LoadRequest::new().add(key("edge:Flight"), LoadMode::Overwrite, overwrite);
    graph.load(overwrite).await.unwrap();
    assert_eq!(opened.count_rows(None).await.unwrap(), 100);
    assert_eq!(
        rows_in(&snapshot, "edge:Flight").await,
        100,
        "opened only now"
    );
    assert_eq!(rows(&graph, "edge:Flight").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_sees_all_tables_of_a_load_or_none() {
    let (place, graph) = Place::with_graph().await;
    let stop = CancellationToken::new();
    let reader = tokio::spawn({
        let (graph, stop) = (place.open().await, stop.clone());
        async move {
            let mut seen = 0;
            while !stop.is_cancelled() {
                let snapshot = graph.snapshot().await.unwrap();
                let planes = rows_in(&snapshot, "node:Plane").await;
                assert_eq!(planes, rows_in(&snapshot, "edge:Flight").await);
                seen = seen.max(planes);
            }
            seen
        }
    });
    let compactor = tokio::spawn(compact_until(place.open().await, stop.clone()));
    let handles = [Arc::new(graph.clone()), Arc::new(place.open().await)];
    let loads = handles
        .iter()
        .enumerate()
        .map(|(handle, graph)| async move {
            for n in 0..5 {
                let from = handle * 1_000 + n * 10;
                let both = LoadRequest::new()
                    .add(
                        key("node:Plane"),
                        LoadMode::Append,
                        Rows::Batches(vec![planes(from, from + 10, 1)]),
                    )
                    .add(
                        key("edge:Flight"),
                        LoadMode::Append,
                        Rows::Batches(vec![flights(1, 10)]),
                    );
                graph.load(both).await.unwrap();
            }
        });
    join_all(loads).await;
    stop.cancel();
    compactor.await.unwrap();
    assert!(reader.await.unwrap() <= 100);
    let last = graph.snapshot().await.unwrap();
    assert_eq!(
        (
            rows_in(&last, "node:Plane").await,
            rows_in(&last, "edge:Flight").await
        ),
        (100, 100)
    );
}
