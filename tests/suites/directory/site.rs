//! A directory in memory, and writers of its tables that know nothing of Squire.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch, RecordBatchIterator},
    datatypes::{DataType, Field, Int64Type, Schema, UInt64Type},
};
use futures::TryStreamExt;
use lance::{
    Dataset,
    dataset::{
        InsertBuilder, MergeInsertBuilder, WhenMatched, WhenNotMatched, WriteMode, WriteParams,
        builder::DatasetBuilder,
    },
    index::DatasetIndexExt,
};
use lance_index::{IndexType, scalar::ScalarIndexParams};
use squire_engine::{
    Compacted, Directory, DirectoryOptions, Error, TableKey,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{place::Place, store::Watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Ids, and the value that stands beside each.
pub(crate) type Model = BTreeMap<i64, i64>;

/// How a table is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    pub(crate) stable_row_ids: bool,
    pub(crate) index: bool,
}

impl Kind {
    /// With stable row ids and without, with an index and without.
    pub(crate) const ALL: [Self; 4] = [
        Self::of(false, false),
        Self::of(false, true),
        Self::of(true, false),
        Self::of(true, true),
    ];

    const fn of(stable_row_ids: bool, index: bool) -> Self {
        Self {
            stable_row_ids,
            index,
        }
    }
}

/// A directory that no other test has.
#[derive(Clone, Debug)]
pub(crate) struct Site(pub(crate) Place);

impl Site {
    pub(crate) fn new() -> Self {
        Self(Place::empty())
    }

    /// Squire's handle, with a watch on its requests.
    pub(crate) async fn open(&self) -> (Directory, Watch) {
        let watch = Watch::new();
        let wrapper = watch.wrapper();
        let options = DirectoryOptions {
            wrapper,
            ..DirectoryOptions::default()
        };
        let directory = Directory::open(self.0.uri(), options).await;
        (directory.unwrap(), watch)
    }

    /// A table of so many fragments with so many rows each: ids count up, values are the ids.
    pub(crate) async fn table(&self, name: &str, kind: Kind, fragments: i64, rows: i64) -> Writer {
        let uri = format!("{}/{name}.lance", self.0.lance_uri());
        Writer::create(&uri, kind, fragments, rows).await
    }

    /// Every data file below a table's folder, and those that its newest version names.
    pub(crate) async fn data_files(&self, writer: &Writer) -> (BTreeSet<String>, BTreeSet<String>) {
        let dataset = writer.newest().await;
        let folder = dataset.uri().rsplit('/').next().unwrap().to_owned();
        let found = self.0.objects(&format!("{folder}/data/")).await;
        let name = |path: String| path.rsplit('/').next().unwrap().to_owned();
        let files = dataset.manifest().fragments.iter().flat_map(|f| &f.files);
        let named = files.map(|f| f.path.clone()).collect();
        (found.into_iter().map(name).collect(), named)
    }

    /// The same of deletion files.
    pub(crate) async fn deletion_files(
        &self,
        writer: &Writer,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let dataset = writer.newest().await;
        let folder = dataset.uri().rsplit('/').next().unwrap().to_owned();
        let found = self.0.objects(&format!("{folder}/_deletions/")).await;
        let name = |path: String| path.rsplit('/').next().unwrap().to_owned();
        let named = dataset.manifest().fragments.iter().filter_map(|f| {
            let file = f.deletion_file.as_ref()?;
            let path = lance_table::io::deletion::relative_deletion_file_path(f.id, file);
            Some(name(path))
        });
        (found.into_iter().map(name).collect(), named.collect())
    }
}

pub(crate) fn key(name: &str) -> TableKey {
    TableKey::of_directory(name)
}

/// Starts a compaction in a task of its own.
pub(crate) fn start(
    directory: &Directory,
    name: &str,
    policy: &CompactionPolicy,
) -> JoinHandle<Result<Compacted, Error>> {
    let (directory, table, policy) = (directory.clone(), key(name), policy.clone());
    tokio::spawn(async move {
        let stop = CancellationToken::new();
        directory
            .compact(&table, &policy, &Ask::forced(), &stop)
            .await
    })
}

pub(crate) async fn compact(directory: &Directory, name: &str) -> Compacted {
    let compacted = start(directory, name, &CompactionPolicy::default()).await;
    compacted.unwrap().unwrap()
}

/// A writer of one table, as any program with Lance is. It tells its table's rows by a model of its own.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    uri: String,
    kind: Kind,
    pub(crate) model: Model,
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("value", DataType::Int64, true),
    ]))
}

