//! Which tables have series of their own.

use squire_config::Daemon;
use squire_engine::FragmentStats;

use super::*;
use crate::service::metrics::Metrics;

const LIMIT: usize = 20;

fn metrics() -> Metrics {
    Metrics::new(&Daemon {
        metrics_tables: LIMIT,
        ..Daemon::default()
    })
    .unwrap()
}

fn with_fragments(n: u64) -> TableStats {
    let fragment = |id| FragmentStats {
        id,
        rows: 10,
        deleted: 0,
        bytes: 1000,
        measured: 0,
        unmeasured: false,
        coverage: 0,
        refused: None,
    };
    TableStats {
        version: 1,
        fragments: (0..n).map(fragment).collect(),
        ..TableStats::default()
    }
}

/// The samples of a metric, as their labels are written and their values.
fn samples(metrics: &Metrics, name: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    let line = |line: &str| {
        let (labels, value) = line
            .strip_prefix(name)?
            .strip_prefix('{')?
            .split_once("} ")?;
        Some((labels.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn name(n: usize) -> String {
    format!("t{n:05}")
}

#[test]
fn ten_thousand_tables_make_no_more_series_than_are_allowed_and_the_sums_count_all() {
    let metrics = metrics();
    let policy = Policy::default();
    for n in 0..10_000 {
        metrics
            .tables
            .table("lake", &name(n), &with_fragments(2), &policy);
    }
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    let of_tables = text.lines().filter(|l| l.contains("table=\"t")).count();
    assert!(of_tables <= LIMIT * 13, "{of_tables}");
    assert_eq!(samples(&metrics, "squire_table_rows").len(), LIMIT);
    let of = "target=\"lake\"";
    for (metric, n) in [
        ("squire_target_tables", "10000"),
        ("squire_target_fragments", "20000"),
        ("squire_target_rows", "200000"),
        ("squire_target_tables_left_out", "9980"),
    ] {
        assert_eq!(samples(&metrics, metric)[of], n, "{metric}");
    }
}

#[test]
fn the_tables_in_most_need_are_shown_and_those_at_rest_come_by_name() {
    let metrics = metrics();
    let policy = Policy::default();
    for n in 0..100 {
        metrics
            .tables
            .table("lake", &name(n), &with_fragments(2), &policy);
    }
    let shows = |table: usize| {
        let labels = format!("table=\"{}\",target=\"lake\"", name(table));
        samples(&metrics, "squire_table_fragments").contains_key(&labels)
    };
    assert!(shows(0) && shows(LIMIT - 1) && !shows(LIMIT));
    metrics
        .tables
        .table("lake", &name(77), &with_fragments(500), &policy);
    assert!(
        shows(77) && shows(0) && !shows(LIMIT - 1),
        "the last by name gave way"
    );
    metrics.tables.versions("lake", &name(99), 5_000, &policy);
    assert!(shows(99) && shows(77));
    metrics
        .tables
        .table("lake", &name(77), &with_fragments(2), &policy);
    assert!(!shows(77) && shows(99), "a new look keeps what was listed");
    metrics.tables.forget("lake", &name(99));
    assert!(!shows(99) && shows(LIMIT - 1));
}

#[test]
fn a_table_is_in_more_need_each_time_that_the_worst_of_it_doubles() {
    for (n, due, expected) in [
        (0, 8, 0),
        (7, 8, 0),
        (8, 8, 1),
        (16, 8, 2),
        (17, 8, 2),
        (1, 0, 1),
    ] {
        assert_eq!(need(n, due), expected, "{n} of {due}");
    }
    let mut stats = with_fragments(1);
    stats.fragments[0].deleted = 9;
    let policy = Policy::default();
    assert!(
        Table::of(&stats, &policy).need() > 0,
        "most of it is deleted"
    );
}
