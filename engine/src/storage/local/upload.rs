//! Writing a file: beside its place first, under a name that no listing tells, then into its place at once. What is
//! acknowledged is on the disk, and so is the folder's entry of it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::FutureExt;
use object_store::{MultipartUpload, PutMode, PutPayload, PutResult, Result, UploadPart};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fstat, fsync, linkat, mkdirat, openat, renameat, unlinkat},
    io::Errno,
};

use super::{
    access_denied::{Fault, generic},
    beneath::{Boundary, FOLDER, For, split},
    disk::{blocking, e_tag},
    owner::{New, Owned, hand_over},
};

/// How often a folder is made anew that others remove when it is empty.
const ATTEMPTS: usize = 8;

/// A file that is not in its place yet. It is removed when it does not come there.
#[derive(Debug)]
pub(super) struct Staged {
    boundary: Boundary,
    /// Where it goes.
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    pub(super) file: File,
    /// Whether it is gone from where it was written.
    moved: bool,
}

impl Staged {
    /// Makes it, and the folders that it needs.
    ///
    /// # Errors
    /// As [`Boundary::open`].
    pub(super) fn new(boundary: &Boundary, path: &Path) -> Result<Self, Fault> {
        let (above, name) = split(path)?;
        for _ in 0..ATTEMPTS {
            let folder = folder_made(boundary, above)?;
            match staged_in(&folder, name) {
                Ok((file, name)) => {
                    return Ok(Self {
                        boundary: boundary.clone(),
                        path: path.to_owned(),
                        folder,
                        name,
                        file,
                        moved: false,
                    });
                }
                // The folder was removed in between.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::NOENT.into())
    }

    /// Puts it into its place, where the folder there is the one still that it was written in.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], when it must be new and is not; [`io::ErrorKind::NotFound`], when the folder is
    /// another one.
    pub(super) fn publish(mut self, mode: &PutMode) -> Result<String, Fault> {
        self.file.sync_all()?;
        let e_tag = e_tag(&fstat(&self.file)?);
        let (now, name) = self.boundary.parent(&self.path, For::Changing)?;
        let (before, now) = (fstat(&self.folder)?, fstat(now)?);
        if (before.st_dev, before.st_ino) != (now.st_dev, now.st_ino) {
            return Err(Errno::NOENT.into());
        }
        let name = name.to_owned();
        if matches!(mode, PutMode::Create) {
            let flags = AtFlags::empty();
            linkat(&self.folder, &self.name, &self.folder, &name, flags)?;
        } else {
            renameat(&self.folder, &self.name, &self.folder, &name)?;
            self.moved = true;
        }
        fsync(&self.folder)?;
        Ok(e_tag)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.moved {
            let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Makes a file that no listing tells, beside the one that it will be.
pub(super) fn staged_in(folder: &OwnedFd, name: &OsStr) -> Result<(File, OsString), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for attempt in 1_u64.. {
        let mut staged = name.to_owned();
        staged.push(format!("#{attempt}"));
        match openat(folder, &staged, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => {
                hand_over(&file, folder, New::File);
                return Ok((file.into(), staged));
            }
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EXIST)
}

/// Opens a folder to change what is in it, and makes it where it is not there.
///
/// # Errors
/// As [`Boundary::open`].
pub(super) fn folder_made(boundary: &Boundary, path: &Path) -> Result<OwnedFd, Fault> {
    for _ in 0..ATTEMPTS {
        match boundary.open(path, FOLDER, For::Changing) {
            Err(e) if e.is_not_found() => {}
            opened => return opened,
        }
        if path == boundary.root {
            root_made(path)?;
            continue;
        }
        let (above, name) = split(path)?;
        let above = folder_made(boundary, above)?;
        match mkdirat(&above, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                if let Ok(made) = openat(&above, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                    hand_over(&made, &above, New::Folder);
                    fsync(&made)?;
                }
                fsync(&above)?;
            }
            // Another process was faster, or removed the folder.
            Err(Errno::EXIST | Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::NOENT.into())
}

/// Makes the folder of a target itself, as the umask says.
fn root_made(root: &Path) -> io::Result<()> {
    let mut missing: Vec<_> = root.ancestors().take_while(|path| !path.exists()).collect();
    while let Some(path) = missing.pop() {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        if let Some(above) = path.parent() {
            File::open(above)?.sync_all()?;
        }
    }
    Ok(())
}

/// Writes a whole file.
///
/// # Errors
/// As [`Staged::new`] and [`Staged::publish`].
pub(super) fn put(
    boundary: &Boundary,
    path: &Path,
    payload: &PutPayload,
    mode: &PutMode,
) -> Result<String, Fault> {
    let mut staged = Staged::new(boundary, path)?;
    payload
        .iter()
        .try_for_each(|part| staged.file.write_all(part))?;
    staged.publish(mode)
}

/// A file that is written in parts.
#[derive(Debug)]
pub(super) struct Upload {
    path: PathBuf,
    staged: Option<Arc<Staged>>,
    offset: u64,
}

impl Upload {
    pub(super) fn new(path: PathBuf, staged: Staged) -> Self {
        Self {
            path,
            staged: Some(Arc::new(staged)),
            offset: 0,
        }
    }

    fn ended(&self) -> object_store::Error {
        generic(format!("{}: the upload has ended", self.path.display()))
    }
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        let Some(staged) = self.staged.clone() else {
            let ended = self.ended();
            return futures::future::ready(Err(ended)).boxed();
        };
        let path = self.path.clone();
        blocking(move || {
            let written = data.iter().try_for_each(|part| {
                let written = staged.file.write_all_at(part, offset);
                offset += part.len() as u64;
                written
            });
            written.map_err(|e| Fault::from(e).about(&path))
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let ended = self.ended();
        // Every part has been waited for: nothing else holds it.
        let staged = self.staged.take().and_then(Arc::into_inner).ok_or(ended)?;
        let path = self.path.clone();
        let e_tag = blocking(move || {
            let published = staged.publish(&PutMode::Overwrite);
            published.map_err(|fault| fault.about(&path))
        });
        Ok(PutResult {
            e_tag: Some(e_tag.await?),
            version: None,
            extensions: Default::default(),
        })
    }

    async fn abort(&mut self) -> Result<()> {
        let ended = self.ended();
        let staged = self.staged.take().ok_or(ended)?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

/// Whose a file would be that this process writes in a folder of a table: it writes one, under a name that no listing
/// tells, and removes it.
///
/// # Errors
/// The disk's.
pub fn try_to_own(folder: &Path) -> std::io::Result<Owned> {
    let flags = FOLDER | OFlags::NOFOLLOW;
    let folder = openat(CWD, folder, flags, Mode::empty())?;
    let (file, name) = staged_in(&folder, OsStr::new("squire-probe"))?;
    let stat = fstat(&file);
    unlinkat(&folder, &name, AtFlags::empty())?;
    Ok(Owned::from(&stat?))
}
