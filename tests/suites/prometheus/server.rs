//! A real Prometheus, with the shipped rules, that scrapes a daemon as fast as it can.

use std::{fs, process::Stdio, time::Duration};

use serde_json::Value;
use squire_tests::patience::{PATIENCE, until};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{scene::free_address, shipped};

/// How often it scrapes and judges. An alert that waits for minutes in operation waits for nothing here.
const INTERVAL: &str = "250ms";
/// Another program may take the port in between.
const TRIES: usize = 5;

/// A running server.
pub(crate) struct Server {
    _dir: TempDir,
    _child: Child,
    address: String,
}

impl Server {
    /// Starts one that scrapes this address. Of the alerts, `shorter` replaces thresholds that are ages, each of which
    /// must be there once: `(alert, what, by what)`.
    pub(crate) async fn start(scraped: &str, shorter: &[(&str, &str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let write = |name: &str, text: String| {
            fs::write(dir.path().join(name), text).expect("the folder can be written");
        };
        write(
            "alerts.yml",
            sooner(&shipped::read("config/prometheus/alerts.yml"), shorter),
        );
        write(
            "recording.yml",
            shipped::read("config/prometheus/recording.yml"),
        );
        let config = shipped::read("config/prometheus/prometheus.yml");
        let config = replaced_once(&config, "127.0.0.1:9464", scraped);
        write(
            "prometheus.yml",
            config.replace("interval: 15s", &format!("interval: {INTERVAL}")),
        );
        Self::launch(dir).await
    }

    /// Starts one that scrapes as these `scrape_configs` say, and judges nothing.
    pub(crate) async fn scraping(scrape_configs: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let config = format!("global:\n  scrape_interval: {INTERVAL}\n{scrape_configs}");
        fs::write(dir.path().join("prometheus.yml"), config).expect("the folder can be written");
        Self::launch(dir).await
    }

    /// Starts one with the configuration in this folder.
    async fn launch(dir: TempDir) -> Self {
        for _ in 0..TRIES {
            let address = free_address().to_string();
            let mut child = Command::new("prometheus")
                .current_dir(dir.path())
                .arg("--config.file=prometheus.yml")
                .arg("--storage.tsdb.path=data")
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("prometheus is there: run `make setup-tests`");
            if is_up(&mut child, &address).await {
                return Self {
                    _dir: dir,
                    _child: child,
                    address,
                };
            }
        }
        panic!("prometheus does not start");
    }

    /// What its API answers.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let url = reqwest::Url::parse_with_params(&url, query).expect("it is a URL");
        let answer = reqwest::get(url).await.expect("prometheus answers");
        let body = answer.text().await.expect("prometheus answers");
        serde_json::from_str(&body).expect("it answers JSON")
    }

    /// The series that a query comes to.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.ask("query", &[("query", query)]).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        match &answer["data"]["result"] {
            Value::Array(series) => series.clone(),
            single => vec![single.clone()],
        }
    }

    /// The alerts that fire, by name, with their labels and annotations.
    pub(crate) async fn firing(&self) -> Vec<Value> {
        let answer = self.ask("alerts", &[]).await;
        let alerts = answer["data"]["alerts"]
            .as_array()
            .expect("it lists alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.cloned().collect()
    }

    /// Waits until every rule was judged once more, and none failed.
    pub(crate) async fn until_judged(&self) {
        let judged = async || -> Vec<String> {
            let answer = self.ask("rules", &[]).await;
            let groups = answer["data"]["groups"]
                .as_array()
                .expect("it lists groups")
                .clone();
            let rules = groups
                .iter()
                .flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default());
            let rules = rules.map(|rule| {
                assert_ne!(rule["health"], "err", "{rule}");
                rule["lastEvaluation"].to_string()
            });
            rules.collect()
        };
        let before = judged().await;
        until("every rule is judged again", async || {
            let now = judged().await;
            before.iter().zip(&now).all(|(before, now)| before != now)
        })
        .await;
    }
}

/// Waits until a server is ready; false when it ended, as when somebody else has its port.
async fn is_up(child: &mut Child, address: &str) -> bool {
    let ready = format!("http://{address}/-/ready");
    let up = timeout(PATIENCE, async {
        while child.try_wait().expect("it can be asked for").is_none() {
            let answer = reqwest::get(&ready).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    });
    up.await.expect("prometheus gets ready or ends")
}

/// The alerts, without their patience: the expressions stay as they are, but for these thresholds.
fn sooner(alerts: &str, shorter: &[(&str, &str, &str)]) -> String {
    let mut sooner = String::new();
    let mut replaced = vec![0; shorter.len()];
    let mut alert = "";
    for line in alerts.lines() {
        if let Some((_, name)) = line.split_once("- alert: ") {
            alert = name;
        }
        if let Some((indent, _)) = line.split_once("for: ")
            && indent.trim().is_empty()
        {
            sooner += &format!("{indent}for: 0s\n");
            continue;
        }
        let mut line = line.to_owned();
        for (n, (of, what, by)) in shorter.iter().enumerate() {
            if *of == alert && line.contains("expr: ") {
                replaced[n] += line.matches(what).count();
                line = line.replace(what, by);
            }
        }
        sooner += &line;
        sooner.push('\n');
    }
    assert!(
        replaced.iter().all(|n| *n == 1),
        "{shorter:?}: {replaced:?}"
    );
    sooner
}

fn replaced_once(text: &str, what: &str, by: &str) -> String {
    assert_eq!(text.matches(what).count(), 1, "{what} in {text}");
    text.replace(what, by)
}
