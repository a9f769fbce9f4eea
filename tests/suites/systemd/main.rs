//! The daemon as a service: what the service manager is told, reloads, the units as such, and a real systemd.
//!
//! | file | what is in it |
//! |---|---|
//! | [`units`] | the unit files, read and judged by systemd's own tools |
//! | [`notified`] | a socket in the place of the service manager |
//! | [`reloads`] | another configuration for a running daemon |
//! | [`booted`] | a systemd of this suite's own runs the unit |
//! | [`installed`] | such a systemd runs what `squire service install` wrote |
#![allow(missing_docs)]

mod booted;
mod installed;
mod notified;
mod reloads;
mod units;

use std::path::PathBuf;

use squire_tests::{
    daemon::{self, Daemon},
    patience::PATIENCE,
};
use tokio::process::Command;

/// A daemon in a folder of a test's own, with its runtime folder, as a service manager would start it.
struct Service {
    dir: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its configuration: any free port, quick looks, and this.
    fn configure(&self, daemon: &str, targets: &str) {
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"100ms\"\nlog_format = \"json\"\n{daemon}\n{targets}"
        );
        std::fs::write(self.path("squire.toml"), text).unwrap();
    }

    fn target(&self, name: &str, policies: &str) -> String {
        let uri = self.path(name);
        std::fs::create_dir_all(&uri).unwrap();
        format!(
            "[[target]]\nname = \"{name}\"\nuri = \"{}\"\nkind = \"directory\"\n{policies}\n",
            uri.display()
        )
    }

    /// Starts it, with these variables besides, and waits until it listens.
    async fn start(&self, variables: &[(&str, &str)]) -> Daemon {
        let run = self.path("run");
        let runtime = ("RUNTIME_DIRECTORY", run.to_str().unwrap());
        let environment = variables.iter().copied().chain([runtime]);
        let (config, log) = (self.path("squire.toml"), self.path("log"));
        Daemon::start_in(&config, &log, environment).await.unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `squire reload`: whether it went well, and what it said.
    async fn reload(&self) -> (Option<i32>, String) {
        let mut reload = Command::new(daemon::squire().unwrap());
        reload
            .arg("reload")
            .env("RUNTIME_DIRECTORY", self.path("run"));
        let ran = reload.output().await.unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8(said).unwrap())
    }
}

/// What the daemon answers.
async fn get(daemon: &Daemon, path: &str) -> String {
    daemon.get(path).await.unwrap().1
}

/// Stops the daemon, which ends in order.
async fn stop(daemon: Daemon, service: &Service) {
    let ended = daemon.stop(PATIENCE).await.unwrap();
    assert!(ended.success(), "{}", service.log());
}
