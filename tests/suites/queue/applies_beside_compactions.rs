//! Schema applies and compactions that meet: the apply never waits for a rewrite, and never fails because of one; the
//! compaction waits, and goes on over the new layout. In one process, and in two.

use fail::FailScenario;
use squire_engine::{
    Compacted, Error, Graph, Receipt, SchemaRequest, failpoint,
    manifest::OperationKind,
    planner::{Ask, compaction::CompactionPolicy},
    schema::Schema,
};
use squire_tests::{
    flights::{SCHEMA, key},
    patience::PATIENCE,
    place::{Place, rows},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{fill, held::Held, process::Site};

const NOTED: (&str, &str) = ("day = \"int32\"\n", "day = \"int32\"\nnote = \"string\"\n");
const WIDER: (&str, &str) = ("day = \"int32\"\n", "day = \"int64\"\n");

fn wanted((from, to): (&str, &str)) -> String {
    assert!(SCHEMA.contains(from));
    SCHEMA.replace(from, to)
}

fn apply(graph: &Graph, change: (&str, &str)) -> JoinHandle<Result<Receipt, Error>> {
    let schema = Schema::parse(&wanted(change), "wanted.toml").unwrap();
    let graph = graph.clone();
    tokio::spawn(async move { graph.apply_schema(SchemaRequest::new(schema)).await })
}

fn compact(graph: &Graph, table: &str) -> JoinHandle<Result<Compacted, Error>> {
    let (graph, table) = (graph.clone(), key(table));
    tokio::spawn(async move {
        let (policy, stop) = (CompactionPolicy::default(), CancellationToken::new());
        graph.compact(&table, &policy, &Ask::forced(), &stop).await
    })
}

/// A graph to compact, through two handles: each has its own place in every queue. With it, the failpoints of this
/// process are this test's.
async fn filled() -> (FailScenario<'static>, Graph, Graph) {
    let scenario = FailScenario::setup();
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    (scenario, graph, place.open().await)
}

async fn fragments(graph: &Graph) -> usize {
    let snapshot = graph.snapshot().await.unwrap();
    let stats = snapshot.stats(&key("edge:Flight")).await.unwrap();
    stats.fragments.len()
}

async fn columns(graph: &Graph) -> Vec<String> {
    let snapshot = graph.snapshot().await.unwrap();
    let flights = snapshot.open(&key("edge:Flight")).await.unwrap();
    let fields = flights.schema().fields.iter();
    fields
        .map(|f| format!("{}: {}", f.name, f.data_type()))
        .collect()
}

async fn goes_through(apply: JoinHandle<Result<Receipt, Error>>) {
    let applied = timeout(PATIENCE, apply).await;
    applied.expect("it waits for nobody").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_of_an_untouched_table_neither_fails_nor_delays_a_schema_apply() {
    for point in [
        failpoint::BEFORE_REWRITE,
        failpoint::AFTER_REWRITE,
        failpoint::BEFORE_COMMIT,
        failpoint::AFTER_COMMIT,
    ] {
        let (_scenario, graph, other) = filled().await;
        let held = Held::first_at(point);
        let compaction = compact(&other, "node:Plane");
        held.came().await;
        goes_through(apply(&graph, NOTED)).await;
        assert!(!compaction.is_finished(), "it stands at {point}");
        drop(held);
        let compacted = compaction.await.unwrap().unwrap();
        assert!(
            matches!(compacted, Compacted::Done(_)),
            "{point}: {compacted:?}"
        );
        assert!(columns(&graph).await.contains(&"note: Utf8".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_of_a_touched_table_waits_behind_the_apply_and_then_runs_over_the_new_layout()
{
    for (change, column) in [(NOTED, "note: Utf8"), (WIDER, "day: Int64")] {
        let (_scenario, graph, other) = filled().await;
        // Its ticket waits in the queue; nothing is decided yet.
        let held = Held::first_at(failpoint::AFTER_SIDECAR_CREATE);
        let applying = apply(&graph, change);
        held.came().await;
        let mut waiting = other.waiting();
        let compaction = compact(&other, "edge:Flight");
        let waits = timeout(PATIENCE, waiting.wait_for(|waits| !waits.is_empty())).await;
        let ahead = waits.unwrap().unwrap()[0].ahead.kind;
        assert_eq!(ahead, OperationKind::SchemaApply);
        assert!(!compaction.is_finished());
        drop(held);
        applying.await.unwrap().unwrap();
        // A cast wrote the files of its sources anew: then it is planned over them.
        let mut compacted = compaction.await.unwrap().unwrap();
        if matches!(compacted, Compacted::Lost(_)) {
            assert_eq!(change, WIDER);
            compacted = compact(&other, "edge:Flight").await.unwrap().unwrap();
        }
        assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
        assert_eq!(
            (fragments(&graph).await, rows(&graph, "edge:Flight").await),
            (1, 30)
        );
        assert!(columns(&graph).await.contains(&column.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_apply_does_not_wait_for_the_rewrite_of_a_compaction_of_its_table() {
    for point in [failpoint::BEFORE_REWRITE, failpoint::AFTER_REWRITE] {
        for change in [NOTED, WIDER] {
            let (_scenario, graph, other) = filled().await;
            let held = Held::first_at(point);
            let compaction = compact(&other, "edge:Flight");
            held.came().await;
            goes_through(apply(&graph, change)).await;
            assert!(!compaction.is_finished(), "it stands at {point}");
            drop(held);
            let compacted = compaction.await.unwrap().unwrap();
            assert!(
                matches!(compacted, Compacted::Done(_)) || change == WIDER,
                "{compacted:?}"
            );
            assert_eq!(rows(&graph, "edge:Flight").await, 30);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_compacts_an_untouched_table_neither_fails_nor_delays_a_schema_apply()
{
    for point in [failpoint::AFTER_REWRITE, failpoint::BEFORE_COMMIT] {
        let (site, graph) = Site::new().await;
        let schema = site.write("wanted.toml", &wanted(NOTED));
        let mut compacts = site.start(&["compact", "graph", "Plane"], point);
        compacts.reaches(point).await;
        let applies = site.run(&["schema", "apply", "graph", &schema]);
        let (code, said) = timeout(PATIENCE, applies.ends()).await.unwrap();
        assert_eq!(code, Some(0), "{point}: {said}");
        compacts.go_on();
        let (code, said) = compacts.ends().await;
        assert!(code == Some(0) && said.contains("rewritten"), "{said}");
        assert!(columns(&graph).await.contains(&"note: Utf8".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_compacts_a_touched_table_waits_behind_the_apply_and_then_runs() {
    let (site, graph) = Site::new().await;
    let schema = site.write("wanted.toml", &wanted(NOTED));
    let mut applies = site.start(
        &["schema", "apply", "graph", &schema],
        failpoint::AFTER_SIDECAR_CREATE,
    );
    applies.reaches(failpoint::AFTER_SIDECAR_CREATE).await;
    let mut compacts = site.run(&["compact", "graph", "Flight"]);
    compacts.tells("waiting for SchemaApply ").await;
    applies.go_on();
    let (code, said) = applies.ends().await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = compacts.ends().await;
    assert!(code == Some(0) && said.contains("rewritten"), "{said}");
    assert_eq!(
        (fragments(&graph).await, rows(&graph, "edge:Flight").await),
        (1, 30)
    );
    assert!(columns(&graph).await.contains(&"note: Utf8".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_apply_does_not_wait_for_the_rewrite_of_another_process() {
    let (site, graph) = Site::new().await;
    let schema = site.write("wanted.toml", &wanted(NOTED));
    let mut compacts = site.start(&["compact", "graph", "Flight"], failpoint::AFTER_REWRITE);
    compacts.reaches(failpoint::AFTER_REWRITE).await;
    let applies = site.run(&["schema", "apply", "graph", &schema]);
    let (code, said) = timeout(PATIENCE, applies.ends()).await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    compacts.go_on();
    let (code, said) = compacts.ends().await;
    assert!(code == Some(0) && said.contains("rewritten"), "{said}");
    assert_eq!(rows(&graph, "edge:Flight").await, 30);
    assert!(columns(&graph).await.contains(&"note: Utf8".to_owned()));
}
