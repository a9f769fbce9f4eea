//! Disks that hang, volumes that vanish, jobs that stand still: one fault costs only its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use squire_tests::{folder, plain};

use crate::site::{Keeping, QUICK, Site, until};

const EAGER: &str = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";
/// A look is given up within a second, and a job soon after.
const IMPATIENT: &str = "look_timeout = \"1s\"\nstuck_after = \"2s\"\n";

async fn fragments(root: &Path, table: &str) -> usize {
    let dataset = plain::open(root, table).await.unwrap();
    dataset.get_fragments().len()
}

/// A table of six fragments, of which fewer than four are left after a compaction, whenever it began.
async fn due(root: &Path, table: &str) {
    for n in 0..6 {
        let rows = plain::rows(n * 10, 10);
        plain::append(root, table, rows).await.unwrap();
    }
}

async fn until_compacted(root: &Path, table: &str) {
    until(&format!("{table} is compacted"), async || {
        fragments(root, table).await < 4
    })
    .await;
}

/// A disk that hangs below a path of a root, until it is dropped.
struct Hanging(PathBuf);

impl Hanging {
    fn below(root: &Path, path: &Path) -> Self {
        let real = fs::canonicalize(root).unwrap();
        let below = real.join(path.strip_prefix(root).unwrap());
        let mut said = real.into_os_string();
        said.push(".hang");
        let said = PathBuf::from(said);
        fs::write(&said, below.to_str().unwrap()).unwrap();
        Self(said)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn until_status(daemon: &Keeping, target: &str, status: &str) {
    until(&format!("{target} is {status}"), async || {
        daemon.health().await["targets"][target]["status"] == status
    })
    .await;
}

fn one_place() -> String {
    format!("{QUICK}{IMPATIENT}concurrency = 1\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_disk_hangs_takes_neither_place_nor_look_from_another_and_goes_on_by_itself()
{
    let site = Site::new();
    let (hung, good) = (site.path("hung"), site.path("good"));
    due(&hung, "t").await;
    due(&good, "first").await;
    let targets = [
        ("hung", &*site.uri("hung"), EAGER),
        ("good", &*site.uri("good"), EAGER),
    ];
    let hanging = Hanging::below(&hung, &hung);
    let daemon = site
        .daemon(&site.config(&one_place(), &targets), "log")
        .await;
    until_compacted(&good, "first").await;
    until_status(&daemon, "hung", "stuck").await;
    let (code, _) = daemon.get("/livez").await;
    assert_eq!(
        code, 200,
        "a store that hangs is no reason to end the process"
    );
    assert_eq!(daemon.get("/readyz").await.0, 200, "one target can be kept");
    due(&good, "second").await;
    until_compacted(&good, "second").await;
    drop(hanging);
    until_status(&daemon, "hung", "ok").await;
    until_compacted(&hung, "t").await;
    // It hangs again, with a backlog and in the middle of its looks.
    let hanging = Hanging::below(&hung, &hung);
    until_status(&daemon, "hung", "stuck").await;
    due(&good, "third").await;
    until_compacted(&good, "third").await;
    drop(hanging);
    until_status(&daemon, "hung", "ok").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_hangs_is_failing_itself_and_the_others_of_its_target_are_maintained() {
    let site = Site::new();
    let lake = site.path("lake");
    due(&lake, "bad").await;
    due(&lake, "good").await;
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let hanging = Hanging::below(&lake, &lake.join("bad.lance"));
    let daemon = site
        .daemon(&site.config(&one_place(), &targets), "log")
        .await;
    until_compacted(&lake, "good").await;
    let failing = "health=\"failing\",target=\"lake\"";
    let fails = async |tables: f64| {
        daemon
            .until_metric("squire_health_tables", failing, |n| n == tables)
            .await;
    };
    fails(1.0).await;
    let health = daemon.health().await;
    assert_eq!(health["targets"]["lake"]["status"], "ok", "{health}");
    let why = site.explain(&daemon, "lake").await;
    assert!(why.contains("has not answered"), "{why}");
    drop(hanging);
    until_compacted(&lake, "bad").await;
    fails(0.0).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_stands_still_is_cancelled_and_gives_its_place_to_another_table() {
    let site = Site::new();
    let lake = site.path("lake");
    due(&lake, "a_stuck").await;
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let hanging = Hanging::below(&lake, &lake.join("a_stuck.lance/data"));
    let daemon = site
        .daemon(&site.config(&one_place(), &targets), "log")
        .await;
    let stuck = "duty=\"compaction\",target=\"lake\"";
    daemon
        .until_metric("squire_jobs_stuck_total", stuck, |jobs| jobs >= 1.0)
        .await;
    due(&lake, "b_good").await;
    until_compacted(&lake, "b_good").await;
    let why = site.explain(&daemon, "lake").await;
    assert!(why.contains("a_stuck"), "{why}");
    drop(hanging);
    until_compacted(&lake, "a_stuck").await;
    assert_eq!(
        plain::open(&lake, "a_stuck")
            .await
            .unwrap()
            .count_rows(None)
            .await
            .unwrap(),
        60
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_all_of_whose_disks_hang_ends_in_order_and_at_once() {
    let site = Site::new();
    let (first, second) = (site.path("first"), site.path("second"));
    for root in [&first, &second] {
        due(root, "t").await;
    }
    let targets = [
        ("first", &*site.uri("first"), EAGER),
        ("second", &*site.uri("second"), EAGER),
    ];
    let daemon = site
        .daemon(&site.config(&one_place(), &targets), "log")
        .await;
    // A job that is at work on a disk that hangs may take all of the grace.
    for root in [&first, &second] {
        until_compacted(root, "t").await;
    }
    let running = async || daemon.metric("squire_jobs_running").await;
    until("no job is at work", async || {
        running().await.values().all(|jobs| *jobs == 0.0)
    })
    .await;
    let _hanging = [
        Hanging::below(&first, &first),
        Hanging::below(&second, &second),
    ];
    for target in ["first", "second"] {
        until_status(&daemon, target, "stuck").await;
    }
    assert_eq!(daemon.get("/livez").await.0, 200);
    assert_eq!(daemon.get("/readyz").await.0, 503, "nothing can be done");
    let lines = daemon.stop().await;
    let late = lines.iter().find(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("grace is over")
    });
    assert!(late.is_none(), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_volume_vanishes_is_a_fault_that_is_told_once_and_is_kept_again_when_it_is_back()
 {
    let site = Site::new();
    let lake = site.path("lake");
    due(&lake, "t").await;
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until_compacted(&lake, "t").await;
    until_status(&daemon, "lake", "ok").await;
    let success = "duty=\"compaction\",target=\"lake\"";
    let last = async || daemon.metric("squire_last_success_timestamp_seconds").await[success];
    for empty in [false, true] {
        let away = site.path("away");
        fs::rename(&lake, &away).unwrap();
        if empty {
            fs::create_dir(&lake).unwrap();
        }
        until_status(&daemon, "lake", "failing").await;
        let health = daemon.health().await;
        let error = health["targets"]["lake"]["error"].as_str().unwrap();
        assert!(error.contains("mounted"), "{error}");
        daemon
            .until_metric("squire_target_up", "target=\"lake\"", |up| up == 0.0)
            .await;
        let before = last().await;
        daemon.until_looked("lake", 5.0).await;
        assert_eq!(last().await, before, "nothing succeeds meanwhile");
        if empty {
            fs::remove_dir(&lake).unwrap();
        }
        fs::rename(&away, &lake).unwrap();
        until_status(&daemon, "lake", "ok").await;
    }
    let lines = daemon.stop().await;
    let told = lines.iter().filter(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.starts_with("the target cannot be kept")
    });
    assert_eq!(told.count(), 2, "once each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_ignored_is_not_looked_at_and_does_not_fail_its_target() {
    let site = Site::new();
    let lake = site.path("lake");
    due(&lake, "good").await;
    fs::create_dir_all(lake.join("bad.lance/_versions")).unwrap();
    fs::write(lake.join("bad.lance/_versions/1.manifest"), "nonsense").unwrap();
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let config = site.config(QUICK, &targets);
    let daemon = site.daemon(&config, "log").await;
    until_compacted(&lake, "good").await;
    let failing = "health=\"failing\",target=\"lake\"";
    daemon
        .until_metric("squire_health_tables", failing, |n| n == 1.0)
        .await;
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str("[[target.table]]\nmatch = \"bad\"\nignore = true\n");
    fs::write(&config, text).unwrap();
    daemon.hang_up().await;
    daemon
        .until_metric("squire_health_tables", failing, |n| n == 0.0)
        .await;
    assert_eq!(daemon.health().await["status"], "ok");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_late_in_the_alphabet_is_looked_at_as_often_as_the_first_however_many_are_due() {
    let site = Site::new();
    let lake = site.path("lake");
    let rows = plain::rows(0, 10);
    plain::append(&lake, "t00", rows).await.unwrap();
    // More than are read at once, and than one round of a tick may read.
    for n in 1..60 {
        folder::copy(
            &lake.join("t00.lance"),
            &lake.join(format!("t{n:02}.lance")),
        )
        .unwrap();
    }
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let rhythm =
        "tick = \"100ms\"\nhot_tick = \"100ms\"\ncold_tick = \"100ms\"\nlog = \"squire=debug\"\n";
    let daemon = site.daemon(&site.config(rhythm, &targets), "log").await;
    let looks = || {
        let mut looks = BTreeMap::new();
        for line in daemon.log() {
            if line["message"] == "looked at a table" {
                let table = line["table"].as_str().unwrap_or_default().to_owned();
                *looks.entry(table).or_insert(0_u32) += 1;
            }
        }
        looks
    };
    until("each table was looked at some times", async || {
        let looks = looks();
        looks.len() == 60 && looks.values().all(|looks| *looks >= 10)
    })
    .await;
    let looks = looks();
    let (least, most) = (looks.values().min(), looks.values().max());
    assert!(most <= least.map(|least| 2 * least).as_ref(), "{looks:?}");
    daemon.stop().await;
}
