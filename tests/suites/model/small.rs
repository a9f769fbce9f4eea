//! Configurations that are explored in full by every run of the tests.

use super::configurations::{A, AB, B, Configuration, Operation};

pub(crate) fn all() -> Vec<Configuration> {
    let short = Operation::short;
    let long = Operation::long;
    let physical = Operation::physical;
    vec![
        Configuration::new(
            "a short load of two tables, a crash, two healers",
            &[short(AB)],
            2,
        )
        .with(|b| (b.errors, b.crashes, b.collections) = (1, 1, 1)),
        Configuration::new(
            "a long load of two tables, a late put, a healer",
            &[long(AB)],
            1,
        )
        .with(|b| (b.late, b.collections) = (1, 1)),
        Configuration::new("two short loads of a table", &[short(A), short(A)], 1)
            .with(|b| b.errors = 1),
        Configuration::new("a load on a store that keeps failing", &[short(A)], 1)
            .with(|b| (b.errors, b.failures, b.crashes) = (1, 2, 1)),
        Configuration::new("a load on a disk that keeps failing", &[short(A)], 1)
            .with(|b| (b.errors, b.failures, b.crashes) = (1, 2, 1))
            .but(|c| c.failed_put_is_final = true),
        Configuration::new("a load, read as it was listed", &[short(A)], 1)
            .with(|b| b.collections = 2)
            .but(|c| c.split_reads = true),
        Configuration::new(
            "a long load and a rewrite of a table",
            &[long(A), physical(A)],
            1,
        )
        .with(|b| b.errors = 1),
        Configuration::new(
            "a delete and a rewrite of a table",
            &[short(A).removing(), physical(A)],
            1,
        )
        .with(|b| (b.crashes, b.cleanups) = (1, 1)),
        Configuration::new(
            "a rewrite that is late, and loses its sidecar",
            &[physical(A)],
            1,
        )
        .with(|b| (b.late, b.lost_sidecars, b.collections) = (1, 1, 1)),
        Configuration::new(
            "an upsert over foreign rows, and its repair",
            &[short(AB).rigid()],
            2,
        )
        .with(|b| (b.semantic, b.resolutions) = (1, 1)),
        Configuration::new(
            "a load of a table that another reads",
            &[long(A), short(B).reading(A)],
            1,
        )
        .with(|b| b.crashes = 1),
        Configuration::new(
            "a new table, and a load of another",
            &[short(B).adding(), short(A)],
            1,
        )
        .with(|b| b.crashes = 1),
        Configuration::new(
            "benign drift, adopted beside a load and a rewrite",
            &[short(A), physical(A)],
            1,
        )
        .with(|b| (b.benign, b.adoptions) = (1, 1)),
    ]
}
