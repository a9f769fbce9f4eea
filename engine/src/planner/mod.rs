//! Decides what to do with a table's layout, and when. Pure functions over statistics, policy, history and clock;
//! nothing here asks a store, and nothing here imports code that does.
//!
//! | file | what is in it |
//! |---|---|
//! | `duty`, `policy`, `options` | the kinds of maintenance, their thresholds, and what one run is asked for |
//! | [`statistics`], `view` | what is known of a table |
//! | [`plan`](plan()) | which jobs are due, of all tables of a target, and which comes first |
//! | `decision`, `skip_class`, `job` | what a plan says, and what it means for health and alerts |
//! | [`compaction`] | which fragments to rewrite together |
//! | [`indexing`] | which indexes to bring up to date, and how |
//! | [`cleanup`] | which versions to remove |
//! | [`clients`] | the oldest client of a table, and what it reads |
//! | [`contention`] | which fragments writers touch just now |
//! | [`history`] | what happened to a table so far, and its back-off |
//! | [`pace`] | bytes an hour, and how much of the time |
//! | [`window`] | times of the week |
//! | [`poll_schedule`] | when to look at a table again |
//! | [`pause`] | what a user wants left alone for a while |
//!
//! `docs/planner.md` has every threshold and its reason.

pub mod cleanup;
pub mod clients;
pub mod compaction;
pub mod contention;
mod decision;
mod duty;
pub mod history;
pub mod indexing;
mod job;
mod options;
pub mod pace;
pub mod pause;
mod plan;
mod policy;
pub mod poll_schedule;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod scenario_tests;
#[cfg(test)]
mod simulation_tests;
mod skip_class;
pub mod statistics;
mod view;
pub mod window;

pub use decision::{Decision, Reason, Skip};
pub use duty::Duty;
pub use history::{DutyHistory, History};
pub use job::Job;
pub use options::Ask;
pub use plan::{Decided, Plan, plan};
pub use policy::{DutyPolicy, Policy};
pub use skip_class::SkipClass;
pub use view::{Now, TableView};
