//! Pauses at run time: by command, over HTTP, over a restart.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::Value;
use squire_tests::flights::{day, key};

use crate::site::{Keeping, QUICK, Site, done, fragments, refused, squire, until};

const EAGER: &str = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";

/// A command that talks to the daemon.
async fn ask(daemon: &Keeping, config: &str, args: &[&str]) -> crate::site::Ran {
    let address = daemon.address().to_owned();
    squire(&[args, &["--config", config, "--daemon", &address]].concat()).await
}

/// What a path answers to a request with these headers and this body.
async fn request(
    daemon: &Keeping,
    method: reqwest::Method,
    headers: &[(&'static str, &str)],
    body: &str,
) -> (u16, String) {
    let url = format!("http://{}/api/v1/pauses", daemon.address());
    let mut request = reqwest::Client::new()
        .request(method, url)
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// A configuration whose daemon keeps pauses over a restart.
fn config(site: &Site, more: &str) -> (PathBuf, String) {
    let targets = [("graph", &*site.uri("graph"), EAGER)];
    let config = site.config(&format!("{QUICK}{more}"), &targets);
    let text = crate::site::text(&config);
    (config, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_target_is_left_alone_until_it_is_resumed_also_over_a_restart() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let state = format!("state_dir = \"{}\"\n", site.uri("state"));
    let (path, config) = config(&site, &state);
    // What somebody puts where the file is written first is not written through.
    let precious = site.write("precious", "rows");
    std::fs::create_dir(site.path("state")).unwrap();
    std::os::unix::fs::symlink(&precious, site.path("state/pauses.json.new")).unwrap();
    let daemon = site.daemon(&path, "first.log").await;
    assert_eq!(
        done(ask(&daemon, &config, &["pauses"]).await),
        "nothing is paused\n"
    );
    let pause = ["pause", "graph", "--for", "2h", "--reason", "backup"];
    let told = done(ask(&daemon, &config, &pause).await);
    assert!(
        told.contains("backup") && !told.contains("forgets"),
        "{told}"
    );
    for n in 0..6 {
        graph.load(day(n, 10)).await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "rows");
    let kept = std::fs::symlink_metadata(site.path("state/pauses.json")).unwrap();
    assert!(kept.is_file() && kept.permissions().mode() & 0o077 == 0);
    let labels = "duty=\"compaction\",reason=\"paused\",target=\"graph\"";
    daemon
        .until_metric("squire_skips_total", labels, |n| n == 1.0)
        .await;
    let in_two_hours =
        |at: f64| (at - chrono::Utc::now().timestamp() as f64 - 7_100.0).abs() <= 101.0;
    let paused_until = "squire_paused_until_timestamp_seconds";
    daemon
        .until_metric(paused_until, "table=\"\",target=\"graph\"", in_two_hours)
        .await;
    let why = done(ask(&daemon, &config, &["explain", "graph", "Flight"]).await);
    assert!(
        why.contains("compaction") && why.contains("paused"),
        "{why}"
    );
    daemon.stop().await;

    let daemon = site.daemon(&path, "second.log").await;
    let told = done(ask(&daemon, &config, &["pauses"]).await);
    assert!(told.contains("backup"), "a restart remembers it: {told}");
    daemon
        .until_metric("squire_skips_total", labels, |n| n == 1.0)
        .await;
    assert_eq!(fragments(&graph, &key("edge:Flight")).await, 6);
    assert_eq!(
        done(ask(&daemon, &config, &["resume", "graph"]).await),
        "nothing is paused\n"
    );
    until("the table is compacted", async || {
        fragments(&graph, &key("edge:Flight")).await == 1
    })
    .await;
    let paused = daemon.metric("squire_paused_until_timestamp_seconds");
    assert!(paused.await.is_empty());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_table_is_left_alone_beside_the_others_and_the_pause_ends_by_itself() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let (path, config) = config(&site, "");
    let daemon = site.daemon(&path, "log").await;
    let known = "table=\"edge:Flight\",target=\"graph\"";
    daemon
        .until_metric("squire_table_rows", known, |_| true)
        .await;
    // By its bare name, as there is no other.
    let pause = ["pause", "graph", "Flight", "--for", "5s"];
    let told = done(ask(&daemon, &config, &pause).await);
    assert!(
        told.contains("a restart of the daemon forgets this"),
        "{told}"
    );
    for n in 0..6 {
        graph.load(day(n, 10)).await.unwrap();
    }
    until("the pause is over and the table compacted", async || {
        fragments(&graph, &key("edge:Flight")).await == 1
    })
    .await;
    assert_eq!(
        done(ask(&daemon, &config, &["pauses"]).await),
        "nothing is paused\n"
    );
    let skipped = daemon.metric("squire_skips_total").await;
    assert!(
        skipped.contains_key("duty=\"compaction\",reason=\"paused\",target=\"graph\""),
        "{skipped:?}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paused_is_refused_and_pages_in_browsers_are_kept_out() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    const PAUSE: &str = "{\"target\": \"graph\", \"for\": \"1h\"}";
    let site = Site::new();
    site.graph("graph").await;
    let (path, config) = config(&site, "");
    let daemon = site.daemon(&path, "log").await;
    let absent = ["pause", "grahp", "--for", "1h"];
    refused(
        ask(&daemon, &config, &absent).await,
        2,
        &["no target grahp", "graph"],
    );
    let known = "table=\"edge:Flight\",target=\"graph\"";
    daemon
        .until_metric("squire_table_rows", known, |_| true)
        .await;
    let absent = ["pause", "graph", "edge:Fright", "--for", "1h"];
    refused(
        ask(&daemon, &config, &absent).await,
        2,
        &["no table edge:Fright", "squire explain graph"],
    );
    let absent = ["explain", "graph", "Fright"];
    refused(ask(&daemon, &config, &absent).await, 2, &["named Fright"]);
    let long = ["pause", "graph", "--for", "1year"];
    refused(ask(&daemon, &config, &long).await, 2, &["at most"]);
    let resume = ask(&daemon, &config, &["resume", "graph"]).await;
    refused(resume, 2, &["is not paused"]);

    let post = reqwest::Method::POST;
    let origin = ("origin", "http://evil.example");
    for (headers, code) in [
        (&[JSON, origin][..], 403),
        (&[JSON, ("host", "evil.example")], 403),
        (&[("content-type", "text/plain")], 415),
        (&[], 415),
    ] {
        let (answered, body) = request(&daemon, post.clone(), headers, PAUSE).await;
        assert_eq!(answered, code, "{headers:?}: {body}");
        let refusal: Value = serde_json::from_str(&body).unwrap();
        assert!(refusal["error"].is_string(), "{body}");
    }
    let (code, body) = request(&daemon, post.clone(), &[JSON], "{\"target\": 1}").await;
    assert_eq!(code, 400, "{body}");
    assert_eq!(
        done(ask(&daemon, &config, &["pauses"]).await),
        "nothing is paused\n"
    );
    let (code, body) = request(&daemon, post, &[JSON], PAUSE).await;
    assert_eq!(code, 200, "{body}");
    let held: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(held["pauses"][0]["target"], "graph");
    assert_eq!(held["kept"], false);
    daemon.stop().await;

    let nobody = squire(&["pauses", "--config", &config, "--daemon", "127.0.0.1:9"]).await;
    refused(nobody, 1, &["no daemon answers at http://127.0.0.1:9"]);
    let nowhere = squire(&["pauses", "--config", &config]).await;
    refused(nowhere, 2, &["--daemon"]);
}

/// What a daemon says of its pauses.
async fn pauses(daemon: &Keeping) -> Value {
    let (code, body) = daemon.get("/api/v1/pauses").await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_not_on_the_disk_says_so_to_everybody_until_it_is() {
    let site = Site::new();
    site.graph("graph").await;
    let (path, config) = config(&site, &format!("state_dir = \"{}\"\n", site.uri("state")));
    let mut daemon = site.daemon(&path, "log").await;
    assert_eq!(pauses(&daemon).await["kept"], true);
    // Where a folder is, no file can be put.
    let file = site.path("state/pauses.json");
    std::fs::create_dir_all(file.join("full")).unwrap();
    let pause = ["pause", "graph", "--for", "2h"];
    let told = done(ask(&daemon, &config, &pause).await);
    assert!(
        told.contains("a restart of the daemon forgets this"),
        "{told}"
    );
    let held = pauses(&daemon).await;
    assert_eq!(held["kept"], false, "{held}");
    assert!(held["not_kept"].is_string(), "{held}");
    let told = done(ask(&daemon, &config, &["pauses"]).await);
    assert!(
        told.contains("a restart of the daemon forgets this"),
        "{told}"
    );
    daemon
        .until_metric("squire_pauses_unwritten", "", |n| n == 1.0)
        .await;
    daemon
        .until_logged("that it is not kept", |line| {
            line["message"]
                .as_str()
                .is_some_and(|said| said.contains("pauses cannot be written"))
        })
        .await;
    std::fs::remove_dir_all(&file).unwrap();
    until("it is written without anybody asking", async || {
        pauses(&daemon).await["kept"] == true && file.is_file()
    })
    .await;
    daemon
        .until_metric("squire_pauses_unwritten", "", |n| n == 0.0)
        .await;
    daemon.stop().await;
    let daemon = site.daemon(&path, "second.log").await;
    assert_eq!(pauses(&daemon).await["pauses"][0]["target"], "graph");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_that_cannot_be_read_pause_everything_until_a_person_ends_it() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    for n in 0..6 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let (path, config) = config(&site, &format!("state_dir = \"{}\"\n", site.uri("state")));
    std::fs::create_dir(site.path("state")).unwrap();
    let file = site.write("state/pauses.json", "{\"version\": 99, \"leases\": {}}");
    let checked = squire(&["check", "--probe", "--config", &config]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.err.contains("the pauses cannot be read"),
        "{checked:?}"
    );

    let daemon = site.daemon(&path, "log").await;
    let labels = "duty=\"compaction\",reason=\"paused\",target=\"graph\"";
    daemon
        .until_metric("squire_skips_total", labels, |n| n == 1.0)
        .await;
    daemon
        .until_metric("squire_pauses_unreadable", "", |n| n == 1.0)
        .await;
    // Healing goes on.
    let healed = "target=\"graph\",task=\"heal\"";
    let healed_at = "squire_upkeep_last_success_timestamp_seconds";
    daemon.until_metric(healed_at, healed, |n| n > 0.0).await;
    let health = daemon.health().await;
    assert!(
        health["pauses"]
            .as_str()
            .is_some_and(|why| why.contains("version 99")),
        "{health}"
    );
    let told = done(ask(&daemon, &config, &["pauses"]).await);
    assert!(
        told.contains("every target is paused") && told.contains("squire resume"),
        "{told}"
    );
    let one = ask(&daemon, &config, &["resume", "graph"]).await;
    refused(one, 2, &["resume all"]);
    assert_eq!(fragments(&graph, &key("edge:Flight")).await, 6);

    assert_eq!(
        done(ask(&daemon, &config, &["resume"]).await),
        "nothing is paused\n"
    );
    until("the table is compacted", async || {
        fragments(&graph, &key("edge:Flight")).await == 1
    })
    .await;
    daemon
        .until_metric("squire_pauses_unreadable", "", |n| n == 0.0)
        .await;
    let aside = std::fs::read_to_string(format!("{file}.unreadable")).unwrap();
    assert!(aside.contains("99"), "it is kept aside: {aside}");
    done(squire(&["check", "--probe", "--config", &config]).await);
}
