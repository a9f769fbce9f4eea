//! Opening an input file, by its format.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use arrow::{
    datatypes::SchemaRef,
    ipc::reader::{FileReader, StreamReader},
    record_batch::RecordBatchReader,
};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::{
    Format, Input, InputError, SizeHint,
    csv::CsvReader,
    json::JsonReader,
    lines::Layout,
    reader::{Batches, ConformReader, Reading},
    wary::{self, Wary, has_room_as_file, has_room_as_stream},
};

/// The first bytes of an Arrow IPC *file*; a stream has no such mark.
const IPC_FILE_MAGIC: &[u8] = b"ARROW1";

impl Input {
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

    /// The size of the file, as far as it is known without reading it: for progress, and for the choice of how an
    /// operation enters the queue. `None` when there is no such file or it cannot be opened; only
    /// [`Input::open`] says why.
    pub fn size_hint(&self) -> Option<SizeHint> {
        let file = open_file(&self.path).ok()?;
        let bytes = file.metadata().ok()?.len();
        let rows = match self.format() {
            Ok(Format::Parquet) => self.declared_rows(&file),
            _ => None,
        };
        Some(SizeHint { bytes, rows })
    }

    /// The number of rows in the footer of a Parquet file.
    fn declared_rows(&self, file: &File) -> Option<u64> {
        let origin = self.path.display().to_string();
        let opened = wary::opened(&origin, Format::Parquet, || {
            ArrowReaderMetadata::load(file, Default::default())
                .map_err(|e| self.unreadable(Format::Parquet, &e))
        });
        let opened = opened.ok()?.metadata().file_metadata().num_rows();
        u64::try_from(opened).ok()
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
