//! Readers whose batches fit a table.

use std::path::{Path, PathBuf};

use arrow::{
    array::RecordBatch, datatypes::SchemaRef, error::ArrowError, record_batch::RecordBatchReader,
};

use super::{
    DEFAULT_BATCH_ROWS, InputError, Place,
    conform::{check, fit_batch},
    lines::{Layout, line_of_row},
};

/// How an input's values are to be understood, and its rows to be named.
pub(super) enum Reading {
    /// Values have types of their own. Rows are counted.
    Typed,
    /// Values are written as text. Rows are found by their lines.
    Text {
        /// The file.
        path: PathBuf,
        /// How rows stand in it.
        layout: Layout,
    },
}

impl Reading {
    pub(super) fn text(path: &Path, layout: Layout) -> Self {
        Self::Text {
            path: path.to_owned(),
            layout,
        }
    }

    /// Gives the line instead of the row where there are lines. If the file cannot be read again, the row
    /// has to do.
    fn locate(&self, mut error: InputError) -> InputError {
        if let (Self::Text { path, layout }, Some(place)) = (self, error.place_mut())
            && let Place::Row(row) = *place
            && let Ok(Some(line)) = line_of_row(path, *layout, row)
        {
            *place = Place::Line(line);
        }
        error
    }
}

/// Conforms the batches of any reader to a table, see [`super::conform`], and cuts them to a size.
///
/// Errors are [`InputError`]s wrapped as [`ArrowError::ExternalError`], see [`InputError::from_arrow`].
/// The first error is also the last item.
pub struct ConformReader<R> {
    inner: R,
    target: SchemaRef,
    origin: String,
    reading: Reading,
    batch_rows: usize,
    /// What is left of the last batch of `inner`.
    rest: Option<RecordBatch>,
    rows: u64,
    done: bool,
}

impl<R: RecordBatchReader> ConformReader<R> {
    /// Wraps `inner` and checks its columns against `target`. `origin` names it in errors.
    ///
    /// # Errors
    /// As [`super::conform`] has for columns.
    pub fn try_new(
        inner: R,
        target: &SchemaRef,
        origin: impl Into<String>,
    ) -> Result<Self, InputError> {
        Self::with_reading(inner, target, origin.into(), Reading::Typed)
    }

    pub(super) fn with_reading(
        inner: R,
        target: &SchemaRef,
        origin: String,
        reading: Reading,
    ) -> Result<Self, InputError> {
        check(
            &inner.schema(),
            target,
            &origin,
            matches!(reading, Reading::Text { .. }),
        )?;
        Ok(Self {
            inner,
            target: SchemaRef::clone(target),
            origin,
            reading,
            batch_rows: DEFAULT_BATCH_ROWS,
            rest: None,
            rows: 0,
            done: false,
        })
    }

    /// Sets the most rows of a batch; 0 counts as 1.
    #[must_use]
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// How many rows have been yielded.
    pub fn rows_read(&self) -> u64 {
        self.rows
    }

    /// The next batch, or `None` at the end or after an error.
    ///
    /// # Errors
    /// [`InputError::BadValue`], [`InputError::MissingValue`], [`InputError::UnknownColumn`] (in JSON),
    /// [`InputError::Unreadable`], [`InputError::Arrow`].
    pub fn next_batch(&mut self) -> Option<Result<RecordBatch, InputError>> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, InputError> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self
                .inner
                .find(|next| !matches!(next, Ok(batch) if batch.num_rows() == 0))
            {
                Some(next) => next.map_err(|error| self.source_error(error))?,
                None => return Ok(None),
            },
        };
        let rows = batch.num_rows().min(self.batch_rows);
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let fitted = fit_batch(&batch.slice(0, rows), &self.target, &self.origin, self.rows)
            .map_err(|error| self.reading.locate(error))?;
        self.rows += rows as u64;
        Ok(Some(fitted))
    }

    /// An error of the reader underneath. What it says of its place is known only to itself.
    fn source_error(&self, error: ArrowError) -> InputError {
        match InputError::from_arrow(error) {
            InputError::Arrow { source, .. } => InputError::Unreadable {
                origin: self.origin.clone(),
                place: None,
                detail: format!("it cannot be read past row {}: {source}", self.rows),
            },
            own => own,
        }
    }
}

impl<R: RecordBatchReader> Iterator for ConformReader<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().map(|next| next.map_err(ArrowError::from))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for ConformReader<R> {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.target)
    }
}

/// The batches of an [`super::Input`], conformed to a table and read as they are asked for.
///
/// As an iterator it wraps its errors, see [`InputError::from_arrow`]; [`Batches::next_batch`] does not.
pub struct Batches(ConformReader<Box<dyn RecordBatchReader + Send>>);

impl Batches {
    pub(super) fn new(reader: ConformReader<Box<dyn RecordBatchReader + Send>>) -> Self {
        Self(reader)
    }

    /// How many rows have been yielded.
    pub fn rows_read(&self) -> u64 {
        self.0.rows_read()
    }

    /// The next batch, or `None` at the end or after an error.
    ///
    /// # Errors
    /// As [`ConformReader::next_batch`].
    pub fn next_batch(&mut self) -> Option<Result<RecordBatch, InputError>> {
        self.0.next_batch()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}
