//! What a cleanup may delete, and until when.
//!
//! Lance judges once and then deletes for as long as it takes, by names. Meanwhile the table may be dropped and made anew,
//! and its new versions have the old names; and a user may put a tag or a branch on a version that is about to go. So
//! every deletion asks for leave first. There is none before the judgement is known, and none once something has moved.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Timelike, Utc};
use futures::TryStreamExt;
use lance_table::io::commit::{ManifestNamingScheme, VERSIONS_DIR};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, Result, path::Path};
use tokio::sync::Mutex;

/// Maximum number of files that are removed after one check of the table,
const BATCH: usize = 64;
/// and for so long.
const HOLDS_FOR: Duration = Duration::from_secs(1);
/// Where Lance keeps tags and branches.
const REFERENCES: &str = "_refs";

/// What a cleanup has judged.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// The table's folder.
    pub(crate) folder: Path,
    /// A version that stays. While its manifest is the same object, the table is the one that was judged. Nothing where no
    /// other table can come to the same folder.
    pub(crate) witness: Option<Identity>,
    /// The versions that go, and when each was written.
    pub(crate) going: BTreeMap<u64, DateTime<Utc>>,
    /// Tags and branches, as they were before they were read.
    pub(crate) references: References,
}

/// The objects of tags and branches.
pub(crate) type References = BTreeMap<Path, Identity>;

/// An object as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) path: Path,
    pub(crate) e_tag: Option<String>,
    pub(crate) written: DateTime<Utc>,
}

impl From<ObjectMeta> for Identity {
    fn from(object: ObjectMeta) -> Self {
        Self {
            path: object.location,
            e_tag: object.e_tag,
            written: object.last_modified,
        }
    }
}

impl Identity {
    /// Whether an object is this one still.
    fn is(&self, now: &ObjectMeta) -> bool {
        match (&self.e_tag, &now.e_tag) {
            (Some(then), Some(now)) => then == now,
            _ => same_time(self.written, now.last_modified),
        }
    }
}

/// Some stores tell fractions of seconds in lists and none elsewhere.
fn same_time(listed: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let whole = now.nanosecond() == 0 || listed.nanosecond() == 0;
    listed == now || (whole && listed.timestamp() == now.timestamp())
}

/// Why nothing is deleted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// It took too long: what was true need not be so any more.
    Late,
    /// The table is another one, or another program cleaned it up.
    Replaced,
    /// There is a tag or a branch that was not looked at.
    Referenced,
}

/// The leave that one cleanup has to delete files.
#[derive(Debug)]
pub(crate) struct Permit {
    until: DateTime<Utc>,
    judged: OnceLock<Judged>,
    withdrawn: OnceLock<Withdrawn>,
    look: Mutex<Option<Look>>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    left: usize,
}

