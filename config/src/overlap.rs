//! Whether targets overlap. A place with two targets is maintained twice: two jobs rewrite one table, a pause of the one
//! target does not hold the other, and budgets count twice.
//!
//! What two names have in common is decided by itself ([`overlap`]). What a disk knows of a name is looked up before
//! ([`Location`]), for a limited time: a mount that does not answer concerns its own target alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use squire_engine::Kind;
use url::Url;

use crate::error::Refusal;
use crate::settings::Target;

/// Timeout of the disk. Places that it does not resolve are compared as they are written.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);
/// How the folder of a table ends.
const TABLE: &str = ".lance";
/// Squire's own folder in a target.
const OWN: &str = "_squire";

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    /// What the parts are of: the disk, memory, a kind of store.
    scheme: String,
    /// From the outermost folder, or the bucket, to the innermost.
    parts: Vec<String>,
    /// What the disk knows the folder by, however it was found: its device and its number there.
    id: Option<(u64, u64)>,
    /// A graph's tables are in folders of its own; a directory's are whatever lies in it.
    is_graph: bool,
}

/// What is wrong with two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// They are one.
    Same,
    /// The first is a table of the second, or within one.
    InTable,
    /// The first is a folder in the second, and both may be directories.
    Nested,
}

/// Of the targets, each that is where another is, with the other and what is to be said; the later one first.
pub(crate) fn overlaps(targets: &[Target]) -> Vec<(usize, Refusal)> {
    let locations = Location::of_all(targets);
    let mut found = Vec::new();
    for (later, location) in locations.iter().enumerate() {
        for (earlier, other) in locations.iter().enumerate().take(later) {
            let (one, two) = (&targets[later].name, &targets[earlier].name);
            let refusal = match (overlap(location, other), overlap(other, location)) {
                (Some(overlap), _) => overlap.refusal(one, two),
                (None, Some(overlap)) => overlap.refusal(two, one),
                (None, None) => continue,
            };
            found.push((later, refusal));
        }
    }
    found
}

/// What is wrong with `inner`, seen from `outer`.
fn overlap(inner: &Location, outer: &Location) -> Option<Overlap> {
    if inner.scheme != outer.scheme {
        return None;
    }
    if inner.id.is_some() && inner.id == outer.id {
        return Some(Overlap::Same);
    }
    let below = inner.parts.strip_prefix(outer.parts.as_slice())?;
    let Some(first) = below.first() else {
        return Some(Overlap::Same);
    };
    if first.ends_with(TABLE) || first == OWN {
        Some(Overlap::InTable)
    } else {
        (!inner.is_graph && !outer.is_graph).then_some(Overlap::Nested)
    }
}

impl Overlap {
    fn refusal(self, inner: &str, outer: &str) -> Refusal {
        let (what, fix) = match self {
            Self::Same => (
                format!(
                    "targets {inner:?} and {outer:?} are one place under two names: it would be maintained twice, and a pause of the one would not hold the other"
                ),
                "remove one of them; tables that need another policy get it from [[target.table]]",
            ),
            Self::InTable => (
                format!("target {inner:?} lies in a table of target {outer:?}, or in its `{OWN}`"),
                "give the folder that has the tables, not that of a table",
            ),
            Self::Nested => (
                format!(
                    "target {inner:?} is a folder in target {outer:?}, and both may be directories"
                ),
                "move one of them out of the other; where one is a graph, write kind = \"graph\" for it",
            ),
        };
        Refusal::new(what, fix)
    }
}

impl Location {
    /// Of each target, in their order. Asks the disk, for all of them at once.
    fn of_all(targets: &[Target]) -> Vec<Self> {
        let mut locations: Vec<_> = targets.iter().map(Self::as_written).collect();
        let (sender, receiver) = mpsc::channel();
        let mut asked = 0_usize;
        for (n, target) in targets.iter().enumerate() {
            if let Some(path) = folder(&target.uri) {
                let (sender, kind) = (sender.clone(), target.kind);
                let ask = move || {
                    // The receiver may have timed out.
                    let _ = sender.send((n, Self::on_disk(&path, kind)));
                };
                asked += usize::from(thread::Builder::new().spawn(ask).is_ok());
            }
        }
        let end = Instant::now() + DISK_TIMEOUT;
        for _ in 0..asked {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((n, location)) = receiver.recv_timeout(left) else {
                break;
            };
            locations[n] = location;
        }
        locations
    }

    fn as_written(target: &Target) -> Self {
        let is_graph = target.kind == Some(Kind::Graph);
        let of = |scheme: &str, parts| Self {
            scheme: scheme.to_owned(),
            parts,
            id: None,
            is_graph,
        };
        if let Some(path) = folder(&target.uri) {
            return of("file", parts_of(&path));
        }
        match Url::parse(&target.uri) {
            Ok(url) => {
                // The parser takes `.` and `..` away as a store's client does; only a path of the disk is decoded by it.
                let path = Url::parse(&format!("file://{}", url.path())).ok();
                let path = path.and_then(|url| url.to_file_path().ok());
                let key = path.map_or_else(|| vec![url.path().to_owned()], |path| parts_of(&path));
                let bucket = url.host_str().unwrap_or_default().to_lowercase();
                of(url.scheme(), [vec![bucket], key].concat())
            }
            Err(_) => of("", vec![target.uri.clone()]),
        }
    }

    fn on_disk(path: &Path, kind: Option<Kind>) -> Self {
        let real = real(path);
        let found = fs::metadata(&real).ok();
        let has_manifests = || real.join(OWN).join("manifest").is_dir();
        Self {
            scheme: "file".to_owned(),
            is_graph: kind.map_or_else(has_manifests, |kind| kind == Kind::Graph),
            parts: parts_of(&real),
            id: found.map(|found| (found.dev(), found.ino())),
        }
    }
}

