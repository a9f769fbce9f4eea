//! Who gets what from a daemon with a token, and how much of it anybody can have.

use std::{collections::BTreeMap, fs, time::Duration};

use reqwest::{Method, StatusCode};
use squire_tests::certificates::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::site::{Keeping, PATIENCE, QUICK, Ran, Site, done, refused, squire_with, until};

const TOKEN: &str = "f00dfeedf00dfeedf00dfeedf00dfeed";
const OTHER: &str = "f00dfeedf00dfeedf00dfeedf00dfeeX";
const PAUSE: &str = "{\"target\": \"graph\", \"for\": \"1h\"}";

/// A request with or without a token; the status, the headers and the body.
async fn ask(
    client: &reqwest::Client,
    url: &str,
    method: Method,
    token: Option<&str>,
) -> (StatusCode, BTreeMap<String, String>, String) {
    let mut request = client.request(method.clone(), url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if method != Method::GET {
        request = request
            .header("content-type", "application/json")
            .body(PAUSE);
    }
    let answer = request.send().await.expect("the daemon answers");
    let headers = answer.headers().iter().map(|(name, value)| {
        let value = value.to_str().expect("headers are text");
        (name.to_string(), value.to_owned())
    });
    let headers = headers.collect();
    (
        answer.status(),
        headers,
        answer.text().await.expect("it has an end"),
    )
}

/// What was refused for a reason so far.
async fn refusals(daemon: &Keeping, reason: &str) -> f64 {
    let counted = daemon.metric("squire_http_refused_total").await;
    counted[&format!("reason=\"{reason}\"")]
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_whoever_changes_something_needs_it_and_reading_stays_free_on_the_machine() {
    let site = Site::new();
    site.graph("graph").await;
    let config = site.config(QUICK, &[("graph", &*site.uri("graph"), "")]);
    let text = crate::site::text(&config);
    let daemon = site
        .daemon_with(&config, "log", &[("SQUIRE_TOKEN", TOKEN)])
        .await;
    let run = async |args: &[&str], token: Option<&str>| -> Ran {
        let there = ["--config", &text, "--daemon", daemon.address()];
        let token: Vec<_> = token.iter().map(|token| ("SQUIRE_TOKEN", *token)).collect();
        squire_with(&[args, &there].concat(), &token).await
    };
    let pause = ["pause", "graph", "--for", "1h"];
    refused(
        run(&pause, None).await,
        2,
        &["needs the daemon's token", "SQUIRE_TOKEN"],
    );
    let told = refused(run(&pause, Some(OTHER)).await, 2, &["is not the daemon's"]);
    assert!(!told.contains(OTHER) && !told.contains(TOKEN), "{told}");
    refused(
        run(&pause, Some("short")).await,
        2,
        &["SQUIRE_TOKEN", "fewer than 16"],
    );
    assert_eq!(done(run(&["pauses"], None).await), "nothing is paused\n");
    done(run(&pause, Some(TOKEN)).await);
    done(run(&["resume", "graph"], Some(TOKEN)).await);

    let client = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", daemon.address());
    let (code, headers, _) = ask(&client, &at("/api/v1/pauses"), Method::POST, None).await;
    assert_eq!(code, 401);
    assert!(
        headers["www-authenticate"].starts_with("Bearer"),
        "{headers:?}"
    );
    for path in ["/metrics", "/healthz", "/api/v1/pauses", "/absent"] {
        let (_, headers, _) = ask(&client, &at(path), Method::GET, None).await;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(
            headers["content-security-policy"].contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        let cors = |name: &&String| name.starts_with("access-control-");
        assert_eq!(headers.keys().find(cors), None, "{path}");
    }
    assert!(refusals(&daemon, "token_missing").await >= 2.0);
    assert!(refusals(&daemon, "token_wrong").await >= 1.0);
    for _ in 0..20 {
        ask(&client, &at("/metrics"), Method::GET, Some(OTHER)).await;
    }
    let told = daemon
        .log()
        .into_iter()
        .filter(|line| line["reason"] == "token_wrong");
    assert_eq!(told.count(), 1, "the log tells of it now and then");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_others_can_reach_tells_them_its_bare_status_and_nothing_else_without_the_token()
 {
    let site = Site::new();
    site.graph("graph").await;
    let authority = Authority::new("ours").unwrap();
    let issued = authority.issue("127.0.0.1").unwrap();
    let exposed = format!(
        "{QUICK}\n[daemon.tls]\ncertificate = \"{}\"\n",
        site.write("tls.pem", &issued.certificate)
    );
    let config = site.config(&exposed, &[("graph", &*site.uri("graph"), "")]);
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("127.0.0.1:0", "0.0.0.0:0");
    fs::write(&config, text).unwrap();
    let path = crate::site::text(&config);

    // Without what the service manager hands over, a check says what is missing, and the daemon does not start.
    for (command, code) in [("check", 0), ("run", 2)] {
        let ran = squire_with(&[command, "--config", &path], &[]).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            format!("{}{}", ran.out, ran.err).contains("squire-tls-key"),
            "{ran:?}"
        );
    }
    let credentials = site.path("credentials");
    fs::create_dir(&credentials).unwrap();
    site.write("credentials/squire-tls-key", &issued.key);
    let handed = crate::site::text(&credentials);
    let handed = [("CREDENTIALS_DIRECTORY", &*handed)];
    for (command, code) in [("check", 0), ("run", 2)] {
        let ran = squire_with(&[command, "--config", &path], &handed).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            said.contains("SQUIRE_TOKEN") && said.contains("squire-token"),
            "{said}"
        );
    }
    fs::write(credentials.join("squire-token"), format!("{TOKEN}\n")).unwrap();
    let ran = squire_with(&["check", "--config", &path], &handed).await;
    assert!(!done(ran).contains("refuse"));
    let daemon = site.daemon_with(&config, "log", &handed).await;

    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let (_, port) = daemon.address().rsplit_once(':').unwrap();
    let at = |path: &str| format!("https://127.0.0.1:{port}{path}");
    for token in [None, Some(OTHER)] {
        for path in [
            "/metrics",
            "/api/v1/pauses",
            "/api/v1/targets/graph",
            "/absent",
        ] {
            let (code, headers, body) = ask(&client, &at(path), Method::GET, token).await;
            assert_eq!(code, 401, "{path}: {body}");
            assert!(!body.contains("graph"), "{body}");
            assert_eq!(headers["connection"], "close", "a stranger keeps no place");
        }
        let (code, _, body) = ask(&client, &at("/healthz"), Method::GET, token).await;
        assert_eq!((code.as_u16(), &*body), (200, ""), "the bare status");
        let (code, ..) = ask(&client, &at("/api/v1/pauses"), Method::POST, token).await;
        assert_eq!(code, 401);
    }
    let (code, _, body) = ask(&client, &at("/healthz"), Method::GET, Some(TOKEN)).await;
    assert_eq!(code, 200);
    assert!(body.contains("graph"), "{body}");
    let (code, _, body) = ask(&client, &at("/metrics"), Method::GET, Some(TOKEN)).await;
    assert_eq!(code, 200);
    assert!(
        body.contains("squire_http_refused_total{reason=\"token_wrong\"}"),
        "{body}"
    );
    let (code, ..) = ask(&client, &at("/api/v1/pauses"), Method::POST, Some(TOKEN)).await;
    assert_eq!(code, 200);
    let ca = site.write("ca.pem", authority.pem());
    let token = [("SQUIRE_TOKEN", TOKEN)];
    let pauses = [
        "pauses",
        "--daemon",
        &format!("https://127.0.0.1:{port}"),
        "--ca",
        &ca,
    ];
    assert!(done(squire_with(&pauses, &token).await).contains("graph"));
    let secret = ["pauses", "--daemon", "https://ada:hush-hush@squire.example"];
    let told = refused(squire_with(&secret, &[]).await, 2, &["holds credentials"]);
    assert!(!told.contains("hush-hush"), "{told}");
    let plain = ["pauses", "--daemon", "http://squire.example:9464"];
    refused(
        squire_with(&plain, &token).await,
        2,
        &["readable for others on the network"],
    );
    for line in daemon.stop().await {
        assert!(!line.to_string().contains(TOKEN), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_tls_is_spoken_to_in_plain_text_with_the_token() {
    let site = Site::new();
    site.graph("graph").await;
    let behind = format!("{QUICK}plaintext_behind_proxy = true\n");
    let config = site.config(&behind, &[("graph", &*site.uri("graph"), "")]);
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("127.0.0.1:0", "0.0.0.0:0");
    fs::write(&config, text).unwrap();
    let daemon = site
        .daemon_with(&config, "log", &[("SQUIRE_TOKEN", TOKEN)])
        .await;
    let client = reqwest::Client::new();
    let (_, port) = daemon.address().rsplit_once(':').unwrap();
    let url = format!("http://127.0.0.1:{port}/metrics");
    assert_eq!(ask(&client, &url, Method::GET, None).await.0, 401);
    assert_eq!(ask(&client, &url, Method::GET, Some(TOKEN)).await.0, 200);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_too_slow_or_too_many_is_cut_off_and_others_are_answered() {
    let site = Site::new();
    site.graph("graph").await;
    let config = site.config(QUICK, &[("graph", &*site.uri("graph"), "")]);
    let daemon = site.daemon(&config, "log").await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/api/v1/pauses", daemon.address());
    let large = client.post(&url).header("content-type", "application/json");
    let large = large.body(" ".repeat(100 << 10)).send().await.unwrap();
    assert_eq!(large.status(), 413);
    let large = client.get(&url).header("x-large", "x".repeat(60 << 10));
    // It may close the connection before all of it is sent.
    assert!(
        large
            .send()
            .await
            .map_or(true, |answer| answer.status() == 431)
    );

    // Heads that never end, more of them than there are places.
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
        let _ = stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            .await;
        slow.push(stream);
    }
    until("somebody else is answered again", async || {
        reqwest::get(format!("http://{}/healthz", daemon.address()))
            .await
            .is_ok()
    })
    .await;
    assert!(refusals(&daemon, "connections").await >= 1.0);
    let ended = timeout(PATIENCE, async {
        for mut stream in slow {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    assert!(ended.await.is_ok(), "each of them is cut off");

    // A body that never ends: it is waited for, and not for ever; nobody else waits for it.
    let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
    let head = "POST /api/v1/pauses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (code, _) = timeout(Duration::from_secs(20), daemon.get("/healthz"))
        .await
        .unwrap();
    assert_eq!(code, 200);
    daemon.stop().await;
}
