//! Larger configurations, explored on demand: `make model`.

use super::configurations::{A, AB, B, Configuration, Operation};

pub(crate) fn all() -> Vec<Configuration> {
    let short = Operation::short;
    let long = Operation::long;
    let physical = Operation::physical;
    vec![
        Configuration::new("a load, read as it was listed, two healers", &[short(A)], 2)
            .with(|b| b.collections = 2)
            .but(|c| c.split_reads = true),
        Configuration::new(
            "two loads, an answer lost, a collection",
            &[short(A), short(A)],
            1,
        )
        .with(|b| (b.errors, b.collections) = (1, 1)),
        Configuration::new(
            "a late rewrite without its sidecar, two healers",
            &[physical(A)],
            2,
        )
        .with(|b| (b.late, b.lost_sidecars, b.collections) = (1, 1, 1)),
        Configuration::new(
            "a long load of two tables and a short one",
            &[long(AB), short(A)],
            1,
        )
        .with(|b| (b.crashes, b.cancels, b.collections) = (1, 1, 1)),
        Configuration::new(
            "a late delete, a rewrite, cleanup",
            &[long(A).removing(), physical(A)],
            1,
        )
        .with(|b| (b.late, b.cleanups, b.collections) = (1, 1, 1)),
        Configuration::new(
            "an upsert, foreign rows, repair, a load",
            &[short(AB).rigid(), short(A)],
            2,
        )
        .with(|b| (b.semantic, b.resolutions) = (1, 1)),
        Configuration::new(
            "loads of three ways, nobody heals",
            &[long(AB), short(A), short(B)],
            0,
        )
        .with(|b| b.errors = 1),
        Configuration::new(
            "a load, a delete and a rewrite",
            &[short(A), long(A).removing(), physical(A)],
            0,
        )
        .with(|b| b.errors = 1),
        Configuration::new(
            "a load and a rewrite on local disk",
            &[short(A), physical(A)],
            1,
        )
        .with(|b| (b.failures, b.errors, b.crashes) = (2, 1, 1))
        .but(|c| c.failed_put_is_final = true),
        Configuration::new("idle processes list first", &[short(A), physical(A)], 1)
            .with(|b| (b.errors, b.collections) = (1, 1))
            .but(|c| c.hints = false),
        Configuration::new("healers in another order", &[short(AB), long(AB)], 1)
            .with(|b| b.crashes = 1)
            .but(|c| c.reversed = true),
    ]
}
