//! What a rewrite wrote is read back before it is committed.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
        FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
        Int64Array, LargeBinaryArray, LargeStringArray, ListArray, RecordBatch, StringArray,
        StructArray, TimestampMicrosecondArray, UInt16Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Int8Type, Int32Type, Schema},
};
use bytes::Bytes;
use futures::TryStreamExt;
use lance::{
    Dataset,
    dataset::{InsertBuilder, NewColumnTransform, WriteMode, WriteParams, builder::DatasetBuilder},
};
use lance_file::version::LanceFileVersion;
use object_store::ObjectStoreExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use squire_engine::{
    Compacted, Directory, Error, Indexed,
    planner::{
        Ask,
        compaction::{CompactionPolicy, Skip, Verify},
        indexing::IndexPolicy,
    },
};
use squire_tests::store::{Moment, Verb};
use tokio_util::sync::CancellationToken;

use crate::site::{Kind, Site, compact, key};

async fn write(uri: &str, batch: RecordBatch, version: LanceFileVersion, mode: WriteMode) {
    let params = WriteParams {
        mode,
        data_storage_version: Some(version),
        ..WriteParams::default()
    };
    let written = InsertBuilder::new(uri)
        .with_params(&params)
        .execute(vec![batch])
        .await;
    written.unwrap();
}

/// Appends each batch as a fragment of its own.
async fn table(uri: &str, version: LanceFileVersion, batches: Vec<RecordBatch>) {
    for (n, batch) in batches.into_iter().enumerate() {
        let mode = if n == 0 {
            WriteMode::Create
        } else {
            WriteMode::Append
        };
        write(uri, batch, version, mode).await;
    }
}

async fn open(uri: &str) -> Dataset {
    DatasetBuilder::from_uri(uri).load().await.unwrap()
}

/// Texts instead of dictionaries: those of several fragments may be too many for one.
fn plain(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.columns().iter().map(|array| match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values).unwrap(),
        _ => array.clone(),
    });
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name());
    RecordBatch::try_from_iter(names.zip(columns)).unwrap()
}

async fn rows(uri: &str) -> RecordBatch {
    let dataset = open(uri).await;
    let batches: Vec<_> = dataset
        .scan()
        .scan_in_order(true)
        .try_into_stream()
        .await
        .unwrap()
        .map_ok(|batch| plain(&batch))
        .try_collect()
        .await
        .unwrap();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

async fn compact_with(
    directory: &Directory,
    verify: Verify,
    ask: &Ask,
) -> Result<Compacted, Error> {
    let policy = CompactionPolicy {
        verify,
        ..CompactionPolicy::default()
    };
    let stop = CancellationToken::new();
    directory.compact(&key("t"), &policy, ask, &stop).await
}

/// As pandas writes a column of categories: so many texts, the same in each batch, and keys of one byte.
fn categories(texts: usize, keys: impl IntoIterator<Item = usize>) -> ArrayRef {
    let names = StringArray::from_iter_values((0..texts).map(|n| format!("city number {n}")));
    let key = |n: usize| i8::try_from(n % texts).unwrap();
    let keys = Int8Array::from_iter_values(keys.into_iter().map(key));
    Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(names)))
}

fn cities(batch: usize) -> RecordBatch {
    let ids = Int64Array::from_iter_values((0..200).map(|n| (batch * 200 + n) as i64));
    let cities = categories(100, (0..200).map(|n| n * 7 + batch));
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("city", cities)]).unwrap()
}

