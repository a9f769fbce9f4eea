//! Random histories of branches, tags and clones on a real disk, by clients that call the tables by many names: what could
//! be read before a cleanup can be read after it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, types::Int32Type};
use lance::Dataset;
use proptest::{prelude::*, test_runner::TestRunner};
use squire_engine::{Cleaned, planner::cleanup::CleanupPolicy};
use squire_tests::{flights::flights, stranger::Stranger};

use super::{disk::Lake, greedy};

const CASES: u32 = 24;

/// What somebody does; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Append,
    Delete(usize),
    Compact,
    Overwrite,
    Index,
    Tag(usize),
    Untag(usize),
    Branch(usize),
    /// Of another branch.
    Twig(usize),
    Write(usize),
    Prune(usize),
    Clone(usize),
    /// Of a clone, or of a branch.
    CloneAgain(usize),
    Rewrite(usize),
    Drop(usize),
    Clean(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        4 => Just(Step::Append),
        2 => n.clone().prop_map(Step::Delete),
        2 => Just(Step::Compact),
        1 => Just(Step::Overwrite),
        1 => Just(Step::Index),
        1 => n.clone().prop_map(Step::Tag),
        1 => n.clone().prop_map(Step::Untag),
        3 => n.clone().prop_map(Step::Branch),
        2 => n.clone().prop_map(Step::Twig),
        2 => n.clone().prop_map(Step::Write),
        1 => n.clone().prop_map(Step::Prune),
        3 => n.clone().prop_map(Step::Clone),
        2 => n.clone().prop_map(Step::CloneAgain),
        2 => n.clone().prop_map(Step::Rewrite),
        1 => n.clone().prop_map(Step::Drop),
        3 => n.prop_map(Step::Clean),
    ]
}

/// Everything that can be read, by name: the days of its rows.
type Readable = BTreeMap<String, BTreeMap<i32, usize>>;

struct History {
    lake: Lake,
    days: i32,
    branches: BTreeSet<String>,
    clones: BTreeSet<String>,
    tags: BTreeSet<String>,
    names: usize,
}

fn chosen<T: Clone>(among: &BTreeSet<T>, n: usize) -> Option<T> {
    let n = n.checked_rem(among.len())?;
    among.iter().nth(n).cloned()
}

impl History {
    async fn new() -> Self {
        let lake = Lake::new();
        lake.table(&lake.aliases()[0], "t", 2).await;
        Self {
            lake,
            days: 2,
            branches: BTreeSet::new(),
            clones: BTreeSet::new(),
            tags: BTreeSet::new(),
            names: 0,
        }
    }

    /// One more name, and one of the ways to call the root.
    fn fresh(&mut self, what: &str) -> (String, String) {
        self.names += 1;
        let aliases = self.lake.aliases();
        let alias = aliases[self.names % aliases.len()].clone();
        (format!("{what}{}", self.names), alias)
    }

    async fn main(&mut self) -> Stranger {
        let (_, alias) = self.fresh("");
        Stranger::at(&alias, "t.lance").await
    }

    fn day(&mut self) -> i32 {
        self.days += 1;
        self.days
    }

    async fn version(&self, n: usize) -> u64 {
        let versions = self.lake.versions("t").await;
        versions[n % versions.len()]
    }

