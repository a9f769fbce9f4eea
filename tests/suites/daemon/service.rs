//! What the daemon does to the graphs that it keeps, and what it leaves alone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use squire_engine::Graph;
use squire_tests::{
    fingerprint::Fingerprint,
    flights::{append, day, flights, key, planes},
    place::{rows, until_idle},
};

use crate::site::{QUICK, Site, fragments, is_at_rest, under_way, until};

const EAGER: &str = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";

async fn fingerprint(graph: &Graph, table: &str) -> Fingerprint {
    let snapshot = graph.snapshot().await.unwrap();
    let dataset = snapshot.open(&key(table)).await.unwrap();
    Fingerprint::of(&dataset).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_compacted_by_threshold_while_loads_go_on_and_none_of_them_fails() {
    let site = Site::new();
    let (first, second) = (site.graph("first").await, site.graph("second").await);
    let targets = [
        ("first", &*site.uri("first"), EAGER),
        ("second", &*site.uri("second"), EAGER),
    ];
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let (enough, loads) = (AtomicBool::new(false), AtomicU64::new(0));
    let write = async |graph: &Graph| {
        let mut expected = Fingerprint::default();
        let mut n = 0;
        while n < 12 || (!enough.load(Ordering::Relaxed) && n < 1_000) {
            graph.load(day(n, 50)).await.expect("no load fails");
            expected.add(&flights(n, 50)).unwrap();
            loads.fetch_add(1, Ordering::Relaxed);
            n += 1;
        }
        expected
    };
    let watch = async {
        for target in ["first", "second"] {
            let job = daemon.until_compacted(target).await;
            assert!(
                job["fragments_before"].as_u64() > job["fragments_after"].as_u64(),
                "{job}"
            );
        }
        enough.store(true, Ordering::Relaxed);
    };
    let (of_first, of_second, ()) = tokio::join!(write(&first), write(&second), watch);
    for (graph, name, expected) in [(first, "first", of_first), (second, "second", of_second)] {
        until("few fragments are left", async || {
            is_at_rest(&graph, &key("edge:Flight"), 4).await
        })
        .await;
        until_idle(&graph).await;
        assert_eq!(fingerprint(&graph, "edge:Flight").await, expected);
        let labels = format!("table=\"edge:Flight\",target=\"{name}\"");
        let counted = |rows: f64| rows == expected.rows as f64;
        daemon
            .until_metric("squire_table_rows", &labels, counted)
            .await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_a_reason_of_their_own() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    graph.load(day(1, 100)).await.unwrap();
    graph.load(day(2, 100)).await.unwrap();
    let two = squire_engine::DeleteRequest::new().add(key("edge:Flight"), "dest < 'D25'");
    graph.delete(two).await.unwrap();
    let targets = [("graph", &*site.uri("graph"), "min_small_fragments = 1000\n")];
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon.until_compacted("graph").await;
    let started = daemon
        .until_logged("why", |line| line["message"] == "job started")
        .await;
    assert_eq!(started["reason"], "deleted_rows");
    assert_eq!(
        (&started["deleted_rows"], &started["fragments"]),
        (&100.into(), &2.into())
    );
    assert_eq!(rows(&graph, "edge:Flight").await, 100);
    assert_eq!(fragments(&graph, &key("edge:Flight")).await, 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_compacts_below_the_threshold() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    for n in 0..3 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let always = "cron = \"* * * * * *\"\nmin_small_fragments = 1000\ninterval_floor = \"100ms\"\n";
    let targets = [("graph", &*site.uri("graph"), always)];
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let job = daemon.until_compacted("graph").await;
    assert_eq!(
        (&job["fragments_before"], &job["fragments_after"]),
        (&3.into(), &1.into())
    );
    let started = daemon
        .until_logged("why", |line| line["message"] == "job started")
        .await;
    assert_eq!(started["reason"], "forced");
    // And again, for what comes later.
    graph.load(day(9, 10)).await.unwrap();
    until("the new fragment is taken in", async || {
        fragments(&graph, &key("edge:Flight")).await == 1
    })
    .await;
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_target_is_left_alone_though_it_is_due_and_scheduled() {
    let site = Site::new();
    let (left, kept) = (site.graph("left").await, site.graph("kept").await);
    for n in 0..6 {
        left.load(day(n, 10)).await.unwrap();
        kept.load(day(n, 10)).await.unwrap();
    }
    let disabled = format!("enabled = false\ncron = \"* * * * * *\"\n{EAGER}");
    let targets = [
        ("left", &*site.uri("left"), &*disabled),
        ("kept", &*site.uri("kept"), EAGER),
    ];
    let before = left.snapshot().await.unwrap().manifest().number;
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let labels = "duty=\"compaction\",reason=\"disabled\",target=\"left\"";
    daemon
        .until_metric("squire_skips_total", labels, |n| n == 3.0)
        .await;
    daemon
        .until_logged("the schedule came", |line| {
            line["target_name"] == "left" && line["message"] == "the schedule forces compaction"
        })
        .await;
    let ticks = daemon.metric("squire_ticks_total").await["target=\"left\""];
    daemon
        .until_metric("squire_ticks_total", "target=\"left\"", |n| n > ticks + 3.0)
        .await;
    daemon.until_compacted("kept").await;
    assert_eq!(left.snapshot().await.unwrap().manifest().number, before);
    let lines = daemon.stop().await;
    let job =
        |line: &&serde_json::Value| line["target_name"] == "left" && line["duty"] == "compaction";
    assert_eq!(lines.iter().find(job), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_place_there_are_never_two_jobs_at_once() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    for n in 0..6 {
        let both = day(n, 2_000).add(
            key("node:Plane"),
            squire_engine::LoadMode::Append,
            squire_engine::Rows::Batches(vec![planes(n as usize * 100, n as usize * 100 + 100, 1)]),
        );
        graph.load(both).await.unwrap();
        graph
            .load(append("node:Airport", airport(n)))
            .await
            .unwrap();
    }
    // The least budget has room for one job, whatever else is asked for.
    let one = format!("concurrency = 4\nmemory = \"256MiB\"\n{QUICK}");
    let targets = [("graph", &*site.uri("graph"), EAGER)];
    let daemon = site.daemon(&site.config(&one, &targets), "log").await;
    for table in ["edge:Flight", "node:Plane", "node:Airport"] {
        until("the table is compacted", async || {
            fragments(&graph, &key(table)).await == 1
        })
        .await;
    }
    let labels = "duty=\"compaction\",outcome=\"done\",target=\"graph\"";
    daemon
        .until_metric("squire_jobs_total", labels, |n| n == 3.0)
        .await;
    let mut at_work = Vec::new();
    let lines = daemon.stop().await;
    let running = lines.iter().find(|l| l["message"] == "squire is running");
    assert_eq!(running.map(|line| &line["places"]), Some(&1.into()));
    for line in lines {
        match line["message"].as_str() {
            Some("job started") => {
                assert_eq!(at_work, Vec::<String>::new(), "{line}");
                at_work.push(line["table"].to_string());
            }
            Some("job done") => {
                let done = line["table"].to_string();
                at_work.retain(|table| *table != done);
            }
            _ => {}
        }
    }
    assert!(at_work.is_empty(), "{at_work:?}");
}

fn airport(n: i32) -> arrow::array::RecordBatch {
    let faa = arrow::array::StringArray::from(vec![format!("A{n}")]);
    arrow::array::RecordBatch::try_from_iter([("faa", std::sync::Arc::new(faa) as _)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_target_fails_by_itself_until_it_is_created() {
    let site = Site::new();
    let good = site.graph("good").await;
    for n in 0..5 {
        good.load(day(n, 10)).await.unwrap();
    }
    let later = site.uri("later");
    let targets = [
        ("good", &*site.uri("good"), EAGER),
        ("later", &*later, EAGER),
    ];
    let mut daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon.until_compacted("good").await;
    daemon
        .until_metric("squire_target_up", "target=\"later\"", |up| up == 0.0)
        .await;
    daemon
        .until_metric("squire_target_up", "target=\"good\"", |up| up == 1.0)
        .await;
    let health = daemon.health().await;
    assert_eq!(health["status"], "failing", "the worst is told");
    let (live, _) = daemon.get("/livez").await;
    assert_eq!(live, 200, "a failing target is not the daemon's fault");
    assert_eq!(health["targets"]["good"]["status"], "ok");
    assert_eq!(health["targets"]["later"]["status"], "failing");
    let error = health["targets"]["later"]["error"].as_str().unwrap();
    assert!(
        error.contains("holds no graph") && error.contains(&later),
        "{error}"
    );
    assert!(!site.path("later").exists(), "looking creates nothing");

    let created = site.graph("later").await;
    for n in 0..5 {
        created.load(day(n, 10)).await.unwrap();
    }
    daemon.until_compacted("later").await;
    daemon
        .until_metric("squire_target_up", "target=\"later\"", |up| up == 1.0)
        .await;
    let health = daemon.health().await;
    assert_eq!(health["targets"]["later"]["status"], "ok");
    assert!(
        health["targets"]["later"].get("error").is_none(),
        "{health}"
    );
    let lines = daemon.stop().await;
    let complaints = lines.iter().filter(|line| line["level"] == "ERROR");
    assert_eq!(
        complaints.count(),
        1,
        "the same error is told once, however many ticks"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_target_fails_by_itself_too() {
    let site = Site::new();
    let good = site.graph("good").await;
    good.load(day(1, 10)).await.unwrap();
    let targets = [
        ("good", &*site.uri("good"), EAGER),
        ("memory", "memory://nothing", EAGER),
    ];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon
        .until_metric("squire_target_up", "target=\"memory\"", |up| up == 0.0)
        .await;
    daemon
        .until_metric("squire_target_up", "target=\"good\"", |up| up == 1.0)
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_graph_do_no_harm() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let uri = site.uri("graph");
    let one = site
        .daemon(&site.config(QUICK, &[("one", &uri, EAGER)]), "one.log")
        .await;
    let two = site
        .daemon(&site.config(QUICK, &[("two", &uri, EAGER)]), "two.log")
        .await;
    let mut expected = Fingerprint::default();
    for n in 0..40 {
        graph.load(day(n, 100)).await.expect("no load fails");
        expected.add(&flights(n, 100)).unwrap();
    }
    until("few fragments are left", async || {
        is_at_rest(&graph, &key("edge:Flight"), 4).await
    })
    .await;
    until_idle(&graph).await;
    assert_eq!(fingerprint(&graph, "edge:Flight").await, expected);
    one.stop().await;
    two.stop().await;
    assert_eq!(fingerprint(&graph, "edge:Flight").await, expected);
    assert_eq!(under_way(&site.path("graph")), Vec::<String>::new());
}
