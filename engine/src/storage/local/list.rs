//! Listing: what lies below a folder. Links are never gone through, unless the target allows where they lead.
//!
//! A link in a table's folder is an error, not left out: what it stands for may be a tag or a version, and who does not
//! see that would remove what it protects. What Lance cannot have written is passed over: see [`super::passed_over`].

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path as FsPath, PathBuf},
};

use futures::{StreamExt, stream::BoxStream};
use object_store::{ListResult, ObjectMeta, Result, path::Path};
use rustix::{
    fs::{AtFlags, Dir, FileType, fstat, stat, statat},
    io::Errno,
};

use super::{
    access_denied::{AccessDenied, Fault},
    beneath::{Boundary, FOLDER, For, HANDLE, MAX_DEPTH},
    disk::{blocking, meta, on_disk},
    passed_over::{Passed, pass_over, reason},
};

/// Maximum number of entries that are read at once.
const CHUNK: usize = 1024;

/// What an entry of a folder is.
enum Entry {
    Folder(Path),
    File(ObjectMeta),
}

/// The entries of one folder.
struct Folder {
    boundary: Boundary,
    /// Its path on the store.
    path: Path,
    on_disk: PathBuf,
    entries: Dir,
    /// Links that are not allowed are left out here.
    lenient: bool,
}

impl Folder {
    /// Opens it; nothing when it is not there, or is none.
    fn open(boundary: &Boundary, path: Path) -> Result<Option<Self>, Fault> {
        let on_disk = on_disk(&path);
        let opened = match boundary.open(&on_disk, FOLDER, For::Reading) {
            Ok(opened) => opened,
            Err(Fault::Io(e)) if e.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => {
                return Ok(None);
            }
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(Some(Self {
            // A user who can write into a target can put a link there; its tables are kept all the same.
            lenient: on_disk == boundary.root,
            boundary: boundary.clone(),
            entries: Dir::new(opened)?,
            path,
            on_disk,
        }))
    }

    /// The next entry that is one of Lance's, or may be; nothing after the last.
    fn next(&mut self) -> Option<Result<Entry, Fault>> {
        loop {
            let entry = match self.entries.read()? {
                Ok(entry) => entry,
                Err(e) => return Some(Err(e.into())),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = entry.file_type();
            match self.entry(OsStr::from_bytes(name), kind) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(e) => return Some(Err(e)),
            }
        }
    }

    fn entry(&self, name: &OsStr, mut kind: FileType) -> Result<Option<Entry>, Fault> {
        let on_disk = self.on_disk.join(name);
        let pass = |why| {
            pass_over(&self.boundary, &on_disk, why);
            Ok(None)
        };
        let Some(path) = path_of(&self.path, name) else {
            return pass(Passed::Name);
        };
        let mut stat = None;
        if kind == FileType::Unknown || kind == FileType::RegularFile {
            if kind == FileType::RegularFile && is_staged(name) {
                return Ok(None);
            }
            let folder = self.entries.fd()?;
            let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // It is gone already.
                Err(Errno::NOENT) => return Ok(None),
                found => found?,
            };
            kind = FileType::from_raw_mode(found.st_mode);
            stat = Some(found);
        }
        if kind == FileType::Symlink {
            let opened = match self.boundary.open(&on_disk, HANDLE, For::Reading) {
                Ok(opened) => opened,
                Err(e) if e.is_not_found() => return Ok(None),
                Err(Fault::Denied(denied)) if self.lenient => return pass(reason(&denied)),
                Err(e) => return Err(e),
            };
            let found = fstat(&opened)?;
            kind = FileType::from_raw_mode(found.st_mode);
            stat = Some(found);
        }
        match (kind, stat) {
            (FileType::Directory, _) => Ok(Some(Entry::Folder(path))),
            (FileType::RegularFile, Some(_)) if is_staged(name) => Ok(None),
            (FileType::RegularFile, Some(stat)) => {
                Ok(Some(Entry::File(meta(&self.boundary, &stat, path))))
            }
            _ => pass(Passed::NoFile),
        }
    }
}

/// The path on the store of an entry, if its name is one that a store can have.
fn path_of(folder: &Path, name: &OsStr) -> Option<Path> {
    let name = name
        .to_str()
        .filter(|name| !name.contains(char::is_control))?;
    let path = if folder.as_ref().is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    };
    Path::parse(path).ok()
}

