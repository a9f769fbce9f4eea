//! The engine, through its public face: what a graph promises, on memory and on local disk.
#![allow(missing_docs)]

mod bad_input;
mod blocked;
mod cleanup;
mod concurrency;
mod drift;
mod earlier_build;
mod gates;
mod healing;
mod indexes;
mod lifecycle;
mod repair;
mod requests;
mod restage;
mod schema;
mod sidecars;
mod unwritable;
mod waiting;
