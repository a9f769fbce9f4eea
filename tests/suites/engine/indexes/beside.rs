//! Work on indexes beside loads, schema applies, other indexers and healers.

use std::sync::Arc;

use squire_engine::{
    DeleteRequest, Error, Graph, Healed, Indexed, LoadMode, Loss,
    planner::{Ask, indexing::IndexPolicy},
};
use squire_tests::{
    docs::SCHEMA,
    flights::key,
    place::Place,
    store::{Gate, Moment, Verb, Watch},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    DOC, INDICES, MANY, all_with, append, apply, assert_right, force, graph, indexed, load,
    outside, stats, table,
};

const VERSIONS: &str = "Doc.lance/_versions/";
const SIZE: &str = "size = \"int32\"\n";
const SIZE_INDEX: &str = "[[node.Doc.index]]\nproperty = \"size\"\nkind = \"btree\"\n";

async fn unindexed() -> (Place, Graph) {
    let (place, graph) = graph().await;
    load(&graph, LoadMode::Append, 0..MANY, 0).await;
    (place, graph)
}

/// An indexer that stands still before it writes its first segment.
async fn held(place: &Place) -> (Arc<Gate>, JoinHandle<Indexed>, Watch) {
    let (indexer, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = tokio::spawn(async move { force(&indexer).await });
    gate.reached().await;
    (gate, at_work, watch)
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_and_deletes_beside_a_long_build_go_through_and_it_lands_all_the_same() {
    let (place, graph) = unindexed().await;
    let (gate, at_work, _) = held(&place).await;
    load(&graph, LoadMode::Append, MANY..MANY + 50, 0).await;
    load(&graph, LoadMode::Upsert, 10..30, 1).await;
    let delete = DeleteRequest::new().add(key(DOC), "id >= 100 AND id < 120");
    graph.delete(delete).await.unwrap();
    assert!(graph.snapshot().await.unwrap().manifest().queue.is_empty());
    assert!(!at_work.is_finished());
    gate.open();
    let Indexed::Done(receipt) = at_work.await.unwrap() else {
        panic!("its sources are there")
    };
    assert_eq!(receipt.rows, 5 * u64::try_from(MANY).unwrap());
    assert_eq!(outside(&stats(&graph).await), all_with(70));
    assert_right(&graph).await;
    append(&graph).await;
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_indexers_at_once_one_wins_and_the_other_leaves_nothing() {
    let (place, graph) = unindexed().await;
    let (first, one, _) = held(&place).await;
    let (second, other, _) = held(&place).await;
    second.open();
    assert!(matches!(other.await.unwrap(), Indexed::Done(_)));
    let of_winner = place.objects(INDICES).await;
    first.open();
    assert_eq!(one.await.unwrap(), Indexed::Lost(Loss::SourcesChanged));
    assert_eq!(place.objects(INDICES).await, of_winner);
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_drops_the_property_meanwhile_wins() {
    let (place, graph) = unindexed().await;
    let (gate, at_work, _) = held(&place).await;
    let without = SCHEMA.replace(SIZE, "").replace(SIZE_INDEX, "");
    apply(&graph, SCHEMA, &without).await.unwrap();
    gate.open();
    assert_eq!(at_work.await.unwrap(), Indexed::Lost(Loss::SourcesChanged));
    assert!(place.objects(INDICES).await.is_empty());
    force(&graph).await;
    let stats = stats(&graph).await;
    let left = all_with(0)
        .into_iter()
        .filter(|(name, _)| *name != "size_btree");
    assert_eq!(outside(&stats), left.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_takes_the_declaration_back_meanwhile_wins() {
    let (place, graph) = unindexed().await;
    let (gate, at_work, _) = held(&place).await;
    apply(&graph, SIZE_INDEX, "").await.unwrap();
    gate.open();
    assert_eq!(at_work.await.unwrap(), Indexed::Lost(Loss::SourcesChanged));
    assert!(place.objects(INDICES).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_casts_the_property_meanwhile_wins() {
    let (place, graph) = unindexed().await;
    let (gate, at_work, _) = held(&place).await;
    apply(&graph, SIZE, "size = \"int64\"\n").await.unwrap();
    gate.open();
    assert_eq!(at_work.await.unwrap(), Indexed::Lost(Loss::SourcesChanged));
    force(&graph).await;
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_renames_the_property_meanwhile_does_not_stop_its_index() {
    let (place, graph) = unindexed().await;
    let (gate, at_work, _) = held(&place).await;
    let renamed = SCHEMA
        .replace(
            SIZE,
            "length = { type = \"int32\", renamed_from = \"size\" }\n",
        )
        .replace("property = \"size\"", "property = \"length\"");
    apply(&graph, SCHEMA, &renamed).await.unwrap();
    gate.open();
    assert!(matches!(at_work.await.unwrap(), Indexed::Done(_)));
    let stats = stats(&graph).await;
    assert_eq!(stats.missing, []);
    let columns = stats.indexes.iter().flat_map(|i| &i.columns);
    assert!(columns.into_iter().any(|c| c == "length"), "{stats:?}");
}

/// An indexer that dies at this moment, and what healing by hand does then.
async fn healed_after(place: &Place, moment: Moment, at: &str) -> Healed {
    let (indexer, watch) = place.watched().await;
    let dies = watch.stall(moment, Verb::Put, at);
    let at_work = tokio::spawn(async move { force(&indexer).await });
    dies.reached().await;
    at_work.abort();
    place.open().await.heal_now().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_dies_between_decision_and_commit_is_carried_out_by_another() {
    let (place, graph) = indexed().await;
    load(&graph, LoadMode::Append, MANY..MANY + 50, 0).await;
    let healed = healed_after(&place, Moment::Before, VERSIONS).await;
    assert_eq!((healed.rolled_forward, healed.discarded), (1, 0));
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_dies_before_the_decision_stands_in_nobodys_way() {
    let (place, graph) = unindexed().await;
    healed_after(&place, Moment::After, "_squire/recovery/").await;
    load(&graph, LoadMode::Append, MANY..MANY + 50, 0).await;
    force(&graph).await;
    assert_eq!(outside(&stats(&graph).await), all_with(0));
}

/// The indexer has seen its sources. Then the column goes, and then the indexer comes in and dies: who heals it has to
/// look for himself.
#[tokio::test(flavor = "multi_thread")]
async fn a_healer_calls_off_an_index_whose_column_was_dropped_before_it_came_in() {
    let (place, graph) = unindexed().await;
    let (indexer, watch) = place.watched().await;
    let comes_in = watch.hold_first(Verb::Put, "_squire/manifest/");
    let at_work = tokio::spawn(async move { force(&indexer).await });
    comes_in.reached().await;
    let dies = watch.stall_past(1, Moment::After, Verb::Put, "_squire/manifest/");
    let without = SCHEMA.replace(SIZE, "").replace(SIZE_INDEX, "");
    apply(&graph, SCHEMA, &without).await.unwrap();
    comes_in.open();
    dies.reached().await;
    at_work.abort();
    assert_eq!(graph.snapshot().await.unwrap().manifest().queue.len(), 1);
    let healed = place.open().await.heal_now().await.unwrap();
    assert_eq!((healed.rolled_forward, healed.discarded), (0, 1));
    assert_eq!(stats(&graph).await.indexes, []);
    assert!(table(&graph).await.schema().field("size").is_none());
    assert!(graph.snapshot().await.unwrap().manifest().queue.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_is_stopped_leaves_no_file() {
    let (place, graph) = unindexed().await;
    let (indexer, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let at_work = tokio::spawn(async move {
        let (policy, ask) = (IndexPolicy::default(), Ask::forced());
        indexer.index(&key(DOC), &policy, &ask, &stopped).await
    });
    gate.reached().await;
    stop.cancel();
    gate.open();
    assert!(matches!(at_work.await.unwrap(), Err(Error::Cancelled)));
    assert!(place.objects(INDICES).await.is_empty());
    assert_eq!(stats(&graph).await.indexes, []);
}
