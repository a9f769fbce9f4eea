//! A keeper: polls one target on every tick, lets the planner decide, and runs the jobs.
//!
//! Its loop waits for nothing but the next event: every read and every job is a task of its own. So a read
//! that hangs blocks neither the keeper, nor a job slot, nor a stop. A job that hangs keeps its slot until it counts as
//! stuck.
//!
//! | file | what is in it |
//! |---|---|
//! | [`context`] | what a keeper is given: configuration, shared services, cancellation |
//! | [`state`] | what it knows, and where it begins and ends |
//! | [`event_loop`] | its loop |
//! | [`open`] | opens the target |
//! | [`ticks`] | the interval of its liveness |
//! | [`reads`] | reads in flight |
//! | [`read_results`] | what is read, and what a read returns |
//! | [`refresh`] | polls the target as a whole |
//! | [`tables`], [`lists`] | reads of tables, and of their versions |
//! | [`listing`] | when versions are listed |
//! | [`triggers`] | duties that schedules and users request |
//! | [`decide`] | what to do, and why not |
//! | [`work`], [`job_end`] | jobs: their start, and what their end means |
//! | [`jobs`] | jobs that run, and those that are stuck |
//! | [`writes`] | whether the target takes writes |
//! | [`graph_upkeep`] | healing, collection of manifests, drift |
//! | [`faults`] | faults, and when each is logged |
//! | [`table_state`], [`successes`], [`left_over`] | what is known of one table |

mod context;
mod decide;
mod event_loop;
mod faults;
mod graph_upkeep;
mod job_end;
mod jobs;
mod left_over;
mod listing;
mod lists;
mod open;
mod read_results;
mod reads;
mod refresh;
mod state;
mod successes;
mod table_state;
mod tables;
mod ticks;
mod triggers;
mod work;
mod writes;

pub(super) use self::{
    context::{KeeperConfig, Shared, Shutdown},
    state::Keeper,
};
