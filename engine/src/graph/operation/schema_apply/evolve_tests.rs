//! Steps on a Lance table of its own, without a graph around it.

use arrow::{
    array::{Int32Array, RecordBatchIterator, StringArray},
    datatypes::DataType,
};
use lance::{
    dataset::{CommitBuilder, InsertBuilder, WriteParams},
    index::DatasetIndexExt,
};
use lance_index::{IndexType, scalar::ScalarIndexParams};
use uuid::Uuid;

use super::*;
use crate::{
    schema::{Cost, Property},
    storage::{Beyond, Storage},
    table::drift::DriftPolicy,
};

fn property(name: &str, data_type: &str) -> Property {
    Property {
        name: name.to_owned(),
        data_type: data_type.parse().unwrap(),
        required: false,
        renamed_from: None,
    }
}

fn add(name: &str) -> Step {
    Step::AddProperty {
        table: "node:A".parse().unwrap(),
        property: property(name, "int32"),
    }
}

fn drop_property(name: &str) -> Step {
    Step::DropProperty {
        table: "node:A".parse().unwrap(),
        property: name.to_owned(),
    }
}

fn rename(from: &str, to: &str) -> Step {
    Step::RenameProperty {
        table: "node:A".parse().unwrap(),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn widen(name: &str, from: &str, to: &str) -> Step {
    Step::WidenCast {
        table: "node:A".parse().unwrap(),
        property: name.to_owned(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

fn nullable(name: &str) -> Step {
    Step::MakeNullable {
        table: "node:A".parse().unwrap(),
        property: name.to_owned(),
    }
}

/// A table of `id`, `n` and `m` in two fragments, with rows `0..20`.
struct Bench {
    table: Table,
    dataset: Arc<Dataset>,
}

impl Bench {
    async fn new() -> Self {
        let uri = format!("memory://{}/graph", Uuid::new_v4().simple());
        let storage = Storage::connect(&uri, None, &Beyond::default())
            .await
            .unwrap();
        let table = Table {
            storage,
            key: "node:A".parse().unwrap(),
            path: "A.lance".to_owned(),
            drift: DriftPolicy::default(),
        };
        let schema = Arc::new(ArrowSchema::new(vec![
            ArrowField::new("id", DataType::Utf8, false),
            ArrowField::new("n", DataType::Int32, true),
            ArrowField::new("m", DataType::Int32, false),
        ]));
        let batch = |from: i32| {
            let ids = (from..from + 10).map(|n| n.to_string());
            let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(from..from + 10));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(ids)),
                numbers.clone(),
                numbers,
            ];
            RecordBatch::try_new(schema.clone(), columns).unwrap()
        };
        let params = WriteParams {
            store_params: Some(table.storage.params()),
            session: Some(table.storage.session()),
            enable_stable_row_ids: true,
            ..WriteParams::default()
        };
        let uri = table.storage.table_uri(&table.path);
        let mut dataset = InsertBuilder::new(uri.as_str())
            .with_params(&params)
            .execute(vec![batch(0)])
            .await
            .unwrap();
        let more = RecordBatchIterator::new([Ok(batch(10))], schema.clone());
        dataset.append(more, None).await.unwrap();
        Self {
            table,
            dataset: Arc::new(dataset),
        }
    }

    /// Takes the steps and commits.
    async fn take(&mut self, steps: &[Step]) {
        let evolution = Evolution::of(self.dataset.schema(), steps).unwrap();
        let staged = stage(&self.table, &self.dataset, &evolution, OperationId::fresh()).await;
        let staged = staged.unwrap().expect("columns change");
        let committed = CommitBuilder::new(self.dataset.clone())
            .execute(staged.transaction)
            .await;
        self.dataset = Arc::new(committed.unwrap());
        self.dataset.validate().await.unwrap();
    }

    fn ids(&self) -> Vec<(&str, i32)> {
        let fields = self.dataset.schema().fields.iter();
        fields.map(|f| (f.name.as_str(), f.id)).collect()
    }

    async fn index(&mut self, column: &str) {
        let mut dataset = self.dataset.as_ref().clone();
        let params = ScalarIndexParams::default();
        dataset
            .create_index(&[column], IndexType::BTree, None, &params, true)
            .await
            .unwrap();
        self.dataset = Arc::new(dataset);
    }

    async fn count(&self, filter: &str) -> usize {
        let counted = self.dataset.count_rows(Some(filter.to_owned())).await;
        counted.unwrap()
    }

    async fn indexes(&self) -> usize {
        self.dataset.load_indices().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_new_property_never_gets_the_id_that_another_had_in_a_file() {
    let mut bench = Bench::new().await;
    bench.take(&[drop_property("m")]).await;
    bench.take(&[add("late")]).await;
    assert_eq!(bench.ids(), [("id", 0), ("n", 1), ("late", 3)]);
    assert_eq!(bench.count("late IS NULL").await, 20);
    bench
        .take(&[drop_property("late"), add("later"), rename("n", "k")])
        .await;
    assert_eq!(bench.ids()[..2], [("id", 0), ("k", 1)]);
    assert_eq!(bench.count("later IS NULL AND k < 5").await, 5);
}

#[tokio::test]
async fn a_cast_writes_one_file_for_each_fragment_and_only_its_column() {
    let mut bench = Bench::new().await;
    let evolution = Evolution::of(bench.dataset.schema(), &[widen("n", "int32", "int64")]).unwrap();
    let staged = stage(
        &bench.table,
        &bench.dataset,
        &evolution,
        OperationId::fresh(),
    )
    .await;
    let staged = staged.unwrap().unwrap();
    let Operation::Merge { fragments, .. } = &staged.transaction.operation else {
        panic!("{:?}", staged.transaction)
    };
    assert!(
        fragments
            .iter()
            .all(|f| f.files.len() == 2 && f.files[1].fields.len() == 1)
    );
    // Called off: only the new files go.
    staged.delete_files(&bench.table).await;
    assert_eq!(bench.count("n >= 0 AND m >= 0").await, 20);
    bench.take(&[widen("n", "int32", "int64")]).await;
    assert_eq!(bench.ids(), [("id", 0), ("n", 3), ("m", 2)]);
    assert_eq!(bench.count("n = m").await, 20);
}

#[tokio::test]
async fn a_table_stays_readable_when_an_indexed_property_is_renamed_cast_or_dropped() {
    let mut bench = Bench::new().await;
    bench.index("n").await;
    bench.take(&[rename("n", "k")]).await;
    assert_eq!(bench.indexes().await, 1, "it is the same column");
    assert_eq!(bench.count("k < 5").await, 5);
    bench.take(&[widen("k", "int32", "int64")]).await;
    assert_eq!(bench.indexes().await, 0, "the column it was of is gone");
    assert_eq!(bench.count("k < 5").await, 5);
    bench.index("k").await;
    bench.take(&[drop_property("k")]).await;
    assert_eq!(bench.indexes().await, 0);
    assert_eq!(bench.count("m < 5").await, 5);
}

#[tokio::test]
async fn what_a_plan_says_a_step_rewrites_is_what_is_rewritten() {
    let cast = || widen("n", "int32", "int64");
    let cases = [
        vec![add("x"), nullable("m"), rename("n", "k")],
        vec![cast(), add("x")],
        vec![cast(), nullable("m")],
        vec![rename("m", "k"), cast()],
        vec![rename("m", "k"), cast(), add("m")],
        vec![drop_property("m"), rename("id", "m"), cast()],
    ];
    for steps in cases {
        let mut bench = Bench::new().await;
        let evolution = Evolution::of(bench.dataset.schema(), &steps).unwrap();
        let rewrites = |step: &&Step| step.cost_among(&steps) == Cost::Rewrite;
        let said = steps.iter().filter(rewrites).count();
        assert_eq!(evolution.rewritten().len(), said, "{steps:?}");
        bench.take(&steps).await;
        assert_eq!(bench.dataset.count_rows(None).await.unwrap(), 20);
    }
}

#[test]
fn steps_that_were_planned_for_other_columns_are_refused() {
    let schema = LanceSchema::try_from(&ArrowSchema::new(vec![ArrowField::new(
        "id",
        DataType::Utf8,
        false,
    )]))
    .unwrap();
    for step in [
        drop_property("n"),
        add("id"),
        rename("n", "k"),
        nullable("n"),
    ] {
        let misfit = Evolution::of(&schema, [&step]).unwrap_err();
        assert_eq!(misfit.step, step.to_string());
    }
}
