//! Which fragments to rewrite together, by bytes.
//!
//! A fragment is **small** below a number of bytes, and **delete-heavy** when too many of its rows are deleted. Small
//! fragments fall into **tiers** by their size. When there are enough in one tier they become one fragment, which
//! belongs to a higher tier: so a row is rewritten about once for each tier, however long the table grows, and a large
//! fragment is not rewritten for the sake of a few tiny ones. A delete-heavy fragment is rewritten at once, alone or with
//! others. The plan is a fixed point: what was just compacted is no candidate, whatever the width of its rows.
//!
//! Where a table's rows lie does not matter much to Lance. What indexes cover does: fragments that are covered
//! differently never become one. And where an index holds addresses of rows, a rewrite writes the index anew as well:
//! what no index covers is merged first, and the rest when there is enough of it to pay for that, see `remaps.rs`.
//!
//! | file | what is in it |
//! |---|---|
//! | `policy` | thresholds and sizes, and what they say of one fragment |
//! | `plan` | the plan of one table |
//! | `tiers` | groups of fragments of like size |
//! | `remaps` | indexes over those, that are written anew with them |
//! | `group`, `decision` | what a plan says |

mod decision;
mod group;
mod plan;
mod policy;
mod remaps;
mod tiers;

pub use decision::{Decision, Reason, Skip};
pub use group::{FILE_BYTES, Group};
pub(crate) use plan::leaves_more;
pub use plan::{CONTENDED_DELETED_FRACTION, plan};
pub(super) use plan::{cost, fitting_or_first};
pub use policy::{CompactionPolicy, Verify};
#[cfg(test)]
pub(super) use tiers::as_few_as_possible;
