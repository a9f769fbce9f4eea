//! The kill soak in a size for every day, and the test of its test: ledgers and snapshots that do not agree are found.
#![allow(missing_docs)]

mod doctored;
mod seeds;
mod storm;
