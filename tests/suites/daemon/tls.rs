//! TLS of the daemon's address: who trusts it, who does not, and what happens when the certificate changes.

use std::{fs, os::unix::fs::PermissionsExt};

use squire_tests::certificates::{Authority, Issued};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::site::{Keeping, QUICK, Site, done, refused, squire, until};

impl Site {
    /// Puts a certificate where [`Site::config_with_tls`] has it.
    fn certify(&self, issued: &Issued) {
        // The key first: the certificate is what is waited for.
        self.write("tls.key", &issued.key);
        self.write("tls.pem", &issued.certificate);
    }

    /// A configuration with TLS of the certificate that [`Site::certify`] put there.
    fn config_with_tls(&self) -> std::path::PathBuf {
        let tls = format!(
            "{QUICK}tls.certificate = \"{}\"\ntls.key = \"{}\"\n",
            self.uri("tls.pem"),
            self.uri("tls.key")
        );
        self.config(&tls, &[("graph", &*self.uri("graph"), "")])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_that_every_user_may_read_is_refused_by_check_and_by_run_and_that_of_a_group_is_not()
 {
    let site = Site::new();
    let authority = Authority::new("ours").unwrap();
    site.certify(&authority.issue("a").unwrap());
    let config = crate::site::text(&site.config_with_tls());
    let set = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(site.path("tls.key"), mode).unwrap();
    };
    set(0o640);
    done(squire(&["check", "--config", &config]).await);
    for mode in [0o644, 0o604] {
        set(mode);
        for command in ["check", "run"] {
            let says = ["tls.key", "every user", "chmod o="];
            refused(squire(&[command, "--config", &config]).await, 2, &says);
        }
    }
}

/// `squire pauses` at this URL, which trusts this authority.
async fn pauses(url: &str, ca: Option<&str>) -> crate::site::Ran {
    let mut args = vec!["pauses", "--daemon", url];
    args.extend(ca.iter().flat_map(|ca| ["--ca", ca]));
    squire(&args).await
}

fn https(daemon: &Keeping) -> String {
    format!("https://{}", daemon.address())
}

/// What this daemon has refused for a reason, asked over TLS.
async fn refusals(daemon: &Keeping, authority: &Authority, reason: &str) -> f64 {
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build();
    let url = format!("{}/metrics", https(daemon));
    let answer = client.unwrap().get(url).send().await.unwrap();
    let line = format!("squire_http_refused_total{{reason=\"{reason}\"}} ");
    let text = answer.text().await.unwrap();
    let counted = text.lines().find_map(|l| l.strip_prefix(&line));
    counted
        .expect("every reason counts from zero")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_talk_over_tls_to_a_daemon_whose_authority_they_know_and_to_no_other() {
    let site = Site::new();
    site.graph("graph").await;
    let (ours, other) = (
        Authority::new("ours").unwrap(),
        Authority::new("other").unwrap(),
    );
    site.certify(&ours.issue("127.0.0.1").unwrap());
    let (ca, wrong) = (
        site.write("ca.pem", ours.pem()),
        site.write("wrong.pem", other.pem()),
    );
    let daemon = site.daemon(&site.config_with_tls(), "log").await;
    let url = https(&daemon);
    let told = done(pauses(&url, Some(&ca)).await);
    assert_eq!(told, "nothing is paused\n");

    let stranger = pauses(&url, Some(&wrong)).await;
    refused(stranger, 1, &["cannot be trusted", "--ca FILE"]);
    let unknown = pauses(&url, None).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("--ca"), "{unknown:?}");
    let plain = pauses(&format!("http://{}", daemon.address()), None).await;
    refused(plain, 1, &["no daemon answers", "https://"]);
    let (_, port) = daemon.address().rsplit_once(':').unwrap();
    let by_name = pauses(&format!("https://localhost:{port}"), Some(&ca)).await;
    refused(
        by_name,
        1,
        &["for another name", "--daemon https://NAME:PORT"],
    );
    let nonsense = pauses(&url, Some(&site.write("empty.pem", ""))).await;
    refused(nonsense, 2, &["empty.pem", "BEGIN CERTIFICATE"]);

    let before = refusals(&daemon, &ours, "handshake").await;
    let mut plain = TcpStream::connect(daemon.address()).await.unwrap();
    plain
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP/"),
        "no plain text is spoken: {answer:?}"
    );
    until("it is counted", async || {
        refusals(&daemon, &ours, "handshake").await > before
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_without_a_restart_and_one_that_is_broken_is_not() {
    let site = Site::new();
    site.graph("graph").await;
    let authority = Authority::new("ours").unwrap();
    let ca = site.write("ca.pem", authority.pem());
    site.certify(&authority.issue_until("127.0.0.1", 2020).unwrap());
    let mut daemon = site.daemon(&site.config_with_tls(), "log").await;
    let url = https(&daemon);
    let expired = pauses(&url, Some(&ca)).await;
    refused(expired, 1, &["cannot be trusted", "renew its certificate"]);

    site.certify(&authority.issue("127.0.0.1").unwrap());
    until("the new one is used", async || {
        pauses(&url, Some(&ca)).await.code == Some(0)
    })
    .await;
    fs::write(site.path("tls.pem"), "-----BEGIN NONSENSE-----\n").unwrap();
    let line = daemon
        .until_logged("the certificate cannot be used", |line| {
            line["message"]
                == "the certificate has changed and cannot be used; the one before stays"
        })
        .await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("tls.pem"), "{error}");
    done(pauses(&url, Some(&ca)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_refused_by_check_and_by_run_with_its_file() {
    let site = Site::new();
    let authority = Authority::new("ours").unwrap();
    let (one, two) = (authority.issue("a").unwrap(), authority.issue("a").unwrap());
    let config = site.config_with_tls();
    let config = crate::site::text(&config);
    for (certificate, key, says) in [
        (
            None,
            Some(&one.key),
            &["tls.pem", "cannot be used", "BEGIN CERTIFICATE"][..],
        ),
        (
            Some(&one.key),
            Some(&one.key),
            &["tls.pem", "it holds no certificate"],
        ),
        (
            Some(&one.certificate),
            None,
            &["tls.key", "cannot be used", "PRIVATE KEY"],
        ),
        (
            Some(&one.certificate),
            Some(&one.certificate),
            &["tls.key", "cannot be used"],
        ),
        (
            Some(&one.certificate),
            Some(&two.key),
            &["tls.key", "is not that of the certificate", "tls.pem"],
        ),
    ] {
        for (file, text) in [("tls.pem", certificate), ("tls.key", key)] {
            let _ = fs::remove_file(site.path(file));
            if let Some(text) = text {
                site.write(file, text);
            }
        }
        for command in ["check", "run"] {
            refused(squire(&[command, "--config", &config]).await, 2, says);
        }
    }
}
