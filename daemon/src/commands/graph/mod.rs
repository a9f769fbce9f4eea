//! Commands that make, change, load and repair a graph.

pub(super) mod delete;
pub(super) mod heal;
pub(super) mod init;
pub(super) mod load;
pub(super) mod log;
pub(super) mod repair;
pub(super) mod schema;
