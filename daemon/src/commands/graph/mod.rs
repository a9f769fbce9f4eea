//! Commands that make, change, load and repair a graph.
//!
//! | file | what is in it |
//! |---|---|
//! | [`init`] | `squire init` |
//! | [`load`] | `squire load` |
//! | [`delete`] | `squire delete` |
//! | [`schema`] | `squire schema` |
//! | [`log`] | `squire log` |
//! | [`heal`] | `squire heal` |
//! | [`repair`] | `squire repair` |

pub(super) mod delete;
pub(super) mod heal;
pub(super) mod init;
pub(super) mod load;
pub(super) mod log;
pub(super) mod repair;
pub(super) mod schema;
