//! Tables of other programs.

use std::sync::Arc;

use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use squire_engine::{
    Cleaned, Directory, DirectoryOptions, Error, Kept, TableKey,
    planner::{
        Ask,
        cleanup::{CleanupPolicy, Skip},
    },
};
use squire_tests::{
    flights::flights,
    place::Place,
    store::{Moment, Verb, Watch},
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use super::{done, greedy};

/// A directory with one table of `versions` versions, of 20 rows each.
async fn with_table(versions: i32) -> (Place, Stranger) {
    let place = Place::empty();
    let mut stranger = Stranger::create(&place.lance_uri(), "t.lance", flights(0, 20)).await;
    for n in 1..versions {
        stranger.append(flights(n, 20)).await;
    }
    (place, stranger)
}

fn table() -> TableKey {
    TableKey::of_directory("t")
}

async fn open(place: &Place) -> (Directory, Watch) {
    let watch = Watch::new();
    let options = DirectoryOptions {
        wrapper: watch.wrapper(),
        ..DirectoryOptions::default()
    };
    (Directory::open(place.uri(), options).await.unwrap(), watch)
}

async fn clean(directory: &Directory, policy: &CleanupPolicy) -> Cleaned {
    let stop = CancellationToken::new();
    let (table, ask) = (table(), Ask::default());
    let cleaned = directory.cleanup(&table, policy, &ask, &stop);
    cleaned.await.unwrap()
}

async fn versions(directory: &Directory) -> Vec<u64> {
    let versions = directory.versions(&table()).await.unwrap();
    versions.into_iter().map(|v| v.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_stay_and_the_table_is_what_it_was() {
    let (place, mut stranger) = with_table(12).await;
    let (directory, _) = open(&place).await;
    let policy = CleanupPolicy {
        keep_versions: 3,
        ..greedy()
    };
    let receipt = done(clean(&directory, &policy).await);
    assert_eq!(receipt.versions, 9);
    assert_eq!(versions(&directory).await, [10, 11, 12]);
    assert_eq!(stranger.dataset().count_rows(None).await.unwrap(), 240);
    stranger.append(flights(30, 20)).await;
    assert_eq!(versions(&directory).await, [10, 11, 12, 13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_are_no_reason_and_young_ones_never_go() {
    let (place, _stranger) = with_table(12).await;
    let (directory, _) = open(&place).await;
    let few = CleanupPolicy {
        min_versions: 12,
        ..greedy()
    };
    assert_eq!(
        clean(&directory, &few).await,
        Cleaned::Skipped(Skip::BelowThreshold)
    );
    let young = CleanupPolicy {
        keep_for: std::time::Duration::from_secs(3600),
        ..greedy()
    };
    assert_eq!(
        clean(&directory, &young).await,
        Cleaned::Skipped(Skip::Retained)
    );
    assert_eq!(versions(&directory).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_branches_keep_what_they_name_and_a_preview_says_so_and_writes_nothing() {
    let (place, mut stranger) = with_table(8).await;
    stranger.dataset().tags().create("v3", 3).await.unwrap();
    let mut main = stranger.dataset().clone();
    let mut branch = main.create_branch("try", 5, None).await.unwrap();
    for n in 8..12 {
        stranger.append(flights(n, 20)).await;
    }
    let (directory, watch) = open(&place).await;
    let before = place.objects("").await;
    let preview = directory
        .explain_cleanup(&table(), &greedy(), &Ask::default())
        .await
        .unwrap();
    let asked = watch.take();
    assert!(asked.iter().all(|r| !r.verb.is_write()), "{asked:?}");
    assert_eq!(place.objects("").await, before);
    for kept in [
        Kept::Tag {
            name: "v3".to_owned(),
            version: 3,
        },
        Kept::Branch {
            name: "try".to_owned(),
            version: 5,
        },
    ] {
        assert!(preview.kept.contains(&kept), "{preview:?}");
    }
    let receipt = done(clean(&directory, &greedy()).await);
    assert_eq!(versions(&directory).await, [3, 5, 12]);
    assert_eq!(
        (receipt.versions, receipt.bytes),
        (preview.goes.versions, preview.goes.bytes)
    );
    let tagged = stranger.dataset().checkout_version("v3").await.unwrap();
    assert_eq!(tagged.count_rows(None).await.unwrap(), 60);
    branch.checkout_latest().await.unwrap();
    let batches = branch.scan().try_into_batch().await.unwrap();
    assert_eq!(batches.num_rows(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_has_staged_meanwhile_can_be_committed_after_a_cleanup() {
    let (place, mut stranger) = with_table(6).await;
    let params = WriteParams {
        mode: WriteMode::Append,
        ..WriteParams::default()
    };
    let at = Arc::new(stranger.dataset().clone());
    let staged = InsertBuilder::new(at.clone())
        .with_params(&params)
        .execute_uncommitted(vec![flights(20, 20)])
        .await
        .unwrap();
    stranger.append(flights(21, 20)).await;
    let (directory, _) = open(&place).await;
    let policy = CleanupPolicy {
        keep_versions: 2,
        ..greedy()
    };
    done(clean(&directory, &policy).await);
    let committed = CommitBuilder::new(at).execute(staged).await.unwrap();
    assert_eq!(committed.count_rows(None).await.unwrap(), 160);
    let rows = committed.scan().try_into_batch().await.unwrap();
    assert_eq!(rows.num_rows(), 160, "its files are there");
}

/// Cleanup has looked, and stands still; the table is dropped and made anew, with the old numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_while_cleanup_looks_loses_nothing() {
    let (place, _stranger) = with_table(12).await;
    let (directory, watch) = open(&place).await;
    // One list tells whether the table may be worked on, one its newest version, one all versions, and one whether it is
    // a clone; then Lance begins.
    let begins = watch.stall_past(4, Moment::Before, Verb::List, "t.lance/_versions");
    let cleanup = tokio::spawn(async move {
        let stop = CancellationToken::new();
        let ask = Ask::default();
        directory.cleanup(&table(), &greedy(), &ask, &stop).await
    });
    begins.reached().await;
    let anew = made_anew(&place).await;
    let before = place.objects("t.lance/").await;
    begins.open();
    // Whether it fails or finds nothing to do makes no difference.
    let _ = cleanup.await.unwrap();
    assert_eq!(place.objects("t.lance/").await, before);
    assert_eq!(anew.dataset().count_rows(None).await.unwrap(), 40);
}

/// Drops the table and makes another of its name, with the old numbers and forty rows.
async fn made_anew(place: &Place) -> Stranger {
    let (store, _) = place.store().await;
    for object in place.objects("t.lance/").await {
        use object_store::ObjectStoreExt;
        store.inner.delete(&object.as_str().into()).await.unwrap();
    }
    let mut anew = Stranger::create(&place.lance_uri(), "t.lance", flights(0, 20)).await;
    anew.append(flights(1, 20)).await;
    anew
}

/// The first files are on their way to the store; the table is dropped and made anew, with the old numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_while_its_files_go_loses_nothing() {
    let (place, mut stranger) = with_table(30).await;
    stranger.overwrite(flights(99, 20)).await;
    let (directory, watch) = open(&place).await;
    let deleting = watch.hold(Verb::Delete, "t.lance/");
    let cleanup = tokio::spawn(async move {
        let stop = CancellationToken::new();
        let ask = Ask::default();
        directory.cleanup(&table(), &greedy(), &ask, &stop).await
    });
    deleting.reached().await;
    let anew = made_anew(&place).await;
    let before = place.objects("t.lance/").await;
    deleting.open();
    let ended = cleanup.await.unwrap();
    assert!(
        matches!(ended, Err(Error::TableReplaced { .. })),
        "{ended:?}"
    );
    assert_eq!(place.objects("t.lance/").await, before);
    let rows = anew.dataset().scan().try_into_batch().await.unwrap();
    assert_eq!(rows.num_rows(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_table_whose_files_a_shallow_clone_reads_one_version_with_them_stays() {
    let (place, mut stranger) = with_table(6).await;
    let uri = format!("{}/clone.lance", place.lance_uri());
    let mut source = stranger.dataset().clone();
    let cloned = source.shallow_clone(&uri, 3_u64, None).await.unwrap();
    stranger.overwrite(flights(30, 20)).await;
    let (directory, _) = open(&place).await;
    let (key, policy, ask) = (table(), greedy(), Ask::default());
    let preview = directory.explain_cleanup(&key, &policy, &ask);
    let kept = Kept::Clone {
        table: TableKey::of_directory("clone"),
        versions: Some(vec![6]),
    };
    assert!(preview.await.unwrap().kept.contains(&kept));
    assert_eq!(done(clean(&directory, &greedy()).await).versions, 5);
    assert_eq!(versions(&directory).await, [6, 7]);
    let rows = cloned.scan().try_into_batch().await.unwrap();
    assert_eq!(rows.num_rows(), 60, "its files are there");
    // The clone itself is nobody's source.
    let stop = CancellationToken::new();
    let clone = TableKey::of_directory("clone");
    let mut writer = Stranger::at(&place.lance_uri(), "clone.lance").await;
    writer.append(flights(31, 20)).await;
    let ask = Ask::default();
    let cleaned = directory.cleanup(&clone, &greedy(), &ask, &stop).await;
    assert_eq!(done(cleaned.unwrap()).versions, 1);
    assert_eq!(
        writer
            .dataset()
            .scan()
            .try_into_batch()
            .await
            .unwrap()
            .num_rows(),
        80
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_taken_off_its_catalog_is_not_cleaned() {
    let (place, _stranger) = with_table(6).await;
    let (directory, _) = open(&place).await;
    let (store, root) = place.store().await;
    let marker = root.join("t.lance").join(".lance-deregistered");
    object_store::ObjectStoreExt::put(&store.inner, &marker, "".into())
        .await
        .unwrap();
    let before = place.objects("").await;
    let stop = CancellationToken::new();
    let (table, ask) = (table(), Ask::default());
    let cleaned = directory.cleanup(&table, &greedy(), &ask, &stop).await;
    assert!(
        matches!(cleaned, Err(Error::TableGone { .. })),
        "{cleaned:?}"
    );
    assert_eq!(place.objects("").await, before);
}
