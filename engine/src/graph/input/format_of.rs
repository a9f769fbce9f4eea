//! Which format a path or a name stands for.

use std::{path::Path, str::FromStr};

use super::{Format, InputError};

impl Format {
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
