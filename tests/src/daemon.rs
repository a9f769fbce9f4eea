//! The real daemon as a child process, with a real configuration file.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::process;

/// The `squire` binary that was built with this program.
///
/// # Errors
/// When it is not there: build the workspace first.
pub fn squire() -> io::Result<PathBuf> {
    process::built("squire")
}

/// Runs one `squire` command to its end.
///
/// # Errors
/// When it cannot be started.
pub async fn run<I, S>(args: I) -> io::Result<std::process::Output>
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    run_with(args, &[]).await
}

/// The same, with these variables in its environment.
///
/// # Errors
/// When it cannot be started.
pub async fn run_with<I, S>(args: I, variables: &[(&str, &str)]) -> io::Result<std::process::Output>
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    Command::new(squire()?)
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    lines: mpsc::Receiver<Value>,
    /// Where `/metrics` is, as `127.0.0.1:port`.
    pub listening: String,
}

impl Daemon {
    /// Starts `squire run`, logging to the file `log`, and waits until it listens. The configuration should say
    /// `listen = "127.0.0.1:0"`.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it listens.
    pub async fn start(config: &Path, log: &Path) -> io::Result<Self> {
        Self::start_in(config, log, []).await
    }

    /// The same, with these variables in its environment.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_in<'a>(
        config: &Path,
        log: &Path,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        let mut program = Command::new(squire()?);
        program.envs(environment);
        Self::start_by(program, config, log).await
    }

    /// The same by a program that becomes `squire`, such as one that enters a namespace before.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_by(mut program: Command, config: &Path, log: &Path) -> io::Result<Self> {
        let file = std::fs::File::create(log)?;
        let mut child = program
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        let (tell, mut lines) = mpsc::channel(1024);
        tokio::spawn(follow(tokio::fs::File::open(log).await?, tell));
        loop {
            let line = tokio::select! {
                biased;
                line = lines.recv() => line,
                ended = child.wait() => {
                    let said = std::fs::read_to_string(log)?;
                    return Err(io::Error::other(format!("the daemon did not start ({}): {said}", ended?)));
                }
            };
            let listening = line.as_ref().and_then(|line| line.get("listening"));
            if let Some(listening) = listening.and_then(Value::as_str) {
                return Ok(Self {
                    listening: listening.to_owned(),
                    child,
                    lines,
                });
            }
        }
    }

    /// The next line of its log.
    pub async fn next_line(&mut self) -> Option<Value> {
        self.lines.recv().await
    }

    /// A line of its log that is there already.
    pub fn try_next_line(&mut self) -> Option<Value> {
        self.lines.try_recv().ok()
    }

    /// The process's id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What `path` answers: the status and the body.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub async fn get(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let answer = reqwest::get(format!("http://{}{path}", self.listening)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// A metric's samples, by their labels as they are written.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub async fn metric(&self, name: &str) -> reqwest::Result<BTreeMap<String, f64>> {
        let (_, body) = self.get("/metrics").await?;
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let (found, labels) = metric.split_once('{').unwrap_or((metric, "}"));
            let labels = labels.trim_end_matches('}').to_owned();
            (found == name).then_some((labels, value.parse().ok()?))
        });
        Ok(samples.collect())
    }

    /// Sends SIGTERM and waits for the end, at most this long.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub async fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        let Some(id) = self.child.id() else {
            return self.child.wait().await;
        };
        process::signal(id, "TERM").await?;
        match timeout(patience, self.child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.child.kill().await?;
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the daemon did not stop in time after SIGTERM",
                ))
            }
        }
    }

    /// Kills it with SIGKILL: it has no time for anything.
    ///
    /// # Errors
    /// When the machine refuses.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Lets it run on after this program has ended.
    pub fn leave_running(self) {
        // `kill_on_drop` acts when the handle is dropped.
        std::mem::forget(self.child);
    }
}

/// Follows a log file that is being written, line by line, until nobody listens.
async fn follow(log: File, tell: mpsc::Sender<Value>) {
    let mut log = BufReader::new(log);
    let mut line = String::new();
    loop {
        match log.read_line(&mut line).await {
            Ok(n) if n > 0 && line.ends_with('\n') => {
                let parsed = serde_json::from_str(&line);
                let told = parsed.unwrap_or_else(|_| Value::String(line.trim_end().to_owned()));
                line.clear();
                if tell.send(told).await.is_err() {
                    return;
                }
            }
            // The end, for now: the rest of a line may be on its way.
            Ok(_) => sleep(Duration::from_millis(50)).await,
            Err(_) => return,
        }
        if tell.is_closed() {
            return;
        }
    }
}
