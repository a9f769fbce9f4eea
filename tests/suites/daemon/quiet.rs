//! What the log is told: what happens, and nothing on each tick.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use squire_tests::plain;

use crate::site::Site;

/// So many ticks are watched.
const TICKS: f64 = 60.0;

/// The messages at level INFO and above, with how often each was told.
fn told(log: &[Value]) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let loud = |line: &&Value| line["level"] != "DEBUG" && line["level"] != "TRACE";
    for line in log.iter().filter(loud) {
        let message = line["message"].as_str().unwrap_or_default();
        *told.entry(message.to_owned()).or_default() += 1;
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_well_says_nothing_on_its_ticks() {
    let site = Site::new();
    for table in ["docs", "images", "videos"] {
        plain::append(&site.path("lake"), table, plain::rows(0, 10))
            .await
            .unwrap();
    }
    site.graph("graph").await;
    let config = site.write(
        "squire.toml",
        "[daemon]\nlisten = '127.0.0.1:0'\ntick = '100ms'\nheal_interval = '500ms'\n\
         [defaults.cleanup]\ncron = '0 0 3 29 2 *'\n\
         [[target]]\nname = 'lake'\nuri = 'lake'\n[[target]]\nname = 'graph'\nuri = 'graph'\n",
    );
    let daemon = site.daemon(Path::new(&config), "log").await;
    for target in ["lake", "graph"] {
        daemon.until_looked(target, TICKS).await;
    }
    let log = told(&daemon.log());
    let expected = [("keeping a target", 2), ("squire is running", 1)];
    let expected = expected.map(|(message, n)| (message.to_owned(), n));
    assert_eq!(log, expected.into(), "two lines of the start, and no other");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_targets_that_are_down_have_a_line_each_however_long_that_takes() {
    let site = Site::new();
    plain::append(&site.path("lake"), "docs", plain::rows(0, 10))
        .await
        .unwrap();
    // A folder that is gone, one that is a file, and a graph that cannot be read.
    site.write("file", "no folder");
    site.graph("torn").await;
    for manifest in fs::read_dir(site.path("torn/_squire/manifest")).unwrap() {
        fs::write(manifest.unwrap().path(), "no manifest").unwrap();
    }
    let config = site.write(
        "squire.toml",
        "[daemon]\nlisten = '127.0.0.1:0'\ntick = '100ms'\n\
         [[target]]\nname = 'lake'\nuri = 'lake'\n[[target]]\nname = 'gone'\nuri = 'gone'\n\
         [[target]]\nname = 'file'\nuri = 'file'\n[[target]]\nname = 'torn'\nuri = 'torn'\nkind = 'graph'\n",
    );
    let daemon = site.daemon(Path::new(&config), "log").await;
    for target in ["lake", "gone", "file", "torn"] {
        daemon.until_looked(target, TICKS).await;
    }
    let down = daemon
        .log()
        .into_iter()
        .filter(|line| line["level"] == "ERROR");
    let mut down: Vec<_> = down.map(|line| line["target_name"].to_string()).collect();
    down.sort_unstable();
    assert_eq!(down, ["\"file\"", "\"gone\"", "\"torn\""]);
    let lines: usize = told(&daemon.log()).values().sum();
    assert!(lines <= 3 + 2, "{:#?}", told(&daemon.log()));
    daemon.stop().await;
}
