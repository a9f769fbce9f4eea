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
mod format_of;
mod json;
mod lines;
mod open;
mod options;
mod reader;
mod wary;

pub use self::{
    conform::conform,
    error::{InputError, Place},
    format::Format,
    options::{CsvOptions, DEFAULT_BATCH_ROWS, Input, SizeHint},
    reader::{Batches, ConformReader},
};

#[cfg(test)]
mod tests;
