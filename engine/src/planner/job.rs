//! One run of a duty.

use super::{decision::Reason, duty::Duty, options::Ask};
use crate::ids::TableKey;

/// One run of a duty on a table. The executor plans again on fresh statistics, with the same functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The table.
    pub table: TableKey,
    /// The duty.
    pub duty: Duty,
    /// Why it is due.
    pub reason: Reason,
    /// Bytes that it is expected to rewrite.
    pub bytes: u64,
    /// What the executor is asked, besides the policy.
    pub ask: Ask,
    /// Other duties of the table that are due, and wait for this job.
    pub ahead_of: Vec<Duty>,
}
