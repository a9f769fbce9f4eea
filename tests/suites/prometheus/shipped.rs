//! What is shipped for Prometheus and Grafana, and the documents about it.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use squire_tests::repository;

/// A file of the repository.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(repository::file(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The alerts, by name, in the order of the file.
pub(crate) fn alerts() -> Vec<String> {
    let rules = read("config/prometheus/alerts.yml");
    let alerts = rules.lines().filter_map(|line| {
        let (_, name) = line.split_once("- alert: ")?;
        Some(name.trim().to_owned())
    });
    alerts.collect()
}

/// The recording rules, by name.
pub(crate) fn recorded() -> BTreeSet<String> {
    let rules = read("config/prometheus/recording.yml");
    let records = rules
        .lines()
        .filter_map(|line| line.split_once("- record: "));
    records.map(|(_, name)| name.trim().to_owned()).collect()
}

/// Every `*_test.yml` beside the rules.
pub(crate) fn rule_tests() -> Vec<PathBuf> {
    let there =
        fs::read_dir(repository::file("config/prometheus")).expect("the rules have a folder");
    let files = there.map(|entry| entry.expect("it can be listed").path());
    let mut tests: Vec<_> = files
        .filter(|path| path.to_string_lossy().ends_with("_test.yml"))
        .collect();
    tests.sort();
    tests
}

/// Every query of the dashboard, with what it is for. What Grafana fills in is filled in.
pub(crate) fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&read("config/grafana/squire.json")).expect("the dashboard is JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((
                title,
                target["expr"].as_str().expect("a target has a query"),
            ));
        }
    }
    for annotation in dashboard["annotations"]["list"]
        .as_array()
        .into_iter()
        .flatten()
    {
        queries.push((
            "annotations",
            annotation["expr"].as_str().expect("it has a query"),
        ));
    }
    let filled = |query: &str| {
        let query = query.replace("$target", ".*").replace("$table", ".*");
        query.replace("$__rate_interval", "1m")
    };
    let queries = queries.into_iter();
    let mut queries: Vec<_> = queries
        .map(|(title, query)| (title.to_owned(), filled(query)))
        .collect();
    // label_values(metric, label)
    for variable in dashboard["templating"]["list"]
        .as_array()
        .expect("it has variables")
    {
        if let Some(query) = variable["definition"].as_str() {
            let of = query
                .strip_prefix("label_values(")
                .expect("it asks for labels");
            let (metric, _) = of.rsplit_once(',').expect("of a metric");
            queries.push(("variables".to_owned(), filled(metric)));
        }
    }
    assert!(queries.len() > 50, "{} queries", queries.len());
    for (title, query) in &queries {
        assert!(!query.contains('$'), "{title}: {query}");
    }
    queries
}

/// Runs `promtool`; what it said.
///
/// # Panics
/// When it is not content.
#[track_caller]
pub(crate) fn promtool<'a>(args: impl IntoIterator<Item = &'a str>, input: Option<&str>) -> String {
    let mut tool = Command::new("promtool");
    tool.args(args)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    tool.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = tool
        .spawn()
        .expect("promtool is there: run `make setup-tests`");
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads");
    }
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned()
        + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{tool:?}: {said}");
    said
}