/// The same columns, in a fragment that is so much larger that it belongs to another tier.
fn large_cities(batch: usize) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(batch as u64);
    let ids = Int64Array::from_iter_values((0..50_000).map(|_| random.random::<i64>()));
    let cities = categories(5, 0..50_000);
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("city", cities)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lance_8217_a_rewrite_that_no_reader_could_read_is_not_committed() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let version = LanceFileVersion::default();
    table(&uri, version, (0..20).map(cities).collect()).await;
    site.table("other", Kind::default(), 20, 10).await;
    let (before, files) = (rows(&uri).await, site.0.objects("t.lance/data/").await);
    let (directory, _) = site.open().await;
    let compacted = compact_with(&directory, Verify::Ends, &Ask::default()).await;
    let Err(Error::Unreadable { table, column, .. }) = &compacted else {
        panic!("nobody could read it: {compacted:?}")
    };
    assert_eq!((table, column.as_str()), (&key("t"), "city"));
    assert_eq!(rows(&uri).await, before);
    assert_eq!(open(&uri).await.manifest().fragments.len(), 20);
    assert_eq!(site.0.objects("t.lance/data/").await, files);
    // It is not tried again, and says why.
    for ask in [Ask::default(), Ask::forced()] {
        let again = compact_with(&directory, Verify::Ends, &ask).await.unwrap();
        assert_eq!(again, Compacted::Skipped(Skip::Unreadable));
    }
    let stats = directory.stats(&key("t")).await.unwrap();
    assert!(stats.fragments.iter().all(|f| f.refused.is_some()));
    assert!(
        stats.refusals[0].contains("column city"),
        "{:?}",
        stats.refusals
    );
    let other = compact(&directory, "other").await;
    assert!(matches!(other, Compacted::Done(_)), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_rewritten_keeps_no_other_from_its_turn() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let batches = (0..20).map(cities).chain((0..10).map(large_cities));
    table(&uri, LanceFileVersion::default(), batches.collect()).await;
    let before = open(&uri).await.count_rows(None).await.unwrap();
    let (directory, _) = site.open().await;
    let compacted = compact_with(&directory, Verify::Ends, &Ask::default()).await;
    let Ok(Compacted::Done(receipt)) = &compacted else {
        panic!("one group can be rewritten: {compacted:?}")
    };
    assert_eq!((receipt.fragments_before, receipt.fragments_after), (10, 1));
    let [failed] = receipt.failed.as_slice() else {
        panic!("one group cannot: {:?}", receipt.failed)
    };
    assert_eq!(failed.unreadable.as_deref(), Some("city"));
    assert_eq!(failed.fragments, (0..20).collect::<Vec<_>>());
    let dataset = open(&uri).await;
    assert_eq!(dataset.manifest().fragments.len(), 21);
    assert_eq!(rows(&uri).await.num_rows(), before);
    let again = compact_with(&directory, Verify::Ends, &Ask::default()).await;
    assert_eq!(again.unwrap(), Compacted::Skipped(Skip::Unreadable));
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_that_changed_are_tried_again_by_another_process_at_once() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    table(
        &uri,
        LanceFileVersion::default(),
        (0..20).map(cities).collect(),
    )
    .await;
    let (directory, _) = site.open().await;
    let unreadable = compact_with(&directory, Verify::Ends, &Ask::forced()).await;
    assert!(matches!(unreadable, Err(Error::Unreadable { .. })));
    // As the message says.
    let wider = lance::dataset::ColumnAlteration::new("city".to_owned()).cast_to(DataType::Utf8);
    open(&uri).await.alter_columns(&[wider]).await.unwrap();
    let (other, _) = site.open().await;
    let compacted = compact_with(&other, Verify::Ends, &Ask::forced()).await;
    assert!(matches!(compacted, Ok(Compacted::Done(_))), "{compacted:?}");
    assert_eq!(rows(&uri).await.num_rows(), 4_000);
}

fn nulls(rows: usize, every: usize) -> NullBuffer {
    (0..rows).map(|n| n % every != 0).collect()
}

