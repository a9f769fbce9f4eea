//! A daemon with a graph of real data, a directory, and a bucket that nobody answers for; and writers of the graph that
//! crash.

use std::{fs, io, path::PathBuf, time::Duration};

use squire_engine::{Graph, LoadMode, Options};
use squire_tests::{
    crew::{Member, Order, Stand, Work},
    daemon::{self, Daemon},
    patience::until,
    plain, repository,
    store::Moment,
};
use tempfile::TempDir;

/// A lease for writers of whom nobody is to be taken for dead, and who take nobody for dead.
const LONG: Duration = Duration::from_secs(600);
/// What a daemon needs to reach a bucket, if there were one.
const CREDENTIALS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "suite"),
    ("AWS_SECRET_ACCESS_KEY", "suite"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ALLOW_HTTP", "true"),
];

/// A folder with a graph in it, and a daemon that keeps it.
pub(crate) struct Scene {
    dir: TempDir,
    pub(crate) daemon: Daemon,
    pub(crate) graph: Graph,
}

impl Scene {
    /// The graph alone. The daemon has looked for what the dead left behind, once, and does so again only after an hour:
    /// nobody heals what crashes from now on.
    pub(crate) async fn with_healing_held_off() -> Self {
        Self::keep("", |_| {}).await
    }

    /// The graph, a directory and a bucket, with everything that has a metric of its own: a budget, a pause, versions that
    /// are listed, jobs.
    pub(crate) async fn with_everything() -> Self {
        let targets = "\n[target.pace]\nbytes_per_hour = \"1GiB\"\n[target.cleanup]\nkeep_versions = 1\n\
            [[target]]\nname = \"lake\"\nuri = \"FOLDER/lake\"\n[target.compaction]\nmin_small_fragments = 4\n\
            [[target]]\nname = \"bucket\"\nuri = \"s3://bucket/graph\"\n";
        let scene = Self::keep(targets, |folder| {
            let until = chrono::Utc::now() + chrono::TimeDelta::hours(1);
            let pause = serde_json::json!([{ "target": "flights", "table": "node:Airline", "until": until }]);
            fs::write(folder.join("pauses.json"), pause.to_string())
                .expect("the folder can be written");
        });
        scene.await
    }

    async fn keep(targets: &str, prepare: impl FnOnce(&std::path::Path)) -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let folder = dir.path();
        let (root, schema) = (
            folder.join("flights"),
            repository::file("tests/data/flights.toml"),
        );
        done(&["init", utf8(&root), "--schema", utf8(&schema)]).await;
        for table in ["Airline=airlines", "Airport=airports"] {
            let (name, file) = table.split_once('=').expect("a table and a file");
            let file = data(file);
            done(&["load", utf8(&root), &format!("{name}={}", utf8(&file))]).await;
        }
        if targets.contains("lake") {
            for n in 0..6 {
                let rows = plain::rows(n * 100, 100);
                plain::append(&folder.join("lake"), "docs", rows)
                    .await
                    .expect("a table takes rows");
            }
            // It is passed over.
            std::os::unix::fs::symlink("itself", folder.join("lake/itself")).expect("it is new");
            let indexed = plain::index_ids(&folder.join("lake"), "docs").await;
            indexed.expect("ids can be indexed");
        }
        prepare(folder);
        let config = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"200ms\"\nheal_interval = \"1h\"\nlog = \"info,squire=debug\"\nstate_dir = \"FOLDER\"\n\
             [[target]]\nname = \"flights\"\nuri = \"FOLDER/flights\"\n{targets}"
        );
        let file = folder.join("squire.toml");
        fs::write(&file, config.replace("FOLDER", utf8(folder)))
            .expect("the folder can be written");
        let closed = format!("http://{}", free_address());
        let environment = CREDENTIALS.into_iter().chain([("AWS_ENDPOINT", &*closed)]);
        let daemon = Daemon::start_in(&file, &folder.join("log"), environment).await;
        let graph = Graph::open(utf8(&root), Options::default()).await;
        let scene = Self {
            daemon: daemon.expect("the daemon starts"),
            graph: graph.expect("there is a graph"),
            dir,
        };
        scene.until_healed_once().await;
        scene
    }

    /// Waits until the first round of healing has ended.
    async fn until_healed_once(&self) {
        let log = self.dir.path().join("log");
        until("the graph was healed", async || {
            let said = fs::read_to_string(&log).expect("there is a log");
            said.contains("\"looked for what the dead left behind\"")
        })
        .await;
    }

    /// The graph's root.
    pub(crate) fn root(&self) -> String {
        utf8(&self.dir.path().join("flights")).to_owned()
    }

    /// A writer that decides a load of planes and flights, commits the planes, and is killed.
    pub(crate) async fn crash(&self) {
        let half_way = Stand::frozen(Moment::After, "Plane.lance/_versions/");
        let mut writer = self.writer("crashed", vec![half_way]);
        writer.stands().await.expect("it comes half-way");
        writer.kill().await.expect("it can be killed");
    }

    /// A writer that loads planes and flights.
    pub(crate) fn writer(&self, actor: &str, stands: Vec<Stand>) -> Member {
        let files = vec![
            (LoadMode::Upsert, "Plane".to_owned(), data("planes")),
            (
                LoadMode::Append,
                "Flight".to_owned(),
                data("flights_january"),
            ),
        ];
        let order = Order {
            root: self.root(),
            actor: actor.to_owned(),
            lease: LONG,
            stands,
            work: Work::Load(files),
        };
        Member::start(&order).expect("a writer can be started")
    }

    /// Heals by hand, as an operator does who knows that the writer is dead; what it said.
    pub(crate) async fn heal(&self) -> String {
        done(&["heal", &self.root(), "--now"]).await
    }

    /// Stops the daemon in order.
    pub(crate) async fn stop(self) -> io::Result<()> {
        let ended = self.daemon.stop(Duration::from_secs(60)).await?;
        assert!(ended.success(), "{ended}");
        Ok(())
    }
}

/// A file of the real data.
fn data(name: &str) -> PathBuf {
    repository::file("tests/data/nycflights13").join(format!("{name}.parquet"))
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address")
}

fn utf8(path: &std::path::Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Runs a command that does what it is told; what it printed.
async fn done(args: &[&str]) -> String {
    let ran = daemon::run(args).await.expect("squire can be started");
    assert!(ran.status.success(), "{args:?}: {ran:?}");
    String::from_utf8(ran.stdout).expect("it prints UTF-8")
}
