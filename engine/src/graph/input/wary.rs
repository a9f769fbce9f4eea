//! Readers that take what they read for whole: a length in a damaged file makes them ask for memory that there is not, which
//! ends the process, or panic. So lengths are looked at first, and a panic is an error of the file.

use std::{
    any::Any,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{MessageHeader, root_as_footer, root_as_message},
    record_batch::{RecordBatch, RecordBatchReader},
};

use super::{Format, InputError};
use crate::table::guard;

/// In front of a message's length, since version 0.15 of the format.
const CONTINUES: [u8; 4] = [0xff; 4];
/// What ends an Arrow IPC file: the length of its foot, and the mark.
const END: u64 = 10;

/// Does what a format's reader does to open a file.
///
/// # Errors
/// Its own; [`InputError::Unreadable`] when it panics.
pub(super) fn opened<T>(
    origin: &str,
    format: Format,
    open: impl FnOnce() -> Result<T, InputError>,
) -> Result<T, InputError> {
    let opened = catch_unwind(AssertUnwindSafe(open));
    opened.unwrap_or_else(|panic| Err(panicked(origin, format, &*panic)))
}

fn panicked(origin: &str, format: Format, panic: &(dyn Any + Send)) -> InputError {
    InputError::Unreadable {
        origin: origin.to_owned(),
        place: None,
        detail: format!(
            "it is no readable {format} file: its reader panicked: {}",
            guard::message(panic)
        ),
    }
}

/// A reader whose panic is its last error.
pub(super) struct Wary {
    inner: Option<Box<dyn RecordBatchReader + Send>>,
    schema: SchemaRef,
    origin: String,
    format: Format,
}

impl Wary {
    pub(super) fn new(
        inner: Box<dyn RecordBatchReader + Send>,
        origin: String,
        format: Format,
    ) -> Self {
        Self {
            schema: inner.schema(),
            inner: Some(inner),
            origin,
            format,
        }
    }
}

impl Iterator for Wary {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut inner = self.inner.take()?;
        match catch_unwind(AssertUnwindSafe(|| (inner.next(), inner))) {
            Ok((next, inner)) => {
                self.inner = Some(inner);
                next
            }
            Err(panic) => {
                let error = panicked(&self.origin, self.format, &*panic);
                Some(Err(ArrowError::from(error)))
            }
        }
    }
}

impl RecordBatchReader for Wary {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

/// Looks whether the parts of an Arrow IPC file have room in it. The file is at its beginning then.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`], and what the file has.
pub(super) fn has_room_as_file(file: &mut BufReader<File>) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let foot = size.checked_sub(END).ok_or_else(|| none("its foot"))?;
    file.seek(SeekFrom::Start(foot))?;
    let length = u64::from(length(file)?);
    let begins = foot.checked_sub(length).ok_or_else(|| none("its foot"))?;
    file.seek(SeekFrom::Start(begins))?;
    let bytes = taken(file, length)?;
    let footer = root_as_footer(&bytes).map_err(unfit)?;
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    for block in blocks.into_iter().flatten().flatten() {
        let part = |length: i64| u64::try_from(length).ok();
        let end = part(block.offset())
            .zip(part(block.metaDataLength().into()))
            .and_then(|(offset, head)| offset.checked_add(head))
            .zip(part(block.bodyLength()))
            .and_then(|(offset, body)| offset.checked_add(body));
        if end.is_none_or(|end| end > size) {
            return Err(none("a batch"));
        }
        let offset = part(block.offset()).unwrap_or_default();
        file.seek(SeekFrom::Start(offset))?;
        let head = u64::try_from(block.metaDataLength()).unwrap_or_default();
        let bytes = taken(file, head)?;
        let bytes = bytes.strip_prefix(&CONTINUES).unwrap_or(&bytes);
        let body = u64::try_from(block.bodyLength()).unwrap_or_default();
        let place = offset + head;
        unpacks(file, bytes.get(4..).unwrap_or_default(), place, body)?;
    }
    file.rewind()
}

/// The same for a stream.
///
/// # Errors
/// As [`has_room_as_file`].
pub(super) fn has_room_as_stream(file: &mut BufReader<File>) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut at = 0;
    while at + 4 <= size {
        file.seek(SeekFrom::Start(at))?;
        let mut word = [0; 4];
        file.read_exact(&mut word)?;
        at += 4;
        if word == CONTINUES {
            if at + 4 > size {
                break;
            }
            file.read_exact(&mut word)?;
            at += 4;
        }
        let length = u64::from(u32::from_le_bytes(word));
        if length == 0 {
            break;
        }
        if at + length > size {
            return Err(none("the head of a message"));
        }
        let head = taken(file, length)?;
        at += length;
        let message = root_as_message(&head).map_err(unfit)?;
        let body = u64::try_from(message.bodyLength()).map_err(|_| none("a message"))?;
        let end = at.checked_add(body).filter(|end| *end <= size);
        let end = end.ok_or_else(|| none("a message"))?;
        unpacks(file, &head, at, body)?;
        at = end;
    }
    file.rewind()
}

/// Looks whether what is compressed in a message unpacks to a size that can be. Each part says its own in front.
fn unpacks(file: &mut BufReader<File>, head: &[u8], at: u64, body: u64) -> io::Result<()> {
    /// Maximum ratio of compression: neither lz4 nor zstd makes more of the same bytes than this; zstd has blocks of 128 KiB in 4 bytes.
    const LARGEST_RATIO: i64 = 40_000;
    let message = root_as_message(head).map_err(unfit)?;
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            let dictionary = message.header_as_dictionary_batch();
            dictionary.and_then(|dictionary| dictionary.data())
        }
        _ => None,
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else {
        return Ok(());
    };
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (buffer.offset(), buffer.length());
        if length < 8 {
            continue;
        }
        let offset = u64::try_from(offset).map_err(|_| none("a buffer"))?;
        if offset.saturating_add(length.unsigned_abs()) > body {
            return Err(none("a buffer"));
        }
        file.seek(SeekFrom::Start(at + offset))?;
        let mut says = [0; 8];
        file.read_exact(&mut says)?;
        if i64::from_le_bytes(says) / LARGEST_RATIO > length {
            return Err(none("what a buffer unpacks to"));
        }
    }
    Ok(())
}

fn length(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Reads this many bytes, which are known to be there.
fn taken(file: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unfit(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

fn none(what: &str) -> io::Error {
    let text = format!("{what} has no room in it: a length is wrong, or the file was cut off");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
