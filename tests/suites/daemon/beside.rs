//! A table with a fault beside a good one, for each fault and each duty: the good one has its turn, and the other is done, or
//! left alone for a reason that is told. By command and by the daemon.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{TimeDelta, Utc};
use lance::index::DatasetIndexExt;
use squire_tests::{
    daemon, newer, plain,
    show::{say, table},
    torn::{Tear, newest_manifest, tear_newest_manifest},
};

use crate::{
    site::{QUICK, Ran, Site, squire, text, until},
    walls::{SQUIRE, all_in, as_user, is_root},
};

/// Every duty is due at once.
pub(crate) const POLICY: &str = "
[defaults.compaction]
min_small_fragments = 4
interval_floor = \"100ms\"
[defaults.index]
min_unindexed_rows = 1
max_unindexed_rows = 1
interval_floor = \"100ms\"
[defaults.cleanup]
keep_for = \"1s\"
keep_versions = 1
min_versions = 1
interval_floor = \"1s\"
";

/// What is wrong with a table.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// A crash cut the newest manifest off.
    Cut,
    /// The newest manifest is full of zeros.
    Zeros,
    /// The newest manifest says that it is two gigabytes long: Lance panics.
    Length,
    /// A newer Lance wrote it.
    Newer,
    /// Its commits are made in DynamoDB.
    Foreign,
    /// Its folder of indexes is a link that leads out.
    Link,
    /// A data file under the index is not there.
    Missing,
    /// A data file that the index does not cover is not there.
    MissingOutside,
    /// A pipe is in place of a data file.
    Pipe,
    /// The files of its index are not there.
    Index,
    /// It is another user's, who lets nobody in.
    Locked,
}

const FAULTS: [Fault; 12] = [
    Fault::None,
    Fault::Cut,
    Fault::Zeros,
    Fault::Length,
    Fault::Newer,
    Fault::Foreign,
    Fault::Link,
    Fault::Missing,
    Fault::MissingOutside,
    Fault::Pipe,
    Fault::Index,
    Fault::Locked,
];

/// What becomes of the table: done, or what the reason says.
type Cell = Result<(), &'static str>;

impl Fault {
    /// Of compaction, index upkeep and cleanup by hand.
    fn by_command(self) -> [Cell; 3] {
        let whole = |reason| [Err(reason); 3];
        match self {
            Self::None => [Ok(()); 3],
            Self::Cut | Self::Zeros | Self::Length => whole("damaged"),
            Self::Newer => whole("written by a newer Lance"),
            Self::Foreign => whole("DynamoDB"),
            Self::Link => whole("is a symbolic link"),
            Self::Missing => [Err("4 fragments are as they were"), Ok(()), Ok(())],
            Self::MissingOutside => [
                Err("4 fragments are as they were"),
                Err("indexing bad of"),
                Ok(()),
            ],
            Self::Pipe => [Err("no regular file but a FIFO"), Ok(()), Ok(())],
            Self::Index => [Ok(()), Err("indexing bad of"), Ok(())],
            Self::Locked => whole("Permission denied"),
        }
    }

