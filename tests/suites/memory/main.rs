//! The real daemon keeps to its memory while it compacts and indexes a table that is larger.
#![allow(missing_docs)]

mod rows;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use arrow::array::FixedSizeListArray;
use lance::{
    Dataset,
    index::{DatasetIndexExt, DatasetIndexInternalExt},
};
use lance_index::metrics::NoOpMetricsCollector;
use squire_tests::{
    daemon::Daemon,
    lancedb::{
        look::{self, Look},
        python::{self, Program},
    },
    process::peak_memory,
    show::{bytes, say},
};
use tempfile::TempDir;
use tokio::time::sleep;

const MIB: u64 = 1 << 20;
/// Rows of 2 KB in each fragment.
const ROWS: u64 = 8_000;
/// How long the daemon may take, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// A table and what it is kept with.
struct Size {
    fragments: u64,
    memory: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn lancedb_2325_lance_4561_compaction_keeps_to_its_memory() {
    let size = if std::env::var_os("SQUIRE_MEMORY_FULL").is_some() {
        Size {
            fragments: 80,
            memory: 512 * MIB,
        }
    } else {
        Size {
            fragments: 30,
            memory: 352 * MIB,
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let uri = wide(&dir, "wide", &[size.fragments, ROWS]).await;
    let before = seen(&uri).await;
    let table = look::disk(&uri).unwrap();
    assert!(table > size.memory, "the table is larger than the memory");
    let daemon = start(&dir, size.memory).await;
    let started = Instant::now();
    let mut after = before;
    while !is_kept(after, before) && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(500)).await;
        after = seen(&uri).await;
    }
    let peak = peak_memory(daemon.id().unwrap()).unwrap();
    assert!(daemon.stop(PATIENCE).await.unwrap().success());
    say(format!(
        "a table of {} in {} fragments, {} deleted rows, {} unindexed: {} fragments, {} deleted rows and {} unindexed after {:.0} s; \
         the daemon took {} at most, of {}",
        bytes(table),
        before.fragments,
        before.deleted,
        before.unindexed,
        after.fragments,
        after.deleted,
        after.unindexed,
        started.elapsed().as_secs_f64(),
        bytes(peak),
        bytes(size.memory),
    ));
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        is_kept(after, before),
        "the daemon did not get on: {}",
        log()
    );
    assert_eq!(after.rows, before.rows);
    assert!(
        peak <= size.memory,
        "{} of {}",
        bytes(peak),
        bytes(size.memory)
    );
}

/// Lance holds whole partitions of a vector index while it extends it, or writes it anew for rewritten fragments: those under a
/// partition that is too large are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_vector_index_is_extended_within_its_memory_or_left_with_a_reason() {
    let memory = 352 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let small = wide(&dir, "small", &[12, ROWS, 64]).await;
    let large = wide(&dir, "large", &[12, ROWS, 1]).await;
    let before = [seen(&small).await, seen(&large).await];
    let centroids = model(&small).await;
    let daemon = start(&dir, memory).await;
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    let is_told = || {
        let log = log();
        let mut lines = log
            .lines()
            .filter(|l| l.contains("does not fit into memory"));
        lines.any(|line| line.contains("more partitions"))
    };
    let started = Instant::now();
    let mut after = before;
    let is_compacted = |now: Look, before: Look| now.fragments < before.fragments;
    while !(is_kept(after[0], before[0]) && is_compacted(after[1], before[1]) && is_told())
        && started.elapsed() < PATIENCE
    {
        sleep(Duration::from_millis(500)).await;
        after = [seen(&small).await, seen(&large).await];
    }
    let peak = peak_memory(daemon.id().unwrap()).unwrap();
    assert!(daemon.stop(PATIENCE).await.unwrap().success());
    say(format!(
        "vector indexes of {} with small partitions and with a large one, {} and {} rows outside: {} and {} after {:.0} s; the \
         daemon took {} at most, of {}",
        bytes(look::disk(&large).unwrap()),
        before[0].unindexed,
        before[1].unindexed,
        after[0].unindexed,
        after[1].unindexed,
        started.elapsed().as_secs_f64(),
        bytes(peak),
        bytes(memory),
    ));
    assert!(
        is_kept(after[0], before[0]),
        "the daemon did not get on: {}",
        log()
    );
    assert!(is_told() && after[1].unindexed > 0, "{}", log());
    let left = log().contains("fragments are left alone");
    assert!(left && after[1].deleted > 0, "{}", log());
    assert!(peak <= memory, "{} of {}", bytes(peak), bytes(memory));
    assert_eq!(model(&small).await, centroids, "its model is the same");
}

/// The centroids of a vector index: all its segments have the same.
async fn model(uri: &Path) -> FixedSizeListArray {
    let dataset = Dataset::open(uri.to_str().unwrap()).await.unwrap();
    let segments = dataset.load_indices_by_name("vector_idx").await.unwrap();
    let mut models = Vec::new();
    for segment in &segments {
        let index = dataset
            .open_vector_index("vector", &segment.uuid, &NoOpMetricsCollector)
            .await
            .unwrap();
        models.push(index.ivf_model().centroids.clone().unwrap());
    }
    models.dedup();
    assert_eq!(models.len(), 1, "of {} segments", segments.len());
    models.remove(0)
}

/// Makes a table with `tests/python/wide.py`.
async fn wide(dir: &TempDir, name: &str, numbers: &[u64]) -> PathBuf {
    let numbers = numbers.iter().map(ToString::to_string);
    made(dir, "wide", name, numbers).await
}

/// Makes a table with a program of `tests/python/`.
async fn made(
    dir: &TempDir,
    program: &str,
    name: &str,
    args: impl IntoIterator<Item = String>,
) -> PathBuf {
    let root = dir.path().join("database");
    std::fs::create_dir_all(&root).unwrap();
    let uri = root.join(format!("{name}.lance"));
    let python = python::interpreter()
        .await
        .expect("pylance can be installed");
    let args = args.into_iter().map(OsString::from);
    let args = std::iter::once(uri.clone().into_os_string()).chain(args);
    let program = Program::start(&python, program, args).unwrap();
    program.end().await.unwrap();
    uri
}

/// Starts a daemon that keeps the tables of [`wide`] with so much memory.
async fn start(dir: &TempDir, memory: u64) -> Daemon {
    let settings = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"500ms\"\nmemory = \"{} MiB\"\nlog_format = \"json\"\n\n\
         [defaults.compaction]\ninterval_floor = \"500ms\"\n\n[defaults.index]\ninterval_floor = \"500ms\"\n\n\
         [[target]]\nname = \"wide\"\nuri = \"{}\"\n",
        memory / MIB,
        dir.path().join("database").display()
    );
    let config = dir.path().join("squire.toml");
    std::fs::write(&config, settings).unwrap();
    let daemon = Daemon::start(&config, &dir.path().join("log")).await;
    daemon.unwrap()
}

/// Whether the table was compacted and its indexes extended.
fn is_kept(now: Look, before: Look) -> bool {
    now.fragments * 4 <= before.fragments && now.deleted == 0 && now.unindexed == 0
}

async fn seen(uri: &Path) -> Look {
    let dataset = Dataset::open(uri.to_str().unwrap()).await.unwrap();
    Look::at(&dataset).await.unwrap()
}
