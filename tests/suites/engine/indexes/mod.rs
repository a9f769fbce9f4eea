//! Indexes: declared ones are built, rows that are outside come under them, and every answer is what a scan says.

mod answers;
mod beside;
mod upkeep;

use lance::Dataset;
use squire_engine::{
    Error, Graph, Indexed, LoadMode, LoadRequest, Options, Receipt, Rows, SchemaRequest,
    TableStats,
    planner::{
        Ask,
        clients::READS_SEGMENTS,
        indexing::{IndexPolicy, Task},
    },
    schema::Schema,
};
use squire_tests::{
    docs::{SCHEMA, docs, wrong_answers},
    flights::key,
    place::Place,
};
use tokio_util::sync::CancellationToken;

const DOC: &str = "node:Doc";
/// Enough to train a vector index on.
const MANY: i32 = 300;
/// Where segments of indexes are written.
const INDICES: &str = "Doc.lance/_indices/";

/// An empty graph of documents.
async fn graph() -> (Place, Graph) {
    let place = Place::empty();
    let schema = Schema::parse(SCHEMA, "docs.toml").unwrap();
    let graph = Graph::create(place.uri(), schema, Options::default());
    let graph = graph.await.unwrap();
    (place, graph)
}

/// A graph of documents in three fragments, under all indexes.
async fn indexed() -> (Place, Graph) {
    let (place, graph) = graph().await;
    for part in 0..3 {
        load(&graph, LoadMode::Append, part * 100..part * 100 + 100, 0).await;
    }
    let Indexed::Done(receipt) = force(&graph).await else {
        panic!("everything can be built")
    };
    assert_eq!(receipt.tasks.len(), 5);
    (place, graph)
}

async fn load(graph: &Graph, mode: LoadMode, ids: std::ops::Range<i32>, edition: i32) -> Receipt {
    let rows = Rows::Batches(vec![docs(ids, edition)]);
    let request = LoadRequest::new().add(key(DOC), mode, rows);
    graph.load(request).await.unwrap()
}

async fn index_with(graph: &Graph, policy: &IndexPolicy, ask: &Ask) -> Result<Indexed, Error> {
    let stop = CancellationToken::new();
    graph.index(&key(DOC), policy, ask, &stop).await
}

/// Brings all indexes up to date; where one has several segments, they are merged.
async fn force(graph: &Graph) -> Indexed {
    let done = index_with(graph, &IndexPolicy::default(), &Ask::forced()).await;
    done.unwrap()
}

/// Puts what is outside beside the segments that there are: all clients know several.
async fn append(graph: &Graph) -> Indexed {
    let policy = IndexPolicy {
        max_unindexed_rows: 1,
        max_segments: 1000,
        oldest_client: Some(READS_SEGMENTS),
        ..IndexPolicy::default()
    };
    index_with(graph, &policy, &Ask::default()).await.unwrap()
}

fn tasks(indexed: Indexed) -> Vec<Task> {
    match indexed {
        Indexed::Done(receipt) => receipt.tasks,
        other => panic!("it is done: {other:?}"),
    }
}

async fn apply(graph: &Graph, from: &str, to: &str) -> Result<Receipt, Error> {
    assert!(SCHEMA.contains(from), "the schema has no {from}");
    let schema = Schema::parse(&SCHEMA.replace(from, to), "docs.toml").unwrap();
    graph.apply_schema(SchemaRequest::new(schema)).await
}

async fn table(graph: &Graph) -> Dataset {
    let snapshot = graph.snapshot().await.unwrap();
    snapshot.open(&key(DOC)).await.unwrap()
}

async fn stats(graph: &Graph) -> TableStats {
    let snapshot = graph.snapshot().await.unwrap();
    snapshot.stats(&key(DOC)).await.unwrap()
}

/// Live rows outside of each index, by the index's name.
fn outside(stats: &TableStats) -> Vec<(&str, u64)> {
    let outside = stats.indexes.iter();
    outside
        .map(|i| (i.name.as_str(), i.unindexed_rows))
        .collect()
}

/// All indexes of the schema, each with so many rows outside.
fn all_with(rows: u64) -> Vec<(&'static str, u64)> {
    [
        "kind_bitmap",
        "size_btree",
        "tags_label_list",
        "text_inverted",
        "v_vector",
    ]
    .map(|name| (name, rows))
    .to_vec()
}

async fn assert_right(graph: &Graph) {
    let wrong = wrong_answers(&table(graph).await).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
