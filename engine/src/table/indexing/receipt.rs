//! What work on indexes came to, for graphs and directories alike.

use std::time::Duration;

use super::LeftBehind;
use crate::{
    ids::OperationId,
    planner::indexing::{Reason, Skip, Task},
    table::discard::Loss,
};

/// What keeping up a table's indexes came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Indexed {
    /// They were left alone, because of this.
    Skipped(Skip),
    /// They were brought up to date.
    Done(IndexReceipt),
    /// They were worked on for nothing, because of this; it is planned anew.
    Lost(Loss),
}

/// What acknowledged work on indexes did.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReceipt {
    /// The operation's id.
    pub operation: OperationId,
    /// Why the indexes were due.
    pub reason: Reason,
    /// What was done. An append that would have given wrong answers was done as a merge.
    pub tasks: Vec<Task>,
    /// Live rows that came under an index, over all of these indexes.
    pub rows: u64,
    /// Indexes that could not be brought up to date, and why.
    pub left: Vec<LeftBehind>,
    /// How long the work took, with nothing held.
    pub work: Duration,
    /// How long the table was held for the commit.
    pub hold: Duration,
}
