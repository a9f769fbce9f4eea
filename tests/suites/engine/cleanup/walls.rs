//! What a folder on a disk cannot make Squire do, whatever lies in it: nothing outside of the target changes, and good
//! tables are kept.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, symlink},
    },
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use squire_engine::{
    AccessDenied, Beyond, Cleaned, Compacted, Directory, DirectoryOptions, Error, Kept, TableKey,
    planner::{
        Ask,
        cleanup::Skip,
        compaction::{self, CompactionPolicy},
    },
};
use squire_tests::{
    flights::flights,
    hostile::{self, Around, FOLDERS, Hostile},
};
use tokio_util::sync::CancellationToken;

use super::{disk::Lake, done, greedy};

fn key(table: &str) -> TableKey {
    TableKey::of_directory(table)
}

/// A folder beside the target, which nobody may change.
fn precious(lake: &Lake) -> PathBuf {
    hostile::precious(lake.root().parent().unwrap())
}

async fn open(lake: &Lake, beyond: Beyond) -> Directory {
    let options = DirectoryOptions {
        beyond,
        ..DirectoryOptions::default()
    };
    Directory::open(lake.root().to_str().unwrap(), options)
        .await
        .unwrap()
}

async fn compact(directory: &Directory, table: &str) -> Result<Compacted, Error> {
    let (key, policy, ask) = (key(table), CompactionPolicy::default(), Ask::forced());
    let stop = CancellationToken::new();
    directory.compact(&key, &policy, &ask, &stop).await
}

async fn clean(directory: &Directory, table: &str) -> Result<Cleaned, Error> {
    let (key, policy, ask) = (key(table), greedy(), Ask::forced());
    let stop = CancellationToken::new();
    directory.cleanup(&key, &policy, &ask, &stop).await
}

