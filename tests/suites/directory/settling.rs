//! Commits whose outcome is open, whose table goes or comes under their hands, or that come too late.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use squire_engine::{
    Compacted, Directory, DirectoryOptions, Error, Loss, planner::compaction::CompactionPolicy,
};
use squire_tests::{
    store::{Gate, Moment, Verb, Watch},
    wrapped::{self, Hooks},
};
use tokio::task::JoinHandle;

use crate::site::{Kind, Site, Writer, compact, key, start};

const VERSIONS: &str = "t.lance/_versions/";
const DATA: &str = "t.lance/data/";

/// A watched store that carries out the first put of a version, and loses its answer.
#[derive(Debug)]
struct LosesAnAnswer(Watch, AtomicBool);

#[async_trait::async_trait]
impl Hooks for LosesAnAnswer {
    async fn before(&self, verb: Verb, path: &Path) {
        self.0.before(verb, path).await;
    }

    async fn after(&self, verb: Verb, path: &Path) -> object_store::Result<()> {
        let is_version = verb == Verb::Put && path.as_ref().contains(VERSIONS);
        if is_version && !self.1.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Generic {
                store: "test",
                source: "the answer was lost".into(),
            });
        }
        Ok(())
    }
}

/// The object of a version.
fn object(version: u64) -> String {
    format!("{VERSIONS}{:020}.manifest", u64::MAX - version)
}

async fn delete(site: &Site, keep: impl Fn(&str) -> bool) {
    let (store, _) = site.0.store().await;
    for path in site.0.objects("t.lance/").await {
        if !keep(&path) {
            store.inner.delete(&path.as_str().into()).await.unwrap();
        }
    }
}

/// As a client does that keeps the newest version alone.
async fn keep_the_newest(writer: &Writer) {
    let newest = writer.newest().await;
    #[expect(clippy::disallowed_methods, reason = "another program does it")]
    let cleaned = newest.cleanup_old_versions(TimeDelta::zero(), Some(false), Some(false));
    cleaned.await.unwrap();
}

/// A compaction that stands before or after the put of its version.
async fn committing(
    moment: Moment,
    directory: &Directory,
    watch: &Watch,
) -> (Arc<Gate>, JoinHandle<Result<Compacted, Error>>) {
    let put = watch.hold_at(moment, Verb::Put, VERSIONS);
    let compaction = start(directory, "t", &CompactionPolicy::default());
    put.reached().await;
    (put, compaction)
}

async fn version(writer: &Writer) -> u64 {
    writer.newest().await.manifest().version
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_version_was_cleaned_up_before_its_answer_came_keeps_its_files() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::default(), 4, 50).await;
    let head = version(&writer).await;
    let watch = Watch::new();
    let store = LosesAnAnswer(watch.clone(), AtomicBool::default());
    let options = DirectoryOptions {
        wrapper: wrapped::wrapper(Arc::new(store)),
        ..DirectoryOptions::default()
    };
    let directory = Directory::open(site.0.uri(), options).await.unwrap();
    let (put, compaction) = committing(Moment::Before, &directory, &watch).await;
    // What became of it is asked for by its number.
    let asks = watch.hold(Verb::Head, &object(head + 1));
    put.open();
    asks.reached().await;
    writer.append([(1_000, 1)]).await;
    keep_the_newest(&writer).await;
    let before = site.0.objects(VERSIONS).await;
    asks.open();
    let compacted = compaction.await.unwrap();
    assert!(matches!(compacted, Ok(Compacted::Done(_))), "{compacted:?}");
    assert_eq!(site.0.objects(VERSIONS).await, before);
    writer.check([0, 77, 199, 1_000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_looked_at_when_another_table_stands_there_takes_nothing_of_it() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let head = version(&writer).await;
    let (directory, watch) = site.open().await;
    let (put, compaction) = committing(Moment::After, &directory, &watch).await;
    delete(&site, |_| false).await;
    let fragments = i64::try_from(head).unwrap() + 1;
    let anew = site.table("t", Kind::default(), fragments, 7).await;
    assert_eq!(version(&anew).await, head + 1);
    put.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::TableDropped)
    );
    assert_eq!(version(&anew).await, head + 1);
    anew.check(0..fragments * 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_others_have_written_on_is_never_withdrawn() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::default(), 4, 50).await;
    let (_, sources) = site.data_files(&writer).await;
    let (directory, watch) = site.open().await;
    let (put, compaction) = committing(Moment::After, &directory, &watch).await;
    writer.append([(1_000, 1)]).await;
    let (_, named) = site.data_files(&writer).await;
    let rewritten = named.len();
    assert_eq!(rewritten, 2, "the rewrite, and what was appended");
    let appended = writer
        .newest()
        .await
        .manifest()
        .fragments
        .last()
        .unwrap()
        .files[0]
        .path
        .clone();
    delete(&site, |path| {
        let name = path.rsplit('/').next().unwrap();
        !path.contains(DATA) || sources.contains(name) || name == appended
    })
    .await;
    let before = site.0.objects("t.lance/").await;
    put.open();
    let told = compaction.await.unwrap();
    assert!(matches!(told, Err(Error::Damaged { .. })), "{told:?}");
    assert_eq!(site.0.objects("t.lance/").await, before);
}

