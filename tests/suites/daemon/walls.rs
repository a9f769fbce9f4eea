//! The walls of a local target, from outside: by command and by daemon, as one user and as another.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Output,
    time::SystemTime,
};

use chrono::{TimeDelta, Utc};
use squire_tests::{daemon, plain};
use tokio::process::Command;

use crate::site::{QUICK, Ran, Site, done, squire, until};

/// Users and groups that nobody has.
const APP: u32 = 712_345;
pub(crate) const SQUIRE: u32 = 723_456;
const DATA: u32 = 754_321;

async fn fragmented(root: &Path, table: &str, times: i64) {
    for n in 0..times {
        let rows = plain::rows(n * 100, 100);
        plain::append(root, table, rows).await.unwrap();
    }
}

async fn fragments(root: &Path, table: &str) -> usize {
    let dataset = plain::open(root, table).await.unwrap();
    dataset.get_fragments().len()
}

/// An old file behind a link that a table has for its indexes.
fn precious(site: &Site, lake: &Path, table: &str) -> PathBuf {
    let folder = site.path("precious");
    fs::create_dir_all(folder.join("home")).unwrap();
    let file = folder.join("home/thesis.docx");
    fs::write(&file, "years of work").unwrap();
    let old = SystemTime::from(Utc::now() - TimeDelta::days(40));
    let open = fs::File::options().write(true).open(&file).unwrap();
    open.set_modified(old).unwrap();
    symlink(&folder, lake.join(format!("{table}.lance/_indices"))).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_link_is_left_alone_by_commands_and_daemon_with_the_reason() {
    let site = Site::new();
    let (root, uri) = (site.path("lake"), site.uri("lake"));
    fragmented(&root, "bad", 6).await;
    fragmented(&root, "good", 6).await;
    let file = precious(&site, &root, "bad");
    fs::create_dir(root.join("odd\tname.lance")).unwrap();
    symlink("self", root.join("self")).unwrap();
    let cleanup = ["cleanup", &uri, "--keep-for", "1s", "--keep-versions", "1"];
    for args in [cleanup.as_slice(), &["compact", &uri], &["index", &uri]] {
        let ran = squire(args).await;
        let says = ["_indices is a symbolic link to", "follow_links"];
        assert!(
            says.iter().all(|part| ran.err.contains(part)),
            "{args:?}: {ran:?}"
        );
        assert!(file.exists(), "{args:?}");
    }
    assert_eq!(fragments(&root, "good").await, 1);
    fragmented(&root, "good", 6).await;
    let policy = "min_small_fragments = 4\ninterval_floor = \"100ms\"\n";
    let targets = [("lake", &*uri, policy)];
    let daemon = site.daemon(&site.config(QUICK, &targets), "log").await;
    until("the good table is compacted", async || {
        fragments(&root, "good").await <= 3
    })
    .await;
    let why = site.explain(&daemon, "lake").await;
    assert!(why.contains("is a symbolic link to"), "{why}");
    for reason in ["link", "name"] {
        let labels = format!("reason=\"{reason}\",target=\"lake\"");
        let counted = async || daemon.metric("squire_passed_over_entries").await;
        until("what is passed over is counted", async || {
            counted().await.get(&labels).is_some_and(|n| *n >= 1.0)
        })
        .await;
    }
    daemon.stop().await;
    assert_eq!(fragments(&root, "bad").await, 6);
    assert!(file.exists());
}

/// Whether tests may become other users here; says so if not.
pub(crate) fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let program = daemon::squire().unwrap();
    let others = program
        .ancestors()
        .all(|path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0));
    if !root || !others {
        eprintln!("skipped: only root can run a command as another user, where others may run it");
    }
    root && others
}

pub(crate) async fn as_user(
    user: u32,
    group: u32,
    more: u32,
    program: &str,
    args: &[&str],
) -> Output {
    let ran = Command::new("setpriv")
        .args([format!("--reuid={user}"), format!("--regid={group}")])
        .arg(format!("--groups={more}"))
        .arg(program)
        .args(args)
        .output();
    ran.await.unwrap()
}

/// Every file and folder below one, with itself.
pub(crate) fn all_in(folder: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::from([folder.to_owned()]);
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            all.extend(all_in(&entry.path()));
        } else {
            all.insert(entry.path());
        }
    }
    all
}

/// Gives everything to a user and a group, as an application makes it that keeps others out.
fn give(folder: &Path, user: u32, group_of_folders: u32, group_of_files: u32) {
    for path in all_in(folder) {
        let (group, mode) = if path.is_dir() {
            (group_of_folders, 0o770)
        } else {
            // Files of a group of their own can be read by others, or nobody could work on them.
            let strangers = u32::from(group_of_files != group_of_folders) * 0o004;
            (group_of_files, 0o660 | strangers)
        };
        chown(&path, Some(user), Some(group)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_can_read_what_squire_wrote_as_root_or_as_another_user_of_its_group() {
    if !is_root() {
        return;
    }
    let program = daemon::squire().unwrap();
    let program = program.to_str().unwrap();
    for (user, group, more) in [(0, 0, 0), (SQUIRE, SQUIRE, DATA), (SQUIRE, DATA, DATA)] {
        let site = Site::new();
        let (root, uri) = (site.path("lake"), site.uri("lake"));
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(site.path(""), open).unwrap();
        fragmented(&root, "t", 6).await;
        plain::index_ids(&root, "t").await.unwrap();
        give(&root, APP, DATA, DATA);
        let before = all_in(&root);
        for args in [["compact", &uri], ["index", &uri]] {
            let ran: Ran = as_user(user, group, more, program, &args).await.into();
            assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        }
        let new: Vec<_> = all_in(&root).difference(&before).cloned().collect();
        assert!(!new.is_empty());
        for path in new {
            let found = fs::metadata(&path).unwrap();
            let told = format!("{} as {user}:{group}: {found:?}", path.display());
            assert_eq!(found.gid(), DATA, "{told}");
            let expected = if path.is_dir() { 0o770 } else { 0o660 };
            assert_eq!(found.mode() & 0o7777, expected, "{told}");
            let read = if path.is_dir() { "ls" } else { "cat" };
            let path = path.to_str().unwrap();
            let read = as_user(APP, APP, DATA, read, &[path]).await;
            assert!(read.status.success(), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_when_the_application_could_not_read_what_the_daemon_writes() {
    if !is_root() {
        return;
    }
    let program = daemon::squire().unwrap();
    let program = program.to_str().unwrap();
    let site = Site::new();
    let root = site.path("lake");
    fragmented(&root, "t", 2).await;
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let config = site.write(
        "squire.toml",
        format!(
            "[daemon]\nlisten = '127.0.0.1:0'\n[[target]]\nname = 'lake'\nuri = '{}'\n",
            site.uri("lake")
        ),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let check = ["check", "--config", &config, "--probe"];
    // The folders are of a group that the application is not in.
    give(&root, APP, DATA, APP);
    let before = all_in(&root);
    let ran: Ran = as_user(SQUIRE, SQUIRE, DATA, program, &check).await.into();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let says = ["could not read it", &format!("chgrp -R {APP}")];
    let all = format!("{}{}", ran.out, ran.err)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(says.iter().all(|part| all.contains(part)), "{all}");
    give(&root, APP, DATA, DATA);
    done(as_user(SQUIRE, SQUIRE, DATA, program, &check).await.into());
    assert_eq!(all_in(&root), before, "nothing stays of it");
}
