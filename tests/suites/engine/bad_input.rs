//! What cannot be done is refused with one clear, typed error, and nothing is changed or left behind.

use std::{fs, future::Future, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use object_store::ObjectStoreExt;
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use squire_engine::{
    Advice, DeleteRequest, Error, Graph, LoadMode, LoadRequest, Options, Receipt, Rows,
    input::{Input, InputError},
};
use squire_tests::{
    flights::{append, day, flights, key, planes, schema},
    place::{Place, rows, until_idle},
};

/// Columns of one row each for flights; those given replace or join the good ones.
fn flight(columns: &[(&str, ArrayRef)], without: &str) -> RecordBatch {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let mut all = vec![("origin", text("JFK")), ("dest", text("BOS"))];
    all.retain(|(name, _)| *name != without && columns.iter().all(|(other, _)| other != name));
    all.extend(columns.iter().cloned());
    let fields: Vec<_> = all
        .iter()
        .map(|(name, c)| Field::new(*name, c.data_type().clone(), true))
        .collect();
    let columns = all.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn batches(batches: Vec<RecordBatch>) -> LoadRequest {
    LoadRequest::new().add(key("edge:Flight"), LoadMode::Append, Rows::Batches(batches))
}

fn file(path: &Path) -> LoadRequest {
    LoadRequest::new().add(
        key("edge:Flight"),
        LoadMode::Append,
        Rows::File(Input::new(path)),
    )
}

/// A graph with rows in both tables, and everything that a refused operation must leave as it was.
struct Untouched {
    place: Place,
    graph: Graph,
}

impl Untouched {
    async fn new() -> Self {
        let (place, graph) = Place::with_graph().await;
        graph.load(day(1, 10)).await.unwrap();
        graph
            .load(append("node:Plane", planes(0, 10, 1)))
            .await
            .unwrap();
        Self { place, graph }
    }

    /// The error of an operation, once it is sure that nothing else came of it.
    async fn by(&self, operation: impl Future<Output = Result<Receipt, Error>>) -> Error {
        let objects = async || {
            let mut objects = self.place.objects("").await;
            // A place in line is taken and given back in manifests of its own.
            objects.retain(|path| !path.contains("_squire/manifest/"));
            objects
        };
        let before = (
            self.graph.snapshot().await.unwrap().manifest().clone(),
            objects().await,
        );
        let error = operation.await.expect_err("it cannot be done");
        until_idle(&self.graph).await;
        let after = (
            self.graph.snapshot().await.unwrap().manifest().clone(),
            objects().await,
        );
        assert_eq!(
            (&after.0.tables, &after.0.schema),
            (&before.0.tables, &before.0.schema)
        );
        assert_eq!(after.1, before.1, "{error}");
        error
    }

    async fn by_load(&self, request: LoadRequest) -> Error {
        let number = self.graph.snapshot().await.unwrap().manifest().number;
        let error = self.by(self.graph.load(request)).await;
        assert_eq!(
            self.graph.snapshot().await.unwrap().manifest().number,
            number,
            "{error}"
        );
        assert_eq!(error.advice(), Advice::FixInput, "{error}");
        error
    }

    async fn by_delete(&self, request: DeleteRequest) -> Error {
        let error = self.by(self.graph.delete(request)).await;
        assert_eq!(error.advice(), Advice::FixInput, "{error}");
        error
    }
}

fn parquet(path: &Path, rows_per_group: usize) {
    let batch = flights(1, 5_000);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows_per_group))
        .build();
    let mut writer = ArrowWriter::try_new(
        fs::File::create(path).unwrap(),
        batch.schema(),
        Some(properties),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_readable_parquet_are_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flights.parquet");
    let graph = Untouched::new().await;
    fs::write(&path, "these are no flights").unwrap();
    assert!(matches!(
        graph.by_load(file(&path)).await,
        Error::Input(InputError::Unreadable { .. })
    ));

    parquet(&path, 1_000);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(
        graph.by_load(file(&path)).await,
        Error::Input(InputError::Unreadable { .. })
    ));

    // The first row groups are read, and written, before the damage shows.
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..middle + 200].fill(0xff);
    fs::write(&path, damaged).unwrap();
    let error = graph.by_load(file(&path)).await;
    assert!(matches!(error, Error::Input(_)), "{error}");
    assert!(error.to_string().contains("flights.parquet"), "{error}");

    fs::write(&path, whole).unwrap();
    graph.graph.load(file(&path)).await.unwrap();
    assert_eq!(rows(&graph.graph, "edge:Flight").await, 5_010);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_or_empty_or_of_no_known_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let graph = Untouched::new().await;
    let absent = graph
        .by_load(file(&dir.path().join("absent.parquet")))
        .await;
    assert!(
        matches!(absent, Error::Input(InputError::NotFound { .. })),
        "{absent}"
    );
    let path = dir.path().join("empty.csv");
    fs::write(&path, "").unwrap();
    assert!(matches!(
        graph.by_load(file(&path)).await,
        Error::Input(InputError::Empty { .. })
    ));
    let path = dir.path().join("flights.docx");
    fs::write(&path, "x").unwrap();
    assert!(matches!(
        graph.by_load(file(&path)).await,
        Error::Input(InputError::UnknownFormat { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_fit_are_named() {
    let graph = Untouched::new().await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["monday"]));
    let wrong = graph
        .by_load(batches(vec![flight(&[("day", text)], "")]))
        .await;
    assert!(
        matches!(&wrong, Error::Input(InputError::WrongType { column, .. } | InputError::BadValue { column, .. }) if column == "day"),
        "{wrong}"
    );
    let missing = graph.by_load(batches(vec![flight(&[], "dest")])).await;
    assert!(
        matches!(&missing, Error::Input(InputError::MissingColumn { column, expected: DataType::Utf8, .. }) if column == "dest"),
        "{missing}"
    );
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let unknown = graph
        .by_load(batches(vec![flight(&[("days", number)], "")]))
        .await;
    assert!(
        matches!(&unknown, Error::Input(InputError::UnknownColumn { nearest: Some(nearest), .. }) if nearest == "day"),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_value_is_found_in_its_row_though_rows_before_it_were_written() {
    let graph = Untouched::new().await;
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let batches = batches(vec![flights(2, 20_000), flight(&[("dest", null)], "")]);
    let error = graph.by_load(batches).await;
    assert!(
        matches!(&error, Error::Input(InputError::MissingValue { column, .. }) if column == "dest"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_two_tables_fails_as_a_whole_when_one_does_not_fit() {
    let graph = Untouched::new().await;
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let bad = batches(vec![flight(&[("dest", null)], "")]);
    let both = bad.add(
        key("node:Plane"),
        LoadMode::Append,
        Rows::Batches(vec![planes(10, 20, 1)]),
    );
    let error = graph.by_load(both).await;
    assert!(
        matches!(error, Error::Input(InputError::MissingValue { .. })),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_table_is_refused_with_the_nearest_one() {
    let graph = Untouched::new().await;
    let nearest = |error: &Error| match error {
        Error::UnknownTable { nearest, .. } => nearest.clone(),
        other => panic!("{other}"),
    };
    let load = graph.by_load(append("node:Plan", planes(0, 1, 1))).await;
    assert_eq!(nearest(&load), Some(key("node:Plane")));
    let delete = graph
        .by_delete(DeleteRequest::new().add(key("edge:Flights"), "true"))
        .await;
    assert_eq!(nearest(&delete), Some(key("edge:Flight")));
    let far = graph.by_load(append("node:Zebra", planes(0, 1, 1))).await;
    assert_eq!(nearest(&far), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_that_does_not_fit_is_a_bad_request_whatever_was_staged_before_it() {
    let graph = Untouched::new().await;
    for bad in [
        "carrier = 'UA'",
        "day = ",
        "day = 'monday'",
        "DROP TABLE flights",
    ] {
        let delete = DeleteRequest::new()
            .add(key("node:Plane"), "seats = 1 AND tailnum < 'N00005'")
            .add(key("edge:Flight"), bad);
        let error = graph.by_delete(delete).await;
        assert!(
            matches!(&error, Error::BadRequest { table, .. } if *table == key("edge:Flight")),
            "{bad}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_into_a_table_without_a_key_is_a_bad_request() {
    let graph = Untouched::new().await;
    let rows = Rows::Batches(vec![flights(1, 5)]);
    let upsert = LoadRequest::new().add(key("edge:Flight"), LoadMode::Upsert, rows);
    let error = graph.by(graph.graph.load(upsert)).await;
    assert!(
        matches!(&error, Error::BadRequest { table, .. } if *table == key("edge:Flight")),
        "{error}"
    );
    assert_eq!(error.advice(), Advice::FixInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_cannot_be_written_is_a_failure_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let root = file.join("graph");
    let created = Graph::create(root.to_str().unwrap(), schema(), Options::default()).await;
    let error = created.expect_err("a file is in the way");
    assert!(
        matches!(error, Error::Store { .. } | Error::BadUri { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("graph"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_without_a_graph_is_no_graph_and_is_left_as_it_is() {
    let place = Place::empty();
    let opened = Graph::open(place.uri(), Options::default()).await;
    assert!(matches!(opened, Err(Error::NotAGraph { .. })));
    assert!(place.objects("").await.is_empty());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let opened = Graph::open(dir.path().to_str().unwrap(), Options::default()).await;
    assert!(matches!(opened, Err(Error::NotAGraph { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_with_a_graph_takes_no_second_one() {
    let graph = Untouched::new().await;
    let again = Graph::create(graph.place.uri(), schema(), Options::default()).await;
    assert!(matches!(again, Err(Error::AlreadyAGraph { .. })));
    assert_eq!(rows(&graph.graph, "edge:Flight").await, 10);
}

/// A graph whose newest manifest is this.
async fn with_newest(bytes: &[u8]) -> (Place, Graph) {
    let (place, graph) = Place::with_graph().await;
    let number = graph.snapshot().await.unwrap().manifest().number + 1;
    let (store, root) = place.store().await;
    let path = root
        .join("_squire")
        .join("manifest")
        .join(format!("{number:020}.json"));
    store.inner.put(&path, bytes.to_vec().into()).await.unwrap();
    (place, graph)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_newer_release_is_left_alone() {
    let (place, graph) = with_newest(br#"{"format": 7, "everything": "else"}"#).await;
    let before = place.objects("").await;
    let opened = Graph::open(place.uri(), Options::default()).await;
    let newer = |e: &Error| {
        matches!(
            e,
            Error::NewerFormat {
                found: 7,
                known: 1,
                ..
            }
        )
    };
    assert!(newer(&opened.expect_err("it is newer")));
    assert!(newer(
        &graph.load(day(1, 10)).await.expect_err("it is newer")
    ));
    assert!(newer(&graph.heal().await.expect_err("it is newer")));
    assert_eq!(place.objects("").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_cut_short_is_damaged_and_left_alone() {
    let (place, graph) = with_newest(br#"{"format": 1, "graph": "0"#).await;
    let before = place.objects("").await;
    let opened = Graph::open(place.uri(), Options::default()).await;
    let error = opened.expect_err("it is cut short");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(error.advice(), Advice::Repair);
    assert!(matches!(
        graph.load(day(1, 10)).await,
        Err(Error::Damaged { .. })
    ));
    assert_eq!(place.objects("").await, before);
}
