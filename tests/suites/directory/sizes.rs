//! Sizes: of files that no manifest tells, of large values beside the rows, and of rows in memory.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int64Array, LargeBinaryArray, RecordBatch, RecordBatchIterator},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use futures::TryStreamExt;
use lance::{
    Dataset,
    dataset::{InsertBuilder, WriteMode, WriteParams, builder::DatasetBuilder},
};
use lance_file::version::LanceFileVersion;
use lance_table::io::commit::write_manifest_file_to_path;
use squire_engine::{
    Compacted,
    planner::compaction::{CompactionPolicy, Skip, Verify},
};
use squire_tests::store::{Request, Verb};

use crate::{
    blobs,
    site::{Kind, Site, compact, key, start},
};

/// Makes the newest manifest as an old writer would have: without a size of any file.
async fn forget_sizes(site: &Site, uri: &str) {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let mut manifest = dataset.manifest().clone();
    let mut fragments = manifest.fragments.to_vec();
    for file in fragments.iter_mut().flat_map(|f| &mut f.files) {
        file.file_size_bytes = None.into();
    }
    manifest.fragments = Arc::new(fragments);
    let (store, _) = site.0.store().await;
    let place = dataset.manifest_location().path.clone();
    let written = write_manifest_file_to_path(&store, &mut manifest, None, &place, None);
    written.await.unwrap();
}

/// Data files that were asked for their size.
fn measured(requests: &[Request]) -> usize {
    let asked = requests.iter().filter(|r| r.verb == Verb::Head);
    asked.filter(|r| r.path.contains("/data/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_size_no_manifest_tells_are_asked_for_once_and_compacted() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::default(), 20, 10).await;
    forget_sizes(&site, &format!("{}/t.lance", site.0.lance_uri())).await;
    let (directory, watch) = site.open().await;
    watch.take();
    let stats = directory.stats(&key("t")).await.unwrap();
    assert_eq!(measured(&watch.take()), 20);
    assert!(stats.fragments.iter().all(|f| !f.unmeasured));
    assert!(
        stats
            .fragments
            .iter()
            .all(|f| f.bytes > 0 && f.bytes == f.measured)
    );
    writer.delete([7]).await;
    let again = directory.stats(&key("t")).await.unwrap();
    assert_eq!(measured(&watch.take()), 0, "files never change");
    assert_eq!(again.bytes(), stats.bytes());
    let Compacted::Done(receipt) = compact(&directory, "t").await else {
        panic!("20 small fragments are due")
    };
    assert_eq!((receipt.fragments_before, receipt.fragments_after), (20, 1));
    assert_eq!(receipt.bytes_read, stats.bytes());
    writer.check([3, 7, 100]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_that_is_large_with_its_large_values_is_not_small_and_a_job_counts_them() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let dataset = blobs::table(&uri, false).await;
    let files = dataset.manifest().fragments.iter().flat_map(|f| &f.files);
    let files = files.filter_map(|file| file.file_size_bytes.get());
    let in_manifest: u64 = files.map(u64::from).sum();
    let (directory, watch) = site.open().await;
    let stats = directory.stats(&key("t")).await.unwrap();
    let beside: u64 = (0..blobs::ROWS)
        .map(|id| blobs::value(id).len() as u64)
        .filter(|n| *n > 16)
        .sum();
    assert_eq!(stats.bytes(), in_manifest + beside);
    assert!(beside > in_manifest, "{beside} {in_manifest}");
    // Without them they would be.
    let policy = CompactionPolicy {
        small_bytes: stats.bytes() / 10,
        target_bytes: stats.bytes() / 5,
        ..CompactionPolicy::default()
    };
    assert!(in_manifest / 6 < policy.small_bytes);
    let compacted = start(&directory, "t", &policy).await.unwrap().unwrap();
    assert_eq!(compacted, Compacted::Skipped(Skip::Tidy));
    let Compacted::Done(receipt) = compact(&directory, "t").await else {
        panic!("six small fragments become one")
    };
    assert_eq!(receipt.bytes_read, stats.bytes());
    assert!(receipt.bytes_written > beside, "{receipt:?}");
    watch.take();
    let after = directory.stats(&key("t")).await.unwrap();
    assert_eq!(after.bytes(), receipt.bytes_written);
    let lists = watch.take();
    let mut lists = lists.iter().filter(|r| r.verb == Verb::List);
    assert!(
        lists.all(|r| !r.path.contains("/data")),
        "what it wrote it knows"
    );
}

/// Rows of so many bytes each, none of which can be compressed unless all bytes of a row are alike; one to a page.
async fn table(uri: &str, rows: &[(i64, usize)], alike: bool) -> Dataset {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("value", DataType::LargeBinary, false),
    ];
    let schema = Arc::new(Schema::new(fields));
    let batch = |(id, bytes): &(i64, usize)| {
        let values = LargeBinaryArray::from_iter_values([value(*id, *bytes, alike)]);
        let ids = Int64Array::from_iter_values([*id]);
        RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), Arc::new(values)])
    };
    let batches: Vec<_> = rows.iter().map(batch).collect();
    let batches = RecordBatchIterator::new(batches, schema.clone());
    let there = DatasetBuilder::from_uri(uri).load().await.is_ok();
    let params = WriteParams {
        mode: if there {
            WriteMode::Append
        } else {
            WriteMode::Create
        },
        data_storage_version: Some(LanceFileVersion::V2_2),
        ..WriteParams::default()
    };
    let batches: Box<dyn arrow::array::RecordBatchReader + Send> = Box::new(batches);
    let insert = InsertBuilder::new(uri).with_params(&params);
    insert.execute_stream(batches).await.unwrap()
}

