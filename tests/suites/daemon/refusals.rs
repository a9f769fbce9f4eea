//! What cannot be done: one clear error on standard error, nothing on standard output, a code that programs can branch
//! on, and a graph that is as it was.

use std::{collections::BTreeMap, fs};

use chrono::Utc;
use serde_json::Value;
use squire_engine::{
    Graph, OperationId, Options,
    ids::HolderId,
    manifest::{OperationKind, Ticket, Touched},
};
use squire_tests::flights::{SCHEMA, append, day, key, planes};

use crate::site::{
    Site, done, files, files_but_manifests, real, refused, squire, status, text, under_way,
};

/// A graph with rows in it, and what a refusal must leave as it was.
struct Untouched {
    site: Site,
    uri: String,
}

impl Untouched {
    async fn new() -> Self {
        let site = Site::new();
        let graph = site.graph("graph").await;
        graph.load(day(1, 10)).await.unwrap();
        graph
            .load(append("node:Plane", planes(0, 10, 1)))
            .await
            .unwrap();
        let uri = site.uri("graph");
        Self { site, uri }
    }

    async fn state(&self) -> (Value, Value, BTreeMap<String, u64>) {
        let status = status(&self.uri).await;
        let files = files_but_manifests(&self.site.path("graph"));
        (status["tables"].clone(), status["queue"].clone(), files)
    }

