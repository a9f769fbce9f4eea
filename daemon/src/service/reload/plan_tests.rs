use std::time::Duration;

use squire_config::Layers;

use super::plan::{TargetChange, plan};

fn settings(text: &str) -> squire_config::Settings {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let file = dir.path().join("squire.toml");
    std::fs::write(&file, text).expect("it can be written");
    let layers = Layers::new(&file, Vec::new());
    layers.load().expect("it is taken").settings
}

const TWO: &str =
    "[daemon]\n[[target]]\nname = \"a\"\nuri = \"/a\"\n[[target]]\nname = \"b\"\nuri = \"/b\"\n";

#[test]
fn the_same_configuration_changes_nothing() {
    let same = plan(&settings(TWO), &settings(TWO), 2);
    assert!(same.changes.is_empty() && same.daemon.is_empty() && same.waits.is_empty());
    assert!(!same.schedules);
    assert!(same.describe().is_empty());
}

#[test]
fn each_target_meets_its_own_fate() {
    let new =
        "[[target]]\nname = \"b\"\nuri = \"/elsewhere\"\n[[target]]\nname = \"c\"\nuri = \"/c\"\n";
    let changes = plan(&settings(TWO), &settings(new), 2).changes;
    assert_eq!(changes["a"], TargetChange::Detach);
    assert_eq!(changes["b"], TargetChange::Restart(vec!["uri"]));
    assert_eq!(changes["c"], TargetChange::Start);
    let policies = format!("{TWO}[target.compaction]\nmin_small_fragments = 3\n");
    let changes = plan(&settings(TWO), &settings(&policies), 2).changes;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes["b"], TargetChange::Update);
}

#[test]
fn only_another_lease_makes_another_keeper_begin_and_rhythms_are_taken_over() {
    let with = |keys: &str| settings(&TWO.replace("[daemon]\n", &format!("[daemon]\n{keys}")));
    let quick = plan(&settings(TWO), &with("tick = \"5s\"\n"), 2);
    assert_eq!(quick.daemon, ["daemon.tick"]);
    assert!(quick.changes.is_empty(), "budgets and back-off go on");
    let patient = plan(&settings(TWO), &with("lease = \"30s\"\n"), 2);
    assert_eq!(patient.daemon, ["daemon.lease"]);
    assert_eq!(patient.changes.len(), 2);
    for change in patient.changes.values() {
        assert_eq!(*change, TargetChange::Restart(vec!["daemon.lease"]));
    }
    let other = plan(
        &settings(TWO),
        &with("log = \"debug\"\nconcurrency = 1\n"),
        2,
    );
    assert_eq!(other.daemon, ["daemon.concurrency", "daemon.log"]);
    assert!(other.changes.is_empty());
    assert_eq!(other.job_slots, 1);
}

#[test]
fn what_takes_a_restart_is_named_and_stays_as_it_was() {
    let keys = "[daemon]\nlisten = \"127.0.0.1:1\"\nmemory = \"2GiB\"\nlog_format = \"json\"\nconcurrency = 9\nshutdown_grace = \"1s\"\n";
    let old = settings(TWO);
    let made = plan(&old, &settings(&TWO.replace("[daemon]\n", keys)), 2);
    let waits = [
        "daemon.listen",
        "daemon.concurrency",
        "daemon.memory",
        "daemon.log_format",
    ];
    assert_eq!(made.waits, waits);
    let daemon = &made.settings.daemon;
    assert_eq!(
        (daemon.listen, daemon.memory),
        (old.daemon.listen, old.daemon.memory)
    );
    assert_eq!(daemon.concurrency, 2);
    assert_eq!(daemon.shutdown_grace, Duration::from_secs(1));
}

#[test]
fn schedules_are_started_again_when_one_of_them_changes() {
    let cron = format!("{TWO}[target.compaction]\ncron = \"0 0 3 * * *\"\n");
    assert!(plan(&settings(TWO), &settings(&cron), 2).schedules);
    assert!(!plan(&settings(&cron), &settings(&cron), 2).schedules);
    let other = cron.replace("cron", "min_small_fragments = 9\ncron");
    assert!(!plan(&settings(&cron), &settings(&other), 2).schedules);
}
