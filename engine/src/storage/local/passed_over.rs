//! What lies in a target and is passed over: it is counted, and logged once, and is no fault of the target.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use super::{access_denied::AccessDenied, beneath::Boundary};

/// Maximum number of paths that are logged for one target; the rest is only counted.
const MAX_REPORTED: usize = 1_000;

/// Why an entry of a folder is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Passed {
    /// A symbolic link that the target does not allow.
    Link,
    /// A FIFO, a device or a socket.
    NoFile,
    /// Its name has control characters, or is not UTF-8.
    Name,
    /// It lies deeper than anything that Lance makes.
    TooDeep,
    /// Its time is so far out that it is no time; it counts as written in the year 9999, so that it is never old.
    Time,
}

impl Passed {
    /// The reason as logs and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::NoFile => "no_file",
            Self::Name => "name",
            Self::TooDeep => "too_deep",
            Self::Time => "time",
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    reported: BTreeSet<(PathBuf, Passed)>,
    counted: BTreeMap<Passed, u64>,
}

static BOOKS: LazyLock<Mutex<BTreeMap<PathBuf, Book>>> = LazyLock::new(Mutex::default);

/// Notes that an entry is passed over.
pub(super) fn pass_over(boundary: &Boundary, path: &Path, why: Passed) {
    let is_new = {
        let mut books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        let book = books.entry(boundary.root.clone()).or_default();
        let is_new =
            book.reported.len() < MAX_REPORTED && book.reported.insert((path.to_owned(), why));
        if is_new {
            *book.counted.entry(why).or_default() += 1;
        }
        is_new
    };
    if !is_new {
        return;
    }
    let (path, uri, reason) = (shown(path), boundary.root.display(), why.as_str());
    match why {
        Passed::Link => tracing::warn!(
            path, %uri, reason,
            "a symbolic link is passed over: put the folder itself there, or allow it with follow_links in the target"
        ),
        Passed::Time => tracing::warn!(
            path, %uri, reason,
            "a file's time is no time: it is never taken for old"
        ),
        _ => {
            tracing::warn!(path, %uri, reason, "an entry is passed over: it is nothing of Lance's")
        }
    }
}

/// A path for a log: names may hold anything.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_default().to_string()
}

/// How many entries below a local root were passed over since the process began, by reason; each counts once, and a
/// thousand at most are distinguished. `root` is a target's URI as its `uri()` gives it.
pub fn passed_over(root: &str) -> BTreeMap<Passed, u64> {
    let books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    let book = books.get(Path::new(root));
    book.map(|book| book.counted.clone()).unwrap_or_default()
}

/// The reason to pass over what access is denied to, where that may be done.
pub(super) fn reason(denied: &AccessDenied) -> Passed {
    match denied {
        AccessDenied::NoFile { .. } => Passed::NoFile,
        AccessDenied::TooDeep { .. } => Passed::TooDeep,
        _ => Passed::Link,
    }
}
