//! Manifests and sidecars of graphs as bytes, behind a line that says which: what is read and written again is the same; the rest is damaged, and says
//! which object is.

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::{Error, fuzz};

use super::{Outcome, Target, check_error};
use crate::{corpus, json, mutate};

const WORDS: [&str; 16] = [
    "format",
    "number",
    "queue",
    "tables",
    "outcomes",
    "Decided",
    "Waiting",
    "Load",
    "Compact",
    "is",
    "node:Plane",
    "edge:Flight",
    "Plane.lance",
    "../x",
    "18446744073709551615",
    "2026-11-30T16:03:08.995029084Z",
];

pub(super) struct Codec {
    seeds: Vec<Vec<u8>>,
}

impl Codec {
    pub(super) fn new() -> Result<Self, String> {
        let root = corpus::folder("graph-killed/_squire");
        let mut seeds = Vec::new();
        for file in corpus::files(&root).map_err(|e| e.to_string())? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let kind = match file.parent().and_then(|folder| folder.file_name()) {
                // A manifest's file is called by its number.
                Some(folder) if folder == "manifest" => {
                    format!("{}\n", name.trim_start_matches('0'))
                }
                Some(folder) if folder == "recovery" => "sidecar\n".to_owned(),
                _ => continue,
            };
            let bytes = std::fs::read(&file).map_err(|e| e.to_string())?;
            seeds.push([kind.as_bytes(), &bytes].concat());
        }
        Ok(Self { seeds })
    }
}

#[async_trait]
impl Target for Codec {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        let empty = Vec::new();
        let seed = seeds.choose(rng).unwrap_or(&empty);
        let at = seed.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (kind, bytes) = seed.split_at(at);
        let spoilt = if rng.random_ratio(1, 4) {
            mutate::bytes(bytes, &WORDS, rng)
        } else {
            json::spoil(bytes, &WORDS, rng)
        };
        [kind, &spoilt].concat()
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let at = input.iter().position(|b| *b == b'\n').unwrap_or(0);
        let (kind, bytes) = input.split_at(at);
        let number = String::from_utf8_lossy(kind).parse::<u64>();
        let again = |bytes: &[u8]| match number {
            Ok(number) => fuzz::manifest_again(bytes, number),
            Err(_) => fuzz::sidecar_again(bytes),
        };
        let once = match again(bytes.get(1..).unwrap_or_default()) {
            Ok(once) => once,
            Err(error) => {
                let is_typed = matches!(error, Error::Damaged { .. } | Error::NewerFormat { .. });
                if !is_typed {
                    return Err(format!("it is not damaged but {error:?}"));
                }
                check_error(&error, &[fuzz::OBJECT])?;
                return Ok(Outcome::Refused);
            }
        };
        let twice = again(&once).map_err(|e| format!("what was written cannot be read: {e}"))?;
        if once != twice {
            return Err("what was read and written again is another".to_owned());
        }
        Ok(Outcome::Taken)
    }

    /// A manifest unpacks to 64 MiB at most, which are read once as bytes.
    fn memory(&self) -> usize {
        512 << 20
    }
}
