//! What users of other maintenance suffer from, each as a test that is named after the report.

use std::path::Path;

use squire_tests::{
    flights::{day, key},
    place::rows,
    plain,
};

use crate::site::{QUICK, Site, fragments, squire, until};

const EAGER: &str = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";

/// Maintenance was silently off for 16 days: the time of the last success stands still, and the reason is counted.
#[tokio::test(flavor = "multi_thread")]
async fn gascity_3341_a_duty_that_is_held_back_shows_since_when_and_why() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    // It may work on a day that is neither today nor next to it.
    let other = chrono::Local::now().date_naive() + chrono::Days::new(3);
    let held = format!(
        "{EAGER}[target.windows]\nallowed = [\"{} 10:00-11:00\"]\n",
        other.format("%a")
    );
    let targets = [("graph", &*site.uri("graph"), &*held)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let success = "duty=\"compaction\",target=\"graph\"";
    daemon
        .until_metric("squire_last_success_timestamp_seconds", success, |at| {
            at > 0.0
        })
        .await;
    for n in 0..6 {
        graph.load(day(n, 10)).await.unwrap();
    }
    let why = "duty=\"compaction\",reason=\"outside_window\",target=\"graph\"";
    daemon
        .until_metric("squire_skips_total", why, |n| n == 1.0)
        .await;
    let last = async || daemon.metric("squire_last_success_timestamp_seconds").await[success];
    let stands = last().await;
    let ticks = daemon.metric("squire_ticks_total").await["target=\"graph\""];
    daemon
        .until_metric("squire_ticks_total", "target=\"graph\"", |n| {
            n > ticks + 15.0
        })
        .await;
    assert_eq!(last().await, stands, "it stands still while a table is due");
    assert_eq!(fragments(&graph, &key("edge:Flight")).await, 6);
    daemon.stop().await;
}

/// Two cron jobs that must not overlap were kept apart by an hour and hope: daemons and commands may overlap.
#[tokio::test(flavor = "multi_thread")]
async fn ol_infrastructure_5258_schedules_and_commands_may_overlap() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let uri = site.uri("graph");
    let always = format!("cron = \"* * * * * *\"\n{EAGER}");
    let mut daemons = Vec::new();
    for name in ["one", "two"] {
        let config = site.config(QUICK, &[(name, &uri, &always)]);
        daemons.push(site.daemon(&config, &format!("{name}.log")).await);
    }
    for n in 0..20 {
        graph.load(day(n, 20)).await.expect("no load fails");
        if n % 5 == 4 {
            let ran = squire(&["compact", &uri]).await;
            // 3: a daemon went first, and nothing was changed.
            assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
        }
    }
    until("few fragments are left", async || {
        fragments(&graph, &key("edge:Flight")).await < 4
    })
    .await;
    assert_eq!(rows(&graph, "edge:Flight").await, 400);
    for daemon in daemons {
        let lines = daemon.stop().await;
        let failed = lines.iter().find(|line| line["level"] == "ERROR");
        assert_eq!(failed, None);
    }
}

/// Four optimizes ran on one table at once and three of them for nothing: one process never has two jobs on a table.
#[tokio::test(flavor = "multi_thread")]
async fn xagent_1195_jobs_of_one_process_never_meet_on_a_table() {
    let site = Site::new();
    let root = site.path("lake");
    for n in 0..16 {
        plain::append(&root, "docs", plain::rows(n * 100, 100))
            .await
            .unwrap();
    }
    plain::index_ids(&root, "docs").await.unwrap();
    let always = format!(
        "cron = \"* * * * * *\"\n{EAGER}[target.index]\ncron = \"* * * * * *\"\ninterval_floor = \"100ms\"\n\
         [target.cleanup]\ncron = \"* * * * * *\"\nkeep_for = \"1s\"\nkeep_versions = 1\ninterval_floor = \"1s\"\n"
    );
    let many = format!("concurrency = 4\nlog = \"info,squire=debug\"\n{QUICK}");
    let targets = [("lake", &*site.uri("lake"), &*always)];
    let daemon = site.daemon(&site.config(&many, &targets), "log").await;
    for n in 16..40 {
        plain::append(&root, "docs", plain::rows(n * 100, 100))
            .await
            .unwrap();
    }
    for duty in ["compaction", "index", "cleanup"] {
        let labels = format!("duty=\"{duty}\",outcome=\"done\",target=\"lake\"");
        daemon
            .until_metric("squire_jobs_total", &labels, |n| n >= 1.0)
            .await;
    }
    let jobs = daemon.metric("squire_jobs_total").await;
    let lost = jobs
        .iter()
        .filter(|(labels, _)| labels.contains("outcome=\"lost\""));
    assert_eq!(
        lost.map(|(_, n)| n).sum::<f64>(),
        0.0,
        "appends lose nothing: {jobs:?}"
    );
    let mut at_work = 0_u32;
    for line in daemon.stop().await {
        match line["message"].as_str() {
            Some("job started") => {
                at_work += 1;
                assert_eq!(at_work, 1, "{line}");
            }
            Some(ended) if line["duty"].is_string() && ended.starts_with("job ") => at_work -= 1,
            Some("the job was no longer due when it began") => at_work -= 1,
            _ => {}
        }
    }
    let dataset = plain::open(&root, "docs").await.unwrap();
    assert_eq!(dataset.count_rows(None).await.unwrap(), 4_000);
}

/// 6,557 fragments and 937 MB after a week without maintenance: with it, a table of many small writes stays small.
#[tokio::test(flavor = "multi_thread")]
async fn cognee_4684_many_small_writes_leave_few_fragments_and_few_bytes() {
    let site = Site::new();
    let root = site.path("lake");
    let tidy = "min_small_fragments = 8\ninterval_floor = \"200ms\"\n[target.cleanup]\nkeep_for = \"1s\"\n\
                keep_versions = 3\nmin_versions = 5\ninterval_floor = \"1s\"\n";
    plain::append(&root, "memory", plain::rows(0, 5))
        .await
        .unwrap();
    let targets = [("lake", &*site.uri("lake"), tidy)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    for n in 1..300 {
        plain::append(&root, "memory", plain::rows(n * 5, 5))
            .await
            .expect("no write fails");
    }
    // Of some 300 data files, and one more for each rewrite. What the newest versions name stays, also where the daemon came
    // late to many fragments: then further writes make room.
    let mut written = 300;
    until("few fragments, versions and files are left", async || {
        let dataset = plain::open(&root, "memory").await.unwrap();
        let versions = files(&root.join("memory.lance/_versions"));
        let settled = dataset.get_fragments().len() < 16 && versions < 30;
        let few = files(&root.join("memory.lance/data")) < 60;
        if settled && !few {
            let rows = plain::rows(written * 5, 5);
            plain::append(&root, "memory", rows).await.unwrap();
            written += 1;
        }
        settled && few
    })
    .await;
    let dataset = plain::open(&root, "memory").await.unwrap();
    let rows = i64::try_from(dataset.count_rows(None).await.unwrap());
    assert_eq!(rows, Ok(written * 5));
    daemon.stop().await;
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
