//! Whatever goes wrong with a process or its store, at any write: what a graph promises all the same.
//!
//! | file | what is in it |
//! |---|---|
//! | [`matrix`] | every write of every kind of operation, and everything that can go wrong at it |
//! | [`kinds`] | the kinds of operations: a new one goes into `all` |
//! | [`schemas`], [`repairs`], [`cleanups`] | kinds of schema applies, of repairs, and cleanup |
//! | [`state`] | what readers of a graph see, manifest by manifest |
//! | [`directories`] | the same for cleanup in a directory |
#![allow(missing_docs)]

mod cleanups;
mod directories;
mod kinds;
mod matrix;
mod repairs;
mod schemas;
mod state;
