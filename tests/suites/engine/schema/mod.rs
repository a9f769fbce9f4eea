//! Schema applies: every step does what it says and nothing else, beside whatever else goes on.

mod beside;
mod columns;
mod cost;
mod hard;
mod types;

use arrow::array::{Array, ArrayRef, RecordBatch};
use lance::{Dataset, dataset::builder::DatasetBuilder};
use squire_engine::{Error, Graph, Options, Receipt, SchemaRequest, schema::Schema};
use squire_tests::flights::{SCHEMA, append, day, key, planes};

/// The suites' schema with some of its text replaced.
fn changed(changes: &[(&str, &str)]) -> Schema {
    let text = changes
        .iter()
        .fold(SCHEMA.to_owned(), |text, (part, instead)| {
            assert!(text.contains(part), "the schema has no {part}");
            text.replace(part, instead)
        });
    Schema::parse(&text, "changed.toml").unwrap()
}

/// An apply of the suites' schema with some of its text replaced.
fn to(changes: &[(&str, &str)]) -> SchemaRequest {
    SchemaRequest::new(changed(changes))
}

async fn apply(graph: &Graph, changes: &[(&str, &str)]) -> Result<Receipt, Error> {
    graph.apply_schema(to(changes)).await
}

/// Loads two days of flights and fifty planes, each in two fragments.
async fn fill(graph: &Graph) {
    for n in 0..2 {
        graph.load(day(n, 50)).await.unwrap();
    }
    for (from, to) in [(0, 20), (20, 50)] {
        let seats = i32::try_from(to).unwrap();
        graph
            .load(append("node:Plane", planes(from, to, seats)))
            .await
            .unwrap();
    }
}

/// A graph with rows in it.
async fn filled(uri: &str) -> Graph {
    let schema = Schema::parse(SCHEMA, "flights.toml").unwrap();
    let graph = Graph::create(uri, schema, Options::default())
        .await
        .unwrap();
    fill(&graph).await;
    graph
}

async fn open(graph: &Graph, table: &str) -> Dataset {
    let snapshot = graph.snapshot().await.unwrap();
    snapshot.open(&key(table)).await.unwrap()
}

/// All rows that readers see.
async fn read(graph: &Graph, table: &str) -> RecordBatch {
    let dataset = open(graph, table).await;
    dataset.scan().try_into_batch().await.unwrap()
}

fn column(batch: &RecordBatch, name: &str) -> ArrayRef {
    let found = batch.column_by_name(name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

fn path(graph_path: &squire_engine::Snapshot, table: &str) -> String {
    graph_path.manifest().tables[&key(table)].path.clone()
}

/// A table as a program sees it that knows nothing of Squire.
async fn plainly(uri: &str, folder: &str) -> Dataset {
    let root = if uri.starts_with("memory://") {
        format!("shared-{uri}")
    } else {
        uri.to_owned()
    };
    let table = DatasetBuilder::from_uri(format!("{root}/{folder}"));
    table.load().await.unwrap()
}

/// Whether a column has no value at all.
fn is_empty(column: &ArrayRef) -> bool {
    column.null_count() == column.len()
}
