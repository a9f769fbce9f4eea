//! Tables with large values, which lie beside the data files: rewrites and cleanups leave each as it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use lance::{
    BlobArrayBuilder, Dataset, blob_field,
    dataset::{InsertBuilder, WriteMode, WriteParams, builder::DatasetBuilder},
};
use lance_file::version::LanceFileVersion;
use lance_table::feature_flags::MANAGED_BLOBS_META_KEY;
use squire_engine::{
    Cleaned, Compacted, Directory,
    planner::{
        Ask,
        cleanup::CleanupPolicy,
        compaction::{CompactionPolicy, Verify},
    },
};
use squire_tests::store::Verb;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, key, start};

pub(super) const ROWS: i64 = 60;
const MANAGED: [bool; 2] = [false, true];

/// The value of a row: within the data file, together with others in one file, or in a file of its own.
pub(super) fn value(id: i64) -> Vec<u8> {
    let bytes = [5, 100, 5_000][usize::try_from(id % 3).unwrap()];
    (0..bytes)
        .map(|n: i64| u8::try_from((n * 7 + id) % 251).unwrap())
        .collect()
}

fn batch(managed: bool) -> RecordBatch {
    let mut values = BlobArrayBuilder::new(usize::try_from(ROWS).unwrap());
    for id in 0..ROWS {
        values.push_bytes(value(id)).unwrap();
    }
    let field = blob_field("value", true);
    let mut of_field = field.metadata().clone();
    for (threshold, bytes) in [("inline", "16"), ("dedicated", "1000")] {
        let name = format!("lance-encoding:blob-{threshold}-size-threshold");
        of_field.insert(name, bytes.to_owned());
    }
    let of_table = managed.then(|| (MANAGED_BLOBS_META_KEY.to_owned(), "true".to_owned()));
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        field.with_metadata(of_field),
    ];
    let schema = Schema::new_with_metadata(fields, of_table.into_iter().collect::<HashMap<_, _>>());
    let ids = Int64Array::from_iter_values(0..ROWS);
    let columns = vec![Arc::new(ids) as _, values.finish().unwrap()];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// A table of six fragments.
pub(super) async fn table(uri: &str, managed: bool) -> Dataset {
    let params = WriteParams {
        mode: WriteMode::Create,
        data_storage_version: Some(LanceFileVersion::V2_2),
        max_rows_per_file: 10,
        ..WriteParams::default()
    };
    let created = InsertBuilder::new(uri)
        .with_params(&params)
        .execute(vec![batch(managed)])
        .await;
    created.unwrap()
}

/// Every row that is there has its value, and no other row is.
async fn check(uri: &str, alive: impl Fn(i64) -> bool) {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let alive: Vec<_> = (0..ROWS).filter(|id| alive(*id)).collect();
    assert_eq!(dataset.count_rows(None).await.unwrap(), alive.len());
    let indices: Vec<_> = (0..alive.len() as u64).collect();
    let found = Arc::new(dataset)
        .take_blobs_by_indices(&indices, "value")
        .await
        .unwrap();
    for (id, found) in alive.into_iter().zip(found) {
        let found = found.expect("no value is null").read().await.unwrap();
        assert_eq!(found, value(id), "row {id}");
    }
}

async fn clean(directory: &Directory) -> Cleaned {
    let policy = CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions: 1,
        ..CleanupPolicy::default()
    };
    let (ask, stop) = (Ask::forced(), CancellationToken::new());
    let cleaned = directory.cleanup(&key("t"), &policy, &ask, &stop).await;
    cleaned.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_outlive_rewrites_late_deletions_and_cleanups() {
    for (managed, verify) in MANAGED.into_iter().zip([Verify::Ends, Verify::Full]) {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, managed).await;
        check(&uri, |_| true).await;
        dataset.delete("id % 10 = 3").await.unwrap();
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let policy = CompactionPolicy {
            verify,
            ..CompactionPolicy::default()
        };
        let compaction = start(&directory, "t", &policy);
        writing.reached().await;
        dataset.delete("id % 10 = 5").await.unwrap();
        writing.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert!(
            matches!(&compacted, Compacted::Done(r) if (r.fragments_after, r.carried) == (1, 6)),
            "{compacted:?}"
        );
        let alive = |id: i64| id % 10 != 3 && id % 10 != 5;
        check(&uri, alive).await;
        let cleaned = clean(&directory).await;
        assert!(
            matches!(&cleaned, Cleaned::Done(r) if r.versions >= 3 && r.files > 6),
            "{cleaned:?}"
        );
        check(&uri, alive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_is_given_up_leaves_no_large_value_behind() {
    for managed in MANAGED {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, managed).await;
        let before = site.0.objects("t.lance/data/").await;
        let blobs = site.0.objects("t.lance/_blobs/").await;
        assert_eq!(blobs.is_empty(), !managed, "there they are of their own");
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        dataset.delete("true").await.unwrap();
        writing.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert!(matches!(compacted, Compacted::Lost(_)), "{compacted:?}");
        assert_eq!(site.0.objects("t.lance/data/").await, before);
        assert_eq!(site.0.objects("t.lance/_blobs/").await, blobs);
    }
}
