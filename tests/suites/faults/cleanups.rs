//! Cleanup of a graph, for the crash matrix.

use std::time::Duration;

use squire_engine::{
    Cleaned, Graph, ManifestRetention,
    planner::{Ask, cleanup::CleanupPolicy, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{day, key},
    place::Place,
};
use tokio_util::sync::CancellationToken;

use crate::kinds::{Answer, Kind, answer};

/// Everything that nothing else keeps goes, but for so many versions.
pub(crate) fn keeping(keep_versions: usize) -> CleanupPolicy {
    CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions,
        min_versions: 1,
        ..CleanupPolicy::default()
    }
}

/// Every kind.
pub(crate) fn all() -> Vec<Kind> {
    let cleanup = Kind::on("cleanup", |graph| async move { clean(&graph).await });
    vec![cleanup.after(written_often).that_removes()]
}

async fn clean(graph: &Graph) -> Answer {
    let (table, ask, stop) = (key("edge:Flight"), Ask::default(), CancellationToken::new());
    match graph.cleanup(&table, &keeping(1), &ask, &stop).await {
        // What another process has removed needs no more.
        Ok(Cleaned::Skipped(_)) => Answer::Done,
        cleaned => answer(cleaned),
    }
}

/// A graph with versions that nobody needs: of loads and rewrites, and one with a tag.
async fn written_often(place: Place) {
    let graph = place.open().await;
    let (table, stop) = (key("edge:Flight"), CancellationToken::new());
    for round in 1..3 {
        for n in 0..2 {
            graph.load(day(round * 10 + n, 6)).await.unwrap();
        }
        let delete = squire_engine::DeleteRequest::new();
        let delete = delete.add(table.clone(), format!("day = {round} AND dest < 'D03'"));
        graph.delete(delete).await.unwrap();
        let policy = CompactionPolicy::default();
        graph
            .compact(&table, &policy, &Ask::forced(), &stop)
            .await
            .unwrap();
    }
    let uri = format!("{}/Flight.lance", place.lance_uri());
    let dataset = lance::dataset::builder::DatasetBuilder::from_uri(uri)
        .load()
        .await
        .unwrap();
    dataset.tags().create("audit", 4).await.unwrap();
    graph.load(day(40, 6)).await.unwrap();
    graph.collect(&ManifestRetention::newest(6)).await.unwrap();
}
