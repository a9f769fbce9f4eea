//! An order-independent fingerprint of rows, over all columns: two tables have it in common when they hold the same
//! rows, each as often, in whatever order and layout.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    row::{RowConverter, SortField},
};
use futures::TryStreamExt;
use lance::Dataset;

/// How many rows, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows.
    pub rows: u64,
    /// The sum, modulo 2^128, of a hash of each row.
    pub sum: u128,
}

impl Fingerprint {
    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// When a column's type cannot be turned into row format.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let fields = batch.schema();
        let fields = fields
            .fields()
            .iter()
            .map(|f| SortField::new(f.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(batch.columns())?;
        for row in &rows {
            // Two independent 64-bit hashes make one of 128.
            let half = |salt: u8| {
                let mut hasher = DefaultHasher::new();
                salt.hash(&mut hasher);
                row.as_ref().hash(&mut hasher);
                u128::from(hasher.finish())
            };
            self.sum = self.sum.wrapping_add(half(0) << 64 | half(1));
            self.rows += 1;
        }
        Ok(())
    }

    /// The fingerprint of a table.
    ///
    /// # Errors
    /// Lance's, when the table cannot be read.
    pub async fn of(dataset: &Dataset) -> lance::Result<Self> {
        let mut fingerprint = Self::default();
        let mut batches = dataset.scan().try_into_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            fingerprint.add(&batch)?;
        }
        Ok(fingerprint)
    }
}
