//! Compaction of tables whose writers know nothing of Squire.

use squire_engine::{
    Compacted, Directory, DirectoryOptions, Error, Loss,
    planner::{
        Ask,
        compaction::{CompactionPolicy, Skip},
    },
};
use squire_tests::{
    store::{Moment, Verb, Watch},
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use crate::site::{Kind, Site, Writer, batch, compact, key, start};

/// A policy by which four fragments of a table that was just made become one, which is small no more.
async fn four_at_a_time(directory: &Directory) -> CompactionPolicy {
    let stats = directory.stats(&key("t")).await.unwrap();
    let bytes = stats.fragments[0].bytes;
    assert!(stats.fragments.iter().all(|f| f.bytes == bytes));
    CompactionPolicy {
        target_bytes: bytes * 4,
        small_bytes: bytes + 1,
        ..CompactionPolicy::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_fragments_become_one_and_what_was_compacted_is_left_alone() {
    for kind in Kind::ALL {
        let site = Site::new();
        let writer = site.table("t", kind, 20, 10).await;
        let (directory, _) = site.open().await;
        let Compacted::Done(receipt) = compact(&directory, "t").await else {
            panic!("20 small fragments are due")
        };
        assert_eq!((receipt.fragments_before, receipt.fragments_after), (20, 1));
        assert_eq!(
            receipt.manifest,
            directory.version(&key("t")).await.unwrap()
        );
        writer.check((0..200).step_by(9)).await;
        assert_eq!(
            compact(&directory, "t").await,
            Compacted::Skipped(Skip::Tidy)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_while_more_is_left_has_all_of_it_done() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 12, 100).await;
    let (directory, _) = site.open().await;
    let policy = four_at_a_time(&directory).await;
    let policy = CompactionPolicy {
        max_source_bytes: policy.target_bytes,
        ..policy
    };
    let (mut told, stop) = (Vec::new(), CancellationToken::new());
    while told.last() != Some(&false) {
        let forced = Ask::forced();
        let compacted = directory.compact(&key("t"), &policy, &forced, &stop).await;
        let Compacted::Done(receipt) = compacted.unwrap() else {
            panic!("more was left: {told:?}")
        };
        told.push(receipt.more);
    }
    assert_eq!(told, [true, true, false]);
    assert_eq!(writer.fragments().await, 3);
    let rest = directory
        .compact(&key("t"), &policy, &Ask::forced(), &stop)
        .await;
    assert!(matches!(rest, Ok(Compacted::Skipped(_))), "{rest:?}");
    writer.check(0..10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_is_committed_at_once() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 12, 100).await;
    let (directory, watch) = site.open().await;
    let policy = four_at_a_time(&directory).await;
    let second = watch.stall_past(1, Moment::Before, Verb::Put, "t.lance/data/");
    let compaction = start(&directory, "t", &policy);
    second.reached().await;
    assert_eq!(
        writer.fragments().await,
        9,
        "the first group is there already"
    );
    writer.check(0..10).await;
    second.open();
    let Compacted::Done(receipt) = compaction.await.unwrap().unwrap() else {
        panic!("nobody disturbs it")
    };
    assert_eq!(
        (
            receipt.groups,
            receipt.fragments_before,
            receipt.fragments_after
        ),
        (3, 12, 3)
    );
    writer.check([0, 600, 1199]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_is_stopped_leaves_no_file_and_keeps_what_was_committed() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let (stop, table) = (CancellationToken::new(), key("t"));
    let (policy, ask) = (CompactionPolicy::default(), Ask::forced());
    let compaction = directory.compact(&table, &policy, &ask, &stop);
    let stopped = async {
        writing.reached().await;
        stop.cancel();
        writing.open();
    };
    let (compacted, ()) = tokio::join!(compaction, stopped);
    assert!(matches!(compacted, Err(Error::Cancelled)));
    let (found, named) = site.data_files(&writer).await;
    assert_eq!(found, named);
    writer.check((0..200).step_by(9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_that_are_hot_are_left_alone() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 10, 50).await;
    let (directory, _) = site.open().await;
    let ask = Ask {
        forced: true,
        contended: [0, 9].into(),
        ..Ask::default()
    };
    let (table, policy) = (key("t"), CompactionPolicy::default());
    let stop = CancellationToken::new();
    let compacted = directory.compact(&table, &policy, &ask, &stop).await;
    let Compacted::Done(receipt) = compacted.unwrap() else {
        panic!("eight others are due")
    };
    assert_eq!((receipt.fragments_before, receipt.fragments_after), (8, 1));
    let dataset = writer.newest().await;
    let ids: Vec<_> = dataset.manifest().fragments.iter().map(|f| f.id).collect();
    assert!(ids.contains(&0) && ids.contains(&9), "{ids:?}");
    writer.check([0, 499]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_whose_source_another_rewrote_or_widened_is_lost_and_leaves_no_file() {
    for widened in [false, true] {
        let site = Site::new();
        let writer = site.table("t", Kind::default(), 4, 50).await;
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        let mut stranger = Stranger::at(&site.0.lance_uri(), "t.lance").await;
        if widened {
            stranger.add_column("extra").await;
            stranger.overwrite(batch([(1, 1)])).await;
        } else {
            stranger.compact().await;
        }
        let before = site.data_files(&writer).await;
        writing.open();
        assert_eq!(
            compaction.await.unwrap().unwrap(),
            Compacted::Lost(Loss::SourceGone)
        );
        assert_eq!(site.data_files(&writer).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_and_a_new_column_never_lose_each_others_work() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    writing.reached().await;
    let mut stranger = Stranger::at(&site.0.lance_uri(), "t.lance").await;
    stranger.add_column("extra").await;
    writing.open();
    compaction.await.unwrap().unwrap();
    let dataset = writer.newest().await;
    assert!(dataset.schema().field("extra").is_some());
    writer.check((0..200).step_by(9)).await;
    compact(&directory, "t").await;
    assert_eq!(writer.fragments().await, 1);
    writer.check((0..200).step_by(9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_compactions_of_one_handle_are_at_work_on_one_table() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 10, 50).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let first = start(&directory, "t", &CompactionPolicy::default());
    writing.reached().await;
    let second = start(&directory, "t", &CompactionPolicy::default());
    tokio::task::yield_now().await;
    writing.open();
    assert!(matches!(first.await.unwrap().unwrap(), Compacted::Done(_)));
    let second = second.await.unwrap().unwrap();
    assert_eq!(
        second,
        Compacted::Skipped(Skip::Tidy),
        "it looked afterwards"
    );
    writer.check((0..500).step_by(11)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_by_accident_on_one_table_lose_to_each_other_without_harm() {
    for kind in Kind::ALL {
        let site = Site::new();
        let mut writer = site.table("t", kind, 10, 50).await;
        let (one, watch) = site.open().await;
        let (other, _) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let late = start(&one, "t", &CompactionPolicy::default());
        writing.reached().await;
        writer.delete([7, 77]).await;
        assert!(matches!(compact(&other, "t").await, Compacted::Done(_)));
        writer.upsert([(8, -8)]).await;
        writing.open();
        assert_eq!(
            late.await.unwrap().unwrap(),
            Compacted::Lost(Loss::SourceGone)
        );
        writer.check((0..500).step_by(11)).await;
        let (found, _) = site.data_files(&writer).await;
        // Ten sources, the winner's, and the upsert's.
        assert_eq!(found.len(), 12, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_under_our_hands_is_no_failure_and_does_not_come_back() {
    for gate in [
        "t.lance/data/",
        "t.lance/_transactions/",
        "t.lance/_versions/",
    ] {
        let site = Site::new();
        site.table("t", Kind::default(), 4, 50).await;
        site.table("u", Kind::default(), 1, 5).await;
        let (directory, watch) = site.open().await;
        let held = watch.hold_first(Verb::Put, gate);
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        held.reached().await;
        let (store, root) = site.0.store().await;
        store
            .remove_dir_all(root.clone().join("t.lance"))
            .await
            .unwrap();
        held.open();
        let compacted = compaction.await.unwrap();
        assert!(
            matches!(
                &compacted,
                Err(Error::TableGone { .. }) | Ok(Compacted::Lost(_))
            ),
            "at {gate}: {compacted:?}"
        );
        assert_eq!(directory.tables().await.unwrap(), [key("u")], "at {gate}");
        let gone = directory.stats(&key("t")).await;
        assert!(
            matches!(gone, Err(Error::TableGone { .. })),
            "at {gate}: {gone:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_rewrite_of_a_table_that_is_there_takes_no_empty_folder_from_under_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", dir.path().join("t.lance").display());
    Writer::create(&uri, Kind::default(), 4, 50).await;
    let watch = Watch::new();
    let options = DirectoryOptions {
        wrapper: watch.wrapper(),
        ..DirectoryOptions::default()
    };
    let directory = Directory::open(dir.path().to_str().unwrap(), options).await;
    let directory = directory.unwrap();
    let put = watch.hold_first(Verb::Put, "t.lance/data/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    put.reached().await;
    let root = format!("file://{}", dir.path().display());
    let mut stranger = Stranger::at(&root, "t.lance").await;
    stranger.overwrite(batch([(1, 1)])).await;
    // A writer is about to put something there.
    let deletions = dir.path().join("t.lance/_deletions");
    std::fs::create_dir(&deletions).unwrap();
    put.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::SourceGone)
    );
    assert!(deletions.is_dir());
}
