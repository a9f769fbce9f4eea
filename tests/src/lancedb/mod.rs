//! Programs that use the real `lancedb` package, and what must be in their tables afterwards.
//!
//! | file | what is in it |
//! |---|---|
//! | [`python`] | the interpreter with the package, and its programs as child processes |
//! | [`ledger`] | what the programs did, and which rows must be there because of it |
//! | [`kept`] | what daemons did for the tables meanwhile |
//! | [`look`] | a plain Lance table from outside: fragments, rows, what indexes lack, bytes on disk |

pub mod kept;
pub mod ledger;
pub mod look;
pub mod python;
