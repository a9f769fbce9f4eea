//! What users of other tools suffered from, told again. Each is named after the report that it comes from.

use squire_engine::{
    Compacted, Directory, DirectoryOptions, Loss, TableKey,
    planner::{Ask, cleanup::CleanupPolicy, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{flights, key},
    place::{Place, rows},
    store::Verb,
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use super::{clean, days, done, forget_all_but, greedy, versions};

async fn bytes(place: &Place, part: &str) -> u64 {
    use object_store::ObjectStoreExt;
    let (store, _) = place.store().await;
    let mut bytes = 0;
    for object in place.objects(part).await {
        bytes += store
            .inner
            .head(&object.as_str().into())
            .await
            .unwrap()
            .size;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn lance_2318_a_table_that_is_written_all_day_does_not_pile_up_versions() {
    let place = Place::empty();
    let mut stranger = Stranger::create(&place.lance_uri(), "t.lance", flights(0, 5)).await;
    let directory = Directory::open(place.uri(), DirectoryOptions::default());
    let directory = directory.await.unwrap();
    let (table, stop) = (TableKey::of_directory("t"), CancellationToken::new());
    let policy = CleanupPolicy {
        min_versions: 20,
        keep_versions: 5,
        ..greedy()
    };
    let mut most = 0;
    for n in 1..100 {
        stranger.append(flights(n, 5)).await;
        let ask = Ask::default();
        directory
            .cleanup(&table, &policy, &ask, &stop)
            .await
            .unwrap();
        most = most.max(directory.versions(&table).await.unwrap().len());
    }
    assert!(most <= 25, "{most}");
    assert_eq!(stranger.dataset().count_rows(None).await.unwrap(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn aim_591_the_disk_holds_the_table_and_what_retention_explains_not_every_rewrite_ever() {
    let (place, graph) = Place::with_graph().await;
    let (table, stop) = (key("edge:Flight"), CancellationToken::new());
    let policy = CompactionPolicy::default();
    for round in 0..12 {
        days(&graph, round * 4..round * 4 + 4).await;
        let compacted = graph.compact(&table, &policy, &Ask::forced(), &stop).await;
        assert!(matches!(compacted.unwrap(), Compacted::Done(_)));
    }
    let before = bytes(&place, "Flight.lance/data/").await;
    let files = place.objects("Flight.lance/data/").await.len();
    forget_all_but(&graph, 0).await;
    let receipt = done(clean(&graph).await);
    let after = bytes(&place, "Flight.lance/data/").await;
    assert_eq!(
        place.objects("Flight.lance/data/").await.len(),
        1,
        "of {files}"
    );
    assert!(after * 4 < before, "{after} of {before} bytes");
    assert!(receipt.bytes >= before - after);
    assert!(versions(&graph).await.len() <= 3);
    assert_eq!(rows(&graph, "edge:Flight").await, 48 * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn lance_6607_a_reader_that_takes_long_is_not_robbed_of_its_files() {
    let (place, graph) = Place::with_graph().await;
    days(&graph, 0..8).await;
    let slow = graph.snapshot().await.unwrap();
    let table = slow.open(&key("edge:Flight")).await.unwrap();
    let (key, stop) = (key("edge:Flight"), CancellationToken::new());
    for n in 10..14 {
        days(&graph, n..n + 1).await;
        let policy = CompactionPolicy::default();
        graph
            .compact(&key, &policy, &Ask::forced(), &stop)
            .await
            .unwrap();
        let newest = graph.snapshot().await.unwrap().manifest().number;
        let keep = newest - slow.manifest().number;
        let retention = squire_engine::ManifestRetention::newest(keep);
        graph.collect(&retention).await.unwrap();
        let ask = Ask::forced();
        graph.cleanup(&key, &greedy(), &ask, &stop).await.unwrap();
        // It reads a little, now and then.
        let some = table.take(&[0, 50, 100, 159], table.schema().clone()).await;
        assert_eq!(some.unwrap().num_rows(), 4);
    }
    assert_eq!(table.scan().try_into_batch().await.unwrap().num_rows(), 160);
    assert!(versions(&graph).await.len() < 14);
    drop(place);
}

/// Rewrites that come too late, again and again, leave nothing: neither files nor versions.
#[tokio::test(flavor = "multi_thread")]
async fn lance_7207_rewrites_that_are_overtaken_strand_no_files() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..6).await;
    for round in 0..3 {
        let (graph, watch) = place.watched().await;
        let rewriting = watch.hold_first(Verb::Put, "Flight.lance/data/");
        let compaction = tokio::spawn(async move {
            let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
            let stop = CancellationToken::new();
            graph.compact(&table, &policy, &Ask::forced(), &stop).await
        });
        rewriting.reached().await;
        let delete = squire_engine::DeleteRequest::new().add(
            key("edge:Flight"),
            format!("day = {round} AND dest < 'D10'"),
        );
        other.delete(delete).await.unwrap();
        rewriting.open();
        assert_eq!(
            compaction.await.unwrap().unwrap(),
            Compacted::Lost(Loss::SourcesChanged)
        );
    }
    let files = place.objects("Flight.lance/data/").await;
    assert_eq!(files.len(), 6, "one for each load: {files:?}");
    forget_all_but(&other, 1).await;
    done(clean(&other).await);
    let left = place.objects("Flight.lance/data/").await.len();
    let deletions = place.objects("Flight.lance/_deletions/").await.len();
    assert_eq!((left, deletions), (6, 3));
    assert_eq!(rows(&other, "edge:Flight").await, 90);
}
