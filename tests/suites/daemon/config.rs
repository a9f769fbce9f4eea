//! `squire check`, and what `squire run` refuses before it begins.

use std::fs;

use squire_tests::daemon::Daemon;

use crate::site::{Ran, Site, done, refused, squire};

const REFERENCE: &str = include_str!("../../../config/squire.toml");
const TARGET: &str = "[[target]]\nname = \"flights\"\nuri = \"/var/lib/flights\"\n";

async fn check(site: &Site, config: &str) -> (String, Ran) {
    let file = site.write("squire.toml", config);
    let ran = squire(&["check", "--config", &file]).await;
    (file, ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_file_with_a_target_is_good() {
    let site = Site::new();
    let (file, ran) = check(&site, &format!("{REFERENCE}\n{TARGET}")).await;
    assert_eq!(
        done(ran),
        format!("flights: /var/lib/flights\n{file} is good\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_conf_d_are_checked_along() {
    let site = Site::new();
    fs::create_dir(site.path("conf.d")).unwrap();
    let more = site.write("conf.d/more.toml", TARGET.replace("flights", "more"));
    let (file, ran) = check(&site, TARGET).await;
    let told = done(ran);
    assert_eq!(
        told,
        format!("flights: /var/lib/flights\nmore: /var/lib/more\n{file} is good\n")
    );
    fs::write(&more, "[daemon]\ntikc = \"1s\"\n").unwrap();
    let (_, ran) = check(&site, TARGET).await;
    refused(ran, 2, &[&format!("{more}:2:1: "), "did you mean `tick`?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_is_refused_by_check_and_by_run_alike() {
    let site = Site::new();
    let cases = [
        (
            "[daemon]\n  tik = \"1s\"\n",
            &[
                ":2:3: `daemon.tik`: not a known key",
                "did you mean `tick`?",
            ][..],
        ),
        (
            "[defaults.compaction]\ncron = \"every night\"\n",
            &[":2:8: `defaults.compaction.cron`", "every night"],
        ),
        (
            "[defaults.compaction]\ncron = \"0 3 * * *\"\n",
            &[":2:8: ", "6 or 7"],
        ),
        (
            "[defaults.compaction]\ncron = \"0 0 25 * * *\"\n",
            &["cron", "the hour, 25,"],
        ),
        (
            "[defaults.compaction]\ncron = \"0 0 0 30 2 *\"\n",
            &[":2:8: ", "0 0 0 30 2 *", "never comes"],
        ),
        (
            "[defaults.cleanup]\ncron = \"0 0 3 * * * 2020\"\n",
            &[":2:8: ", "never comes", "the year"],
        ),
        (
            "[daemon]\nlog = \"squire_engine=loud\"\n",
            &["daemon.log", "squire_engine=loud"],
        ),
        (
            "[daemon]\nlog = \"inof\"\n",
            &["daemon.log", "`inof` is no level", "info"],
        ),
        (
            "[daemon]\nlog = \"info,squire_engine\"\n",
            &["`squire_engine` is no level"],
        ),
        (
            "[daemon]\nlisten = \"0.0.0.0:9464\"\n",
            &[":2:1: `daemon.listen`", "127.0.0.1"],
        ),
        ("[daemon\n", &[":1:", "fix: "]),
    ];
    for (bad, says) in cases {
        let (file, ran) = check(&site, &format!("{bad}\n{TARGET}")).await;
        let error = refused(ran, 2, says);
        assert_eq!(
            refused(squire(&["run", "--config", &file]).await, 2, says),
            error
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_and_levels_of_modules_are_good_directives() {
    let site = Site::new();
    for log in [
        "off",
        "WARN",
        "info,squire_engine=debug",
        "lance=error, trace",
        "squire[{target_name}]=debug",
    ] {
        let (_, ran) = check(&site, &format!("[daemon]\nlog = \"{log}\"\n{TARGET}")).await;
        done(ran);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_a_target_or_without_a_file_is_refused() {
    let site = Site::new();
    let (file, ran) = check(&site, REFERENCE).await;
    let says = ["there is no target", "add a [[target]]"];
    refused(ran, 2, &says);
    refused(squire(&["run", "--config", &file]).await, 2, &says);
    let absent = site.uri("absent.toml");
    refused(
        squire(&["check", "--config", &absent]).await,
        2,
        &["absent.toml: cannot be read"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_clear_error_of_the_machine() {
    let site = Site::new();
    let graph = site.uri("graph");
    let first = site.config("", &[("first", &graph, "")]);
    let daemon = Daemon::start(&first, &site.path("first.log"))
        .await
        .unwrap();
    let taken = format!("[daemon]\nlisten = \"{}\"\n{TARGET}", daemon.listening);
    let file = site.write("squire.toml", taken);
    let ran = squire(&["run", "--config", &file]).await;
    let listening = format!("cannot listen on {}", daemon.listening);
    let says = [listening.as_str(), "daemon.listen", &file];
    refused(ran, 1, &says);
    // The other one does not mind.
    assert_eq!(daemon.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_under_two_names_is_refused_by_check_and_by_run_with_both_names() {
    let site = Site::new();
    fs::create_dir(site.path("real")).unwrap();
    std::os::unix::fs::symlink("real", site.path("link")).unwrap();
    let real = site.uri("real");
    for (other, says) in [
        (
            format!("file://{}", site.uri("link")),
            "one place under two names",
        ),
        (format!("{real}/"), "one place under two names"),
        (format!("{real}/docs.lance"), "lies in a table"),
        (format!("{real}/sub"), "is a folder in"),
    ] {
        let targets = format!(
            "[[target]]\nname = \"one\"\nuri = \"{real}\"\n[[target]]\nname = \"two\"\nuri = \"{other}\"\n"
        );
        let (file, ran) = check(&site, &targets).await;
        let says = ["\"one\"", "\"two\"", ":6:1: `target[1].uri`", says];
        let error = refused(ran, 2, &says);
        assert_eq!(
            refused(squire(&["run", "--config", &file]).await, 2, &says),
            error
        );
    }
}
