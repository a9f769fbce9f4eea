//! What once blocked a table, or a whole graph, for good: each way has an end now, by itself or by an operator's word.

use std::time::Duration;

use squire_engine::{
    Compacted, DeleteRequest, DriftPolicy, Error, Finding, Graph, Healed, Left, Options, Receipt,
    Remedy, Repaired, SchemaRequest, Word,
    manifest::TicketState,
    planner::{Ask, compaction::CompactionPolicy},
    schema::Schema,
};
use squire_tests::{
    flights::{SCHEMA, append, day, key, planes},
    patience::until,
    place::{Place, rows, until_idle},
    store::{Moment, Verb, Watch},
    stranger::Stranger,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_millis(300);
const COMMIT: &str = "Flight.lance/_versions/";

async fn three_days() -> (Place, Graph) {
    let (place, graph) = Place::with_graph().await;
    for n in 0..3 {
        graph.load(day(n, 10)).await.unwrap();
    }
    (place, graph)
}

/// A graph whose flights another program compacted and then pruned, so that the pin is gone; and the versions between that
/// and the head as well, when it leaves nothing but the head.
async fn pruned(leaves_head_alone: bool) -> (Place, Graph) {
    let (place, graph) = three_days().await;
    let pin = graph
        .snapshot()
        .await
        .unwrap()
        .manifest()
        .pin(&key("edge:Flight"));
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.compact().await;
    let head = stranger.version();
    assert!(head > pin + 1, "a compaction makes two versions");
    let kept = if leaves_head_alone { head } else { pin + 1 };
    stranger.prune_before(kept).await;
    // No handle that is opened from here on knows the pin from before.
    (place, graph)
}

async fn compact(graph: &Graph) -> Result<Compacted, Error> {
    let (policy, stop) = (CompactionPolicy::default(), CancellationToken::new());
    let flight = key("edge:Flight");
    graph.compact(&flight, &policy, &Ask::forced(), &stop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_pin_another_program_pruned_is_read_and_written_as_before() {
    let (place, _) = pruned(false).await;
    let graph = place.open().await;
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
    graph
        .snapshot()
        .await
        .unwrap()
        .stats(&key("edge:Flight"))
        .await
        .unwrap();
    graph.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);

    let (place, _) = pruned(false).await;
    let graph = place.open().await;
    let delete = DeleteRequest::new().add(key("edge:Flight"), "day = 0");
    assert_eq!(graph.delete(delete).await.unwrap().rows_deleted, 10);

    let (place, _) = pruned(false).await;
    let graph = place.open().await;
    compact(&graph).await.unwrap();

    let (place, _) = pruned(false).await;
    let graph = place.open().await;
    let look = graph.drift().await.unwrap();
    assert!(look.failed.is_empty(), "{:?}", look.failed);
    let [drifted] = look.drifted.as_slice() else {
        panic!("{:?}", look.drifted)
    };
    assert!(drifted.is_benign() && drifted.misfit.is_none());
    assert!(graph.adopt(drifted).await.unwrap());
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_but_the_head_is_left_an_operator_or_the_setting_adopts_it() {
    let (place, _) = pruned(true).await;
    let graph = place.open().await;
    let snapshot = graph.snapshot().await.unwrap();
    let gone = snapshot.open(&key("edge:Flight")).await.unwrap_err();
    assert!(matches!(gone, Error::SnapshotGone { .. }), "{gone}");
    let refused = graph.load(day(5, 10)).await.unwrap_err();
    assert!(matches!(refused, Error::Drift { .. }), "{refused}");
    let refused = compact(&graph).await.unwrap_err();
    assert!(matches!(refused, Error::Drift { .. }), "{refused}");
    let findings = graph.findings().await.unwrap();
    let [finding @ Finding::Drifted(drifted)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(!drifted.is_benign() && drifted.misfit.is_none());
    let repaired = graph.repair(finding, &Word::default()).await.unwrap();
    assert_eq!(repaired, Repaired::Adopted { pin: drifted.head });
    graph.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);

    let (place, _) = pruned(true).await;
    let options = Options {
        drift: DriftPolicy::Adopt,
        ..Options::default()
    };
    let graph = place.open_with(options).await;
    graph.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_at_a_pin_that_is_pruned_meanwhile_takes_place() {
    let (place, graph) = three_days().await;
    let (owner, watch) = place.short_lived(LEASE).await;
    let gate = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let load = tokio::spawn(async move { owner.load(day(5, 10)).await });
    gate.reached().await;
    let pin = graph
        .snapshot()
        .await
        .unwrap()
        .manifest()
        .pin(&key("edge:Flight"));
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.compact().await;
    stranger.prune_before(pin + 1).await;
    let (healer, _) = place.short_lived(LEASE).await;
    until("the load is healed", async || {
        healer.heal().await.unwrap().rolled_forward == 1
    })
    .await;
    assert_eq!(rows(&healer, "edge:Flight").await, 40);
    gate.open();
    let _ = load.await.unwrap();
    assert_eq!(rows(&healer, "edge:Flight").await, 40, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_of_a_table_that_another_program_dropped_is_called_off() {
    let (place, graph) = three_days().await;
    let (compactor, watch) = place.short_lived(LEASE).await;
    let gate = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let compaction = tokio::spawn(async move { compact(&compactor).await });
    gate.reached().await;
    let (store, _) = place.store().await;
    for object in place.objects("Flight.lance/").await {
        let path = object.as_str().into();
        object_store::ObjectStoreExt::delete(&*store.inner, &path)
            .await
            .unwrap();
    }
    until("nothing is in the queue", async || {
        let _ = graph.heal_now().await;
        graph.snapshot().await.unwrap().manifest().queue.is_empty()
    })
    .await;
    compaction.abort();
    // The type can be dropped now.
    let without = SCHEMA.split("[edge.Flight]").next().unwrap();
    let schema = Schema::parse(without, "without.toml").unwrap();
    graph
        .apply_schema(SchemaRequest::new(schema))
        .await
        .unwrap();
    let snapshot = graph.snapshot().await.unwrap();
    assert_eq!(snapshot.manifest().pin(&key("edge:Flight")), 0);
}

/// A load that is decided and stalls before its commit.
async fn stalled(place: &Place) -> JoinHandle<Result<Receipt, Error>> {
    let (owner, watch) = place.watched().await;
    let gate = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let load = tokio::spawn(async move { owner.load(day(5, 10)).await });
    gate.reached().await;
    load
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_never_ends_is_given_up_by_an_operators_word_and_resolved() {
    let (place, graph) = three_days().await;
    let load = stalled(&place).await;
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    let operation = manifest.queue[0].operation;
    let behind = tokio::spawn({
        let graph = graph.clone();
        async move { graph.load(day(6, 10)).await }
    });
    until("the second load waits", async || {
        graph.snapshot().await.unwrap().manifest().queue.len() == 2
    })
    .await;
    assert_eq!(graph.give_up(operation).await.unwrap(), Repaired::GivenUp);
    let refused = behind.await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, Error::Quarantined { blocked_by, .. } if *blocked_by == operation),
        "{refused}"
    );
    let findings = graph.findings().await.unwrap();
    let [finding @ Finding::Quarantined(found)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(found.remedy, Remedy::Discard);
    let repaired = graph.repair(finding, &Word::default()).await.unwrap();
    assert_eq!(repaired, Repaired::Discarded);
    graph.load(day(6, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
    load.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_or_is_physical_cannot_be_given_up() {
    let (place, graph) = three_days().await;
    let (compactor, watch) = place.watched().await;
    let gate = watch.hold_at(Moment::Before, Verb::Put, COMMIT);
    let compaction = tokio::spawn(async move { compact(&compactor).await });
    gate.reached().await;
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    let left = graph.give_up(manifest.queue[0].operation).await.unwrap();
    assert!(matches!(left, Repaired::Left(_)), "{left:?}");
    gate.open();
    compaction.await.unwrap().unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_lance_refuses_for_good_is_quarantined_and_keeps_no_other_table() {
    let (place, graph) = three_days().await;
    let load = stalled(&place).await;
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.set_property("owner", "ada").await;
    squire_tests::newer::as_if_a_newer_lance_had_written(stranger.dataset()).await;
    let healer = place.open().await;
    until("it is quarantined", async || {
        let _ = healer.heal_now().await;
        let manifest = healer.snapshot().await.unwrap().manifest().clone();
        matches!(manifest.queue[0].state, TicketState::Quarantined { .. })
    })
    .await;
    // Other tables go on.
    let other = append("node:Plane", planes(0, 5, 1));
    graph.load(other).await.unwrap();
    load.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_notes_at_a_table_or_a_column_stops_no_load() {
    let (place, graph) = three_days().await;
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.set_property("owner", "ada").await;
    graph.load(day(5, 10)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 40);

    // Between the decision and the commit, even a note at a column.
    let (owner, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let load = tokio::spawn(async move { owner.load(day(6, 10)).await });
    gate.reached().await;
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.note("day", "owner", "ada").await;
    gate.open();
    load.await.unwrap().unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_graph_to_write_waits_for_no_operation_on_another_table() {
    let (place, graph) = three_days().await;
    let (compactor, watch) = place.watched().await;
    let stalled = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let compaction = tokio::spawn(async move { compact(&compactor).await });
    stalled.reached().await;
    // Who finishes the compaction, as is due at once, is held as well.
    let watch = Watch::new();
    let options = Options {
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let opened = Graph::open_for_writing(place.uri(), options).await.unwrap();
    gate.reached().await;
    let planes = append("node:Plane", planes(0, 5, 1));
    opened.load(planes).await.unwrap();
    gate.open();
    until_idle(&graph).await;
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
    compaction.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_slow_to_heal_keeps_neither_others_nor_the_next_rounds() {
    let (place, graph) = three_days().await;
    let (owner, watch) = place.short_lived(LEASE).await;
    let stalled = watch.stall(Moment::Before, Verb::Put, COMMIT);
    let load = tokio::spawn(async move { owner.load(day(5, 10)).await });
    stalled.reached().await;
    let (healer, watch) = place.short_lived(LEASE).await;
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let at_work = |healed: &Healed| healed.left.iter().any(|(_, left)| *left == Left::AtWork);
    until("it is being healed", async || {
        at_work(&healer.heal().await.unwrap())
    })
    .await;
    gate.reached().await;
    let (other, watch) = place.short_lived(LEASE).await;
    let stalled = watch.stall(Moment::Before, Verb::Put, "Plane.lance/_versions/");
    let planes = append("node:Plane", planes(0, 5, 1));
    let another = tokio::spawn(async move { other.load(planes).await });
    stalled.reached().await;
    until("the other is healed meanwhile", async || {
        let healed = healer.heal().await.unwrap();
        assert!(at_work(&healed));
        healed.rolled_forward == 1
    })
    .await;
    gate.open();
    until_idle(&graph).await;
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
    load.abort();
    another.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_is_judged_by_the_longer_lease_of_its_own_and_the_observers() {
    let (place, graph) = three_days().await;
    // It waits behind a load that is held, and beats every five seconds.
    let (ahead, watch) = place.watched().await;
    let gate = watch.hold_first(Verb::Put, COMMIT);
    let first = tokio::spawn(async move { ahead.load(day(5, 10)).await });
    gate.reached().await;
    let second = tokio::spawn({
        let graph = graph.clone();
        async move { graph.load(day(6, 10)).await }
    });
    until("the second load waits", async || {
        graph.snapshot().await.unwrap().manifest().queue.len() == 2
    })
    .await;
    let (hasty, _) = place.short_lived(Duration::from_millis(30)).await;
    // Many of its leases, and a small part of the other's.
    for _ in 0..40 {
        let healed = hasty.heal().await.unwrap();
        assert_eq!((healed.aborted, healed.rolled_forward), (0, 0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 50);
}
