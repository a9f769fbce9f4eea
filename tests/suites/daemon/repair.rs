//! What waits for an operator, by hand and beside a daemon: quarantine, drift, waiting, and what is left over.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use squire_engine::{Graph, LoadMode, LoadRequest, Options, Rows};
use squire_tests::{
    flights::{day, flights, key, planes},
    place::rows,
    store::{Moment, Verb, Watch},
    stranger::Stranger,
};

use crate::site::{QUICK, Site, done, files, refused, squire, status, until};

/// A quarantined load of planes, which is in, and of flights, which is not; its operation.
async fn quarantined(site: &Site, uri: &str, name: &str) -> String {
    let watch = Watch::new();
    let options = Options {
        actor: "crashed@suite".to_owned(),
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let writer = Graph::open(uri, options).await.unwrap();
    let gate = watch.stall(Moment::Before, Verb::Put, "Flight.lance/_versions/");
    let load = tokio::spawn(async move {
        let rows = |batch| Rows::Batches(vec![batch]);
        let both = LoadRequest::new()
            .add(key("node:Plane"), LoadMode::Append, rows(planes(0, 10, 1)))
            .add(key("edge:Flight"), LoadMode::Append, rows(flights(1, 10)));
        writer.load(both).await
    });
    gate.reached().await;
    load.abort();
    for sidecar in fs::read_dir(site.path(name).join("_squire/recovery")).unwrap() {
        fs::remove_file(sidecar.unwrap().path()).unwrap();
    }
    let told = done(squire(&["heal", uri, "--now"]).await);
    assert!(
        told.starts_with("left: Load ") && told.contains("by crashed@suite: quarantined"),
        "{told}"
    );
    told.split_whitespace().nth(2).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_operation_is_previewed_and_published_in_part_only_by_an_explicit_word() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let operation = quarantined(&site, &uri, "graph").await;
    let csv = site.write("planes.csv", "tailnum,seats\nN9,9\n");
    let load = format!("Plane={csv}");
    refused(squire(&["load", &uri, &load]).await, 5, &["squire repair"]);

    let before = status(&uri).await;
    let preview = done(squire(&["repair", &uri]).await);
    for says in [
        format!("quarantined: Load {operation} by crashed@suite\n"),
        "  because its sidecar is gone".to_owned(),
        "  node:Plane: in, at version 2\n".to_owned(),
        "  edge:Flight: not in".to_owned(),
        "  would: nothing, unless --publish-partial".to_owned(),
        "nothing was changed".to_owned(),
    ] {
        assert!(preview.contains(&says), "{says:?} is missing: {preview}");
    }
    assert_eq!(status(&uri).await, before);
    let left = squire(&["repair", &uri, "--confirm"]).await;
    assert_eq!(left.code, Some(5), "{left:?}");
    assert!(
        left.out
            .contains("  did: nothing, unless --publish-partial")
            && left.err.contains("left for an operator"),
        "{left:?}"
    );
    refused(
        squire(&["repair", &uri, "--confirm", "--publish-partial"]).await,
        2,
        &["required"],
    );
    let short = &operation[..8];
    let did = done(squire(&["repair", &uri, short, "--confirm", "--publish-partial"]).await);
    assert!(did.contains("published it without edge:Flight"), "{did}");
    done(squire(&["load", &uri, &load]).await);
    let tables = &status(&uri).await["tables"];
    assert_eq!(
        (
            &tables["node:Plane"]["rows"],
            &tables["edge:Flight"]["rows"]
        ),
        (&11.into(), &0.into())
    );
    let log = done(squire(&["log", &uri]).await);
    assert!(
        log.contains("resolve Load") && log.contains("without edge:Flight"),
        "{log}"
    );
    assert_eq!(
        done(squire(&["repair", &uri]).await),
        "nothing waits for an operator\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_with_its_rows_and_adopted_by_repair_or_by_a_load_that_is_told_to() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let uri = site.uri("graph");
    graph.load(day(1, 10)).await.unwrap();
    let csv = site.write("flights.csv", "origin,dest,day\nJFK,LAX,5\n");
    let load = format!("Flight={csv}");
    let mut stranger = Stranger::at(&uri, "Flight.lance").await;
    stranger.append(flights(9, 3)).await;
    refused(
        squire(&["load", &uri, &load]).await,
        5,
        &["edge:Flight", "Append", "squire repair"],
    );
    done(squire(&["load", &uri, &load, "--drift", "adopt"]).await);
    assert_eq!(rows(&graph, "edge:Flight").await, 14);

    let mut stranger = Stranger::at(&uri, "Flight.lance").await;
    stranger.append(flights(9, 2)).await;
    let preview = done(squire(&["repair", &uri, "Flight"]).await);
    for says in [
        "edge:Flight was changed outside of Squire, past version 4\n",
        "  version 5: Append: +2 rows, -0 rows\n",
        "  it has the columns that the schema declares\n",
        "  would: adopt version 5 as the pin\n",
    ] {
        assert!(preview.contains(says), "{says:?} is missing: {preview}");
    }
    let did = done(squire(&["repair", &uri, "Flight", "--confirm"]).await);
    assert!(did.contains("  did: adopted version 5 as the pin"), "{did}");
    assert_eq!(rows(&graph, "edge:Flight").await, 16);
    assert_eq!(
        done(squire(&["repair", &uri, "Plane"]).await),
        "nothing about Plane waits for an operator\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_adopts_layout_and_what_its_target_allows_and_counts_the_rest() {
    let site = Site::new();
    let mut config =
        format!("[daemon]\nlisten = \"127.0.0.1:0\"\ndrift_interval = \"200ms\"\n{QUICK}");
    for (name, drift) in [("strict", "error"), ("open", "adopt")] {
        let graph = site.graph(name).await;
        for n in 0..2 {
            graph.load(day(n, 10)).await.unwrap();
        }
        let uri = site.uri(name);
        config.push_str(&format!(
            "[[target]]\nname = \"{name}\"\nuri = \"{uri}\"\ndrift = \"{drift}\"\ncompaction.enabled = false\n"
        ));
        let mut stranger = Stranger::at(&uri, "Flight.lance").await;
        stranger.compact().await;
    }
    let config = site.write("squire.toml", config);
    let mut daemon = site.daemon(Path::new(&config), "log").await;
    let adopted = "squire_drift_adopted_total";
    for name in ["strict", "open"] {
        let labels = format!("kind=\"benign\",target=\"{name}\"");
        daemon.until_metric(adopted, &labels, |n| n == 1.0).await;
        let mut stranger = Stranger::at(&site.uri(name), "Flight.lance").await;
        stranger.append(flights(9, 3)).await;
    }
    let labels = "kind=\"semantic\",target=\"open\"";
    daemon.until_metric(adopted, labels, |n| n == 1.0).await;
    let labels = "kind=\"semantic\",target=\"strict\"";
    daemon
        .until_metric("squire_drift_tables", labels, |n| n == 1.0)
        .await;
    daemon
        .until_logged("drift is told", |line| {
            line["target_name"] == "strict" && line["kind"] == "semantic"
        })
        .await;
    let health = daemon.health().await;
    assert_eq!(health["status"], "blocked", "{health}");
    let of = |target: &str| health["targets"][target]["tables"]["blocked"].clone();
    assert_eq!((of("strict"), of("open")), (1.into(), 0.into()), "{health}");
    for (name, rows_now) in [("strict", 20), ("open", 23)] {
        let graph = Graph::open(&site.uri(name), Options::default()).await;
        assert_eq!(rows(&graph.unwrap(), "edge:Flight").await, rows_now);
    }
    let log = daemon.stop().await;
    let told = log.iter().filter(|line| {
        line["target_name"] == "strict" && line["kind"] == "semantic" && line["level"] == "WARN"
    });
    assert_eq!(told.count(), 1, "once for each change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_quarantine_keeps_writers_out_of_is_blocked_until_it_is_repaired() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let watch = Watch::new();
    let options = Options {
        wrapper: watch.wrapper(),
        lease: Duration::from_secs(600),
        ..Options::default()
    };
    let owner = Graph::open(&uri, options).await.unwrap();
    let gate = watch.hold_first(Verb::Put, "Flight.lance/_versions/");
    let load = tokio::spawn(async move { owner.load(day(1, 10)).await });
    gate.reached().await;
    let operation = status(&uri).await["queue"][0]["operation"].clone();
    let operation = operation.as_str().unwrap();
    done(squire(&["repair", &uri, operation, "--give-up"]).await);
    let daemon = site
        .daemon(&site.config(QUICK, &[("graph", &*uri, "")]), "log")
        .await;
    let blocked = "health=\"blocked\",target=\"graph\"";
    daemon
        .until_metric("squire_health_tables", blocked, |n| n == 1.0)
        .await;
    done(squire(&["repair", &uri, operation, "--confirm"]).await);
    daemon
        .until_metric("squire_health_tables", blocked, |n| n == 0.0)
        .await;
    gate.open();
    assert!(load.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_behind_another_says_whom_it_waits_for_and_so_does_the_status() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let watch = Watch::new();
    let options = Options {
        actor: "ops@suite".to_owned(),
        wrapper: watch.wrapper(),
        // Nobody comes to its help while it is looked at.
        lease: Duration::from_secs(600),
        ..Options::default()
    };
    let first = Graph::open(&uri, options).await.unwrap();
    let gate = watch.hold_first(Verb::Put, "Flight.lance/_versions/");
    let ahead = tokio::spawn(async move { first.load(day(1, 10)).await });
    gate.reached().await;
    let csv = site.write("flights.csv", "origin,dest,day\nJFK,LAX,5\n");
    let (behind, input) = (uri.clone(), format!("Flight={csv}"));
    let load = tokio::spawn(async move { squire(&["load", &behind, &input]).await });
    until("the second is in line", async || {
        let queue = &status(&uri).await["queue"];
        queue.as_array().is_some_and(|queue| queue.len() == 2)
    })
    .await;
    let queue = status(&uri).await["queue"].clone();
    let operation = queue[0]["operation"].as_str().unwrap();
    let words = format!("waiting for Load {} by ops@suite, ", &operation[..13]);
    let told = queue[1]["waiting"].as_str().unwrap();
    assert!(told.starts_with(&words), "{told}");
    let shown = done(squire(&["status", &uri]).await);
    assert!(shown.contains(&words), "{shown}");
    // The line comes when the wait has lasted: the status shows for how long.
    until("it has waited for a while", async || {
        let told = status(&uri).await["queue"][1]["waiting"].clone();
        let age = told.as_str().and_then(|t| t.rsplit_once(", "));
        let age = age.and_then(|(_, age)| age.strip_suffix(" s"));
        age.is_some_and(|s| s.parse::<u64>().is_ok_and(|s| s >= 4))
    })
    .await;
    gate.open();
    ahead.await.unwrap().unwrap();
    let ran = load.await.unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.starts_with(&format!("squire: {words}")), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "once for each that is ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn heal_says_what_became_of_each_operation_and_why_one_is_left() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let watch = Watch::new();
    let options = Options {
        actor: "crashed@suite".to_owned(),
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let first = Graph::open(&uri, options).await.unwrap();
    let gate = watch.stall(Moment::Before, Verb::Put, "Flight.lance/_versions/");
    let load = tokio::spawn(async move { first.load(day(1, 10)).await });
    gate.reached().await;
    let told = done(squire(&["heal", &uri]).await);
    assert!(
        told.starts_with("left: Load ") && told.contains("by crashed@suite: not due yet: "),
        "{told}"
    );
    let told = done(squire(&["heal", &uri, "--now"]).await);
    assert!(
        told.starts_with("rolled forward: Load ") && told.contains(" by crashed@suite\n"),
        "{told}"
    );
    assert_eq!(done(squire(&["heal", &uri]).await), "nothing to heal\n");
    gate.open();
    load.await.unwrap().unwrap();
    assert_eq!(status(&uri).await["tables"]["edge:Flight"]["rows"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_of_the_long_dead_and_half_written_files_are_removed_and_young_ones_stay() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let root = site.path("graph");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for (name, old) in [
        ("alive/host-1-dead", true),
        ("alive/host-2-young", false),
        ("manifest/00000000000000000099.json#1", true),
        (
            "recovery/019aad0e-4c1b-7e57-b7a5-4c8d2e0f6a01.json#1",
            false,
        ),
    ] {
        let path = root.join("_squire").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "left").unwrap();
        if old {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(long_ago).unwrap();
        }
    }
    let told = done(squire(&["heal", &uri]).await);
    assert_eq!(told, "removed: 2 old heartbeats and half-written files\n");
    let left = files(&root);
    for (part, stays) in [
        ("host-1", false),
        ("host-2", true),
        ("99.json#1", false),
        ("01.json#1", true),
    ] {
        assert_eq!(left.keys().any(|path| path.contains(part)), stays, "{part}");
    }
}