    /// What the daemon tells of the table, in `explain` or its health.
    fn by_daemon(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Newer => Some("unwritable"),
            Self::Missing | Self::MissingOutside | Self::Pipe => Some("rewrite_failed"),
            Self::Index => Some("refused"),
            _ => self.by_command()[0].err(),
        }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The data file of a fragment: the index covers the first four.
async fn data_file(lake: &Path, fragment: usize) -> PathBuf {
    let dataset = plain::open(lake, "bad").await.unwrap();
    let file = &dataset.manifest().fragments[fragment].files[0];
    lake.join("bad.lance/data").join(&*file.path)
}

async fn spoil(site: &Site, lake: &Path, fault: Fault) {
    let table = lake.join("bad.lance");
    match fault {
        Fault::None => {}
        Fault::Cut => tear_newest_manifest(&table, Tear::Cut).unwrap(),
        Fault::Zeros => tear_newest_manifest(&table, Tear::Zeros).unwrap(),
        Fault::Length => tear_newest_manifest(&table, Tear::Length).unwrap(),
        Fault::Newer => {
            let dataset = plain::open(lake, "bad").await.unwrap();
            newer::write_with_a_newer_lance(&dataset).await;
        }
        Fault::Foreign => {
            let staged = "99.manifest-6c0a2c83-50b5-4b8f-8d0a-3f3f2b1f0a11";
            fs::copy(
                newest_manifest(&table).unwrap(),
                table.join("_versions").join(staged),
            )
            .unwrap();
        }
        Fault::Link => {
            let elsewhere = site.path("elsewhere");
            fs::rename(table.join("_indices"), &elsewhere).unwrap();
            symlink(&elsewhere, table.join("_indices")).unwrap();
        }
        Fault::Missing => fs::remove_file(data_file(lake, 0).await).unwrap(),
        Fault::MissingOutside => fs::remove_file(data_file(lake, 7).await).unwrap(),
        Fault::Pipe => {
            let file = data_file(lake, 0).await;
            fs::remove_file(&file).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&file).status();
            assert!(made.unwrap().success());
        }
        Fault::Index => fs::remove_dir_all(table.join("_indices")).unwrap(),
        Fault::Locked => {
            for path in all_in(lake) {
                chown(path, Some(SQUIRE), None).unwrap();
            }
            chown(&table, Some(0), None).unwrap();
            fs::set_permissions(&table, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}

/// Two tables of eight fragments, with an index over the first four.
async fn lake(site: &Site, fault: Fault) -> PathBuf {
    let lake = site.path(&fault.name());
    for table in ["bad", "good"] {
        for n in 0..8 {
            plain::append(&lake, table, plain::rows(n * 1_000, 1_000))
                .await
                .unwrap();
            if n == 3 {
                plain::index_ids(&lake, table).await.unwrap();
            }
        }
    }
    spoil(site, &lake, fault).await;
    age(&lake);
    lake
}

/// Makes everything below a folder forty days old.
fn age(folder: &Path) {
    let then = SystemTime::from(Utc::now() - TimeDelta::days(40));
    for path in entries(folder) {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            age(&path);
        } else if meta.is_file() {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

async fn fragments(lake: &Path, table: &str) -> usize {
    let dataset = plain::open(lake, table).await.unwrap();
    dataset.get_fragments().len()
}

/// Fragments that the index of a table does not cover.
async fn outside(lake: &Path, table: &str) -> usize {
    let dataset = plain::open(lake, table).await.unwrap();
    let indexes = dataset.load_indices().await.unwrap();
    let covers = |id: u64| {
        let id = u32::try_from(id).unwrap();
        let mut bitmaps = indexes.iter().filter_map(|i| i.fragment_bitmap.as_ref());
        bitmaps.any(|bitmap| bitmap.contains(id))
    };
    let fragments = dataset.get_fragments();
    fragments.iter().filter(|f| !covers(f.id() as u64)).count()
}

fn versions(lake: &Path, table: &str) -> usize {
    let files = entries(&lake.join(format!("{table}.lance/_versions")));
    let manifests = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "manifest"));
    manifests.count()
}

/// What a command says of a table: its line, or the error that names it.
fn told(ran: &Ran, table: &str) -> String {
    let lines = ran.out.lines().chain(ran.err.lines());
    let of_table = lines.filter(|line| {
        let line = line.trim_start_matches("squire: ");
        line.starts_with(&format!("{table} "))
            || line.contains(&format!("{table} of"))
            || line.contains(&format!("{table}.lance"))
    });
    of_table.collect::<Vec<_>>().join(" / ")
}

#[tokio::test(flavor = "multi_thread")]
async fn by_command_a_good_table_is_done_beside_any_other_and_that_is_done_or_told_why_not() {
    let mut rows = Vec::new();
    for fault in FAULTS {
        if matches!(fault, Fault::Locked) && !is_root() {
            continue;
        }
        let site = Site::new();
        // Others have to get to the folder.
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let lake = lake(&site, fault).await;
        let uri = text(&lake);
        let commands: [&[&str]; 3] = [
            &["compact", &uri],
            &["index", &uri],
            &["cleanup", &uri, "--keep-for", "1s", "--keep-versions", "1"],
        ];
        let mut row = vec![fault.name()];
        for (command, expected) in commands.into_iter().zip(fault.by_command()) {
            age(&lake);
            let ran = if let Fault::Locked = fault {
                let program = text(&daemon::squire().unwrap());
                as_user(SQUIRE, SQUIRE, SQUIRE, &program, command)
                    .await
                    .into()
            } else {
                squire(command).await
            };
            let said = told(&ran, "bad");
            let good = told(&ran, "good");
            // What nobody can look into may be a clone of the good one, and read its old versions.
            let is_protected = matches!(fault, Fault::Locked) && command[0] == "cleanup";
            if is_protected {
                assert!(good.contains("protected"), "{fault:?}: {good}");
            } else {
                let turned_down = good.contains("failed") || good.contains("skipped");
                assert!(!turned_down, "{fault:?}: {ran:?}");
            }
            assert_eq!(ran.code == Some(0), expected.is_ok(), "{fault:?}: {ran:?}");
            match expected {
                Ok(()) => assert!(
                    !said.contains("failed") && !said.contains("skipped"),
                    "{fault:?}: {said}"
                ),
                Err(reason) => assert!(said.contains(reason), "{fault:?}: {said}"),
            }
            row.push(expected.map_or_else(str::to_owned, |()| "done".to_owned()));
        }
        rows.push(row);
        assert_eq!(fragments(&lake, "good").await, 2, "{fault:?}");
        assert_eq!(outside(&lake, "good").await, 0, "{fault:?}");
        let is_protected = matches!(fault, Fault::Locked);
        assert_eq!(versions(&lake, "good") == 1, !is_protected, "{fault:?}");
    }
    say(table(
        &["beside a good table", "compact", "index", "cleanup"],
        rows,
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_daemon_a_good_table_is_kept_beside_any_other_and_of_that_the_reason_is_told() {
    let site = Site::new();
    let mut config = format!("[daemon]\nlisten = \"127.0.0.1:0\"\n{QUICK}{POLICY}");
    let mut lakes = Vec::new();
    for fault in FAULTS {
        // The daemon is this test's user, to whom nothing is locked.
        if matches!(fault, Fault::Locked) {
            continue;
        }
        let lake = lake(&site, fault).await;
        let (name, uri) = (fault.name(), text(&lake));
        config += &format!("[[target]]\nname = \"{name}\"\nuri = \"{uri}\"\n");
        lakes.push((fault, lake));
    }
    let config = PathBuf::from(site.write("squire.toml", config));
    let daemon = site.daemon(&config, "log").await;
    for (fault, lake) in lakes {
        until(
            &format!("the good table beside {fault:?} is kept"),
            async || {
                fragments(&lake, "good").await <= 2
                    && outside(&lake, "good").await == 0
                    && versions(&lake, "good") <= 2
            },
        )
        .await;
        let Some(reason) = fault.by_daemon() else {
            continue;
        };
        until(&format!("{fault:?} is told: {reason}"), async || {
            let explained = site.explain(&daemon, &fault.name()).await;
            let health = daemon.health().await["targets"][fault.name()].to_string();
            let mut lines = explained.lines().chain([health.as_str()]);
            lines.any(|line| line.contains("bad") && line.contains(reason))
        })
        .await;
    }
}