    async fn go(&mut self, step: Step) {
        let day = self.day();
        let mut main = self.main().await;
        match step {
            Step::Append => main.append(flights(day, 6)).await,
            Step::Delete(n) => {
                let some = n as i32 % day;
                main.delete(&format!("day = {some} AND dest < 'D03'")).await;
            }
            Step::Compact => {
                if main.dataset().manifest().fragments.len() > 1 {
                    main.compact_what_there_is().await;
                }
            }
            Step::Overwrite => main.overwrite(flights(day, 6)).await,
            Step::Index => {
                let (name, _) = self.fresh("index");
                main.index("day", &name).await;
            }
            Step::Tag(n) => {
                let (name, _) = self.fresh("tag");
                let version = self.version(n).await;
                main.dataset().tags().create(&name, version).await.unwrap();
                self.tags.insert(name);
            }
            Step::Untag(n) => {
                if let Some(name) = chosen(&self.tags, n) {
                    main.dataset().tags().delete(&name).await.unwrap();
                    self.tags.remove(&name);
                }
            }
            Step::Branch(n) => {
                let (name, _) = self.fresh("branch");
                let version = self.version(n).await;
                let mut main = main.dataset().clone();
                main.create_branch(&name, version, None).await.unwrap();
                self.branches.insert(name);
            }
            Step::Twig(n) => {
                if let Some(parent) = chosen(&self.branches, n) {
                    let (name, _) = self.fresh("twig/of");
                    let mut main = main.dataset().clone();
                    let made = main.create_branch(&name, (parent.as_str(), None), None);
                    made.await.unwrap();
                    self.branches.insert(name);
                }
            }
            Step::Write(n) => {
                if let Some(name) = chosen(&self.branches, n) {
                    let mut branch = main.dataset().checkout_branch(&name).await.unwrap();
                    branch.delete("dest < 'D02'").await.unwrap();
                }
            }
            Step::Prune(n) => {
                // A clone of a branch loses its files with it, whoever cleans up.
                if self.clones.is_empty()
                    && let Some(name) = chosen(&self.branches, n)
                {
                    let mut main = main.dataset().clone();
                    // One that others begin at is refused.
                    if main.delete_branch(&name).await.is_ok() {
                        self.branches.remove(&name);
                    }
                }
            }
            Step::Clone(n) => {
                let (name, alias) = self.fresh("clone");
                let version = self.version(n).await;
                self.clone_of(main.dataset().clone(), version, name, &alias)
                    .await;
            }
            Step::CloneAgain(n) => {
                let (name, alias) = self.fresh("clone");
                if let Some(of) = chosen(&self.clones, n) {
                    let source = Stranger::at(&alias, &format!("{of}.lance")).await;
                    let version = source.version();
                    self.clone_of(source.dataset().clone(), version, name, &alias)
                        .await;
                } else if let Some(of) = chosen(&self.branches, n) {
                    let source = main.dataset().checkout_branch(&of).await.unwrap();
                    let version = source.version().version;
                    self.clone_of(source, (of.as_str(), Some(version)), name, &alias)
                        .await;
                }
            }
            Step::Rewrite(n) => {
                if let Some(name) = chosen(&self.clones, n) {
                    let (_, alias) = self.fresh("");
                    let mut clone = Stranger::at(&alias, &format!("{name}.lance")).await;
                    clone.delete("dest < 'D02'").await;
                    clone.append(flights(day, 6)).await;
                }
            }
            Step::Drop(n) => {
                // A clone of a clone reads the first one's files, too.
                if self.clones.len() == 1
                    && let Some(name) = chosen(&self.clones, n)
                {
                    std::fs::remove_dir_all(self.lake.folder(&name)).unwrap();
                    self.clones.remove(&name);
                }
            }
            Step::Clean(n) => self.clean(n).await,
        }
    }

    async fn clone_of(
        &mut self,
        mut source: Dataset,
        version: impl Into<lance::dataset::refs::Ref>,
        name: String,
        alias: &str,
    ) {
        let uri = format!("{alias}/{name}.lance");
        source.shallow_clone(&uri, version, None).await.unwrap();
        self.clones.insert(name);
    }

    async fn clean(&mut self, keep: usize) {
        let policy = CleanupPolicy {
            keep_versions: 1 + keep % 3,
            ..greedy()
        };
        let before = self.readable(policy.keep_versions).await;
        let mut removed = 0;
        for table in std::iter::once("t".to_owned()).chain(self.clones.clone()) {
            if let Cleaned::Done(receipt) = self.lake.clean(&table, &policy).await.unwrap() {
                removed += receipt.versions;
            }
        }
        let after = self.readable(policy.keep_versions).await;
        assert_eq!(before, after, "{removed} versions went");
    }

    /// Reads everything that must stay, in full.
    async fn readable(&self, newest: usize) -> Readable {
        let mut readable = Readable::new();
        let folder = self.lake.folder("t");
        let main = Dataset::open(folder.to_str().unwrap()).await.unwrap();
        for version in self.lake.versions("t").await.iter().rev().take(newest) {
            let dataset = main.checkout_version(*version).await.unwrap();
            readable.insert(format!("version {version}"), days(&dataset).await);
        }
        for tag in &self.tags {
            let dataset = main.checkout_version(tag.as_str()).await.unwrap();
            readable.insert(tag.clone(), days(&dataset).await);
        }
        for branch in &self.branches {
            let dataset = main.checkout_branch(branch).await.unwrap();
            readable.insert(branch.clone(), days(&dataset).await);
        }
        for clone in &self.clones {
            let clone_uri = self.lake.folder(clone);
            let dataset = Dataset::open(clone_uri.to_str().unwrap()).await.unwrap();
            readable.insert(clone.clone(), days(&dataset).await);
        }
        readable
    }
}

async fn days(dataset: &Dataset) -> BTreeMap<i32, usize> {
    let batch = dataset.scan().try_into_batch().await.unwrap();
    let mut days = BTreeMap::new();
    let column = batch.column_by_name("day").unwrap();
    for day in column.as_primitive::<Int32Type>().values() {
        *days.entry(*day).or_default() += 1;
    }
    days
}

#[test]
fn what_could_be_read_before_a_cleanup_can_be_read_after_it() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        // Seeds that failed are kept as tests of their own.
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let steps = prop::collection::vec(step(), 4..16);
    let ran = runner.run(&steps, |steps| {
        runtime.block_on(async {
            let mut history = History::new().await;
            for step in steps {
                history.go(step).await;
            }
            history.clean(0).await;
        });
        Ok(())
    });
    ran.unwrap();
}
