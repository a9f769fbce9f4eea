//! A directory: plain Lance tables under one root, whose writers know nothing of Squire.
//!
//! There is no manifest and no queue here. Safety comes from Lance's own conflict rules, and from four rules of Squire:
//!
//! 1. Fragments that writers are changing are left alone.
//! 2. Rewrites are small, and committed at once.
//! 3. Rows that writers delete during a rewrite stay deleted.
//! 4. The process that wrote the files of a rewrite deletes them once it is certain that they are not committed.
//!
//! | file | what is in it |
//! |---|---|
//! | `handle` | what programs use |
//! | [`discovery`] | what kind of target a URI is, which tables a directory has |
//! | [`omnigraph`] | recognises the roots of OmniGraph, which are refused |
//! | [`inspect`] | what a table is like: its newest version, its statistics |
//! | [`compact`] | rewriting, group by group |
//! | [`index`] | bringing indexes up to date |
//! | [`commit`] | the commit of one rewritten group |
//! | [`commit_attempt`] | one attempt to commit, at exactly one version |
//! | [`commit_identity`] | the files that a commit adds to its table: they show its outcome |
//! | [`cleanup`] | the removal of old versions |

mod cleanup;
mod commit;
mod commit_attempt;
mod commit_identity;
mod compact;
mod discovery;
mod handle;
mod index;
mod inspect;
mod omnigraph;

pub use discovery::{Kind, detect};
pub use handle::{Directory, DirectoryOptions};
