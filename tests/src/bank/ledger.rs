//! A writer's ledger: a file of JSON lines, each synced before anything else happens. An intent is there before its
//! operation begins, the answer before the next intent. A writer that is killed leaves an intent without an answer.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::{Intent, Posting, Till};

/// What a writer was told about an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It took place: this manifest shows it.
    Acknowledged(u64),
    /// It did not take place, and will not.
    Failed(String),
    /// Nobody can tell.
    Unknown(String),
}

impl Told {
    /// The word for tallies.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Acknowledged(_) => "acknowledged",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// One operation. Its number in the sequence is its place, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was meant.
    pub intent: Intent,
    /// What was told, and after how many lines of the file. Nothing: the writer was killed, or is at work.
    pub told: Option<(usize, Told)>,
}

impl Entry {
    /// What was told within the first `lines` of the file.
    pub fn told_within(&self, lines: usize) -> Option<&Told> {
        let (line, told) = self.told.as_ref()?;
        (*line <= lines).then_some(told)
    }

    /// Whether it is known not to have taken place.
    pub fn failed(&self) -> bool {
        matches!(self.told, Some((_, Told::Failed(_))))
    }
}

/// A ledger, as far as it was read.
#[derive(Debug, Default)]
pub struct Ledger {
    /// All operations, in their sequence.
    pub entries: Vec<Entry>,
    /// Lines read.
    pub lines: usize,
    read_to: u64,
    file: Option<File>,
}

fn bad(line: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("no line of a ledger: {line}"),
    )
}

impl Ledger {
    /// Opens a ledger to write on, with what an earlier life of the writer left. A line that was cut off is removed.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut ledger = Self::default();
        ledger.catch_up_with(&file)?;
        file.set_len(ledger.read_to)?;
        ledger.file = Some(file);
        Ok(ledger)
    }

    /// Reads the complete lines that came since the last call. A file that is not there yet has none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn catch_up(&mut self, path: &Path) -> io::Result<()> {
        match File::open(path) {
            Ok(file) => self.catch_up_with(&file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn catch_up_with(&mut self, mut file: &File) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let complete = text
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(&text[..complete]).lines() {
            self.take(line)?;
        }
        self.read_to += complete as u64;
        Ok(())
    }

    /// Takes one line in.
    ///
    /// # Errors
    /// When it is none.
    pub fn take(&mut self, line: &str) -> io::Result<()> {
        let value: Value = serde_json::from_str(line).map_err(|_| bad(line))?;
        self.lines += 1;
        if let Some(told) = told_from(&value) {
            let last = self.entries.last_mut().ok_or_else(|| bad(line))?;
            last.told = Some((self.lines, told));
        } else {
            let intent = intent_from(&value).ok_or_else(|| bad(line))?;
            self.entries.push(Entry { intent, told: None });
        }
        Ok(())
    }

    /// The operation of that number.
    pub fn entry(&self, seq: u64) -> Option<&Entry> {
        let place = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.entries.get(place)
    }

    /// The number of the next operation.
    pub fn next_seq(&self) -> u64 {
        self.entries.len() as u64 + 1
    }

    /// Notes an intent, before anything is done about it.
    ///
    /// # Errors
    /// When it cannot be written and synced.
    pub fn intend(&mut self, intent: &Intent) -> io::Result<()> {
        self.write(&intent_to(intent))
    }

    /// Notes what was told about the last intent.
    ///
    /// # Errors
    /// When it cannot be written and synced.
    pub fn told(&mut self, told: &Told) -> io::Result<()> {
        self.write(&match told {
            Told::Acknowledged(manifest) => json!({ "acknowledged": manifest }),
            Told::Failed(why) => json!({ "failed": why }),
            Told::Unknown(why) => json!({ "unknown": why }),
        })
    }

    fn write(&mut self, value: &Value) -> io::Result<()> {
        let line = value.to_string();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.read_to))?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()?;
            self.read_to += line.len() as u64 + 1;
        }
        self.take(&line)
    }

    /// Appends that may still be there: none of their deletes was acknowledged.
    pub fn standing(&self) -> Vec<u64> {
        let mut standing: Vec<_> = (1..=self.entries.len() as u64).collect();
        let deleted: std::collections::BTreeSet<_> = self
            .entries
            .iter()
            .filter(|e| matches!(e.told, Some((_, Told::Acknowledged(_)))))
            .filter_map(|e| match e.intent {
                Intent::Delete { target } => Some(target),
                _ => None,
            })
            .collect();
        standing.retain(|seq| {
            let append = |e: &Entry| matches!(e.intent, Intent::Append { .. }) && !e.failed();
            self.entry(*seq).is_some_and(append) && !deleted.contains(seq)
        });
        standing
    }
}

fn intent_to(intent: &Intent) -> Value {
    let rows = |postings: &[Posting]| -> Value {
        let row = |p: &Posting| json!([p.till.name(), p.id, p.amount]);
        postings.iter().map(row).collect()
    };
    match intent {
        Intent::Append { postings, upsert } => {
            json!({ "append": rows(postings), "upsert": upsert.map(Till::name) })
        }
        Intent::Account { account, postings } => {
            json!({ "account": account, "rows": rows(postings) })
        }
        Intent::Delete { target } => json!({ "delete": target }),
        Intent::Schema { change, wanted } => json!({ "schema": change, "wanted": wanted }),
    }
}

fn intent_from(value: &Value) -> Option<Intent> {
    let rows = |value: &Value| -> Option<Vec<Posting>> {
        let rows = value.as_array()?.iter().map(|row| {
            Some(Posting {
                till: Till::named(row[0].as_str()?)?,
                id: row[1].as_str()?.to_owned(),
                amount: row[2].as_i64()?,
            })
        });
        rows.collect()
    };
    if let Some(postings) = rows(&value["append"]) {
        let upsert = value["upsert"].as_str().and_then(Till::named);
        return Some(Intent::Append { postings, upsert });
    }
    if let Some(account) = value["account"].as_u64() {
        return Some(Intent::Account {
            account: usize::try_from(account).ok()?,
            postings: rows(&value["rows"])?,
        });
    }
    if let Some(target) = value["delete"].as_u64() {
        return Some(Intent::Delete { target });
    }
    Some(Intent::Schema {
        change: value["schema"].as_str()?.to_owned(),
        wanted: serde_json::from_value(value["wanted"].clone()).ok()?,
    })
}

fn told_from(value: &Value) -> Option<Told> {
    if let Some(manifest) = value["acknowledged"].as_u64() {
        return Some(Told::Acknowledged(manifest));
    }
    if let Some(why) = value["failed"].as_str() {
        return Some(Told::Failed(why.to_owned()));
    }
    let why = value["unknown"].as_str()?;
    Some(Told::Unknown(why.to_owned()))
}
