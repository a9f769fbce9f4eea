use squire_engine::{
    FragmentStats,
    planner::{Skip, compaction},
    progress::Progress,
};

use super::*;
use crate::{
    api::{Health, Tables},
    service::status::Load,
};

fn stats(fragments: u64) -> TableStats {
    let fragment = |id| FragmentStats {
        id,
        rows: 10,
        deleted: 1,
        bytes: 100,
        measured: 0,
        unmeasured: false,
        coverage: 0,
        refused: None,
    };
    TableStats {
        version: fragments,
        fragments: (0..fragments).map(fragment).collect(),
        ..TableStats::default()
    }
}

fn store() -> StatusStore {
    let store = StatusStore::new(DateTime::UNIX_EPOCH);
    store.expect("lake", "/lake");
    store
}

fn looked(store: &StatusStore, table: &str, fragments: u64) {
    store.table("lake", table, &stats(fragments), &Policy::default());
}

fn begun(duty: Duty) -> Begun {
    Begun {
        duty,
        reason: "small_fragments".to_owned(),
        forced: false,
        progress: Progress::default(),
    }
}

fn keys(read: &Tables) -> Vec<&str> {
    read.tables.iter().map(|t| t.table.as_str()).collect()
}

#[test]
fn whoever_reads_on_is_told_what_changed_and_what_went_and_no_more() {
    let store = store();
    for table in ["a", "b", "c"] {
        looked(&store, table, 3);
    }
    let all = store.tables(None, None);
    assert!(all.whole);
    assert_eq!(keys(&all), ["a", "b", "c"]);
    looked(&store, "a", 3);
    let nothing = store.tables(None, Some(all.revision));
    assert_eq!((nothing.whole, nothing.tables.len()), (false, 0));
    looked(&store, "b", 4);
    store.forget("lake", "c");
    let news = store.tables(None, Some(all.revision));
    assert_eq!(keys(&news), ["b"]);
    assert_eq!(news.tables[0].fragments, 4);
    assert_eq!(news.gone[0].table, "c");
    looked(&store, "c", 1);
    let back = store.tables(None, Some(all.revision));
    assert_eq!(keys(&back), ["b", "c"]);
    assert!(back.gone.is_empty(), "it is there again");
}

#[test]
fn whoever_read_an_earlier_daemon_or_missed_too_much_reads_everything_again() {
    let later = StatusStore::new(Utc::now());
    looked(&later, "a", 1);
    assert!(later.tables(None, Some(7)).whole, "of an earlier daemon");
    assert!(later.tables(None, Some(u64::MAX)).whole);
    let store = store();
    let before = store.revision();
    for n in 0..=GONE {
        let table = format!("t{n}");
        looked(&store, &table, 1);
        store.forget("lake", &table);
    }
    assert!(store.tables(None, Some(before)).whole, "more than it keeps");
}

#[test]
fn a_run_is_told_with_its_reason_its_outcome_and_what_it_left() {
    let store = store();
    looked(&store, "a", 6);
    store.began("lake", "a", begun(Duty::Compaction));
    let jobs = store.jobs(Some("lake"), None);
    assert_eq!((jobs.len(), jobs[0].before.fragments), (1, 6));
    assert_eq!(jobs[0].phase, "planning");
    store.ended("lake", "a", JobOutcome::Done, None);
    assert!(store.jobs(None, None).is_empty());
    let seen = store.revision();
    assert_eq!(store.runs(None, None, None, 10)[0].after, None);
    looked(&store, "a", 1);
    let runs = store.runs(None, Some("a"), Some(seen), 10);
    let run = runs.first().expect("its table was looked at since");
    assert_eq!(run.after.map(|layout| layout.fragments), Some(1));
    assert_eq!(
        (run.reason.as_str(), run.outcome.known()),
        ("small_fragments", Some(JobOutcome::Done))
    );
    let now = store.revision();
    looked(&store, "a", 2);
    assert!(store.runs(None, None, Some(now), 10).is_empty());
}

