//! The formats of input files.

use std::fmt;

/// A format that input is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet: `.parquet`, `.pq`.
    Parquet,
    /// Delimited text with a header: `.csv`, `.tsv`.
    Csv,
    /// One JSON object per line: `.jsonl`, `.ndjson`, `.json`.
    JsonLines,
    /// Arrow IPC, as a file or as a stream: `.arrow`, `.arrows`, `.ipc`, `.feather`.
    ArrowIpc,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Parquet, Self::Csv, Self::JsonLines, Self::ArrowIpc];

    /// The name of this format, as [`std::str::FromStr`] takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::ArrowIpc => "arrow",
        }
    }

    /// The extensions of this format's files, in lower case.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Parquet => &["parquet", "pq"],
            Self::Csv => &["csv", "tsv"],
            Self::JsonLines => &["jsonl", "ndjson", "json"],
            Self::ArrowIpc => &["arrow", "arrows", "ipc", "feather"],
        }
    }

    /// The format that has this extension, in whatever case it is written.
    pub(super) fn of_extension(extension: &str) -> Option<Self> {
        let extension = extension.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|format| format.extensions().contains(&extension.as_str()))
    }

    /// The known formats in words: each name with its extensions.
    pub(super) fn known() -> String {
        let one = |format: Self| format!("{format} (.{})", format.extensions().join(", ."));
        Self::ALL.map(one).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
