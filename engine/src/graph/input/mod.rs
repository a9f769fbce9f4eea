//! Load input: local files, read as Arrow record batches that fit a table.
//!
//! An [`Input`] names a file; [`Input::open`] reads it lazily, batch by batch, and every batch it yields
//! has exactly the schema of the table. Columns are matched by name. A value is converted only where its
//! meaning survives; whatever does not fit is an [`InputError`] that says where it stands and what to do.
//!
//! | file | what is in it |
//! |---|---|
//! | `options` | which file to load, and how to read it |
//! | `open` | opens an input file, by its format |
//! | `format` | the formats of input files |
//! | `format_of` | which format a path or a name stands for |
//! | `csv` | delimited text |
//! | `json` | JSON Lines: one object per line |
//! | `lines` | which line of a text file a row is on |
//! | `wary` | readers that bound the lengths that a damaged file gives |
//! | `reader` | readers whose batches fit a table |
//! | `conform` | fits batches to the schema of a table |
//! | `cast` | conversion of values |
//! | `error` | what can be wrong with an input |

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
