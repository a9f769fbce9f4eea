//! What the store promises of a disk.
#![allow(clippy::single_range_in_vec_init, reason = "one range is asked for")]

use std::{
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectStore as Store, ObjectStoreExt, PutMode, PutOptions, WriteMultipart,
    local::LocalFileSystem,
};
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};

use super::{store::LocalStore, *};

/// A target with a table, and a folder beside it that must not be touched.
struct Scene {
    _dir: tempfile::TempDir,
    top: PathBuf,
    store: LocalStore,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for folder in ["db/t.lance/data", "db/t.lance/_versions", "precious/deep"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        for file in [
            "db/t.lance/data/a.lance",
            "db/t.lance/_versions/1.manifest",
            "precious/a.lance",
            "precious/deep/b.lance",
        ] {
            std::fs::write(top.join(file), file).unwrap();
        }
        let boundary = Boundary {
            root: top.join("db"),
            follow: Vec::new(),
            bases: Vec::new(),
        };
        Self {
            _dir: dir,
            store: LocalStore { boundary },
            top,
        }
    }

    fn at(&self, below: &str) -> PathBuf {
        self.top.join(below)
    }

    fn path(&self, below: &str) -> Path {
        Path::from_absolute_path(self.at(below)).unwrap()
    }

    async fn listed(&self, below: &str) -> object_store::Result<Vec<String>> {
        let found = self.store.list(Some(&self.path(below)));
        let found: Vec<_> = found.try_collect().await?;
        let top = self.path("");
        let mut names: Vec<_> = found
            .into_iter()
            .map(|o| {
                let parts = o.location.prefix_match(&top).unwrap();
                let parts: Vec<_> = parts.map(|p| p.as_ref().to_owned()).collect();
                parts.join("/")
            })
            .collect();
        names.sort();
        Ok(names)
    }

    /// What must be there whatever happens.
    fn assert_untouched(&self) {
        for file in ["precious/a.lance", "precious/deep/b.lance"] {
            let text = std::fs::read_to_string(self.at(file));
            assert_eq!(text.ok().as_deref(), Some(file));
        }
        let names: Vec<_> = std::fs::read_dir(self.at("precious")).unwrap().collect();
        assert_eq!(names.len(), 2, "nothing came");
    }
}

fn denied(e: StoreError) -> AccessDenied {
    match AccessDenied::behind(&e) {
        Some(denied) => denied.clone(),
        None => panic!("{e}"),
    }
}

#[tokio::test]
async fn what_is_written_is_read_back_listed_and_told_apart_as_it_always_was() {
    let scene = Scene::new();
    let path = scene.path("db/new.lance/_indices/id/x.idx");
    let put = scene.store.put(&path, "rows".into()).await.unwrap();
    let head = scene.store.head(&path).await.unwrap();
    assert_eq!(put.e_tag, head.e_tag);
    let reference = LocalFileSystem::new();
    let before = reference.head(&path).await.unwrap();
    assert_eq!((&before.e_tag, before.size), (&head.e_tag, head.size));
    assert_eq!(before.last_modified, head.last_modified);
    let root = scene.path("db");
    for prefix in [
        None,
        Some("t.lance"),
        Some("none"),
        Some("t.lance/data/a.lance"),
    ] {
        let prefix = prefix.map_or_else(|| root.clone(), |p| root.clone().join(p));
        let prefix = Path::parse(prefix.as_ref().replace("%2F", "/")).unwrap();
        let mut ours: Vec<_> = scene.store.list(Some(&prefix)).try_collect().await.unwrap();
        let mut theirs: Vec<_> = reference.list(Some(&prefix)).try_collect().await.unwrap();
        ours.sort_by(|a, b| a.location.cmp(&b.location));
        theirs.sort_by(|a, b| a.location.cmp(&b.location));
        assert_eq!(ours, theirs, "{prefix}");
        let ours = scene
            .store
            .list_with_delimiter(Some(&prefix))
            .await
            .unwrap();
        let theirs = reference.list_with_delimiter(Some(&prefix)).await;
        let theirs = theirs.unwrap();
        assert_eq!(ours.common_prefixes, theirs.common_prefixes, "{prefix}");
        assert_eq!(ours.objects.len(), theirs.objects.len(), "{prefix}");
    }
    let read = scene.store.get_ranges(&path, &[1..3, 0..4, 2..2]).await;
    assert_eq!(read.unwrap(), ["ow", "rows", ""]);
    assert_eq!(scene.store.get_range(&path, 1..2).await.unwrap(), "o");
    let beyond = scene.store.get_ranges(&path, &[0..1 << 60]).await;
    assert!(beyond.is_err(), "and no memory is taken for it");
    let offset = scene.path("db/t.lance/_versions/1.manifest");
    let later = scene.store.list_with_offset(Some(&root), &offset);
    let later: Vec<_> = later.try_collect().await.unwrap();
    assert_eq!(later.len(), 1);
}

