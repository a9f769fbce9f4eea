//! Pauses at run time: set and ended over HTTP, ended by their own time, kept over a restart where there is a folder for it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`book`] | the book of all pauses |
//! | [`file`] | the file on the disk |

mod book;
pub(crate) mod file;

pub(super) use self::book::{LONGEST, PauseBook};
