//! Which policy and which pauses hold for a duty that is run by hand.

use std::path::Path;

use squire_tests::plain;

use crate::site::{QUICK, Site, done, refused, squire};

async fn fragments(root: &Path, table: &str) -> usize {
    let dataset = plain::open(root, table).await.unwrap();
    dataset.get_fragments().len()
}

/// A directory of two tables with four fragments each.
async fn lake(site: &Site) -> String {
    for table in ["docs", "logs"] {
        for n in 0..4 {
            let rows = plain::rows(n * 10, 10);
            plain::append(&site.path("lake"), table, rows)
                .await
                .unwrap();
        }
    }
    site.uri("lake")
}

/// A configuration of the directory, with more of `[daemon]` and of the target.
fn config(site: &Site, daemon: &str, target: &str) -> String {
    let uri = site.uri("lake");
    let text =
        format!("[daemon]\n{daemon}[[target]]\nname = \"lake\"\nuri = \"{uri}\"\n{target}\n");
    site.write("squire.toml", text)
}

/// Nothing listens there.
const SILENT: &str = "listen = \"127.0.0.1:9\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_by_hand_goes_by_the_policy_of_the_configuration_that_names_the_target() {
    let site = Site::new();
    let uri = lake(&site).await;
    let policy =
        "[target.compaction]\nmin_small_fragments = 3\n[target.cleanup]\nkeep_versions = 2\n";
    let config = config(&site, SILENT, policy);
    let with = ["--config", &*config];
    let status = done(squire(&[&["status", &*uri], &with[..]].concat()).await);
    assert!(status.contains("small_fragments"), "due by it: {status}");
    assert!(status.contains("policy: of target lake in "), "{status}");
    for uri in [&*uri, &format!("{uri}/"), &format!("{uri}/../lake")] {
        let cleanup = [&["cleanup", uri, "--dry-run"], &with[..]].concat();
        let told = done(squire(&cleanup).await);
        assert!(told.contains("the 2 newest versions"), "{told}");
    }
    let keep = ["--keep-versions", "5"];
    let cleanup = [&["cleanup", &*uri, "--dry-run"], &with[..], &keep[..]].concat();
    let told = done(squire(&cleanup).await);
    assert!(told.contains("the 5 newest versions"), "flags win: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_that_is_disabled_for_the_daemon_is_done_by_hand() {
    let site = Site::new();
    let uri = lake(&site).await;
    let config = config(&site, SILENT, "[target.compaction]\nenabled = false\n");
    let told = done(squire(&["compact", &uri, "--config", &config]).await);
    assert_eq!(fragments(&site.path("lake"), "docs").await, 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_by_hand_says_when_the_built_in_policy_holds() {
    let site = Site::new();
    let uri = lake(&site).await;
    let other = site.write(
        "squire.toml",
        "[[target]]\nname = \"sea\"\nuri = \"/nowhere\"\n",
    );
    for duty in ["compact", "index", "cleanup"] {
        let told = done(squire(&[duty, &uri, "--dry-run", "--config", &other]).await);
        let why = format!("policy: built-in ({other} names no target at this place)\n");
        assert!(told.ends_with(&why), "{told}");
    }
    let status = done(squire(&["status", &uri]).await);
    assert!(status.contains("policy: built-in ("), "{status}");
    assert!(!status.contains("small_fragments"), "{status}");
    let json = done(squire(&["status", &uri, "--json"]).await);
    assert!(json.starts_with('{') && json.lines().count() == 1, "{json}");
    let missing = site.uri("missing.toml");
    let compact = ["compact", &uri, "--config", &missing];
    refused(squire(&compact).await, 2, &["missing.toml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_by_hand_leaves_a_paused_table_alone_unless_pauses_are_ignored() {
    let site = Site::new();
    let uri = lake(&site).await;
    let root = site.path("lake");
    let state = site.path("state");
    std::fs::create_dir(&state).unwrap();
    let until = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let pauses = serde_json::json!({
        "version": 1,
        "pauses": [{ "target": "lake", "table": "docs", "until": until, "reason": "backup" }],
    });
    std::fs::write(state.join("pauses.json"), pauses.to_string()).unwrap();
    let daemon = format!("{SILENT}state_dir = \"{}\"\n", state.display());
    let config = config(&site, &daemon, "");
    let compact = ["compact", &*uri, "--config", &config];
    let told = done(squire(&compact).await);
    let line = told.lines().find(|line| line.starts_with("docs is paused"));
    let line = line.unwrap_or_else(|| panic!("nothing is said of the pause: {told}"));
    assert!(
        line.contains("backup") && line.contains("--ignore-pauses"),
        "{line}"
    );
    assert_eq!(fragments(&root, "docs").await, 4);
    assert_eq!(fragments(&root, "logs").await, 1, "{told}");
    std::fs::write(state.join("pauses.json"), "{").unwrap();
    let told = done(squire(&compact).await);
    assert!(told.contains("the pauses cannot be read"), "{told}");
    assert_eq!(fragments(&root, "docs").await, 4);
    done(squire(&[&compact[..], &["--ignore-pauses"]].concat()).await);
    assert_eq!(fragments(&root, "docs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_a_running_daemon_holds_for_a_duty_by_hand() {
    let site = Site::new();
    let uri = lake(&site).await;
    let targets = [("lake", &*uri, "enabled = false\n")];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let listen = format!("listen = \"{}\"\n", daemon.address());
    let config = config(&site, &listen, "");
    daemon
        .until_metric("squire_target_tables", "target=\"lake\"", |n| n == 2.0)
        .await;
    done(squire(&["pause", "lake", "--for", "1h", "--config", &config]).await);
    let compact = ["compact", &*uri, "--config", &config];
    let told = done(squire(&compact).await);
    let paused = |line: &&str| line.contains("is paused until ");
    assert_eq!(told.lines().filter(paused).count(), 2, "{told}");
    assert_eq!(fragments(&site.path("lake"), "docs").await, 4);
    done(squire(&["resume", "lake", "--config", &config]).await);
    done(squire(&compact).await);
    assert_eq!(fragments(&site.path("lake"), "docs").await, 1);
    daemon.stop().await;
}
