//! A folder with tables in it, and a daemon that keeps it.

use std::{fs, path::PathBuf};

use serde_json::Value;
use squire_tests::{daemon::Daemon, folder, plain};
use tempfile::TempDir;

pub(crate) use squire_tests::patience::{PATIENCE, until};

/// A daemon's token.
pub(crate) const TOKEN: &str = "7c1f0e5bd2a94c6f8e3a51b09d77e2c4";

/// A folder of a test's own.
pub(crate) struct Scene {
    dir: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        fs::create_dir(dir.path().join("lake")).expect("the folder can be written");
        Self { dir }
    }

    /// Where the tables are.
    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    /// Appends so many fragments to a table.
    pub(crate) async fn write(&self, table: &str, fragments: usize) {
        for _ in 0..fragments {
            let written = plain::append(&self.lake(), table, plain::rows(0, 20)).await;
            written.expect("a table can be written");
        }
    }

    /// The daemon's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("squire.toml")
    }

    /// Makes tables like one that is there.
    pub(crate) fn copy(&self, table: &str, names: impl IntoIterator<Item = String>) {
        let folder = |name: &str| self.lake().join(format!("{name}.lance"));
        for name in names {
            folder::copy(&folder(table), &folder(&name)).expect("it can be copied");
        }
    }

    /// A daemon that keeps the tables as the target `lake`, and the target `lost` that is not there. These are keys of
    /// `lake`; it has a token, or none.
    pub(crate) async fn daemon(&self, of_lake: &str, token: Option<&str>) -> Daemon {
        let (root, config) = (self.dir.path(), self.config());
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"200ms\"\nhot_tick = \"200ms\"\n\
             [[target]]\nname = \"lake\"\nuri = \"{}\"\nkind = \"directory\"\n{of_lake}\n\
             [[target]]\nname = \"lost\"\nuri = \"{}\"\n",
            self.lake().display(),
            root.join("nowhere").display(),
        );
        fs::write(&config, text).expect("the folder can be written");
        let environment = token.map(|token| ("SQUIRE_TOKEN", token));
        let daemon = Daemon::start_in(&config, &root.join("log"), environment).await;
        daemon.expect("the daemon starts")
    }
}

/// What a path answers, as JSON.
pub(crate) async fn get(daemon: &Daemon, path: &str) -> Value {
    let (code, body) = daemon.get(path).await.expect("the daemon answers");
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("it is JSON")
}

/// Waits until a table is as it should be.
pub(crate) async fn until_table(daemon: &Daemon, table: &str, is: impl Fn(&Value) -> bool) {
    until(table, async || {
        let all = get(daemon, "/api/v1/tables").await;
        let tables = all["tables"].as_array().expect("there is a list");
        tables.iter().any(|t| t["table"] == table && is(t))
    })
    .await;
}
