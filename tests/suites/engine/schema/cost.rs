//! What an apply costs.
#![allow(clippy::print_stdout)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema as ArrowSchema},
};
use squire_engine::{Graph, LoadMode, LoadRequest, Options, Rows, SchemaRequest, schema::Schema};
use squire_tests::{
    flights::key,
    place::{Place, rows},
    store::Request,
};

const NARROW: &str = "[node.N]\nkey = [\"id\"]\nproperties.id = \"int64\"\n";

async fn of_rows(count: i64) -> Place {
    let place = Place::empty();
    let schema = Schema::parse(NARROW, "narrow.toml").unwrap();
    let graph = Graph::create(place.uri(), schema, Options::default())
        .await
        .unwrap();
    let arrow = ArrowSchema::new(vec![Field::new("id", DataType::Int64, false)]);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let batch = RecordBatch::try_new(Arc::new(arrow), vec![ids]).unwrap();
    let load = LoadRequest::new().add(key("node:N"), LoadMode::Append, Rows::Batches(vec![batch]));
    graph.load(load).await.unwrap();
    place
}

/// Adds a property; what it asked of the store, and how long it took.
async fn add_property(place: &Place, property: &str) -> (Vec<Request>, Duration) {
    let (graph, watch) = place.watched().await;
    watch.take();
    let wanted = graph.snapshot().await.unwrap().manifest().schema.to_toml();
    let wanted = Schema::parse(&format!("{wanted}{property} = \"string\"\n"), "more.toml").unwrap();
    let request = SchemaRequest::new(wanted);
    let started = Instant::now();
    graph.apply_schema(request).await.unwrap();
    (watch.take(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_property_costs_the_same_requests_for_a_thousand_rows_and_for_a_million() {
    let (small, large) = (of_rows(1_000).await, of_rows(1_000_000).await);
    let mut times = (Duration::ZERO, Duration::ZERO);
    for property in ["a", "b", "c", "d"] {
        let (few, short) = add_property(&small, property).await;
        let (many, long) = add_property(&large, property).await;
        let verbs = |requests: &[Request]| {
            let mut verbs: Vec<_> = requests.iter().map(|r| r.verb).collect();
            verbs.sort();
            verbs
        };
        assert_eq!(verbs(&few), verbs(&many), "{few:#?} {many:#?}");
        println!(
            "{} requests; 1,000 rows: {short:?}, 1,000,000 rows: {long:?}",
            few.len()
        );
        times = (times.0 + short, times.1 + long);
    }
    let ratio = times.1.as_secs_f64() / times.0.as_secs_f64();
    println!("a million rows take {ratio:.2} times as long as a thousand");
    let there = large.open().await;
    assert_eq!(rows(&there, "node:N").await, 1_000_000);
}
