//! Directories that somebody made to do harm, kept by the daemon: it lives, within its memory, keeps the good tables beside the
//! bad ones, and changes nothing around them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use squire_tests::{
    hostile::{self, Around, Hostile, junk},
    plain,
    process::peak_memory,
    show::{bytes, say},
};

use crate::{
    beside::POLICY,
    site::{QUICK, Site, text, until},
};

/// Directories that one daemon keeps at once.
const AT_ONCE: u64 = 8;
const MIB: u64 = 1 << 20;
/// What the daemon is given for all of them.
const MEMORY: u64 = 512 * MIB;

/// A directory with a good and a bad table in a folder of its own, with precious files beside it.
async fn lake(site: &Site, name: &str) -> (PathBuf, PathBuf) {
    let root = site.path(name).join("lake");
    fs::create_dir_all(&root).unwrap();
    for table in ["bad", "good"] {
        for n in 0..4 {
            let rows = plain::rows(n * 100, 100);
            plain::append(&root, table, rows).await.unwrap();
        }
    }
    let outside = hostile::precious(&site.path(name));
    (root, outside)
}

fn config(site: &Site, lakes: &[PathBuf]) -> PathBuf {
    let memory = MEMORY / MIB;
    let mut text_of =
        format!("[daemon]\nlisten = \"127.0.0.1:0\"\nmemory = \"{memory}MiB\"\n{QUICK}{POLICY}");
    for (n, lake) in lakes.iter().enumerate() {
        let uri = text(lake);
        text_of += &format!("[[target]]\nname = \"t{n}\"\nuri = \"{uri}\"\nkind = \"directory\"\n");
    }
    PathBuf::from(site.write("squire.toml", text_of))
}

async fn is_kept(lake: &Path) -> bool {
    let good = plain::open(lake, "good").await.unwrap();
    let rows = good.count_rows(None).await.unwrap();
    assert_eq!(rows, 400, "no row is lost");
    good.get_fragments().len() == 1
}

/// Keeps them until every good table is kept; says how much memory the daemon took.
async fn keep(site: &Site, lakes: &[PathBuf], around: &[Around], what: &str) -> u64 {
    let daemon = site.daemon(&config(site, lakes), "log").await;
    for lake in lakes {
        let good = format!("{what}: the good table of {} is kept", lake.display());
        until(&good, async || is_kept(lake).await).await;
    }
    // The bad ones have had their turns, too.
    for n in 0..lakes.len() {
        daemon.until_looked(&format!("t{n}"), 3.0).await;
    }
    let health = daemon.health().await;
    assert_eq!(health["tables"]["stuck"], 0, "{what}: {health}");
    let peak = peak_memory(daemon.id()).unwrap();
    assert!(peak <= MEMORY, "{what}: it took {}", bytes(peak));
    let lines = daemon.stop_after_errors().await;
    let is_fault = |line: &&Value| {
        line["message"] == "panicked" || line["level"] == "ERROR" && line["table"] == "good"
    };
    let fault = lines.iter().find(is_fault);
    assert!(fault.is_none(), "{what}: {fault:?}");
    for (lake, around) in lakes.iter().zip(around) {
        around.assert_same(&format!("{what}: around {}", lake.display()));
    }
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lies_in_its_targets_the_daemon_lives_keeps_good_tables_and_changes_nothing_around()
 {
    let trees = hostile::trees(AT_ONCE);
    let mut most = 0;
    for first in (0..trees).step_by(AT_ONCE as usize) {
        let site = Site::new();
        let (mut lakes, mut around) = (Vec::new(), Vec::new());
        for seed in first..trees.min(first + AT_ONCE) {
            let name = format!("seed-{seed}");
            let (root, outside) = lake(&site, &name).await;
            let mut dice = StdRng::seed_from_u64(seed);
            let folder = Hostile {
                root: &root,
                outside: &outside,
            };
            for round in 0..dice.random_range(1..5) {
                folder.spoil(&mut dice, round);
            }
            around.push(Around::without(&site.path(&name), &root));
            lakes.push(root);
        }
        most = most.max(keep(&site, &lakes, &around, &format!("seeds from {first}")).await);
    }
    say(format!(
        "{trees} hostile directories, {AT_ONCE} at once: the daemon took {} at most, of {}",
        bytes(most),
        bytes(MEMORY)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_without_end_in_a_target_keeps_no_table_from_being_kept_within_memory() {
    let site = Site::new();
    let (root, _) = lake(&site, "junk").await;
    let files = hostile::junk_files();
    let places = [
        ".",
        "good.lance/data",
        "bad.lance/data",
        "bad.lance/_versions",
        "more",
    ];
    for place in places {
        junk(&root.join(place), files / places.len() as u64);
    }
    let around = [Around::without(&site.path("junk"), &root)];
    let peak = keep(&site, &[root], &around, "junk").await;
    say(format!(
        "{files} files of junk: the daemon took {} at most, of {}",
        bytes(peak),
        bytes(MEMORY)
    ));
}
