//! A daemon that is told to stop leaves everything in order.

use squire_engine::Graph;
use squire_tests::{
    fingerprint::Fingerprint,
    flights::{day, flights, key},
};

use crate::site::{QUICK, Site, files, under_way, unnamed_data, until};

const FRAGMENTS: i32 = 60;
const ROWS: usize = 20_000;

async fn fingerprint(graph: &Graph) -> Fingerprint {
    let snapshot = graph.snapshot().await.unwrap();
    let dataset = snapshot.open(&key("edge:Flight")).await.unwrap();
    Fingerprint::of(&dataset).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_is_under_way_is_abandoned_and_leaves_nothing_behind() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let mut expected = Fingerprint::default();
    for n in 0..FRAGMENTS {
        graph.load(day(n, ROWS)).await.unwrap();
        expected.add(&flights(n, ROWS)).unwrap();
    }
    let root = site.path("graph");
    let before = graph.snapshot().await.unwrap().manifest().clone();
    let data = root.join("Flight.lance");
    let there = files(&data);
    let targets = [("graph", &*site.uri("graph"), "")];
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon
        .until_logged("a job started", |line| line["message"] == "job started")
        .await;
    let lines = daemon.stop().await;
    let job = |message: &str| lines.iter().any(|line| line["message"] == message);
    assert!(job("job abandoned: the daemon stops"), "{lines:#?}");

    assert_eq!(under_way(&root), Vec::<String>::new());
    assert_eq!(
        unnamed_data(&graph, &root, "edge:Flight").await,
        Vec::<String>::new()
    );
    let after = graph.snapshot().await.unwrap().manifest().clone();
    assert_eq!(
        (&after.tables, &after.queue),
        (&before.tables, &before.queue)
    );
    assert_eq!(files(&data), there, "the folder is as it was");
    assert_eq!(fingerprint(&graph).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_moment_it_leaves_nothing_under_way() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let root = site.path("graph");
    let targets = [(
        "graph",
        &*site.uri("graph"),
        "min_small_fragments = 2\ninterval_floor = \"100ms\"\n",
    )];
    let config = site.config(QUICK, &targets);
    let mut expected = Fingerprint::default();
    for round in 0..8 {
        for n in 0..3 {
            graph.load(day(n, 500)).await.unwrap();
            expected.add(&flights(n, 500)).unwrap();
        }
        let seen = graph.snapshot().await.unwrap().manifest().number;
        let there = files(&root).len();
        let daemon = site.daemon(&config, &format!("log-{round}")).await;
        // Each round stops it at another moment of its work.
        match round % 4 {
            0 => {}
            1 => until("it writes", async || files(&root).len() > there).await,
            2 => {
                until("it is about to come in", async || {
                    !under_way(&root).is_empty() || moved(&graph, seen).await
                })
                .await
            }
            _ => until("it came in", async || moved(&graph, seen).await).await,
        }
        let lines = daemon.stop().await;
        assert_eq!(under_way(&root), Vec::<String>::new(), "round {round}");
        let snapshot = graph.snapshot().await.unwrap();
        assert!(snapshot.manifest().queue.is_empty(), "round {round}");
        assert_eq!(fingerprint(&graph).await, expected, "round {round}");
        assert_eq!(
            unnamed_data(&graph, &root, "edge:Flight").await,
            Vec::<String>::new(),
            "round {round}: {lines:#?}"
        );
    }
}

async fn moved(graph: &Graph, seen: u64) -> bool {
    graph.snapshot().await.unwrap().manifest().number > seen
}
