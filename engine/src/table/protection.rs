//! What a table itself says must stay: tags, branches, and versions that computed columns name.

use std::collections::{BTreeMap, BTreeSet};

use lance::{Dataset, dataset::refs::BranchContents};

use super::{
    Table,
    references::{self, Files, Folder},
    retention::Kept,
};
use crate::{
    error::{Error, Result},
    ids::TableKey,
    planner::cleanup::Protected,
    storage::deletion_permit::{self, References as Objects},
    table::handle::guarded,
};

/// What LanceDB calls a field's version of the last refresh. It reads on from there, version by version.
const FILLED_AT: &str = "computed_refresh.recorded_at_version";
/// What LanceDB calls the version that a materialized view had after its last refresh.
const VIEW_VERSION: &str = "mv.view_version";

/// What must stay of a table, and because of what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protection {
    pub(crate) protected: Protected,
    pub(crate) kept: Vec<Kept>,
    /// Tags and branches as the store had them, before they were read.
    pub(crate) references: Objects,
}

impl Protection {
    /// Reads what the table says, of which these versions are about to go.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Lance`], [`Error::Panicked`].
    pub(crate) async fn of(
        table: &Table,
        dataset: &Dataset,
        listed: &BTreeSet<u64>,
        going: &BTreeSet<u64>,
    ) -> Result<Self> {
        let folder = table.storage.table_base(&table.path);
        let objects = deletion_permit::references(&table.storage.store, &folder).await;
        let objects =
            objects.map_err(|e| Error::store("listing the tags of", folder.as_ref(), e))?;
        let references = References::of(table, dataset).await?;
        let mut protection = Self {
            references: objects,
            ..Self::default()
        };
        protection.named_by(dataset);
        protection.protected.versions.extend(references.versions());
        protection.kept.extend(references.kept());
        let whole: BTreeSet<_> = references.begun_at(listed).collect();
        let folder = Folder::of(table).await;
        for (branch, files) in references::by_other_branches(table, &folder, &whole).await? {
            let versions = protection.keep(table, dataset, files, going).await?;
            if versions.as_ref().is_none_or(|some| !some.is_empty()) {
                protection.kept.push(Kept::Orphan { branch, versions });
            }
        }
        Ok(protection)
    }

    /// Keeps the versions that have these files, and tells which; everything, when no version has them all.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) async fn keep(
        &mut self,
        table: &Table,
        dataset: &Dataset,
        files: Files,
        going: &BTreeSet<u64>,
    ) -> Result<Option<Vec<u64>>> {
        let newest = dataset.manifest().version;
        let versions = references::keepers(table, files, newest, going).await?;
        match &versions {
            Some(versions) => self.protected.versions.extend(versions),
            None => self.keep_all(),
        }
        Ok(versions)
    }

    /// Keeps everything.
    pub(crate) fn keep_all(&mut self) {
        self.keep_from(0);
    }

    /// Keeps everything, where a folder of the table is one of another table under its root as well.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn keep_if_shared(
        &mut self,
        table: &Table,
        others: impl Iterator<Item = (TableKey, String)>,
    ) -> Result<()> {
        let others: Vec<_> = others.collect();
        let paths: Vec<_> = others.iter().map(|(_, path)| path.as_str()).collect();
        let shared = table.storage.shared_with(&table.path, &paths).await;
        let shared = shared.map_err(|e| {
            let of = format!("{} of {}", table.key, table.storage.uri);
            Error::store("looking at the folders of", of, e)
        })?;
        let shared = shared.and_then(|(place, folder)| Some((others.get(place)?, folder)));
        if let Some(((other, _), folder)) = shared {
            self.keep_all();
            self.kept.push(Kept::Shared {
                table: other.clone(),
                folder,
            });
        }
        Ok(())
    }

    /// Whether nothing may go, not even a file that no version names.
    pub(crate) fn keeps_all(&self) -> bool {
        self.protected.from == Some(0)
    }

    /// What both keep, by the references of the later one.
    pub(crate) fn and(mut self, later: Self) -> Self {
        if let Some(from) = later.protected.from {
            self.keep_from(from);
        }
        self.protected.versions.extend(later.protected.versions);
        self.kept.extend(later.kept);
        Self {
            references: later.references,
            ..self
        }
    }

    fn keep_from(&mut self, from: u64) {
        let before = self.protected.from.unwrap_or(u64::MAX);
        self.protected.from = Some(before.min(from));
    }

    /// Versions that LanceDB names in the newest one.
    fn named_by(&mut self, dataset: &Dataset) {
        let schema = dataset.schema();
        let number = |text: &String| text.parse::<u64>().ok();
        for field in schema.fields_pre_order() {
            if let Some(from) = field.metadata.get(FILLED_AT).and_then(number) {
                self.keep_from(from);
                self.kept.push(Kept::Computed {
                    column: field.name.clone(),
                    from,
                });
            }
        }
        let own = schema.metadata.get(VIEW_VERSION).and_then(number);
        self.protected.versions.extend(own);
    }
}

