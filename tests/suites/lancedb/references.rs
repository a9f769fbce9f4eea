//! Branches, clones and computed columns of real clients, in a directory that is cleaned up.

use std::{path::Path, time::Duration};

use squire_engine::{
    Cleaned, Directory, DirectoryOptions, Kept,
    planner::{Ask, cleanup::CleanupPolicy, compaction::CompactionPolicy},
};
use squire_tests::lancedb::python::{self, Program};
use tokio_util::sync::CancellationToken;

async fn run(python: &Path, what: &str, root: &str) {
    let program = Program::start(python, "references", [what, root]).unwrap();
    program.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_read_of_old_versions_can_be_read_after_a_cleanup() {
    let python = python::interpreter().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    run(&python, "make", root).await;
    let directory = Directory::open(root, DirectoryOptions::default())
        .await
        .unwrap();
    let (ask, stop) = (Ask::forced(), CancellationToken::new());
    let policy = CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions: 1,
        min_versions: 1,
        ..CleanupPolicy::default()
    };
    let (mut removed, mut kept) = (0, Vec::new());
    for table in directory.tables().await.unwrap() {
        let compaction = CompactionPolicy::default();
        directory
            .compact(&table, &compaction, &ask, &stop)
            .await
            .unwrap();
        let preview = directory
            .explain_cleanup(&table, &policy, &ask)
            .await
            .unwrap();
        kept.extend(preview.kept);
        match directory
            .cleanup(&table, &policy, &ask, &stop)
            .await
            .unwrap()
        {
            Cleaned::Done(receipt) => removed += receipt.versions,
            Cleaned::Skipped(_) => {}
        }
    }
    assert!(removed >= 5, "{removed} versions went");
    let computed = |kept: &Kept| matches!(kept, Kept::Computed { column, .. } if column == "d");
    assert!(kept.iter().any(computed), "{kept:?}");
    run(&python, "ask", root).await;
}
