//! Late deletions: what writers delete and update while Squire rewrites stays deleted and updated, and no rewrite is
//! lost to it.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};
use squire_engine::{Compacted, planner::compaction::CompactionPolicy};
use squire_tests::store::{Moment, Verb};

use crate::site::{Kind, Site, Writer, compact, start};

/// What a writer does.
#[derive(Clone, Debug)]
enum Act {
    /// Adds so many rows.
    Append(u8),
    /// Deletes the rows whose ids have this rest by this number.
    Delete(i64, i64),
    /// Updates those, and inserts a new row.
    Upsert(i64, i64),
}

fn act() -> impl Strategy<Value = Act> {
    let rest = || (2..12_i64).prop_flat_map(|by| (Just(by), 0..by));
    prop_oneof![
        (1..20_u8).prop_map(Act::Append),
        rest().prop_map(|(by, is)| Act::Delete(by, is)),
        rest().prop_map(|(by, is)| Act::Upsert(by, is)),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 0..4)
}

/// Does it; new rows get ids that nobody had, updated ones a new value.
async fn perform(writer: &mut Writer, acts: &[Act], stamp: &mut i64) {
    for act in acts {
        *stamp += 1;
        let new = 1_000_000 * *stamp;
        let some = |writer: &Writer, by: i64, is: i64| -> Vec<i64> {
            let ids = writer.model.keys().copied();
            ids.filter(|id| id % by == is).collect()
        };
        match *act {
            Act::Append(rows) => {
                writer
                    .append((0..i64::from(rows)).map(|n| (new + n, n)))
                    .await
            }
            Act::Delete(by, is) => {
                let ids = some(writer, by, is);
                writer.delete(ids).await;
            }
            Act::Upsert(by, is) => {
                let ids = some(writer, by, is);
                let value = -*stamp;
                let rows = ids.into_iter().chain([new]).map(|id| (id, value));
                writer.upsert(rows).await;
            }
        }
    }
}

/// A table with some history, rewritten while a writer is at work: acts fall before the read, between the read and the
/// look at the head, and between that and the commit.
async fn story(kind: Kind, before: &[Act], while_read: &[Act], while_committed: &[Act]) {
    let site = Site::new();
    let mut writer = site.table("t", kind, 5, 40).await;
    let mut stamp = 0;
    perform(&mut writer, before, &mut stamp).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let committing = watch.hold_first(Verb::Put, "t.lance/_transactions/");
    let sources = writer.fragments().await;
    let mut compaction = start(&directory, "t", &CompactionPolicy::default());
    if sources < 2 {
        // Nothing to rewrite, or nothing but deleted rows.
        writing.open();
        committing.open();
        compaction.await.unwrap().unwrap();
        return writer.check(writer.model.clone().into_keys()).await;
    }
    let known: Vec<_> = writer.model.keys().copied().collect();
    writing.reached().await;
    perform(&mut writer, while_read, &mut stamp).await;
    writing.open();
    // A rewrite of which no row is left by now comes to no commit.
    let ended = tokio::select! {
        () = committing.reached() => None,
        ended = &mut compaction => Some(ended),
    };
    perform(&mut writer, while_committed, &mut stamp).await;
    let row_ids = kind.stable_row_ids.then_some(writer.row_ids().await);
    committing.open();
    let compacted = match ended {
        Some(ended) => ended.unwrap().unwrap(),
        None => compaction.await.unwrap().unwrap(),
    };
    let survivors = known
        .iter()
        .filter(|id| writer.model.get(id) == Some(*id))
        .count();
    match compacted {
        Compacted::Done(receipt) => assert!(receipt.fragments_before > 1, "{receipt:?}"),
        lost => assert_eq!(
            survivors, 0,
            "a rewrite with rows left is not given up: {lost:?}"
        ),
    }
    let asked = known.into_iter().chain(writer.model.clone().into_keys());
    let asked: BTreeSet<_> = asked.collect();
    writer.check(asked.into_iter().step_by(7)).await;
    if let Some(row_ids) = row_ids {
        assert_eq!(
            writer.row_ids().await,
            row_ids,
            "a rewrite gives no row another id"
        );
    }
    let (found, named) = site.deletion_files(&writer).await;
    assert!(named.is_subset(&found), "{named:?} of {found:?}");
    // What comes next meets a sound table.
    perform(
        &mut writer,
        &[Act::Upsert(3, 1), Act::Delete(5, 2), Act::Append(3)],
        &mut stamp,
    )
    .await;
    compact(&directory, "t").await;
    writer.check(writer.model.clone().into_keys().take(5)).await;
}

fn property(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 8,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(acts(), acts(), acts()), |(before, read, committed)| {
            runtime.block_on(story(kind, &before, &read, &committed));
            Ok(())
        })
        .unwrap();
}

#[test]
fn whatever_writers_do_during_a_rewrite_every_row_is_as_they_left_it() {
    property(Kind::ALL[0]);
}

#[test]
fn whatever_writers_do_during_a_rewrite_an_index_finds_every_row_and_no_other() {
    property(Kind::ALL[1]);
}

#[test]
fn whatever_writers_do_during_a_rewrite_rows_keep_their_stable_ids() {
    property(Kind::ALL[2]);
}

