//! Index upkeep of tables whose writers know nothing of Squire.

use std::sync::Arc;

use arrow::{array::RecordBatch, record_batch::RecordBatchIterator};
use chrono::TimeDelta;
use lance::{
    Dataset,
    dataset::optimize::{CompactionOptions, compact_files},
    dataset::{
        InsertBuilder, MergeInsertBuilder, WhenMatched, WhenNotMatched, WriteMode, WriteParams,
    },
    index::{DatasetIndexExt, vector::VectorIndexParams},
};
use lance_index::{
    IndexParams, IndexType,
    scalar::{BuiltinIndexType, InvertedIndexParams, ScalarIndexParams},
};
use lance_linalg::distance::MetricType;
use object_store::ObjectStoreExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use squire_engine::{
    Directory, Error, Indexed, Loss,
    planner::{
        Ask,
        indexing::{IndexPolicy, Skip},
    },
};
use squire_tests::{
    docs::{docs, wrong_answers},
    store::{Moment, Verb},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, compact, key};

const INDICES: &str = "docs.lance/_indices/";
const DATA: &str = "docs.lance/data/";

/// A program that writes documents.
struct Author(Dataset);

impl Author {
    /// A table of 300 documents without any index.
    async fn of(site: &Site, stable_row_ids: bool) -> Self {
        let uri = format!("{}/docs.lance", site.0.lance_uri());
        let params = WriteParams {
            enable_stable_row_ids: stable_row_ids,
            mode: WriteMode::Create,
            ..WriteParams::default()
        };
        let made = InsertBuilder::new(uri.as_str()).with_params(&params);
        Self(made.execute(vec![docs(0..300, 0)]).await.unwrap())
    }

    /// The same with an index of each kind, and 50 documents that are under none.
    async fn behind(site: &Site) -> Self {
        let mut author = Self::of(site, false).await;
        author.index().await;
        author.append(docs(300..350, 0)).await;
        author
    }

    /// Builds an index of each kind.
    async fn index(&mut self) {
        let scalar = |of| Box::new(ScalarIndexParams::for_builtin(of)) as Box<dyn IndexParams>;
        let vector = VectorIndexParams::ivf_flat(3, MetricType::L2);
        let indexes: [(&str, IndexType, Box<dyn IndexParams>); 5] = [
            ("size", IndexType::BTree, scalar(BuiltinIndexType::BTree)),
            ("kind", IndexType::Bitmap, scalar(BuiltinIndexType::Bitmap)),
            (
                "tags",
                IndexType::LabelList,
                scalar(BuiltinIndexType::LabelList),
            ),
            (
                "text",
                IndexType::Inverted,
                Box::new(InvertedIndexParams::default()),
            ),
            ("v", IndexType::Vector, Box::new(vector)),
        ];
        for (column, index_type, params) in indexes {
            let columns = [column];
            let built = self
                .0
                .create_index_builder(&columns, index_type, params.as_ref());
            built.await.unwrap();
        }
    }

    async fn newest(&mut self) -> Dataset {
        self.0.checkout_latest().await.unwrap();
        self.0.clone()
    }

    async fn append(&mut self, batch: RecordBatch) {
        let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        self.0.append(rows, None).await.unwrap();
    }

    async fn upsert(&mut self, batch: RecordBatch) {
        let table = Arc::new(self.newest().await);
        let mut merge = MergeInsertBuilder::try_new(table, vec!["id".to_owned()]).unwrap();
        merge.when_matched(WhenMatched::UpdateAll);
        merge.when_not_matched(WhenNotMatched::InsertAll);
        let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        let (table, _) = merge
            .try_build()
            .unwrap()
            .execute_reader(rows)
            .await
            .unwrap();
        self.0 = table.as_ref().clone();
    }

    async fn delete(&mut self, predicate: &str) {
        self.newest().await;
        self.0.delete(predicate).await.unwrap();
    }

    async fn assert_right(&mut self, story: &[String]) {
        let wrong = wrong_answers(&self.newest().await).await;
        assert!(
            wrong.is_empty(),
            "{}\n{}",
            story.join("\n"),
            wrong.join("\n")
        );
    }
}

fn start(directory: &Directory, ask: Ask) -> JoinHandle<Result<Indexed, Error>> {
    start_on(directory, "docs", ask)
}

fn start_on(
    directory: &Directory,
    table: &'static str,
    ask: Ask,
) -> JoinHandle<Result<Indexed, Error>> {
    let directory = directory.clone();
    tokio::spawn(async move {
        let policy = IndexPolicy {
            max_unindexed_rows: 1,
            max_segments: 1000,
            ..IndexPolicy::default()
        };
        let stop = CancellationToken::new();
        directory.index(&key(table), &policy, &ask, &stop).await
    })
}

