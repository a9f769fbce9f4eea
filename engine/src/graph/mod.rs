//! A graph: many tables that change together under one manifest.
//!
//! | file | what is in it |
//! |---|---|
//! | `handle`, `options`, `snapshot` | what programs use |
//! | `context` | what all calls on one open graph share |
//! | [`manifest`] | the state of a graph, and how it changes |
//! | `operation` | what changes a graph, and its lifecycle |
//! | `sidecar` | the redo log of one operation |
//! | `liveness` | whether the holders of tickets are alive |
//! | `healing` | what dead or stalled writers left behind is carried to its end |
//! | `repair` | what waits for an operator |
//! | `fence` | a table is moved on, so that no late commit takes a version |
//! | `lineage` | what the manifests say about the past of an operation or a table |
//! | `manifest_cleanup` | the removal of old manifests |
//! | `manifest_retention` | how long they are kept |
//! | `purge` | what a hard drop took away is made unreachable |
//! | [`input`] | files to load |
//! | `nearest` | suggests a table for a name that no table has |

pub(crate) mod context;
mod fence;
mod handle;
pub(crate) mod healing;
pub mod input;
mod lineage;
mod liveness;
pub mod manifest;
pub(crate) mod manifest_cleanup;
pub(crate) mod manifest_retention;
mod nearest;
pub(crate) mod operation;
mod options;
mod purge;
pub(crate) mod repair;
pub(crate) mod sidecar;
mod snapshot;

pub use handle::{Graph, LogEntry};
pub use options::Options;
pub use snapshot::Snapshot;
