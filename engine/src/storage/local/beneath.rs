//! Opening what lies below a target's folder, and nothing else.
//!
//! The kernel resolves each path beneath a folder whose own path has no link in it, and follows no link on the way. So
//! a user who may write in a target, or in one of its tables, cannot lead Squire elsewhere, whenever they swap a folder
//! for a link. The target's folder is found anew for each request, by the path that it was resolved to when it was
//! connected: it may be mounted, restored or made anew meanwhile, and work must not go on in the one that was moved
//! away.
//!
//! Other file systems that are mounted below the folder are no way out (`RESOLVE_NO_XDEV` is not asked for): only root
//! mounts, and it is how data is put on another disk.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, readlinkat, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::access_denied::{AccessDenied, Fault};

/// Maximum number of links on one path that are followed, where links are allowed.
const MAX_LINKS: usize = 8;
/// Maximum depth of folders below a target's folder: Lance makes a handful, and one for each part of a
/// branch's name.
pub(super) const MAX_DEPTH: usize = 128;

/// How a folder is opened that is read.
pub(super) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// How a file is opened that is read: a FIFO must not hold it up.
pub(super) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// How something is opened that is only gone through or looked at.
#[cfg(target_os = "linux")]
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const HANDLE: OFlags = FILE;

/// What is done with what is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Reading,
    Changing,
}

/// The folder of a target, and where else its paths may lead. All are absolute and resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boundary {
    /// The target's folder.
    pub(crate) root: PathBuf,
    /// Folders that links below the target's folder may lead to.
    pub(crate) follow: Vec<PathBuf>,
    /// Folders that may be read as they are named, see `allow_bases`.
    pub(crate) bases: Vec<PathBuf>,
}

impl Boundary {
    /// Opens what a path names.
    ///
    /// # Errors
    /// [`AccessDenied::Link`], [`AccessDenied::Outside`], [`AccessDenied::ReadOnly`]; what the kernel says.
    pub(super) fn open(&self, path: &Path, flags: OFlags, what_for: For) -> Result<OwnedFd, Fault> {
        #[cfg(feature = "failpoints")]
        crate::failpoint::hang(&self.root, path);
        let (mut within, mut at) = self.within(path, what_for)?;
        for _ in 0..MAX_LINKS {
            let errno = match beneath(&within, &at, flags) {
                Ok(opened) => return Ok(opened),
                Err(errno) => errno,
            };
            // Where a folder is wanted, the walk calls a link no folder.
            let Some(link) = link_on(&at, errno) else {
                // Another process has put the folder back meanwhile.
                if errno == Errno::LOOP {
                    continue;
                }
                return Err(errno.into());
            };
            let Some((allowed, real)) = self.followed(&link) else {
                return Err(AccessDenied::Link {
                    path: link.path,
                    to: link.to,
                }
                .into());
            };
            (within, at) = (allowed.to_owned(), joined(&real, &link.rest));
        }
        Err(Errno::LOOP.into())
    }

    /// Opens the folder that a path lies in, and gives its name there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn parent<'a>(
        &self,
        path: &'a Path,
        what_for: For,
    ) -> Result<(OwnedFd, &'a OsStr), Fault> {
        let (folder, name) = split(path)?;
        self.within(path, what_for)?;
        Ok((self.open(folder, FOLDER, what_for)?, name))
    }

    /// The folder that a path is below, if it is one that may be used so, and the path there. A manifest may name a place
    /// below the target by another way there, through links: it is looked at where that leads.
    pub(super) fn within(&self, path: &Path, what_for: For) -> Result<(PathBuf, PathBuf), Fault> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if path.is_absolute() && path.components().all(plain) {
            if path.starts_with(&self.root) {
                return Ok((self.root.clone(), path.to_owned()));
            }
            let real = real(path);
            if real.starts_with(&self.root) && what_for == For::Reading {
                return Ok((self.root.clone(), real));
            }
            for path in [path, &real] {
                if let Some(base) = self.bases.iter().find(|base| path.starts_with(base)) {
                    return match what_for {
                        For::Reading => Ok((base.clone(), path.to_owned())),
                        For::Changing => Err(AccessDenied::ReadOnly { path: path.into() }.into()),
                    };
                }
            }
        }
        Err(AccessDenied::Outside {
            path: path.to_owned(),
            root: self.root.clone(),
        }
        .into())
    }

    /// Where a link leads, if it may lead there: the folder that allows it, and the path. A link above the target's own
    /// folder was not there when that was resolved, and may lead nowhere.
    fn followed(&self, link: &Link) -> Option<(&Path, PathBuf)> {
        let is_above = |folder: &PathBuf| folder.starts_with(&link.path);
        let mut all = self.follow.iter().chain(&self.bases);
        if self.follow.is_empty() || is_above(&self.root) || all.any(is_above) {
            return None;
        }
        let folder = link.path.parent()?;
        let real = std::fs::canonicalize(folder.join(&link.to)).ok()?;
        let mut allowed = self.follow.iter();
        let allowed = allowed.find(|folder| real.starts_with(folder))?;
        Some((allowed, real))
    }
}

