//! The `squire` binary and its daemon, from outside: exit codes, what is printed, what stands on disk, what the
//! daemon's log and endpoints say.
#![allow(missing_docs)]

mod anchors;
mod beside;
mod by_hand;
mod check;
mod clock;
mod commands;
mod config;
mod crash;
mod credentials;
mod dead_writer;
mod directory;
mod door;
mod endpoints;
mod full_disk;
mod hostile;
mod install;
mod pauses;
mod quiet;
mod refusals;
mod remembered;
mod repair;
mod residents;
mod schema;
mod secrets;
mod service;
mod site;
mod stalls;
mod stopping;
mod tls;
mod top;
mod walls;
