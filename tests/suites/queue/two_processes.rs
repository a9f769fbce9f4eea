//! The `squire` binary, held at failpoints, beside another process.

use std::path::Path;

use squire_engine::failpoint;
use squire_tests::{
    flights::{day, key},
    place::rows,
};

use crate::process::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_moved_under_another_process_that_bypassed_the_queue_is_a_mismatch_and_nothing_is_lost()
 {
    let (site, graph) = Site::new().await;
    let pin = graph
        .snapshot()
        .await
        .unwrap()
        .manifest()
        .pin(&key("edge:Flight"));
    let flights = site.write("flights.csv", "origin,dest,day\nJFK,BOS,9\n");
    let (input, expect) = (format!("Flight={flights}"), format!("Flight={pin}"));
    let load = ["load", "graph", &input, "--expect", &expect];
    let mut bypasses = site.start(&load, failpoint::AFTER_STAGE);
    bypasses.reaches(failpoint::AFTER_STAGE).await;
    assert_eq!(site.data("Flight.lance"), 4);
    graph.load(day(7, 10)).await.unwrap();
    let published = graph.snapshot().await.unwrap().manifest().clone();
    bypasses.go_on();
    let (code, said) = bypasses.ends().await;
    assert_eq!(code, Some(3), "{said}");
    let mismatch = format!("is at version {}, expected {pin}", pin + 1);
    assert!(said.contains(&mismatch), "{said}");
    assert_eq!(*graph.snapshot().await.unwrap().manifest(), published);
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
    assert_eq!(
        site.data("Flight.lance"),
        4,
        "its file is gone, the other's is there"
    );
    assert!(is_empty(&site.path("graph/_squire/recovery")));
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