/// A path and what comes below it; nothing is put after the last slash.
fn joined(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        path.to_owned()
    } else {
        path.join(rest)
    }
}

/// A path with every link in it resolved, as far as it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    for there in path.ancestors() {
        if let Ok(real) = std::fs::canonicalize(there) {
            return joined(&real, path.strip_prefix(there).unwrap_or(Path::new("")));
        }
    }
    path.to_owned()
}

/// A path in two.
pub(super) fn split(path: &Path) -> Result<(&Path, &OsStr), Fault> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| Fault::from(Errno::INVAL))
}

/// Opens what a path names below a folder, and follows no link, neither below the folder nor on the way to it.
fn beneath(within: &Path, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let below = path.strip_prefix(within).map_err(|_| Errno::XDEV)?;
    if kernel_resolves() {
        let top = resolved(CWD, within, HANDLE | OFlags::DIRECTORY, false)?;
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        return resolved(top, below, flags, true);
    }
    let top = walked(None, within, HANDLE | OFlags::DIRECTORY)?;
    walked(Some(top), below, flags)
}

#[cfg(target_os = "linux")]
fn resolved(
    from: impl std::os::fd::AsFd,
    path: &Path,
    flags: OFlags,
    beneath: bool,
) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let mut how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    how.set(ResolveFlags::BENEATH, beneath);
    loop {
        match openat2(&from, path, flags, Mode::empty(), how) {
            // Something was renamed on the way.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn resolved(_: impl std::os::fd::AsFd, _: &Path, _: OFlags, _: bool) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Whether the kernel can do it: Linux from 5.6 on, where no filter of system calls forbids it.
fn kernel_resolves() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| resolved(CWD, Path::new("/"), HANDLE | OFlags::DIRECTORY, false).is_ok())
}

/// The same by hand, part by part.
fn walked(from: Option<OwnedFd>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at = match from {
        Some(folder) => folder,
        None => openat(CWD, "/", HANDLE | OFlags::DIRECTORY, Mode::empty())?,
    };
    let mut parts = path.components().peekable();
    while parts.next_if_eq(&Component::RootDir).is_some() {}
    if parts.peek().is_none() {
        return openat(&at, ".", flags, Mode::empty());
    }
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(Errno::XDEV);
        };
        let last = parts.peek().is_none();
        let through = if last {
            flags
        } else {
            HANDLE | OFlags::DIRECTORY
        };
        let next = openat(&at, name, through | OFlags::NOFOLLOW, Mode::empty())?;
        // To read a link is no error of its own.
        if last && !flags.contains(OFlags::DIRECTORY) && is_link(&next)? {
            return Err(Errno::LOOP);
        }
        at = next;
    }
    Ok(at)
}

fn is_link(opened: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(opened)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// The first link on a path.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    /// What it says.
    to: PathBuf,
    /// What comes after it.
    rest: PathBuf,
}

