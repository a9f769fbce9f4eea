//! Why finished work was thrown away.

use std::fmt;

/// Why a rewrite, or work on indexes, was thrown away instead of committed. It is no error: the table is as it was, and
/// the work is planned anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// What it was made from is not as it was: a writer deleted rows of it, or another process rewrote it.
    SourcesChanged,
    /// A source fragment is gone, and not because all its rows were deleted.
    SourceGone,
    /// A source fragment has other data files: a column was added, cast or updated in place.
    OtherFiles,
    /// A row that was deleted is back: the table was restored.
    RowsRevived,
    /// The sources had other rows than the new fragments: what was read is not what the manifest describes.
    RowsMiscounted,
    /// An index covers one part of a group's sources and not the other; Lance follows it to the new fragments as a whole or
    /// not at all.
    HalfCovered,
    /// Others have changed the indexes of its sources again and again, or made one that would lose the rows.
    IndexesChanged,
    /// Other operations of the graph left it no gap.
    NoTurn,
    /// Its sources are there, but writers were faster at every attempt to commit.
    Contended,
    /// Lance will not have it, whatever is tried.
    Refused,
    /// The table was dropped, before the commit or while it was made.
    TableDropped,
    /// It was committed to a version that others had made and removed meanwhile.
    LandedLate,
    /// It was written so long ago that a cleanup may take its files for left over.
    Outdated,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SourcesChanged,
        Self::SourceGone,
        Self::OtherFiles,
        Self::RowsRevived,
        Self::RowsMiscounted,
        Self::HalfCovered,
        Self::IndexesChanged,
        Self::NoTurn,
        Self::Contended,
        Self::Refused,
        Self::TableDropped,
        Self::LandedLate,
        Self::Outdated,
    ];

    /// The reason as logs and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourcesChanged => "sources_changed",
            Self::SourceGone => "source_gone",
            Self::OtherFiles => "other_files",
            Self::RowsRevived => "rows_revived",
            Self::RowsMiscounted => "rows_miscounted",
            Self::HalfCovered => "half_covered",
            Self::IndexesChanged => "indexes_changed",
            Self::NoTurn => "no_turn",
            Self::Contended => "contended",
            Self::Refused => "refused",
            Self::TableDropped => "table_dropped",
            Self::LandedLate => "landed_late",
            Self::Outdated => "outdated",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of work that may be thrown away.
pub(crate) type OrLost<T> = Result<T, Loss>;