/// What Lance's own references keep: tags and branches of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    tags: BTreeMap<String, u64>,
    /// The versions that each begins at, as far as its contents tell.
    branches: BTreeMap<String, BTreeSet<u64>>,
}

impl References {
    /// Reads them: a list for each kind, and a read for each of them.
    ///
    /// # Errors
    /// [`Error::Lance`], [`Error::Panicked`].
    pub(crate) async fn of(table: &Table, dataset: &Dataset) -> Result<Self> {
        const ACTION: &str = "reading the tags and branches of";
        let reading = async {
            let failed = |e| table.failed(ACTION, e);
            let tags = dataset.tags().list().await.map_err(failed)?;
            let branches = dataset.branches().list().await.map_err(failed)?;
            Ok((tags, branches))
        };
        let (tags, branches) = guarded(table, ACTION, reading).await?;
        // Tags of a branch name versions of its own.
        let tags = tags
            .into_iter()
            .filter(|(_, tag)| is_main(tag.branch.as_deref()));
        Ok(Self {
            tags: tags.map(|(name, tag)| (name, tag.version)).collect(),
            branches: branches
                .iter()
                .map(|(name, branch)| (name.clone(), begins_at(branch)))
                .collect(),
        })
    }

    /// Every version that one of them names.
    pub(crate) fn versions(&self) -> impl Iterator<Item = u64> {
        let branches = self.branches.values().flatten();
        self.tags.values().chain(branches).copied()
    }

    /// The branches that begin at versions which are all there.
    fn begun_at(&self, listed: &BTreeSet<u64>) -> impl Iterator<Item = &str> {
        let whole = self.branches.iter().filter(|(_, at)| at.is_subset(listed));
        whole.map(|(name, _)| name.as_str())
    }

    /// As a preview shows them.
    fn kept(&self) -> impl Iterator<Item = Kept> {
        let tags = self.tags.iter().map(|(name, &version)| Kept::Tag {
            name: name.clone(),
            version,
        });
        let branches = self.branches.iter().flat_map(|(name, versions)| {
            versions.iter().map(|&version| Kept::Branch {
                name: name.clone(),
                version,
            })
        });
        tags.chain(branches)
    }

    /// The tags of versions before this one.
    pub(crate) fn tags_below(&self, below: u64) -> impl Iterator<Item = (&str, u64)> {
        let tags = self
            .tags
            .iter()
            .map(|(name, &version)| (name.as_str(), version));
        tags.filter(move |(_, version)| *version < below)
    }
}

/// Older writers wrote the name out.
fn is_main(branch: Option<&str>) -> bool {
    matches!(branch, None | Some("main"))
}

/// Where a branch begins on the main line: its lineage tells, and the version of its parent, which older writers wrote
/// alone. The number is taken for one of the main line even where the parent is a branch: then one version too many stays.
fn begins_at(branch: &BranchContents) -> BTreeSet<u64> {
    let lineage = branch.identifier.version_mapping.first();
    let root = lineage.map(|(version, _)| *version).filter(|v| *v > 0);
    root.into_iter().chain([branch.parent_version]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lance::dataset::refs::BranchIdentifier;

    fn branch(parent: Option<&str>, parent_version: u64, lineage: &[u64]) -> BranchContents {
        let mapping = lineage.iter().map(|version| (*version, "id".to_owned()));
        BranchContents {
            parent_branch: parent.map(str::to_owned),
            identifier: BranchIdentifier {
                version_mapping: mapping.collect(),
            },
            parent_version,
            create_at: 0,
            manifest_size: 0,
            metadata: Default::default(),
        }
    }

    #[test]
    fn a_branch_keeps_where_it_begins_whatever_its_lineage() {
        let at = |contents: BranchContents| begins_at(&contents).into_iter().collect::<Vec<_>>();
        assert_eq!(at(branch(None, 3, &[3])), [3]);
        assert_eq!(at(branch(Some("exp"), 7, &[3, 7])), [3, 7], "of a branch");
        assert_eq!(at(branch(None, 3, &[0])), [3], "of an older writer");
        assert_eq!(at(branch(Some("main"), 3, &[])), [3]);
    }

    #[test]
    fn a_branch_is_whole_only_while_all_versions_are_there_that_it_may_begin_at() {
        let of = |versions: &[u64]| versions.iter().copied().collect::<BTreeSet<_>>();
        let references = References {
            branches: BTreeMap::from([("a".to_owned(), of(&[3])), ("b".to_owned(), of(&[3, 7]))]),
            ..References::default()
        };
        let whole = |listed: &[u64]| {
            let listed = of(listed);
            let whole = references.begun_at(&listed);
            whole.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(whole(&[1, 3, 7]), ["a", "b"]);
        assert_eq!(whole(&[3, 4]), ["a"]);
        assert!(whole(&[4, 7]).is_empty());
    }
}
