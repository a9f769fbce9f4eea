//! What a local target's folder does not lead to, and why.

use std::{io, path::PathBuf};

use object_store::Error as StoreError;
use rustix::io::Errno;

/// How the store calls itself in errors.
const STORE: &str = "local disk";

/// Why something on a local disk is neither read nor written. It lasts until an operator changes the disk or the
/// configuration; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessDenied {
    /// A symbolic link that the target does not allow.
    #[error(
        "{} is a symbolic link to {}, and links are not followed: put the folder itself there (or mount it, `mount --bind`), or allow it with follow_links in the target", path.display(), to.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// What it says.
        to: PathBuf,
    },
    /// A path that is not below the target's folder.
    #[error(
        "{} is not below the target's folder {}: it is left alone; allow_bases in the target lets it be read", path.display(), root.display()
    )]
    Outside {
        /// The path.
        path: PathBuf,
        /// The target's folder, resolved.
        root: PathBuf,
    },
    /// A path below a folder that may only be read.
    #[error("{} is below a folder that allow_bases lets be read only: nothing is changed there", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no file where a file is expected.
    #[error("{} is no regular file but {what}: remove it, or put the file back", path.display())]
    NoFile {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Folders in folders, deeper than anything that Lance makes.
    #[error("{} lies too deep: more than {most} folders in each other", path.display())]
    TooDeep {
        /// Where it was given up.
        path: PathBuf,
        /// The maximum.
        most: usize,
    },
    /// A manifest that is larger than what may be read at once.
    #[error(
        "{path} has {bytes} bytes, and a manifest of more than {most} is not read: it is damaged, or the table needs a larger daemon.memory"
    )]
    TooLarge {
        /// The manifest's path on the store.
        path: String,
        /// Its size.
        bytes: u64,
        /// The bound, a part of `daemon.memory`.
        most: u64,
    },
}

impl AccessDenied {
    /// The reason as metrics and the log spell it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Link { .. } => "link",
            Self::Outside { .. } => "outside",
            Self::ReadOnly { .. } => "read_only",
            Self::NoFile { .. } => "no_file",
            Self::TooDeep { .. } => "too_deep",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// The refusal that caused an error, if one did.
    pub(crate) fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(denied) = error.downcast_ref::<Self>() {
                return Some(denied);
            }
            next = error.source();
        }
        None
    }

    /// As an error of the store: one that says for sure that nothing was changed.
    pub(crate) fn into_store(self) -> StoreError {
        let path = match &self {
            Self::TooLarge { path, .. } => path.clone(),
            Self::Link { path, .. }
            | Self::Outside { path, .. }
            | Self::ReadOnly { path }
            | Self::NoFile { path, .. }
            | Self::TooDeep { path, .. } => path.display().to_string(),
        };
        StoreError::PermissionDenied {
            path,
            source: Box::new(self),
        }
    }
}

/// Why a request to the disk failed.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Denied(AccessDenied),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Errno> for Fault {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

impl From<AccessDenied> for Fault {
    fn from(denied: AccessDenied) -> Self {
        Self::Denied(denied)
    }
}

impl Fault {
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io(e) => e.kind(),
            Self::Denied(_) => io::ErrorKind::PermissionDenied,
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// As an error of the store, about a path.
    pub(super) fn about(self, path: &std::path::Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            Self::Denied(denied) => denied.into_store(),
            Self::Io(e) => match e.kind() {
                io::ErrorKind::NotFound => StoreError::NotFound {
                    path,
                    source: Box::new(e),
                },
                io::ErrorKind::AlreadyExists => StoreError::AlreadyExists {
                    path,
                    source: Box::new(e),
                },
                _ => generic(io::Error::new(e.kind(), format!("{path}: {e}"))),
            },
        }
    }
}

/// An error of the disk.
pub(super) fn generic(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Generic {
        store: STORE,
        source: e.into(),
    }
}