pub(crate) fn batch(rows: impl IntoIterator<Item = (i64, i64)>) -> RecordBatch {
    let (ids, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int64Array::from(ids)),
        Arc::new(arrow::array::Int64Array::from(values)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A table with these rows, in fragments of fifty.
pub(crate) async fn in_fifties(uri: &str, stable_row_ids: bool, rows: RecordBatch) -> Dataset {
    let params = WriteParams {
        mode: WriteMode::Create,
        enable_stable_row_ids: stable_row_ids,
        max_rows_per_file: 50,
        ..WriteParams::default()
    };
    let created = InsertBuilder::new(uri)
        .with_params(&params)
        .execute(vec![rows])
        .await;
    created.unwrap()
}

impl Writer {
    pub(crate) async fn create(uri: &str, kind: Kind, fragments: i64, rows: i64) -> Self {
        let params = WriteParams {
            mode: WriteMode::Create,
            enable_stable_row_ids: kind.stable_row_ids,
            ..WriteParams::default()
        };
        let first = batch((0..rows).map(|id| (id, id)));
        let created = InsertBuilder::new(uri)
            .with_params(&params)
            .execute(vec![first.clone()])
            .await;
        created.unwrap();
        let mut writer = Self {
            uri: uri.to_owned(),
            kind,
            model: (0..rows).map(|id| (id, id)).collect(),
        };
        for n in 1..fragments {
            writer
                .append((n * rows..(n + 1) * rows).map(|id| (id, id)))
                .await;
        }
        if kind.index {
            writer.index().await;
        }
        writer
    }

    pub(crate) async fn newest(&self) -> Dataset {
        DatasetBuilder::from_uri(&self.uri).load().await.unwrap()
    }

    /// Indexes every row that is there.
    pub(crate) async fn index(&self) {
        let params = ScalarIndexParams::default();
        let mut dataset = self.newest().await;
        let indexed = dataset
            .create_index(&["id"], IndexType::BTree, None, &params, true)
            .await;
        indexed.unwrap();
    }

    pub(crate) async fn append(&mut self, rows: impl IntoIterator<Item = (i64, i64)>) {
        let rows: Vec<_> = rows.into_iter().collect();
        let batch = batch(rows.iter().copied());
        let schema = batch.schema();
        let mut dataset = self.newest().await;
        let appended = dataset.append(RecordBatchIterator::new([Ok(batch)], schema), None);
        appended.await.unwrap();
        self.model.extend(rows);
    }

    /// Deletes the rows with these ids.
    pub(crate) async fn delete(&mut self, ids: impl IntoIterator<Item = i64>) {
        let ids: Vec<_> = ids.into_iter().collect();
        if ids.is_empty() {
            return;
        }
        let listed = ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let predicate = format!("id in ({})", listed.join(", "));
        self.newest().await.delete(&predicate).await.unwrap();
        self.model.retain(|id, _| !ids.contains(id));
    }

    /// Updates the rows with these ids, and inserts those that are not there.
    pub(crate) async fn upsert(&mut self, rows: impl IntoIterator<Item = (i64, i64)>) {
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        let batch = batch(rows.clone());
        let dataset = Arc::new(self.newest().await);
        let mut merge = MergeInsertBuilder::try_new(dataset, vec!["id".to_owned()]).unwrap();
        merge
            .when_matched(WhenMatched::UpdateAll)
            .when_not_matched(WhenNotMatched::InsertAll);
        let job = merge.try_build().unwrap();
        let schema = batch.schema();
        let source = RecordBatchIterator::new([Ok(batch)], schema);
        job.execute_reader(source).await.unwrap();
        self.model.extend(rows);
    }

    /// What a scan returns.
    pub(crate) async fn rows(&self) -> Model {
        let dataset = self.newest().await;
        let batches: Vec<RecordBatch> = dataset
            .scan()
            .try_into_stream()
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let mut rows = Model::new();
        for batch in &batches {
            let ids = batch["id"].as_primitive::<Int64Type>();
            let values = batch["value"].as_primitive::<Int64Type>();
            for n in 0..batch.num_rows() {
                let before = rows.insert(ids.value(n), values.value(n));
                assert!(before.is_none(), "row {} is there twice", ids.value(n));
            }
        }
        rows
    }

    /// The stable id of each row.
    pub(crate) async fn row_ids(&self) -> BTreeMap<i64, u64> {
        let dataset = self.newest().await;
        let mut scan = dataset.scan();
        scan.with_row_id();
        let batches: Vec<RecordBatch> = scan
            .try_into_stream()
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let pairs = batches.iter().flat_map(|batch| {
            let ids = batch["id"].as_primitive::<Int64Type>();
            let row_ids = batch["_rowid"].as_primitive::<UInt64Type>();
            (0..batch.num_rows()).map(move |n| (ids.value(n), row_ids.value(n)))
        });
        pairs.collect()
    }

    /// The values of the rows with this id, by the index where there is one.
    pub(crate) async fn lookup(&self, dataset: &Dataset, id: i64) -> Vec<i64> {
        let mut scan = dataset.scan();
        scan.filter(&format!("id = {id}")).unwrap();
        let found = scan.try_into_batch().await.unwrap();
        let values = found["value"].as_primitive::<Int64Type>();
        values.values().to_vec()
    }

    /// Sees that the table holds exactly the model's rows, by scan, by count and by lookups of these ids.
    pub(crate) async fn check(&self, ids: impl IntoIterator<Item = i64>) {
        let dataset = self.newest().await;
        assert_eq!(self.rows().await, self.model);
        assert_eq!(dataset.count_rows(None).await.unwrap(), self.model.len());
        for id in ids {
            let expected: Vec<_> = self.model.get(&id).copied().into_iter().collect();
            assert_eq!(self.lookup(&dataset, id).await, expected, "of id {id}");
        }
        if self.kind.index {
            let fragments = dataset.manifest().fragments.iter();
            let live: usize = fragments.filter_map(|f| f.num_rows()).sum();
            assert_eq!(live, self.model.len(), "what the manifest counts");
        }
    }

    /// Fragments of the newest version.
    pub(crate) async fn fragments(&self) -> usize {
        self.newest().await.manifest().fragments.len()
    }
}
