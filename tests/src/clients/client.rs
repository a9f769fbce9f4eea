//! A program of `tests/python/clients/`: it is asked in lines of JSON, and answers in lines.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::answers::Asked;
use crate::{lancedb::python, patience::PATIENCE, repository};

/// The version of lancedb that `tests/python/requirements.txt` has: the newest that is tested.
///
/// # Errors
/// When the file cannot be read, or names none.
pub fn newest() -> io::Result<String> {
    let text = std::fs::read_to_string(repository::file("tests/python/requirements.txt"))?;
    let version = text.lines().find_map(|line| line.strip_prefix("lancedb=="));
    version
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("tests/python/requirements.txt names no lancedb"))
}

/// All versions that are tested, the oldest first.
///
/// # Errors
/// When the folder of their requirements cannot be read.
pub fn versions() -> io::Result<Vec<String>> {
    let mut versions = vec![newest()?];
    for file in std::fs::read_dir(repository::file("tests/python/clients"))? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            versions.extend(path.file_stem().map(|v| v.to_string_lossy().into_owned()));
        }
    }
    versions.sort_by_key(|version| numbers(version));
    Ok(versions)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|n| n.parse().ok()).collect()
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// Its version of lancedb.
    pub version: String,
    interpreter: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// A client of a version. What it says on standard error goes to the file `log`.
    ///
    /// # Errors
    /// When there is no environment for the version, or its client does not start.
    pub async fn start(version: &str, log: &Path) -> io::Result<Self> {
        let interpreter = if version == newest()? {
            python::interpreter().await?
        } else {
            python::interpreter_of(version).await?
        };
        let mut client = Self {
            version: version.to_owned(),
            interpreter,
            log: log.to_owned(),
            running: None,
        };
        let said = client.request(&json!({ "do": "hello" })).await;
        match said {
            Ok(said) if said["version"] == version => Ok(client),
            Ok(said) => Err(io::Error::other(format!(
                "not a client of {version}: {said}"
            ))),
            Err(e) => Err(io::Error::other(format!("{version}: {e}"))),
        }
    }

    /// The small tables that it made to find out which kinds of table it can make, by name, with the options of each.
    ///
    /// # Errors
    /// What the client says.
    pub async fn variants(&mut self, root: &Path) -> Result<Vec<(String, Value)>, String> {
        let made = self
            .request(&json!({ "do": "variants", "root": root }))
            .await?;
        let made = made.as_object().ok_or("no object")?;
        let variants = made.iter().map(|(name, o)| (name.clone(), o.clone()));
        Ok(variants.collect())
    }

    /// Makes a table.
    ///
    /// # Errors
    /// What the client says: perhaps it has no such index.
    pub async fn make(
        &mut self,
        root: &Path,
        table: &str,
        kind: &str,
        options: &Value,
    ) -> Result<Value, String> {
        self.request(&json!({ "do": "make", "root": root, "table": table, "kind": kind, "options": options }))
            .await
    }

    /// Opens the handle to a table by which it writes.
    ///
    /// # Errors
    /// What the client says.
    pub async fn open(&mut self, root: &Path, table: &str) -> Result<(), String> {
        self.request(&json!({ "do": "open", "root": root, "table": table }))
            .await
            .map(drop)
    }

    /// Does one of the steps of `tests/python/clients/steps.py`; gives how often it had to begin anew.
    ///
    /// # Errors
    /// What the client says.
    pub async fn step(&mut self, root: &Path, table: &str, step: &str) -> Result<u64, String> {
        let request = json!({ "do": "step", "root": root, "table": table, "step": step });
        let done = self.request(&request).await?;
        match done["error"].as_str() {
            Some(error) if error.contains("panicked") => Err(format!("{error}{}", self.panic())),
            Some(error) => Err(error.to_owned()),
            None => Ok(done["again"].as_u64().unwrap_or_default()),
        }
    }

    /// Calls `optimize()`.
    ///
    /// # Errors
    /// What the client says.
    pub async fn maintain(&mut self, root: &Path, table: &str) -> Result<(), String> {
        let done = self
            .request(&json!({ "do": "maintain", "root": root, "table": table }))
            .await?;
        done["error"].as_str().map_or(Ok(()), |e| Err(e.to_owned()))
    }

    /// Asks all questions of a table.
    pub async fn ask(&mut self, root: &Path, table: &str) -> Asked {
        let answer = self
            .request(&json!({ "do": "ask", "root": root, "table": table }))
            .await;
        match answer {
            Ok(answer) => Asked::parse(&answer),
            Err(e) => Asked::failed("asking", e),
        }
    }

    /// One line there and one back. A client that ends or keeps silent is replaced for the next request.
    async fn request(&mut self, request: &Value) -> Result<Value, String> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.interpreter, &self.log).map_err(|e| e.to_string())?,
        };
        let answer = timeout(PATIENCE, running.request(request)).await;
        let line = match answer {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(format!("the client ended{}", self.last_words())),
            Ok(Err(e)) => return Err(format!("the client is gone: {e}{}", self.last_words())),
            Err(_) => return Err(format!("no answer in {PATIENCE:?} to {request}")),
        };
        self.running = Some(running);
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))?;
        match answer["failed"].as_str() {
            Some(failed) => Err(failed.to_owned()),
            None => Ok(answer),
        }
    }

    /// Where it panicked last, and why: two lines on standard error.
    fn panic(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<_> = said.lines().collect();
        let last = lines.iter().rposition(|line| line.contains("panicked at"));
        let told = last.map(|at| lines[at..lines.len().min(at + 2)].join(" "));
        told.map_or_else(String::new, |told| format!(": {told}"))
    }

    /// What it said last on standard error.
    fn last_words(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        said.lines()
            .next_back()
            .map_or_else(String::new, |line| format!(": {line}"))
    }
}

impl Running {
    fn start(interpreter: &Path, log: &Path) -> io::Result<Self> {
        let mut child = Command::new(interpreter)
            // No compiled files in the checkout.
            .arg("-B")
            .arg(repository::file("tests/python/clients/client.py"))
            .envs(["LANCE_LOG", "LANCEDB_LOG", "RUST_LOG"].map(|name| (name, "error")))
            // With a single thread for computing, as they choose on two cores, some versions wait for themselves for ever.
            .env("LANCE_CPU_THREADS", "4")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(log)?)
            .kill_on_drop(true)
            .spawn()?;
        let piped = || io::Error::other("the client has no pipe");
        Ok(Self {
            requests: child.stdin.take().ok_or_else(piped)?,
            answers: BufReader::new(child.stdout.take().ok_or_else(piped)?).lines(),
            child,
        })
    }

    async fn request(&mut self, request: &Value) -> io::Result<Option<String>> {
        self.requests
            .write_all(format!("{request}\n").as_bytes())
            .await?;
        let line = self.answers.next_line().await?;
        if line.is_none() {
            self.child.wait().await?;
        }
        Ok(line)
    }
}
