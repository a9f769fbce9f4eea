//! What the protocol costs in requests to the store.
#![allow(clippy::print_stdout)]

use std::{fmt::Write, time::Instant};

use squire_engine::{Graph, Options, schema::Schema};
use squire_tests::{
    flights::day,
    place::Place,
    store::{Request, Verb, Watch},
};

fn count(requests: &[Request], verb: Verb, folder: &str) -> usize {
    requests
        .iter()
        .filter(|r| r.verb == verb && r.is_squire(folder))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncontended_load_costs_two_manifests_one_sidecar_and_three_lists() {
    let (place, _) = Place::with_graph().await;
    let (graph, watch) = place.watched().await;
    watch.take();
    for n in 0..3 {
        graph.load(day(n, 100)).await.unwrap();
        let requests = watch.take();
        println!("load {n}: {} requests", requests.len());
        for request in &requests {
            println!("  {:?} {}", request.verb, request.path);
        }
        let of = |verb, folder| count(&requests, verb, folder);
        assert_eq!(of(Verb::Put, "manifest"), 2, "one decides, one publishes");
        assert_eq!(
            (of(Verb::Put, "recovery"), of(Verb::Delete, "recovery")),
            (1, 1)
        );
        assert!(
            of(Verb::List, "manifest") <= 3,
            "{} lists",
            of(Verb::List, "manifest")
        );
        assert_eq!(
            of(Verb::List, ""),
            of(Verb::List, "manifest"),
            "nothing else is listed"
        );
        assert_eq!(
            of(Verb::Put, "alive"),
            0,
            "a short operation needs no heartbeat"
        );
        let reads = of(Verb::Get, "") + of(Verb::Head, "");
        assert_eq!(reads, 0, "what this process wrote it need not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_an_unchanged_graph_of_a_thousand_tables_costs_one_request() {
    let mut text = "[graph]\nname = \"wide\"\n".to_owned();
    for n in 0..1_000 {
        write!(
            text,
            "[node.T{n:04}]\nkey = [\"id\"]\nproperties.id = \"int64\"\n"
        )
        .unwrap();
    }
    let schema = Schema::parse(&text, "wide.toml").unwrap();
    let place = Place::empty();
    let started = Instant::now();
    Graph::create(place.uri(), schema, Options::default())
        .await
        .unwrap();
    println!("1,000 tables created in {:?}", started.elapsed());

    let watch = Watch::new();
    let options = Options {
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let graph = place.open_with(options).await;
    println!("opened with {:?}", watch.take());
    for _ in 0..3 {
        let snapshot = graph.snapshot().await.unwrap();
        assert_eq!(snapshot.manifest().tables.len(), 1_000);
        let requests = watch.take();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].verb, Verb::List);
    }
}
