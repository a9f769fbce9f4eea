//! `squire top` on a real daemon, as scripts see it.

use squire_tests::plain;

use crate::site::{QUICK, Ran, Site, done, refused, squire_with, text, until};

const TOKEN: &str = "f00dfeedf00dfeedf00dfeedf00dfeed";

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_targets_tables_and_what_was_done_and_says_so_when_nobody_is_there() {
    let site = Site::new();
    let lake = site.path("lake");
    // A name that whoever can write there may choose: it turns a line around.
    for table in ["docs", "evil\u{202e}txt"] {
        for n in 0..5 {
            plain::append(&lake, table, plain::rows(n * 10, 10))
                .await
                .unwrap();
        }
    }
    let eager = "min_small_fragments = 4\n";
    let config = site.config(QUICK, &[("lake", &*site.uri("lake"), eager)]);
    let file = text(&config);
    let daemon = site
        .daemon_with(&config, "log", &[("SQUIRE_TOKEN", TOKEN)])
        .await;
    let address = daemon.address().to_owned();
    let top = async |variables: &[(&str, &str)]| -> Ran {
        let args = ["top", "--once", "--config", &file, "--daemon", &address];
        squire_with(&args, variables).await
    };
    let mut said = String::new();
    // What a job has left is seen by the look after it.
    until("both tables were compacted", async || {
        said = done(top(&[]).await);
        let history = said.split("history").nth(1).unwrap_or_default();
        let all = |what: &str| history.matches(what).count() == 2;
        all(" done ") && all("5 → 1") && said.contains("2 ok")
    })
    .await;
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].contains(&address) && lines[0].contains("1 target, 2 tables"),
        "{said}"
    );
    for (what, words) in [
        ("a target", &["lake", "directory", "2 ok"][..]),
        ("a table", &["ok", "lake", "docs", "50"]),
        ("another, harmless", &["evil\\u202etxt", "50"]),
        ("a job", &["docs", "compaction", "done", "5 → 1"]),
    ] {
        let there = |line: &&&str| words.iter().all(|word| line.contains(word));
        assert!(lines.iter().any(|line| there(&line)), "{what}: {said}");
    }
    assert!(!said.contains('\u{202e}'), "{said}");
    refused(
        top(&[("SQUIRE_TOKEN", "another-token-of-some-length")]).await,
        2,
        &["is not the daemon's"],
    );
    let args = ["top", "--config", &file, "--daemon", &address];
    refused(
        squire_with(&args, &[]).await,
        2,
        &["needs a terminal", "--once"],
    );
    daemon.stop().await;
    refused(top(&[]).await, 1, &["no daemon answers"]);
}
