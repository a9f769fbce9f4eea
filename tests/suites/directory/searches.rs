//! Searches by indexes that Squire did not make: they find what they found before, while the rewritten rows are under no
//! index, and with rows that were deleted in between.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch,
        RecordBatchIterator, StringArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema},
};
use lance::{
    Dataset,
    dataset::{
        InsertBuilder, MergeInsertBuilder, NewColumnTransform, WhenMatched, WhenNotMatched,
        builder::DatasetBuilder,
    },
    index::{DatasetIndexExt, vector::VectorIndexParams},
};
use lance_index::{
    IndexType,
    scalar::{FullTextSearchQuery, InvertedIndexParams, ScalarIndexParams},
};
use lance_linalg::distance::MetricType;
use squire_engine::{
    Compacted, Directory, Indexed,
    planner::{
        Ask,
        compaction::{CompactionPolicy, Skip},
        indexing::IndexPolicy,
    },
};
use squire_tests::store::Verb;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, compact, in_fifties, key, start};

const WIDTH: usize = 8;
const ROWS: i64 = 300;

/// Rows whose vectors lie on a line, and whose text names every seventh of them.
fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vector = DataType::FixedSizeList(item.clone(), 8);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("vector", vector, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("tag", DataType::Utf8, true),
    ]);
    let values = ids
        .clone()
        .flat_map(|id| [f32::from(i16::try_from(id).unwrap()); WIDTH]);
    let vectors = FixedSizeListArray::new(
        item,
        8,
        Arc::new(Float32Array::from_iter_values(values)),
        None,
    );
    let text = ids.clone().map(|id| {
        format!(
            "row number{id} {}",
            if id % 7 == 0 { "seventh" } else { "other" }
        )
    });
    let tag = ids
        .clone()
        .map(|id| if id % 2 == 0 { "even" } else { "odd" });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(vectors),
        Arc::new(StringArray::from_iter_values(text)),
        Arc::new(StringArray::from_iter_values(tag)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

async fn table(uri: &str, stable: bool) -> Dataset {
    let mut dataset = in_fifties(uri, stable, batch(0..ROWS)).await;
    let flat = VectorIndexParams::ivf_flat(2, MetricType::L2);
    dataset
        .create_index(&["vector"], IndexType::Vector, None, &flat, true)
        .await
        .unwrap();
    let text = InvertedIndexParams::default();
    dataset
        .create_index(&["text"], IndexType::Inverted, None, &text, true)
        .await
        .unwrap();
    let tag = ScalarIndexParams::for_builtin(lance_index::scalar::BuiltinIndexType::Bitmap);
    dataset
        .create_index(&["tag"], IndexType::Bitmap, None, &tag, true)
        .await
        .unwrap();
    dataset
}

fn ids(found: &RecordBatch) -> BTreeSet<i64> {
    let ids = found["id"].as_primitive::<Int64Type>();
    assert_eq!(
        ids.len(),
        ids.values().iter().collect::<BTreeSet<_>>().len(),
        "no row twice"
    );
    ids.values().iter().copied().collect()
}

/// What the three kinds of search find.
#[derive(Debug, PartialEq)]
struct Found {
    near: BTreeSet<i64>,
    seventh: BTreeSet<i64>,
    even: BTreeSet<i64>,
}

async fn search(uri: &str) -> Found {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let mut near = dataset.scan();
    let query = Float32Array::from(vec![120.2; WIDTH]);
    near.nearest("vector", &query, 20).unwrap().nprobes(2);
    let mut text = dataset.scan();
    text.full_text_search(FullTextSearchQuery::new("seventh".to_owned()))
        .unwrap();
    let mut even = dataset.scan();
    even.filter("tag = 'even'").unwrap();
    Found {
        near: ids(&near.try_into_batch().await.unwrap()),
        seventh: ids(&text.try_into_batch().await.unwrap()),
        even: ids(&even.try_into_batch().await.unwrap()),
    }
}

fn expected(live: &BTreeSet<i64>) -> Found {
    let mut by_distance: Vec<_> = live.iter().copied().collect();
    by_distance.sort_by_key(|id| (id * 10 - 1202).abs());
    Found {
        near: by_distance[..20].iter().copied().collect(),
        seventh: live.iter().copied().filter(|id| id % 7 == 0).collect(),
        even: live.iter().copied().filter(|id| id % 2 == 0).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_search_stays_right_between_a_rewrite_and_its_index_work() {
    for stable in [false, true] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let mut dataset = table(&uri, stable).await;
        let mut live: BTreeSet<_> = (0..ROWS).collect();
        assert_eq!(search(&uri).await, expected(&live));
        let delete = async |dataset: &mut Dataset, live: &mut BTreeSet<i64>, gone: &[i64]| {
            let listed: Vec<_> = gone.iter().map(ToString::to_string).collect();
            dataset
                .delete(&format!("id in ({})", listed.join(", ")))
                .await
                .unwrap();
            live.retain(|id| !gone.contains(id));
        };
        delete(&mut dataset, &mut live, &[0, 119, 130, 140, 299]).await;
        let (directory, watch) = site.open().await;
        let writing = watch.hold_first(Verb::Put, "t.lance/data/");
        let compaction = start(&directory, "t", &CompactionPolicy::default());
        writing.reached().await;
        delete(&mut dataset, &mut live, &[7, 118, 121, 126, 280]).await;
        let rows = batch(ROWS..ROWS + 20);
        let schema = rows.schema();
        dataset
            .append(RecordBatchIterator::new([Ok(rows)], schema), None)
            .await
            .unwrap();
        live.extend(ROWS..ROWS + 20);
        writing.open();
        let compacted = compaction.await.unwrap().unwrap();
        assert!(
            matches!(&compacted, Compacted::Done(r) if r.carried == 5),
            "{compacted:?}"
        );
        assert_eq!(
            search(&uri).await,
            expected(&live),
            "stable row ids: {stable}"
        );
        // The index work that any client may do.
        dataset.checkout_latest().await.unwrap();
        dataset
            .optimize_indices(&lance_index::optimize::OptimizeOptions::default())
            .await
            .unwrap();
        assert_eq!(
            search(&uri).await,
            expected(&live),
            "stable row ids: {stable}"
        );
    }
}

async fn index(directory: &Directory) -> Indexed {
    let (policy, ask) = (IndexPolicy::default(), Ask::forced());
    let stop = CancellationToken::new();
    let indexed = directory.index(&key("t"), &policy, &ask, &stop).await;
    indexed.unwrap()
}

/// Whether the vector index is one segment over all fragments, and not one over fragments that are gone.
async fn is_whole(uri: &str) -> bool {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let segments = dataset.load_indices_by_name("vector_idx").await.unwrap();
    assert_eq!(segments.len(), 1);
    let covered = segments[0].fragment_bitmap.as_ref().unwrap();
    let live = dataset.fragment_bitmap();
    assert!(covered == live.as_ref() || covered.is_disjoint(live));
    covered == live.as_ref()
}

/// With stable row ids, what the old segments hold of a row would be found under the id that it has still.
#[tokio::test(flavor = "multi_thread")]
async fn a_vector_index_whose_every_row_was_written_again_finds_each_once_and_where_it_is_now() {
    for stable in [false, true] {
        let site = Site::new();
        let uri = format!("{}/t.lance", site.0.lance_uri());
        let dataset = table(&uri, stable).await;
        // Every vector is another row's now.
        let moved = batch(0..ROWS);
        let turned = arrow::compute::take(
            &moved["vector"],
            &Int64Array::from_iter_values((0..ROWS).rev()),
            None,
        );
        let mut columns = moved.columns().to_vec();
        columns[1] = turned.unwrap();
        let moved = RecordBatch::try_new(moved.schema(), columns).unwrap();
        let reader = RecordBatchIterator::new([Ok(moved.clone())], moved.schema());
        MergeInsertBuilder::try_new(Arc::new(dataset), vec!["id".to_owned()])
            .unwrap()
            .when_matched(WhenMatched::UpdateAll)
            .when_not_matched(WhenNotMatched::InsertAll)
            .try_build()
            .unwrap()
            .execute_reader(reader)
            .await
            .unwrap();
        assert!(!is_whole(&uri).await);
        let (directory, _) = site.open().await;
        let indexed = index(&directory).await;
        assert!(matches!(indexed, Indexed::Done(_)), "{indexed:?}");
        assert!(is_whole(&uri).await);
        let all: BTreeSet<_> = (0..ROWS).collect();
        let turned = |ids: BTreeSet<i64>| ids.into_iter().map(|id| ROWS - 1 - id).collect();
        let expected = expected(&all);
        assert_eq!(
            search(&uri).await,
            Found {
                near: turned(expected.near),
                ..expected
            },
            "stable row ids: {stable}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_index_that_was_only_defined_is_made_once_there_are_rows_to_train_it() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let created = InsertBuilder::new(uri.as_str())
        .execute(vec![batch(0..10)])
        .await;
    let mut dataset = created.unwrap();
    let flat = VectorIndexParams::ivf_flat(2, MetricType::L2);
    dataset
        .create_index_builder(&["vector"], IndexType::Vector, &flat)
        .train(false)
        .await
        .unwrap();
    let (directory, _) = site.open().await;
    let indexed = index(&directory).await;
    assert!(matches!(indexed, Indexed::Skipped(_)), "{indexed:?}");
    let rows = batch(10..ROWS);
    let schema = rows.schema();
    let rows = RecordBatchIterator::new([Ok(rows)], schema);
    dataset.append(rows, None).await.unwrap();
    let indexed = index(&directory).await;
    assert!(matches!(indexed, Indexed::Done(_)), "{indexed:?}");
    assert!(is_whole(&uri).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_under_indexes_that_another_program_remaps_later_are_left_alone() {
    use lance::dataset::optimize::{CompactionOptions, compact_files};
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let mut dataset = table(&uri, false).await;
    let mut live: BTreeSet<_> = (0..ROWS).collect();
    // It leaves an index of reuse behind, by which old row addresses are translated.
    let options = CompactionOptions {
        defer_index_remap: true,
        target_rows_per_fragment: 100,
        ..CompactionOptions::default()
    };
    compact_files(&mut dataset, options, None).await.unwrap();
    dataset.delete("id in (7, 121)").await.unwrap();
    live.retain(|id| ![7, 121].contains(id));
    assert_eq!(search(&uri).await, expected(&live));
    let (directory, _) = site.open().await;
    let compacted = compact(&directory, "t").await;
    assert_eq!(compacted, Compacted::Skipped(Skip::IndexCannotFollow));
    assert_eq!(search(&uri).await, expected(&live));
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_of_several_files_are_rewritten_and_late_deletions_carried() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let mut dataset = table(&uri, false).await;
    let double =
        NewColumnTransform::SqlExpressions(vec![("double".to_owned(), "id * 2".to_owned())]);
    dataset.add_columns(double, None, None).await.unwrap();
    let files = |dataset: &Dataset| -> Vec<usize> {
        dataset
            .manifest()
            .fragments
            .iter()
            .map(|f| f.files.len())
            .collect()
    };
    assert!(files(&dataset).iter().all(|n| *n == 2));
    let (directory, watch) = site.open().await;
    let writing = watch.hold_first(Verb::Put, "t.lance/data/");
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    writing.reached().await;
    dataset.delete("id % 10 = 3").await.unwrap();
    writing.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(
        matches!(&compacted, Compacted::Done(r) if r.carried == 30),
        "{compacted:?}"
    );
    dataset.checkout_latest().await.unwrap();
    assert_eq!(files(&dataset), [1]);
    let mut scan = dataset.scan();
    scan.filter("double = id * 2").unwrap();
    let rows = ids(&scan.try_into_batch().await.unwrap());
    assert_eq!(rows, (0..ROWS).filter(|id| id % 10 != 3).collect());
}
