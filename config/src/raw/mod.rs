//! The settings as they are written: every key optional, every value checked by itself.
//!
//! These types are the only list of the keys there is. A new policy is a new section: a struct in a file of its own
//! here, a field in [`RawPolicies`], [`RawTarget`] and [`RawTable`], and in `keys.rs` a constant that `POLICIES` and
//! the list of `target` name.
//!
//! | file | what is in it |
//! |---|---|
//! | `file` | the file, the targets, the rules for single tables |
//! | [`daemon`], [`tls`] | `[daemon]` |
//! | `policies` | `[defaults]` |
//! | [`compaction`], [`index`], [`cleanup`] | the policies of the three duties |
//! | [`pace`], [`windows`] | how much at once, and when |
//! | `bounds`, `shared` | units of bounds, and keys that several sections have |

mod bounds;
pub(crate) mod cleanup;
pub(crate) mod compaction;
pub(crate) mod daemon;
mod file;
pub(crate) mod index;
pub(crate) mod pace;
mod policies;
mod shared;
pub(crate) mod tls;
pub(crate) mod windows;

pub(crate) use file::{File, RawTable, RawTarget};
pub(crate) use policies::RawPolicies;
