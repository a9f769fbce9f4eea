//! A check of values that only the program can make.

use crate::error::Refusal;

/// Checks a value that is a text, beyond what its type can tell: given its key, without the numbers of lists
/// (`target.table.compaction.cron`), and the text. `None` when nothing is wrong with it.
pub type ValueCheck = fn(key: &str, text: &str) -> Option<Refusal>;
