//! Old versions: which go, which stay, and that nobody who was promised one misses it.

mod beside;
mod clones;
mod directory;
mod disk;
mod graph;
mod histories;
mod readers;
mod scenarios;
mod walls;

use std::time::Duration;

use squire_engine::{
    Cleaned, CleanupReceipt, Graph, ManifestRetention,
    planner::{Ask, cleanup::CleanupPolicy},
};
use squire_tests::flights::{day, key};
use tokio_util::sync::CancellationToken;

/// Everything that nothing else keeps goes, but for the newest version.
fn greedy() -> CleanupPolicy {
    CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions: 1,
        min_versions: 1,
        ..CleanupPolicy::default()
    }
}

/// Cleans the flights up.
async fn clean(graph: &Graph) -> Cleaned {
    let (table, stop) = (key("edge:Flight"), CancellationToken::new());
    let (policy, ask) = (greedy(), Ask::default());
    let cleaned = graph.cleanup(&table, &policy, &ask, &stop).await;
    cleaned.unwrap()
}

/// The receipt of a cleanup that did something.
fn done(cleaned: Cleaned) -> CleanupReceipt {
    match cleaned {
        Cleaned::Done(receipt) => receipt,
        Cleaned::Skipped(skip) => panic!("it was left alone: {skip}"),
    }
}

/// Loads these days of flights, one after another.
async fn days(graph: &Graph, days: std::ops::Range<i32>) {
    for n in days {
        graph.load(day(n, 20)).await.unwrap();
    }
}

/// Keeps the newest manifests alone.
async fn forget_all_but(graph: &Graph, manifests: u64) {
    let retention = ManifestRetention::newest(manifests);
    assert!(graph.collect(&retention).await.unwrap() > 0);
}

/// The versions of the flights, by number.
async fn versions(graph: &Graph) -> Vec<u64> {
    let versions = graph.versions(&key("edge:Flight")).await.unwrap();
    versions.into_iter().map(|v| v.version).collect()
}
