//! What Lance or the store refuses before anything is put leaves nothing behind and rests; what may pass does not rest.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::{AsArray, RecordBatchIterator},
    datatypes::Int64Type,
};
use lance::{Dataset, index::DatasetIndexExt};
use lance_index::{IndexType, scalar::ScalarIndexParams};
use object_store::{Error as StoreError, ObjectStoreExt, Result, path::Path};
use squire_engine::{
    Cleaned, Compacted, Directory, DirectoryOptions, Error, Indexed, Unwritable,
    planner::{
        Ask,
        cleanup::{self, CleanupPolicy, Decision},
        compaction::{self, CompactionPolicy},
        indexing::{self, IndexPolicy, Task},
    },
};
use squire_tests::{
    newer::write_with_a_newer_lance,
    store::{Verb, Watch},
    wrapped::{self, Hooks},
};
use tokio_util::sync::CancellationToken;

use crate::site::{Kind, Site, Writer, batch, key, start};

const DATA: &str = "t.lance/data/";
const INDICES: &str = "t.lance/_indices/";

/// A table with an index that leaves a hundred rows outside.
async fn behind(site: &Site) -> Writer {
    let kind = Kind {
        index: true,
        ..Kind::default()
    };
    let mut writer = site.table("t", kind, 4, 50).await;
    writer.append((1_000..1_100).map(|id| (id, id))).await;
    writer
}

async fn index(directory: &Directory, ask: &Ask) -> squire_engine::Result<Indexed> {
    let (policy, stop) = (IndexPolicy::default(), CancellationToken::new());
    directory.index(&key("t"), &policy, ask, &stop).await
}

