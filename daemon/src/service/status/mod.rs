//! The status store: what the keepers know and do, and whether other daemons keep the same targets. Keepers and the
//! presence monitor (`presence.rs`) write, the API reads.
//!
//! | file | what is in it |
//! |---|---|
//! | [`store`] | the store, and how keepers write to it |
//! | [`read`] | how the API reads it |
//! | [`target`], [`table`] | the state of each |
//! | [`jobs`] | jobs that run, and those that have ended |
//! | [`queue`] | the queue of a graph |
//! | [`health`] | the health of a table: pure |
//!
//! Every change has a number, the revision. A client that has read up to one asks for later changes.

mod health;
mod jobs;
mod queue;
mod read;
mod store;
mod table;
mod target;

pub(super) use self::{
    jobs::Begun,
    read::Load,
    store::{Decided, StatusStore},
    target::UnwellTable,
};
