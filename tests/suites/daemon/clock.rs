//! A wall clock that is turned while the daemon runs.

use std::{fs, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use squire_tests::plain;

use crate::site::{Keeping, Site, done, squire, text, until};

const DAY: i64 = 86_400;

/// Counted by their manifests: Lance fails to list what goes meanwhile.
fn versions(lake: &Path) -> usize {
    let listed = fs::read_dir(lake.join("docs.lance/_versions")).unwrap();
    let names = listed.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".manifest"))
        .count()
}

/// When the target's schedule comes next, by what the daemon says.
async fn next(daemon: &Keeping) -> DateTime<Utc> {
    let (_, targets) = daemon.get("/api/v1/targets").await;
    let targets: Value = serde_json::from_str(&targets).unwrap();
    let next = targets[0]["schedules"][0]["next"].as_str();
    next.expect("it comes").parse().unwrap()
}

async fn pauses(daemon: &Keeping, config: &str) -> String {
    let address = daemon.address();
    done(squire(&["pauses", "--config", config, "--daemon", address]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_removes_nothing_ends_no_pause_and_has_schedules_planned_anew() {
    let site = Site::new();
    let lake = site.path("lake");
    for table in ["docs", "quiet"] {
        plain::append(&lake, table, plain::rows(0, 10))
            .await
            .unwrap();
    }
    let daemon = format!(
        "[daemon]\nlisten = '127.0.0.1:0'\ntick = '100ms'\nstate_dir = '{}'\n",
        site.uri("state")
    );
    let target = "[[target]]\nname = 'lake'\nuri = 'lake'\n[target.compaction]\nenabled = false\n\
         [target.cleanup]\nkeep_for = '1s'\nkeep_versions = 1\nmin_versions = 1\ninterval_floor = '1s'\n\
         [target.index]\ncron = '0 0 3 * * *'\n";
    let config = site.write("squire.toml", daemon + target);
    let clock = site.path("clock");
    let daemon = site
        .daemon_with(
            Path::new(&config),
            "log",
            &[("SQUIRE_TURNED_CLOCK", &text(&clock))],
        )
        .await;
    // How far it is ahead, and how long it is distrusted then.
    let turn = |ahead: i64, hold: u64| fs::write(&clock, format!("{ahead} {hold}")).unwrap();
    daemon
        .until_metric("squire_target_tables", "target=\"lake\"", |n| n == 2.0)
        .await;
    let address = daemon.address().to_owned();
    let pause = [
        "pause", "lake", "quiet", "--for", "2h", "--reason", "backup",
    ];
    done(squire(&[&pause[..], &["--config", &config, "--daemon", &address]].concat()).await);

    turn(30 * DAY, 3_600);
    daemon
        .until_metric("squire_clock_steady", "", |steady| steady == 0.0)
        .await;
    for n in 1..4 {
        let rows = plain::rows(n * 10, 10);
        plain::append(&lake, "docs", rows).await.unwrap();
    }
    until("the table says why nothing is removed", async || {
        let told = site.explain(&daemon, "lake").await;
        told.contains("jumped forward by")
    })
    .await;
    daemon.until_looked("lake", 3.0).await;
    assert_eq!(versions(&lake), 4);
    let jumps = daemon.metric("squire_clock_jumps_total").await;
    assert_eq!(jumps.get(""), Some(&1.0));
    assert!(pauses(&daemon, &config).await.contains("backup"));
    assert!(next(&daemon).await > Utc::now() + TimeDelta::days(29));

    turn(0, 3_600);
    daemon
        .until_metric("squire_clock_jumps_total", "", |jumps| jumps == 2.0)
        .await;
    until("the schedule is planned anew", async || {
        next(&daemon).await < Utc::now() + TimeDelta::days(2)
    })
    .await;
    daemon.until_looked("lake", 3.0).await;
    assert_eq!(versions(&lake), 4, "it has just jumped again");
    assert!(pauses(&daemon, &config).await.contains("backup"));
    let kept = fs::read_to_string(site.path("state/pauses.json")).unwrap();
    assert!(kept.contains("backup"), "{kept}");

    turn(0, 0);
    until(
        "versions are removed by a clock that is steady",
        async || versions(&lake) == 1,
    )
    .await;
    daemon
        .until_metric("squire_clock_steady", "", |steady| steady == 1.0)
        .await;
    let log = daemon.stop().await;
    let told = log.iter().filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("the wall clock jumped")
    });
    let told: Vec<_> = told.map(|line| line["direction"].clone()).collect();
    assert_eq!(told, ["forward", "back"], "each is told once");
}
