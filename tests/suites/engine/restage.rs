//! Strangers commit between the decision and the commit of an operation: its effect is staged again, by its owner or
//! by a healer, and takes place once.

use std::time::Duration;

use squire_engine::{
    DeleteRequest, Error, Graph, LoadMode, LoadRequest, Receipt, Rows, SchemaRequest,
    schema::Schema,
};
use squire_tests::{
    flights::{SCHEMA, append, key, planes},
    patience::until,
    place::{Place, rows},
    store::{Moment, Verb},
    stranger::Stranger,
};

const COMMIT: &str = "Plane.lance/_versions/";
const LEASE: Duration = Duration::from_millis(300);

/// An operation on a table with planes 0 to 10 of one seat, in two fragments.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Planes 20 to 25.
    Append,
    /// Planes 5 to 15 get two seats.
    Upsert,
    /// Planes 50 to 55 alone.
    Overwrite,
    /// Those of one seat go.
    Delete,
    /// Seats are counted further.
    Widen,
}

async fn perform(graph: Graph, work: Work) -> Result<Receipt, Error> {
    let load =
        |mode, batch| LoadRequest::new().add(key("node:Plane"), mode, Rows::Batches(vec![batch]));
    match work {
        Work::Append => graph.load(load(LoadMode::Append, planes(20, 25, 2))).await,
        Work::Upsert => graph.load(load(LoadMode::Upsert, planes(5, 15, 2))).await,
        Work::Overwrite => {
            let overwrite = load(LoadMode::Overwrite, planes(50, 55, 2));
            graph.load(overwrite).await
        }
        Work::Delete => {
            let delete = DeleteRequest::new().add(key("node:Plane"), "seats = 1");
            graph.delete(delete).await
        }
        Work::Widen => {
            let wider = SCHEMA.replace("seats = \"int32\"", "seats = \"int64\"");
            let schema = Schema::parse(&wider, "wider.toml").unwrap();
            graph.apply_schema(SchemaRequest::new(schema)).await
        }
    }
}

/// Rows in all, and with each number of seats from 1 on.
async fn seats(graph: &Graph) -> (usize, usize, usize, usize) {
    let snapshot = graph.snapshot().await.unwrap();
    let dataset = snapshot.open(&key("node:Plane")).await.unwrap();
    let with = async |n: i32| {
        let rows = dataset.count_rows(Some(format!("seats = {n}"))).await;
        rows.unwrap()
    };
    (
        dataset.count_rows(None).await.unwrap(),
        with(1).await,
        with(2).await,
        with(3).await,
    )
}

/// What a stranger does meanwhile: compacts, and adds planes 12 to 14, of three seats; or replaces everything by these.
async fn meddle(place: &Place, overwrites: bool) {
    let mut stranger = Stranger::at(&place.lance_uri(), "Plane.lance").await;
    if overwrites {
        stranger.overwrite(planes(12, 14, 3)).await;
    } else {
        stranger.compact().await;
        stranger.append(planes(12, 14, 3)).await;
    }
}

/// The operation is held before its commit while a stranger meddles. Then its owner goes on, or stays asleep until a
/// healer has finished it.
async fn story(work: Work, overwrites: bool, by_healer: bool) -> (usize, usize, usize, usize) {
    let (place, graph) = Place::with_graph().await;
    for from in [0, 5] {
        let load = append("node:Plane", planes(from, from + 5, 1));
        graph.load(load).await.unwrap();
    }
    let (owner, watch) = place.short_lived(LEASE).await;
    let gate = match by_healer {
        true => watch.stall(Moment::Before, Verb::Put, COMMIT),
        false => watch.hold_first(Verb::Put, COMMIT),
    };
    let operation = tokio::spawn(perform(owner, work));
    gate.reached().await;
    meddle(&place, overwrites).await;
    if by_healer {
        let (healer, _) = place.short_lived(LEASE).await;
        until("it is healed", async || {
            healer.heal().await.unwrap();
            healer.snapshot().await.unwrap().manifest().queue.is_empty()
        })
        .await;
    }
    let healed = seats(&graph).await;
    gate.open();
    let case = format!("{work:?}, overwritten {overwrites}, healed {by_healer}");
    let receipt = operation.await.unwrap();
    receipt.unwrap_or_else(|e| panic!("{case}: {e}"));
    let now = seats(&graph).await;
    if by_healer {
        assert_eq!(now, healed, "{case}: its owner applies nothing twice");
    }
    assert!(place.sidecars().await.is_empty(), "{case}");
    // Nothing is in the way.
    graph
        .load(append("node:Plane", planes(900, 901, 4)))
        .await
        .unwrap();
    assert_eq!(rows(&graph, "node:Plane").await, now.0 + 1, "{case}");
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_is_merged_again_with_what_strangers_wrote_and_every_key_is_there_once() {
    for by_healer in [false, true] {
        // 0 to 5 stay, 5 to 15 are replaced or added, the stranger's 12 and 13 among them.
        assert_eq!(story(Work::Upsert, false, by_healer).await, (15, 5, 10, 0));
        // The stranger left 12 and 13 alone.
        assert_eq!(story(Work::Upsert, true, by_healer).await, (10, 0, 10, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_replaces_what_strangers_wrote_meanwhile() {
    for by_healer in [false, true] {
        for overwrites in [false, true] {
            let left = story(Work::Overwrite, overwrites, by_healer).await;
            assert_eq!(left, (5, 0, 5, 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_added_to_what_strangers_left() {
    for by_healer in [false, true] {
        assert_eq!(story(Work::Append, false, by_healer).await, (17, 10, 5, 2));
        assert_eq!(story(Work::Append, true, by_healer).await, (7, 0, 5, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_looks_for_its_rows_again() {
    for by_healer in [false, true] {
        assert_eq!(story(Work::Delete, false, by_healer).await, (2, 0, 0, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_widened_with_the_rows_that_strangers_added() {
    for by_healer in [false, true] {
        assert_eq!(story(Work::Widen, false, by_healer).await, (12, 10, 0, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_an_overwrite_is_applied_to_a_table_that_got_other_columns_meanwhile() {
    for work in [
        Work::Append,
        Work::Upsert,
        Work::Delete,
        Work::Widen,
        Work::Overwrite,
    ] {
        let (place, graph) = Place::with_graph().await;
        graph
            .load(append("node:Plane", planes(0, 10, 1)))
            .await
            .unwrap();
        let (owner, watch) = place.watched().await;
        let gate = watch.hold_first(Verb::Put, COMMIT);
        let operation = tokio::spawn(perform(owner, work));
        gate.reached().await;
        let mut stranger = Stranger::at(&place.lance_uri(), "Plane.lance").await;
        stranger.add_column("range").await;
        gate.open();
        let ended = operation.await.unwrap();
        if let Work::Overwrite = work {
            assert_eq!(ended.unwrap().rows_written, 5);
            assert_eq!(seats(&graph).await, (5, 0, 5, 0));
        } else {
            assert!(
                matches!(ended, Err(Error::Unapplied { .. })),
                "{work:?}: {ended:?}"
            );
            assert_eq!(seats(&graph).await, (10, 10, 0, 0), "readers see the pin");
        }
        let snapshot = graph.snapshot().await.unwrap();
        let columns = snapshot.open(&key("node:Plane")).await.unwrap();
        assert!(columns.schema().field("range").is_none(), "{work:?}");
    }
}
