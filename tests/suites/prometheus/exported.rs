//! What a daemon exports, and what is written about it: they agree in both directions.

use std::{collections::BTreeSet, time::Duration};

use squire_tests::patience::{PATIENCE, until};
use tokio::time::{sleep, timeout};

use crate::{
    names::{self, Described},
    scene::Scene,
    shipped::{self, promtool},
};

/// What Prometheus itself makes.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

/// The names of these that nobody exports or records.
fn unknown(names: &BTreeSet<String>, shown: &Described) -> Vec<String> {
    let recorded = shipped::recorded();
    let known = |name: &&String| {
        OF_PROMETHEUS.contains(&name.as_str())
            || recorded.contains(*name)
            || names::family(name, shown).is_some()
    };
    names.iter().filter(|name| !known(name)).cloned().collect()
}

/// Waits until there is everything that a daemon can show; the text of it.
async fn everything(scene: &Scene) -> String {
    let described: BTreeSet<_> = names::described().into_keys().collect();
    let missing = async || -> (String, BTreeSet<String>) {
        let (code, body) = scene.daemon.get("/metrics").await.expect("it answers");
        assert_eq!(code, 200);
        let shown = names::shown(&body).into_keys().collect();
        (body, &described - &shown)
    };
    let mut last = (String::new(), BTreeSet::new());
    let waited = timeout(PATIENCE, async {
        loop {
            last = missing().await;
            if last.1.is_empty() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let came = waited.await.is_ok();
    assert!(came, "described and never shown: {:?}", last.1);
    last.0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_exports_is_in_order_described_and_all_that_rules_dashboard_and_manual_name()
{
    let scene = Scene::with_everything().await;
    // One is half-way and dead, and one waits for it.
    scene.crash().await;
    let behind = scene.writer("behind", Vec::new());
    until("it waits", async || {
        let snapshot = scene.graph.snapshot().await.expect("a graph can be read");
        snapshot.manifest().queue.len() == 2
    })
    .await;
    let body = everything(&scene).await;

    let said = promtool(["check", "metrics"], Some(&body));
    assert_eq!(said, "", "promtool has nothing to remark");
    let mut shown = names::shown(&body);
    for rules in ["alerts.yml", "recording.yml"] {
        let text = shipped::read(&format!("config/prometheus/{rules}"));
        let mut asked = BTreeSet::new();
        for query in queries(&text) {
            asked.extend(names::in_query(&query));
        }
        assert!(asked.len() > 10, "{rules}: {asked:?}");
        assert_eq!(unknown(&asked, &shown), Vec::<String>::new(), "{rules}");
    }
    for (title, query) in shipped::dashboard_queries() {
        let nobodys = unknown(&names::in_query(&query), &shown);
        assert_eq!(nobodys, Vec::<String>::new(), "{title}: {query}");
    }
    for page in ["docs/metrics.md", "docs/runbook.md", "docs/operations.md"] {
        let nobodys = unknown(&mentioned(&shipped::read(page)), &shown);
        assert_eq!(nobodys, Vec::<String>::new(), "{page}");
    }
    let process = shown
        .keys()
        .filter(|name| name.starts_with("process_"))
        .count();
    assert!(process > 5 || cfg!(not(target_os = "linux")));
    shown.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(
        shown,
        names::described(),
        "the manual has each with its kind and labels"
    );
    drop(behind);
    scene.stop().await.expect("it stops");
}

/// The queries of a file of rules, those within annotations among them.
fn queries(rules: &str) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    let mut folded = false;
    for line in rules.lines() {
        let text = line.trim();
        if let Some(query) = text.strip_prefix("expr: ") {
            folded = query == ">-";
            queries.push(if folded {
                String::new()
            } else {
                query.to_owned()
            });
        } else if ["for: ", "- ", "#"].iter().any(|s| text.starts_with(s)) || text.ends_with(':') {
            folded = false;
        } else if folded && let Some(last) = queries.last_mut() {
            *last += " ";
            *last += text;
        }
        // printf "bottomk(1, metric{label='%s'})"
        if let Some((_, query)) = text.split_once("printf \"") {
            queries.push(query.split('"').next().unwrap_or("").to_owned());
        }
    }
    queries
}

/// Names of metrics that a text mentions as code.
fn mentioned(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    let named = code.flat_map(|code| {
        let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
        code.split(part).map(str::to_owned).collect::<Vec<_>>()
    });
    let ours = ["squire_", "lance_object_", "process_"];
    named
        .filter(|name| ours.iter().any(|of| name.starts_with(of)) && !name.ends_with('_'))
        .filter(|name| !["squire_engine"].contains(&name.as_str()))
        .collect()
}

#[test]
fn queries_are_found_in_rules_over_several_lines_and_in_annotations() {
    let rules = "- alert: A\n  expr: a > 1\n  for: 1m\n- alert: B\n  expr: >-\n    b\n    > c\n  for: 2m\n  annotations:\n    \
                 description: >-\n      of {{ with printf \"topk(1, d{x='%s'})\" .X | query }}\n";
    assert_eq!(queries(rules), ["a > 1", " b > c", "topk(1, d{x='%s'})"]);
}
