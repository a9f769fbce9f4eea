//! A daemon beside the client.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use squire_tests::{
    clients::hand::{Did, REFUSALS},
    daemon::Daemon,
    lancedb::kept::Jobs,
    patience::PATIENCE,
};
use tokio::time::sleep;

/// Low thresholds, so that there is always something to do. A version is kept for longer than a client asks about it.
const SETTINGS: &str = r#"
[daemon]
listen = "127.0.0.1:0"
tick = "200ms"
hot_tick = "200ms"
cold_tick = "1s"
log_format = "json"

[defaults.compaction]
min_small_fragments = 2
max_deleted_fraction = 0.01
interval_floor = "200ms"

[defaults.index]
max_unindexed_rows = 1
max_segments = 2
interval_floor = "500ms"

[defaults.cleanup]
keep_for = "10s"
keep_versions = 1
min_versions = 1
interval_floor = "1s"

[[target]]
name = "clients"
"#;
const DUTIES: [&str; 3] = ["compaction", "index", "cleanup"];

/// A daemon that keeps a database.
pub(crate) struct Beside {
    daemon: Daemon,
    log: PathBuf,
}

impl Beside {
    /// Starts it.
    pub(crate) async fn start(root: &Path) -> Self {
        let (config, log) = (root.join("squire.toml"), root.join("daemon.log"));
        let uri = root.join("database");
        std::fs::write(&config, format!("{SETTINGS}uri = \"{}\"\n", uri.display())).unwrap();
        let daemon = Daemon::start(&config, &log).await;
        Self {
            daemon: daemon.expect("the daemon starts"),
            log,
        }
    }

    /// Its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Waits until it has nothing left to do, and has done something of everything that it does not leave alone. Tells what
    /// it leaves alone.
    pub(crate) async fn rest(&mut self) -> Result<BTreeMap<String, Did>, String> {
        let (since, waited) = (Utc::now(), Instant::now());
        loop {
            let notes = self.notes().await?;
            let jobs = Jobs::read(&self.log).map_err(|e| e.to_string())?;
            let idle = DUTIES.into_iter().find(|duty| {
                jobs.done(duty) == 0 && !notes.iter().any(|n| refusal(n, duty).is_some())
            });
            let busy = notes.iter().find_map(|note| at_work(note, since));
            let why = match (busy, idle) {
                (None, None) if !notes.is_empty() => return Ok(left_alone(&notes)),
                (Some(busy), _) => busy,
                (None, Some(duty)) => format!("it did no {duty} at all"),
                (None, None) => "it knows no table".to_owned(),
            };
            if waited.elapsed() > PATIENCE {
                return Err(format!("it never came to rest: {why}"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What it says of its tables.
    async fn notes(&self) -> Result<Vec<Value>, String> {
        let (code, body) = self
            .daemon
            .get("/api/v1/tables")
            .await
            .map_err(|e| e.to_string())?;
        let body: Value = serde_json::from_str(&body).map_err(|e| format!("{code}: {e}"))?;
        Ok(body["tables"].as_array().cloned().unwrap_or_default())
    }

    /// Ends it; what went wrong meanwhile: the table, what was done to it, and the error.
    pub(crate) async fn stop(self) -> Vec<(String, String, String)> {
        let jobs = Jobs::read(&self.log).unwrap();
        let failed = jobs.failed.iter().map(|failed| {
            let (duty, rest) = failed.split_once(" of ").unwrap_or(("", failed));
            let (table, error) = rest.split_once(": ").unwrap_or(("", rest));
            (
                table.to_owned(),
                format!("the daemon's {duty}"),
                error.to_owned(),
            )
        });
        let mut wrong: Vec<_> = failed.collect();
        let ended = match self.daemon.stop(PATIENCE).await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(status.to_string()),
            Err(e) => Some(e.to_string()),
        };
        wrong.extend(ended.map(|how| (String::new(), "the daemon's end".to_owned(), how)));
        wrong
    }
}

/// What it still does to a table, or means to do; or that it has not looked at it.
fn at_work(note: &Value, since: DateTime<Utc>) -> Option<String> {
    let table = note["table"].as_str().unwrap_or_default();
    let looked = note["looked"]
        .as_str()
        .and_then(|at| at.parse::<DateTime<Utc>>().ok());
    if looked.is_none_or(|at| at < since) {
        return Some(format!("{table} was not looked at"));
    }
    if let Some(duty) = note["running"].as_str() {
        return Some(format!("{duty} of {table} is at work"));
    }
    let due = note["duties"]
        .as_array()?
        .iter()
        .find(|duty| duty["due"] == true)?;
    Some(format!(
        "{} of {table} is due: {}",
        due["duty"], due["reason"]
    ))
}

/// The word for what it leaves alone of a duty of a table.
fn refusal(note: &Value, duty: &str) -> Option<&'static str> {
    let duties = note["duties"].as_array()?;
    let duty = duties.iter().find(|d| d["duty"] == duty)?;
    REFUSALS.into_iter().find(|word| duty["reason"] == *word)
}

fn left_alone(notes: &[Value]) -> BTreeMap<String, Did> {
    let left = notes.iter().filter_map(|note| {
        let word = DUTIES.into_iter().find_map(|duty| refusal(note, duty))?;
        let table = note["table"].as_str()?.to_owned();
        Some((table, Did::DoneInPart(String::new(), word)))
    });
    left.collect()
}
