//! A disk without room, by command and by the daemon: what makes room is done, the rest is refused with the reason and leaves
//! nothing behind, other targets have their turn, and when there is room again, all goes on by itself.

use std::path::Path;

use lance::Dataset;
use squire_tests::{
    plain,
    show::{say, table},
    small_disk::SmallDisk,
};

use crate::{
    beside::POLICY,
    site::{QUICK, Ran, Site, done, files, text, until},
};

/// What one rewrite takes is much more than what a cleanup of small versions makes room for.
const ROWS: i64 = 10_000;
const FRAGMENTS: i64 = 8;
const NO_SPACE: &str = "No space left";

async fn squire(disk: &SmallDisk, args: &[&str]) -> Ran {
    disk.squire()
        .unwrap()
        .args(args)
        .output()
        .await
        .unwrap()
        .into()
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
    let Some(disk) = SmallDisk::new(&site.path(""), 24).await.unwrap() else {
        return;
    };
    let (root, uri) = (disk.outside().join("lake"), text(&disk.folder.join("lake")));
    lake(&root, "bad").await;
    disk.fill_but(0).unwrap();
    let mut row = vec!["full disk".to_owned()];
    for duty in ["compact", "index"] {
        let before = files(&root);
        let ran = squire(&disk, &[duty, &uri]).await;
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
        done(squire(&disk, &cleanup).await);
        versions(&root, "bad") == 1
    })
    .await;
    row.push("done".to_owned());
    say(table(&["", "compact", "index", "cleanup"], vec![row]));

    disk.empty().unwrap();
    done(squire(&disk, &["compact", &uri]).await);
    done(squire(&disk, &["index", &uri]).await);
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
    let Some(disk) = SmallDisk::new(&site.path(""), 24).await.unwrap() else {
        return;
    };
    let (root, roomy) = (disk.outside().join("lake"), site.path("roomy"));
    lake(&root, "bad").await;
    lake(&roomy, "good").await;
    disk.fill_but(0).unwrap();
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
        .daemon_by(disk.squire().unwrap(), Path::new(&config), "log")
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

    disk.empty().unwrap();
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
