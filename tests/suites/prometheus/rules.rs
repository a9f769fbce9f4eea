//! Rules, dashboard and runbook: right by Prometheus's own tools, and complete.

use std::{collections::BTreeSet, fmt::Write, fs};

use squire_tests::repository;

use crate::shipped::{self, promtool};

fn file(name: &str) -> String {
    let path = repository::file(format!("config/prometheus/{name}"));
    path.to_str().expect("paths are UTF-8").to_owned()
}

#[test]
fn promtool_takes_the_rules_and_the_configuration() {
    let (alerts, recording) = (file("alerts.yml"), file("recording.yml"));
    let said = promtool(["check", "rules", &alerts, &recording], None);
    let rules = format!("SUCCESS: {} rules found", shipped::alerts().len());
    assert!(said.contains(&rules), "{said}");
    promtool(["check", "config", &file("prometheus.yml")], None);
}

#[test]
fn every_rule_comes_to_what_its_tests_say() {
    let tests = shipped::rule_tests();
    let paths = tests
        .iter()
        .map(|path| path.to_str().expect("paths are UTF-8"));
    promtool(["test", "rules"].into_iter().chain(paths), None);
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    for path in shipped::rule_tests() {
        let text = fs::read_to_string(&path).expect("a test can be read");
        let mut alert = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("alertname: ") {
                alert = Some(name.to_owned());
            } else if line == "exp_alerts: []" {
                rests.extend(alert.take());
            } else if line == "exp_alerts:" {
                fires.extend(alert.take());
            }
        }
    }
    let alerts: BTreeSet<_> = shipped::alerts().into_iter().collect();
    assert!(alerts.len() > 20);
    assert_eq!(fires, alerts);
    assert_eq!(rests, alerts);
    let tests: String = shipped::rule_tests()
        .iter()
        .map(|path| fs::read_to_string(path).expect("a test can be read"))
        .collect();
    for rule in shipped::recorded() {
        assert!(
            tests.contains(&format!("expr: '{rule}'")) || tests.contains(&format!("* {rule})")),
            "{rule}"
        );
    }
}

#[test]
fn every_alert_has_an_entry_in_the_runbook_and_every_entry_has_an_alert() {
    let runbook = shipped::read("docs/runbook.md");
    let mut entries = Vec::new();
    for section in runbook.split("\n## ").skip(1) {
        let (alert, entry) = section.split_once('\n').expect("a heading ends");
        for part in ["**Meaning.** ", "**See.** ", "**Do.**", "**Goes** "] {
            assert!(entry.contains(part), "{alert} says nothing of {part}");
        }
        entries.push(alert.to_owned());
    }
    assert_eq!(entries, shipped::alerts(), "in the order of the file");
    let rules = shipped::read("config/prometheus/alerts.yml");
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().expect("an alert has a name");
        let entry = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        for part in ["severity: ", "summary: ", "description: ", &entry] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        let of_target = rule.contains("$labels.target") || rule.contains("$labels.instance");
        assert!(of_target, "{name} says whom it is about");
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, (_, query)) in shipped::dashboard_queries().iter().enumerate() {
        let quoted = query.replace('\'', "''");
        writeln!(
            rules,
            "      - record: panel:number_{n}\n        expr: '{quoted}'"
        )
        .expect("memory can be written");
    }
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let path = dir.path().join("dashboard.yml");
    fs::write(&path, rules).expect("the folder can be written");
    promtool(
        ["check", "rules", path.to_str().expect("paths are UTF-8")],
        None,
    );
}

#[test]
fn the_dashboard_has_its_rows_its_variables_and_no_two_panels_in_one_place() {
    let text = shipped::read("config/grafana/squire.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let rows = panels.iter().filter(|p| p["type"] == "row");
    let rows: Vec<_> = rows.filter_map(|row| row["title"].as_str()).collect();
    assert_eq!(
        rows,
        [
            "Overview",
            "Tables by health",
            "Jobs",
            "Queue and sidecars of graphs",
            "Store",
            "Process"
        ]
    );
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("it has variables");
    let variables: Vec<_> = variables
        .iter()
        .filter_map(|v| v["name"].as_str())
        .collect();
    assert_eq!(variables, ["datasource", "target", "table"]);
    let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let place = |side: &str| panel["gridPos"][side].as_u64().expect("it has a place");
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{panel}");
            }
        }
        let told =
            panel["type"] == "row" || panel["description"].as_str().is_some_and(|d| !d.is_empty());
        assert!(told, "{panel}");
    }
}
