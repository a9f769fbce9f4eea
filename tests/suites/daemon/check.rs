//! `squire check` beyond the configuration itself: targets and the machine, what is in force and why, for people and for
//! programs.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path};

use serde_json::Value;
use squire_tests::{daemon, plain};
use tokio::process::Command;

use crate::site::{Ran, Site, done, refused, squire};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// Everything below a folder, with its size.
fn all_in(folder: &Path) -> BTreeSet<(String, u64)> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            all.extend(all_in(&path));
        }
        all.insert((path.display().to_string(), metadata.len()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_reads_every_target_tells_a_line_of_each_and_writes_nothing() {
    let site = Site::new();
    site.init("graph").await;
    let lake = site.path("lake");
    plain::append(&lake, "docs", plain::rows(0, 10))
        .await
        .unwrap();
    fs::create_dir(site.path("empty")).unwrap();
    let config = site.write(
        "squire.toml",
        "[daemon]\nlisten = '127.0.0.1:0'\nstate_dir = 'STATE'\n\
         [[target]]\nname = 'flights'\nuri = 'graph'\n\
         [[target]]\nname = 'lake'\nuri = 'lake'\n\
         [[target]]\nname = 'later'\nuri = 'empty'\nkind = 'directory'\n"
            .replace("STATE", &site.uri("state")),
    );
    let before = all_in(&site.path(""));
    let told = done(squire(&["check", "--config", &config, "--probe"]).await);
    assert_eq!(all_in(&site.path("")), before, "a check writes nothing");
    for (name, words) in [
        ("flights", ["graph", "good", "read and written"]),
        ("lake", ["directory", "good", "read and written"]),
        ("later", ["directory", "good", "read and written"]),
        ("listen:", ["good", "", ""]),
        ("memory:", ["", "1.0 GiB", ""]),
        ("state_dir:", ["good", "state", "written"]),
    ] {
        let line = told.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not told:\n{told}"));
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    assert!(told.ends_with(&format!("{config} is good\n")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_or_does_not_answer_hides_no_other_and_fails_the_probe() {
    let site = Site::new();
    let lake = site.path("lake");
    plain::append(&lake, "docs", plain::rows(0, 10))
        .await
        .unwrap();
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = site.write(
        "squire.toml",
        "[[target]]\nname = 'silent'\nuri = 's3://bucket/x'\n\
         [[target]]\nname = 'gone'\nuri = 'gone'\n\
         [[target]]\nname = 'lake'\nuri = 'lake'\n",
    );
    let ran: Ran = Command::new(daemon::squire().unwrap())
        .args([
            "check",
            "--probe",
            "--timeout",
            "1s",
            "--json",
            "--config",
            &config,
        ])
        .args(["--listen", "127.0.0.1:0"])
        .env(
            "AWS_ENDPOINT",
            format!("http://{}", silent.local_addr().unwrap()),
        )
        .envs([("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
        .envs([
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ])
        .output()
        .await
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(2), "a URI is wrong: {ran:?}");
    let told = json(&ran);
    assert_eq!(told["good"], false);
    let grades = ["silent", "gone", "lake"].map(|name| {
        let targets = told["targets"].as_array().unwrap();
        let target = targets.iter().find(|target| target["about"] == name);
        let target = target.unwrap_or_else(|| panic!("{name}: {told:#}"));
        (
            target["grade"].as_str().unwrap(),
            target["told"].as_str().unwrap(),
        )
    });
    assert_eq!(grades[0].0, "bad");
    assert!(
        grades[0].1.contains("did not answer within 1s"),
        "{}",
        grades[0].1
    );
    assert_eq!(grades[1].0, "bad");
    assert!(grades[1].1.contains("correct the URI"), "{}", grades[1].1);
    assert_eq!(grades[2].0, "good");
    for about in ["silent: ", "gone: "] {
        assert!(ran.err.contains(about), "{}", ran.err);
    }
    assert!(!format!("{ran:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_this_machine_cannot_give_fails_the_probe() {
    let site = Site::new();
    let config = site.write(
        "squire.toml",
        "[[target]]\nname = 'a'\nuri = 'a'\nkind = 'directory'\n",
    );
    let args = [
        "check",
        "--probe",
        "--config",
        &config,
        "--set",
        "daemon.memory=16TiB",
    ];
    let ran = squire(&args).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.err.contains("memory: 16.0 TiB is more than"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_told_at_once_with_file_line_key_and_fix_to_programs_too() {
    let site = Site::new();
    let config = site.write(
        "squire.toml",
        "[daemon]\ntik = '1s'\nlog = 'inof'\n[defaults.index]\ncron = '0 0 3 * * FOO'\n\
         [[target]]\nname = 'a'\nuri = 's3://k:hush@b'\n",
    );
    let args = [
        "check",
        "--json",
        "--config",
        &config,
        "--set",
        "daemon.lease=1",
    ];
    let ran = squire(&args).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let told = json(&ran);
    let problems = told["problems"].as_array().unwrap().iter().map(|problem| {
        let place = problem["flag"].as_str().map(str::to_owned);
        let place = place.unwrap_or_else(|| problem["line"].to_string());
        assert!(!problem["what"].as_str().unwrap().is_empty());
        assert!(!problem["fix"].as_str().unwrap().is_empty());
        (place, problem["key"].as_str().unwrap().to_owned())
    });
    let expected = [
        ("2", "daemon.tik"),
        ("3", "daemon.log"),
        ("5", "defaults.index.cron"),
        ("8", "target[0].uri"),
        ("--set daemon.lease", "daemon.lease"),
    ];
    let expected = expected.map(|(place, key)| (place.to_owned(), key.to_owned()));
    assert_eq!(problems.collect::<Vec<_>>(), expected);
    assert!(!format!("{ran:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_a_configuration_and_says_which_layer_set_what() {
    let site = Site::new();
    let config = site.write(
        "squire.toml",
        "[daemon]\ntick = '5s'\n[[target]]\nname = 'a'\nuri = '/a'\n[target.index]\nmax_segments = 3\n",
    );
    let args = [
        "check",
        "--show",
        "--config",
        &config,
        "--set",
        "daemon.log=warn",
    ];
    let shown = done(squire(&args).await);
    for part in [
        &format!("tick = \"5s\"   # {config}:2:1"),
        "log = \"warn\"  # --set daemon.log",
        "#lease = \"15s\"",
        &format!("max_segments = 3  # {config}:7:1"),
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let again = site.write("again.toml", &shown);
    let told = done(squire(&["check", "--config", &again]).await);
    assert_eq!(told, format!("a: /a\n{again} is good\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_schema_is_the_one_that_the_settings_have() {
    let printed = squire(&["check", "--schema"]).await;
    assert_eq!(json(&printed), squire_config::json_schema());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_flags_over_its_files() {
    let site = Site::new();
    let config = site.write(
        "squire.toml",
        "[daemon]\nlisten = '127.0.0.1:0'\n[[target]]\nname = 'a'\nuri = '/a'\n",
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = squire(&["run", "--config", &config, "--listen", &address]).await;
    refused(ran, 1, &[&format!("cannot listen on {address}")]);
    let ran = squire(&["run", "--config", &config, "--set", "daemon.tik=5s"]).await;
    refused(
        ran,
        2,
        &[
            "--set daemon.tik: not a known key",
            "did you mean daemon.tick?",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_there_is_a_target_is_told_apart_from_whether_the_configuration_is_good() {
    let site = Site::new();
    let ask = async |text: &str| {
        let config = site.write("squire.toml", text);
        squire(&["check", "--has-targets", "--config", &config]).await
    };
    refused(
        ask("").await,
        1,
        &["there is no target", "add a [[target]]"],
    );
    done(ask("[[target]]\nname = 'a'\nuri = '/a'\n").await);
    // What is wrong is for `squire check` to tell, and the daemon must not be passed over for it.
    done(ask("[daemon]\ntik = 1\n").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_the_one_in_etc_is_read() {
    for command in ["check", "run"] {
        let ran = squire(&[command, "--set", "daemon.listen=nowhere"]).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let says = "--set daemon.listen: ";
        assert!(ran.err.contains(says), "{}", ran.err);
        let there = Path::new("/etc/squire/squire.toml").exists();
        assert!(
            there || ran.err.contains("/etc/squire/squire.toml: cannot be read"),
            "{}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_the_daemon_say_when_each_schedule_comes_next() {
    let site = Site::new();
    let lake = site.path("lake");
    plain::append(&lake, "docs", plain::rows(0, 10))
        .await
        .unwrap();
    let config = site.write(
        "squire.toml",
        "[daemon]\nlisten = '127.0.0.1:0'\n[[target]]\nname = 'lake'\nuri = 'lake'\n\
         [target.cleanup]\ncron = '0 30 4 1 1 *'\n\
         [[target.table]]\nmatch = 'docs'\n[target.table.index]\ncron = '0 0 3 29 2 *'\n",
    );
    let told = done(squire(&["check", "--config", &config]).await);
    let shown = done(squire(&["check", "--show", "--config", &config]).await);
    for (duty, cron, time) in [
        ("cleanup", "0 30 4 1 1 *", "-01-01 04:30:00 UTC ("),
        ("index", "0 0 3 29 2 *", "-02-29 03:00:00 UTC ("),
    ] {
        let begins = format!("lake: {duty} at \"{cron}\", next at ");
        let is = |line: &&str| line.starts_with(&begins) && line.contains(time);
        assert!(told.lines().any(|line| is(&line)), "{told}");
        let mut shown = shown.lines().filter_map(|line| line.strip_prefix("# "));
        assert!(shown.any(|line| is(&line)));
    }
    let json = json(&squire(&["check", "--json", "--config", &config]).await);
    let daemon = site.daemon(Path::new(&config), "log").await;
    let (_, overview) = daemon.get("/api/v1/overview").await;
    let overview: Value = serde_json::from_str(&overview).unwrap();
    let schedules = |told: &Value| {
        let all = told.as_array().unwrap().iter();
        let all = all.map(|s| ["duty", "cron", "next", "next_local"].map(|key| s[key].clone()));
        all.collect::<Vec<_>>()
    };
    let expected = schedules(&json["schedules"]);
    assert_eq!(expected.len(), 2);
    assert_eq!(schedules(&overview["targets"][0]["schedules"]), expected);
    daemon
        .until_metric("squire_target_tables", "target=\"lake\"", |tables| {
            tables == 1.0
        })
        .await;
    let explained = site.explain(&daemon, "lake").await;
    assert!(
        explained.contains("the schedule \"0 30 4 1 1 *\" calls for cleanup, next at "),
        "{explained}"
    );
    daemon.stop().await;
}