fn is_wall(e: &Error, link: &Path) -> bool {
    matches!(e, Error::AccessDenied { reason: AccessDenied::Link { path, .. }, .. } if path == link)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_folder_of_a_table_that_is_a_link_leads_out_of_the_target() {
    for folder in FOLDERS {
        let lake = Lake::new();
        let alias = &lake.aliases()[0];
        lake.table(alias, "t", 5).await;
        lake.table(alias, "good", 5).await;
        let outside = precious(&lake);
        let place = lake.folder("t").join(folder);
        if place.exists() {
            // It is moved to another disk, as it were.
            fs::rename(&place, outside.join(folder)).unwrap();
            symlink(outside.join(folder), &place).unwrap();
        } else {
            symlink(&outside, &place).unwrap();
        }
        let before = Around::of(&outside);
        let directory = lake.open().await;
        let refused = [
            directory.stats(&key("t")).await.err(),
            compact(&directory, "t").await.err(),
            clean(&directory, "t").await.err(),
            directory.has_left_over_files(&key("t")).await.err(),
        ];
        let real = place.parent().unwrap().canonicalize().unwrap().join(folder);
        for error in refused {
            let error = error.unwrap_or_else(|| panic!("{folder} was followed"));
            assert!(is_wall(&error, &real), "{folder}: {error}");
            assert!(error.to_string().contains("follow_links"), "{error}");
        }
        assert!(matches!(
            compact(&directory, "good").await,
            Ok(Compacted::Done(_))
        ));
        let cleaned = clean(&directory, "good").await.unwrap();
        // What cannot be read may be a clone.
        let protected = matches!(cleaned, Cleaned::Skipped(Skip::Protected));
        assert!(
            protected == (folder == "_versions"),
            "{folder}: {cleaned:?}"
        );
        before.assert_same(folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_deeper_in_a_table_refuses_its_cleanup_and_no_other() {
    for place in [
        "data/last.lance",
        "data/more",
        "_versions/9.manifest",
        "_refs/tags/x.json",
    ] {
        let lake = Lake::new();
        let alias = &lake.aliases()[0];
        lake.table(alias, "t", 5).await;
        lake.table(alias, "good", 5).await;
        let (outside, link) = (precious(&lake), lake.folder("t").join(place));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside, &link).unwrap();
        let before = Around::of(&outside);
        let error = lake.clean("t", &greedy()).await.unwrap_err();
        assert!(
            error.to_string().contains("is a symbolic link to"),
            "{place}: {error}"
        );
        before.assert_same(place);
        assert!(link.symlink_metadata().is_ok(), "{place}");
        let others = lake.clean("good", &greedy()).await;
        let protected = matches!(others, Ok(Cleaned::Skipped(Skip::Protected)));
        assert!(
            protected == place.starts_with("_versions"),
            "{place}: {others:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_allowed_is_followed_and_no_other() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    let mut writer = lake.table(alias, "t", 5).await;
    let disk = lake.root().parent().unwrap().join("disk");
    fs::create_dir_all(&disk).unwrap();
    let data = lake.folder("t").join("data");
    fs::rename(&data, disk.join("data")).unwrap();
    symlink(disk.join("data"), &data).unwrap();
    let follow = |folder: &Path| Beyond {
        follow_links: vec![folder.to_owned()],
        ..Beyond::default()
    };
    let other = open(&lake, follow(&precious(&lake))).await;
    assert!(is_wall(
        &compact(&other, "t").await.unwrap_err(),
        &data.parent().unwrap().canonicalize().unwrap().join("data")
    ));
    let directory = open(&lake, follow(&disk)).await;
    assert!(matches!(
        compact(&directory, "t").await,
        Ok(Compacted::Done(_))
    ));
    writer.append(flights(9, 20)).await;
    assert!(done(clean(&directory, "t").await.unwrap()).versions > 0);
    assert_eq!(fs::read_dir(disk.join("data")).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_share_a_folder_are_never_cleaned() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    lake.table(alias, "a", 5).await;
    let copied = std::process::Command::new("cp")
        .args(["-a", lake.folder("a").to_str().unwrap()])
        .arg(lake.folder("b"))
        .status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(lake.folder("b").join("data")).unwrap();
    symlink("../a.lance/data", lake.folder("b").join("data")).unwrap();
    let beyond = Beyond {
        follow_links: vec![lake.root()],
        ..Beyond::default()
    };
    let directory = open(&lake, beyond).await;
    let before = Around::of(&lake.folder("a").join("data"));
    for table in ["a", "b"] {
        compact(&directory, table).await.unwrap();
        let cleaned = clean(&directory, table).await.unwrap();
        assert!(
            matches!(cleaned, Cleaned::Skipped(Skip::Protected)),
            "{table}: {cleaned:?}"
        );
        let (key, ask) = (key(table), Ask::forced());
        let preview = directory.explain_cleanup(&key, &greedy(), &ask).await;
        let kept = preview.unwrap().kept;
        let shared =
            |k: &Kept| matches!(k, Kept::Shared { folder, .. } if folder.ends_with("data"));
        assert!(kept.iter().any(shared), "{kept:?}");
    }
    assert_eq!(before.changed(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_of_the_target_is_passed_over_and_the_tables_are_kept() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    lake.table(alias, "good", 12).await;
    let elsewhere = lake.root().parent().unwrap().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    squire_tests::stranger::Stranger::create(
        elsewhere.to_str().unwrap(),
        "real.lance",
        flights(0, 5),
    )
    .await;
    symlink(elsewhere.join("real.lance"), lake.folder("linked")).unwrap();
    symlink("self", lake.root().join("self")).unwrap();
    fs::create_dir(lake.root().join("x\ty.lance")).unwrap();
    fs::create_dir(lake.root().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    fs::create_dir(lake.folder("good").join("data/a\nb")).unwrap();
    let before = Around::of(&elsewhere);
    let directory = lake.open().await;
    assert_eq!(directory.tables().await.unwrap(), [key("good")]);
    assert!(matches!(
        compact(&directory, "good").await,
        Ok(Compacted::Done(_))
    ));
    assert!(done(clean(&directory, "good").await.unwrap()).versions > 0);
    before.assert_same("elsewhere");
    let passed = squire_engine::passed_over(directory.uri());
    assert_eq!(passed.values().sum::<u64>(), 5, "{passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_in_place_of_a_data_file_is_an_error_at_once() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    lake.table(alias, "t", 4).await;
    let data = lake.folder("t").join("data");
    let file = fs::read_dir(&data).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    assert!(file.symlink_metadata().unwrap().file_type().is_fifo());
    let compacted = compact(&lake.open().await, "t").await;
    let told = format!("{compacted:?}");
    assert!(told.contains("FIFO"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_too_large_is_its_tables_error_before_it_is_read() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    let writer = lake.table(alias, "t", 4).await;
    lake.table(alias, "good", 4).await;
    let versions = lake.folder("t").join("_versions");
    let newest = u64::MAX - writer.version() - 1;
    let sparse = fs::File::create(versions.join(format!("{newest:020}.manifest"))).unwrap();
    sparse.set_len(3 << 30).unwrap();
    let directory = lake.open().await;
    let error = directory.stats(&key("t")).await.unwrap_err();
    let too_large = |e: &Error| {
        matches!(
            e,
            Error::AccessDenied {
                reason: AccessDenied::TooLarge { .. },
                ..
            }
        )
    };
    assert!(too_large(&error), "{error}");
    assert!(too_large(&compact(&directory, "t").await.unwrap_err()));
    assert!(matches!(
        compact(&directory, "good").await,
        Ok(Compacted::Done(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_outside_are_not_copied_into_the_target_unless_it_is_allowed() {
    let lake = Lake::new();
    let alias = &lake.aliases()[0];
    let payroll = lake.root().parent().unwrap().join("payroll");
    fs::create_dir(&payroll).unwrap();
    let (payroll, folder) = (payroll.to_str().unwrap(), "secret.lance");
    let mut source =
        squire_tests::stranger::Stranger::create(payroll, folder, flights(0, 20)).await;
    for n in 1..4 {
        source.append(flights(n, 20)).await;
    }
    let uri = format!("{alias}/clone.lance");
    let mut dataset = source.dataset().clone();
    dataset.shallow_clone(&uri, 4_u64, None).await.unwrap();
    let directory = lake.open().await;
    let outside = Compacted::Skipped(compaction::Skip::BaseOutside);
    assert_eq!(compact(&directory, "clone").await.unwrap(), outside);
    let stats = directory.stats(&key("clone")).await.unwrap();
    assert!(
        stats.refusals.iter().any(|r| r.contains("allow_bases")),
        "{stats:?}"
    );
    let mut own = squire_tests::stranger::Stranger::at(alias, "clone.lance").await;
    for n in 5..8 {
        own.append(flights(n, 20)).await;
    }
    let compacted = compact(&directory, "clone").await.unwrap();
    assert!(
        matches!(compacted, Compacted::Done(_)),
        "its own rows are: {compacted:?}"
    );
    let data = lake.folder("clone").join("data");
    let before = fs::read_dir(&data).unwrap().count();
    let allowed = Beyond {
        allow_bases: vec![payroll.to_owned()],
        ..Beyond::default()
    };
    let before_outside = Around::of(Path::new(payroll));
    let compacted = compact(&open(&lake, allowed).await, "clone").await.unwrap();
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    assert!(fs::read_dir(&data).unwrap().count() > before);
    before_outside.assert_same("payroll");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lies_in_a_target_nothing_outside_changes_and_a_good_table_is_kept() {
    for seed in 0..hostile::trees(12) {
        let mut dice = StdRng::seed_from_u64(seed);
        let lake = Lake::new();
        let alias = &lake.aliases()[0];
        lake.table(alias, "bad", 3).await;
        lake.table(alias, "good", 4).await;
        let outside = precious(&lake);
        let root = lake.root();
        let folder = Hostile {
            root: &root,
            outside: &outside,
        };
        for round in 0..dice.random_range(1..5) {
            folder.spoil(&mut dice, round);
        }
        let before = Around::without(root.parent().unwrap(), &root);
        let directory = lake.open().await;
        let tables = directory.tables().await.unwrap();
        assert!(tables.contains(&key("good")), "seed {seed}: {tables:?}");
        for table in &tables {
            let name = table.name();
            let results = [
                compact(&directory, name).await.err(),
                clean(&directory, name).await.err(),
                directory.has_left_over_files(table).await.err(),
            ];
            let failed: Vec<_> = results.into_iter().flatten().collect();
            assert!(
                name != "good" || failed.is_empty(),
                "seed {seed}: {failed:?}"
            );
        }
        let good = directory.stats(&key("good")).await.unwrap();
        assert_eq!(good.fragments.len(), 1, "seed {seed}");
        before.assert_same(&format!("seed {seed}"));
    }
}
