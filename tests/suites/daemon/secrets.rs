//! Secrets are told to nobody: everything is run with some, at the most talkative level, and looked through.

use std::fs;

use serde_json::Value;
use squire_tests::flights::day;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::site::{QUICK, Site, squire_with, text, until};

const TOKEN: &str = "t0ken-f00dfeedf00dfeedf00dfeed";
const WRONG: &str = "wr0ng-f00dfeedf00dfeedf00dfeed";
const KEY: &str = "wJalrXUtnFEMIsecretK7MDENGbPxRfiCY";
const SESSION: &str = "FwoGZXIvYXdzEsessionBYaDHqa0AP";

/// A store that lets nobody in, and repeats the whole request in saying so; where it listens. S3 itself repeats what was
/// signed.
async fn closed_store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]);
                assert!(
                    request.contains(SESSION),
                    "the session is told to the store: {request}"
                );
                let body = format!(
                    "<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>{request}</CanonicalRequest></Error>{request}"
                );
                let answer = format!(
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

/// The paths of the API, as its own description has them, with names filled in.
fn paths(description: &str) -> Vec<(reqwest::Method, String)> {
    let description: Value = serde_json::from_str(description).unwrap_or_default();
    let described = description["paths"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut paths = Vec::new();
    for (path, methods) in described {
        let path = path
            .replace("{target}", "local")
            .replace("{table}", "edge:Flight");
        for method in methods.as_object().expect("a path has methods").keys() {
            let method = method.to_uppercase().parse().expect("it is a method");
            paths.push((method, path.clone()));
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_the_daemon_or_a_command_says() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    graph.load(day(1, 10)).await.unwrap();
    let targets = [
        ("local", &*site.uri("graph"), ""),
        ("bucket", "s3://flights/graph", ""),
    ];
    let config = site.config(&format!("log = \"trace\"\n{QUICK}"), &targets);
    let file = text(&config);
    let credentials = site.path("credentials");
    fs::create_dir(&credentials).unwrap();
    for (name, secret) in [
        ("squire-token", TOKEN),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_SESSION_TOKEN", SESSION),
    ] {
        fs::write(credentials.join(name), secret).unwrap();
    }
    let (credentials, store) = (text(&credentials), closed_store().await);
    let variables = [
        ("CREDENTIALS_DIRECTORY", &*credentials),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT", &store),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let daemon = site.daemon_with(&config, "log", &variables).await;
    until("the bucket cannot be kept", async || {
        let of_bucket = |l: &Value| l["target_name"] == "bucket" && l["level"] == "ERROR";
        daemon.log().iter().any(of_bucket)
    })
    .await;

    let mut told = String::new();
    let client = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", daemon.address());
    let description = daemon.get("/api/v1/openapi.json").await.1;
    let mut asked = paths(&description);
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/api/v1/pauses",
        "/api/v1/targets/bucket",
        "/absent",
    ] {
        asked.push((reqwest::Method::GET, path.to_owned()));
    }
    for method in [reqwest::Method::POST, reqwest::Method::DELETE] {
        asked.push((method, "/api/v1/pauses".to_owned()));
    }
    for (method, path) in asked {
        for token in [None, Some(TOKEN), Some(WRONG)] {
            for body in ["{}", "{\"target\": \"local\", \"for\": \"1h\"}", "nonsense"] {
                let mut request = client.request(method.clone(), at(&path));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                if method != reqwest::Method::GET {
                    request = request
                        .header("content-type", "application/json")
                        .body(body);
                }
                // An answer may go on and on: what it begins with is enough.
                let mut answer = request.send().await.unwrap();
                told += &format!("{method} {path} {:?}\n", answer.headers());
                let part = tokio::time::timeout(std::time::Duration::from_secs(2), answer.chunk());
                if let Ok(Ok(Some(part))) = part.await {
                    told += &String::from_utf8_lossy(&part);
                }
            }
        }
    }
    assert!(
        told.contains("s3://flights/graph"),
        "the failing target is named"
    );

    let (url, wrong) = (at(""), [("SQUIRE_TOKEN", WRONG)]);
    let address = ["--config", &file, "--daemon", url.trim_end_matches('/')];
    for (args, variables) in [
        (&["check"][..], &variables[..]),
        (&["pauses"], &variables),
        (&["pauses"], &wrong),
        (&["explain", "local"], &variables),
        (&["explain", "bucket"], &variables),
        (&["pause", "local", "--for", "1h"], &variables),
        (&["pause", "local", "--for", "1h"], &wrong),
        (&["resume", "absent"], &variables),
    ] {
        let there = if args[0] == "check" {
            &address[..2]
        } else {
            &address
        };
        let ran = squire_with(&[args, there].concat(), variables).await;
        told += &format!("{args:?}: {ran:?}\n");
    }
    let ran = squire_with(&["status", "s3://flights/graph"], &variables).await;
    assert_ne!(ran.code, Some(0), "the store lets nobody in");
    told += &format!("{ran:?}\n");
    let bad = squire_with(
        &["run", "--config", &file],
        &[("SQUIRE_TOKEN", "hush-hush")],
    )
    .await;
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(!format!("{bad:?}").contains("hush-hush"), "{bad:?}");

    for line in daemon.stop().await {
        told += &format!("{line}\n");
    }
    assert!(told.contains("[hidden]"), "the store repeated the request");
    for secret in [TOKEN, WRONG, KEY, SESSION] {
        let said = told.lines().find(|line| line.contains(secret));
        assert_eq!(said, None, "{secret}");
    }
}
