//! `/healthz` and the log: what programs read of a daemon. The suite `prometheus` has `/metrics`.

use std::{fs, process::Stdio};

use squire_tests::{daemon, flights::day};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
};

use crate::site::{QUICK, Site, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_health_names_every_target() {
    let site = Site::new();
    site.graph("one").await;
    site.graph("two").await;
    let targets = [
        ("one", &*site.uri("one"), ""),
        ("two", &*site.uri("two"), ""),
    ];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    for target in ["one", "two"] {
        let labels = format!("target=\"{target}\"");
        daemon
            .until_metric("squire_target_up", &labels, |up| up == 1.0)
            .await;
    }
    let health = daemon.health().await;
    assert_eq!(health["status"], "ok");
    for target in ["one", "two"] {
        let health = &health["targets"][target];
        assert_eq!(health["status"], "ok");
        assert!(health["seconds_since_look"].is_u64(), "{health}");
    }
    assert_eq!(
        health["targets"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    daemon.stop().await;
}

/// A store that lets nobody in; where it listens.
async fn closed_store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).await;
                let answer =
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_environment_are_told_to_nobody() {
    const SECRETS: [(&str, &str); 2] = [
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMIsecretK7MDENGbPxRfiCY",
        ),
        ("AWS_SESSION_TOKEN", "FwoGZXIvYXdzEsessionBYaDHqa0AP"),
    ];
    let site = Site::new();
    let graph = site.graph("graph").await;
    graph.load(day(1, 10)).await.unwrap();
    let talkative = format!("log = \"debug\"\n{QUICK}");
    let targets = [
        ("local", &*site.uri("graph"), ""),
        ("bucket", "s3://flights/graph", ""),
    ];
    let config = site.config(&talkative, &targets);
    let log = site.path("log");
    let mut child = Command::new(daemon::squire().unwrap())
        .arg("run")
        .arg("--config")
        .arg(&config)
        .envs(SECRETS)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT", closed_store().await)
        .env("AWS_ALLOW_HTTP", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("every line is JSON")
    };
    until("the bucket cannot be kept", async || {
        lines()
            .iter()
            .any(|l| l["target_name"] == "bucket" && l["level"] == "ERROR")
    })
    .await;
    let listening = lines()
        .iter()
        .find_map(|l| l["listening"].as_str().map(str::to_owned));
    let listening = listening.expect("it listens before it keeps");
    let mut told = String::new();
    for path in ["metrics", "healthz"] {
        let answer = reqwest::get(format!("http://{listening}/{path}"))
            .await
            .unwrap();
        told += &answer.text().await.unwrap();
    }
    assert!(
        told.contains("s3://flights/graph"),
        "the failing target is named: {told}"
    );
    let id = child.id().unwrap().to_string();
    Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .await
        .unwrap();
    let mut out = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    assert!(child.wait().await.unwrap().success());
    assert_eq!(out, "", "a daemon prints nothing but its log");
    told += &fs::read_to_string(&log).unwrap();
    for line in lines() {
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    for (name, secret) in SECRETS {
        assert!(!told.contains(secret), "{name} is told: {told}");
    }
}