/// An object store's drop lists the versions before the data: it misses one that is put there in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_a_drop_passed_by_is_withdrawn_when_the_data_goes() {
    let site = Site::new();
    site.table("t", Kind::default(), 4, 50).await;
    site.table("u", Kind::default(), 1, 5).await;
    let (directory, watch) = site.open().await;
    let (put, compaction) = committing(Moment::Before, &directory, &watch).await;
    delete(&site, |path| !path.contains(VERSIONS)).await;
    // It looks at its file, which is there, and at the versions.
    let looks = watch.hold_first(Verb::List, "t.lance/_versions");
    put.open();
    looks.reached().await;
    let asked = watch.take();
    let last = asked.iter().rfind(|r| r.verb != Verb::List);
    assert!(
        last.is_some_and(|r| r.verb == Verb::Head && r.path.contains(DATA)),
        "{asked:?}"
    );
    delete(&site, |path| path.contains(VERSIONS)).await;
    looks.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::TableDropped)
    );
    assert!(site.0.objects(VERSIONS).await.is_empty());
    let gone = directory.version(&key("t")).await;
    assert!(matches!(gone, Err(Error::TableGone { .. })), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_stays_when_a_client_removes_every_earlier_version_at_once() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let head = version(&writer).await;
    let (directory, watch) = site.open().await;
    let (put, compaction) = committing(Moment::After, &directory, &watch).await;
    keep_the_newest(&writer).await;
    put.open();
    assert!(matches!(
        compaction.await.unwrap().unwrap(),
        Compacted::Done(_)
    ));
    assert_eq!(version(&writer).await, head + 1);
    writer.check([0, 77, 199]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_comes_when_its_version_was_made_and_removed_by_others_counts_for_nothing() {
    for gap in [false, true] {
        let site = Site::new();
        let mut writer = site.table("t", Kind::default(), 4, 50).await;
        let head = version(&writer).await;
        let (directory, watch) = site.open().await;
        let (put, compaction) = committing(Moment::Before, &directory, &watch).await;
        writer.append([(1_000, 1)]).await;
        if gap {
            writer.append([(1_001, 1)]).await;
        }
        writer.delete([3]).await;
        keep_the_newest(&writer).await;
        put.open();
        assert_eq!(
            compaction.await.unwrap().unwrap(),
            Compacted::Lost(Loss::LandedLate)
        );
        writer.check([0, 3, 199, 1_000]).await;
        let late = site.0.objects(&object(head + 1)).await;
        assert_eq!(late.is_empty(), gap, "one that nothing follows goes");
        assert!(matches!(compact(&directory, "t").await, Compacted::Done(_)));
        writer.check([0, 3, 199, 1_000]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_whose_files_another_took_for_left_over_is_not_committed() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 4, 50).await;
    let head = version(&writer).await;
    let (_, sources) = site.data_files(&writer).await;
    let (directory, watch) = site.open().await;
    let looks = watch.hold_first(Verb::Head, DATA);
    let compaction = start(&directory, "t", &CompactionPolicy::default());
    looks.reached().await;
    delete(&site, |path| {
        !path.contains(DATA) || sources.contains(path.rsplit('/').next().unwrap())
    })
    .await;
    looks.open();
    assert_eq!(
        compaction.await.unwrap().unwrap(),
        Compacted::Lost(Loss::TableDropped)
    );
    assert_eq!(version(&writer).await, head, "nothing was committed");
    writer.check([0, 77, 199]).await;
}
