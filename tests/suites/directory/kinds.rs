//! Every kind of index that Lance has, made by others: after a rewrite each is brought over all rows again, and finds them.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema},
};
use lance::{
    dataset::builder::DatasetBuilder,
    index::{DatasetIndexExt, vector::VectorIndexParams},
};
use lance_index::{
    IndexParams, IndexType,
    scalar::{BuiltinIndexType, ScalarIndexParams},
    vector::{
        hnsw::builder::HnswBuildParams, ivf::builder::IvfBuildParams, pq::PQBuildParams,
        sq::builder::SQBuildParams,
    },
};
use lance_linalg::distance::MetricType;
use rand::{Rng, SeedableRng, rngs::StdRng};
use squire_engine::{
    Compacted, Indexed,
    planner::{Ask, indexing::IndexPolicy},
};
use tokio_util::sync::CancellationToken;

use crate::site::{Site, compact, in_fifties, key};

const ROWS: i64 = 400;
const WIDTH: usize = 16;
const L2: MetricType = MetricType::L2;

/// The vector of a row: like no other row's.
fn vector(id: i64) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(id.unsigned_abs());
    (0..WIDTH).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn batch() -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let width = i32::try_from(WIDTH).unwrap();
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("vector", DataType::FixedSizeList(item.clone(), width), true),
    ]);
    let values = Float32Array::from_iter_values((0..ROWS).flat_map(vector));
    let vectors = FixedSizeListArray::new(item, width, Arc::new(values), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..ROWS)),
        Arc::new(StringArray::from_iter_values(
            (0..ROWS).map(|id| format!("row number {id} of many")),
        )),
        Arc::new(vectors),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// What is asked, and which rows that is about.
type Filter = (&'static str, fn(i64) -> bool);

fn ids(found: &RecordBatch) -> Vec<i64> {
    found["id"].as_primitive::<Int64Type>().values().to_vec()
}

/// The rows that a search for a row's own vector finds; all partitions are asked, and all candidates looked at again.
async fn nearest(uri: &str, id: i64) -> Vec<i64> {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let mut scan = dataset.scan();
    let query = Float32Array::from(vector(id));
    scan.nearest("vector", &query, 5).unwrap();
    scan.nprobes(2).ef(400).refine(80);
    ids(&scan.try_into_batch().await.unwrap())
}

async fn filtered(uri: &str, filter: &str) -> BTreeSet<i64> {
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let mut scan = dataset.scan();
    scan.filter(filter).unwrap();
    let found = ids(&scan.try_into_batch().await.unwrap());
    let each: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(each.len(), found.len(), "no row twice");
    each
}

/// Makes the index, rewrites the table beside a deletion, and brings the index up to date.
async fn kept(
    site: &Site,
    stable: bool,
    column: &str,
    index: IndexType,
    params: &dyn IndexParams,
) -> String {
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let mut dataset = in_fifties(&uri, stable, batch()).await;
    dataset
        .create_index(&[column], index, None, params, true)
        .await
        .unwrap();
    dataset.delete("id % 40 = 7").await.unwrap();
    let (directory, _) = site.open().await;
    let compacted = compact(&directory, "t").await;
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    let stats = directory.stats(&key("t")).await.unwrap();
    let outside = stats.indexes.iter().map(|i| i.unindexed_rows).max();
    assert_eq!(outside, Some(0), "no row falls out of {index}");
    let (policy, ask) = (IndexPolicy::default(), Ask::forced());
    let stop = CancellationToken::new();
    let indexed = directory.index(&key("t"), &policy, &ask, &stop).await;
    let indexed = indexed.unwrap();
    let stats = directory.stats(&key("t")).await.unwrap();
    let outside: Vec<_> = stats.indexes.iter().map(|i| i.unindexed_rows).collect();
    assert_eq!(
        outside,
        [0],
        "{index}, stable row ids {stable}: {indexed:?}"
    );
    assert!(matches!(indexed, Indexed::Skipped(_)), "{indexed:?}");
    uri
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_vector_index_is_kept_and_finds_each_row_and_no_deleted_one() {
    let (ivf, hnsw) = (|| IvfBuildParams::new(2), HnswBuildParams::default);
    let (pq, sq) = (|| PQBuildParams::new(4, 8), SQBuildParams::default);
    let kinds = [
        ("IVF_FLAT", VectorIndexParams::ivf_flat(2, L2)),
        (
            "IVF_PQ",
            VectorIndexParams::with_ivf_pq_params(L2, ivf(), pq()),
        ),
        (
            "IVF_SQ",
            VectorIndexParams::with_ivf_sq_params(L2, ivf(), sq()),
        ),
        ("IVF_RQ", VectorIndexParams::ivf_rq(2, 1, L2)),
        (
            "IVF_HNSW_FLAT",
            VectorIndexParams::ivf_hnsw(L2, ivf(), hnsw()),
        ),
        (
            "IVF_HNSW_PQ",
            VectorIndexParams::with_ivf_hnsw_pq_params(L2, ivf(), hnsw(), pq()),
        ),
        (
            "IVF_HNSW_SQ",
            VectorIndexParams::with_ivf_hnsw_sq_params(L2, ivf(), hnsw(), sq()),
        ),
    ];
    for (kind, params) in &kinds {
        for stable in [false, true] {
            let site = Site::new();
            let uri = kept(&site, stable, "vector", IndexType::Vector, params).await;
            for id in (0..ROWS).step_by(19) {
                let found = nearest(&uri, id).await;
                let is_alive = id % 40 != 7;
                assert_eq!(
                    found.first() == Some(&id),
                    is_alive,
                    "{kind}, stable row ids {stable}, row {id}: {found:?}"
                );
                assert!(found.iter().all(|id| id % 40 != 7), "{kind}: {found:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_scalar_index_is_kept_and_finds_what_a_scan_finds() {
    let kinds = [
        (IndexType::BTree, BuiltinIndexType::BTree, "id"),
        (IndexType::Bitmap, BuiltinIndexType::Bitmap, "id"),
        (IndexType::NGram, BuiltinIndexType::NGram, "text"),
    ];
    for (kind, builtin, column) in kinds {
        let params = ScalarIndexParams::for_builtin(builtin);
        for stable in [false, true] {
            let site = Site::new();
            let uri = kept(&site, stable, column, kind, &params).await;
            let alive = |id: &i64| id % 40 != 7;
            let filters: [Filter; 2] = match column {
                "id" => [
                    ("id = 123", |id| id == 123),
                    ("id = 47 OR id = 48", |id| id == 48),
                ],
                _ => [
                    ("contains(text, 'number 12')", |id| {
                        id.to_string().starts_with("12")
                    }),
                    ("contains(text, 'of many')", |_| true),
                ],
            };
            for (filter, wanted) in filters {
                let wanted: BTreeSet<_> =
                    (0..ROWS).filter(alive).filter(|id| wanted(*id)).collect();
                let found = filtered(&uri, filter).await;
                assert_eq!(found, wanted, "{kind}, stable row ids {stable}: {filter}");
            }
        }
    }
}
