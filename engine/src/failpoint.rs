//! Failpoints: named moments beside the durable writes of operations, and some of the daemon's own, at which a test
//! holds a process up or lets it die.
//!
//! They are there in builds with the feature `failpoints` alone; elsewhere nothing of them is compiled. What happens
//! at one is said in the words of the crate `fail`, by the environment variable `FAILPOINTS` or by a test in its own
//! process: `pause`, `sleep(20)`, `1*off->pause`. Two more words are Squire's own: `return` ends the process on the
//! spot, as a kill would, and `return(FILE)` waits until the file is there. One that is set says on standard error
//! that it was reached, so that another process can tell where this one stands.
//!
//! A local disk can hang, too, as a network mount does whose server is gone: as long as there is a file `ROOT.hang` beside a
//! root, whatever is opened below the paths in it, a line each, waits on its thread.
//!
//! `docs/testing.md` lists them.

/// Hits a failpoint, if there are any in this build. The crate around it needs a feature `failpoints`.
#[doc(hidden)]
#[macro_export]
macro_rules! hit_failpoint {
    ($name:ident) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reach($crate::failpoint::$name).await;
    };
}
pub use crate::hit_failpoint as hit;

macro_rules! failpoints {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        /// Every failpoint.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

failpoints! {
    /// Before the data files of a logical operation are written.
    BEFORE_STAGE = "before-stage";
    /// When they are.
    AFTER_STAGE = "after-stage";
    /// Before a compaction writes its new fragments, with nothing held.
    BEFORE_REWRITE = "before-rewrite";
    /// When it has.
    AFTER_REWRITE = "after-rewrite";
    /// Before new segments of indexes are written, with nothing held.
    BEFORE_INDEX = "before-index";
    /// When they are.
    AFTER_INDEX = "after-index";
    /// Before a manifest is created: each transition, and the test of a new graph's store.
    BEFORE_MANIFEST_CREATE = "before-manifest-create";
    /// When it is there, or another's is.
    AFTER_MANIFEST_CREATE = "after-manifest-create";
    /// Before a sidecar is written.
    BEFORE_SIDECAR_CREATE = "before-sidecar-create";
    /// When it is there.
    AFTER_SIDECAR_CREATE = "after-sidecar-create";
    /// Before a sidecar is deleted.
    BEFORE_SIDECAR_DELETE = "before-sidecar-delete";
    /// When it is gone.
    AFTER_SIDECAR_DELETE = "after-sidecar-delete";
    /// Before an effect is committed to a table.
    BEFORE_COMMIT = "before-commit";
    /// When it stands there, or was refused.
    AFTER_COMMIT = "after-commit";
    /// Before a rewrite of a directory's table is committed.
    BEFORE_LAND = "before-land";
    /// When it stands there, or was refused.
    AFTER_LAND = "after-land";
    /// Before a table is fenced.
    BEFORE_FENCE = "before-fence";
    /// When it is.
    AFTER_FENCE = "after-fence";
    /// Before a heartbeat is written.
    BEFORE_HEARTBEAT = "before-heartbeat";
    /// When it is there.
    AFTER_HEARTBEAT = "after-heartbeat";
    /// Before a holder that leaves deletes its heartbeat.
    BEFORE_HEARTBEAT_DELETE = "before-heartbeat-delete";
    /// When it is gone.
    AFTER_HEARTBEAT_DELETE = "after-heartbeat-delete";
    /// Before collected manifests are deleted.
    BEFORE_MANIFESTS_DELETE = "before-manifests-delete";
    /// When they are gone.
    AFTER_MANIFESTS_DELETE = "after-manifests-delete";
    /// Before the files of an operation that was refused are deleted.
    BEFORE_STAGED_DELETE = "before-staged-delete";
    /// When they are gone.
    AFTER_STAGED_DELETE = "after-staged-delete";
    /// Before the files of work that was given up while it wrote are deleted.
    BEFORE_CREATED_DELETE = "before-created-delete";
    /// When they are gone.
    AFTER_CREATED_DELETE = "after-created-delete";
    /// Before old versions of a table are removed, by cleanup or for a hard drop.
    BEFORE_CLEANUP = "before-cleanup";
    /// When they are gone.
    AFTER_CLEANUP = "after-cleanup";
    /// Before what a hard drop took away from a table is made unreachable.
    BEFORE_PURGE = "before-purge";
    /// When it is, and the manifest still notes it.
    AFTER_PURGE = "after-purge";
    /// Before the daemon reads its configuration when it starts.
    BEFORE_START = "before-start";
    /// Before a reload reads the configuration, on the thread that reads.
    BEFORE_RELOAD = "before-reload";
}

/// Sets the failpoints that `FAILPOINTS` names, until it is dropped.
///
/// # Panics
/// When the variable cannot be understood.
#[cfg(feature = "failpoints")]
pub fn from_environment() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Does what is set for a failpoint, on a thread that may be held up for as long as a test wants.
#[cfg(feature = "failpoints")]
pub async fn reach(name: &'static str) {
    use std::io::Write as _;

    match fail::list().iter().find(|(set, _)| set == name) {
        None => return,
        // A test of this very process knows.
        Some((_, action)) if action == "callback" => {}
        Some(_) => {
            let _ = writeln!(std::io::stderr(), "failpoint {name} reached");
        }
    }
    match tokio::task::spawn_blocking(move || fail::eval(name, |word| word)).await {
        Ok(None) => {}
        Ok(Some(None)) => std::process::abort(),
        Ok(Some(Some(file))) => {
            while !tokio::fs::try_exists(&file).await.unwrap_or_default() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        // The runtime goes down, and the caller with it.
        Err(_) => std::future::pending().await,
    }
}

/// Hangs, as long as a test says that the disk does below this path.
#[cfg(feature = "failpoints")]
pub(crate) fn hang(root: &std::path::Path, path: &std::path::Path) {
    let mut said = root.as_os_str().to_owned();
    said.push(".hang");
    let hangs = || {
        let below = std::fs::read_to_string(&said).ok()?;
        below
            .lines()
            .find(|below| path.starts_with(below))
            .map(drop)
    };
    while hangs().is_some() {
        #[expect(
            clippy::disallowed_methods,
            reason = "it stands for a thread that a disk holds"
        )]
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::ALL;

    /// What stands between `before` and `after`, everywhere in a text.
    fn between<'a>(text: &'a str, before: &'a str, after: char) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts
            .filter_map(|part| Some(part.split_once(after)?.0))
            .collect()
    }

    /// The failpoints that the source below a folder hits.
    fn hit_below(dir: &Path) -> Vec<String> {
        let mut hit = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                hit.extend(hit_below(&path));
            } else {
                let source = fs::read_to_string(&path).unwrap();
                let names = between(&source, concat!("failpoint::", "hit!("), ')');
                hit.extend(names.iter().map(|n| n.to_lowercase().replace('_', "-")));
            }
        }
        hit
    }

    #[test]
    fn every_failpoint_is_hit_in_one_place_of_the_source_and_no_other_is() {
        let mut hit = hit_below(Path::new("src"));
        hit.extend(hit_below(Path::new("../daemon/src")));
        hit.sort();
        let mut all = ALL.to_vec();
        all.sort_unstable();
        assert_eq!(hit, all);
    }

    #[test]
    fn the_documentation_lists_every_failpoint_and_no_other() {
        // Tests run in their package's folder.
        let docs = fs::read_to_string("../docs/testing.md").unwrap();
        let before = between(&docs, "`before-", '`');
        let after = between(&docs, "`after-", '`');
        let listed = before.iter().map(|name| format!("before-{name}"));
        let listed: BTreeSet<_> = listed
            .chain(after.iter().map(|name| format!("after-{name}")))
            .collect();
        assert_eq!(listed, ALL.iter().map(|name| (*name).to_owned()).collect());
    }
}
