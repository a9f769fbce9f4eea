//! The `squire` binary, held at failpoints, on a graph that processes share.

use std::{path::PathBuf, process::Stdio};

use fail::FailScenario;
use squire_engine::{Graph, Options};
use squire_tests::{daemon::squire, flights::schema};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::fill;

/// A graph on local disk, which processes share. While it lives, no other test of this suite runs: what this process
/// does to the graph would stand at the failpoints that they set.
pub(crate) struct Site {
    dir: TempDir,
    _alone: FailScenario<'static>,
}

impl Site {
    pub(crate) async fn new() -> (Self, Graph) {
        let _alone = FailScenario::setup();
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir, _alone };
        let created = Graph::create(&site.text("graph"), schema(), Options::default()).await;
        let graph = created.unwrap();
        fill(&graph).await;
        (site, graph)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    /// A command on the graph, in a process that waits at `failpoint` until it is told to go on.
    pub(crate) fn start(&self, command: &[&str], failpoint: &str) -> Process {
        let go = self.path(&format!("go-{failpoint}"));
        let failpoints = format!("{failpoint}=return({})", go.display());
        Process::start(self, command, &failpoints, go)
    }

    /// A command on the graph, in a process that dies at `failpoint`, as if it were killed.
    pub(crate) fn dies(&self, command: &[&str], failpoint: &str) -> Process {
        Process::start(
            self,
            command,
            &format!("{failpoint}=return"),
            self.path("go"),
        )
    }

    /// A command on the graph, in a process that nothing holds up.
    pub(crate) fn run(&self, command: &[&str]) -> Process {
        Process::start(self, command, "", self.path("go"))
    }

    /// Files of a table's data.
    pub(crate) fn data(&self, table: &str) -> usize {
        let data = self.path("graph").join(table).join("data");
        std::fs::read_dir(data).unwrap().count()
    }
}

/// A `squire` with failpoints.
pub(crate) struct Process {
    child: Child,
    says: Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
    go: PathBuf,
}

impl Process {
    fn start(site: &Site, command: &[&str], failpoints: &str, go: PathBuf) -> Self {
        let mut child = Command::new(squire().unwrap())
            .args(command)
            .env("FAILPOINTS", failpoints)
            .current_dir(site.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            says,
            said: Vec::new(),
            go,
        }
    }

    /// Waits until it stands at a failpoint, or has passed it.
    pub(crate) async fn reaches(&mut self, failpoint: &str) {
        self.tells(&format!("failpoint {failpoint} reached")).await;
    }

    /// Waits until it says something like this on standard error.
    pub(crate) async fn tells(&mut self, what: &str) {
        while let Some(line) = self.says.next_line().await.unwrap() {
            let told = line.contains(what);
            self.said.push(line);
            if told {
                return;
            }
        }
        panic!("it ended before it said {what:?}: {:?}", self.said);
    }

    /// Lets it go on from where it waits.
    pub(crate) fn go_on(&self) {
        std::fs::write(&self.go, "").unwrap();
    }

    /// Its exit code, and what it said.
    pub(crate) async fn ends(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut out = self.child.stdout.take().unwrap();
        out.read_to_string(&mut said).await.unwrap();
        while let Some(line) = self.says.next_line().await.unwrap() {
            self.said.push(line);
        }
        said.push_str(&self.said.join("\n"));
        (self.child.wait().await.unwrap().code(), said)
    }
}