/// Whether a name is one of files that are being written, see [`super::upload`].
pub(super) fn is_staged(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let Some(at) = name.iter().position(|byte| *byte == b'#') else {
        return false;
    };
    let number = name.get(at + 1..).unwrap_or_default();
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// The files below a folder, at any depth.
struct Walk {
    boundary: Boundary,
    offset: Option<Path>,
    /// How deep the folder lies that it began with.
    depth: usize,
    pending: Vec<Path>,
    open: Option<Folder>,
}

impl Walk {
    fn next(&mut self) -> Option<Result<ObjectMeta>> {
        loop {
            let Some(folder) = &mut self.open else {
                let path = self.pending.pop()?;
                let on_disk = on_disk(&path);
                if path.parts().count() > self.depth + MAX_DEPTH {
                    pass_over(&self.boundary, &on_disk, Passed::TooDeep);
                    continue;
                }
                match Folder::open(&self.boundary, path) {
                    Ok(folder) => self.open = folder,
                    Err(e) => return Some(Err(e.about(&on_disk))),
                }
                continue;
            };
            match folder.next() {
                None => self.open = None,
                Some(Ok(Entry::Folder(path))) => self.pending.push(path),
                Some(Ok(Entry::File(found))) => {
                    let is_past = |offset: &Path| found.location > *offset;
                    if self.offset.as_ref().is_none_or(is_past) {
                        return Some(Ok(found));
                    }
                }
                Some(Err(e)) => {
                    let fault = e.about(&folder.on_disk);
                    self.open = None;
                    return Some(Err(fault));
                }
            }
        }
    }
}

/// The files below a folder, at any depth, whose paths come after `offset`, in no order.
pub(super) fn list(
    boundary: &Boundary,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = prefix.cloned().unwrap_or_default();
    let walk = Walk {
        boundary: boundary.clone(),
        offset: offset.cloned(),
        depth: prefix.parts().count(),
        pending: vec![prefix],
        open: None,
    };
    let read = (walk, VecDeque::new());
    futures::stream::try_unfold(read, |(mut walk, mut read)| async move {
        if read.is_empty() {
            (walk, read) = blocking(move || {
                while read.len() < CHUNK
                    && let Some(next) = walk.next()
                {
                    read.push_back(next);
                }
                Ok((walk, read))
            })
            .await?;
        }
        match read.pop_front() {
            Some(Ok(found)) => Ok(Some((found, (walk, read)))),
            Some(Err(e)) => Err(e),
            None => Ok(None),
        }
    })
    .boxed()
}

/// The files and folders in a folder.
///
/// # Errors
/// As [`Boundary::open`].
pub(super) fn list_folder(boundary: &Boundary, path: &Path) -> Result<ListResult, Fault> {
    let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
    if let Some(mut folder) = Folder::open(boundary, path.clone())? {
        while let Some(entry) = folder.next() {
            match entry? {
                Entry::Folder(path) => _ = folders.insert(path),
                Entry::File(found) => objects.push(found),
            }
        }
    }
    Ok(ListResult {
        common_prefixes: folders.into_iter().collect(),
        objects,
        extensions: Default::default(),
    })
}

/// Whether a table's folder, and each that lies in it, may be gone into.
///
/// # Errors
/// [`AccessDenied::Link`], when one is a link that is not allowed.
pub(super) fn survey(boundary: &Boundary, folder: &FsPath) -> Result<(), Fault> {
    let opened = match boundary.open(folder, FOLDER, For::Reading) {
        Err(e) if e.is_not_found() => return Ok(()),
        opened => opened?,
    };
    for (name, kind) in children(opened)? {
        if kind == FileType::Symlink {
            match boundary.open(&folder.join(name), HANDLE, For::Reading) {
                Err(Fault::Io(_)) | Ok(_) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(())
}

/// A folder's device, and its number on it.
type Identity = (u64, u64);

/// What a folder is on its disk, and what the folders in it are.
///
/// # Errors
/// As [`Boundary::open`].
pub(super) fn identities(
    boundary: &Boundary,
    folder: &FsPath,
) -> Result<Vec<(PathBuf, Identity)>, Fault> {
    let opened = match boundary.open(folder, FOLDER, For::Reading) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut found = vec![(folder.to_owned(), identity(&fstat(&opened)?))];
    for (name, kind) in children(opened)? {
        if matches!(
            kind,
            FileType::Directory | FileType::Symlink | FileType::Unknown
        ) {
            let path = folder.join(name);
            match boundary.open(&path, FOLDER, For::Reading) {
                Ok(opened) => found.push((path, identity(&fstat(&opened)?))),
                Err(Fault::Io(_) | Fault::Denied(AccessDenied::Link { .. })) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(found)
}

/// Whether a path, or one that it is below, leads to this folder. Nothing is read of what lies there.
pub(super) fn is_reached_by(folder: &FsPath, elsewhere: &FsPath) -> bool {
    let Ok(own) = stat(folder) else {
        return false;
    };
    let mut above = elsewhere.ancestors();
    above.any(|path| stat(path).is_ok_and(|other| identity(&other) == identity(&own)))
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
fn identity(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// The entries of a folder, as it tells them.
pub(super) fn children(folder: OwnedFd) -> Result<Vec<(std::ffi::OsString, FileType)>, Fault> {
    let mut entries = Dir::new(folder)?;
    let mut found = Vec::new();
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}
