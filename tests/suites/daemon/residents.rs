//! Two daemons on one place: each says that the other is there, and both leave nothing behind.

use std::fs;

use squire_tests::plain;

use crate::site::{Keeping, QUICK, Site, until};

const OTHERS: &str = "squire_target_other_daemons";

/// Waits until a daemon counts so many others at its target.
async fn until_others(daemon: &Keeping, target: &str, others: f64) {
    let labels = format!("target=\"{target}\"");
    daemon.until_metric(OTHERS, &labels, |n| n == others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_directory_tell_of_each_other_once_and_leave_nothing_behind() {
    let site = Site::new();
    let root = site.path("lake");
    plain::append(&root, "docs", plain::rows(0, 10))
        .await
        .unwrap();
    let uri = site.uri("lake");
    let config = site.config(QUICK, &[("lake", &uri, "")]);
    let mut first = site.daemon(&config, "first.log").await;
    until_others(&first, "lake", 0.0).await;
    let config = site.config(QUICK, &[("pond", &uri, "")]);
    let second = site.daemon(&config, "second.log").await;
    until_others(&first, "lake", 1.0).await;
    until_others(&second, "pond", 1.0).await;
    let line = first
        .until_logged("that another daemon is there", |line| {
            let said = line["message"].as_str().unwrap_or_default();
            said.starts_with("another daemon keeps the same place")
        })
        .await;
    assert_eq!(
        (&line["target_name"], &line["called"]),
        (&"lake".into(), &"pond".into())
    );
    assert!(
        line["host"].is_string() && line["pid"].is_number(),
        "{line}"
    );

    second.stop().await;
    until_others(&first, "lake", 0.0).await;
    let told = first.log().into_iter();
    let told = told.filter(|line| line["called"] == "pond").count();
    assert_eq!(told, 1, "once is enough");
    first.stop().await;
    let left: Vec<_> = fs::read_dir(&root).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the table is left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_is_no_other_daemon() {
    let site = Site::new();
    let root = site.path("lake");
    plain::append(&root, "docs", plain::rows(0, 10))
        .await
        .unwrap();
    let config = site.config(QUICK, &[("lake", &site.uri("lake"), "")]);
    let beats = || {
        let beats = fs::read_dir(root.join("_squire/daemons"));
        beats.map_or(0, |beats| beats.flatten().count())
    };
    let killed = site.daemon(&config, "killed.log").await;
    until("it shows that it is there", async || beats() == 1).await;
    killed.kill().await;
    let next = site.daemon(&config, "next.log").await;
    until("the next one does, too", async || beats() == 2).await;
    // It has looked for others by then, and once more.
    let own = || {
        let beats = fs::read_dir(root.join("_squire/daemons"))
            .unwrap()
            .flatten();
        let written = beats.map(|beat| beat.metadata().unwrap().modified().unwrap());
        written.max()
    };
    let first = own();
    until("it looked again", async || own() > first).await;
    let first = own();
    until("and again", async || own() > first).await;
    until_others(&next, "lake", 0.0).await;
    let told = next.log().into_iter();
    assert!(!told.into_iter().any(|line| line["called"] == "lake"));
    next.stop().await;
}
