//! Tables of a graph that this build commits nothing to.

use std::time::Duration;

use squire_engine::{
    Cleaned, Compacted, Indexed,
    planner::{
        Ask,
        cleanup::{self, CleanupPolicy, Decision},
        compaction::{self, CompactionPolicy},
        indexing::{self, IndexPolicy},
    },
};
use squire_tests::{
    flights::{day, key},
    newer::as_if_a_newer_lance_had_written,
    place::{Place, rows},
    store::Request,
};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn no_physical_operation_on_a_table_that_a_newer_lance_wrote_is_begun() {
    let (place, graph) = Place::with_graph().await;
    for n in 0..4 {
        graph.load(day(n, 50)).await.unwrap();
    }
    let flight = key("edge:Flight");
    let pinned = graph.snapshot().await.unwrap().open(&flight).await.unwrap();
    as_if_a_newer_lance_had_written(&pinned).await;
    let before = place.objects("Flight.lance/").await;
    let (graph, watch) = place.watched().await;
    let (ask, stop) = (Ask::forced(), CancellationToken::new());

    let policy = CompactionPolicy::default();
    let compacted = graph.compact(&flight, &policy, &ask, &stop).await;
    let left_alone = Compacted::Skipped(compaction::Skip::Unwritable);
    assert_eq!(compacted.unwrap(), left_alone);
    let policy = IndexPolicy::default();
    let indexed = graph.index(&flight, &policy, &ask, &stop).await;
    let left_alone = Indexed::Skipped(indexing::Skip::Unwritable);
    assert_eq!(indexed.unwrap(), left_alone);
    let policy = CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions: 1,
        ..CleanupPolicy::default()
    };
    let cleaned = graph.cleanup(&flight, &policy, &ask, &stop).await;
    let left_alone = Cleaned::Skipped(cleanup::Skip::Unwritable);
    assert_eq!(cleaned.unwrap(), left_alone);
    let preview = graph.explain_cleanup(&flight, &policy, &ask).await;
    let left_alone = Decision::Skip(cleanup::Skip::Unwritable);
    assert_eq!(preview.unwrap().decision, left_alone);

    let snapshot = graph.snapshot().await.unwrap();
    let stats = snapshot.stats(&flight).await.unwrap();
    assert!(stats.unwritable.is_some());
    assert!(snapshot.manifest().queue.is_empty());
    let asked = watch.take();
    let writes = |r: &&Request| r.verb.is_write() && !r.is_squire("alive");
    let written: Vec<_> = asked.iter().filter(writes).collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(place.objects("Flight.lance/").await, before);
    assert_eq!(rows(&graph, "edge:Flight").await, 200);
}
