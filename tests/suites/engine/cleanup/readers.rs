//! Readers that hold a version while cleanup runs.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use lance::dataset::builder::DatasetBuilder;
use lance_io::object_store::ObjectStoreParams;
use squire_engine::{Cleaned, Directory, DirectoryOptions, TableKey, planner::Ask};
use squire_tests::{
    flights::{flights, key},
    place::Place,
    store::{Verb, Watch},
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use super::{clean, days, done, forget_all_but, greedy};

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A reader of a graph opens a snapshot, and is held in the middle of its files; the table is loaded, compacted and
/// cleaned up meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_kept_manifest_reads_to_the_end_while_cleanup_runs() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    let (reader, watch) = place.watched().await;
    let snapshot = reader.snapshot().await.unwrap();
    let dataset = snapshot.open(&key("edge:Flight")).await.unwrap();
    // Files' footers are kept in memory for the whole process; the rows are not.
    dataset.scan().try_into_batch().await.unwrap();
    let reading = watch.hold_first(Verb::Get, "Flight.lance/data/");
    let scan = tokio::spawn(async move {
        let batches = dataset.scan().try_into_stream().await?;
        batches.try_collect::<Vec<_>>().await
    });
    reading.reached().await;
    days(&other, 12..16).await;
    let (table, stop) = (key("edge:Flight"), CancellationToken::new());
    let policy = squire_engine::planner::compaction::CompactionPolicy::default();
    other
        .compact(&table, &policy, &Ask::forced(), &stop)
        .await
        .unwrap();
    let newest = other.snapshot().await.unwrap().manifest().number;
    forget_all_but(&other, newest - snapshot.manifest().number).await;
    done(clean(&other).await);
    reading.open();
    assert_eq!(rows(&scan.await.unwrap().unwrap()), 240);
}

/// The same in a directory: the version is tagged, or was superseded less than the retention age ago.
async fn a_directory_reader(tagged: bool) {
    let place = Place::empty();
    let root = place.lance_uri();
    let mut stranger = Stranger::create(&root, "t.lance", flights(0, 20)).await;
    for n in 1..10 {
        stranger.append(flights(n, 20)).await;
    }
    let version = stranger.version();
    if tagged {
        let tags = stranger.dataset().tags();
        tags.create("report", version).await.unwrap();
    }
    let watch = Watch::new();
    let params = ObjectStoreParams {
        object_store_wrapper: watch.wrapper(),
        ..ObjectStoreParams::default()
    };
    let dataset = DatasetBuilder::from_uri(format!("{root}/t.lance"))
        .with_store_params(params)
        .with_version(version)
        .load()
        .await
        .unwrap();
    let reading = watch.hold_first(Verb::Get, "t.lance/data/");
    let scan = tokio::spawn(async move {
        let batches = dataset.scan().try_into_stream().await?;
        batches.try_collect::<Vec<_>>().await
    });
    reading.reached().await;
    stranger.compact().await;
    stranger.append(flights(20, 20)).await;
    stranger.append(flights(21, 20)).await;
    let directory = Directory::open(place.uri(), DirectoryOptions::default());
    let directory = directory.await.unwrap();
    let mut policy = greedy();
    if !tagged {
        policy.keep_for = std::time::Duration::from_secs(3600);
    }
    let (table, stop) = (TableKey::of_directory("t"), CancellationToken::new());
    let cleaned = directory
        .cleanup(&table, &policy, &Ask::forced(), &stop)
        .await;
    assert_eq!(matches!(cleaned.unwrap(), Cleaned::Done(_)), tagged);
    reading.open();
    assert_eq!(rows(&scan.await.unwrap().unwrap()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_tagged_version_reads_to_the_end_while_cleanup_runs() {
    a_directory_reader(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_within_the_retention_age_reads_to_the_end_while_cleanup_runs() {
    a_directory_reader(false).await;
}
