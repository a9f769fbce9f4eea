//! Many writers at once, and processes that die: whatever happens, the table holds what its writers left in it.

use std::sync::Arc;

use squire_engine::{
    Compacted, Directory, DirectoryOptions, Error,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    fault::{Counts, Fault, Faulty},
    wrapped::Request,
};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::site::{Kind, Model, Site, Writer, compact, key, start};

/// The commits of Lance's own `file://` and ours exclude each other: both create the next version if it is absent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_commits_on_a_local_disk_none_is_lost_whoever_makes_them() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", dir.path().join("t.lance").display());
    let writer = Writer::create(&uri, Kind::default(), 12, 10).await;
    let start_line = Arc::new(Barrier::new(4));
    let mut writers = Vec::new();
    for n in 1..=2_i64 {
        let (mut writer, start_line) = (writer.clone(), start_line.clone());
        writers.push(tokio::spawn(async move {
            start_line.wait().await;
            let mut added = Model::new();
            for m in 0..15 {
                let row = (n * 1_000 + m, m);
                writer.append([row]).await;
                added.insert(row.0, row.1);
            }
            added
        }));
    }
    let mut daemons = Vec::new();
    for _ in 0..2 {
        let options = DirectoryOptions::default();
        let directory = Directory::open(dir.path().to_str().unwrap(), options)
            .await
            .unwrap();
        let start_line = start_line.clone();
        daemons.push(tokio::spawn(async move {
            start_line.wait().await;
            let mut done = 0;
            for _ in 0..8 {
                let stop = CancellationToken::new();
                let (policy, ask) = (CompactionPolicy::default(), Ask::forced());
                let compacted = directory.compact(&key("t"), &policy, &ask, &stop).await;
                done += u32::from(matches!(compacted.unwrap(), Compacted::Done(_)));
            }
            done
        }));
    }
    let mut expected = writer.clone();
    for writer in writers {
        expected.model.extend(writer.await.unwrap());
    }
    let mut done = 0;
    for daemon in daemons {
        done += daemon.await.unwrap();
    }
    assert!(done > 0, "some rewrites came through");
    expected.check([0, 1_000, 2_014]).await;
    // Every version is there: no commit overwrote another's.
    let version = expected.newest().await.manifest().version;
    let versions = std::fs::read_dir(dir.path().join("t.lance/_versions")).unwrap();
    let manifests = versions.filter(|v| {
        let name = v.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".manifest")
    });
    assert_eq!(manifests.count() as u64, version);
}

/// Appends, upserts and deletes, each of rows of its own, while two handles compact as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_compact_one_table_beside_three_writers_and_every_row_is_as_it_was_left() {
    for kind in Kind::ALL {
        let site = Site::new();
        let base = site.table("t", kind, 6, 60).await;
        let stop = CancellationToken::new();
        let mut daemons = Vec::new();
        for _ in 0..2 {
            let (directory, _) = site.open().await;
            let stop = stop.clone();
            daemons.push(tokio::spawn(async move {
                let mut done = 0;
                while !stop.is_cancelled() {
                    done += u32::from(matches!(compact(&directory, "t").await, Compacted::Done(_)));
                }
                done
            }));
        }
        let writers = [0_i64, 1, 2].map(|rest| {
            let mut writer = base.clone();
            tokio::spawn(async move {
                writer.model.retain(|id, _| id % 3 == rest);
                for n in 0..4 {
                    let (some, new) = (rest + 30 * n, 3 * (1_000 + n) + rest);
                    writer.upsert([(some, -some), (new, new)]).await;
                    writer.delete([some + 3, some + 120]).await;
                    writer.append([(new + 3_000, n)]).await;
                }
                writer.model
            })
        });
        let mut expected = base.clone();
        expected.model.clear();
        for writer in writers {
            expected.model.extend(writer.await.unwrap());
        }
        stop.cancel();
        let mut done = 0;
        for daemon in daemons {
            done += daemon.await.unwrap();
        }
        assert!(done > 0, "some rewrites came through");
        expected.check((0..360).step_by(15)).await;
    }
}

/// A table with late work to do: some rows deleted, and deleted again while it is rewritten.
async fn worn(site: &Site) -> Writer {
    let mut writer = site.table("t", Kind::ALL[1], 3, 20).await;
    writer.delete([3, 23]).await;
    writer
}

async fn open(site: &Site, faulty: &Faulty) -> Directory {
    let options = DirectoryOptions {
        wrapper: faulty.wrapper(),
        ..DirectoryOptions::default()
    };
    Directory::open(site.0.uri(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_dies_or_goes_wrong_at_any_write_leaves_a_sound_table() {
    let site = Site::new();
    worn(&site).await;
    let faulty = Faulty::never(Counts::Operations);
    let compacted = compact(&open(&site, &faulty).await, "t").await;
    assert!(matches!(compacted, Compacted::Done(_)));
    let writes: Vec<Request> = faulty.writes();
    assert!(writes.len() >= 3, "data, transaction, version: {writes:?}");
    for (n, write) in writes.iter().enumerate() {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::Unknown] {
            let site = Site::new();
            let mut writer = worn(&site).await;
            let faulty = Faulty::at(Counts::Operations, n, fault);
            let directory = open(&site, &faulty).await;
            let mut compaction = start(&directory, "t", &CompactionPolicy::default());
            let what = format!("{fault:?} at {:?} {}", write.verb, write.path);
            tokio::select! {
                compacted = &mut compaction => match compacted.unwrap() {
                    Ok(Compacted::Done(_) | Compacted::Lost(_)) | Err(Error::Lance { .. } | Error::Store { .. } | Error::OutcomeUnknown { .. }) => {}
                    other => panic!("{what}: {other:?}"),
                },
                () = faulty.struck(), if fault != Fault::Unknown => compaction.abort(),
            }
            assert!(faulty.has_struck(), "{what}");
            writer.check([0, 3, 25, 59]).await;
            writer.delete([4, 30]).await;
            writer.upsert([(5, -5), (100, 100)]).await;
            let (next, _) = site.open().await;
            compact(&next, "t").await;
            writer.check([0, 4, 5, 30, 59, 100]).await;
            assert!(writer.fragments().await <= 2, "{what}");
        }
    }
}
