//! The queue, with operations held at failpoints: who waits for whom, and who never does; in one process and in two.
//!
//! Failpoints are the process's: this suite is a program of its own, and its tests run one after another, those too
//! that set none here. Each has a `FailScenario` from before its graph is made.
#![allow(missing_docs)]

mod anchors;
mod applies_beside_compactions;
mod held;
mod one_process;
mod process;
mod two_processes;

use squire_engine::Graph;
use squire_tests::flights::{append, day, planes};

/// Three loads of flights, and three of planes: something to compact.
async fn fill(graph: &Graph) {
    for n in 0..3_usize {
        graph.load(day(n.try_into().unwrap(), 10)).await.unwrap();
        let planes = planes(n * 10, n * 10 + 10, 1);
        graph.load(append("node:Plane", planes)).await.unwrap();
    }
}
