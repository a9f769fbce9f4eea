//! The formats of input files.

use std::{fmt, path::Path, str::FromStr};

use super::InputError;

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

    /// The name of this format, as [`FromStr`] takes it.
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

    /// The format that the extension of `path` stands for, in whatever case it is written.
    ///
    /// # Errors
    /// [`InputError::UnknownFormat`] when there is no extension or it is none of the known ones.
    pub fn of_path(path: &Path) -> Result<Self, InputError> {
        path.extension()
            .and_then(|extension| extension.to_str())
            .and_then(Self::of_extension)
            .ok_or_else(|| InputError::UnknownFormat {
                given: path.display().to_string(),
            })
    }

    fn of_extension(extension: &str) -> Option<Self> {
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

impl FromStr for Format {
    type Err = InputError;

    /// Takes the name of a format or any of its extensions, without the dot.
    fn from_str(text: &str) -> Result<Self, InputError> {
        Self::of_extension(text).ok_or_else(|| InputError::UnknownFormat {
            given: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_extension_in_any_case() {
        for (path, format) in [
            ("a/b.parquet", Format::Parquet),
            ("b.PQ", Format::Parquet),
            ("b.csv", Format::Csv),
            ("b.tsv", Format::Csv),
            ("b.x.jsonl", Format::JsonLines),
            ("b.ndjson", Format::JsonLines),
            ("b.json", Format::JsonLines),
            ("b.arrow", Format::ArrowIpc),
            ("b.ipc", Format::ArrowIpc),
            ("b.Feather", Format::ArrowIpc),
        ] {
            assert_eq!(Format::of_path(Path::new(path)).unwrap(), format, "{path}");
        }
    }

    #[test]
    fn an_unknown_extension_is_an_error_that_names_the_known_ones() {
        for path in ["b.xlsx", "b", ".parquet", "b.csv.gz"] {
            let error = Format::of_path(Path::new(path)).unwrap_err().to_string();
            for word in [
                path, "parquet", ".pq", "csv", "jsonl", ".ndjson", "arrow", ".feather",
            ] {
                assert!(error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn a_format_is_read_back_from_what_it_displays() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        assert!("avro".parse::<Format>().is_err());
    }
}
