//! Applies beside other operations, and beside programs that know nothing of Squire.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, RecordBatchIterator, StringArray},
    datatypes::DataType,
};
use squire_engine::{
    Compacted, DeleteRequest, Error, Graph, Receipt,
    manifest::{OperationKind, TicketState},
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, key, planes},
    patience::until,
    place::{Place, rows, until_idle},
    store::{Gate, Verb},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{apply, changed, column, fill, is_empty, names, path, plainly, read};

const COMMIT: &str = "Plane.lance/_versions/";
const BUILT: (&str, &str) = ("seats = \"int32\"", "seats = \"int32\"\nbuilt = \"int32\"");
const WIDE: (&str, &str) = ("seats = \"int32\"", "seats = \"int64\"");
const JET: [(&str, &str); 2] = [
    ("[node.Plane]", "[node.Jet]\nrenamed_from = \"Plane\""),
    ("node.Plane.", "node.Jet."),
];

/// An apply that stands still before it commits to the planes, decided.
async fn held(
    place: &Place,
    changes: &[(&'static str, &'static str)],
) -> (Arc<Gate>, JoinHandle<Result<Receipt, Error>>) {
    let (graph, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let changes = changes.to_vec();
    let running = tokio::spawn(async move { apply(&graph, &changes).await });
    gate.reached().await;
    (gate, running)
}

/// Another program appends planes.
async fn append_plainly(place: &Place, batch: RecordBatch) {
    let mut table = plainly(place.uri(), "Plane.lance").await;
    let schema = batch.schema();
    let batches = RecordBatchIterator::new([Ok(batch)], schema);
    table.append(batches, None).await.unwrap();
}

async fn until_in_line(graph: &Graph, tickets: usize) {
    until("it stands in line", async || {
        graph.snapshot().await.unwrap().manifest().queue.len() == tickets
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_behind_an_apply_that_adds_a_property_lands_with_the_new_schema() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let (gate, applied) = held(&place, &[BUILT]).await;
    let loader = place.open().await;
    let plane = planes(60, 61, 1);
    let batch = RecordBatch::try_from_iter([
        ("tailnum", plane.column(0).clone()),
        ("seats", plane.column(1).clone()),
        ("built", Arc::new(Int32Array::from(vec![1999])) as ArrayRef),
    ])
    .unwrap();
    let load = tokio::spawn(async move { loader.load(append("node:Plane", batch)).await });
    until_in_line(&graph, 2).await;
    gate.open();
    applied.await.unwrap().unwrap();
    load.await.unwrap().unwrap();
    let there = read(&graph, "node:Plane").await;
    assert_eq!(names(&there), ["tailnum", "seats", "built"]);
    assert_eq!(column(&there, "built").null_count(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_take_turns_though_they_touch_different_tables() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let (gate, first) = held(&place, &[BUILT]).await;
    let other = place.open().await;
    let both = [BUILT, ("day = \"int32\"", "day = \"int64\"")];
    let second = tokio::spawn(async move { apply(&other, &both).await });
    until_in_line(&graph, 2).await;
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert!(matches!(
        manifest.queue[0].state,
        TicketState::Decided { .. }
    ));
    assert!(matches!(manifest.queue[1].state, TicketState::Waiting));
    gate.open();
    let (first, second) = (
        first.await.unwrap().unwrap(),
        second.await.unwrap().unwrap(),
    );
    assert!(first.manifest < second.manifest);
    // The second planned again: what the first had done was no longer a step of its own.
    assert_eq!(
        second.pins.keys().collect::<Vec<_>>(),
        [&key("edge:Flight")]
    );
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert_eq!(manifest.schema, changed(&both));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_finds_more_to_do_under_its_ticket_gets_in_line_for_it() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let (gate, first) = held(&place, &[BUILT]).await;
    let other = place.open().await;
    // Classified without the first one's property, which it is to drop as it turns out.
    let only = [("day = \"int32\"", "day = \"int64\"")];
    let second = tokio::spawn(async move { apply(&other, &only).await });
    until_in_line(&graph, 2).await;
    gate.open();
    first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert_eq!(second.pins.len(), 2);
    assert_eq!(
        graph.snapshot().await.unwrap().manifest().schema,
        changed(&only)
    );
    assert_eq!(
        names(&read(&graph, "node:Plane").await),
        ["tailnum", "seats"]
    );
    until_idle(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_staged_on_a_table_renamed_meanwhile_goes_into_no_other() {
    // With the name free, and with another table under it at the very pin that the load was staged at.
    for given_again in [false, true] {
        let (place, graph) = Place::with_graph().await;
        let (loader, watch) = place.watched().await;
        let staged = watch.hold_first(Verb::Put, "_squire/recovery/");
        let load =
            tokio::spawn(async move { loader.load(append("node:Plane", planes(0, 3, 1))).await });
        staged.reached().await;
        let again = "[node.Plane]\nkey = [\"tailnum\"]\nproperties = { tailnum = \"string\", seats = \"int32\" }\n\
                     [node.Jet]\nrenamed_from = \"Plane\"";
        let mut changes = JET.to_vec();
        if given_again {
            changes[0].1 = again;
        }
        apply(&graph, &changes).await.unwrap();
        staged.open();
        let loaded = load.await.unwrap();
        assert_eq!(rows(&graph, "node:Jet").await, 0);
        if given_again {
            loaded.unwrap();
            assert_eq!(rows(&graph, "node:Plane").await, 3);
            let fresh = path(&graph.snapshot().await.unwrap(), "node:Plane");
            assert_eq!(place.objects(&format!("{fresh}/data/")).await.len(), 1);
        } else {
            assert!(
                matches!(&loaded, Err(Error::UnknownTable { .. })),
                "{loaded:?}"
            );
        }
        assert!(
            place.objects("Plane.lance/data/").await.is_empty(),
            "what was staged first is gone"
        );
        assert!(place.sidecars().await.is_empty());
        until_idle(&graph).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_waits_behind_the_rename_of_its_table_is_refused_by_name() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let more = [JET[0], JET[1], BUILT];
    let (gate, applied) = held(&place, &more).await;
    let deleter = place.open().await;
    let delete = DeleteRequest::new().add(key("node:Plane"), "seats = 20");
    let deleted = tokio::spawn(async move { deleter.delete(delete).await });
    until_in_line(&graph, 2).await;
    gate.open();
    applied.await.unwrap().unwrap();
    let refused = deleted.await.unwrap();
    assert!(
        matches!(&refused, Err(Error::UnknownTable { table, .. }) if table == "node:Plane"),
        "{refused:?}"
    );
    assert_eq!(rows(&graph, "node:Jet").await, 50);
    until_idle(&graph).await;
}

fn compact(graph: &Graph) -> JoinHandle<Result<Compacted, Error>> {
    let graph = graph.clone();
    tokio::spawn(async move {
        let (table, policy) = (key("node:Plane"), CompactionPolicy::default());
        let stop = CancellationToken::new();
        graph.compact(&table, &policy, &Ask::forced(), &stop).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_does_not_wait_for_a_rewrite_and_the_rewrite_serves_the_new_layout_or_is_lost() {
    let cases: [(&[(&str, &str)], bool); 4] = [
        (&[BUILT], true),
        (&[("seats = \"int32\"\n", "")], true),
        (&[WIDE], false),
        (&JET, false),
    ];
    for (changes, done) in cases {
        let (place, graph) = Place::with_graph().await;
        fill(&graph).await;
        let (compactor, watch) = place.watched().await;
        let rewriting = watch.hold_first(Verb::Put, "Plane.lance/data/");
        let compaction = compact(&compactor);
        rewriting.reached().await;
        apply(&graph, changes).await.unwrap();
        assert!(!compaction.is_finished());
        let table = if changes.len() == 2 {
            "node:Jet"
        } else {
            "node:Plane"
        };
        let before = (
            read(&graph, table).await,
            place.objects("Plane.lance/data/").await,
        );
        rewriting.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert_eq!(
            matches!(compacted, Compacted::Done(_)),
            done,
            "{changes:?}: {compacted:?}"
        );
        assert_eq!(read(&graph, table).await, before.0, "{changes:?}");
        if !done {
            assert_eq!(
                place.objects("Plane.lance/data/").await,
                before.1,
                "its files are gone"
            );
        }
        until_idle(&graph).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_stranger_appends_before_the_commit_are_changed_along() {
    for changes in [[BUILT], [WIDE]] {
        let (place, graph) = Place::with_graph().await;
        fill(&graph).await;
        let (gate, applied) = held(&place, &changes).await;
        append_plainly(&place, planes(90, 93, 8)).await;
        gate.open();
        applied.await.unwrap().unwrap();
        let there = read(&graph, "node:Plane").await;
        assert_eq!(there.num_rows(), 53);
        let seats = column(&there, "seats");
        assert_eq!(seats.null_count(), 0);
        if changes == [WIDE] {
            assert_eq!(*seats.data_type(), DataType::Int64);
        } else {
            assert!(is_empty(&column(&there, "built")));
        }
        until_idle(&graph).await;
        assert!(place.sidecars().await.is_empty());
        graph.heal().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_row_without_a_value_quarantines_an_apply_that_requires_one_and_says_so() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let required = "seats = { type = \"int32\", required = true }";
    let (gate, applied) = held(&place, &[("seats = \"int32\"", required)]).await;
    let batch = RecordBatch::try_from_iter([
        (
            "tailnum",
            Arc::new(StringArray::from(vec!["N1"])) as ArrayRef,
        ),
        ("seats", Arc::new(Int32Array::from(vec![None::<i32>]))),
    ])
    .unwrap();
    append_plainly(&place, batch).await;
    gate.open();
    let quarantined = applied.await.unwrap().unwrap_err();
    let told = quarantined.to_string();
    assert!(matches!(quarantined, Error::Unapplied { .. }), "{told}");
    assert!(told.contains("1 rows have no value"), "{told}");
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert_eq!(manifest.queue[0].kind, OperationKind::SchemaApply);
    assert_eq!(
        rows(&graph, "node:Plane").await,
        50,
        "readers see the state before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_programs_keep_in_a_tables_metadata_survives() {
    for changes in [[BUILT], [WIDE]] {
        let (place, graph) = Place::with_graph().await;
        fill(&graph).await;
        let (gate, applied) = held(&place, &changes).await;
        let mut table = plainly(place.uri(), "Plane.lance").await;
        table
            .update_schema_metadata([("embedding_functions", "[]")])
            .await
            .unwrap();
        gate.open();
        applied.await.unwrap().unwrap();
        // It came in between; the next apply is staged on a table that has it.
        apply(&graph, &[("seats = \"int32\"", "tailless = \"bool\"")])
            .await
            .unwrap();
        let table = plainly(place.uri(), "Plane.lance").await;
        let metadata = &table.schema().metadata;
        assert_eq!(
            metadata.get("embedding_functions").map(String::as_str),
            Some("[]"),
            "{changes:?}"
        );
    }
}
