//! The programs of `tests/python/`, each in a process of its own.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

use crate::repository;

/// The interpreter of an environment with the packages of `tests/python/requirements.txt`, which `.ci/python` makes.
///
/// # Errors
/// When it cannot be had; what is lacking stands on standard error.
pub async fn interpreter() -> io::Result<PathBuf> {
    environment(None).await
}

/// The interpreter of an environment with one version of lancedb, as `tests/python/clients/` has them.
///
/// # Errors
/// As [`interpreter`].
pub async fn interpreter_of(version: &str) -> io::Result<PathBuf> {
    environment(Some(version)).await
}

/// The interpreter of an environment with the servers of `tests/python/services.txt`.
///
/// # Errors
/// As [`interpreter`].
pub async fn services() -> io::Result<PathBuf> {
    environment(Some("services")).await
}

async fn environment(version: Option<&str>) -> io::Result<PathBuf> {
    let script = repository::file(".ci/python");
    let made = Command::new(&script)
        .args(version)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if !made.status.success() {
        return Err(io::Error::other(format!(
            "there is no Python with the packages of the tests: {} failed; run it by hand to see why",
            script.display()
        )));
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&made.stdout).trim_end(),
    ))
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts `tests/python/NAME.py`. What it says on standard error is passed on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(
        interpreter: &Path,
        name: &str,
        args: impl IntoIterator<Item = S>,
    ) -> io::Result<Self> {
        let child = Command::new(interpreter)
            // No compiled files in the checkout.
            .arg("-B")
            .arg(repository::file(format!("tests/python/{name}.py")))
            .args(args)
            // What Lance itself warns of is told to the client, too.
            .env("LANCE_LOG", "error")
            .env("LANCEDB_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn ready(&mut self) -> io::Result<()> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.trim_end() == "ready" {
            return Ok(());
        }
        let ended = self.child.wait().await?;
        Err(self.failed(&format!("ended before it was ready: {ended}")))
    }

    /// Tells it to go.
    ///
    /// # Errors
    /// When it does not listen.
    pub async fn go(&mut self) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write_all(b"go\n").await,
            None => Err(self.failed("does not listen")),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it fails.
    pub async fn end(mut self) -> io::Result<()> {
        let ended = self.child.wait().await?;
        if ended.success() {
            Ok(())
        } else {
            Err(self.failed(&ended.to_string()))
        }
    }

    fn failed(&self, how: &str) -> io::Error {
        io::Error::other(format!("tests/python/{}.py: {how}", self.name))
    }
}