/// The folder of a target on a disk.
fn folder(uri: &str) -> Option<PathBuf> {
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        Ok(_) => None,
        Err(_) => Some(PathBuf::from(uri)),
    }
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut there = path;
    loop {
        if let Ok(real) = fs::canonicalize(there) {
            let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
            return real.join(rest).components().collect();
        }
        match there.parent() {
            Some(parent) => there = parent,
            None => return path.to_owned(),
        }
    }
}

/// Without empty parts and `.`; what goes up is taken as text, as only a folder that is not there comes to this.
fn parts_of(path: &Path) -> Vec<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn target(name: &str, uri: &str, kind: Option<Kind>) -> Target {
        let raw = crate::raw::RawPolicies::default();
        Target {
            name: name.to_owned(),
            uri: uri.to_owned(),
            kind,
            drift: squire_engine::DriftPolicy::default(),
            follow_links: Vec::new(),
            allow_bases: Vec::new(),
            policies: raw.resolve(),
            rules: Vec::new(),
            base: raw,
        }
    }

    /// What is said of two targets, the first named `one` and the second `two`.
    fn said(one: (&str, Option<Kind>), two: (&str, Option<Kind>)) -> Option<String> {
        let targets = [target("one", one.0, one.1), target("two", two.0, two.1)];
        let mut found = overlaps(&targets);
        assert!(found.len() <= 1);
        found.pop().map(|(later, refusal)| {
            assert_eq!(later, 1);
            assert!(refusal.what.contains("\"one\"") && refusal.what.contains("\"two\""));
            refusal.what
        })
    }

    fn same(one: &str, two: &str) -> bool {
        let kinds = [(None, None), (Some(Kind::Graph), Some(Kind::Directory))];
        let said = kinds.map(|(a, b)| said((one, a), (two, b)));
        said.into_iter()
            .all(|said| said.is_some_and(|said| said.contains("one place under two names")))
    }

    #[test]
    fn one_folder_is_one_place_however_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let base = base.to_str().unwrap();
        fs::create_dir_all(format!("{base}/real/sub dir")).unwrap();
        symlink("real", format!("{base}/link")).unwrap();
        symlink("link", format!("{base}/again")).unwrap();
        for (one, two) in [
            ("/real", "/real/"),
            ("/real", "//real"),
            ("/real", "/./real/."),
            ("/real", "/link"),
            ("/link/later/on", "/again/later/on"),
            ("/real/sub dir", "/link/sub dir/"),
        ] {
            let [one, two] = [one, two].map(|path| format!("{base}{path}"));
            assert!(same(&one, &two), "{one} and {two}");
            let encoded = two.replace(' ', "%20");
            assert!(same(&one, &format!("file://{encoded}")), "{one} and {two}");
            assert!(same(&format!("file://localhost{encoded}"), &one));
        }
        let other = format!("{base}/other");
        assert_eq!(said((&format!("{base}/real"), None), (&other, None)), None);
    }

    #[test]
    fn one_key_of_a_bucket_is_one_place_however_it_is_written() {
        for (one, two) in [
            ("s3://bucket/p", "s3://bucket/p/"),
            ("s3://bucket/p", "s3://bucket//p"),
            ("s3://bucket/a/b", "s3://bucket/a//b"),
            ("s3://bucket/a b", "s3://bucket/a%20b"),
            ("s3://bucket/b", "s3://bucket/a/../b"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/p", "S3://Bucket/p"),
            ("memory://x", "memory://x/"),
        ] {
            assert!(same(one, two), "{one} and {two}");
        }
        for (one, two) in [
            ("s3://bucket/p", "s3://other/p"),
            ("s3://bucket/p", "s3://bucket/P"),
            ("s3://bucket/p", "s3://bucket/pq"),
            ("s3://bucket/p", "memory://bucket/p"),
        ] {
            assert_eq!(said((one, None), (two, None)), None, "{one} and {two}");
        }
    }

    #[test]
    fn a_place_in_another_is_refused_unless_one_is_a_graph_and_nothing_is_in_its_tables() {
        let (directory, graph) = (Some(Kind::Directory), Some(Kind::Graph));
        for (inner, inner_is, outer_is, refused) in [
            ("sub", directory, directory, true),
            ("sub", None, directory, true),
            ("sub/deeper", None, None, true),
            ("sub", graph, directory, false),
            ("sub", directory, graph, false),
            ("sub", graph, graph, false),
            ("docs.lance", directory, directory, true),
            ("docs.lance/data", graph, directory, true),
            ("Person.lance/sub", directory, graph, true),
            ("_squire/x", directory, graph, true),
        ] {
            for base in ["s3://bucket/p", "/nowhere/at/all"] {
                let uri = format!("{base}/{inner}");
                for found in [
                    said((&uri, inner_is), (base, outer_is)),
                    said((base, outer_is), (&uri, inner_is)),
                ] {
                    assert_eq!(found.is_some(), refused, "{uri}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_graph_that_is_there_need_not_be_called_one() {
        let dir = tempfile::tempdir().unwrap();
        let outer = dir.path().to_str().unwrap();
        let inner = format!("{outer}/graph");
        fs::create_dir_all(&inner).unwrap();
        assert!(said((outer, None), (&inner, None)).is_some());
        fs::create_dir_all(format!("{inner}/_squire/manifest")).unwrap();
        assert_eq!(said((outer, None), (&inner, None)), None);
    }
}
