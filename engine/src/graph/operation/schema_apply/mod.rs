//! `SchemaApply`: the structure changes, in all tables at once.
//!
//! Types are added, renamed and dropped in the manifest; an added one gets an empty table. The columns of a table
//! change by one Lance transaction, see `evolve`.
//!
//! | file | what is in it |
//! |---|---|
//! | `apply` | the request, and what a schema apply stages |
//! | `columns` | what the steps change in the columns of one table |
//! | `evolve` | a table's new columns, staged as one Lance transaction |
//! | `rows` | what the rows of a table allow |

mod apply;
pub(super) mod columns;
mod evolve;
mod rows;

pub use apply::SchemaRequest;
pub(crate) use apply::{apply, create};