async fn compact(directory: &Directory) -> squire_engine::Result<Compacted> {
    let compaction = start(directory, "t", &CompactionPolicy::default());
    compaction.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_newer_lance_wrote_is_left_alone_with_the_reason_before_anything_is_written()
{
    let site = Site::new();
    let writer = behind(&site).await;
    write_with_a_newer_lance(&writer.newest().await).await;
    let before = site.0.objects("t.lance/").await;
    let (directory, watch) = site.open().await;
    let (table, ask, stop) = (key("t"), Ask::forced(), CancellationToken::new());
    let policy = CleanupPolicy {
        keep_for: std::time::Duration::ZERO,
        keep_versions: 1,
        ..CleanupPolicy::default()
    };
    assert_eq!(
        compact(&directory).await.unwrap(),
        Compacted::Skipped(compaction::Skip::Unwritable)
    );
    assert_eq!(
        index(&directory, &ask).await.unwrap(),
        Indexed::Skipped(indexing::Skip::Unwritable)
    );
    let cleaned = directory.cleanup(&table, &policy, &ask, &stop).await;
    assert_eq!(
        cleaned.unwrap(),
        Cleaned::Skipped(cleanup::Skip::Unwritable)
    );
    let preview = directory.explain_cleanup(&table, &policy, &ask).await;
    assert_eq!(
        preview.unwrap().decision,
        Decision::Skip(cleanup::Skip::Unwritable)
    );
    let stats = directory.stats(&table).await.unwrap();
    let why = stats.unwritable.expect("it says why").to_string();
    assert!(why.contains("upgrade"), "{why}");
    let compaction = compaction::plan(
        &directory.stats(&table).await.unwrap(),
        &CompactionPolicy::default(),
        &ask,
    );
    assert_eq!(
        compaction,
        compaction::Decision::Skip(compaction::Skip::Unwritable)
    );
    let asked = watch.take();
    assert!(!asked.iter().any(|r| r.verb.is_write()), "{asked:?}");
    assert_eq!(site.0.objects("t.lance/").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_lance_refuses_leaves_no_file_and_is_not_tried_again() {
    for duty in [DATA, INDICES] {
        let site = Site::new();
        let writer = behind(&site).await;
        let before = site.0.objects("t.lance/").await;
        let (directory, watch) = site.open().await;
        // Its writer is upgraded while the work is done.
        let written = watch.hold_first(Verb::Put, duty);
        let upgrade = async {
            written.reached().await;
            write_with_a_newer_lance(&writer.newest().await).await;
            written.open();
        };
        if duty == DATA {
            let (compacted, ()) = tokio::join!(compact(&directory), upgrade);
            let Err(Error::CommitRefused { reason, .. }) = &compacted else {
                panic!("{compacted:?}")
            };
            assert!(reason.contains("upgrade"), "{reason}");
            let again = compact(&directory).await.unwrap();
            assert_eq!(again, Compacted::Skipped(compaction::Skip::Unwritable));
        } else {
            let ask = Ask::forced();
            let (indexed, ()) = tokio::join!(index(&directory, &ask), upgrade);
            assert_eq!(indexed.unwrap(), Indexed::Skipped(indexing::Skip::Refused));
            let stats = directory.stats(&key("t")).await.unwrap();
            let refused = &stats.indexes[0];
            let refused = refused.refused.as_ref().or(refused.merge_refused.as_ref());
            let reason = &refused.expect("it says why").reason;
            assert!(reason.contains("upgrade"), "{reason}");
            let again = index(&directory, &ask).await.unwrap();
            assert_eq!(again, Indexed::Skipped(indexing::Skip::Unwritable));
        }
        let after = site.0.objects("t.lance/").await;
        let new: Vec<_> = after.difference(&before).collect();
        assert!(
            matches!(*new, [version] if version.contains("_versions/")),
            "only what its writer wrote: {new:?}"
        );
        writer.check([7, 1_007]).await;
    }
}

/// A store that says no to some writes as long as it is told to.
#[derive(Debug)]
struct Says {
    no: AtomicBool,
    parts: &'static [&'static str],
    answer: fn() -> StoreError,
    watch: Watch,
}

#[async_trait::async_trait]
impl Hooks for Says {
    async fn before(&self, verb: Verb, path: &Path) {
        self.watch.before(verb, path).await;
    }

    fn admits(&self, _: Verb, path: &Path) -> Result<()> {
        let meant = self.parts.iter().any(|part| path.as_ref().contains(part));
        if meant && self.no.load(Ordering::SeqCst) {
            return Err((self.answer)());
        }
        Ok(())
    }
}

impl Says {
    async fn open(
        site: &Site,
        parts: &'static [&'static str],
        answer: fn() -> StoreError,
    ) -> (Arc<Self>, Directory) {
        let says = Arc::new(Self {
            no: AtomicBool::new(true),
            parts,
            answer,
            watch: Watch::new(),
        });
        let options = DirectoryOptions {
            wrapper: wrapped::wrapper(says.clone()),
            ..DirectoryOptions::default()
        };
        let directory = Directory::open(site.0.uri(), options).await;
        (says, directory.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditional_puts_keeps_no_file_and_is_not_asked_for_every_group() {
    let site = Site::new();
    let writer = site.table("t", Kind::default(), 8, 50).await;
    let before = site.0.objects("t.lance/").await;
    let (says, directory) = Says::open(&site, &["t.lance/_versions/"], || {
        StoreError::NotImplemented {
            operation: "a put with a condition".to_owned(),
            implementer: "an old store".to_owned(),
        }
    })
    .await;
    let compacted = compact(&directory).await;
    let Err(Error::CommitRefused { always: true, .. }) = &compacted else {
        panic!("{compacted:?}")
    };
    assert_eq!(site.0.objects("t.lance/").await, before);
    let stats = directory.stats(&key("t")).await.unwrap();
    let Some(Unwritable::Refused(reason)) = &stats.unwritable else {
        panic!("{:?}", stats.unwritable)
    };
    assert!(reason.contains("a put with a condition"), "{reason}");
    says.watch.take();
    assert_eq!(
        compact(&directory).await.unwrap(),
        Compacted::Skipped(compaction::Skip::Unwritable)
    );
    let asked = says.watch.take();
    assert!(!asked.iter().any(|r| r.verb.is_write()), "{asked:?}");
    writer.check([7]).await;
}

fn full() -> StoreError {
    StoreError::Generic {
        store: "disk",
        source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
    }
}

/// Where the space ends: at what is written, at the note of the transaction, at the version itself.
const ENDS: [&[&str]; 3] = [
    &["t.lance/data/", "t.lance/_indices/"],
    &["t.lance/_transactions/"],
    &["t.lance/_versions/"],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_on_a_full_disk_leaves_nothing_and_is_done_once_there_is_space() {
    for parts in ENDS {
        let site = Site::new();
        let writer = site.table("t", Kind::default(), 8, 50).await;
        let before = site.0.objects("t.lance/").await;
        let (says, directory) = Says::open(&site, parts, full).await;
        for _ in 0..3 {
            let compacted = compact(&directory).await;
            assert!(
                matches!(compacted, Err(Error::Lance { .. })),
                "nothing was put, and everybody knows: {compacted:?} {parts:?}"
            );
            assert_eq!(site.0.objects("t.lance/").await, before, "{parts:?}");
        }
        let stats = directory.stats(&key("t")).await.unwrap();
        assert!(stats.fragments.iter().all(|f| f.refused.is_none()));
        assert_eq!(stats.unwritable, None);
        says.no.store(false, Ordering::SeqCst);
        let compacted = compact(&directory).await.unwrap();
        assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
        writer.check([7, 399]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_left_behind_by_a_full_disk_does_not_wait_for_a_change_of_its_table() {
    for parts in ENDS {
        let site = Site::new();
        let writer = behind(&site).await;
        let before = site.0.objects("t.lance/").await;
        let (says, directory) = Says::open(&site, parts, full).await;
        for ask in [Ask::default(), Ask::forced()] {
            let indexed = index(&directory, &ask).await;
            assert!(
                matches!(indexed, Err(Error::Lance { .. }) | Ok(Indexed::Skipped(_))),
                "{indexed:?} {parts:?}"
            );
            assert_eq!(site.0.objects("t.lance/").await, before, "{parts:?}");
        }
        let stats = directory.stats(&key("t")).await.unwrap();
        let [index_stats] = &*stats.indexes else {
            panic!("{:?}", stats.indexes)
        };
        let refusals = [&index_stats.refused, &index_stats.merge_refused];
        for refusal in refusals.into_iter().flatten() {
            assert!(refusal.until.is_some(), "{refusal:?}");
            assert!(refusal.reason.contains("space"), "{refusal:?}");
        }
        says.no.store(false, Ordering::SeqCst);
        let indexed = index(&directory, &Ask::forced()).await.unwrap();
        assert!(matches!(indexed, Indexed::Done(_)), "{indexed:?}");
        let stats = directory.stats(&key("t")).await.unwrap();
        assert_eq!(stats.indexes[0].unindexed_rows, 0);
        assert_eq!(stats.indexes[0].refused, None);
        assert_eq!(stats.indexes[0].merge_refused, None);
        writer.check([7, 1_007]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_file_is_gone_keeps_no_other_from_its_turn_and_is_named() {
    let site = Site::new();
    let mut writer = site.table("t", Kind::default(), 4, 50).await;
    let params = ScalarIndexParams::default();
    for column in ["id", "value"] {
        let mut dataset: Dataset = writer.newest().await;
        let columns = [column];
        let indexed = dataset.create_index(&columns, IndexType::BTree, None, &params, true);
        indexed.await.unwrap();
    }
    let dataset = writer.newest().await;
    let indexes = dataset.load_indices().await.unwrap();
    let broken = indexes.iter().find(|i| i.name == "id_idx").unwrap();
    let (store, _) = site.0.store().await;
    for path in site.0.objects(&broken.uuid.to_string()).await {
        store.inner.delete(&path.as_str().into()).await.unwrap();
    }
    let added = batch((1_000..1_100).map(|id| (id, id)));
    let schema = added.schema();
    let mut dataset = writer.newest().await;
    let rows = RecordBatchIterator::new([Ok(added)], schema);
    dataset.append(rows, None).await.unwrap();
    writer.model.extend((1_000..1_100).map(|id| (id, id)));
    let (directory, _) = site.open().await;
    let policy = IndexPolicy {
        max_unindexed_rows: 1,
        oldest_client: Some(squire_engine::planner::clients::READS_SEGMENTS),
        ..IndexPolicy::default()
    };
    let stop = CancellationToken::new();
    let indexed = directory
        .index(&key("t"), &policy, &Ask::forced(), &stop)
        .await;
    let Ok(Indexed::Done(receipt)) = &indexed else {
        panic!("the other index can be extended: {indexed:?}")
    };
    let [done] = &*receipt.tasks else {
        panic!("{:?}", receipt.tasks)
    };
    assert!(
        matches!(done, Task::Append(name) | Task::Merge(name) if name == "value_idx"),
        "{done:?}"
    );
    let [left] = &*receipt.left else {
        panic!("{:?}", receipt.left)
    };
    assert_eq!(left.index, "id_idx");
    let stats = directory.stats(&key("t")).await.unwrap();
    let outside: Vec<_> = stats
        .indexes
        .iter()
        .map(|i| (i.name.as_str(), i.unindexed_rows))
        .collect();
    assert_eq!(outside, [("id_idx", 100), ("value_idx", 0)]);
    let mut scan = writer.newest().await.scan();
    scan.filter("value = 1007").unwrap();
    let found = scan.try_into_batch().await.unwrap();
    assert_eq!(found["id"].as_primitive::<Int64Type>().values(), &[1_007]);
}
