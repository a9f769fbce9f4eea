//! Writers that are killed at any moment: the daemon brings the graph back into order.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use squire_engine::{Graph, Options};
use squire_tests::{
    daemon,
    fingerprint::Fingerprint,
    place::{rows, until_idle},
};
use tokio::process::Command;

use crate::site::{QUICK, Site, done, files, real, squire, under_way, until};

/// Months of flights in a load, and the rows that it brings.
const MONTHS: usize = 3;
const FLIGHTS: usize = MONTHS * 27_004;
const PLANES: usize = 3_322;

/// When a writer is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AtOnce,
    ItHasATicket,
    ItWritesData,
    ItWroteASidecar,
    ItTookEffect,
    Random(u8),
}

/// Starts a load and kills it, unless it comes to its end before.
async fn killed(args: &[String], root: &Path, moment: Moment) {
    let count = |part: &str| {
        files(root)
            .keys()
            .filter(|path| path.contains(part))
            .count()
    };
    let before = (
        count("_squire/manifest/"),
        count("/data/"),
        count("_squire/recovery/"),
        count("/_versions/"),
    );
    let mut writer = Command::new(daemon::squire().unwrap())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut left = match moment {
        Moment::Random(looks) => looks,
        _ => 0,
    };
    loop {
        let now = match moment {
            Moment::AtOnce => true,
            Moment::ItHasATicket => count("_squire/manifest/") > before.0,
            Moment::ItWritesData => count("/data/") > before.1,
            Moment::ItWroteASidecar => count("_squire/recovery/") > before.2,
            Moment::ItTookEffect => count("/_versions/") > before.3,
            Moment::Random(_) => {
                // A look takes as long as it takes: no two runs are killed at the same place.
                left = left.saturating_sub(u8::from(!files(root).is_empty()));
                left == 0
            }
        };
        if let Some(ended) = writer.try_wait().unwrap() {
            assert!(ended.success(), "{ended}");
            return;
        }
        if now {
            writer.kill().await.unwrap();
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Sidecars that no ticket names count as left behind after a while only: make them that old.
fn age_sidecars(root: &Path) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for path in files(root).into_keys() {
        if path.starts_with("_squire/recovery/")
            && let Ok(file) = fs::File::options().write(true).open(root.join(path))
        {
            file.set_modified(long_ago).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_writers_are_killed_the_daemon_brings_their_graph_back_into_order() {
    let random = || Moment::Random(uuid::Uuid::new_v4().as_bytes()[0]);
    let moments = [
        (Moment::AtOnce, false),
        (Moment::ItHasATicket, false),
        (Moment::ItHasATicket, true),
        (Moment::ItWritesData, false),
        (Moment::ItWritesData, true),
        (Moment::ItWroteASidecar, false),
        (Moment::ItTookEffect, false),
        (random(), false),
        (random(), false),
        (random(), true),
    ];
    let site = Site::new();
    let mut graphs = Vec::new();
    for (n, (moment, is_upsert)) in moments.into_iter().enumerate() {
        let name = format!("graph-{n}");
        let uri = site.init_real(&name).await;
        let upsert = [load(&uri), vec!["--mode".to_owned(), "upsert".to_owned()]].concat();
        let args = if is_upsert { upsert } else { append(&uri) };
        killed(&args, &site.path(&name), moment).await;
        age_sidecars(&site.path(&name));
        graphs.push((name, uri, moment));
    }
    let quiet = "enabled = false\n";
    let targets: Vec<_> = graphs
        .iter()
        .map(|(n, uri, _)| (&**n, &**uri, quiet))
        .collect();
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    for (name, uri, moment) in &graphs {
        let root = site.path(name);
        let graph = Graph::open(uri, Options::default()).await.unwrap();
        until_idle(&graph).await;
        until(
            &format!("no sidecar is left, killed {moment:?}"),
            async || {
                !under_way(&root)
                    .iter()
                    .any(|path| path.contains("/recovery/"))
            },
        )
        .await;
        // Each load went in as a whole, or not at all.
        let before = rows(&graph, "edge:Flight").await;
        assert_eq!(
            before,
            published_loads(uri).await * FLIGHTS,
            "killed {moment:?}"
        );
        let planes = rows(&graph, "node:Plane").await;
        done(daemon::run(append(uri)).await.unwrap().into());
        assert_eq!(rows(&graph, "edge:Flight").await, before + FLIGHTS);
        assert_eq!(rows(&graph, "node:Plane").await, planes + PLANES);
        let snapshot = graph.snapshot().await.unwrap();
        for table in snapshot.manifest().tables.keys() {
            let all = Fingerprint::of(&snapshot.open(table).await.unwrap()).await;
            all.unwrap_or_else(|e| panic!("every row can be read, killed {moment:?}: {e}"));
        }
    }
    daemon.stop().await;
}

/// Sends a signal to a process of this test's own.
async fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .await;
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_stopped_until_others_have_healed_it_and_then_goes_on_is_there_once() {
    let site = Site::new();
    let mut writers = Vec::new();
    for (n, part) in ["/_squire/recovery/", "/_versions/"]
        .into_iter()
        .enumerate()
    {
        let name = format!("graph-{n}");
        let uri = site.init_real(&name).await;
        let root = site.path(&name);
        let count = || {
            let files = files(&root).into_keys().map(|path| format!("/{path}"));
            files.filter(|path| path.contains(part)).count()
        };
        let before = count();
        let mut writer = Command::new(daemon::squire().unwrap())
            .args(append(&uri))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while count() == before && writer.try_wait().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        if let Some(process) = writer.id() {
            signal("-STOP", process).await;
        }
        writers.push((name, uri, writer));
    }
    let quiet = "enabled = false\n";
    let targets: Vec<_> = writers
        .iter()
        .map(|(n, uri, _)| (&**n, &**uri, quiet))
        .collect();
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    for (_, uri, writer) in writers {
        let graph = Graph::open(&uri, Options::default()).await.unwrap();
        until_idle(&graph).await;
        if let Some(process) = writer.id() {
            signal("-CONT", process).await;
        }
        let ended = writer.wait_with_output().await.unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        let loads = published_loads(&uri).await;
        // It may have been taken back while it waited, and have started over; it is not left in doubt.
        assert!(ended.status.success() && loads == 1, "{loads}: {told}");
        assert_eq!(rows(&graph, "edge:Flight").await, FLIGHTS);
        assert_eq!(rows(&graph, "node:Plane").await, PLANES);
    }
    daemon.stop().await;
}

/// An atomic load of many flights and of planes.
fn append(uri: &str) -> Vec<String> {
    let flights = format!("Flight={}", real("flights_january.parquet"));
    [load(uri), vec![flights; MONTHS]].concat()
}

/// A load of planes.
fn load(uri: &str) -> Vec<String> {
    let planes = format!("Plane={}", real("planes.parquet"));
    vec!["load".to_owned(), uri.to_owned(), planes]
}

/// How many loads of flights the log shows.
async fn published_loads(uri: &str) -> usize {
    let log = done(squire(&["log", uri, "--json", "-n", "10000"]).await);
    let entries = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let loads = entries.filter(|entry| {
        let change = &entry["change"];
        let tables = change["tables"].as_array();
        change["kind"] == "Load"
            && change["transition"] == "publish"
            && tables.is_some_and(|tables| tables.contains(&"edge:Flight".into()))
    });
    loads.count()
}