#[test]
fn a_table_whose_job_failed_is_failing_until_one_of_the_same_duty_ends_well() {
    let store = store();
    looked(&store, "a", 6);
    let health = |store: &StatusStore| {
        store
            .of_table("lake", "a")
            .and_then(|info| info.health.known())
    };
    for (duty, outcome, then) in [
        (Duty::Index, JobOutcome::Failed, Health::Failing),
        (Duty::Compaction, JobOutcome::Done, Health::Failing),
        (Duty::Index, JobOutcome::Done, Health::Ok),
    ] {
        store.began("lake", "a", begun(duty));
        store.ended("lake", "a", outcome, Some("no space".to_owned()));
        assert_eq!(health(&store), Some(then), "{duty} {outcome:?}");
    }
    store.table_failing("lake", "a", "no route");
    assert_eq!(health(&store), Some(Health::Failing));
    looked(&store, "a", 6);
    assert_eq!(health(&store), Some(Health::Ok));
}

#[test]
fn the_failure_of_one_duty_does_not_hide_that_of_another_and_goes_when_the_duty_is_switched_off() {
    let store = store();
    looked(&store, "a", 6);
    for duty in [Duty::Index, Duty::Cleanup] {
        store.began("lake", "a", begun(duty));
        store.ended("lake", "a", JobOutcome::Failed, Some(format!("no {duty}")));
    }
    let reason = || {
        let info = store.of_table("lake", "a");
        info.and_then(|info| info.reason).unwrap_or_default()
    };
    assert!(reason().contains("no index") && reason().contains("no cleanup"));
    let off = |duty| {
        let off = Decided {
            decision: Decision::Skip(Skip::Disabled),
            details: &[],
            ended_ago: None,
            wait: Duration::ZERO,
            not_before: None,
        };
        store.decided("lake", "a", duty, off);
    };
    off(Duty::Index);
    assert_eq!(reason(), "the last cleanup failed: no cleanup");
    off(Duty::Cleanup);
    let health = store
        .of_table("lake", "a")
        .and_then(|info| info.health.known());
    assert_eq!(health, Some(Health::Ok));
}

#[test]
fn a_table_that_was_only_found_is_known_and_not_yet_judged() {
    let store = store();
    store.found("lake", "new");
    assert_eq!(store.keys("lake"), ["new"]);
    let info = store.of_table("lake", "new").expect("it is there");
    assert_eq!(
        (info.health.known(), info.looked),
        (Some(Health::Unknown), None)
    );
}

#[test]
fn a_decision_tells_when_the_duty_may_be_due_again_where_that_is_known() {
    let store = store();
    let decide = |skip| {
        let decided = Decided {
            decision: Decision::Skip(skip),
            details: &[],
            ended_ago: Some(Duration::from_secs(10)),
            wait: Duration::from_secs(60),
            not_before: (skip == Skip::Budget).then(|| Duration::from_secs(1_000)),
        };
        store.decided("lake", "a", Duty::Compaction, decided);
        let info = store.of_table("lake", "a").expect("it is known");
        let left = info.duties[0].not_before.map(|at| at - Utc::now());
        left.map(|left| left.num_seconds())
    };
    let left = decide(Skip::BackOff).expect("it is known");
    assert!((1..=50).contains(&left), "{left} s");
    let left = decide(Skip::Budget).expect("it is known");
    assert!((950..=1_000).contains(&left), "{left} s");
    assert_eq!(decide(Skip::Compaction(compaction::Skip::Tidy)), None);
}

#[test]
fn the_load_adds_up_what_the_targets_have_and_forgets_those_that_are_gone() {
    let store = store();
    store.expect("sea", "/sea");
    looked(&store, "docs", 3);
    for n in 0..20 {
        let table = n.to_string();
        store.table("sea", &table, &stats(1), &Policy::default());
    }
    store.began("lake", "docs", begun(Duty::Compaction));
    store.began("sea", "0", begun(Duty::Index));
    store.backlog("sea", 5);
    let load = |tables, at_work, waiting| Load {
        tables,
        at_work,
        waiting,
    };
    assert_eq!(store.load(), load(21, 2, 5));
    store.remove_target("sea");
    assert_eq!(store.load(), load(1, 1, 0));
}
