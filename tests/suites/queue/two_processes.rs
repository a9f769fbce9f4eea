//! The `squire` binary, held at failpoints, beside another process.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use squire_engine::{Graph, Options, failpoint};
use squire_tests::{
    daemon::squire,
    flights::{day, key, schema},
    place::rows,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::fill;

/// A graph on local disk, which processes share.
struct Site {
    dir: TempDir,
}

impl Site {
    async fn new() -> (Self, Graph) {
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir };
        let created = Graph::create(&site.text("graph"), schema(), Options::default()).await;
        let graph = created.unwrap();
        fill(&graph).await;
        (site, graph)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    /// A command on the graph, in a process that waits at `failpoint` until it is told to go on.
    fn start(&self, command: &[&str], failpoint: &str) -> Process {
        let go = self.path(&format!("go-{failpoint}"));
        Process::start(
            self,
            command,
            &format!("{failpoint}=return({})", go.display()),
            go,
        )
    }

    /// Files of a table's data.
    fn data(&self, table: &str) -> usize {
        let data = self.path("graph").join(table).join("data");
        std::fs::read_dir(data).unwrap().count()
    }
}

/// A `squire` with failpoints.
struct Process {
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
    async fn reaches(&mut self, failpoint: &str) {
        let reached = format!("failpoint {failpoint} reached");
        while let Some(line) = self.says.next_line().await.unwrap() {
            let reaches = line == reached;
            self.said.push(line);
            if reaches {
                return;
            }
        }
        panic!("it ended before {failpoint}: {:?}", self.said);
    }

    /// Lets it go on from where it waits.
    fn go_on(&self) {
        std::fs::write(&self.go, "").unwrap();
    }

    /// Its exit code, and what it said.
    async fn ends(mut self) -> (Option<i32>, String) {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_moved_under_another_process_that_bypassed_the_queue_is_a_mismatch_and_nothing_is_lost()
 {
    let (site, graph) = Site::new().await;
    let pin = graph
        .snapshot()
        .await
        .unwrap()
        .manifest()
        .pin(&key("edge:Flight"));
    let flights = site.write("flights.csv", "origin,dest,day\nJFK,BOS,9\n");
    let (input, expect) = (format!("Flight={flights}"), format!("Flight={pin}"));
    let load = ["load", "graph", &input, "--expect", &expect];
    let mut bypasses = site.start(&load, failpoint::AFTER_STAGE);
    bypasses.reaches(failpoint::AFTER_STAGE).await;
    assert_eq!(site.data("Flight.lance"), 4);
    graph.load(day(7, 10)).await.unwrap();
    let published = graph.snapshot().await.unwrap().manifest().clone();
    bypasses.go_on();
    let (code, said) = bypasses.ends().await;
    assert_eq!(code, Some(3), "{said}");
    let mismatch = format!("is at version {}, expected {pin}", pin + 1);
    assert!(said.contains(&mismatch), "{said}");
    assert_eq!(*graph.snapshot().await.unwrap().manifest(), published);
    assert_eq!(rows(&graph, "edge:Flight").await, 40);
    assert_eq!(
        site.data("Flight.lance"),
        4,
        "its file is gone, the other's is there"
    );
    assert!(is_empty(&site.path("graph/_squire/recovery")));
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