async fn force(directory: &Directory) -> Indexed {
    start(directory, Ask::forced()).await.unwrap().unwrap()
}

async fn outside(directory: &Directory) -> Vec<u64> {
    outside_of(directory, "docs").await
}

async fn outside_of(directory: &Directory, table: &str) -> Vec<u64> {
    let stats = directory.stats(&key(table)).await.unwrap();
    stats.indexes.iter().map(|i| i.unindexed_rows).collect()
}

async fn story(seed: u64, stable_row_ids: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::new();
    let mut author = Author::of(&site, stable_row_ids).await;
    author.index().await;
    let (directory, _) = site.open().await;
    let (mut next_id, mut story) = (300, Vec::new());
    for edition in 1..16 {
        story.push(match random.random_range(0..9) {
            0 | 1 => {
                let ids = next_id..next_id + random.random_range(5..50);
                next_id = ids.end;
                author.newest().await;
                author.append(docs(ids.clone(), edition)).await;
                format!("append {ids:?}")
            }
            2 | 3 => {
                let start = random.random_range(0..next_id);
                let ids = start..start + random.random_range(1..40);
                next_id = ids.end.max(next_id);
                author.upsert(docs(ids.clone(), edition)).await;
                format!("upsert {ids:?}")
            }
            4 => {
                let start = random.random_range(0..next_id);
                let predicate = format!("id >= {start} AND id < {}", start + 15);
                author.delete(&predicate).await;
                format!("delete {predicate}")
            }
            5 | 6 => format!("{:?}", compact(&directory, "docs").await),
            7 => {
                let appended = start(&directory, Ask::default()).await.unwrap().unwrap();
                format!("{appended:?}")
            }
            _ => format!("{:?}", force(&directory).await),
        });
        author.assert_right(&story).await;
    }
    force(&directory).await;
    assert_eq!(outside(&directory).await, [0; 5], "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_through_indexes_is_what_a_scan_finds_after_any_story() {
    let stories = (0..4).map(|seed| tokio::spawn(story(seed, seed % 2 == 0)));
    for story in stories.collect::<Vec<_>>() {
        story.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_indexes_gets_none() {
    let site = Site::new();
    let mut author = Author::of(&site, false).await;
    let (directory, _) = site.open().await;
    let version = author.newest().await.manifest().version;
    assert_eq!(force(&directory).await, Indexed::Skipped(Skip::NoIndex));
    assert_eq!(author.newest().await.manifest().version, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_beside_long_index_work_go_through_and_it_lands_all_the_same() {
    let site = Site::new();
    let mut author = Author::behind(&site).await;
    let (directory, watch) = site.open().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = start(&directory, Ask::forced());
    gate.reached().await;
    author.append(docs(350..360, 0)).await;
    author.upsert(docs(10..30, 1)).await;
    author.delete("id >= 320 AND id < 325").await;
    gate.open();
    let Indexed::Done(receipt) = at_work.await.unwrap().unwrap() else {
        panic!("its sources are there")
    };
    assert_eq!((receipt.tasks.len(), receipt.rows), (5, 5 * 50));
    assert_eq!(outside(&directory).await, [30; 5]);
    author.assert_right(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_daemons_at_once_one_wins_and_the_other_leaves_nothing() {
    let site = Site::new();
    let mut author = Author::behind(&site).await;
    let (one, first) = site.open().await;
    let (other, second) = site.open().await;
    let (first, second) = (
        first.hold_first(Verb::Put, INDICES),
        second.hold_first(Verb::Put, INDICES),
    );
    let (one, two) = (start(&one, Ask::forced()), start(&other, Ask::forced()));
    first.reached().await;
    second.reached().await;
    second.open();
    assert!(matches!(two.await.unwrap().unwrap(), Indexed::Done(_)));
    let (of_winner, transactions) = (
        site.0.objects(INDICES).await,
        site.0.objects("docs.lance/_transactions/").await,
    );
    first.open();
    assert_eq!(
        one.await.unwrap().unwrap(),
        Indexed::Lost(Loss::SourcesChanged)
    );
    assert_eq!(site.0.objects(INDICES).await, of_winner);
    assert_eq!(
        site.0.objects("docs.lance/_transactions/").await,
        transactions
    );
    author.assert_right(&[]).await;
}

/// Lance itself would let the index pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_dropped_meanwhile_takes_its_index_with_it() {
    let site = Site::new();
    let mut author = Author::behind(&site).await;
    let before = site.0.objects(INDICES).await;
    let (directory, watch) = site.open().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = start(&directory, Ask::forced());
    gate.reached().await;
    author.0.drop_columns(&["size"]).await.unwrap();
    gate.open();
    assert_eq!(
        at_work.await.unwrap().unwrap(),
        Indexed::Lost(Loss::SourcesChanged)
    );
    assert_eq!(site.0.objects(INDICES).await, before);
    force(&directory).await;
    assert_eq!(outside(&directory).await, [0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_meanwhile_stays_dropped() {
    let site = Site::new();
    Author::behind(&site).await;
    let (directory, watch) = site.open().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = start(&directory, Ask::forced());
    gate.reached().await;
    let (store, _) = site.0.store().await;
    for path in site.0.objects("docs.lance/").await {
        store.inner.delete(&path.as_str().into()).await.unwrap();
    }
    gate.open();
    let told = at_work.await.unwrap();
    assert!(matches!(told, Err(Error::TableGone { .. })), "{told:?}");
    assert_eq!(site.0.objects("docs.lance/").await, [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_waits_for_index_work_on_its_table_in_one_process() {
    let site = Site::new();
    let mut author = Author::of(&site, false).await;
    author.index().await;
    for part in 0..10 {
        author
            .append(docs(300 + part * 10..310 + part * 10, 0))
            .await;
    }
    let (directory, watch) = site.open().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = start(&directory, Ask::forced());
    gate.reached().await;
    let compaction = {
        let directory = directory.clone();
        tokio::spawn(async move { compact(&directory, "docs").await })
    };
    gate.open();
    assert!(matches!(at_work.await.unwrap().unwrap(), Indexed::Done(_)));
    compaction.await.unwrap();
    let requests = watch.take();
    let committed = requests
        .iter()
        .position(|r| r.verb == Verb::Put && r.path.contains("/_versions/"));
    let first_rewrite = requests
        .iter()
        .position(|r| r.verb == Verb::Put && r.path.contains(DATA));
    assert!(committed < first_rewrite, "{requests:?}");
    author.assert_right(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_clone_gets_its_indexes_brought_up_to_date() {
    let site = Site::new();
    let mut source = Author::of(&site, false).await;
    source.index().await;
    let version = source.newest().await.manifest().version;
    let uri = format!("{}/copy.lance", site.0.lance_uri());
    let cloned = source.0.shallow_clone(&uri, version, None).await.unwrap();
    let mut author = Author(cloned);
    author.append(docs(300..350, 0)).await;
    let (directory, _) = site.open().await;
    let done = start_on(&directory, "copy", Ask::default()).await;
    let done = done.unwrap().unwrap();
    assert!(matches!(done, Indexed::Done(_)), "{done:?}");
    assert_eq!(outside_of(&directory, "copy").await, [0; 5]);
    author.assert_right(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_stands_when_rows_go_with_their_files_right_after_its_commit() {
    let site = Site::new();
    let mut author = Author::behind(&site).await;
    let (directory, watch) = site.open().await;
    let put = watch.hold_at(Moment::After, Verb::Put, "docs.lance/_versions/");
    let at_work = start(&directory, Ask::forced());
    put.reached().await;
    author.delete("id < 300").await;
    #[expect(clippy::disallowed_methods, reason = "another program does it")]
    let cleaned = author
        .0
        .cleanup_old_versions(TimeDelta::zero(), Some(false), Some(false));
    cleaned.await.unwrap();
    put.open();
    let done = at_work.await.unwrap().unwrap();
    assert!(matches!(done, Indexed::Done(_)), "{done:?}");
    author.assert_right(&[]).await;
}

/// Lance would look for their rows at the new addresses.
#[tokio::test(flavor = "multi_thread")]
async fn segments_do_not_follow_fragments_that_were_rewritten_while_they_were_built() {
    let site = Site::new();
    let mut author = Author::of(&site, false).await;
    author.index().await;
    for ids in [300..320, 320..340, 340..490] {
        author.append(docs(ids, 0)).await;
    }
    // So many that the fragment is rewritten: only for covered ones a note is left.
    author.delete("id < 60").await;
    let (directory, watch) = site.open().await;
    let gate = watch.hold_first(Verb::Put, INDICES);
    let at_work = start(&directory, Ask::forced());
    gate.reached().await;
    let options = CompactionOptions {
        target_rows_per_fragment: 100,
        defer_index_remap: true,
        ..CompactionOptions::default()
    };
    let rewritten = compact_files(&mut author.0, options, None).await.unwrap();
    assert_eq!(rewritten.fragments_removed, 3);
    gate.open();
    assert_eq!(
        at_work.await.unwrap().unwrap(),
        Indexed::Lost(Loss::SourcesChanged)
    );
    author.assert_right(&[]).await;
}
