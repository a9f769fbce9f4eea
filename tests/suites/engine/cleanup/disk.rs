//! Tables on a real disk, whose clients call them by other names than Squire does: nothing that a branch or a clone reads
//! may go, whatever path it was made by.

use std::{path::PathBuf, sync::Arc};

use lance::{
    Dataset,
    dataset::{InsertBuilder, WriteMode, WriteParams},
};
use squire_engine::{
    Cleaned, CleanupPreview, Directory, DirectoryOptions, Error, Kept, TableKey,
    planner::{
        Ask,
        cleanup::{CleanupPolicy, Reason, Skip},
    },
};
use squire_tests::{
    flights::flights,
    stranger::Stranger,
    torn::{Tear, newest_manifest, tear_newest_manifest},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{done, greedy};

/// A directory on disk, as an application has it.
pub(super) struct Lake {
    dir: TempDir,
}

impl Lake {
    pub(super) fn new() -> Self {
        let lake = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(lake.root()).unwrap();
        lake
    }

    pub(super) fn root(&self) -> PathBuf {
        // What a client gives may differ; this is what Squire is given.
        self.dir.path().join("lake")
    }

    pub(super) fn folder(&self, table: &str) -> PathBuf {
        self.root().join(format!("{table}.lance"))
    }

    /// Every way in which a client may call the root.
    pub(super) fn aliases(&self) -> Vec<String> {
        let root = self.root();
        let link = self.dir.path().join("link");
        if !link.exists() {
            std::os::unix::fs::symlink(&root, &link).unwrap();
        }
        let here = std::env::current_dir().unwrap();
        let up = "../".repeat(here.components().count() - 1);
        let absolute = root.to_str().unwrap();
        vec![
            absolute.to_owned(),
            format!("file://{absolute}"),
            format!("{up}{}", absolute.trim_start_matches('/')),
            link.to_str().unwrap().to_owned(),
        ]
    }

    /// A table of so many versions, of 20 rows each, made by this name of the root.
    pub(super) async fn table(&self, alias: &str, table: &str, versions: i32) -> Stranger {
        let folder = format!("{table}.lance");
        let mut stranger = Stranger::create(alias, &folder, flights(0, 20)).await;
        for n in 1..versions {
            stranger.append(flights(n, 20)).await;
        }
        stranger
    }

    pub(super) async fn open(&self) -> Directory {
        let root = self.root();
        let opened = Directory::open(root.to_str().unwrap(), DirectoryOptions::default());
        opened.await.unwrap()
    }

    pub(super) async fn clean(
        &self,
        table: &str,
        policy: &CleanupPolicy,
    ) -> Result<Cleaned, Error> {
        let (key, stop) = (TableKey::of_directory(table), CancellationToken::new());
        let directory = self.open().await;
        directory.cleanup(&key, policy, &Ask::forced(), &stop).await
    }

    pub(super) async fn preview(&self, table: &str) -> CleanupPreview {
        let (key, directory) = (TableKey::of_directory(table), self.open().await);
        let (policy, ask) = (greedy(), Ask::forced());
        let preview = directory.explain_cleanup(&key, &policy, &ask).await;
        preview.unwrap()
    }

    pub(super) async fn versions(&self, table: &str) -> Vec<u64> {
        let (key, directory) = (TableKey::of_directory(table), self.open().await);
        let versions = directory.versions(&key).await.unwrap();
        versions.into_iter().map(|v| v.version).collect()
    }
}

/// Rows that are read in full.
pub(super) async fn rows(dataset: &Dataset) -> lance::Result<usize> {
    let batch = dataset.scan().try_into_batch().await?;
    Ok(batch.num_rows())
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_outlive_a_cleanup_whatever_path_their_client_opened() {
    for n in 0..Lake::new().aliases().len() {
        let lake = Lake::new();
        let alias = &lake.aliases()[n];
        let mut main = lake.table(alias, "t", 5).await;
        let mut source = main.dataset().clone();
        let mut branch = source.create_branch("exp", 3, None).await.unwrap();
        let inner = branch.create_branch("inner", ("exp", 3), None).await;
        main.compact().await;
        main.overwrite(flights(9, 20)).await;
        done(lake.clean("t", &greedy()).await.unwrap());
        let versions = lake.versions("t").await;
        assert_eq!(versions, [3, *versions.last().unwrap()], "{alias}");
        let fresh = Dataset::open(lake.folder("t").to_str().unwrap())
            .await
            .unwrap();
        for name in ["exp", "inner"] {
            let branch = fresh.checkout_version((name, None)).await.unwrap();
            assert_eq!(rows(&branch).await.unwrap(), 60, "{name} by {alias}");
        }
        drop(inner);
        assert_eq!(rows(main.dataset()).await.unwrap(), 20);
    }
}

/// The lake at another place, as in a container.
struct Mount(PathBuf);

impl Mount {
    /// Nothing where this machine does not allow it.
    fn of(lake: &Lake) -> Option<Self> {
        let at = lake.dir.path().join("mounted");
        std::fs::create_dir(&at).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.arg("--bind").arg(lake.root()).arg(&at).output();
        let done = mounted.is_ok_and(|mounted| mounted.status.success());
        done.then_some(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let ended = std::process::Command::new("umount").arg(&self.0).status();
        assert!(
            ended.is_ok_and(|ended| ended.success()),
            "it is mounted still"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_clones_outlive_a_cleanup_when_their_client_has_a_mount_of_its_own() {
    let lake = Lake::new();
    let Some(mount) = Mount::of(&lake) else {
        eprintln!("skipped: this machine does not allow bind mounts");
        return;
    };
    let alias = mount.0.to_str().unwrap();
    let mut main = lake.table(alias, "t", 5).await;
    let mut source = main.dataset().clone();
    source.create_branch("exp", 2, None).await.unwrap();
    let uri = format!("{alias}/copy.lance");
    source.shallow_clone(&uri, 3_u64, None).await.unwrap();
    main.compact().await;
    main.overwrite(flights(9, 20)).await;
    assert!(done(lake.clean("t", &greedy()).await.unwrap()).versions >= 4);
    let branch = Stranger::at(alias, "t.lance").await;
    let branch = branch.dataset().checkout_branch("exp").await.unwrap();
    assert_eq!(rows(&branch).await.unwrap(), 40);
    let copy = Dataset::open(&uri).await.unwrap();
    assert_eq!(rows(&copy).await.unwrap(), 60);
}

/// A client's own cleanup has removed the version that a branch began at, and its files are in later versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_whose_beginning_is_gone_keeps_the_versions_that_have_its_files() {
    let lake = Lake::new();
    let alias = lake.aliases()[0].clone();
    let mut main = lake.table(&alias, "t", 5).await;
    let mut source = main.dataset().clone();
    source.create_branch("exp", 3, None).await.unwrap();
    main.compact().await;
    main.append(flights(7, 20)).await;
    let manifest = format!("_versions/{}.manifest", u64::MAX - 3);
    std::fs::remove_file(lake.folder("t").join(manifest)).unwrap();
    done(lake.clean("t", &greedy()).await.unwrap());
    let fresh = Dataset::open(lake.folder("t").to_str().unwrap())
        .await
        .unwrap();
    let branch = fresh.checkout_version(("exp", None)).await.unwrap();
    assert_eq!(rows(&branch).await.unwrap(), 60);
    let kept = lake.preview("t").await.kept;
    assert!(
        kept.iter()
            .any(|k| matches!(k, Kept::Orphan { branch, .. } if branch == "exp")),
        "{kept:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_reads_stays_whatever_path_it_was_made_by_and_the_rest_goes() {
    for n in 0..Lake::new().aliases().len() {
        let lake = Lake::new();
        let alias = &lake.aliases()[n];
        let mut main = lake.table(alias, "t", 6).await;
        let mut source = main.dataset().clone();
        let uri = format!("{alias}/copy.lance");
        source.shallow_clone(&uri, 3_u64, None).await.unwrap();
        main.compact().await;
        main.overwrite(flights(9, 20)).await;
        let kept = lake.preview("t").await.kept;
        let clone = Kept::Clone {
            table: TableKey::of_directory("copy"),
            versions: Some(vec![7]),
        };
        assert!(kept.contains(&clone), "{alias}: {kept:?}");
        let receipt = done(lake.clean("t", &greedy()).await.unwrap());
        assert!(receipt.versions >= 5, "{alias}: {receipt:?}");
        let copy = Dataset::open(lake.folder("copy").to_str().unwrap())
            .await
            .unwrap();
        assert_eq!(rows(&copy).await.unwrap(), 60, "{alias}");
        // Once the clone is gone, so is its claim.
        std::fs::remove_dir_all(lake.folder("copy")).unwrap();
        done(lake.clean("t", &greedy()).await.unwrap());
        assert_eq!(lake.versions("t").await.len(), 1);
    }
}

/// Its source is another directory's table of the same name: nothing of this one is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_of_a_table_elsewhere_keeps_nothing_of_its_namesake_here() {
    let (elsewhere, lake) = (Lake::new(), Lake::new());
    let other = elsewhere.table(&elsewhere.aliases()[0], "t", 3).await;
    let alias = lake.aliases()[0].clone();
    lake.table(&alias, "t", 6).await;
    let uri = format!("{alias}/copy.lance");
    other
        .dataset()
        .clone()
        .shallow_clone(&uri, 2_u64, None)
        .await
        .unwrap();
    done(lake.clean("t", &greedy()).await.unwrap());
    assert_eq!(lake.versions("t").await, [6]);
}

/// It was made after the look of an earlier cleanup.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_was_made_a_moment_ago_is_seen() {
    let lake = Lake::new();
    let alias = lake.aliases()[0].clone();
    let mut main = lake.table(&alias, "t", 6).await;
    let (directory, stop) = (lake.open().await, CancellationToken::new());
    let key = TableKey::of_directory("t");
    let generous = CleanupPolicy {
        keep_versions: 4,
        ..greedy()
    };
    let ask = Ask::forced();
    done(
        directory
            .cleanup(&key, &generous, &ask, &stop)
            .await
            .unwrap(),
    );
    let mut source = main.dataset().clone();
    let uri = format!("{alias}/copy.lance");
    source.shallow_clone(&uri, 4_u64, None).await.unwrap();
    main.overwrite(flights(9, 20)).await;
    done(
        directory
            .cleanup(&key, &greedy(), &ask, &stop)
            .await
            .unwrap(),
    );
    let copy = Dataset::open(lake.folder("copy").to_str().unwrap())
        .await
        .unwrap();
    assert_eq!(rows(&copy).await.unwrap(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_table_fails_by_itself_and_every_other_one_is_cleaned() {
    for how in Tear::ALL {
        let lake = Lake::new();
        let alias = lake.aliases()[0].clone();
        for name in ["a", "torn", "z"] {
            lake.table(&alias, name, 6).await;
        }
        tear_newest_manifest(&lake.folder("torn"), how).unwrap();
        for name in ["a", "z"] {
            done(lake.clean(name, &greedy()).await.unwrap());
            assert_eq!(lake.versions(name).await, [6], "{how:?}");
        }
        let before = lake.versions("torn").await;
        let failed = lake.clean("torn", &greedy()).await.unwrap_err();
        let told = failed.to_string();
        assert!(told.contains("torn"), "{how:?}: {told}");
        assert_eq!(lake.versions("torn").await, before, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_clone_keeps_what_it_is_a_clone_of_and_nothing_else() {
    for how in Tear::ALL {
        let lake = Lake::new();
        let alias = lake.aliases()[0].clone();
        let mut main = lake.table(&alias, "t", 6).await;
        lake.table(&alias, "other", 6).await;
        let mut source = main.dataset().clone();
        let uri = format!("{alias}/copy.lance");
        let mut copy = source.shallow_clone(&uri, 3_u64, None).await.unwrap();
        copy.delete("day = 0").await.unwrap();
        main.overwrite(flights(9, 20)).await;
        tear_newest_manifest(&lake.folder("copy"), how).unwrap();
        assert_eq!(
            lake.clean("t", &greedy()).await.unwrap(),
            Cleaned::Skipped(Skip::Protected),
            "{how:?}"
        );
        let kept = lake.preview("t").await.kept;
        let is_named =
            |kept: &Kept| matches!(kept, Kept::Unreadable { table, .. } if table.name() == "copy");
        assert!(kept.iter().any(is_named), "{how:?}: {kept:?}");
        done(lake.clean("other", &greedy()).await.unwrap());
        // The version before the torn one can be read as before.
        let torn = newest_manifest(&lake.folder("copy")).unwrap();
        std::fs::remove_file(torn).unwrap();
        let copy = Dataset::open(lake.folder("copy").to_str().unwrap())
            .await
            .unwrap();
        assert_eq!(rows(&copy).await.unwrap(), 60, "{how:?}");
    }
}

/// Files of writes that were given up, so many days ago.
async fn abandon(table: &Stranger, days: u64) -> Vec<PathBuf> {
    let folder = PathBuf::from(table.dataset().uri());
    let files = || {
        let entries = std::fs::read_dir(folder.join("data")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let before = files();
    let params = WriteParams {
        mode: WriteMode::Append,
        ..WriteParams::default()
    };
    InsertBuilder::new(Arc::new(table.dataset().clone()))
        .with_params(&params)
        .execute_uncommitted(vec![flights(50, 20)])
        .await
        .unwrap();
    let new: Vec<_> = files()
        .into_iter()
        .filter(|f| !before.contains(f))
        .collect();
    assert_eq!(new.len(), 1);
    let then = std::time::SystemTime::from(chrono::Utc::now())
        - std::time::Duration::from_secs(days * 24 * 3600);
    for path in &new {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_version_names_go_after_seven_days_although_no_version_goes() {
    let lake = Lake::new();
    let table = lake.table(&lake.aliases()[0], "t", 3).await;
    let (directory, key) = (lake.open().await, TableKey::of_directory("t"));
    let young = abandon(&table, 6).await;
    assert!(!directory.has_left_over_files(&key).await.unwrap());
    let generous = CleanupPolicy {
        keep_versions: 10,
        ..greedy()
    };
    let retained = Cleaned::Skipped(Skip::Retained);
    assert_eq!(lake.clean("t", &generous).await.unwrap(), retained);
    let old = abandon(&table, 8).await;
    assert!(directory.has_left_over_files(&key).await.unwrap());
    let receipt = done(lake.clean("t", &generous).await.unwrap());
    assert_eq!((receipt.reason, receipt.versions), (Reason::LeftOver, 0));
    assert_eq!(receipt.files, 1);
    assert!(young[0].exists() && !old[0].exists());
    assert_eq!(lake.versions("t").await, [1, 2, 3]);
    assert!(!directory.has_left_over_files(&key).await.unwrap());
}

/// A client's own cleanup has removed the version that the clone was made of, and left its files.
#[tokio::test(flavor = "multi_thread")]
async fn old_files_that_a_clone_reads_stay_although_no_version_names_them() {
    let lake = Lake::new();
    let alias = lake.aliases()[0].clone();
    let mut main = lake.table(&alias, "t", 3).await;
    let mut source = main.dataset().clone();
    let uri = format!("{alias}/copy.lance");
    source.shallow_clone(&uri, 2_u64, None).await.unwrap();
    main.overwrite(flights(9, 20)).await;
    for version in 1..=3 {
        let manifest = format!("_versions/{}.manifest", u64::MAX - version);
        std::fs::remove_file(lake.folder("t").join(manifest)).unwrap();
    }
    let month = std::time::Duration::from_secs(30 * 24 * 3600);
    for entry in std::fs::read_dir(lake.folder("t").join("data")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::from(chrono::Utc::now()) - month)
            .unwrap();
    }
    main.append(flights(10, 20)).await;
    let protected = Cleaned::Skipped(Skip::Protected);
    assert_eq!(lake.clean("t", &greedy()).await.unwrap(), protected);
    let copy = Dataset::open(lake.folder("copy").to_str().unwrap())
        .await
        .unwrap();
    assert_eq!(rows(&copy).await.unwrap(), 40);
}