    /// The error of a command, once it is sure that nothing else came of it.
    async fn by(&self, args: &[&str], code: i32, says: &[&str]) -> String {
        let before = self.state().await;
        let error = refused(squire(args).await, code, says);
        assert_eq!(self.state().await, before, "{error}");
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_table_is_refused_and_the_nearest_one_named() {
    let graph = Untouched::new().await;
    let uri = graph.uri.as_str();
    let nearest = ["has no table Flihgt", "did you mean edge:Flight?"];
    let file = format!("Flihgt={}", real("airlines.parquet"));
    graph.by(&["load", uri, &file], 2, &nearest).await;
    graph
        .by(&["delete", uri, "Flihgt", "true"], 2, &nearest)
        .await;
    graph.by(&["compact", uri, "Flihgt"], 2, &nearest).await;
    graph
        .by(&["compact", uri, "Flihgt", "--dry-run"], 2, &nearest)
        .await;
    let far = graph
        .by(
            &["delete", uri, "Zebra", "true"],
            2,
            &["has no table Zebra"],
        )
        .await;
    assert!(!far.contains("did you mean"), "{far}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_refused_and_named() {
    let graph = Untouched::new().await;
    let uri = graph.uri.as_str();
    let whole = fs::read(real("planes.parquet")).unwrap();
    let cut = graph.site.write("cut.parquet", &whole[..whole.len() / 2]);
    let mut damaged = whole;
    damaged[1_000..3_000].fill(0xff);
    let damaged = graph.site.write("damaged.parquet", damaged);
    let csv = graph
        .site
        .write("planes.csv", "tailnum,seats\nN1,1\nN2,many\n");
    let jsonl = graph
        .site
        .write("planes.jsonl", "{\"tailnum\": \"N1\"}\n{\"tailnum\": \n");
    let absent = graph.site.uri("absent.parquet");
    for (file, says) in [
        (&cut, &["cut.parquet", "no readable parquet file"][..]),
        (&damaged, &["damaged.parquet"]),
        (&csv, &["planes.csv, line 3", "`seats`", "many"]),
        (&jsonl, &["planes.jsonl, line 2"]),
        (&absent, &["absent.parquet", "there is no such file"]),
    ] {
        graph
            .by(&["load", uri, &format!("Plane={file}")], 2, says)
            .await;
        // A good file beside it does not go in alone.
        let good = graph.site.write("good.csv", "origin,dest,day\nJFK,BOS,1\n");
        let both = [format!("Flight={good}"), format!("Plane={file}")];
        graph.by(&["load", uri, &both[0], &both[1]], 2, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_that_does_not_fit_is_refused() {
    let graph = Untouched::new().await;
    for bad in [
        "carrier = 'UA'",
        "day = ",
        "day = 'monday'",
        "DROP TABLE flights",
    ] {
        let delete = ["delete", &graph.uri, "Flight", bad];
        graph
            .by(&delete, 2, &["edge:Flight: the predicate", bad])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_schema_file_is_refused_with_line_and_column() {
    let graph = Untouched::new().await;
    let cases = [
        (
            "seats = \"int32\"",
            "seats = \"int33\"",
            ":15:9: ",
            "`int32`",
        ),
        ("key = [\"faa\"]", "key = [\"fa\"]", ":6:8: ", "faa"),
        ("[edge.Flight]", "[edge.Flight", ":17:13: ", "not TOML"),
    ];
    for (good, bad, place, says) in cases {
        let schema = graph.site.write("bad.toml", SCHEMA.replace(good, bad));
        let says = [&format!("{schema}{place}"), says];
        let other = graph.site.uri("other");
        graph
            .by(&["init", &other, "--schema", &schema], 2, &says)
            .await;
        assert!(!graph.site.path("other").exists());
        graph
            .by(&["schema", "plan", &graph.uri, &schema], 2, &says)
            .await;
    }
    let absent = graph.site.uri("absent.toml");
    let plan = ["schema", "plan", &graph.uri, &absent];
    graph.by(&plan, 2, &["absent.toml", "cannot be read"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_nobody_understands_is_refused() {
    let graph = Untouched::new().await;
    let uri = graph.uri.as_str();
    for (args, says) in [
        (&["status", uri, "--jsno"][..], &["--jsno", "--json"][..]),
        (&["statsu", uri], &["statsu", "status"]),
        (&["load", uri], &["TABLE=FILE"]),
        (&["load", uri, "Flight"], &["write TABLE=FILE"]),
        (
            &["load", uri, "Flight=x.csv", "--mode", "merge"],
            &["merge", "upsert"],
        ),
        (
            &["load", uri, "Flight=x.csv", "--expect", "Flight"],
            &["write TABLE=VERSION"],
        ),
        (
            &["compact", uri, "--target-bytes", "much"],
            &["much", "--target-bytes"],
        ),
    ] {
        graph.by(args, 2, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_expectation_is_refused_with_a_code_of_its_own() {
    let graph = Untouched::new().await;
    let uri = graph.uri.as_str();
    let stale = [
        "edge:Flight",
        "is at version 2, expected 1",
        "nothing was changed",
    ];
    graph
        .by(
            &["delete", uri, "Flight", "true", "--expect", "1"],
            3,
            &stale,
        )
        .await;
    let file = graph
        .site
        .write("flights.csv", "origin,dest,day\nJFK,BOS,1\n");
    let file = format!("Flight={file}");
    graph
        .by(&["load", uri, &file, "--expect", "Flight=1"], 3, &stale)
        .await;
    // Also of a table that it only reads.
    let other = ["node:Plane", "is at version 2, expected 9"];
    graph
        .by(&["load", uri, &file, "--expect", "Plane=9"], 3, &other)
        .await;
    done(squire(&["load", uri, &file, "--expect", "Flight=2"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_without_a_graph_is_refused_and_one_with_a_graph_takes_no_second() {
    let graph = Untouched::new().await;
    fs::create_dir(graph.site.path("empty")).unwrap();
    let empty = graph.site.uri("empty");
    let none = ["holds no graph", "squire init"];
    for args in [
        &["status", &empty][..],
        &["log", &empty],
        &["heal", &empty],
        &["compact", &empty],
        &["schema", "show", &empty],
        &["delete", &empty, "Flight", "true"],
    ] {
        graph.by(args, 2, &none).await;
    }
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    let init = ["init", &graph.uri, "--schema", &real("flights.toml")];
    graph.by(&init, 2, &["holds a graph already"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_needs_an_operator_and_is_left_alone() {
    let graph = Untouched::new().await;
    let (uri, root) = (graph.uri.as_str(), graph.site.path("graph"));
    let number = status(uri).await["manifest"].as_u64().unwrap() + 1;
    let newest = root.join(format!("_squire/manifest/{number:020}.json"));
    let file = graph
        .site
        .write("flights.csv", "origin,dest,day\nJFK,BOS,1\n");
    let file = format!("Flight={file}");
    for (bytes, says) in [
        (
            "{\"format\": 1, \"graph\": \"0",
            &["is damaged", "restore"][..],
        ),
        ("", &["is damaged"]),
        (
            "{\"format\": 7, \"everything\": \"else\"}",
            &["has format 7", "upgrade Squire"],
        ),
    ] {
        fs::write(&newest, bytes).unwrap();
        let before = files(&root);
        for args in [
            &["status", uri][..],
            &["log", uri],
            &["heal", uri, "--now"],
            &["load", uri, &file],
            &["delete", uri, "Flight", "true"],
            &["compact", uri],
        ] {
            let error = refused(squire(args).await, 5, says);
            assert!(
                error.contains(&text(newest.file_name().unwrap().as_ref())),
                "{error}"
            );
        }
        assert_eq!(files(&root), before);
    }
    fs::remove_file(&newest).unwrap();
    done(squire(&["load", uri, &file]).await);
}

/// A holder that nobody has heard of waits in the queue, and a sidecar is there that no manifest names.
async fn with_a_stranger(graph: &Untouched) {
    let root = graph.site.path("graph");
    let opened = Graph::open(&graph.uri, Options::default()).await.unwrap();
    let mut manifest = opened.snapshot().await.unwrap().manifest().clone();
    manifest.number += 1;
    manifest.queue.push(Ticket::waiting(
        OperationId::fresh(),
        HolderId::from("stranger"),
        "stranger@nowhere",
        OperationKind::Load,
        Touched::writing([key("node:Airport")]),
        Utc::now(),
    ));
    let newest = root.join(format!("_squire/manifest/{:020}.json", manifest.number));
    fs::write(newest, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let recovery = root.join("_squire/recovery");
    fs::create_dir_all(&recovery).unwrap();
    fs::write(
        recovery.join(format!("{}.json", OperationId::fresh())),
        "{}",
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_takes_its_heartbeat_along() {
    let graph = Untouched::new().await;
    with_a_stranger(&graph).await;
    let before = under_way(&graph.site.path("graph"));
    let file = format!("Plane={}", graph.site.uri("absent.parquet"));
    refused(
        squire(&["load", &graph.uri, &file]).await,
        2,
        &["no such file"],
    );
    refused(
        squire(&["delete", &graph.uri, "Plane", "no"]).await,
        2,
        &["predicate"],
    );
    refused(
        squire(&["compact", &graph.uri, "Plan"]).await,
        2,
        &["has no table"],
    );
    assert_eq!(under_way(&graph.site.path("graph")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_who_stands_in_the_queue_and_a_dry_run_leaves_them_there() {
    let graph = Untouched::new().await;
    with_a_stranger(&graph).await;
    let before = files(&graph.site.path("graph"));
    let told = done(squire(&["status", &graph.uri]).await);
    for part in [
        "queue:",
        "Load",
        "stranger@nowhere",
        "node:Airport",
        "waiting",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let status = status(&graph.uri).await;
    assert_eq!(status["queue"][0]["state"], "waiting");
    assert_eq!(status["queue"][0]["holder"], "stranger");
    done(squire(&["compact", &graph.uri, "--dry-run"]).await);
    assert_eq!(files(&graph.site.path("graph")), before);
    let told = done(squire(&["heal", &graph.uri]).await);
    assert!(
        told.starts_with("left: Load ")
            && told.contains(" by stranger@nowhere: not due yet: its holder has shown no sign"),
        "{told}"
    );
    let told = done(squire(&["heal", &graph.uri, "--now"]).await);
    assert!(told.starts_with("aborted: Load "), "{told}");
}
