//! What is wrong with what a rewrite wrote.

/// What stands for a column when no single one is to blame.
pub(super) const EVERY_COLUMN: &str = "*";

/// What is wrong with a file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The full path of the column, or `*`.
    pub(crate) column: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Fault {
    pub(super) fn of(column: &str, reason: impl Into<String>) -> Self {
        Self {
            column: column.to_owned(),
            reason: reason.into(),
        }
    }
}
