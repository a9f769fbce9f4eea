//! Crashed, stalled and paused writers: whoever comes next finishes or aborts their operations, wholly or not at
//! all; and a writer that wakes up applies nothing twice.

use std::time::Duration;

use object_store::ObjectStoreExt;
use squire_engine::{
    Compacted, DeleteRequest, Error, Graph, LoadMode, LoadRequest, Loss, Receipt, Rows,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{append, day, flights, key, planes},
    patience::until,
    place::{Place, rows, sums, until_idle},
    store::{Gate, Moment, Verb},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_millis(300);
const FIRST_COMMIT: &str = "Plane.lance/_versions/";
const SECOND_COMMIT: &str = "Flight.lance/_versions/";

/// Ten rows into each of two tables.
fn both() -> LoadRequest {
    LoadRequest::new()
        .add(
            key("node:Plane"),
            LoadMode::Append,
            Rows::Batches(vec![planes(0, 10, 1)]),
        )
        .add(
            key("edge:Flight"),
            LoadMode::Append,
            Rows::Batches(vec![flights(1, 10)]),
        )
}

/// The name of the manifest that comes `n` after the newest.
async fn manifest_after(graph: &Graph, n: u64) -> String {
    let newest = graph.snapshot().await.unwrap().manifest().number;
    format!("_squire/manifest/{:020}", newest + n)
}

/// Heals until nothing is left in the queue.
async fn heal(graph: &Graph) {
    until("it is healed", async || {
        graph.heal().await.unwrap();
        graph.snapshot().await.unwrap().manifest().queue.is_empty()
    })
    .await;
}

struct Stalled {
    operation: JoinHandle<Result<Receipt, Error>>,
    gate: std::sync::Arc<Gate>,
}

impl Stalled {
    /// Starts a load of both tables and stalls its process at one write.
    async fn at(place: &Place, moment: Moment, part: &str) -> Self {
        let (graph, watch) = place.short_lived(LEASE).await;
        let gate = watch.stall(moment, Verb::Put, part);
        let operation = tokio::spawn(async move { graph.load(both()).await });
        gate.reached().await;
        Self { operation, gate }
    }

    /// Wakes it up and waits for what it says.
    async fn resume(self) -> Result<Receipt, Error> {
        self.gate.open();
        self.operation.await.unwrap()
    }
}

/// One stall, before the commit point or past it, and all that must hold afterwards.
async fn story(moment: Moment, part: &str, ahead: u64, decided: bool) {
    let case = format!("stalled {moment:?} {part}+{ahead}");
    let (place, _) = Place::with_graph().await;
    let (healer, _) = place.short_lived(LEASE).await;
    let part = match ahead {
        0 => part.to_owned(),
        n => manifest_after(&healer, n).await,
    };
    let stalled = Stalled::at(&place, moment, &part).await;
    heal(&healer).await;
    let healed = if decided { (10, 10) } else { (0, 0) };
    assert_eq!(sums(&healer).await, healed, "{case}");
    let sidecars = place.sidecars().await.len();
    assert!(sidecars == 0 || !decided, "{case}: {sidecars} sidecars");
    // Nobody is in anybody's way.
    healer
        .load(append("node:Plane", planes(100, 105, 2)))
        .await
        .unwrap();

    let receipt = stalled.resume().await;
    until_idle(&healer).await;
    let receipt = receipt.unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(receipt.rows_written, 20, "{case}");
    assert_eq!(sums(&healer).await, (15, 10), "{case}: once, and in both");
    until("no sidecar is left", async || {
        place.sidecars().await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_lost_its_place_before_it_staged_starts_over_and_sees_no_drift() {
    let (place, _) = Place::with_graph().await;
    let (healer, _) = place.short_lived(LEASE).await;
    let (graph, watch) = place.short_lived(LEASE).await;
    let gate = watch.stall(Moment::Before, Verb::List, "Plane.lance/_versions");
    let upsert = LoadRequest::new().add(
        key("node:Plane"),
        LoadMode::Upsert,
        Rows::Batches(vec![planes(0, 10, 1)]),
    );
    let operation = tokio::spawn(async move { graph.load(upsert).await });
    gate.reached().await;
    heal(&healer).await;
    // Somebody goes next, so that its snapshot is old.
    healer
        .load(append("node:Plane", planes(100, 105, 2)))
        .await
        .unwrap();
    gate.open();
    let receipt = operation.await.unwrap().expect("it starts over");
    assert_eq!(receipt.rows_written, 10);
    assert_eq!(rows(&healer, "node:Plane").await, 15);
    until_idle(&healer).await;
}

macro_rules! stalls {
    ($($name:ident: $moment:ident $part:expr, $ahead:expr, decided $decided:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            story(Moment::$moment, $part, $ahead, $decided).await;
        })*
    };
}

mod a_load_of_two_tables_is_whole_or_absent_when_its_writer_stalls {
    use super::*;

    stalls! {
        before_the_sidecar_is_written: Before "_squire/recovery/", 0, decided false;
        after_the_sidecar_is_written: After "_squire/recovery/", 0, decided false;
        before_it_is_decided: Before "", 1, decided false;
        after_it_is_decided: After "", 1, decided true;
        before_the_first_commit: Before FIRST_COMMIT, 0, decided true;
        after_the_first_commit: After FIRST_COMMIT, 0, decided true;
        before_the_second_commit: Before SECOND_COMMIT, 0, decided true;
        after_the_second_commit: After SECOND_COMMIT, 0, decided true;
        before_it_is_published: Before "", 2, decided true;
        after_it_is_published: After "", 2, decided true;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_operation_heals_by_itself_what_is_in_its_way() {
    let (place, _) = Place::with_graph().await;
    let (next, _) = place.short_lived(LEASE).await;
    let stalled = Stalled::at(&place, Moment::After, FIRST_COMMIT).await;
    next.load(day(2, 5)).await.unwrap();
    assert_eq!(sums(&next).await, (10, 15));
    stalled.resume().await.unwrap();
    assert_eq!(sums(&next).await, (10, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_ticket_of_a_dead_writer_is_taken_back_and_its_writer_starts_over() {
    for (moment, ahead, part) in [
        (Moment::After, 1, ""),
        (Moment::Before, 0, "_squire/recovery/"),
        (Moment::After, 0, "_squire/recovery/"),
        (Moment::Before, 2, ""),
    ] {
        let (place, graph) = Place::with_graph().await;
        graph.load(both()).await.unwrap();
        let part = match ahead {
            0 => part.to_owned(),
            n => manifest_after(&graph, n).await,
        };
        let (dead, watch) = place.short_lived(LEASE).await;
        let gate = watch.stall(moment, Verb::Put, &part);
        let delete = DeleteRequest::new()
            .add(key("node:Plane"), "tailnum < 'N00005'")
            .add(key("edge:Flight"), "dest < 'D05'");
        let delete = tokio::spawn(async move { dead.delete(delete).await });
        gate.reached().await;
        let (healer, _) = place.short_lived(LEASE).await;
        heal(&healer).await;
        assert_eq!(sums(&healer).await, (10, 10));
        healer
            .load(append("node:Plane", planes(100, 105, 2)))
            .await
            .unwrap();
        gate.open();
        assert_eq!(delete.await.unwrap().unwrap().rows_deleted, 10);
        assert_eq!(sums(&healer).await, (10, 5), "stalled {moment:?} {part}");
        until("no sidecar is left", async || {
            place.sidecars().await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_writer_that_is_slow_is_helped_after_the_grace_and_answers_as_if_it_had_not_been()
{
    let (place, _) = Place::with_graph().await;
    let (slow, watch) = place.short_lived(LEASE).await;
    // Its heartbeats go on.
    let gate = watch.hold_first(Verb::Put, SECOND_COMMIT);
    let load = tokio::spawn(async move { slow.load(both()).await });
    gate.reached().await;
    let (healer, _) = place.short_lived(LEASE).await;
    heal(&healer).await;
    assert_eq!(sums(&healer).await, (10, 10));
    gate.open();
    let receipt = load.await.unwrap().unwrap();
    assert_eq!((receipt.rows_written, receipt.pins.len()), (20, 2));
    assert_eq!(sums(&healer).await, (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_healers_at_once_apply_an_operation_once() {
    let (place, graph) = Place::with_graph().await;
    let stalled = Stalled::at(&place, Moment::Before, FIRST_COMMIT).await;
    let mut healers = Vec::new();
    for _ in 0..4 {
        healers.push(place.open().await);
    }
    let rounds = healers.iter().map(Graph::heal_now);
    for healed in futures::future::join_all(rounds).await {
        healed.unwrap();
    }
    assert_eq!(sums(&graph).await, (10, 10));
    stalled.resume().await.unwrap();
    assert_eq!(sums(&graph).await, (10, 10));
}

fn compact(graph: &Graph) -> JoinHandle<Result<Compacted, Error>> {
    let graph = graph.clone();
    tokio::spawn(async move {
        let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
        graph
            .compact(&table, &policy, &Ask::forced(), &CancellationToken::new())
            .await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_stalls_is_finished_at_once_by_the_load_behind_it() {
    for moment in [Moment::Before, Moment::After] {
        // Leases of the usual length: nobody waits for one to end.
        let (place, graph) = Place::with_graph().await;
        for n in 0..3 {
            graph.load(day(n, 10)).await.unwrap();
        }
        let (compactor, watch) = place.watched().await;
        let gate = watch.stall(moment, Verb::Put, SECOND_COMMIT);
        let compaction = compact(&compactor);
        gate.reached().await;
        graph.load(day(3, 10)).await.unwrap();
        assert_eq!(rows(&graph, "edge:Flight").await, 40);
        gate.open();
        assert!(matches!(
            compaction.await.unwrap().unwrap(),
            Compacted::Done(_)
        ));
        assert_eq!(rows(&graph, "edge:Flight").await, 40);
        let stats = graph
            .snapshot()
            .await
            .unwrap()
            .stats(&key("edge:Flight"))
            .await
            .unwrap();
        assert_eq!(stats.fragments.len(), 2, "it took place once");
    }
}

async fn without_its_sidecar(place: &Place) {
    let (store, _) = place.store().await;
    for sidecar in place.sidecars().await {
        store.inner.delete(&sidecar.as_str().into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_without_its_sidecar_is_fenced_off_and_discarded() {
    let (place, graph) = Place::with_graph().await;
    for n in 0..3 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let (compactor, watch) = place.watched().await;
    let gate = watch.stall(Moment::Before, Verb::Put, SECOND_COMMIT);
    let compaction = compact(&compactor);
    gate.reached().await;
    without_its_sidecar(&place).await;
    graph.load(day(3, 10)).await.unwrap();
    gate.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::SourcesChanged)
    );
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_load_without_its_sidecar_is_quarantined_and_blocks_its_tables_alone() {
    let (place, _) = Place::with_graph().await;
    let (dead, watch) = place.short_lived(LEASE).await;
    let gate = watch.stall(Moment::Before, Verb::Put, SECOND_COMMIT);
    let load = tokio::spawn(async move { dead.load(day(1, 10)).await });
    gate.reached().await;
    without_its_sidecar(&place).await;
    let (healer, _) = place.short_lived(LEASE).await;
    until("it is quarantined", async || {
        healer.heal().await.unwrap().quarantined == 1
    })
    .await;
    let blocked = healer.load(day(2, 10)).await;
    assert!(
        matches!(blocked, Err(Error::Quarantined { table, .. }) if table == key("edge:Flight"))
    );
    healer
        .load(append("node:Plane", planes(0, 5, 1)))
        .await
        .unwrap();
    assert_eq!(sums(&healer).await, (5, 0));
    gate.open();
    assert!(load.await.unwrap().is_err());
    assert_eq!(
        sums(&healer).await,
        (5, 0),
        "its late commit is not published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healing_a_graph_at_rest_changes_nothing() {
    let (_, graph) = Place::with_graph().await;
    graph.load(both()).await.unwrap();
    let before = graph.snapshot().await.unwrap().manifest().clone();
    assert!(graph.heal().await.unwrap().is_nothing());
    assert!(graph.heal_now().await.unwrap().is_nothing());
    assert_eq!(*graph.snapshot().await.unwrap().manifest(), before);
}
