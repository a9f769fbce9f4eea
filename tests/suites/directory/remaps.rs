//! A rewrite takes its indexes along: no row that an index covered falls out of it, at any moment, for anybody.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch,
        RecordBatchIterator, StringArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema},
};
use lance::{
    Dataset,
    dataset::builder::DatasetBuilder,
    index::{DatasetIndexExt, vector::VectorIndexParams},
};
use lance_index::{
    IndexType,
    scalar::{BuiltinIndexType, FullTextSearchQuery, InvertedIndexParams, ScalarIndexParams},
};
use lance_linalg::distance::MetricType;
use squire_engine::{
    Compacted, Directory, Indexed, TableStats,
    planner::{
        Ask,
        clients::LanceVersion,
        compaction::{CompactionPolicy, Skip},
        indexing::{IndexPolicy, Task},
    },
};
use squire_tests::store::Verb;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, compact, in_fifties, key, start};

const ROWS: i64 = 400;
const WIDTH: usize = 8;

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("vector", DataType::FixedSizeList(item.clone(), 8), true),
        Field::new("text", DataType::Utf8, true),
    ]);
    let values = ids
        .clone()
        .flat_map(|id| [f32::from(i16::try_from(id).unwrap()); WIDTH]);
    let values = Arc::new(Float32Array::from_iter_values(values));
    let text = ids.clone().map(|id| format!("word{id} common"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(FixedSizeListArray::new(item, 8, values, None)),
        Arc::new(StringArray::from_iter_values(text)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// Eight fragments under a BTREE, a vector index and a full-text index.
async fn table(uri: &str, stable: bool) -> Dataset {
    let mut dataset = in_fifties(uri, stable, batch(0..ROWS)).await;
    let btree = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
    let flat = VectorIndexParams::ivf_flat(2, MetricType::L2);
    let text = InvertedIndexParams::default();
    dataset
        .create_index(&["id"], IndexType::BTree, None, &btree, true)
        .await
        .unwrap();
    dataset
        .create_index(&["vector"], IndexType::Vector, None, &flat, true)
        .await
        .unwrap();
    dataset
        .create_index(&["text"], IndexType::Inverted, None, &text, true)
        .await
        .unwrap();
    dataset
}

async fn append(dataset: &mut Dataset, ids: std::ops::Range<i64>) {
    let rows = batch(ids);
    let schema = rows.schema();
    let rows = RecordBatchIterator::new([Ok(rows)], schema);
    dataset.append(rows, None).await.unwrap();
}

async fn newest(uri: &str) -> Dataset {
    DatasetBuilder::from_uri(uri).load().await.unwrap()
}

/// Rows outside of each index, by its name.
async fn outside(uri: &str) -> Vec<(String, u64)> {
    let stats = TableStats::read(&newest(uri).await).await.unwrap();
    let indexes = stats.indexes.into_iter();
    indexes.map(|i| (i.name, i.unindexed_rows)).collect()
}

/// What the indexes alone say of a row, without a scan of what is outside: by its vector, its text and its id.
async fn by_index_alone(uri: &str, id: i64) -> [bool; 3] {
    let dataset = newest(uri).await;
    let finds = |found: RecordBatch| {
        let ids = found["id"].as_primitive::<Int64Type>();
        (0..ids.len()).any(|n| ids.value(n) == id)
    };
    let mut near = dataset.scan();
    let query = Float32Array::from(vec![f32::from(i16::try_from(id).unwrap()); WIDTH]);
    near.nearest("vector", &query, 1).unwrap();
    near.nprobes(2).fast_search();
    let mut text = dataset.scan();
    text.full_text_search(FullTextSearchQuery::new(format!("word{id}")))
        .unwrap();
    text.fast_search();
    let mut exact = dataset.scan();
    exact.filter(&format!("id = {id}")).unwrap();
    [
        finds(near.try_into_batch().await.unwrap()),
        finds(text.try_into_batch().await.unwrap()),
        finds(exact.try_into_batch().await.unwrap()),
    ]
}

fn covered(rows: u64) -> Vec<(String, u64)> {
    ["id_idx", "text_idx", "vector_idx"]
        .map(|name| (name.to_owned(), rows))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_held_a_fast_search_finds_right_after_a_compaction() {
    for stable in [false, true] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, stable).await;
        dataset.delete("id % 40 = 7").await.unwrap();
        let (directory, _) = site.open().await;
        let compacted = compact(&directory, "t").await;
        let Compacted::Done(receipt) = compacted else {
            panic!("{compacted:?}")
        };
        assert_eq!((receipt.fragments_before, receipt.fragments_after), (8, 1));
        assert!(receipt.index_bytes > 0);
        assert_eq!(outside(&uri).await, covered(0), "stable row ids: {stable}");
        for id in (0..ROWS).step_by(13) {
            let alive = id % 40 != 7;
            assert_eq!(by_index_alone(&uri, id).await, [alive; 3], "row {id}");
        }
        let again = compact(&directory, "t").await;
        assert_eq!(again, Compacted::Skipped(Skip::Tidy));
    }
}

/// Between the look at the head and the commit a writer deletes rows, and takes more ids than were left to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_takes_its_indexes_along_however_many_ids_others_take_meanwhile() {
    for stable in [false, true] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, stable).await;
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let committing = watch.hold_first(Verb::Put, "t.lance/_transactions/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        dataset.delete("id = 13").await.unwrap();
        append(&mut dataset, ROWS..ROWS + 1).await;
        writing.open();
        committing.reached().await;
        dataset.delete("id = 26").await.unwrap();
        for n in 1..30 {
            append(&mut dataset, ROWS + n..ROWS + n + 1).await;
        }
        committing.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert!(
            matches!(&compacted, Compacted::Done(r) if r.carried == 2),
            "{compacted:?}"
        );
        assert_eq!(outside(&uri).await, covered(30), "stable row ids: {stable}");
        for id in (0..ROWS).step_by(13) {
            let alive = ![13, 26].contains(&id);
            assert_eq!(by_index_alone(&uri, id).await, [alive; 3], "row {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_made_anew_while_its_fragments_were_rewritten_is_taken_along_as_it_is_now()
 {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let mut dataset = table(&uri, false).await;
    let (directory, watch) = site.open().await;
    let committing = watch.hold_first(Verb::Put, "t.lance/_transactions/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    committing.reached().await;
    let btree = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
    dataset
        .create_index(&["id"], IndexType::BTree, None, &btree, true)
        .await
        .unwrap();
    committing.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    assert_eq!(outside(&uri).await, covered(0));
    for id in (0..ROWS).step_by(13) {
        assert_eq!(by_index_alone(&uri, id).await, [true; 3], "row {id}");
    }
    // What was written for the index that is gone is gone as well.
    let named = newest(&uri).await.load_indices().await.unwrap();
    let written = site.0.objects("t.lance/_indices/").await;
    let of_a_version = written.iter().filter(|path| {
        let mut segments = named.iter().map(|index| index.uuid.to_string());
        segments.any(|uuid| path.contains(&uuid))
    });
    let lost: Vec<_> = written
        .iter()
        .filter(|path| path.contains("id_idx"))
        .collect();
    assert!(lost.is_empty() && of_a_version.count() > 0);
}

/// Zone maps and bloom filters hold no rows that could be given other addresses.
#[tokio::test(flavor = "multi_thread")]
async fn fragments_under_an_index_that_cannot_follow_are_left_alone_and_others_are_not() {
    for kind in [BuiltinIndexType::ZoneMap, BuiltinIndexType::BloomFilter] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = in_fifties(&uri, false, batch(0..ROWS)).await;
        let index_type = match kind {
            BuiltinIndexType::ZoneMap => IndexType::ZoneMap,
            _ => IndexType::BloomFilter,
        };
        let params = ScalarIndexParams::for_builtin(kind);
        dataset
            .create_index(&["id"], index_type, None, &params, true)
            .await
            .unwrap();
        let (directory, _) = site.open().await;
        let left = compact(&directory, "t").await;
        assert_eq!(left, Compacted::Skipped(Skip::IndexCannotFollow));
        for n in 0..10 {
            append(&mut dataset, ROWS + n..ROWS + n + 1).await;
        }
        let compacted = compact(&directory, "t").await;
        let Compacted::Done(receipt) = compacted else {
            panic!("{compacted:?}")
        };
        assert_eq!((receipt.fragments_before, receipt.fragments_after), (10, 1));
        assert_eq!(outside(&uri).await, [("id_idx".to_owned(), 10)]);
    }
}

async fn index(directory: &Directory, policy: &IndexPolicy) -> Vec<Task> {
    let stop = CancellationToken::new();
    let indexed = directory
        .index(&key("t"), policy, &Ask::forced(), &stop)
        .await;
    match indexed.unwrap() {
        Indexed::Done(receipt) => receipt.tasks,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_no_vector_index_keeps_one_segment_unless_all_clients_know_several() {
    let tasks = |segments: fn(String) -> Task| {
        [
            segments("id_idx".to_owned()),
            segments("text_idx".to_owned()),
            Task::Append("vector_idx".to_owned()),
        ]
    };
    for (oldest, expected) in [
        (Some(LanceVersion::new(4, 0)), tasks(Task::Merge)),
        // The table's writers are of this very Lance.
        (None, tasks(Task::Append)),
        (Some(LanceVersion::new(8, 0)), tasks(Task::Append)),
    ] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, false).await;
        append(&mut dataset, ROWS..ROWS + 50).await;
        let (directory, _) = site.open().await;
        let policy = IndexPolicy {
            oldest_client: oldest,
            ..IndexPolicy::default()
        };
        assert_eq!(index(&directory, &policy).await, expected, "{oldest:?}");
        assert_eq!(outside(&uri).await, covered(0));
        assert_eq!(by_index_alone(&uri, ROWS + 7).await, [true; 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_two_segments_is_merged_at_once_where_an_old_client_may_be() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let mut dataset = table(&uri, false).await;
    append(&mut dataset, ROWS..ROWS + 50).await;
    let (directory, _) = site.open().await;
    index(&directory, &IndexPolicy::default()).await;
    let old = IndexPolicy {
        oldest_client: Some(LanceVersion::new(4, 0)),
        ..IndexPolicy::default()
    };
    let stop = CancellationToken::new();
    let by_itself = directory
        .index(&key("t"), &old, &Ask::default(), &stop)
        .await;
    let Indexed::Done(receipt) = by_itself.unwrap() else {
        panic!("two segments are due")
    };
    let merged = ["id_idx", "text_idx"].map(|name| Task::Merge(name.to_owned()));
    assert_eq!(receipt.tasks, merged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scalar_index_on_a_field_of_a_struct_is_merged_as_no_segment_can_be_put_beside_it() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let nested = |ids: std::ops::Range<i64>| {
        let lang: ArrayRef = Arc::new(StringArray::from_iter_values(
            ids.clone().map(|id| format!("l{}", id % 5)),
        ));
        let field = Arc::new(Field::new("lang", DataType::Utf8, true));
        let meta = arrow::array::StructArray::from(vec![(field, lang)]);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("m", meta.data_type().clone(), true),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(meta)];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    };
    let mut dataset = in_fifties(&uri, false, nested(0..300)).await;
    let btree = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
    dataset
        .create_index(&["m.lang"], IndexType::BTree, None, &btree, true)
        .await
        .unwrap();
    let rows = nested(300..400);
    let schema = rows.schema();
    dataset
        .append(RecordBatchIterator::new([Ok(rows)], schema), None)
        .await
        .unwrap();
    let (directory, _) = site.open().await;
    let tasks = index(&directory, &IndexPolicy::default()).await;
    assert_eq!(tasks, [Task::Merge("m.lang_idx".to_owned())]);
    assert_eq!(outside(&uri).await, [("m.lang_idx".to_owned(), 0)]);
}
