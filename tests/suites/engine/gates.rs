//! Operations held still in the middle, so that what others may and may not do meanwhile shows, whatever the timing.

use arrow::record_batch::RecordBatchIterator;
use futures::TryStreamExt;
use lance::dataset::builder::DatasetBuilder;
use object_store::ObjectStoreExt;
use squire_engine::{
    Compacted, DeleteRequest, Error, Graph, LogEntry, Loss, Receipt,
    manifest::{OperationKind, TicketState},
    planner::{
        Ask,
        compaction::{CompactionPolicy, Skip},
    },
};
use squire_tests::{
    flights::{day, flights, key},
    patience::until,
    place::{Place, rows, until_idle},
    store::{Moment, Request, Verb},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DATA: &str = "Flight.lance/data/";
const VERSIONS: &str = "Flight.lance/_versions";
/// A commit puts one object below the folder.
const COMMIT: &str = "Flight.lance/_versions/";

async fn four_days() -> (Place, Graph) {
    let (place, graph) = Place::with_graph().await;
    for n in 0..4 {
        graph.load(day(n, 50)).await.unwrap();
    }
    (place, graph)
}

fn compact(graph: &Graph, stop: &CancellationToken) -> JoinHandle<Result<Compacted, Error>> {
    let (graph, stop) = (graph.clone(), stop.clone());
    tokio::spawn(async move {
        let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
        graph.compact(&table, &policy, &Ask::forced(), &stop).await
    })
}

async fn log(graph: &Graph) -> Vec<LogEntry> {
    graph.log().try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_delays_no_load_of_its_table_and_commits_over_the_new_layout() {
    let (place, other) = four_days().await;
    let (graph, watch) = place.watched().await;
    let rewriting = watch.hold_first(Verb::Put, DATA);
    let compaction = compact(&graph, &CancellationToken::new());
    rewriting.reached().await;
    other.load(day(10, 50)).await.unwrap();
    graph.load(day(11, 50)).await.unwrap();
    assert!(!compaction.is_finished());
    assert!(
        graph.snapshot().await.unwrap().manifest().queue.is_empty(),
        "it holds nothing"
    );
    rewriting.open();
    let compacted = compaction.await.unwrap().unwrap();
    let Compacted::Done(receipt) = compacted else {
        panic!("its sources are all there: {compacted:?}")
    };
    assert_eq!((receipt.fragments_before, receipt.fragments_after), (4, 1));
    assert_eq!(rows(&graph, "edge:Flight").await, 300);
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_whose_source_was_changed_meanwhile_is_lost_and_leaves_no_file() {
    let (place, other) = four_days().await;
    let (graph, watch) = place.watched().await;
    let rewriting = watch.hold_first(Verb::Put, DATA);
    let compaction = compact(&graph, &CancellationToken::new());
    rewriting.reached().await;
    other
        .delete(DeleteRequest::new().add(key("edge:Flight"), "day = 2"))
        .await
        .unwrap();
    let before = (
        place.objects(DATA).await,
        other.snapshot().await.unwrap().manifest().clone(),
    );
    rewriting.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::SourcesChanged)
    );
    let after = (
        place.objects(DATA).await,
        other.snapshot().await.unwrap().manifest().clone(),
    );
    assert_eq!(after, before);
    assert_eq!(rows(&graph, "edge:Flight").await, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_cannot_be_read_back_is_no_part_of_the_graph_and_is_not_tried_again() {
    let (place, _) = four_days().await;
    let before = place.objects(DATA).await;
    let (graph, watch) = place.watched().await;
    let written = watch.hold_at(Moment::After, Verb::Put, DATA);
    let compaction = compact(&graph, &CancellationToken::new());
    written.reached().await;
    let manifest = graph.snapshot().await.unwrap().manifest().number;
    let (store, _) = place.store().await;
    for new in place.objects(DATA).await.difference(&before) {
        let path = object_store::path::Path::from(new.as_str());
        let size = store.inner.head(&path).await.unwrap().size;
        let nonsense = vec![0_u8; usize::try_from(size).unwrap()];
        store.inner.put(&path, nonsense.into()).await.unwrap();
    }
    written.open();
    let compacted = compaction.await.unwrap();
    assert!(
        matches!(&compacted, Err(Error::Unreadable { table, .. }) if *table == key("edge:Flight")),
        "{compacted:?}"
    );
    assert_eq!(place.objects(DATA).await, before);
    let snapshot = graph.snapshot().await.unwrap();
    assert_eq!(snapshot.manifest().number, manifest);
    assert_eq!(rows(&graph, "edge:Flight").await, 200);
    let again = compact(&graph, &CancellationToken::new()).await.unwrap();
    assert_eq!(again.unwrap(), Compacted::Skipped(Skip::Unreadable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_load_makes_a_compaction_wait_without_a_place_in_line() {
    let (place, graph) = four_days().await;
    let (loader, held) = place.watched().await;
    let at_commit = held.hold_first(Verb::Put, COMMIT);
    let load = tokio::spawn(async move { loader.load(day(10, 50)).await });
    at_commit.reached().await;
    let (compactor, watch) = place.watched().await;
    let compaction = compact(&compactor, &CancellationToken::new());
    // It has done its work and looks, again and again, whether it is its turn.
    until("the rewrite is done", async || wrote_data(&watch.take())).await;
    until("it looks again", async || {
        watch
            .take()
            .iter()
            .filter(|r| r.verb == Verb::List && r.is_squire("manifest"))
            .count()
            > 0
    })
    .await;
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    let [ticket] = manifest.queue.as_slice() else {
        panic!("the load's ticket alone: {:?}", manifest.queue)
    };
    assert_eq!(ticket.kind, OperationKind::Load);
    assert!(matches!(ticket.state, TicketState::Decided { .. }));
    assert!(!compaction.is_finished());
    at_commit.open();
    load.await.unwrap().unwrap();
    assert!(matches!(
        compaction.await.unwrap().unwrap(),
        Compacted::Done(_)
    ));
    assert_eq!(rows(&graph, "edge:Flight").await, 250);
    let log = log(&graph).await;
    let kinds: Vec<_> = log
        .iter()
        .take(4)
        .map(|e| (e.change.kind.unwrap(), &*e.change.transition))
        .collect();
    use OperationKind::{Compact, Load};
    let newest_first = [
        (Compact, "publish"),
        (Compact, "enqueue+decide"),
        (Load, "publish"),
        (Load, "enqueue+decide"),
    ];
    assert_eq!(kinds, newest_first);
}

fn wrote_data(requests: &[Request]) -> bool {
    requests
        .iter()
        .any(|r| r.verb == Verb::Put && r.path.contains(DATA))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rewrite_leaves_no_file_behind() {
    let (place, _) = four_days().await;
    let (graph, watch) = place.watched().await;
    let before = (
        place.objects("").await,
        graph.snapshot().await.unwrap().manifest().clone(),
    );
    // Before the file is there, and when it is there but nobody has heard of it.
    for moment in [Moment::Before, Moment::After] {
        let stop = CancellationToken::new();
        let rewriting = watch.hold_at(moment, Verb::Put, DATA);
        let compaction = compact(&graph, &stop);
        rewriting.reached().await;
        stop.cancel();
        assert!(matches!(compaction.await.unwrap(), Err(Error::Cancelled)));
        // The write was on its way: what it leaves is deleted as soon as it has landed.
        rewriting.open();
        until("its files are gone", async || {
            let after = (
                place.objects("").await,
                graph.snapshot().await.unwrap().manifest().clone(),
            );
            after == before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_whose_caller_goes_away_leaves_no_file_behind() {
    let (place, _) = four_days().await;
    let (graph, watch) = place.watched().await;
    let before = place.objects("").await;
    let rewriting = watch.hold_at(Moment::After, Verb::Put, DATA);
    let compaction = compact(&graph, &CancellationToken::new());
    rewriting.reached().await;
    compaction.abort();
    assert!(compaction.await.unwrap_err().is_cancelled());
    until("its files are gone", async || {
        place.objects("").await == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_whose_caller_goes_away_in_the_commit_is_finished_and_keeps_its_files() {
    for moment in [Moment::Before, Moment::After] {
        for part in ["_squire/manifest", COMMIT] {
            let (place, other) = four_days().await;
            let (graph, watch) = place.watched().await;
            let writing = watch.hold_at(moment, Verb::Put, part);
            let compaction = compact(&graph, &CancellationToken::new());
            writing.reached().await;
            compaction.abort();
            assert!(compaction.await.unwrap_err().is_cancelled());
            writing.open();
            until(&format!("it is finished: {moment:?} {part}"), async || {
                let snapshot = other.snapshot().await.unwrap();
                let stats = snapshot.stats(&key("edge:Flight")).await.unwrap();
                stats.fragments.len() == 1 && place.sidecars().await.is_empty()
            })
            .await;
            let dataset = other
                .snapshot()
                .await
                .unwrap()
                .open(&key("edge:Flight"))
                .await
                .unwrap();
            let read = dataset.scan().try_into_batch().await.unwrap();
            assert_eq!(read.num_rows(), 200, "{moment:?} {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_whose_caller_goes_away_before_its_turn_leaves_nothing_behind() {
    for moment in [Moment::Before, Moment::After] {
        let (place, other) = four_days().await;
        let before = place.objects(DATA).await;
        let (graph, watch) = place.watched().await;
        let writing = watch.hold_at(moment, Verb::Put, "_squire/recovery");
        let compaction = compact(&graph, &CancellationToken::new());
        writing.reached().await;
        compaction.abort();
        assert!(compaction.await.unwrap_err().is_cancelled());
        writing.open();
        until(&format!("it is undone: {moment:?}"), async || {
            place.objects(DATA).await == before && place.sidecars().await.is_empty()
        })
        .await;
        assert_eq!(rows(&other, "edge:Flight").await, 200);
        assert!(other.snapshot().await.unwrap().manifest().queue.is_empty());
    }
}

/// The ways in: rows that are staged in an instant go the short one, a predicate the long one.
fn start(graph: &Graph, long: bool) -> JoinHandle<Result<Receipt, Error>> {
    let graph = graph.clone();
    tokio::spawn(async move {
        if long {
            graph
                .delete(DeleteRequest::new().add(key("edge:Flight"), "day = 3 AND dest < 'D10'"))
                .await
        } else {
            graph.load(day(10, 50)).await
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_dropped_before_it_is_decided_leaves_no_ticket_and_no_sidecar() {
    for (long, verb, part) in [
        (false, Verb::List, VERSIONS),
        (false, Verb::Put, DATA),
        (true, Verb::List, VERSIONS),
        (true, Verb::Put, "Flight.lance/_deletions"),
    ] {
        let (place, other) = four_days().await;
        let (graph, watch) = place.watched().await;
        let staging = watch.hold_first(verb, part);
        let operation = start(&graph, long);
        staging.reached().await;
        operation.abort();
        assert!(operation.await.unwrap_err().is_cancelled());
        staging.open();
        until_idle(&other).await;
        assert!(
            place.sidecars().await.is_empty(),
            "held at {part}, long {long}"
        );
        assert_eq!(rows(&other, "edge:Flight").await, 200);
        other.load(day(11, 50)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_dropped_at_any_write_takes_place_wholly_or_not_at_all_and_leaves_nothing_behind()
 {
    for long in [false, true] {
        for moment in [Moment::Before, Moment::After] {
            for part in ["_squire/recovery", "_squire/manifest", COMMIT] {
                let (place, other) = four_days().await;
                let (graph, watch) = place.watched().await;
                let writing = watch.hold_at(moment, Verb::Put, part);
                let operation = start(&graph, long);
                writing.reached().await;
                operation.abort();
                assert!(operation.await.unwrap_err().is_cancelled());
                writing.open();
                let case = format!("dropped {moment:?} {part}, long {long}");
                until(&format!("nothing is left: {case}"), async || {
                    let manifest = other.snapshot().await.unwrap().manifest().clone();
                    manifest.queue.is_empty() && place.sidecars().await.is_empty()
                })
                .await;
                let (without, with) = (200, if long { 190 } else { 250 });
                let rows = rows(&other, "edge:Flight").await;
                if part == COMMIT {
                    assert_eq!(rows, with, "what is decided happens: {case}");
                } else {
                    assert!([without, with].contains(&rows), "{rows} rows: {case}");
                }
                other.load(day(11, 1)).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_load_commits_beside_it_is_no_drift_to_a_load_or_compaction_that_looked_before() {
    for compacts in [false, true] {
        let (place, other) = four_days().await;
        let (graph, watch) = place.watched().await;
        // It has its snapshot, and is about to look at the table's head.
        let looking = watch.hold_first(Verb::List, VERSIONS);
        let compaction = compacts.then(|| compact(&graph, &CancellationToken::new()));
        let load = (!compacts).then(|| start(&graph, false));
        looking.reached().await;
        other.load(day(20, 50)).await.unwrap();
        looking.open();
        if let Some(load) = load {
            load.await.unwrap().unwrap();
            assert_eq!(rows(&other, "edge:Flight").await, 300);
        }
        if let Some(compaction) = compaction {
            compaction.await.unwrap().unwrap();
            assert_eq!(rows(&other, "edge:Flight").await, 250);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_stranger_appended_are_drift_and_every_operation_says_so() {
    let (place, graph) = four_days().await;
    let uri = format!("{}/Flight.lance", place.lance_uri());
    let mut table = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let batch = flights(99, 3);
    let rows_of_a_stranger = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    table.append(rows_of_a_stranger, None).await.unwrap();
    for long in [false, true] {
        let refused = start(&graph, long).await.unwrap();
        assert!(
            matches!(&refused, Err(Error::Drift { table, what, .. }) if *table == key("edge:Flight") && what == "Append"),
            "{refused:?}"
        );
    }
    assert!(!matches!(
        compact(&graph, &CancellationToken::new()).await.unwrap(),
        Ok(Compacted::Done(_))
    ));
    until_idle(&graph).await;
    assert!(place.sidecars().await.is_empty());
    assert_eq!(
        rows(&graph, "edge:Flight").await,
        200,
        "readers see the pin"
    );
}
