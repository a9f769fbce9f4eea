//! `squire-fuzz`: hands Squire spoilt inputs without end, and looks whether what it promises of them still holds.
//!
//! ```text
//! squire-fuzz [TARGET] [--minutes N | --cases N] [--seed N]
//! squire-fuzz TARGET --replay FILE
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | [`order`] | the command line |
//! | [`targets`] | what is fuzzed, and what must hold of it |
//! | [`mutate`], [`protobuf`], [`json`] | how inputs are spoilt: as bytes and text, and by their structure |
//! | [`corpus`] | inputs that are kept: real ones, and those that found a fault |
//! | [`worker`] | tries inputs in a process of its own, so that an abort is a fault like others |
//! | [`watch`] | what a case is doing, how long and with how much memory |
//! | [`faults`] | faults: told apart, made small, written down |
//! | [`foreman`] | starts workers, and tells what they found |
#![allow(missing_docs)]

mod corpus;
mod faults;
mod foreman;
mod json;
mod mutate;
mod order;
mod protobuf;
mod targets;
mod watch;
mod worker;

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use squire_tests::show::say;

use order::{Order, Work};

/// Counts what a case takes.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let done = Order::parse(std::env::args().skip(1)).and_then(|order| match &order.work {
        Work::Worker { .. } => worker::work(&order),
        Work::Replay(file) => worker::replay(&order, file),
        Work::Tell => foreman::run(&order),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say(format!("squire-fuzz: {e}"));
            ExitCode::from(2)
        }
    }
}