fn value(id: i64, bytes: usize, alike: bool) -> Vec<u8> {
    let mut state = u64::try_from(id).unwrap() + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    if alike {
        return vec![next()[0]; bytes];
    }
    let mut value: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    value.truncate(bytes);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_memory_has_no_room_for_is_left_alone_with_a_reason_and_the_others_are_compacted()
 {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    for fragment in [
        [(0, 10), (1, 20)],
        [(2, 45_000_000), (3, 1)],
        [(4, 30), (5, 7)],
    ] {
        table(&uri, &fragment, true).await;
    }
    let (directory, _) = site.open().await;
    let too_large = Compacted::Skipped(Skip::RowTooLarge);
    assert_eq!(compact(&directory, "t").await, too_large);
    let stats = directory.stats(&key("t")).await.unwrap();
    let refused = stats.fragments.iter().filter(|f| f.refused.is_some());
    assert_eq!(refused.map(|f| f.id).collect::<Vec<_>>(), [1]);
    let why = stats.refusals.concat();
    for word in ["fragment 1 of t", "of 450000", "raise daemon.memory"] {
        assert!(why.contains(word), "{word}: {why}");
    }
    let Compacted::Done(receipt) = compact(&directory, "t").await else {
        panic!("the two others become one")
    };
    assert_eq!((receipt.fragments_before, receipt.fragments_after), (2, 1));
    assert_eq!(compact(&directory, "t").await, too_large);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_lance_would_read_all_at_once_are_rewritten_as_they_were() {
    const BYTES: usize = 9_000_000;
    for verify in [Verify::Ends, Verify::Full] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let rows: Vec<_> = (0..7).map(|id| (id, BYTES)).collect();
        let mut dataset = table(&uri, &rows, false).await;
        dataset.delete("id = 2 or id = 5").await.unwrap();
        let (directory, _) = site.open().await;
        let policy = CompactionPolicy {
            verify,
            ..CompactionPolicy::default()
        };
        let compacted = start(&directory, "t", &policy).await.unwrap().unwrap();
        let Compacted::Done(receipt) = compacted else {
            panic!("two of seven rows are deleted: {compacted:?}")
        };
        assert_eq!((receipt.fragments_before, receipt.fragments_after), (1, 1));
        let after = DatasetBuilder::from_uri(&uri).load().await.unwrap();
        assert_eq!(after.count_deleted_rows().await.unwrap(), 0);
        let mut batches = after.scan().try_into_stream().await.unwrap();
        let mut ids = Vec::new();
        while let Some(batch) = batches.try_next().await.unwrap() {
            let values = batch["value"].as_binary::<i64>();
            for (id, found) in batch["id"]
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .zip(values)
            {
                ids.push(*id);
                assert!(found.unwrap() == value(*id, BYTES, false), "row {id}");
            }
        }
        assert_eq!(ids, [0, 1, 3, 4, 6]);
    }
}
