//! Whatever goes wrong with a process or its store, at any write: what a graph promises all the same.
#![allow(missing_docs)]

mod cleanups;
mod directories;
mod kinds;
mod matrix;
mod repairs;
mod schemas;
mod state;