/// The first link on a path, where an error may come from one. It is asked for a reason to tell, and for where a link
/// leads that may lead somewhere; what is opened then is resolved anew.
fn link_on(path: &Path, errno: Errno) -> Option<Link> {
    if !matches!(errno, Errno::LOOP | Errno::NOTDIR) {
        return None;
    }
    let mut at = openat(CWD, "/", HANDLE | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let mut gone = PathBuf::from("/");
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    while let Some(name) = parts.next() {
        gone.push(name);
        let stat = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let to = readlinkat(&at, name, Vec::new()).ok()?;
            let to = OsString::from_vec(to.into_bytes());
            return Some(Link {
                path: gone,
                to: to.into(),
                rest: parts.collect(),
            });
        }
        let flags = HANDLE | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        at = openat(&at, name, flags, Mode::empty()).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Scene {
        dir: tempfile::TempDir,
        boundary: Boundary,
    }

    /// A target with a table, and a folder beside it.
    fn scene() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        for folder in ["root/t.lance/data", "outside/deep"] {
            std::fs::create_dir_all(real.join(folder)).unwrap();
        }
        std::fs::write(real.join("root/t.lance/data/a.lance"), "rows").unwrap();
        std::fs::write(real.join("outside/deep/b.lance"), "secret").unwrap();
        let boundary = Boundary {
            root: real.join("root"),
            follow: Vec::new(),
            bases: Vec::new(),
        };
        Scene { dir, boundary }
    }

    impl Scene {
        fn path(&self, below: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(below)
        }

        fn open(&self, below: &str) -> Result<OwnedFd, Fault> {
            self.boundary.open(&self.path(below), FILE, For::Reading)
        }

        fn outcome(&self, below: &str) -> &'static str {
            match self.open(below) {
                Err(Fault::Denied(denied)) => denied.as_str(),
                Err(Fault::Io(e)) => panic!("{below}: {e}"),
                Ok(_) => "open",
            }
        }
    }

    #[test]
    fn nothing_is_opened_that_is_not_below_the_folder_whatever_the_path_says() {
        let scene = scene();
        assert_eq!(scene.outcome("root/t.lance/data/a.lance"), "open");
        assert_eq!(scene.outcome("root"), "open");
        for outside in [
            "outside/deep/b.lance",
            "rooted",
            "root/../outside/deep/b.lance",
            "root/t.lance/../../outside",
        ] {
            assert_eq!(scene.outcome(outside), "outside", "{outside}");
        }
    }

    #[test]
    fn no_link_is_followed_wherever_it_stands_and_wherever_it_leads() {
        let scene = scene();
        symlink(scene.path("outside"), scene.path("root/absolute")).unwrap();
        symlink("../outside", scene.path("root/relative")).unwrap();
        symlink("t.lance", scene.path("root/within")).unwrap();
        symlink("loop", scene.path("root/loop")).unwrap();
        symlink("a.lance", scene.path("root/t.lance/data/last")).unwrap();
        for link in [
            "root/absolute/deep/b.lance",
            "root/relative/deep/b.lance",
            "root/within/data/a.lance",
            "root/loop",
            "root/t.lance/data/last",
            "root/absolute",
        ] {
            assert_eq!(scene.outcome(link), "link", "{link}");
        }
    }

    #[test]
    fn a_folder_that_became_a_link_above_the_target_is_not_followed() {
        let scene = scene();
        std::fs::rename(scene.path("root"), scene.path("moved")).unwrap();
        symlink("moved", scene.path("root")).unwrap();
        assert_eq!(scene.outcome("root/t.lance/data/a.lance"), "link");
    }

    #[test]
    fn a_link_is_followed_to_the_folder_that_is_allowed_and_not_past_it() {
        let mut scene = scene();
        symlink("../outside", scene.path("root/allowed")).unwrap();
        symlink(scene.path("outside/deep"), scene.path("root/deeper")).unwrap();
        symlink("..", scene.path("outside/back")).unwrap();
        symlink("../../root/t.lance", scene.path("outside/deep/home")).unwrap();
        scene.boundary.follow = vec![scene.path("outside")];
        assert_eq!(scene.outcome("root/allowed/deep/b.lance"), "open");
        assert_eq!(scene.outcome("root/deeper/b.lance"), "open");
        assert_eq!(scene.outcome("root/allowed/back"), "link");
        assert_eq!(scene.outcome("root/allowed/deep/home"), "link");
        assert_eq!(scene.outcome("outside/deep/b.lance"), "outside");
    }

    #[test]
    fn a_base_may_be_read_and_not_changed() {
        let mut scene = scene();
        scene.boundary.bases = vec![scene.path("outside")];
        assert_eq!(scene.outcome("outside/deep/b.lance"), "open");
        let path = scene.path("outside/deep/b.lance");
        let changed = scene.boundary.parent(&path, For::Changing);
        assert!(matches!(
            changed,
            Err(Fault::Denied(AccessDenied::ReadOnly { .. }))
        ));
    }

    #[test]
    fn the_walk_by_hand_says_what_the_kernel_says() {
        let scene = scene();
        symlink(scene.path("outside"), scene.path("root/link")).unwrap();
        symlink("a.lance", scene.path("root/t.lance/data/last")).unwrap();
        let root = scene.path("root");
        for below in [
            "",
            "t.lance",
            "t.lance/data/a.lance",
            "t.lance/data/none",
            "t.lance/data/last",
            "link",
            "link/deep/b.lance",
            "t.lance/data/a.lance/more",
            "none/none",
        ] {
            for flags in [FILE, FOLDER, HANDLE] {
                let top = walked(None, &root, HANDLE | OFlags::DIRECTORY).unwrap();
                let by_hand = walked(Some(top), Path::new(below), flags);
                let by_kernel = beneath(&root, &root.join(below), flags);
                assert_eq!(by_hand.is_ok(), by_kernel.is_ok(), "{below} {flags:?}");
                let same = |errno| link_on(&root.join(below), errno).map(|link| link.path);
                if let (Err(hand), Err(kernel)) = (by_hand, by_kernel) {
                    assert_eq!(same(hand), same(kernel), "{below} {flags:?}");
                }
            }
        }
        let top = walked(None, &root, HANDLE | OFlags::DIRECTORY).unwrap();
        assert!(walked(Some(top), Path::new("../outside"), FOLDER).is_err());
        assert!(walked(None, &root.join("link"), HANDLE | OFlags::DIRECTORY).is_err());
    }
}
