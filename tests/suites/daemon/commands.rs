//! What a person does with a graph by hand, and what they read.

use serde_json::Value;
use squire_tests::flights::{SCHEMA, day};

use crate::site::{Site, done, files, real, squire, status};

const UNITED: usize = 4_637;

/// The words of the line of `text` that begins with `first`.
fn line<'t>(text: &'t str, first: &str) -> Vec<&'t str> {
    let mut lines = text
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.first() == Some(&first));
    found.unwrap_or_else(|| panic!("no line of {first} in {text}"))
}

/// The log as programs read it.
async fn log(uri: &str, more: &[&str]) -> Vec<Value> {
    let out = done(squire(&[&["log", uri, "--json"], more].concat()).await);
    let entries = out.lines().map(serde_json::from_str);
    entries
        .collect::<Result<_, _>>()
        .expect("each line is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_format_are_loaded_in_one_step_and_the_status_counts_them() {
    let site = Site::new();
    let uri = site.init_real("flights").await;
    let airports = "faa,name,lat,lon,alt,tz,dst,tzone\n\
                    JFK,\"John F. Kennedy, New York\",40.6,-73.8,13,-5,A,America/New_York\n\
                    BQN,Aguadilla,NA,NA,NA,,,\n";
    let airports = site.write("airports.csv", airports);
    let planes = "{\"tailnum\": \"N1\", \"seats\": 2}\n{\"tailnum\": \"N2\", \"model\": null}\n\
                  {\"tailnum\": \"N3\", \"speed\": 90}\n";
    let planes = site.write("planes.jsonl", planes);
    let inputs = [
        format!("Flight={}", real("flights_january.parquet")),
        format!("node:Airline={}", real("airlines.parquet")),
        format!("Airport={airports}"),
        format!("Plane={planes}"),
    ];
    let mut load = vec!["load", uri.as_str(), "--null", "NA"];
    load.extend(inputs.iter().map(String::as_str));
    let told = done(squire(&load).await);
    assert!(
        told.starts_with("loaded 27,025 rows into 4 tables (operation "),
        "{told}"
    );

    let told = done(squire(&["status", &uri]).await);
    assert!(
        told.starts_with(&format!("flights at {uri}, manifest ")),
        "{told}"
    );
    assert_eq!(
        line(&told, "edge:Flight")[..3],
        ["edge:Flight", "27,004", "1"]
    );
    assert_eq!(
        line(&told, "node:Airline")[..3],
        ["node:Airline", "16", "1"]
    );
    assert_eq!(line(&told, "node:Airport")[..3], ["node:Airport", "2", "1"]);
    assert_eq!(line(&told, "node:Plane")[..3], ["node:Plane", "3", "1"]);
    assert!(told.ends_with("queue: empty\n"), "{told}");

    let status = status(&uri).await;
    assert_eq!(
        (&status["name"], &status["uri"]),
        (&"flights".into(), &uri.clone().into())
    );
    assert_eq!(status["queue"], Value::Array(vec![]));
    let flights = &status["tables"]["edge:Flight"];
    assert_eq!(flights["rows"], 27_004);
    assert_eq!(
        (&flights["fragments"], &flights["small_fragments"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&flights["deleted_rows"], &flights["version"]),
        (&0.into(), &2.into())
    );
    assert!(flights["bytes"].as_u64() > Some(100_000), "{flights}");

    let newest = &log(&uri, &["-n", "1"]).await[0]["change"];
    assert_eq!(
        (&newest["kind"], &newest["summary"]),
        (&"Load".into(), &"+27025 rows".into())
    );
    assert_eq!(
        newest["tables"].as_array().map(Vec::len),
        Some(4),
        "one operation: {newest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_replaces_by_key_and_an_overwrite_replaces_everything() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let load = async |csv: &str, mode: &str| {
        let file = site.write("planes.csv", csv);
        done(squire(&["load", &uri, &format!("Plane={file}"), "--mode", mode]).await);
        status(&uri).await["tables"]["node:Plane"]["rows"].clone()
    };
    assert_eq!(load("tailnum,seats\nN1,1\nN2,2\n", "append").await, 2);
    assert_eq!(load("tailnum,seats\nN2,20\nN3,30\n", "upsert").await, 3);
    let two = done(squire(&["delete", &uri, "Plane", "seats = 20"]).await);
    assert!(two.starts_with("deleted 1 rows of node:Plane "), "{two}");
    assert_eq!(load("tailnum,seats\nN9,9\n", "overwrite").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_says_how_many_rows_went_and_one_that_matches_nothing_changes_nothing() {
    let site = Site::new();
    let uri = site.init_real("flights").await;
    let file = format!("Flight={}", real("flights_january.parquet"));
    done(squire(&["load", &uri, &file]).await);
    let told = done(squire(&["delete", &uri, "Flight", "carrier = 'UA'"]).await);
    assert!(
        told.starts_with("deleted 4,637 rows of edge:Flight (operation "),
        "{told}"
    );
    let before = status(&uri).await;
    let flights = &before["tables"]["edge:Flight"];
    assert_eq!(flights["rows"], 27_004 - UNITED);
    assert_eq!(flights["deleted_rows"], UNITED);
    let told = done(squire(&["delete", &uri, "edge:Flight", "carrier = 'UA'"]).await);
    assert_eq!(told, "no row of edge:Flight matches; nothing was changed\n");
    assert_eq!(status(&uri).await["tables"], before["tables"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_changed_what_and_the_newest_first() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let file = format!(
        "Plane={}",
        site.write("planes.csv", "tailnum,seats\nN1,1\nN2,2\n")
    );
    done(squire(&["load", &uri, &file, "--actor", "ann@ops"]).await);
    done(squire(&["delete", &uri, "Plane", "seats = 1", "--actor", "bob@ops"]).await);

    let entries = log(&uri, &[]).await;
    let what = |entry: &Value| {
        let change = &entry["change"];
        let name = if change["transition"] == "publish" {
            "kind"
        } else {
            "transition"
        };
        change[name].as_str().map(str::to_owned)
    };
    let kinds: Vec<_> = entries.iter().filter_map(what).collect();
    assert_eq!(kinds, ["Delete", "Load", "SchemaApply", "create"]);
    assert_eq!(entries[0]["change"]["actor"], "bob@ops");
    assert_eq!(entries[1]["change"]["actor"], "ann@ops");
    assert_eq!(entries[1]["change"]["tables"][0], "node:Plane");
    let numbers: Vec<_> = entries
        .iter()
        .filter_map(|e| e["number"].as_u64())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");

    let told = done(squire(&["log", &uri, "--limit", "2"]).await);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    for part in ["Delete", "bob@ops", "node:Plane", "-1 rows"] {
        assert!(lines[0].contains(part), "{told}");
    }
    for part in ["Load", "ann@ops", "node:Plane", "+2 rows"] {
        assert!(lines[1].contains(part), "{told}");
    }
    // Every step: one manifest each, without a gap.
    let all = log(&uri, &["--all", "-n", "1000"]).await;
    assert_eq!(all.len() as u64, numbers[0]);
    assert!(all.iter().any(|e| e["change"]["transition"] == "decide"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_foresees_what_a_compaction_then_does() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    for n in 0..5 {
        graph.load(day(n, 100)).await.unwrap();
    }
    let (uri, root) = (site.uri("graph"), site.path("graph"));
    let before = files(&root);
    let told = done(squire(&["compact", &uri, "--dry-run"]).await);
    assert_eq!(
        line(&told, "edge:Flight")[..4],
        ["edge:Flight", "rewrite", "5", "1"]
    );
    assert_eq!(line(&told, "node:Plane")[1..], ["skip", "tidy"]);
    assert_eq!(files(&root), before, "a dry run writes nothing");

    let told = done(squire(&["compact", &uri, "Flight"]).await);
    assert_eq!(line(&told, "edge:Flight")[1], "rewritten,");
    assert!(told.contains("5 → 1"), "before and after: {told}");
    assert!(!told.contains("node:Plane"), "only the named table: {told}");
    let flights = status(&uri).await["tables"]["edge:Flight"].clone();
    assert_eq!(
        (&flights["rows"], &flights["fragments"]),
        (&500.into(), &1.into())
    );
    let told = done(squire(&["compact", &uri]).await);
    assert_eq!(line(&told, "edge:Flight")[1..3], ["skipped:", "tidy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_heal_where_nobody_crashed() {
    let site = Site::new();
    let uri = site.init("graph").await;
    let before = files(&site.path("graph"));
    for heal in [&["heal", &uri][..], &["heal", &uri, "--now"]] {
        assert_eq!(done(squire(heal).await), "nothing to heal\n");
    }
    assert_eq!(files(&site.path("graph")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_plan_names_steps_costs_and_touched_tables() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    graph.load(day(1, 1_234)).await.unwrap();
    let wanted = SCHEMA
        .replace("day = \"int32\"", "day = \"int64\"\nnote = \"string\"")
        .replace("seats = \"int32\"\n", "")
        + "\n[node.Pilot]\nkey = [\"id\"]\n[node.Pilot.properties]\nid = \"string\"\n";
    let wanted = site.write("wanted.toml", wanted);
    let before = files(&site.path("graph"));
    let told = done(squire(&["schema", "plan", &site.uri("graph"), &wanted]).await);
    let step = |part: &str| {
        let found = told.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no step with {part:?}: {told}"))
    };
    assert!(step("add node:Pilot").contains("metadata"), "{told}");
    assert!(step("`note`").contains("metadata"), "{told}");
    assert!(
        step("`day` from int32 to int64").contains("rewrites 1,234 rows"),
        "{told}"
    );
    assert!(
        step("drop property `seats`").contains("`seats` of 0 rows, after cleanup"),
        "{told}"
    );
    let touched = step("touched tables:");
    for table in ["edge:Flight", "node:Pilot", "node:Plane"] {
        assert!(touched.contains(table), "{told}");
    }
    assert!(!touched.contains("node:Airport"), "{told}");
    assert_eq!(files(&site.path("graph")), before, "a plan changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_that_is_shown_is_the_schema_that_the_graph_has() {
    let site = Site::new();
    let uri = site.init_real("flights").await;
    let shown = done(squire(&["schema", "show", &uri]).await);
    let shown_file = site.write("shown.toml", &shown);
    for schema in [shown_file.as_str(), &real("flights.toml")] {
        let told = done(squire(&["schema", "plan", &uri, schema]).await);
        assert_eq!(told, "the graph has this schema already\n");
    }
    let copy = site.uri("copy");
    done(squire(&["init", &copy, "--schema", &shown_file]).await);
    assert_eq!(done(squire(&["schema", "show", &copy]).await), shown);
}
