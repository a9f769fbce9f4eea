//! One version of the client: its tables, and all that is done to copies of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lance::Dataset;
use serde_json::Value;
use squire_tests::{
    clients::{
        answers::Asked,
        client::{self, Client},
        hand::{self, Did},
        matrix::{Seen, Step, Way},
    },
    folder,
    show::say,
};
use tempfile::TempDir;

use crate::{beside::Beside, scope::Scope};

/// What `squire cleanup` keeps: as little as it may.
const KEEP_LITTLE: [&str; 4] = ["--keep-for", "1s", "--keep-versions", "1"];

/// A version, its tables as it made them, and clients of it and of the newest version.
pub(crate) struct Version {
    dir: TempDir,
    client: Client,
    newest: Client,
    tables: Vec<String>,
    seen: Seen,
}

/// A way in which the version makes tables.
struct Variant {
    name: String,
    options: Value,
    storage: String,
    stable: bool,
}

impl Version {
    /// Starts the clients, and makes the tables.
    pub(crate) async fn start(version: &str, scope: &Scope) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let newest = client::newest().unwrap();
        let client = Client::start(version, &dir.path().join("client.log")).await;
        let newest = Client::start(&newest, &dir.path().join("newest.log")).await;
        let mut version = Self {
            dir,
            client: client.expect("there is a client of this version"),
            newest: newest.expect("there is a newest client"),
            tables: Vec::new(),
            seen: Seen::default(),
        };
        version.make(scope).await;
        version
    }

    /// Makes every kind of table in every variant that is wanted. What the version does not have is left out, and said.
    async fn make(&mut self, scope: &Scope) {
        let variants = self.variants().await;
        let made = self.dir.path().join("made");
        assert!(!variants.is_empty(), "{}", self.client.version);
        let newest_storage = variants.iter().map(|v| v.storage.clone()).max();
        for variant in &variants {
            let is_newest = Some(&variant.storage) == newest_storage.as_ref();
            for kind in &scope.kinds {
                if !scope.takes(kind, variant.stable, is_newest) {
                    continue;
                }
                let name = format!("{kind}_{}", variant.name);
                let table = self.client.make(&made, &name, kind, &variant.options);
                match table.await {
                    Ok(_) => self.tables.push(name),
                    Err(e) => {
                        say(format!("{}: no table {name}: {e}", self.client.version));
                        let left = made.join("database").join(format!("{name}.lance"));
                        std::fs::remove_dir_all(left).ok();
                    }
                }
            }
        }
        assert!(self.tables.len() >= scope.kinds.len() / 2);
    }

    /// The variants that the version really has: one that does not know an option writes what it always writes.
    async fn variants(&mut self) -> Vec<Variant> {
        let root = self.dir.path().join("variants");
        let tried = self.client.variants(&root).await;
        let mut variants = Vec::<Variant>::new();
        for (name, options) in tried.expect("small tables can be made") {
            let path = root.join("database").join(format!("{name}.lance"));
            let table = Dataset::open(path.to_str().unwrap()).await.unwrap();
            let variant = Variant {
                name,
                options,
                storage: format!("{:?}", table.manifest().data_storage_format.version),
                stable: table.manifest().uses_stable_row_ids(),
            };
            let same = |v: &Variant| (&v.storage, v.stable) == (&variant.storage, variant.stable);
            if !variants.iter().any(same) {
                variants.push(variant);
            }
        }
        variants
    }

    /// Goes all ways that are wanted.
    pub(crate) async fn observe(mut self, scope: &Scope) -> (String, Seen) {
        for way in &scope.ways {
            self.go(*way).await;
        }
        (self.client.version.clone(), self.seen)
    }

    async fn go(&mut self, way: Way) {
        let root = self.dir.path().join(format!("{way:?}"));
        folder::copy(&self.dir.path().join("made"), &root).unwrap();
        for table in self.tables.clone() {
            if let Err(e) = self.client.open(&root, &table).await {
                self.seen.asked.insert(
                    (way, Step::Before, table.clone()),
                    Asked::failed("opening", e),
                );
            }
        }
        let mut daemon = None;
        for step in way.steps() {
            say(format!("{}: {way}: {step}", self.client.version));
            if way == Way::Daemon && step == Step::Add {
                daemon = Some(Beside::start(&root).await);
            }
            let did = self.maintain(way, step, &root, daemon.as_mut()).await;
            for table in self.tables.clone() {
                let asked = self.ask(way, step, &root, &table, &did).await;
                self.seen.asked.insert((way, step, table), asked);
            }
        }
        if let Some(daemon) = daemon {
            self.end(daemon).await;
        }
        // What was seen is remembered; the tables are not needed any more.
        std::fs::remove_dir_all(root).ok();
    }

    /// The maintenance of a step; what it did to each table.
    async fn maintain(
        &mut self,
        way: Way,
        step: Step,
        root: &Path,
        daemon: Option<&mut Beside>,
    ) -> BTreeMap<String, Vec<(String, Did)>> {
        let commands: &[&str] = match (way, step) {
            (_, Step::Compact) => &["compact"],
            (_, Step::Index) => &["index"],
            (_, Step::Cleanup) => &["cleanup"],
            (Way::Hand, Step::Again) => &["compact", "index", "cleanup"],
            (Way::Daemon, Step::Rest) => {
                let rest = daemon.expect("a daemon runs").rest().await;
                return self.same_for_all("the daemon", rest);
            }
            _ => return BTreeMap::new(),
        };
        let mut did: BTreeMap<String, Vec<(String, Did)>> = BTreeMap::new();
        for command in commands {
            let args: &[&str] = if *command == "cleanup" {
                hand::grow_old().await;
                &KEEP_LITTLE
            } else {
                &[]
            };
            let what = format!("squire {command}");
            match hand::run(command, &root.join("database"), args).await {
                Ok(each) => {
                    for (table, one) in each {
                        let of_table = did.entry(table).or_default();
                        of_table.push((what.clone(), one));
                    }
                }
                Err(e) => {
                    let failed = self.same_for_all(&what, Err(e.to_string()));
                    for (table, one) in failed {
                        did.entry(table).or_default().extend(one);
                    }
                }
            }
        }
        did
    }

    fn same_for_all(
        &self,
        what: &str,
        done: Result<BTreeMap<String, Did>, String>,
    ) -> BTreeMap<String, Vec<(String, Did)>> {
        let of = |table: &String| match &done {
            Ok(did) => did.get(table).cloned(),
            Err(e) => Some(Did::Failed(e.clone())),
        };
        let named = |table: &String| {
            let did = of(table).map(|did| (what.to_owned(), did));
            (table.clone(), did.into_iter().collect())
        };
        self.tables.iter().map(named).collect()
    }

    /// Does to a table what the step has for it, and asks.
    async fn ask(
        &mut self,
        way: Way,
        step: Step,
        root: &Path,
        table: &str,
        did: &BTreeMap<String, Vec<(String, Did)>>,
    ) -> Asked {
        let mut done = Vec::new();
        if let Some(action) = step.by_client() {
            let stepped = self.client.step(root, table, action).await;
            if let Ok(again) = &stepped {
                *self.seen.again.entry((way, step)).or_default() += again;
            }
            done.push((action.to_owned(), stepped.err()));
        }
        if way == Way::Peer && matches!(step, Step::Peer | Step::Again) {
            let optimized = self.newest.maintain(root, table).await;
            done.push(("optimize() of the newest".to_owned(), optimized.err()));
        }
        let refused: Vec<_> = did.get(table).into_iter().flatten().collect();
        for (what, did) in &refused {
            let must = step != Step::Again && step != Step::Rest;
            let error = match did {
                Did::Failed(error) => Some(error.clone()),
                Did::Nothing(reason) if must => Some(format!("did nothing: {reason}")),
                _ => None,
            };
            done.push((what.clone(), error));
        }
        let words: Vec<_> = refused
            .iter()
            .filter_map(|(_, did)| did.refusal())
            .collect();
        if let Some(word) = words.first() {
            let wholly = refused
                .iter()
                .all(|(_, did)| matches!(did, Did::Refused(_)));
            let key = (way, step, table.to_owned());
            self.seen.refused.insert(key, (word, wholly));
        }
        let mut asked = if step == Step::Newest {
            self.newest.ask(root, table).await
        } else {
            self.client.ask(root, table).await
        };
        for (what, error) in done {
            asked.note(&what, error);
        }
        asked
    }

    /// Ends the daemon, and takes what went wrong with it along.
    async fn end(&mut self, daemon: Beside) {
        let log = daemon.log();
        let stopped = daemon.stop().await;
        for (table, what, error) in stopped {
            let table = self.tables.iter().find(|name| **name == table);
            let table = table.unwrap_or(&self.tables[0]).clone();
            let asked = self.seen.asked.entry((Way::Daemon, Step::Rest, table));
            asked.or_default().note(&what, Some(error));
        }
        self.keep(&log);
    }

    /// Keeps a log of a daemon where it is found when something is wrong.
    fn keep(&self, log: &Path) {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clients");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::copy(
            log,
            kept.join(format!("daemon-{}.log", self.client.version)),
        )
        .ok();
    }
}
