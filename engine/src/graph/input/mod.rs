//! Load input: local files, read as Arrow record batches that fit a table.
//!
//! An [`Input`] names a file; [`Input::open`] reads it lazily, batch by batch, and every batch it yields
//! has exactly the schema of the table. Columns are matched by name. A value is converted only where its
//! meaning survives; whatever does not fit is an [`InputError`] that says where it stands and what to do.

mod cast;
mod conform;
mod csv;
mod error;
mod format;
mod json;
mod lines;
mod reader;
mod wary;

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use arrow::{
    datatypes::SchemaRef,
    ipc::reader::{FileReader, StreamReader},
    record_batch::RecordBatchReader,
};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

pub use self::{
    conform::conform,
    error::{InputError, Place},
    format::Format,
    reader::{Batches, ConformReader},
};
use self::{
    csv::CsvReader,
    json::JsonReader,
    lines::Layout,
    reader::Reading,
    wary::{Wary, has_room_as_file, has_room_as_stream},
};

/// How many rows a batch holds unless [`Input::batch_rows`] says otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

/// The first bytes of an Arrow IPC *file*; a stream has no such mark.
const IPC_FILE_MAGIC: &[u8] = b"ARROW1";

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
    /// Rows, where the format tells without reading them: Parquet.
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
    /// [`InputError::UnknownFormat`] when none was given and the extension tells nothing.
    pub fn format(&self) -> Result<Format, InputError> {
        self.format.map_or_else(|| Format::of_path(&self.path), Ok)
    }

    /// Opens the file and checks its columns, as far as its format declares them, against `target`.
    /// The batches are read as they are asked for.
    ///
    /// # Errors
    /// Every [`InputError`]: the file cannot be read, or its columns do not fit `target`.
    pub fn open(&self, target: &SchemaRef) -> Result<Batches, InputError> {
        let format = self.format()?;
        let file = open_file(&self.path)?;
        let rows = self.batch_rows.max(1);
        let origin = self.path.display().to_string();
        let (inner, reading): (Box<dyn RecordBatchReader + Send>, _) = match format {
            Format::Parquet | Format::ArrowIpc => {
                let inner = wary::opened(&origin, format, || match format {
                    Format::Parquet => self.parquet(file, rows),
                    _ => self.ipc(file),
                })?;
                let inner = Wary::new(inner, origin.clone(), format);
                (Box::new(inner), Reading::Typed)
            }
            Format::Csv => {
                let reader = CsvReader::open(self, file, target)?;
                (
                    Box::new(reader),
                    Reading::text(
                        &self.path,
                        Layout::Csv {
                            delimiter: self.delimiter(),
                        },
                    ),
                )
            }
            Format::JsonLines => {
                let reader = JsonReader::open(&self.path, file, target, rows)?;
                (
                    Box::new(reader),
                    Reading::text(&self.path, Layout::JsonLines),
                )
            }
        };
        ConformReader::with_reading(inner, target, origin, reading)
            .map(|reader| Batches::new(reader.with_batch_rows(rows)))
    }

    /// What the file tells of its size without being read: for progress, and for the choice of how an
    /// operation enters the queue. `None` when there is no such file or it cannot be opened; only
    /// [`Input::open`] says why.
    pub fn size_hint(&self) -> Option<SizeHint> {
        let file = open_file(&self.path).ok()?;
        let bytes = file.metadata().ok()?.len();
        let rows = match self.format() {
            Ok(Format::Parquet) => self.rows_told(&file),
            _ => None,
        };
        Some(SizeHint { bytes, rows })
    }

    /// What the foot of a Parquet file says.
    fn rows_told(&self, file: &File) -> Option<u64> {
        let origin = self.path.display().to_string();
        let told = wary::opened(&origin, Format::Parquet, || {
            ArrowReaderMetadata::load(file, Default::default())
                .map_err(|e| self.unreadable(Format::Parquet, &e))
        });
        let told = told.ok()?.metadata().file_metadata().num_rows();
        u64::try_from(told).ok()
    }

    fn delimiter(&self) -> u8 {
        let tabs = self
            .path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        self.csv
            .delimiter
            .unwrap_or(if tabs { b'\t' } else { b',' })
    }

    fn parquet(
        &self,
        file: File,
        rows: usize,
    ) -> Result<Box<dyn RecordBatchReader + Send>, InputError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|builder| builder.with_batch_size(rows).build())
            .map_err(|e| self.unreadable(Format::Parquet, &e))?;
        Ok(Box::new(reader))
    }

    fn ipc(&self, file: File) -> Result<Box<dyn RecordBatchReader + Send>, InputError> {
        let mut file = BufReader::new(file);
        let mut magic = Vec::new();
        (&mut file)
            .take(IPC_FILE_MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .and_then(|_| file.rewind())
            .map_err(|source| InputError::Io {
                path: self.path.clone(),
                source,
            })?;
        let is_file = magic == IPC_FILE_MAGIC;
        let has_room = if is_file {
            has_room_as_file(&mut file)
        } else {
            has_room_as_stream(&mut file)
        };
        has_room.map_err(|e| self.unreadable(Format::ArrowIpc, &e))?;
        let reader: Result<Box<dyn RecordBatchReader + Send>, _> = if is_file {
            FileReader::try_new(file, None).map(|r| Box::new(r) as _)
        } else {
            StreamReader::try_new(file, None).map(|r| Box::new(r) as _)
        };
        reader.map_err(|e| self.unreadable(Format::ArrowIpc, &e))
    }

    fn unreadable(&self, format: Format, why: &dyn std::error::Error) -> InputError {
        InputError::Unreadable {
            origin: self.path.display().to_string(),
            place: None,
            detail: format!("it is no readable {format} file: {why}"),
        }
    }
}

/// Opens a file that holds at least one byte.
fn open_file(path: &Path) -> Result<File, InputError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => InputError::NotFound {
            path: path.to_owned(),
        },
        _ => InputError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let about = std::fs::metadata(path).map_err(io)?;
    // A pipe could be read once, but errors are located by reading again.
    if !about.is_file() {
        return Err(InputError::NotAFile {
            path: path.to_owned(),
        });
    }
    if about.len() == 0 {
        return Err(InputError::Empty {
            path: path.to_owned(),
        });
    }
    File::open(path).map_err(io)
}

#[cfg(test)]
mod tests;
