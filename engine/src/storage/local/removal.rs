//! Removing folders. Each entry is removed by its name in the folder that is open, and a folder is opened only where it
//! is none of a link: a link is removed itself, and what it leads to stays.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

use super::{
    access_denied::{AccessDenied, Fault},
    beneath::{Boundary, FOLDER, For, MAX_DEPTH},
    list::children,
};

/// Removes a file, or a link; not what a link leads to.
///
/// # Errors
/// As [`Boundary::open`].
pub(super) fn file(boundary: &Boundary, path: &Path) -> Result<(), Fault> {
    let (folder, name) = boundary.parent(path, For::Changing)?;
    Ok(unlinkat(folder, name, AtFlags::empty())?)
}

/// Removes a folder with everything in it; says whether it was there. Others may be doing the same.
///
/// # Errors
/// As [`Boundary::open`]; [`AccessDenied::TooDeep`].
pub(super) fn tree(boundary: &Boundary, path: &Path) -> Result<bool, Fault> {
    match boundary.parent(path, For::Changing) {
        Err(e) if e.is_not_found() => Ok(false),
        parent => {
            let (folder, name) = parent?;
            entry(&folder, name, path, 0)
        }
    }
}

/// Removes what has a name in a folder; says whether there was something.
fn entry(folder: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<bool, Fault> {
    if depth > MAX_DEPTH {
        return Err(AccessDenied::TooDeep {
            path: path.to_owned(),
            most: MAX_DEPTH,
        }
        .into());
    }
    let flags = FOLDER | OFlags::NOFOLLOW;
    let opened = match openat(folder, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        // It is none, or a link.
        Err(Errno::NOTDIR | Errno::LOOP) => return gone(folder, name, AtFlags::empty()),
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    let inside = opened.as_fd().try_clone_to_owned()?;
    for (child, kind) in children(opened)? {
        if matches!(kind, FileType::Directory | FileType::Unknown) {
            entry(&inside, &child, &path.join(&child), depth + 1)?;
        } else {
            gone(&inside, &child, AtFlags::empty())?;
        }
    }
    gone(folder, name, AtFlags::REMOVEDIR)
}

fn gone(folder: &OwnedFd, name: &OsStr, flags: AtFlags) -> Result<bool, Fault> {
    match unlinkat(folder, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Removes a folder and those in it that are empty, and leaves the others; says whether the folder itself went. Best effort.
pub(super) fn empty_folders(boundary: &Boundary, path: &Path) -> bool {
    let Ok((folder, name)) = boundary.parent(path, For::Changing) else {
        return false;
    };
    let flags = FOLDER | OFlags::NOFOLLOW;
    if let Ok(inside) = openat(&folder, name, flags, Mode::empty())
        && let Ok(handle) = inside.as_fd().try_clone_to_owned()
    {
        for (child, _) in children(inside).unwrap_or_default() {
            // A file, a link, or a folder with files, refuses.
            let _ = unlinkat(&handle, child, AtFlags::REMOVEDIR);
        }
    }
    unlinkat(&folder, name, AtFlags::REMOVEDIR).is_ok()
}