#[tokio::test]
async fn a_file_is_created_once_and_replaced_moved_and_removed_as_a_whole() {
    let scene = Scene::new();
    let (path, other) = (scene.path("db/t.lance/x"), scene.path("db/u.lance/y"));
    let create = || PutOptions::from(PutMode::Create);
    scene
        .store
        .put_opts(&path, "1".into(), create())
        .await
        .unwrap();
    let again = scene.store.put_opts(&path, "2".into(), create()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(
        scene.store.get(&path).await.unwrap().bytes().await.unwrap(),
        "1"
    );
    scene.store.put(&path, "2".into()).await.unwrap();
    scene.store.copy(&path, &other).await.unwrap();
    scene.store.copy(&path, &other).await.unwrap();
    let exists = scene.store.copy_if_not_exists(&path, &other).await;
    assert!(matches!(exists, Err(StoreError::AlreadyExists { .. })));
    let exists = scene.store.rename_if_not_exists(&path, &other).await;
    assert!(matches!(exists, Err(StoreError::AlreadyExists { .. })));
    scene.store.rename(&path, &other).await.unwrap();
    assert!(matches!(
        scene.store.head(&path).await,
        Err(StoreError::NotFound { .. })
    ));
    scene
        .store
        .rename_if_not_exists(&other, &path)
        .await
        .unwrap();
    let upload = scene.store.put_multipart(&other).await.unwrap();
    let mut upload = WriteMultipart::new_with_chunk_size(upload, 3);
    upload.write(b"many small parts");
    assert_eq!(
        scene.listed("db/u.lance").await.unwrap(),
        [""; 0],
        "it is not there yet"
    );
    upload.finish().await.unwrap();
    let read = scene
        .store
        .get(&other)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(read, "many small parts");
    scene.store.delete(&other).await.unwrap();
    assert!(matches!(
        scene.store.delete(&other).await,
        Err(StoreError::NotFound { .. })
    ));
    let mut upload = scene.store.put_multipart(&other).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    upload.abort().await.unwrap();
    drop(scene.store.put_multipart(&other).await.unwrap());
    let left = std::fs::read_dir(scene.at("db/u.lance")).unwrap().count();
    assert_eq!(left, 0, "nothing stays of what was given up");
}

#[tokio::test]
async fn an_upload_into_a_folder_that_was_moved_away_does_not_seem_to_be_there() {
    let scene = Scene::new();
    let path = scene.path("db/t.lance/data/new.lance");
    let mut upload = scene.store.put_multipart(&path).await.unwrap();
    upload.put_part("rows".into()).await.unwrap();
    std::fs::rename(scene.at("db/t.lance/data"), scene.at("db/t.lance/old")).unwrap();
    std::fs::create_dir(scene.at("db/t.lance/data")).unwrap();
    let ended = upload.complete().await;
    assert!(
        matches!(ended, Err(StoreError::NotFound { .. })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn every_request_that_would_go_through_a_link_is_refused() {
    let scene = Scene::new();
    std::fs::remove_dir_all(scene.at("db/t.lance/data")).unwrap();
    symlink("../../precious", scene.at("db/t.lance/data")).unwrap();
    let (store, path) = (&scene.store, scene.path("db/t.lance/data/a.lance"));
    let own = scene.path("db/t.lance/_versions/1.manifest");
    let new = scene.path("db/t.lance/data/more/new");
    let refused = [
        store.head(&path).await.err(),
        store.get_ranges(&path, &[0..1]).await.err(),
        store.put(&path, "x".into()).await.err(),
        store.put(&new, "x".into()).await.err(),
        store.put_multipart(&new).await.err(),
        store.delete(&path).await.err(),
        store.copy(&own, &path).await.err(),
        store.rename(&own, &path).await.err(),
        store.rename(&path, &own).await.err(),
        store.copy_if_not_exists(&path, &new).await.err(),
        scene.listed("db/t.lance/data").await.err(),
        scene.listed("db/t.lance").await.err(),
        scene.listed("db").await.err(),
        store
            .list_with_delimiter(Some(&scene.path("db/t.lance")))
            .await
            .err(),
        store.boundary.survey(&scene.path("db/t.lance")).await.err(),
    ];
    for (place, error) in refused.into_iter().enumerate() {
        let denied = denied(error.unwrap_or_else(|| panic!("request {place}")));
        let AccessDenied::Link { path, to } = denied else {
            panic!("request {place}: {denied}");
        };
        assert!(path.ends_with("db/t.lance/data"), "{place}");
        assert_eq!(to, FsPath::new("../../precious"), "{place}");
    }
    scene.assert_untouched();
}

#[tokio::test]
async fn a_removal_takes_a_link_and_leaves_what_it_leads_to() {
    let scene = Scene::new();
    symlink(scene.at("precious"), scene.at("db/t.lance/extra")).unwrap();
    symlink(
        scene.at("precious/a.lance"),
        scene.at("db/t.lance/data/b.lance"),
    )
    .unwrap();
    symlink("loop", scene.at("db/t.lance/loop")).unwrap();
    let link = scene.path("db/t.lance/data/b.lance");
    scene.store.delete(&link).await.unwrap();
    symlink(scene.at("precious"), scene.at("db/link.lance")).unwrap();
    for table in ["db/t.lance", "db/link.lance", "db/none.lance"] {
        scene
            .store
            .boundary
            .remove_folder(&scene.path(table))
            .await
            .unwrap();
        assert!(scene.at(table).symlink_metadata().is_err(), "{table}");
    }
    scene.assert_untouched();
}

#[tokio::test]
async fn empty_folders_are_removed_and_links_and_files_are_not() {
    let scene = Scene::new();
    std::fs::create_dir(scene.at("precious/empty")).unwrap();
    std::fs::create_dir_all(scene.at("db/late.lance/_versions")).unwrap();
    scene
        .store
        .boundary
        .remove_empty_folders(&scene.path("db/late.lance"))
        .await;
    assert!(!scene.at("db/late.lance").exists());
    std::fs::create_dir_all(scene.at("db/late.lance/data")).unwrap();
    symlink(
        scene.at("precious/empty"),
        scene.at("db/late.lance/_versions"),
    )
    .unwrap();
    scene
        .store
        .boundary
        .remove_empty_folders(&scene.path("db/late.lance"))
        .await;
    assert!(!scene.at("db/late.lance/data").exists());
    symlink(scene.at("precious"), scene.at("db/link.lance")).unwrap();
    scene
        .store
        .boundary
        .remove_empty_folders(&scene.path("db/link.lance"))
        .await;
    assert!(scene.at("precious/empty").exists());
}

/// A folder and a link change places all the time, while what seems to be in the folder is looked at and removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_becomes_a_link_between_look_and_deletion_leads_nowhere() {
    const ROUNDS: usize = 1_000;
    let scene = Scene::new();
    let (folder, link) = (scene.at("db/t.lance/data"), scene.at("db/t.lance/link"));
    symlink("../../precious", &link).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let swapping = {
        let over = over.clone();
        tokio::task::spawn_blocking(move || {
            while !over.load(Ordering::Relaxed) {
                let swap = RenameFlags::EXCHANGE;
                renameat_with(CWD, &folder, CWD, &link, swap).unwrap();
            }
        })
    };
    let mut met = [0, 0];
    for round in 0..ROUNDS {
        let file = scene.path("db/t.lance/data/a.lance");
        let seen = scene.store.head(&file).await.is_ok();
        match scene.store.delete(&file).await {
            Ok(()) => met[0] += 1,
            Err(StoreError::NotFound { .. }) => {}
            // It is a link, or changes all the time.
            Err(_) => met[1] += usize::from(seen || round > 0),
        }
        let below = scene.path("db/t.lance/data/deep/b.lance");
        let _ = scene.store.delete(&below).await;
        let _ = scene.store.put(&file, "rows".into()).await;
        if round % 10 == 0 {
            let tree = scene.path("db/t.lance/data/deep");
            let _ = scene.store.boundary.remove_folder(&tree).await;
            scene.store.boundary.remove_empty_folders(&tree).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    swapping.await.unwrap();
    scene.assert_untouched();
    assert!(met.iter().all(|n| *n > 0), "both were met: {met:?}");
}

#[tokio::test]
async fn what_is_no_regular_file_is_an_error_at_once_and_passed_over_in_lists() {
    let scene = Scene::new();
    let fifo = scene.at("db/t.lance/data/fifo.lance");
    mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o666)).unwrap();
    let socket = scene.at("db/t.lance/data/socket.lance");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for name in ["fifo", "socket"] {
        let path = scene.path(&format!("db/t.lance/data/{name}.lance"));
        let errors = [
            scene.store.get(&path).await.err().unwrap(),
            scene.store.get_ranges(&path, &[0..1]).await.err().unwrap(),
        ];
        for error in errors {
            assert!(
                matches!(denied(error), AccessDenied::NoFile { .. }),
                "{name}"
            );
        }
    }
    let folder = scene.path("db/t.lance/data");
    let none = scene.store.get(&folder).await;
    assert!(matches!(none, Err(StoreError::NotFound { .. })));
    assert_eq!(
        scene.listed("db/t.lance/data").await.unwrap(),
        ["db/t.lance/data/a.lance"]
    );
    let counted = passed_over(scene.at("db").to_str().unwrap());
    assert_eq!(counted.get(&Passed::NoFile), Some(&2));
}

#[tokio::test]
async fn odd_names_links_in_the_root_and_depth_are_passed_over_counted_and_stop_nothing() {
    let scene = Scene::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe.lance");
    for name in [odd, "x\ty.lance".as_ref(), "a\u{9b}b.lance".as_ref()] {
        std::fs::create_dir(scene.at("db").join(name)).unwrap();
        std::fs::write(scene.at("db/t.lance/data").join(name), "x").unwrap();
    }
    symlink("self", scene.at("db/self")).unwrap();
    symlink("../precious", scene.at("db/out.lance")).unwrap();
    let mut deep = scene.at("db/t.lance/data");
    for _ in 0..300 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    let found = scene
        .store
        .list_with_delimiter(Some(&scene.path("db")))
        .await
        .unwrap();
    assert_eq!(found.common_prefixes, [scene.path("db/t.lance")]);
    assert_eq!(scene.listed("db/t.lance").await.unwrap().len(), 2);
    let counted = passed_over(scene.at("db").to_str().unwrap());
    let count = |why| counted.get(&why).copied().unwrap_or(0);
    assert_eq!(
        (
            count(Passed::Name),
            count(Passed::Link),
            count(Passed::TooDeep)
        ),
        (6, 2, 1)
    );
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "what is skipped is said")]
async fn a_time_that_is_no_time_is_never_old_and_ends_no_list() {
    let scene = Scene::new();
    let file = scene.at("db/t.lance/data/a.lance");
    let file = std::fs::File::options().write(true).open(file).unwrap();
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 58);
    if file.set_modified(far).is_err() || file.metadata().unwrap().modified().unwrap() != far {
        eprintln!("skipped in part: this file system keeps no such time");
    }
    let found = scene
        .store
        .head(&scene.path("db/t.lance/data/a.lance"))
        .await
        .unwrap();
    assert!(found.last_modified > chrono::Utc::now());
    assert!(found.last_modified.timestamp() <= disk::LAST);
    assert_eq!(scene.listed("db/t.lance").await.unwrap().len(), 2);
}

#[tokio::test]
async fn tables_that_share_a_folder_are_found_by_what_the_disk_says() {
    let mut scene = Scene::new();
    std::fs::create_dir_all(scene.at("db/u.lance")).unwrap();
    std::fs::create_dir_all(scene.at("db/v.lance/data")).unwrap();
    symlink("../t.lance/data", scene.at("db/u.lance/data")).unwrap();
    let table = scene.path("db/t.lance");
    let others = vec![scene.path("db/v.lance"), scene.path("db/u.lance")];
    let shared = scene.store.boundary.shared(&table, others.clone()).await;
    assert_eq!(
        shared.unwrap(),
        None,
        "a link that is not followed shares nothing"
    );
    scene.store.boundary.follow = vec![scene.at("db/t.lance")];
    let shared = scene.store.boundary.shared(&table, others).await;
    let expected = (1, scene.at("db/t.lance/data"));
    assert_eq!(shared.unwrap(), Some(expected));
}

#[tokio::test]
async fn no_store_is_opened_without_walls_under_any_name_of_a_local_disk() {
    let scene = Scene::new();
    let registry = crate::storage::REGISTRY.clone();
    for scheme in SCHEMES {
        let uri = format!("{scheme}://{}", scene.at("precious").display());
        let bare = ObjectStoreParams::default();
        let opened = ObjectStore::from_uri_and_params(registry.clone(), &uri, &bare).await;
        assert!(opened.is_err(), "{uri}");
        let within = ObjectStoreParams {
            storage_options_accessor: Some(scene.store.boundary.accessor().unwrap()),
            ..ObjectStoreParams::default()
        };
        let opened = ObjectStore::from_uri_and_params(registry.clone(), &uri, &within);
        let (store, path) = opened.await.unwrap();
        let read = store.read_one_all(&path.join("a.lance")).await;
        let error = read.unwrap_err();
        let denied = AccessDenied::behind(&error);
        assert!(
            matches!(denied, Some(AccessDenied::Outside { .. })),
            "{uri}: {error}"
        );
    }
}
