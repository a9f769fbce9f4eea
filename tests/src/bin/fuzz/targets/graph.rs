//! A graph whose writer was killed between decision and commit, with one of its objects spoilt: all that Squire reads and
//! heals of it ends with an answer or with an error that names the graph.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use lance_io::object_store::ObjectStore;
use object_store::{ObjectStoreExt, path::Path};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::{Error, Graph, ManifestRetention, Options, Word};
use squire_tests::fault::{Counts, Faulty};
use uuid::Uuid;

use super::{Outcome, Target, check_error, manifest};
use crate::{corpus, json, mutate};

const WORDS: [&str; 18] = [
    "format",
    "number",
    "queue",
    "tables",
    "outcomes",
    "Decided",
    "Waiting",
    "Load",
    "Delete",
    "Compact",
    "SchemaApply",
    "is",
    "node:Plane",
    "edge:Flight",
    "Plane.lance",
    "Flight.lance",
    "upsert",
    "2026-11-30T16:03:08.995029084Z",
];
/// The most of a log that is read.
const MOST_ENTRIES: usize = 1_000;

pub(super) struct Killed {
    /// The graph's objects, by their places.
    objects: Vec<(String, Bytes)>,
    store: Arc<ObjectStore>,
    root: String,
}

impl Killed {
    pub(super) async fn new() -> Result<Self, String> {
        let folder = corpus::folder("graph-killed");
        let place = |file: &PathBuf| {
            let below = file.strip_prefix(&folder).unwrap_or(file);
            below.to_string_lossy().into_owned()
        };
        let mut objects = Vec::new();
        for file in corpus::files(&folder).map_err(|e| e.to_string())? {
            let bytes = std::fs::read(&file).map_err(|e| e.to_string())?;
            objects.push((place(&file), bytes.into()));
        }
        let root = format!("memory://{}", Uuid::new_v4().simple());
        let store = ObjectStore::from_uri(&format!("shared-{root}/db")).await;
        let (store, _) = store.map_err(|e| e.to_string())?;
        Ok(Self {
            objects,
            store,
            root,
        })
    }
}

#[async_trait]
impl Target for Killed {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let read = self
            .objects
            .iter()
            .filter(|(place, _)| place.starts_with("_squire/") || place.ends_with(".manifest"));
        let named = read.map(|(place, bytes)| [place.as_bytes(), b"\n", bytes].concat());
        named.collect()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        // The newest manifest and the sidecar are what is read most.
        let decides = |seed: &&Vec<u8>| {
            seed.starts_with(b"_squire/recovery/")
                || seed.starts_with(b"_squire/manifest/00000000000000000009")
        };
        let deciding: Vec<_> = seeds.iter().filter(decides).cloned().collect();
        let from = if rng.random() { &deciding } else { seeds };
        let empty = Vec::new();
        let seed = from.choose(rng).unwrap_or(&empty);
        let at = seed.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (place, bytes) = seed.split_at(at);
        let name = String::from_utf8_lossy(place);
        let spoilt = if name.trim_end().ends_with(".manifest") {
            manifest::spoil(bytes, rng)
        } else if rng.random_ratio(1, 6) {
            mutate::bytes(bytes, &WORDS, rng)
        } else {
            json::spoil(bytes, &WORDS, rng)
        };
        [place, &spoilt].concat()
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let at = input.iter().position(|b| *b == b'\n').unwrap_or(0);
        let (place, bytes) = input.split_at(at);
        let place = String::from_utf8_lossy(place).into_owned();
        let bytes = Bytes::copy_from_slice(bytes.get(1..).unwrap_or_default());
        let folder = Uuid::new_v4().simple().to_string();
        let mut objects = self.objects.clone();
        objects.retain(|(other, _)| *other != place);
        if Path::parse(&place).is_ok() && !place.is_empty() {
            objects.push((place, bytes));
        }
        for (place, bytes) in objects {
            let path = Path::from(format!("{folder}/{place}"));
            let put = self.store.inner.put(&path, bytes.into()).await;
            put.map_err(|e| e.to_string())?;
        }
        let held = live(&format!("{}/{folder}", self.root)).await;
        let below = Path::from(folder);
        let all = self.store.inner.list(Some(&below));
        let all: Vec<_> = all.try_collect().await.map_err(|e| e.to_string())?;
        for object in all {
            let deleted = self.store.inner.delete(&object.location).await;
            deleted.map_err(|e| e.to_string())?;
        }
        held
    }

    fn memory(&self) -> usize {
        512 << 20
    }
}

/// All that is done with a graph.
async fn live(uri: &str) -> Result<Outcome, String> {
    let options = Options {
        lease: Duration::from_millis(100),
        // To it, sidecars are old enough to be looked after.
        wrapper: Faulty::never(Counts::Operations).wrapper(),
        ..Options::default()
    };
    let mut outcome = Outcome::Taken;
    let told = |error: Error, outcome: &mut Outcome| {
        *outcome = Outcome::Refused;
        check_error(&error, &["memory://"])
    };
    let graph = match Graph::open(uri, options).await {
        Ok(graph) => graph,
        Err(error) => {
            told(error, &mut outcome)?;
            return Ok(outcome);
        }
    };
    look(&graph, &mut outcome).await?;
    match graph.heal_now().await {
        Ok(healed) => {
            for failed in healed.failed {
                told(failed, &mut outcome)?;
            }
        }
        Err(error) => told(error, &mut outcome)?,
    }
    look(&graph, &mut outcome).await?;
    let findings = match graph.findings().await {
        Ok(findings) => findings,
        Err(error) => {
            told(error, &mut outcome)?;
            Vec::new()
        }
    };
    for finding in &findings {
        if let Err(error) = graph.repair(finding, &Word::default()).await {
            told(error, &mut outcome)?;
        }
    }
    if let Err(error) = graph.collect(&ManifestRetention::default()).await {
        told(error, &mut outcome)?;
    }
    look(&graph, &mut outcome).await?;
    graph.close().await;
    Ok(outcome)
}

/// Reads all that there is to be read.
async fn look(graph: &Graph, outcome: &mut Outcome) -> Result<(), String> {
    let mut told = |error: Error| {
        *outcome = Outcome::Refused;
        check_error(&error, &["memory://"])
    };
    match graph.snapshot().await {
        Ok(snapshot) => {
            for table in snapshot.manifest().tables.keys() {
                if let Err(error) = snapshot.stats(table).await {
                    told(error)?;
                }
            }
        }
        Err(error) => told(error)?,
    }
    if let Err(error) = graph.sidecars().await {
        told(error)?;
    }
    match graph.drift().await {
        Ok(look) => {
            for error in look.failed {
                told(error)?;
            }
        }
        Err(error) => told(error)?,
    }
    let mut log = Box::pin(graph.log().take(MOST_ENTRIES));
    while let Some(entry) = log.next().await {
        if let Err(error) = entry {
            told(error)?;
            break;
        }
    }
    Ok(())
}
