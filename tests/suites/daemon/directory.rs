//! What the daemon does for a directory of plain Lance tables, whose writers know nothing of Squire.

use std::{path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray},
    datatypes::Int8Type,
};
use squire_tests::{
    cold::counted,
    newer::write_with_a_newer_lance,
    plain,
    torn::{Tear, tear_newest_manifest},
};

use crate::site::{Keeping, QUICK, Site, done, refused, squire, until};

const EAGER: &str = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";

async fn fragments(root: &Path, table: &str) -> usize {
    plain::open(root, table)
        .await
        .unwrap()
        .get_fragments()
        .len()
}

async fn rows(root: &Path, table: &str) -> usize {
    let dataset = plain::open(root, table).await.unwrap();
    dataset.count_rows(None).await.unwrap()
}

/// A table of so many fragments with ten rows each.
async fn fragmented(root: &Path, table: &str, fragments: i64) {
    for n in 0..fragments {
        plain::append(root, table, plain::rows(n * 10, 10))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lancedb_1115_maintenance_is_automatic() {
    let site = Site::new();
    let root = site.path("lake");
    for table in ["users", "events"] {
        fragmented(&root, table, 20).await;
    }
    plain::index_ids(&root, "events").await.unwrap();
    // Three lines, as the README has them; and one for the test's address.
    let config = format!(
        "daemon.listen = \"127.0.0.1:0\"\n[[target]]\nname = \"lake\"\nuri = \"{}\"\n",
        root.display()
    );
    let config = site.write("squire.toml", config);
    let daemon = site.daemon(Path::new(&config), "log").await;
    for table in ["users", "events"] {
        until("the table is compacted", async || {
            fragments(&root, table).await == 1
        })
        .await;
        assert_eq!(rows(&root, table).await, 200);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tables_are_found_and_dropped_ones_are_forgotten_without_a_word() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "first", 1).await;
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let known = async |table: &str| {
        let labels = format!("table=\"{table}\",target=\"lake\"");
        let samples = daemon.metric("squire_table_rows").await;
        samples.contains_key(&labels)
    };
    until("the first table is known", async || known("first").await).await;
    fragmented(&root, "second", 6).await;
    until("the new table is compacted", async || {
        fragments(&root, "second").await < 4
    })
    .await;
    std::fs::remove_dir_all(root.join("first.lance")).unwrap();
    until("the dropped table is forgotten", async || {
        !known("first").await
    })
    .await;
    let lines = daemon.stop().await;
    let complaints: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR" || line["level"] == "WARN")
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_lance_is_one_line_of_the_log_with_its_place_and_keeps_no_other_table_from_being_kept()
 {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "good", 6).await;
    fragmented(&root, "bad", 1).await;
    tear_newest_manifest(&root.join("bad.lance"), Tear::Length).unwrap();
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until("the good table is compacted", async || {
        fragments(&root, "good").await == 1
    })
    .await;
    let lines = daemon.log();
    let panic = lines.iter().find(|line| line["message"] == "panicked");
    let panic = panic.expect("Lance trusts the length");
    let place = panic["place"].as_str().unwrap();
    assert!(
        place.contains("lance") && panic["error"].is_string(),
        "{panic}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_read_keeps_no_other_from_being_kept() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "good", 6).await;
    fragmented(&root, "bad", 1).await;
    for version in std::fs::read_dir(root.join("bad.lance/_versions")).unwrap() {
        std::fs::write(version.unwrap().path(), "nonsense").unwrap();
    }
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until("the good table is compacted", async || {
        fragments(&root, "good").await == 1
    })
    .await;
    let failing = "health=\"failing\",target=\"lake\"";
    daemon
        .until_metric("squire_health_tables", failing, |tables| tables == 1.0)
        .await;
    let health = daemon.health().await;
    let lake = &health["targets"]["lake"];
    assert_eq!(health["status"], "failing", "{health}");
    assert_eq!(lake["status"], "ok", "it is the table's trouble: {health}");
    assert_eq!(lake["tables"]["failing"], 1, "{health}");
    let named = lake["unwell"].as_object().unwrap();
    assert_eq!(named.keys().collect::<Vec<_>>(), ["bad"], "{health}");
    assert!(named["bad"]["reason"].as_str().unwrap().contains("bad"));
    let up = daemon.metric("squire_target_up").await;
    assert_eq!(up["target=\"lake\""], 1.0);
    let success = "duty=\"compaction\",target=\"lake\"";
    let last = async || daemon.metric("squire_last_success_timestamp_seconds").await[success];
    let stands = last().await;
    let why = site.explain(&daemon, "lake").await;
    assert!(
        why.contains("failing") && why.contains("opening bad") && why.contains("good"),
        "{why}"
    );
    daemon.until_looked("lake", 25.0).await;
    assert_eq!(last().await, stands, "of the bad table nobody knows");
    daemon.stop().await;

    let ran = squire(&["compact", &site.uri("lake"), "--dry-run"]).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.contains("good") && ran.out.contains("cannot be read"),
        "{ran:?}"
    );

    let ran = squire(&["status", &site.uri("lake")]).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("good"), "the others are shown: {ran:?}");
    assert!(ran.out.contains("cannot be read"), "{ran:?}");
}

/// As pandas writes categories: the same hundred texts in each batch, and keys of one byte.
async fn categories(root: &Path, table: &str) {
    for n in 0..20_i8 {
        let names = StringArray::from_iter_values((0..100).map(|n| format!("city number {n}")));
        let keys = Int8Array::from_iter_values((0..100).map(|key| (key + n) % 100));
        let cities = DictionaryArray::<Int8Type>::new(keys, Arc::new(names));
        let batch = RecordBatch::try_from_iter([("city", Arc::new(cities) as ArrayRef)]);
        plain::append(root, table, batch.unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lance_8217_a_table_that_a_rewrite_would_spoil_is_left_as_it_is_and_everybody_is_told() {
    let site = Site::new();
    let root = site.path("lake");
    categories(&root, "cities").await;
    fragmented(&root, "good", 20).await;

    let ran = squire(&["compact", &site.uri("lake")]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let says = ["cities", "column city", "as it was", "wider keys"];
    assert!(says.iter().all(|part| ran.err.contains(part)), "{ran:?}");
    assert_eq!(fragments(&root, "good").await, 1);
    assert_eq!(fragments(&root, "cities").await, 20);
    assert_eq!(rows(&root, "cities").await, 2_000);

    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon
        .until_metric("squire_unreadable_rewrites_total", "target=\"lake\"", |n| {
            n == 1.0
        })
        .await;
    let left_alone = "decision=\"unreadable_rewrite\",duty=\"compaction\",target=\"lake\"";
    daemon
        .until_metric("squire_decided_tables", left_alone, |tables| tables == 1.0)
        .await;
    let why = site.explain(&daemon, "lake").await;
    assert!(
        why.contains("unreadable_rewrite") && why.contains("column city"),
        "{why}"
    );
    // It is not tried again.
    daemon.until_looked("lake", 25.0).await;
    let tried = daemon.metric("squire_unreadable_rewrites_total").await;
    assert_eq!(tried["target=\"lake\""], 1.0);
    daemon.stop().await;
    assert_eq!(fragments(&root, "cities").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_newer_lance_wrote_is_left_alone_and_named_by_whatever_is_asked() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "good", 6).await;
    fragmented(&root, "newer", 6).await;
    let newer = plain::open(&root, "newer").await.unwrap();
    write_with_a_newer_lance(&newer).await;

    for command in ["compact", "index", "cleanup"] {
        let ran = squire(&[command, &site.uri("lake"), "newer"]).await;
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.out.contains("unwritable"), "{ran:?}");
        let says = ["newer", "upgrade Squire"];
        assert!(says.iter().all(|part| ran.err.contains(part)), "{ran:?}");
        let ran = squire(&[command, &site.uri("lake"), "newer", "--dry-run"]).await;
        assert!(ran.out.contains("unwritable"), "{ran:?}");
    }
    let status = done(squire(&["status", &site.uri("lake")]).await);
    assert!(status.contains("newer is left as it is"), "{status}");

    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until("the good table is compacted", async || {
        fragments(&root, "good").await == 1
    })
    .await;
    for duty in ["compaction", "index", "cleanup"] {
        let left_alone = format!("decision=\"unwritable\",duty=\"{duty}\",target=\"lake\"");
        daemon
            .until_metric("squire_decided_tables", &left_alone, |tables| tables == 1.0)
            .await;
    }
    let why = site.explain(&daemon, "lake").await;
    assert!(
        why.contains("unwritable") && why.contains("upgrade Squire"),
        "{why}"
    );
    let lines = daemon.stop().await;
    let complaints: Vec<_> = lines.iter().filter(|l| l["level"] == "ERROR").collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert_eq!(fragments(&root, "newer").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_tables_is_kept_when_the_config_says_so_and_never_over_a_graph() {
    let site = Site::new();
    let graph = site.graph("graph").await;
    let (lake, uri) = (site.path("lake"), site.uri("lake"));
    std::fs::create_dir(&lake).unwrap();
    let config = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\n{QUICK}\
         [[target]]\nname = \"lake\"\nuri = \"{uri}\"\nkind = \"directory\"\n\
         [target.compaction]\n{EAGER}\
         [[target]]\nname = \"wrong\"\nuri = \"{}\"\nkind = \"directory\"\n",
        graph.uri()
    );
    let config = site.write("squire.toml", config);
    let daemon = site.daemon(Path::new(&config), "log").await;
    daemon
        .until_metric("squire_target_up", "target=\"lake\"", |up| up == 1.0)
        .await;
    daemon
        .until_metric("squire_target_up", "target=\"wrong\"", |up| up == 0.0)
        .await;
    let health = daemon.health().await;
    let error = health["targets"]["wrong"]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("is a graph"), "{error}");
    fragmented(&lake, "late", 6).await;
    until("a table that came later is compacted", async || {
        fragments(&lake, "late").await < 4
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_match_a_rule_have_its_policy() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "logs_raw", 6).await;
    fragmented(&root, "users", 6).await;
    let rules = format!(
        "{EAGER}[[target.table]]\nmatch = \"logs_*\"\n[target.table.compaction]\nenabled = false\n"
    );
    let targets = [("lake", &*site.uri("lake"), &*rules)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until("the other table is compacted", async || {
        fragments(&root, "users").await == 1
    })
    .await;
    let labels = "duty=\"compaction\",reason=\"disabled\",target=\"lake\"";
    daemon
        .until_metric("squire_skips_total", labels, |n| n == 1.0)
        .await;
    assert_eq!(fragments(&root, "logs_raw").await, 6);
    daemon.stop().await;
}

/// So many tables in the short form of the promise.
const TABLES: usize = 60;
const WRITTEN: usize = 3;

/// The tables that were looked at, one for each look so far.
fn looked_at(daemon: &Keeping) -> Vec<String> {
    let looks = daemon.log().into_iter();
    let looks = looks.filter(|line| line["message"] == "looked at a table");
    looks
        .filter_map(|line| line["table"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_nobody_writes_are_looked_at_less_and_less() {
    let site = Site::new();
    let root = site.path("lake");
    let name = |n: usize| format!("t{n:02}");
    for n in 0..TABLES {
        fragmented(&root, &name(n), 1).await;
    }
    let cold_tick = Duration::from_secs(2);
    let daemon = format!("cold_tick = \"2s\"\nlog = \"info,squire=debug\"\n{QUICK}");
    let off = "enabled = false\n";
    let targets = [("lake", &*site.uri("lake"), off)];
    let daemon = site.daemon(&site.config(&daemon, &targets), "log").await;
    // Intervals of 1, 2, 4, 8 and 16 ticks, and then the longest.
    let at_rest = |looks: &[String], table: &str| looks.iter().filter(|t| *t == table).count() > 7;
    until("every table has come to rest", async || {
        let looks = looked_at(&daemon);
        (0..TABLES).all(|n| at_rest(&looks, &name(n)))
    })
    .await;
    let began = std::time::Instant::now();
    let before = looked_at(&daemon).len();
    let mut from = 10;
    while began.elapsed() < cold_tick * 3 {
        for n in 0..WRITTEN {
            let more = plain::rows(from, 10);
            plain::append(&root, &name(n), more).await.unwrap();
        }
        from += 10;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let looks = looked_at(&daemon).split_off(before);
    let written: Vec<_> = (0..WRITTEN).map(name).collect();
    let cold = looks
        .iter()
        .filter(|table| !written.contains(table))
        .count();
    // Once in three quarters of the longest interval at the most often.
    let spans = began.elapsed().as_secs_f64() / cold_tick.as_secs_f64() / 0.75 + 1.0;
    let most = (TABLES - WRITTEN) as f64 * spans;
    assert!(
        (cold as f64) < most,
        "{cold} looks at cold tables, {most} at most"
    );
    let samples = daemon.metric("squire_table_looks_total").await;
    assert!(
        counted(&samples, "lake")["changed"] > TABLES as u64,
        "what is written is seen"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_tables_are_worked_on_before_the_last_were_looked_at() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "a", 6).await;
    for n in 0..70 {
        fragmented(&root, &format!("t{n:02}"), 1).await;
    }
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let talkative = format!("log = \"info,squire=debug\"\n{QUICK}");
    let daemon = site.daemon(&site.config(&talkative, &targets), "log").await;
    until("every table was looked at", async || {
        let looks = looked_at(&daemon);
        (0..70).all(|n| looks.contains(&format!("t{n:02}")))
    })
    .await;
    let lines = daemon.stop().await;
    let started = lines.iter().position(|l| l["message"] == "job started");
    let last = lines.iter().position(|l| l["table"] == "t69");
    assert!(started.is_some() && started < last, "{started:?} {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_left_of_a_table_is_looked_at_less_and_less_and_costs_no_success() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "docs", 1).await;
    std::fs::create_dir_all(root.join("left.lance/data")).unwrap();
    let file = root.join("left.lance/data/half.lance");
    std::fs::write(file, "half a file of a killed writer").unwrap();
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    daemon.until_looked("lake", 40.0).await;
    let samples = daemon.metric("squire_table_looks_total").await;
    let gone = counted(&samples, "lake")["gone"];
    assert!((1..12).contains(&gone), "{gone} looks in 40 ticks");
    daemon
        .until_metric("squire_target_up", "target=\"lake\"", |up| up == 1.0)
        .await;
    for n in 0..6 {
        plain::fill(&root, "left", plain::rows(n * 10, 10))
            .await
            .unwrap();
    }
    until("a table that came into the folder is kept", async || {
        fragments(&root, "left").await < 4
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_is_made_where_a_directory_is_kept_is_never_kept_as_one() {
    let site = Site::new();
    let (lake, uri) = (site.path("lake"), site.uri("lake"));
    std::fs::create_dir(&lake).unwrap();
    let config = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\n{QUICK}\
         [[target]]\nname = \"lake\"\nuri = \"{uri}\"\nkind = \"directory\"\n\
         [target.compaction]\n{EAGER}[target.cleanup]\nkeep_for = \"1s\"\nkeep_versions = 1\nmin_versions = 1\ninterval_floor = \"1s\"\n"
    );
    let config = site.write("squire.toml", config);
    let daemon = site.daemon(Path::new(&config), "log").await;
    daemon
        .until_metric("squire_target_up", "target=\"lake\"", |up| up == 1.0)
        .await;
    let graph = site.graph("lake").await;
    for n in 0..6 {
        graph.load(squire_tests::flights::day(n, 10)).await.unwrap();
    }
    daemon
        .until_metric("squire_target_up", "target=\"lake\"", |up| up == 0.0)
        .await;
    let health = daemon.health().await;
    let error = health["targets"]["lake"]["error"].to_string();
    assert!(error.contains("is a graph"), "{error}");
    daemon.until_looked("lake", 15.0).await;
    let jobs = daemon.metric("squire_jobs_total").await;
    assert!(jobs.values().all(|ended| *ended == 0.0), "{jobs:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_tables_are_out_of_sight_has_no_success() {
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "docs", 1).await;
    let targets = [("lake", &*site.uri("lake"), EAGER)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    let success = "duty=\"compaction\",target=\"lake\"";
    let name = "squire_last_success_timestamp_seconds";
    daemon.until_metric(name, success, |at| at > 0.0).await;
    // As when a volume is not mounted.
    std::fs::rename(&root, site.path("elsewhere")).unwrap();
    daemon.until_looked("lake", 2.0).await;
    let stands = daemon.metric(name).await[success];
    daemon.until_looked("lake", 25.0).await;
    assert_eq!(daemon.metric(name).await[success], stands);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_maintains_works_on_a_directory_and_tells_before_and_after() {
    let site = Site::new();
    let (root, uri) = (site.path("lake"), site.uri("lake"));
    fragmented(&root, "docs", 5).await;
    plain::index_ids(&root, "docs").await.unwrap();
    plain::append(&root, "docs", plain::rows(1_000, 50))
        .await
        .unwrap();

    let told = done(squire(&["status", &uri]).await);
    assert!(told.starts_with("directory at "), "{told}");
    assert!(told.contains("docs"), "{told}");

    let told = done(squire(&["index", &uri, "--dry-run"]).await);
    assert!(
        told.contains("append to id_idx") && told.contains("forced"),
        "{told}"
    );
    let told = done(squire(&["index", &uri, "docs"]).await);
    assert!(
        told.contains("50 → 0"),
        "rows outside come under the index: {told}"
    );

    let told = done(squire(&["compact", &uri, "--dry-run"]).await);
    assert!(told.contains("rewrite"), "{told}");
    assert_eq!(
        fragments(&root, "docs").await,
        6,
        "a dry run changes nothing"
    );
    done(squire(&["compact", &uri, "docs"]).await);
    assert!(fragments(&root, "docs").await < 6);

    let versions = plain::open(&root, "docs")
        .await
        .unwrap()
        .versions()
        .await
        .unwrap()
        .len();
    let at_once = ["cleanup", &uri, "--keep-for", "0s"];
    refused(squire(&at_once).await, 2, &["write 1s or more"]);
    let config = format!(
        "[[target]]\nname = \"lake\"\nuri = \"{uri}\"\n[target.cleanup]\nkeep_for = \"1s\"\nkeep_versions = 2\n"
    );
    let config = site.write("squire.toml", config);
    let keep = ["--config", &*config, "--name", "lake"];
    let preview = [&["cleanup", &uri, "--dry-run"], &keep[..]].concat();
    until("the versions are a second old", async || {
        let told = done(squire(&preview).await);
        told.contains(&format!("{} of {versions}", versions - 2)) && told.contains("keeps")
    })
    .await;
    let told = done(squire(&["cleanup", &uri, "--dry-run"]).await);
    assert!(
        told.contains("the 10 newest versions") && told.contains("7days"),
        "{told}"
    );
    let told = done(squire(&[&["cleanup", &uri, "docs"], &keep[..]].concat()).await);
    assert!(told.contains(&format!("{versions} → 2")), "{told}");
    assert_eq!(rows(&root, "docs").await, 100);

    let error = refused(
        squire(&["compact", &uri, "dogs"]).await,
        2,
        &["has no table dogs"],
    );
    assert!(error.contains("squire status"), "{error}");
}
