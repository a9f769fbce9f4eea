//! A folder in which a document's commands run.
//!
//! A document takes things for given: a LanceDB directory and a graph in `/var/lib`, a configuration in `/etc/squire`. They are
//! there, below a folder of the test's own, and so is `/tmp`: in what runs, these paths lead there. `squire run` goes on in
//! the background once it is ready; `make` and `cargo` say whether they know what they are asked for and do no more.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use squire_tests::{daemon, plain, repository};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::pages::Block;

const PATIENCE: Duration = Duration::from_secs(180);

/// What stands in the documents, and the folder of the scene that it means.
const FOLDERS: [(&str, &str); 3] = [
    ("/var/lib", "state"),
    ("/etc/squire", "etc"),
    ("/tmp", "tmp"),
];
/// Where the daemon listens, as the documents have it.
const ADDRESS: &str = "127.0.0.1:9464";

const CONFIG: &str = r#"
[[target]]
name = "lake"
uri = "/var/lib/lancedb"

[[target]]
name = "flights"
uri = "/var/lib/flights"
"#;

const SQUIRE: &str = r#"#!/usr/bin/env bash
set -euo pipefail
case ${1-} in
    run | check | explain | pause | pauses | resume | reload | top)
        [[ " $* " == *" --config "* ]] || set -- "$@" --config "$SCENE/etc/squire.toml" ;;
esac
case ${1-} in
    run) ;;
    # A table can be paused once the daemon has looked at it.
    pause)
        until said=$("$REAL" "$@" 2>&1); do
            [[ $said == *"is known yet"* ]] || { echo "$said" >&2; exit 1; }
            sleep 0.05
        done
        exit 0 ;;
    *) exec "$REAL" "$@" ;;
esac
"$SCENE/stop"
"$REAL" "$@" >"$SCENE/log" 2>&1 &
echo $! >"$SCENE/pid"
until grep -q 'squire is running' "$SCENE/log"; do
    kill -0 $! 2>/dev/null || { cat "$SCENE/log" >&2; exit 1; }
    sleep 0.05
done
"#;

const STOP: &str = r#"#!/usr/bin/env bash
[[ -e $SCENE/pid ]] || exit 0
pid=$(cat "$SCENE/pid")
rm "$SCENE/pid"
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
"#;

const MAKE: &str = r#"#!/usr/bin/env bash
exec "$REAL_MAKE" --directory "$REPOSITORY" --dry-run "$@" >/dev/null
"#;

/// Says whether the suites that it is asked for are there.
const CARGO: &str = r#"#!/usr/bin/env bash
[[ $1 == test ]] || { echo "documents run tests alone by cargo, not: $*" >&2; exit 1; }
while (($#)); do
    if [[ $1 == --test ]]; then
        grep -qx "name = \"$2\"" "$REPOSITORY/tests/Cargo.toml" || compgen -G "$REPOSITORY/config/tests/$2*" >/dev/null ||
            { echo "there is no suite $2" >&2; exit 1; }
    fi
    shift
done
"#;

pub(crate) struct Scene {
    dir: TempDir,
    address: String,
}

impl Scene {
    /// With what documents take for given.
    pub(crate) async fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            address: free.to_string(),
        };
        for folder in ["bin", "etc", "home", "state", "tmp", "work"] {
            std::fs::create_dir(scene.path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(repository::file("tests"), scene.path("work/tests")).unwrap();
        for (name, text) in [("squire", SQUIRE), ("make", MAKE), ("cargo", CARGO)] {
            scene.script(&format!("bin/{name}"), text);
        }
        scene.script("stop", STOP);
        std::fs::write(scene.path("etc/squire.toml"), scene.here(CONFIG)).unwrap();
        let lake = scene.path("state/lancedb");
        for n in 0..3 {
            plain::append(&lake, "docs", plain::rows(n * 100, 100))
                .await
                .unwrap();
        }
        scene.make_graph().await;
        scene
    }

    async fn make_graph(&self) {
        let (data, graph) = (repository::file("tests/data"), self.path("state/flights"));
        let graph = graph.to_str().unwrap();
        let schema = data.join("flights.toml");
        let airlines = data.join("nycflights13/airlines.parquet");
        let airlines = format!("Airline={}", airlines.display());
        for args in [
            ["init", graph, "--schema", schema.to_str().unwrap()].as_slice(),
            &["load", graph, &airlines],
        ] {
            let ran = daemon::run(args).await.unwrap();
            assert!(ran.status.success(), "{ran:?}");
        }
    }

    /// A file that a document shows.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.here(file);
        std::fs::write(self.path("work").join(file), self.here(text)).unwrap();
    }

    /// Runs a block.
    ///
    /// # Panics
    /// When a command of it fails.
    pub(crate) async fn run(&mut self, block: &Block) {
        let text = self.here(&block.text);
        let mut command = if block.language() == "python" {
            let made = Command::new(repository::file(".ci/python"))
                .output()
                .await
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            let mut command = Command::new(String::from_utf8(made.stdout).unwrap().trim());
            command.args(["-c", &text]);
            command
        } else {
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", &text]);
            command
        };
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.path("work"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.path("home"))
            .env("SCENE", self.dir.path())
            .env("REAL", daemon::squire().unwrap())
            .env("REAL_MAKE", which("make"))
            .env("REPOSITORY", repository::file(""))
            .env("SQUIRE__DAEMON__LISTEN", &self.address)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ran = timeout(PATIENCE, command.output()).await;
        let ran = ran
            .unwrap_or_else(|_| panic!("{}: it does not end", block.place))
            .unwrap();
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(
            ran.status.success(),
            "{}: {}\n{}",
            block.place,
            ran.status,
            said.concat()
        );
    }

    /// A text of a document, as it is meant here.
    fn here(&self, text: &str) -> String {
        let (mut here, mut rest) = (String::new(), text);
        // In one go: the folders of the scene have `/tmp` in their own names.
        'text: while let Some(next) = rest.chars().next() {
            for (there, folder) in FOLDERS {
                if let Some(after) = rest.strip_prefix(there) {
                    here.push_str(self.path(folder).to_str().unwrap());
                    rest = after;
                    continue 'text;
                }
            }
            here.push(next);
            rest = &rest[next.len_utf8()..];
        }
        here.replace(ADDRESS, &self.address)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Scene {
    /// Stops the daemon, if there is one.
    fn drop(&mut self) {
        let mut stop = std::process::Command::new(self.path("stop"));
        let _ = stop.env("SCENE", self.dir.path()).status();
    }
}

/// Where a program is.
fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut there = std::env::split_paths(&path).map(|folder| folder.join(name));
    there.find(|program| Path::is_file(program)).unwrap()
}
