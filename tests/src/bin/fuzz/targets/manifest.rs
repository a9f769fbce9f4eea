//! Lance's manifests, of tables that LanceDB clients of several versions wrote: whatever one says, all that Squire does with
//! its table ends with an answer or with an error that names the table.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::TryStreamExt;
use lance_io::object_store::ObjectStore;
use object_store::{ObjectStoreExt, path::Path};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::{
    Directory, DirectoryOptions, Error, TableKey,
    planner::{
        Ask,
        cleanup::CleanupPolicy,
        compaction::{self, CompactionPolicy},
        indexing::{self, IndexPolicy},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Outcome, Target, check_error};
use crate::{corpus, mutate, protobuf};

/// Before a manifest's foot: the place of its message, the version of the format, and the mark.
const FOOT: usize = 16;

/// A table that a client wrote.
struct Table {
    /// Its objects, by their places in its folder.
    objects: Vec<(String, Bytes)>,
    /// The place of its newest manifest.
    newest: String,
}

pub(super) struct Tables {
    tables: BTreeMap<String, Table>,
    store: Arc<ObjectStore>,
    /// The root below which each case has a directory.
    root: String,
}

impl Tables {
    pub(super) async fn new() -> Result<Self, String> {
        let mut tables = BTreeMap::new();
        let folder = corpus::folder("tables");
        for file in corpus::files(&folder).map_err(|e| e.to_string())? {
            let below = file.strip_prefix(&folder).map_err(|e| e.to_string())?;
            let below = below.to_string_lossy().into_owned();
            let Some((name, place)) = below.split_once('/') else {
                continue;
            };
            let table = tables.entry(name.to_owned()).or_insert(Table {
                objects: Vec::new(),
                newest: String::new(),
            });
            let bytes = Bytes::from(std::fs::read(&file).map_err(|e| e.to_string())?);
            if place.ends_with(".manifest") {
                // Of the older naming the greatest is the newest, of the other one the least.
                let counts_down = place.contains("/1844");
                if table.newest.is_empty() || !counts_down {
                    place.clone_into(&mut table.newest);
                }
            }
            table.objects.push((place.to_owned(), bytes));
        }
        let root = format!("memory://{}", Uuid::new_v4().simple());
        let store = ObjectStore::from_uri(&format!("shared-{root}/db")).await;
        let (store, _) = store.map_err(|e| e.to_string())?;
        Ok(Self {
            tables,
            store,
            root,
        })
    }

    async fn put(&self, folder: &str, table: &Table, newest: &[u8]) -> Result<(), String> {
        for (place, bytes) in &table.objects {
            let bytes = if *place == table.newest {
                Bytes::copy_from_slice(newest)
            } else {
                bytes.clone()
            };
            let path = Path::from(format!("{folder}/bad.lance/{place}"));
            let put = self.store.inner.put(&path, bytes.into()).await;
            put.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn clear(&self, folder: &str) -> Result<(), String> {
        let below = Path::from(folder);
        let all = self.store.inner.list(Some(&below));
        let all: Vec<_> = all.try_collect().await.map_err(|e| e.to_string())?;
        for object in all {
            let deleted = self.store.inner.delete(&object.location).await;
            deleted.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Spoils a manifest by its structure, and puts the foot right again.
pub(super) fn spoil(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let place = bytes
        .len()
        .checked_sub(FOOT)
        .and_then(|foot| bytes[foot..foot + 8].try_into().ok())
        .and_then(|at| usize::try_from(u64::from_le_bytes(at)).ok());
    let message = place.and_then(|at| bytes.get(at + 4..bytes.len() - FOOT));
    let (Some(at), Some(message)) = (place, message) else {
        return mutate::bytes(bytes, &[], rng);
    };
    match rng.random_range(0..10) {
        0 => mutate::bytes(bytes, &[], rng),
        // What stands before: indexes and the transaction, each with its length in front.
        1 | 2 if at > 8 => {
            let spoilt = spoil_sections(&bytes[..at], rng);
            assembled(&spoilt, message, &bytes[bytes.len() - 8..])
        }
        _ => {
            let spoilt = protobuf::spoil(message, rng);
            assembled(&bytes[..at], &spoilt, &bytes[bytes.len() - 8..])
        }
    }
}

/// Spoils one of several messages that have their lengths in front.
fn spoil_sections(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let (mut rest, mut sections) = (bytes, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((section, after)) = after.split_at_checked(length) else {
            break;
        };
        sections.push(section.to_vec());
        rest = after;
    }
    let spoilt = rng.random_range(0..sections.len().max(1));
    let mut out = Vec::new();
    for (place, mut section) in sections.into_iter().enumerate() {
        if place == spoilt {
            section = protobuf::spoil(&section, rng);
        }
        let length = u32::try_from(section.len()).unwrap_or(u32::MAX);
        out.extend(length.to_le_bytes());
        out.extend(section);
    }
    out.extend(rest);
    out
}

fn assembled(before: &[u8], message: &[u8], end: &[u8]) -> Vec<u8> {
    let at = (before.len() as u64).to_le_bytes();
    let length = u32::try_from(message.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    [before, &length, message, &at, end].concat()
}

#[async_trait]
impl Target for Tables {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let seeds = self.tables.iter().filter_map(|(name, table)| {
            let mut objects = table.objects.iter();
            let (_, newest) = objects.find(|(place, _)| *place == table.newest)?;
            Some([name.as_bytes(), b"\n", newest].concat())
        });
        seeds.collect()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        let empty = Vec::new();
        let seed = seeds.choose(rng).unwrap_or(&empty);
        let at = seed.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (name, bytes) = seed.split_at(at);
        [name, &spoil(bytes, rng)].concat()
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let at = input.iter().position(|b| *b == b'\n').unwrap_or(0);
        let (name, bytes) = input.split_at(at);
        let name = String::from_utf8_lossy(name);
        let Some(table) = self.tables.get(&*name) else {
            return Ok(Outcome::Refused);
        };
        let bytes = &bytes[1..];
        let folder = Uuid::new_v4().simple().to_string();
        self.put(&folder, table, bytes).await?;
        // Jobs take longer than looks: some inputs get them, and the same ones each time.
        let has_jobs = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) % 3 == 0;
        let held = maintain(&format!("{}/{folder}", self.root), has_jobs).await;
        self.clear(&folder).await?;
        held
    }

    fn memory(&self) -> usize {
        256 << 20
    }
}

/// All that is done with a table, from the first look on.
async fn maintain(uri: &str, has_jobs: bool) -> Result<Outcome, String> {
    let directory = Directory::open(uri, DirectoryOptions::default()).await;
    let directory = directory.map_err(|e| format!("the directory cannot be opened: {e}"))?;
    let tables = directory.tables().await;
    let tables = tables.map_err(|e| format!("tables cannot be listed: {e}"))?;
    let bad = TableKey::of_directory("bad");
    if tables != [bad.clone()] {
        return Err(format!("there are other tables: {tables:?}"));
    }
    let (ask, stop) = (Ask::forced(), CancellationToken::new());
    let compact = CompactionPolicy {
        min_small_fragments: 2,
        ..CompactionPolicy::default()
    };
    let index = IndexPolicy {
        min_unindexed_rows: 1,
        max_unindexed_rows: 1,
        ..IndexPolicy::default()
    };
    let cleanup = CleanupPolicy {
        keep_for: Duration::ZERO,
        keep_versions: 1,
        min_versions: 1,
        ..CleanupPolicy::default()
    };
    let mut outcome = Outcome::Taken;
    if let Some(stats) = told(directory.stats(&bad).await, &mut outcome)? {
        compaction::plan(&stats, &compact, &ask);
        indexing::plan(&stats, &index, Utc::now(), true);
        indexing::in_one_segment(&stats, &index);
    }
    told(directory.versions(&bad).await, &mut outcome)?;
    told(
        directory.explain_cleanup(&bad, &cleanup, &ask).await,
        &mut outcome,
    )?;
    told(directory.has_left_over_files(&bad).await, &mut outcome)?;
    if has_jobs {
        let done = directory.compact(&bad, &compact, &ask, &stop).await;
        told(done, &mut outcome)?;
        let done = directory.index(&bad, &index, &ask, &stop).await;
        told(done, &mut outcome)?;
        let done = directory.cleanup(&bad, &cleanup, &ask, &stop).await;
        told(done, &mut outcome)?;
    }
    Ok(outcome)
}

/// What was done, or nothing for an error that is as it should be.
fn told<T>(done: Result<T, Error>, outcome: &mut Outcome) -> Result<Option<T>, String> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) => {
            check_error(&error, &["bad"])?;
            *outcome = Outcome::Refused;
            Ok(None)
        }
    }
}
