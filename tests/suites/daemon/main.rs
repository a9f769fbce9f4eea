//! The `squire` binary and its daemon, from outside: exit codes, what is printed, what stands on disk, what the
//! daemon's log and endpoints say.
#![allow(missing_docs)]

mod commands;
mod config;
mod crash;
mod dead_writer;
mod endpoints;
mod refusals;
mod repair;
mod schema;
mod service;
mod site;
mod stopping;
