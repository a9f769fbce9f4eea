//! Files of a table that others read: shallow clones, and branches whose beginning is gone.
//!
//! Both have manifests of their own, and name files in the folder of the table that they were made of. The URI of that
//! folder is the one that its client knew; whatever its beginning is here, it ends with the table's folder.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lance_table::{
    format::{BasePath, IndexMetadata, Manifest},
    io::{
        commit::{ManifestLocation, ManifestNamingScheme, VERSIONS_DIR},
        deletion::relative_deletion_file_path,
        manifest::{read_manifest, read_manifest_indexes},
    },
};
use object_store::{ObjectMeta, path::Path};

use super::{Table, listing::bounded};
use crate::{
    error::{Error, Result},
    table::handle::guarded,
};

/// Manifests that are read at once.
const AT_ONCE: usize = 8;
/// Where the branches of a table are.
const BRANCHES: &str = "tree";
const DATA: &str = "data";
const INDICES: &str = "_indices";
const DELETIONS: &str = "_deletions";

/// Files, by their place in a table's folder. An index is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files(BTreeSet<String>);

impl Files {
    /// Where they are.
    pub(crate) const FOLDERS: [&str; 3] = [DATA, DELETIONS, INDICES];

    /// What a manifest names in its table's own folder.
    pub(crate) fn own(manifest: &Manifest, indexes: &[IndexMetadata]) -> Self {
        Self::of(manifest, indexes, |base| base.is_none())
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.0.contains(file)
    }

    /// The place of an object in a table's folder, as it is written here. Blobs are in a folder beside their data file,
    /// and go with it.
    pub(crate) fn place(object: &Path, base: &Path) -> Option<String> {
        let parts = object.prefix_match(base)?;
        let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
        match &*parts {
            [folder, data, _, ..] if folder == DATA => Some(format!("{DATA}/{data}.lance")),
            [folder, name, ..] => Some(format!("{folder}/{name}")),
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes away those that are among others; tells whether there were any.
    pub(crate) fn without(&mut self, others: &Self) -> bool {
        let before = self.0.len();
        self.0.retain(|file| !others.0.contains(file));
        self.0.len() < before
    }

    fn take(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The files that a manifest names in those of its bases that are wanted; without a base, in its own folder.
    fn of(
        manifest: &Manifest,
        indexes: &[IndexMetadata],
        wanted: impl Fn(Option<&BasePath>) -> bool,
    ) -> Self {
        let base_of = |id: Option<u32>| id.map(|id| manifest.base_paths.get(&id));
        let is_wanted = |id: Option<u32>| match base_of(id) {
            None => wanted(None),
            Some(base) => base.is_some_and(|base| wanted(Some(base))),
        };
        let mut files = BTreeSet::new();
        for fragment in manifest.fragments.iter() {
            let data = fragment.referenced_lance_files();
            let data = data.filter(|file| is_wanted(file.base_id));
            files.extend(data.map(|file| format!("{DATA}/{}", file.path)));
            let deletions = fragment.deletion_file.iter();
            let deletions = deletions.filter(|file| is_wanted(file.base_id));
            files.extend(deletions.map(|file| relative_deletion_file_path(fragment.id, file)));
        }
        let indexes = indexes.iter().filter(|index| is_wanted(index.base_id));
        files.extend(indexes.map(|index| format!("{INDICES}/{}", index.uuid)));
        Self(files)
    }

    /// Those that are there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn there(mut self, table: &Table) -> Result<Self> {
        if self.is_empty() {
            return Ok(self);
        }
        let base = table.storage.table_base(&table.path);
        let mut there = BTreeSet::new();
        for folder in Self::FOLDERS {
            let mut found = table.storage.store.list(Some(&base.clone().join(folder)));
            while let Some(object) = found.next().await {
                let object = object.map_err(|e| failed(table, e))?;
                there.extend(Self::place(&object.location, &base));
            }
        }
        self.0.retain(|file| there.contains(file));
        Ok(self)
    }
}

/// A table's folder, as bases of others name it: by its name, whatever precedes it, since a client may know the place by
/// another path; on a local disk also by any path that leads to it, such as a link of another name.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    table: Table,
    names: Vec<String>,
}

impl Folder {
    /// The folder of a table.
    pub(crate) async fn of(table: &Table) -> Self {
        let names = table.storage.folder_names(&table.path).await;
        let table = table.clone();
        Self { table, names }
    }

