//! What an earlier daemon left in its state folder: the next one starts with it, or says which folder it is about.

use std::path::PathBuf;

use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::{Value, json as to_json};
use squire_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{Outcome, Target};
use crate::{json, mutate};

const WORDS: [&str; 12] = [
    "target",
    "table",
    "until",
    "reason",
    "t",
    "rows",
    "2026-11-30T16:00:00Z",
    "9999-12-31T23:59:59Z",
    "+262142-12-31T23:59:59Z",
    "-262143-01-01T00:00:00Z",
    "2026-11-30T16:00:60Z",
    "null",
];

pub(super) struct Folder {
    folder: TempDir,
    config: PathBuf,
    state: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let config = folder.path().join("squire.toml");
        let (state, lake) = (folder.path().join("state"), folder.path().join("lake"));
        std::fs::create_dir(&state).map_err(|e| e.to_string())?;
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\nstate_dir = \"{}\"\n[[target]]\nname = \"t\"\nuri = \"{}\"\n",
            state.display(),
            lake.display()
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        Ok(Self {
            folder,
            config,
            state,
        })
    }
}

#[async_trait]
impl Target for Folder {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let one = to_json!([{"target": "t", "until": "2126-11-30T16:00:00Z"}]);
        let two = to_json!([
            {"target": "t", "table": "rows", "until": "2126-11-30T16:00:00.123Z", "reason": "why"},
            {"target": "gone", "until": "2020-01-01T00:00:00+05:30"},
        ]);
        [one, two]
            .map(|text| text.to_string().into_bytes())
            .to_vec()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        json::spoil(&mutate::pick(seeds, rng), &WORDS, rng)
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let file = self.state.join("pauses.json");
        std::fs::write(&file, input).map_err(|e| e.to_string())?;
        let log = self.folder.path().join("log");
        let started = Daemon::start_in(&self.config, &log, []).await;
        let said = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
        if said.contains("panicked") {
            return Err(format!("the daemon panics: {said}"));
        }
        let daemon = match started {
            Ok(daemon) => daemon,
            Err(error) => {
                let error = error.to_string();
                let names = error.contains(&*self.state.to_string_lossy());
                return match names {
                    true => Ok(Outcome::Refused),
                    false => Err(format!("an error that names no place: {error}")),
                };
            }
        };
        for path in ["/api/v1/pauses", "/metrics", "/healthz", "/api/v1/overview"] {
            let (code, body) = daemon.get(path).await.map_err(|e| e.to_string())?;
            let is_json = path == "/metrics" || serde_json::from_str::<Value>(&body).is_ok();
            if (code != 200 && code != 503) || !is_json {
                return Err(format!("{path} is answered with {code} {body}"));
            }
        }
        Ok(Outcome::Taken)
    }
}
