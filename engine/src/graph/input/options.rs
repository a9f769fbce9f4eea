//! Which file to load, and how to read it.

use std::path::PathBuf;

use super::{Format, InputError};

/// How many rows a batch holds unless [`Input::batch_rows`] says otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

/// A local file to load, and how to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// Its format; `None` goes by the extension, see [`Format::of_path`].
    pub format: Option<Format>,
    /// What CSV files look like; other formats ignore it.
    pub csv: CsvOptions,
    /// The most rows of a batch; 0 counts as 1. Rows that carry long vectors or documents want
    /// fewer than [`DEFAULT_BATCH_ROWS`], since a batch is held in memory as a whole.
    pub batch_rows: usize,
}

/// What a CSV file looks like. It always has a header, and is quoted with `"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// The byte between fields; `None` is a tab for `.tsv` and a comma for everything else.
    pub delimiter: Option<u8>,
    /// The texts that stand for null, in any column and whether quoted or not. The default is the
    /// empty text alone; a list given here replaces it, so `["", "NA"]` reads both as null.
    pub null_markers: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            null_markers: vec![String::new()],
        }
    }
}

/// What is known of an input before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeHint {
    /// Bytes on disk.
    pub bytes: u64,
    /// Rows, where the format declares their number: Parquet.
    pub rows: Option<u64>,
}

impl Input {
    /// The file at `path`, with everything else by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            csv: CsvOptions::default(),
            batch_rows: DEFAULT_BATCH_ROWS,
        }
    }

    /// The format the file is read in.
    ///
    /// # Errors
    /// [`InputError::UnknownFormat`] when none was given and the extension is no known one.
    pub fn format(&self) -> Result<Format, InputError> {
        self.format.map_or_else(|| Format::of_path(&self.path), Ok)
    }

    /// The byte between the fields of a CSV file.
    pub(super) fn delimiter(&self) -> u8 {
        let tabs = self
            .path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        self.csv
            .delimiter
            .unwrap_or(if tabs { b'\t' } else { b',' })
    }
}