    /// Whether one of these URIs of bases is it, or a folder in it.
    pub(crate) async fn is_any_of(&self, uris: &[String]) -> bool {
        for uri in uris {
            if self.is(uri).await {
                return true;
            }
        }
        false
    }

    async fn is(&self, uri: &str) -> bool {
        is_in(uri, &self.names) || self.is_reached_by(uri).await
    }

    async fn is_reached_by(&self, uri: &str) -> bool {
        let storage = &self.table.storage;
        storage.is_reached_by(&self.table.path, uri).await
    }

    /// Whether some of these bytes, which cannot be read as a manifest, name it.
    pub(crate) async fn is_in_any_of(&self, manifests: &[bytes::Bytes]) -> bool {
        for bytes in manifests {
            if mentions(bytes, &self.names) {
                return true;
            }
            for path in paths_in(bytes) {
                if self.is_reached_by(&path).await {
                    return true;
                }
            }
        }
        false
    }

    /// Those of a manifest's bases that are it.
    async fn bases(&self, manifest: &Manifest) -> BTreeSet<u32> {
        let mut ids = BTreeSet::new();
        for base in manifest.base_paths.values() {
            if self.is(&base.path).await {
                ids.insert(base.id);
            }
        }
        ids
    }
}

/// Which files of a manifest are asked for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// Those in the table's own folder.
    Own,
    /// Those in the folder of another table, or of a branch's own one.
    In(&'a Folder),
}

/// Whether a base's URI is of a table whose folder has one of these names.
fn is_in(uri: &str, folders: &[String]) -> bool {
    uri.split(['/', '\\']).any(|part| {
        let decoded = Path::from_url_path(part).ok();
        let is = |folder: &String| {
            part == folder || decoded.as_ref().is_some_and(|d| d.as_ref() == folder)
        };
        folders.iter().any(is)
    })
}

/// Whether bytes that cannot be read as a manifest name a folder of one of these names.
fn mentions(bytes: &[u8], folders: &[String]) -> bool {
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let encoded = |folder: &String| {
        let url = url::Url::parse("file:///").and_then(|root| root.join(folder));
        let path = url.map(|url| url.path().trim_start_matches('/').to_owned());
        path.unwrap_or_else(|_| folder.clone())
    };
    let names = folders
        .iter()
        .flat_map(|folder| [folder.clone(), encoded(folder)]);
    names.into_iter().any(|name| {
        let found = bytes.windows(name.len().max(1)).enumerate();
        let mut found = found.filter(|(_, window)| *window == name.as_bytes());
        found.any(|(at, _)| at == 0 || !bytes.get(at - 1).is_some_and(is_of_a_name))
    })
}

/// Whatever in bytes may be a path on a local disk: text from a slash on, also as the path of a URL.
fn paths_in(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let runs = text.split(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
    let paths = runs.filter_map(|run| run.get(run.find('/')?..));
    let paths = paths.flat_map(|path| {
        let path = path.trim_start_matches('/');
        [format!("/{path}"), format!("file:///{path}")]
    });
    paths.collect()
}

/// What a table that is a clone reads of the table whose folder this is, in all of its versions and branches.
///
/// # Errors
/// [`Error::Store`], [`Error::Lance`], [`Error::Panicked`].
pub(crate) async fn by_clone(clone: &Table, folder: &Folder) -> Result<Files> {
    let base = clone.storage.table_base(&clone.path);
    let mut found = manifests(clone, &base.clone().join(VERSIONS_DIR)).await?;
    found.extend(manifests(clone, &base.join(BRANCHES)).await?);
    read_all(clone, found, Wanted::In(folder)).await
}

/// What each branch reads of its own table, if it is none of these, by its folder.
///
/// # Errors
/// As [`by_clone`].
pub(crate) async fn by_other_branches(
    table: &Table,
    folder: &Folder,
    but: &BTreeSet<&str>,
) -> Result<Vec<(String, Files)>> {
    let base = table.storage.table_base(&table.path).join(BRANCHES);
    let mut branches: BTreeMap<String, Vec<ObjectMeta>> = BTreeMap::new();
    for manifest in manifests(table, &base).await? {
        if let Some(branch) = branch_of(&manifest.location, &base)
            && !but.contains(branch.as_str())
        {
            branches.entry(branch).or_default().push(manifest);
        }
    }
    let mut read = Vec::new();
    for (branch, manifests) in branches {
        let files = read_all(table, manifests, Wanted::In(folder)).await?;
        read.push((branch, files));
    }
    Ok(read)
}

/// The branch that a manifest is of, below the folder of branches.
fn branch_of(manifest: &Path, base: &Path) -> Option<String> {
    let parts = manifest.prefix_match(base)?;
    let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
    let (versions, branch) = parts.split_last().and_then(|(_, rest)| rest.split_last())?;
    (versions == VERSIONS_DIR).then(|| branch.join("/"))
}

/// Which versions of a table to keep for these files, of those that are about to go, the newest first; nothing when some
/// of the files are there and in no version.
///
/// # Errors
/// As [`by_clone`].
pub(crate) async fn keepers(
    table: &Table,
    mut needed: Files,
    newest: u64,
    going: &BTreeSet<u64>,
) -> Result<Option<Vec<u64>>> {
    let mut keepers = Vec::new();
    if needed.is_empty() {
        return Ok(Some(keepers));
    }
    let folder = table.storage.table_base(&table.path).join(VERSIONS_DIR);
    let mut found: Vec<_> = manifests(table, &folder).await?;
    // What stays in any case is looked at last, but for the newest: there may be very many.
    found.sort_by_key(|object| {
        let version = version_of(object);
        (
            version != newest,
            !going.contains(&version),
            std::cmp::Reverse(version),
        )
    });
    for object in found {
        if needed.is_empty() {
            break;
        }
        let version = version_of(&object);
        let names = read(table, object, Wanted::Own).await?;
        if needed.without(&names) && going.contains(&version) {
            keepers.push(version);
        }
    }
    Ok(needed.there(table).await?.is_empty().then_some(keepers))
}

/// Every manifest below a folder that can be read by its number: one list.
async fn manifests(table: &Table, below: &Path) -> Result<Vec<ObjectMeta>> {
    let found = table.storage.store.list(Some(below));
    let found = found.try_filter(|object| {
        let is_in_versions = object.location.parts().rev().nth(1);
        let is_in_versions = is_in_versions.is_some_and(|part| part.as_ref() == VERSIONS_DIR);
        std::future::ready(is_in_versions && version_of(object) > 0)
    });
    let found: Vec<_> = found.try_collect().await.map_err(|e| failed(table, e))?;
    Ok(found)
}

/// Its number; 0 of what is no manifest of a version.
fn version_of(object: &ObjectMeta) -> u64 {
    let name = object.location.filename().unwrap_or_default();
    let scheme = ManifestNamingScheme::detect_scheme(name);
    scheme
        .and_then(|scheme| scheme.parse_version(name))
        .unwrap_or(0)
}

async fn read_all(table: &Table, manifests: Vec<ObjectMeta>, wanted: Wanted<'_>) -> Result<Files> {
    let reads = manifests
        .into_iter()
        .map(|object| read(table, object, wanted));
    let reads: Vec<_> = reads.collect();
    let mut read = stream::iter(reads).buffer_unordered(AT_ONCE);
    let mut files = Files::default();
    while let Some(some) = read.try_next().await? {
        files.take(some);
    }
    Ok(files)
}

/// What one manifest names; nothing when it is gone meanwhile.
async fn read(table: &Table, object: ObjectMeta, wanted: Wanted<'_>) -> Result<Files> {
    const ACTION: &str = "reading a manifest of";
    let reading = async {
        let bound = bounded(Some(object.size), &object.location);
        bound.map_err(|e| table.failed(ACTION, e.into()))?;
        let store = table.storage.lance_store();
        let location = ManifestLocation {
            version: version_of(&object),
            size: Some(object.size),
            naming_scheme: ManifestNamingScheme::V2,
            e_tag: object.e_tag,
            identity: None,
            path: object.location,
        };
        let manifest = match read_manifest(store, &location.path, location.size).await {
            Ok(manifest) => manifest,
            Err(e) if e.is_not_found() => return Ok(Files::default()),
            Err(e) => return Err(table.failed(ACTION, e)),
        };
        let indexes = read_manifest_indexes(store, &location, &manifest).await;
        let indexes = indexes.map_err(|e| table.failed(ACTION, e))?;
        Ok(match wanted {
            Wanted::Own => Files::own(&manifest, &indexes),
            Wanted::In(folder) => {
                let bases = folder.bases(&manifest).await;
                let is_of = |base: Option<&BasePath>| base.is_some_and(|b| bases.contains(&b.id));
                Files::of(&manifest, &indexes, is_of)
            }
        })
    };
    guarded(table, ACTION, reading).await
}

fn failed(table: &Table, e: object_store::Error) -> Error {
    let of = format!("{} of {}", table.key, table.storage.uri);
    Error::store("listing the files of", of, e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_base_is_known_by_the_folder_of_its_table_whatever_comes_before_it() {
        let t = folders(&["t.lance"]);
        for uri in [
            "/var/lib/app/t.lance",
            "t.lance",
            "../db/t.lance",
            "file:///data/t.lance/",
            "file-object-store:///data/t.lance",
            "s3://bucket/db//t.lance/tree/exp",
            "/data/t.lance/data",
        ] {
            assert!(is_in(uri, &t), "{uri}");
        }
        for uri in [
            "/data/at.lance",
            "/data/t.lance.lance",
            "s3://t/x.lance",
            "",
        ] {
            assert!(!is_in(uri, &t), "{uri}");
        }
        assert!(is_in(
            "file:///a/my%20table.lance",
            &folders(&["my table.lance"])
        ));
    }

    #[test]
    fn bytes_mention_a_folder_and_not_a_file_whose_name_ends_alike() {
        let a = folders(&["a.lance"]);
        assert!(mentions(b"\x12\x12/var/lib/db/a.lance\x18", &a));
        assert!(mentions(b"\x07a.lance", &a));
        assert!(!mentions(b"\x2a0100100f8afa.lance", &a));
        assert!(!mentions(b"", &a) && !mentions(b"a.lanc", &a));
        assert!(mentions(b"file:///my%20a.lance", &folders(&["my a.lance"])));
    }

    #[test]
    fn every_path_in_bytes_is_found_whatever_stands_before_it() {
        let paths = |bytes: &[u8]| paths_in(bytes);
        assert_eq!(
            paths(b"\x12\x0c/mnt/a.lance\x92\x01x"),
            ["/mnt/a.lance", "file:///mnt/a.lance"]
        );
        // The length before a path may be a slash by chance.
        assert_eq!(paths(b"//mnt/a")[0], "/mnt/a");
        assert_eq!(paths(b"\x1afile:///a%20b\x00")[1], "file:///a%20b");
        assert!(paths(b"no path").is_empty());
    }

    #[test]
    fn blobs_have_the_place_of_their_data_file_and_parts_of_an_index_that_of_the_index() {
        let base = Path::from("db/t.lance");
        let of = |below: &str| Files::place(&Path::from(format!("{base}/{below}")), &base);
        assert_eq!(of("data/a.lance").as_deref(), Some("data/a.lance"));
        assert_eq!(of("data/a/1.blob").as_deref(), Some("data/a.lance"));
        assert_eq!(of("_indices/id/x.idx").as_deref(), Some("_indices/id"));
        assert_eq!(Files::place(&Path::from("db/x.lance/data/a"), &base), None);
    }

    #[test]
    fn a_manifest_below_the_branches_is_of_the_branch_whose_folder_it_is_in() {
        let base = Path::from("db/t.lance/tree");
        let of = |path: &str| branch_of(&Path::from(path), &base);
        assert_eq!(
            of("db/t.lance/tree/exp/_versions/1.manifest").as_deref(),
            Some("exp")
        );
        assert_eq!(
            of("db/t.lance/tree/a/b/_versions/1.manifest").as_deref(),
            Some("a/b")
        );
        assert_eq!(of("db/t.lance/tree/a/data/1.manifest"), None);
        assert_eq!(of("db/t.lance/_versions/1.manifest"), None);
    }
}
