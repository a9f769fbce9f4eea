//! What Prometheus sees.
//!
//! | file | what is in it |
//! |---|---|
//! | [`exporter`] | all metrics, and the answer to a scrape |
//! | [`process`] | the process: its build, its settings, its clock, its disk |
//! | [`deletions`] | what was deleted, by what allowed it |
//! | [`target`] | targets: polls and pauses |
//! | [`jobs`] | decisions, jobs, and what they did |
//! | [`graph`] | graphs: the queue, sidecars, healing, drift |
//! | [`table`] | tables: the worst ones by name, all of them in sums |
//! | [`store`] | requests to stores, as Lance counts them |
//! | [`registry`] | how each kind of metric is made, and how those of a target are removed |
//!
//! Every name, label and unit stands in these files, but for those of rejected requests (`http/access/rejections.rs`),
//! and in `docs/metrics.md`. Counters start from zero: a series is there from the moment its target is, that of a graph
//! or of looks at tables from the moment it is opened, so that a rate over it misses nothing. Only `squire_skips_total`
//! begins with the first skip for a reason. A time that has not come yet, and a number that was not read yet, is
//! absent.

mod deletions;
mod exporter;
mod graph;
mod jobs;
mod process;
mod registry;
mod store;
mod table;
mod target;

pub(super) use self::{exporter::Metrics, graph::Task};
