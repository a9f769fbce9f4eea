//! Which tables a directory has, and what looking at them costs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lance_table::io::commit::ManifestNamingScheme;
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};
use squire_engine::{
    Beyond, Directory, DirectoryOptions, Error, Kind as Target, detect,
    planner::compaction::CompactionPolicy,
};
use squire_tests::{
    place::Place,
    store::Verb,
    wrapped::{self, Hooks},
};

use crate::site::{Kind, Site, Writer, compact, key, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_told_from_a_directory_and_an_empty_root_is_a_directory() {
    let (place, _graph) = Place::with_graph().await;
    assert_eq!(
        detect(place.uri(), None, &Beyond::default()).await.unwrap(),
        Target::Graph
    );
    let site = Site::new();
    assert_eq!(
        detect(site.0.uri(), None, &Beyond::default())
            .await
            .unwrap(),
        Target::Directory
    );
    site.table("t", Kind::default(), 1, 1).await;
    assert_eq!(
        detect(site.0.uri(), None, &Beyond::default())
            .await
            .unwrap(),
        Target::Directory
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_come_and_go_and_one_list_tells() {
    let site = Site::new();
    let (directory, watch) = site.open().await;
    assert!(directory.tables().await.unwrap().is_empty());
    site.table("b", Kind::default(), 1, 1).await;
    site.table("a.b", Kind::default(), 1, 1).await;
    watch.take();
    assert_eq!(directory.tables().await.unwrap(), [key("a.b"), key("b")]);
    let requests = watch.take();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let (store, root) = site.0.store().await;
    store.remove_dir_all(root.join("b.lance")).await.unwrap();
    assert_eq!(directory.tables().await.unwrap(), [key("a.b")]);
    let gone = directory.version(&key("b")).await;
    assert!(matches!(gone, Err(Error::TableGone { table, .. }) if table == key("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_table_costs_one_list_a_look() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::ALL[1], 3, 10).await;
    let (directory, watch) = site.open().await;
    let stats = directory.stats(&key("t")).await.unwrap();
    assert_eq!((stats.fragments.len(), stats.rows()), (3, 30));
    watch.take();
    assert_eq!(directory.stats(&key("t")).await.unwrap(), stats);
    assert_eq!(directory.version(&key("t")).await.unwrap(), stats.version);
    let requests = watch.take();
    assert!(
        requests.iter().all(|r| r.verb == Verb::List),
        "{requests:?}"
    );
    assert_eq!(requests.len(), 2, "one each");
    writer.append([(100, 1)]).await;
    let later = directory.stats(&key("t")).await.unwrap();
    assert_eq!((later.fragments.len(), later.rows()), (4, 31));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_and_made_again_is_seen_anew_at_the_same_version() {
    let site = Site::new();
    site.table("t", Kind::default(), 3, 10).await;
    let (directory, _) = site.open().await;
    let before = directory.stats(&key("t")).await.unwrap();
    let (store, root) = site.0.store().await;
    store.remove_dir_all(root.join("t.lance")).await.unwrap();
    let writer = site.table("t", Kind::default(), 3, 7).await;
    let after = directory.stats(&key("t")).await.unwrap();
    assert_eq!(before.version, after.version);
    assert_eq!((before.rows(), after.rows()), (30, 21));
    compact(&directory, "t").await;
    writer.check(0..21).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_that_a_folder_can_have_works_on_a_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root with space");
    let names = [
        "a.b",
        "with space",
        "größe",
        "x-y_z",
        "100%",
        "a#b",
        "name.lance",
    ];
    for name in names {
        let uri = url::Url::from_file_path(root.join(format!("{name}.lance"))).unwrap();
        Writer::create(uri.as_str(), Kind::default(), 3, 4).await;
    }
    let options = DirectoryOptions::default();
    let directory = Directory::open(root.to_str().unwrap(), options)
        .await
        .unwrap();
    let mut expected = names.map(key);
    expected.sort();
    assert_eq!(directory.tables().await.unwrap(), expected);
    for name in names {
        assert_eq!(
            directory.stats(&key(name)).await.unwrap().rows(),
            12,
            "{name}"
        );
        compact(&directory, name).await;
        let stats = directory.stats(&key(name)).await.unwrap();
        assert_eq!((stats.fragments.len(), stats.rows()), (1, 12), "{name}");
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_child_namespaces_are_maintained_and_the_catalog_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = |folder: &str| format!("file://{}", dir.path().join(folder).display());
    // As the LanceDB client lays them out.
    Writer::create(&at("__manifest"), Kind::default(), 5, 1).await;
    Writer::create(&at("bdd4eb91_ns1$t1"), Kind::default(), 5, 1).await;
    Writer::create(&at("t.lance"), Kind::default(), 5, 1).await;
    Writer::create(&at("old.lance"), Kind::default(), 5, 1).await;
    std::fs::write(dir.path().join("old.lance/.lance-deregistered"), "").unwrap();
    std::fs::create_dir_all(dir.path().join("reserved.lance")).unwrap();
    std::fs::write(dir.path().join("reserved.lance/.lance-reserved"), "").unwrap();
    let options = DirectoryOptions::default();
    let directory = Directory::open(dir.path().to_str().unwrap(), options)
        .await
        .unwrap();
    let tables = directory.tables().await.unwrap();
    assert!(tables.contains(&key("bdd4eb91_ns1$t1")) && tables.contains(&key("t")));
    assert!(!tables.iter().any(|t| t.name().contains("manifest")));
    compact(&directory, "bdd4eb91_ns1$t1").await;
    let stats = directory.stats(&key("bdd4eb91_ns1$t1")).await.unwrap();
    assert_eq!(stats.fragments.len(), 1);
    for name in ["old", "reserved"] {
        let left_alone = directory.stats(&key(name)).await;
        assert!(matches!(left_alone, Err(Error::TableGone { .. })), "{name}");
    }
}

/// With DynamoDB, a commit is a staged manifest first.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_commits_are_made_elsewhere_is_left_alone_once_that_is_seen() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let head = writer.newest().await.manifest().version;
    let (directory, _) = site.open().await;
    directory.stats(&key("t")).await.unwrap();
    let (store, root) = site.0.store().await;
    let base = root.join("t.lance");
    let manifest = ManifestNamingScheme::V2.manifest_path(&base, head + 1);
    let staged = Path::from(format!("{manifest}-0b2bd9b6"));
    store.inner.put(&staged, "staged".into()).await.unwrap();
    let left_alone = |e: &Error| matches!(e, Error::ForeignCommits { .. });
    let looked = directory.stats(&key("t")).await;
    assert!(looked.as_ref().is_err_and(left_alone), "{looked:?}");
    // It is there for a moment only.
    store.inner.delete(&staged).await.unwrap();
    let compacted = start(&directory, "t", &CompactionPolicy::default()).await;
    let compacted = compacted.unwrap();
    assert!(compacted.as_ref().is_err_and(left_alone), "{compacted:?}");
    assert_eq!(writer.newest().await.manifest().version, head);
}

/// Counts what lists show.
#[derive(Debug, Default)]
struct Shown(AtomicUsize);

impl Hooks for Shown {
    fn shown(&self, object: ObjectMeta) -> ObjectMeta {
        self.0.fetch_add(1, Ordering::SeqCst);
        object
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_table_of_many_versions_reads_the_beginning_of_the_list_alone() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 40, 1).await;
    let shown = Arc::new(Shown::default());
    let options = DirectoryOptions {
        wrapper: wrapped::wrapper(shown.clone()),
        ..DirectoryOptions::default()
    };
    let directory = Directory::open(site.0.uri(), options).await.unwrap();
    let newest = directory.version(&key("t")).await.unwrap();
    assert_eq!(newest, writer.newest().await.manifest().version);
    let read = shown.0.load(Ordering::SeqCst);
    assert!(read <= 3, "{read} of 40");
}
