//! A disk without room, by command and by the daemon: what makes room is done, the rest is refused with the reason and leaves
//! nothing behind, other targets have their turn, and when there is room again, all goes on by itself.
//!
//! The disk is a small one in memory, in a namespace of its own for mounts: it goes with the process that holds it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use lance::Dataset;
use squire_tests::{
    daemon, plain,
    show::{say, table},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    beside::POLICY,
    site::{QUICK, Ran, Site, done, files, text, until},
};

/// What one rewrite takes is much more than what a cleanup of small versions makes room for.
const ROWS: i64 = 10_000;
const FRAGMENTS: i64 = 8;
const NO_SPACE: &str = "No space left";

/// A small disk.
struct Disk {
    /// Its mounts end with it.
    holder: Child,
    /// Where the disk is for those who have its mounts.
    folder: PathBuf,
}

impl Disk {
    /// A disk of so many MiB; nothing where this machine does not let us.
    async fn new(site: &Site, mib: u32) -> Option<Self> {
        let folder = site.path("disk");
        fs::create_dir(&folder).unwrap();
        let script =
            "mount -t tmpfs -o size=\"$1\"m squire \"$2\" && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(mib.to_string())
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(holder.stdout.take()?).lines();
        let is_ready = lines.next_line().await.ok()? == Some("ready".to_owned());
        if !is_ready {
            say("skipped: a small disk cannot be mounted here; it takes root, and leave to mount");
        }
        is_ready.then_some(Self { holder, folder })
    }

    fn id(&self) -> String {
        self.holder.id().expect("it holds the disk").to_string()
    }

    /// The disk as this process reaches it.
    fn outside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.id(), text(&self.folder)))
    }

    /// A program that has its mounts.
    fn program(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.id(), "--"]);
        command.arg(daemon::squire().unwrap());
        command
    }

    async fn squire(&self, args: &[&str]) -> Ran {
        self.program().args(args).output().await.unwrap().into()
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let ballast = self.outside().join("ballast");
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(ballast)
            .unwrap();
        for part in [64 << 10, 4 << 10] {
            loop {
                match file.write_all(&vec![0; part]) {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::StorageFull => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.outside().join("ballast")).unwrap();
    }
}

/// A table of many fragments, with an index over the first half.
async fn lake(root: &Path, name: &str) {
    for n in 0..FRAGMENTS {
        let rows = plain::rows(n * ROWS, ROWS);
        plain::append(root, name, rows).await.unwrap();
        if n == FRAGMENTS / 2 - 1 {
            plain::index_ids(root, name).await.unwrap();
        }
    }
}

async fn fragments(root: &Path, name: &str) -> usize {
    let dataset = plain::open(root, name).await.unwrap();
    dataset.get_fragments().len()
}

fn versions(root: &Path, name: &str) -> usize {
    let found = files(&root.join(format!("{name}.lance/_versions")));
    let manifests = found.keys().filter(|file| file.ends_with(".manifest"));
    manifests.count()
}

/// Data files that no version names, and what a store began and did not end.
async fn left_behind(root: &Path, name: &str) -> Vec<String> {
    let newest = plain::open(root, name).await.unwrap();
    let mut named = Vec::new();
    for version in newest.versions().await.unwrap() {
        let dataset: Dataset = newest.checkout_version(version.version).await.unwrap();
        for fragment in dataset.manifest().fragments.iter() {
            named.extend(fragment.files.iter().map(|file| file.path.clone()));
        }
    }
    let mut there = files(&root.join(format!("{name}.lance")));
    there.retain(|path, _| {
        let is_known = |data: &str| named.iter().any(|file| **file == *data);
        match path.strip_prefix("data/") {
            Some(data) => !is_known(data),
            None => path.contains('#') || path.contains(".tmp"),
        }
    });
    there.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_command_on_a_full_disk_what_makes_room_is_done_and_the_rest_refused_without_a_trace() {
    let site = Site::new();
    let Some(disk) = Disk::new(&site, 24).await else {
        return;
    };
    let (root, uri) = (disk.outside().join("lake"), text(&disk.folder.join("lake")));
    lake(&root, "bad").await;
    disk.fill();
    let mut row = vec!["full disk".to_owned()];
    for duty in ["compact", "index"] {
        let before = files(&root);
        let ran = disk.squire(&[duty, &uri]).await;
        assert_ne!(ran.code, Some(0), "{ran:?}");
        let told = format!("{}{}", ran.out, ran.err);
        assert!(
            told.contains(NO_SPACE) && told.contains("bad of"),
            "{ran:?}"
        );
        assert_eq!(files(&root), before, "{duty} leaves nothing behind");
        row.push(NO_SPACE.to_owned());
    }
    let cleanup = ["cleanup", &uri, "--keep-for", "1s", "--keep-versions", "1"];
    until("versions are old enough", async || {
        done(disk.squire(&cleanup).await);
        versions(&root, "bad") == 1
    })
    .await;
    row.push("done".to_owned());
    say(table(&["", "compact", "index", "cleanup"], vec![row]));

    disk.empty();
    done(disk.squire(&["compact", &uri]).await);
    done(disk.squire(&["index", &uri]).await);
    assert!(fragments(&root, "bad").await <= 2);
    let dataset = plain::open(&root, "bad").await.unwrap();
    let rows = dataset.count_rows(None).await.unwrap();
    assert_eq!(rows as i64, ROWS * FRAGMENTS);
    assert_eq!(left_behind(&root, "bad").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_tells_of_a_full_disk_keeps_other_targets_and_goes_on_by_itself_once_there_is_room()
 {
    let site = Site::new();
    let Some(disk) = Disk::new(&site, 24).await else {
        return;
    };
    let (root, roomy) = (disk.outside().join("lake"), site.path("roomy"));
    lake(&root, "bad").await;
    lake(&roomy, "good").await;
    disk.fill();
    let config = site.write(
        "squire.toml",
        format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\n{QUICK}{POLICY}\
             [[target]]\nname = \"full\"\nuri = \"{}\"\n[[target]]\nname = \"roomy\"\nuri = \"{}\"\n",
            text(&disk.folder.join("lake")),
            text(&roomy)
        ),
    );
    let daemon = site
        .daemon_by(disk.program(), Path::new(&config), "log")
        .await;
    until("the full disk is told", async || {
        site.explain(&daemon, "full").await.contains(NO_SPACE)
    })
    .await;
    until("the table of the other target is kept", async || {
        fragments(&roomy, "good").await <= 2 && versions(&roomy, "good") <= 2
    })
    .await;
    until("cleanup makes room on the full disk", async || {
        versions(&root, "bad") <= 2
    })
    .await;
    assert_eq!(fragments(&root, "bad").await as i64, FRAGMENTS);
    // What a job at work has written is there for a moment.
    until("nothing is left behind", async || {
        left_behind(&root, "bad").await.is_empty()
    })
    .await;

    disk.empty();
    until("it goes on by itself", async || {
        fragments(&root, "bad").await <= 2
    })
    .await;
    until("nothing is told of it any more", async || {
        !site.explain(&daemon, "full").await.contains(NO_SPACE)
    })
    .await;
    let dataset = plain::open(&root, "bad").await.unwrap();
    let rows = dataset.count_rows(None).await.unwrap();
    assert_eq!(rows as i64, ROWS * FRAGMENTS);
    until("nothing is left behind then", async || {
        left_behind(&root, "bad").await.is_empty()
    })
    .await;
}