#[test]
fn whatever_writers_do_during_a_rewrite_an_index_over_stable_ids_finds_every_row_and_no_other() {
    property(Kind::ALL[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_of_which_no_row_is_left_is_given_up_whoever_took_them_and_when() {
    let evens = [Act::Delete(2, 0)];
    let odds = [Act::Upsert(2, 1)];
    let all = [Act::Delete(2, 0), Act::Upsert(2, 1)];
    for kind in Kind::ALL {
        story(kind, &[], &all, &[]).await;
        story(kind, &evens, &odds, &[]).await;
        story(kind, &[], &evens, &odds).await;
        story(kind, &[], &[], &all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_deletions_are_carried_over_and_counted() {
    for kind in Kind::ALL {
        let site = Site::new();
        let mut writer = site.table("t", kind, 4, 50).await;
        writer.delete([3, 60]).await;
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        writer.delete([5, 199]).await;
        writer.upsert([(7, -7), (500, 500)]).await;
        writing.open();
        let Compacted::Done(receipt) = compaction.await.unwrap().unwrap() else {
            panic!("late deletions are no reason to lose a rewrite")
        };
        assert_eq!((receipt.fragments_before, receipt.fragments_after), (4, 1));
        assert_eq!(receipt.carried, 3, "two deleted, one updated");
        writer.check((0..200).step_by(5)).await;
        assert_eq!(writer.fragments().await, 2, "the new one, and the upsert's");
        let (found, named) = site.data_files(&writer).await;
        let stale = found.difference(&named).count();
        assert_eq!(stale, 4, "only what older versions need is left: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_between_the_look_at_the_head_and_the_commit_costs_no_rewrite() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::ALL[1], 4, 50).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let committing = watch.hold_first(Verb::Put, "t.lance/_versions/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    writing.reached().await;
    writer.delete([10]).await;
    writing.open();
    committing.reached().await;
    writer.delete([20, 21]).await;
    watch.take();
    committing.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(
        matches!(&compacted, Compacted::Done(r) if r.carried == 3),
        "{compacted:?}"
    );
    let data = watch.take();
    let data = data
        .iter()
        .filter(|r| r.path.contains("/data/") && r.verb == Verb::Put);
    assert_eq!(data.count(), 0, "nothing is rewritten again");
    writer.check((0..200).step_by(5)).await;
    let (found, named) = site.deletion_files(&writer).await;
    let ours = |files: &BTreeSet<String>| -> Vec<String> {
        let new = |f: &&String| {
            !["0-", "1-", "2-", "3-"]
                .iter()
                .any(|old| f.starts_with(old))
        };
        files.iter().filter(new).cloned().collect()
    };
    assert_eq!(
        ours(&found),
        ours(&named),
        "the deletion file of the lost attempt is gone"
    );
}

/// A writer that is faster costs a look at what it left, and the deletion files that it changed: never a look at all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_attempt_to_commit_reads_only_the_deletions_that_came_since() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::ALL[1], 12, 10).await;
    writer.delete((0..120).step_by(10)).await;
    let (directory, watch) = site.open().await;
    let committing = watch.hold_first(Verb::Put, "t.lance/_versions/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    committing.reached().await;
    writer.delete([21, 31]).await;
    watch.take();
    committing.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(
        matches!(&compacted, Compacted::Done(r) if r.carried == 2),
        "{compacted:?}"
    );
    let requests = watch.take();
    let of = |verb: Verb, part: &str| -> usize {
        let of = requests
            .iter()
            .filter(|r| r.verb == verb && r.path.contains(part));
        of.count()
    };
    assert_eq!(of(Verb::Get, "/_deletions/"), 2, "{requests:#?}");
    assert_eq!(of(Verb::Put, "/_deletions/"), 1, "{requests:#?}");
    assert_eq!(of(Verb::Get, "/data/"), 0, "{requests:#?}");
    // To see that the commit was not too late: the head is counted on to, and what came after it is asked for by name.
    assert_eq!(of(Verb::List, ""), 1, "{requests:#?}");
    writer.check((1..120).step_by(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_late_deletions_are_carried_over_whatever_form_their_files_have() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::default(), 2, 20_000).await;
    writer.delete((0..40_000).filter(|id| id % 5 == 0)).await;
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    writing.reached().await;
    // More than Lance keeps as an array.
    writer.delete((0..40_000).filter(|id| id % 2 == 1)).await;
    writer.delete([2]).await;
    writing.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(
        matches!(&compacted, Compacted::Done(r) if r.carried == 16_001),
        "{compacted:?}"
    );
    writer.check([1, 2, 3, 4, 5, 6, 39_998, 39_999]).await;
    let (_, named) = site.deletion_files(&writer).await;
    assert!(named.iter().all(|f| f.ends_with(".bin")), "{named:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_every_row_is_deleted_meanwhile_is_no_loss() {
    for kind in Kind::ALL {
        let site = Site::new();
        let mut writer = site.table("t", kind, 4, 10).await;
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        writer.append([(100, 100)]).await;
        writer.delete(10..20).await;
        writer.upsert((20..30).map(|id| (id, -id))).await;
        writing.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert!(
            matches!(&compacted, Compacted::Done(r) if r.carried == 20),
            "{compacted:?}"
        );
        writer.check(0..41).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_delete_meets_the_new_layout_finds_its_rows_there() {
    for kind in Kind::ALL {
        let site = Site::new();
        let mut writer = site.table("t", kind, 4, 50).await;
        let (directory, watch) = site.open().await;
        let committed = watch.hold_at(Moment::After, Verb::Put, "t.lance/_versions/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        committed.reached().await;
        writer.delete([1, 51, 101, 151]).await;
        writer.upsert([(2, -2), (152, -152)]).await;
        committed.open();
        assert!(matches!(
            compaction.await.unwrap().unwrap(),
            Compacted::Done(_)
        ));
        writer.check((0..200).step_by(5)).await;
    }
}
