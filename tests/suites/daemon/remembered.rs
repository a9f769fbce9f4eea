//! What a keeper knows goes on with the next: over a reload, and over a restart where there is a folder for it.

use std::{fs, path::Path};

use chrono::{Local, TimeDelta, Timelike, Utc};
use serde_json::json;
use squire_tests::{plain, process};

use crate::site::{Keeping, QUICK, Site, until};

const BUDGET: f64 = 1_048_576.0;
const LEFT: &str = "squire_budget_left_bytes";
const LAKE: &str = "target=\"lake\"";

/// A configuration with one target, and these keys of `[daemon]` and of the target.
fn configure(site: &Site, daemon: &str, target: &str) -> std::path::PathBuf {
    let config = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\n{daemon}\n[[target]]\nname = \"lake\"\nuri = \"{}\"\n{target}\n",
        site.uri("lake")
    );
    site.write("squire.toml", config).into()
}

async fn fragments(root: &Path) -> usize {
    let docs = plain::open(root, "docs").await.unwrap();
    docs.get_fragments().len()
}

async fn append(root: &Path, times: i64) {
    for n in 0..times {
        let rows = plain::rows(n * 10, 10);
        plain::append(root, "docs", rows).await.unwrap();
    }
}

/// What is left of the budget, once that is known.
async fn left(daemon: &Keeping) -> f64 {
    daemon.until_metric(LEFT, LAKE, |_| true).await;
    daemon.metric(LEFT).await[LAKE]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_goes_on_over_a_reload_that_begins_a_keeper_anew_and_over_a_restart() {
    let site = Site::new();
    let root = site.path("lake");
    append(&root, 6).await;
    let state = format!("{QUICK}state_dir = \"{}\"", site.uri("state"));
    let pace = "[target.pace]\nbytes_per_hour = \"1MiB\"\n[target.compaction]\nmin_small_fragments = 4\ninterval_floor = \"100ms\"";
    let config = configure(&site, &state, pace);
    let mut daemon = site.daemon(&config, "first.log").await;
    daemon.until_compacted("lake").await;
    daemon.until_metric(LEFT, LAKE, |left| left < BUDGET).await;
    let before = left(&daemon).await;

    let longer = state.replace("lease = \"1s\"", "lease = \"2s\"");
    assert_ne!(longer, state);
    configure(&site, &longer, pace);
    process::signal(daemon.id(), "HUP").await.unwrap();
    daemon
        .until_logged("a reload", |line| {
            line["message"] == "the configuration is reloaded"
        })
        .await;
    until("another keeper keeps it", async || {
        let kept = daemon.log().into_iter();
        kept.filter(|line| line["message"] == "keeping a target")
            .count()
            == 2
    })
    .await;
    assert_eq!(left(&daemon).await, before, "after the reload");
    daemon.stop().await;

    let daemon = site.daemon(&config, "second.log").await;
    assert_eq!(left(&daemon).await, before, "after the restart");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_success_gets_no_younger_by_a_restart() {
    let site = Site::new();
    append(&site.path("lake"), 6).await;
    let daemon_keys = format!("{QUICK}state_dir = \"{}\"", site.uri("state"));
    // It is due, and never done.
    let never = "[target.compaction]\nmin_small_fragments = 4\n[target.pace]\nbytes_per_hour = \"1MiB\"\n[target.windows]\nallowed = [WINDOW]";
    let config = configure(&site, &daemon_keys, &never.replace("WINDOW", &far_off()));
    const LAST: &str = "squire_last_success_timestamp_seconds";
    const COMPACTION: &str = "duty=\"compaction\",target=\"lake\"";
    let daemon = site.daemon(&config, "first.log").await;
    daemon.until_metric(LAST, COMPACTION, |_| true).await;
    let before = daemon.metric(LAST).await[COMPACTION];
    daemon.stop().await;
    until("the clock has gone on", async || {
        Utc::now().timestamp() as f64 > before + 1.0
    })
    .await;
    let daemon = site.daemon(&config, "second.log").await;
    daemon.until_metric(LAST, COMPACTION, |_| true).await;
    assert_eq!(daemon.metric(LAST).await[COMPACTION], before);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_called_for_and_waits_for_a_window_is_done_after_a_restart() {
    let site = Site::new();
    let root = site.path("lake");
    append(&root, 3).await;
    let daemon_keys = format!("{QUICK}state_dir = \"{}\"", site.uri("state"));
    let windows = format!("[target.windows]\nallowed = [{}]", far_off());
    let daemon = site
        .daemon(&configure(&site, &daemon_keys, &windows), "first.log")
        .await;
    daemon
        .until_metric("squire_target_tables", LAKE, |tables| tables == 1.0)
        .await;
    let call = reqwest::Client::new()
        .post(format!("http://{}/api/v1/runs", daemon.address()))
        .header("content-type", "application/json")
        .body(json!({"target": "lake", "duty": "compaction"}).to_string())
        .send();
    assert_eq!(call.await.unwrap().status().as_u16(), 202);
    let waits = "decision=\"outside_window\",duty=\"compaction\",target=\"lake\"";
    daemon
        .until_metric("squire_decided_tables", waits, |tables| tables == 1.0)
        .await;
    let kept = site.path("state/targets/lake.json");
    until("it is on the disk", async || {
        fs::read_to_string(&kept).is_ok_and(|kept| kept.contains("forced\":{\"compaction"))
    })
    .await;
    // A stop in order is not what it takes.
    daemon.kill().await;
    assert_eq!(fragments(&root).await, 3);
    let daemon = site
        .daemon(&configure(&site, &daemon_keys, ""), "second.log")
        .await;
    until("it is compacted, though it is not due", async || {
        fragments(&root).await == 1
    })
    .await;
    daemon.stop().await;
}

/// A window that is half a day away.
fn far_off() -> String {
    let then = Local::now() + TimeDelta::hours(12);
    let hour = then.hour();
    format!("\"{hour:02}:00-{hour:02}:59\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_of_a_target_is_set_aside_and_told() {
    let site = Site::new();
    append(&site.path("lake"), 1).await;
    fs::create_dir_all(site.path("state/targets")).unwrap();
    let file = site.write("state/targets/lake.json", "{");
    let config = configure(
        &site,
        &format!("{QUICK}state_dir = \"{}\"", site.uri("state")),
        "",
    );
    let daemon = site.daemon(&config, "log").await;
    // It is told before the daemon is up.
    let log = daemon.log();
    let told = log.iter().find(|line| {
        let said = line["message"].as_str().unwrap_or_default();
        said.contains("cannot be read")
    });
    let line = told.expect("it is told");
    assert_eq!(line["target_name"], "lake");
    assert_eq!(line["set_aside"], format!("{file}.unreadable"));
    daemon.stop().await;
}
