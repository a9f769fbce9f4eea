//! Directories: plain Lance tables, their writers, and what Squire does beside them. The writers here are Lance's own
//! calls; `tests/suites/lancedb/` has the real client.
#![allow(missing_docs)]

mod blobs;
mod carrying;
mod compaction;
mod discovery;
mod indexes;
mod kinds;
mod omnigraph;
mod races;
mod refused;
mod remaps;
mod searches;
mod settling;
mod site;
mod sizes;
mod verified;
