//! A daemon that others can reach is scraped over TLS with its token, as the manual says.

use std::{fs, os::unix::fs::PermissionsExt};

use squire_tests::{certificates::Authority, daemon::Daemon, patience::until, plain};

use crate::{server::Server, shipped};

const TOKEN: &str = "f00dfeedf00dfeedf00dfeedf00dfeed";

/// The part of Prometheus's configuration that the manual shows.
fn manual() -> String {
    let manual = shipped::read("docs/security.md");
    let (_, rest) = manual.split_once("```yaml\n").expect("it shows one");
    let (block, _) = rest.split_once("```").expect("it has an end");
    block.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_over_tls_with_the_token_as_the_manual_says_and_not_without() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let authority = Authority::new("suite").unwrap();
    let issued = authority.issue("127.0.0.1").unwrap();
    write("ca.pem", &authority.pem());
    write("tls.pem", &issued.certificate);
    write("tls.key", &issued.key);
    let mine = fs::Permissions::from_mode(0o600);
    fs::set_permissions(dir.path().join("tls.key"), mine).unwrap();
    write("token", TOKEN);
    plain::append(&dir.path().join("lake"), "docs", plain::rows(0, 10))
        .await
        .unwrap();
    let config = format!(
        "[daemon]\nlisten = \"0.0.0.0:0\"\ntick = \"200ms\"\n[daemon.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [[target]]\nname = \"lake\"\nuri = \"{}\"\n",
        path("tls.pem"),
        path("tls.key"),
        path("lake"),
    );
    write("squire.toml", &config);
    let (config, log) = (dir.path().join("squire.toml"), dir.path().join("log"));
    let token = [("SQUIRE_TOKEN", TOKEN)];
    let daemon = Daemon::start_in(&config, &log, token).await.unwrap();
    let (_, port) = daemon.listening.rsplit_once(':').unwrap();

    let mut scrape = manual();
    for (shown, here) in [
        ("lake.example:9464", format!("127.0.0.1:{port}")),
        ("/etc/prometheus/squire-token", path("token")),
        ("/etc/prometheus/squire-ca.pem", path("ca.pem")),
    ] {
        assert!(scrape.contains(shown), "{shown}: {scrape}");
        scrape = scrape.replace(shown, &here);
    }
    let prometheus = Server::scraping(&scrape).await;
    until("it is scraped", async || {
        !prometheus
            .query("squire_target_up{target=\"lake\"} == 1")
            .await
            .is_empty()
    })
    .await;
    write("token", "another-token-of-some-length");
    until("another token scrapes nothing", async || {
        !prometheus.query("up{job=\"squire\"} == 0").await.is_empty()
    })
    .await;
}
