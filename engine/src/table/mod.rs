//! One Lance table, for graphs and directories alike: opened at a version, committed at exactly one version, and described by
//! its manifests alone.
//!
//! | what for | files |
//! |---|---|
//! | open and list | `handle`, `guard`, `listing`, `versions`, `sound`, `bases` |
//! | describe it for the planner | `stats`, `fragments`, `coverage`, `file_sizes`, `row_sizes`, `writers`, `unwritable` |
//! | rewrite fragments | `rewrite`, `pieces`, `batches`, `verify`, `remap`, `rebase` (late deletes), `discard`, `refusal` |
//! | index work | `indexing` |
//! | commit | `staged`, `expiry`, `effect`, `commit`, `drift`, `drift_policy`, `queues` (one process) |
//! | remove versions and files | `removal`, `retention`, `protection`, `references`, `readers`, `untracked`, `files` |

pub(crate) mod bases;
pub(crate) mod batches;
pub(crate) mod commit;
pub(crate) mod coverage;
pub(crate) mod discard;
pub(crate) mod drift;
pub(crate) mod drift_policy;
pub(crate) mod effect;
pub(crate) mod expiry;
pub(crate) mod file_sizes;
pub(crate) mod files;
pub(crate) mod fragments;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod indexing;
pub(crate) mod listing;
mod pieces;
pub(crate) mod protection;
pub(crate) mod queues;
pub(crate) mod readers;
pub(crate) mod rebase;
pub(crate) mod references;
pub(crate) mod refusal;
pub(crate) mod remap;
pub(crate) mod removal;
pub(crate) mod retention;
pub(crate) mod rewrite;
pub(crate) mod row_sizes;
mod sound;
pub(crate) mod staged;
pub(crate) mod stats;
pub(crate) mod untracked;
pub(crate) mod unwritable;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod writers;

pub(crate) use handle::Table;
