//! What daemons did for a directory, by their logs.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Jobs of a daemon that have ended.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    /// How many ended well, by duty.
    pub done: BTreeMap<String, u64>,
    /// How many failed, with the error.
    pub failed: Vec<String>,
    /// Rewrites of a group of fragments that were committed.
    pub rewrites: u64,
    /// Rewrites that were for nothing: somebody else had committed first.
    pub lost: u64,
    /// All of them, in the order in which they ended.
    pub ended: Vec<Ended>,
}

/// A job that has ended, however it did.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it was about.
    pub duty: String,
    /// When it began to do something, as far as that was told.
    pub from: DateTime<Utc>,
    /// When it ended.
    pub until: DateTime<Utc>,
    /// Of that, at the end: how long it took to commit.
    pub hold: Duration,
}

impl Ended {
    fn parse(line: &Value) -> Option<Self> {
        let millis = |name: &str| Duration::from_millis(line[name].as_u64().unwrap_or_default());
        let until: DateTime<Utc> = line["timestamp"].as_str()?.parse().ok()?;
        let hold = millis("hold_ms");
        Some(Self {
            duty: line["duty"].as_str()?.to_owned(),
            from: until - hold - millis("rewrite_ms") - millis("work_ms"),
            until,
            hold,
        })
    }
}

impl Jobs {
    /// Reads the log of a daemon whose `log_format` is `json`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(log: &Path) -> io::Result<Self> {
        let mut jobs = Self::default();
        let text = std::fs::read_to_string(log)?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in lines {
            jobs.take(&line);
        }
        Ok(jobs)
    }

    fn take(&mut self, line: &Value) {
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| line.get(name).and_then(Value::as_u64);
        let (message, duty) = (text("message"), text("duty"));
        if message.starts_with("job ") {
            self.ended.extend(Ended::parse(line));
        }
        if message == "job done" {
            *self.done.entry(duty.to_owned()).or_default() += 1;
            if duty == "compaction" {
                self.rewrites += number("groups").unwrap_or(1);
                self.lost += number("lost_groups").unwrap_or(0);
            }
        } else if message.starts_with("job lost") && duty == "compaction" {
            self.lost += number("lost_groups").unwrap_or(1);
        } else if message.starts_with("job failed") || message.starts_with("job panicked") {
            self.failed
                .push(format!("{duty} of {}: {}", text("table"), text("error")));
        }
    }

    /// How many jobs of a duty ended well.
    pub fn done(&self, duty: &str) -> u64 {
        self.done.get(duty).copied().unwrap_or_default()
    }
}
