//! `SchemaApply`: the structure changes, in all tables at once.
//!
//! Types are added, renamed and dropped in the manifest; an added one gets an empty table. The columns of a table
//! change by one Lance transaction, see `evolve`.

mod apply;
pub(super) mod columns;
mod evolve;
mod rows;

pub use apply::SchemaRequest;
pub(crate) use apply::{apply, create};
