//! Reloads: another configuration is applied while the daemon runs, or rejected as a whole.
//!
//! | file | what is in it |
//! |---|---|
//! | [`apply`] | reads, applies, and logs |
//! | [`plan`] | what is to be done: pure |
//! | [`record`] | how the last attempt ended |
//! | [`socket`] | where `squire reload` asks and is answered |

mod apply;
mod plan;
#[cfg(test)]
mod plan_tests;
mod record;
pub(crate) mod socket;

pub(super) use self::{apply::Running, record::Record};