impl Permit {
    /// A leave that is not given yet, and ends at this time by the process's own clock.
    pub(crate) fn until(until: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self {
            until,
            judged: OnceLock::new(),
            withdrawn: OnceLock::new(),
            look: Mutex::default(),
        })
    }

    /// Gives the leave to delete what was judged, once.
    pub(crate) fn give(&self, judged: Judged) {
        let _ = self.judged.set(judged);
    }

    /// Why it was withdrawn, if it was.
    pub(crate) fn withdrawn(&self) -> Option<Withdrawn> {
        self.withdrawn.get().copied()
    }

    /// Asks whether a file may be deleted now. A manifest is checked by itself; for other files, one check holds for a
    /// batch.
    ///
    /// # Errors
    /// When it may not.
    pub(super) async fn ask(&self, store: &Arc<dyn ObjectStore>, path: &Path) -> Result<()> {
        let judged = self.judged.get();
        let judged = judged.ok_or_else(|| failure("nothing was judged yet"))?;
        if self.withdrawn.get().is_none() {
            let found = self.find(store, judged, path).await?;
            if let Some(reason) = found {
                let _ = self.withdrawn.set(reason);
            }
        }
        match self.withdrawn.get() {
            None => Ok(()),
            Some(Withdrawn::Late) => Err(failure("the cleanup took too long")),
            Some(Withdrawn::Replaced) => Err(failure("the table is another one")),
            Some(Withdrawn::Referenced) => Err(failure("a tag or a branch came in between")),
        }
    }

    /// What speaks against it.
    async fn find(
        &self,
        store: &Arc<dyn ObjectStore>,
        judged: &Judged,
        path: &Path,
    ) -> Result<Option<Withdrawn>> {
        if Utc::now() > self.until {
            return Ok(Some(Withdrawn::Late));
        }
        {
            let mut look = self.look.lock().await;
            let holds = look
                .as_ref()
                .is_some_and(|look| look.left > 0 && look.at.elapsed() < HOLDS_FOR);
            if !holds {
                if let Some(reason) = moved(store, judged).await? {
                    return Ok(Some(reason));
                }
                *look = Some(Look {
                    at: Instant::now(),
                    left: BATCH,
                });
            }
            if let Some(look) = look.as_mut() {
                look.left = look.left.saturating_sub(1);
            }
        }
        let Some(version) = version_of(path) else {
            return Ok(None);
        };
        let Some(written) = judged.going.get(&version) else {
            return Ok(Some(Withdrawn::Replaced));
        };
        match store.head(path).await {
            Ok(now) if same_time(*written, now.last_modified) => Ok(None),
            Ok(_) => Ok(Some(Withdrawn::Replaced)),
            // Another cleanup was faster.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The version whose manifest this is, if it is one.
fn version_of(path: &Path) -> Option<u64> {
    let name = path.filename()?;
    let mut folders = path.parts().rev().skip(1);
    let of_version = folders.next().is_some_and(|f| f.as_ref() == VERSIONS_DIR);
    let scheme = ManifestNamingScheme::detect_scheme(name).filter(|_| of_version)?;
    scheme.parse_version(name)
}

async fn moved(store: &Arc<dyn ObjectStore>, judged: &Judged) -> Result<Option<Withdrawn>> {
    if let Some(witness) = &judged.witness {
        match store.head(&witness.path).await {
            Ok(now) if witness.is(&now) => {}
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                return Ok(Some(Withdrawn::Replaced));
            }
            Err(e) => return Err(e),
        }
    }
    let now = references(store, &judged.folder).await?;
    // One that is gone protects less.
    let known = now
        .iter()
        .all(|(path, object)| judged.references.get(path) == Some(object));
    Ok((!known).then_some(Withdrawn::Referenced))
}

/// The tags and branches of the table in a folder: one list.
///
/// # Errors
/// The store's.
pub(crate) async fn references(store: &Arc<dyn ObjectStore>, folder: &Path) -> Result<References> {
    let found = store.list(Some(&folder.clone().join(REFERENCES)));
    let found = found.map_ok(|object| (object.location.clone(), Identity::from(object)));
    found.try_collect().await
}

pub(super) fn failure(reason: &'static str) -> object_store::Error {
    object_store::Error::Generic {
        store: "squire",
        source: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use object_store::memory::InMemory;

    use super::*;

    struct Scene {
        store: Arc<dyn ObjectStore>,
        folder: Path,
        permit: Arc<Permit>,
    }

    impl Scene {
        /// A table of three versions, of which the first two go.
        async fn new(minutes: i64) -> Self {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let folder = Path::from("db/t.lance");
            let until = Utc::now() + TimeDelta::minutes(minutes);
            let scene = Self {
                permit: Permit::until(until),
                store,
                folder,
            };
            for file in [
                "_versions/1.manifest",
                "_versions/2.manifest",
                "_versions/3.manifest",
                "data/a.lance",
            ] {
                scene.put(file).await;
            }
            scene
        }

        fn path(&self, file: &str) -> Path {
            Path::from(format!("{}/{file}", self.folder))
        }

        async fn put(&self, file: &str) -> Identity {
            let path = self.path(file);
            self.store.put(&path, "x".into()).await.unwrap();
            self.store.head(&path).await.unwrap().into()
        }

        async fn judged(self) -> Self {
            let mut going = BTreeMap::new();
            for version in [1, 2] {
                let path = self.path(&format!("_versions/{version}.manifest"));
                going.insert(version, self.store.head(&path).await.unwrap().last_modified);
            }
            let witness = self.path("_versions/3.manifest");
            self.permit.give(Judged {
                folder: self.folder.clone(),
                witness: Some(self.store.head(&witness).await.unwrap().into()),
                going,
                references: references(&self.store, &self.folder).await.unwrap(),
            });
            self
        }

        async fn ask(&self, file: &str) -> Option<Withdrawn> {
            let asked = self.permit.ask(&self.store, &self.path(file)).await;
            assert_eq!(asked.is_err(), self.permit.withdrawn().is_some());
            self.permit.withdrawn()
        }

        /// As when the last check was long ago.
        async fn later(&self) {
            *self.permit.look.lock().await = None;
        }
    }

    #[tokio::test]
    async fn nothing_is_deleted_before_it_was_judged() {
        let scene = Scene::new(1).await;
        let file = scene.path("data/a.lance");
        let asked = scene.permit.ask(&scene.store, &file);
        assert!(asked.await.is_err());
    }

    #[tokio::test]
    async fn what_was_judged_may_go_and_no_other_version() {
        let scene = Scene::new(1).await.judged().await;
        for file in [
            "data/a.lance",
            "_versions/1.manifest",
            "_versions/2.manifest",
        ] {
            assert_eq!(scene.ask(file).await, None, "{file}");
        }
        let other = scene.ask("_versions/3.manifest").await;
        assert_eq!(other, Some(Withdrawn::Replaced));
        assert_eq!(scene.ask("data/a.lance").await, other, "for good");
    }

    #[tokio::test]
    async fn a_cleanup_that_took_too_long_deletes_nothing_any_more() {
        let scene = Scene::new(-1).await.judged().await;
        assert_eq!(scene.ask("data/a.lance").await, Some(Withdrawn::Late));
    }

    #[tokio::test]
    async fn nothing_goes_of_a_table_that_was_made_anew() {
        let scene = Scene::new(1).await.judged().await;
        assert_eq!(scene.ask("data/a.lance").await, None);
        scene.put("_versions/3.manifest").await;
        scene.later().await;
        let replaced = Some(Withdrawn::Replaced);
        assert_eq!(scene.ask("data/a.lance").await, replaced);
    }

    #[tokio::test]
    async fn a_manifest_that_was_made_anew_stays_although_the_last_look_holds() {
        let scene = Scene::new(1).await.judged().await;
        assert_eq!(scene.ask("data/a.lance").await, None);
        scene.put("_versions/1.manifest").await;
        let replaced = Some(Withdrawn::Replaced);
        assert_eq!(scene.ask("_versions/1.manifest").await, replaced);
    }

    #[tokio::test]
    async fn nothing_goes_once_a_tag_or_a_branch_has_come() {
        let scene = Scene::new(1).await;
        scene.put("_refs/tags/old.json").await;
        let scene = scene.judged().await;
        assert_eq!(scene.ask("data/a.lance").await, None);
        scene
            .store
            .delete(&scene.path("_refs/tags/old.json"))
            .await
            .unwrap();
        scene.later().await;
        assert_eq!(
            scene.ask("data/a.lance").await,
            None,
            "one that is gone is none"
        );
        scene.put("_refs/branches/exp.json").await;
        scene.later().await;
        let referenced = Some(Withdrawn::Referenced);
        assert_eq!(scene.ask("data/a.lance").await, referenced);
    }

    #[test]
    fn times_are_compared_as_exactly_as_the_store_tells_them() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        assert!(same_time(at(1_500), at(1_500)) && same_time(at(1_500), at(1_000)));
        assert!(!same_time(at(1_500), at(1_501)) && !same_time(at(1_500), at(2_000)));
    }
}