/// Every common type, with nulls.
fn mixture(first: usize, version: LanceFileVersion) -> RecordBatch {
    const ROWS: usize = 60;
    let each = first..first + ROWS;
    let some = |every: usize| move |n: usize| (!n.is_multiple_of(every)).then_some(n);
    let text = |n: usize| format!("text {n} of many");
    let int = |n: usize| n as i64;
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let floats = Float32Array::from_iter_values(each.clone().flat_map(|n| [n as f32; 8]));
    let texts = || StringArray::from_iter(each.clone().map(|n| some(5)(n).map(text)));
    let ints = || Int64Array::from_iter(each.clone().map(|n| some(7)(n).map(int)));
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("deep", DataType::Utf8, true)),
        Arc::new(texts()) as ArrayRef,
    )]);
    let inner_field = Field::new(
        "inner",
        arrow::array::Array::data_type(&inner).clone(),
        true,
    );
    let of_struct = vec![Field::new("n", DataType::Int64, true), inner_field];
    let structs = StructArray::new(
        of_struct.into(),
        vec![Arc::new(ints()), Arc::new(inner)],
        // Files of version 2.0 have no null structs.
        (version != LanceFileVersion::V2_0).then(|| nulls(ROWS, 4)),
    );
    let lengths = || OffsetBuffer::<i32>::from_lengths((0..ROWS).map(|n| n % 2));
    let listed = || (0..ROWS / 2).map(|n| n + first);
    let of_list = Arc::new(Field::new("item", DataType::Utf8, true));
    let values = Arc::new(StringArray::from_iter_values(listed().map(text)));
    let lists = ListArray::new(of_list, lengths(), values, Some(nulls(ROWS, 6)));
    let pair = StructArray::from(vec![(
        Arc::new(Field::new("a", DataType::Int64, true)),
        Arc::new(Int64Array::from_iter_values(listed().map(int))) as ArrayRef,
    )]);
    let of_pairs = Field::new("item", arrow::array::Array::data_type(&pair).clone(), true);
    let pairs = ListArray::new(Arc::new(of_pairs), lengths(), Arc::new(pair), None);
    let mut words = arrow::array::StringDictionaryBuilder::<Int32Type>::new();
    each.clone().for_each(|n| match n % 9 {
        0 => words.append_null(),
        word => words.append_value(format!("word {word}")),
    });
    let fixed = each.clone().map(|n| n.to_le_bytes());
    let zoned = each.clone().map(|n| n as i64 * 1_000_000);
    let decimals = Decimal128Array::from_iter_values(each.clone().map(|n| n as i128 * 37));
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values(each.clone().map(int))),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from_iter(
                each.clone().map(|n| some(3)(n).map(|n| n % 2 == 0)),
            )),
        ),
        (
            "small",
            Arc::new(UInt16Array::from_iter_values(
                each.clone().map(|n| n as u16),
            )),
        ),
        (
            "float",
            Arc::new(Float64Array::from_iter(
                each.clone().map(|n| some(4)(n).map(|n| n as f64 / 3.0)),
            )),
        ),
        ("text", Arc::new(texts())),
        (
            "large",
            Arc::new(LargeStringArray::from_iter_values(each.clone().map(text))),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_iter_values(each.clone().map(text))),
        ),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_iter(fixed).unwrap()),
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(
                each.clone().map(|n| n as i32),
            )),
        ),
        (
            "when",
            Arc::new(TimestampMicrosecondArray::from_iter_values(zoned).with_timezone("UTC")),
        ),
        (
            "price",
            Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
        ),
        (
            "vector",
            Arc::new(FixedSizeListArray::new(
                item,
                8,
                Arc::new(floats),
                Some(nulls(ROWS, 11)),
            )),
        ),
        ("word", Arc::new(words.finish())),
        ("list", Arc::new(lists)),
        ("pairs", Arc::new(pairs)),
        ("struct", Arc::new(structs)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    if version == LanceFileVersion::V2_2 {
        return batch;
    }
    // Large values of the older kind.
    let of_blob = [("lance-encoding:blob".to_owned(), "true".to_owned())];
    let blob = Field::new("blob", DataType::LargeBinary, true).with_metadata(of_blob.into());
    let payloads = each.map(|n| some(8)(n).map(|n| vec![n as u8; 1_000 + n]));
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(blob));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(LargeBinaryArray::from_iter(payloads)));
    let schema = Schema::new_with_metadata(fields, HashMap::new());
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_table_of_every_common_type_passes() {
    let versions = [
        LanceFileVersion::V2_0,
        LanceFileVersion::V2_1,
        LanceFileVersion::V2_2,
    ];
    for version in versions {
        for verify in [Verify::Ends, Verify::Full] {
            let site = Site::new();
            let uri = format!("{}/t.lance", site.0.lance_uri());
            let batches = (0..10).map(|n| mixture(n * 60, version)).collect();
            table(&uri, version, batches).await;
            let mut dataset = open(&uri).await;
            dataset.delete("id % 10 = 3").await.unwrap();
            // A second file in each fragment.
            let double = NewColumnTransform::SqlExpressions(vec![(
                "double".to_owned(),
                "id * 2".to_owned(),
            )]);
            dataset.add_columns(double, None, None).await.unwrap();
            let before = rows(&uri).await;
            let (directory, _) = site.open().await;
            let compacted = compact_with(&directory, verify, &Ask::forced()).await;
            let Ok(Compacted::Done(receipt)) = &compacted else {
                panic!("{version}, {verify:?}: {compacted:?}")
            };
            assert_eq!((receipt.fragments_after, &receipt.failed[..]), (1, &[][..]));
            let after = rows(&uri).await;
            assert_eq!(after.num_rows(), 540);
            for column in before.schema().fields() {
                let name = column.name();
                // Of large values, a scan shows where they lie.
                assert!(
                    name == "blob"
                        || before[name.as_str()].as_ref() == after[name.as_str()].as_ref(),
                    "{name}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_segment_that_cannot_be_read_is_refused_with_the_reason_and_leaves_no_file() {
    let site = Site::new();
    let kind = Kind {
        index: true,
        ..Kind::default()
    };
    let mut writer = site.table("t", kind, 2, 50).await;
    writer.append((1_000..1_100).map(|id| (id, id))).await;
    let before = site.0.objects("t.lance/_indices/").await;
    let (directory, watch) = site.open().await;
    let written = watch.hold_at(Moment::After, Verb::Put, "page_lookup.lance");
    let spoil = async {
        written.reached().await;
        let all = site.0.objects("t.lance/_indices/").await;
        let (store, _) = site.0.store().await;
        for new in all.difference(&before) {
            let path = object_store::path::Path::from(new.as_str());
            let size = store.inner.head(&path).await.unwrap().size;
            let nonsense = vec![0_u8; usize::try_from(size).unwrap()];
            let spoilt = Bytes::from(nonsense);
            store.inner.put(&path, spoilt.into()).await.unwrap();
        }
        written.open();
    };
    let (table, stop) = (key("t"), CancellationToken::new());
    let (policy, ask) = (IndexPolicy::default(), Ask::forced());
    let (indexed, ()) = tokio::join!(directory.index(&table, &policy, &ask, &stop), spoil);
    let refused = Indexed::Skipped(squire_engine::planner::indexing::Skip::Refused);
    assert_eq!(indexed.unwrap(), refused);
    assert_eq!(site.0.objects("t.lance/_indices/").await, before);
    let stats = directory.stats(&table).await.unwrap();
    let reason = &stats.indexes[0].refused.as_ref().unwrap().reason;
    assert!(reason.contains("cannot be read"), "{reason}");
    writer.check([7, 1_007]).await;
}

const MANY: usize = 20_000;

/// The bytes of a row's vector in a file.
fn vector(id: usize) -> [f32; 16] {
    let mut random = StdRng::seed_from_u64(id as u64);
    std::array::from_fn(|_| random.random::<f32>())
}

fn vectors(ids: std::ops::Range<usize>) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Float32Array::from_iter_values(ids.clone().flat_map(vector));
    let vectors = FixedSizeListArray::new(item, 16, Arc::new(values), None);
    let ids = Int64Array::from_iter_values(ids.map(|id| id as i64));
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("vector", Arc::new(vectors) as ArrayRef),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_short_keeps_the_rest_of_its_table_from_nothing() {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let small = (0..20).map(|n| vectors(n * 10..n * 10 + 10));
    let large = (0..10).map(|n| vectors(n * 5_000..(n + 1) * 5_000));
    let batches = small.chain(large).collect();
    table(&uri, LanceFileVersion::default(), batches).await;
    let short = open(&uri).await.manifest().fragments[3].files[0]
        .path
        .clone();
    let path = site.0.objects(&short).await.pop_first().unwrap();
    let path = object_store::path::Path::from(path);
    let (store, _) = site.0.store().await;
    let whole = store.inner.get(&path).await.unwrap();
    let whole = whole.bytes().await.unwrap();
    let half = whole.slice(..whole.len() / 2);
    store.inner.put(&path, half.into()).await.unwrap();
    let (directory, _) = site.open().await;
    let mut came = Vec::new();
    // Once may be the store's doing.
    for _ in 0..4 {
        came.push(compact_with(&directory, Verify::Ends, &Ask::default()).await);
    }
    let last = came.pop().unwrap().unwrap();
    assert_eq!(last, Compacted::Skipped(Skip::Failed), "{came:?}");
    let fragments = open(&uri).await.manifest().fragments.len();
    assert_eq!(fragments, 21, "{came:?}");
}

/// Compacts, and spoils one value of a row in the new file once that is written.
async fn spoilt(row: usize, verify: Verify) -> Result<Compacted, Error> {
    let site = Site::new();
    let uri = format!("{}/t.lance", site.0.lance_uri());
    let parts = (0..10).map(|n| vectors(n * MANY / 10..(n + 1) * MANY / 10));
    table(&uri, LanceFileVersion::default(), parts.collect()).await;
    let before = site.0.objects("t.lance/data/").await;
    let (directory, watch) = site.open().await;
    let written = watch.hold_at(Moment::After, Verb::Put, "t.lance/data/");
    let spoil = async {
        written.reached().await;
        let all = site.0.objects("t.lance/data/").await;
        let [new] = all.difference(&before).collect::<Vec<_>>()[..] else {
            panic!("one file is new")
        };
        let (store, _) = site.0.store().await;
        let path = object_store::path::Path::from(new.as_str());
        let mut bytes = store
            .inner
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        let wanted: Vec<u8> = vector(row).iter().flat_map(|n| n.to_le_bytes()).collect();
        let at = bytes
            .windows(wanted.len())
            .position(|found| found == wanted);
        let at = at.expect("vectors are stored as they are");
        bytes[at + 1] ^= 0x40;
        store
            .inner
            .put(&path, Bytes::from(bytes).into())
            .await
            .unwrap();
        written.open();
    };
    let ask = Ask::forced();
    let (compacted, ()) = tokio::join!(compact_with(&directory, verify, &ask), spoil);
    if compacted.is_err() {
        assert_eq!(site.0.objects("t.lance/data/").await, before);
        assert_eq!(rows(&uri).await.num_rows(), MANY);
    }
    compacted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_spoilt_at_its_ends_is_found_and_in_its_middle_by_a_full_look() {
    let found = |compacted: Result<Compacted, Error>, what: &str| {
        assert!(
            matches!(&compacted, Err(Error::Unreadable { column, .. }) if column == "vector"),
            "{what}: {compacted:?}"
        );
    };
    for row in [0, 17, MANY - 1] {
        found(spoilt(row, Verify::Ends).await, "at an end");
    }
    for row in [0, MANY / 2, MANY - 1] {
        found(spoilt(row, Verify::Full).await, "anywhere");
    }
    for (row, verify) in [(MANY / 2, Verify::Ends), (0, Verify::Off)] {
        let compacted = spoilt(row, verify).await;
        assert!(matches!(compacted, Ok(Compacted::Done(_))), "{compacted:?}");
    }
}
