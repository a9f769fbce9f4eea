//! The figures of all runs, one column for each kind of maintenance: medians over the rounds, and in brackets the ratio to
//! the first column.

use std::time::Duration;

use squire_tests::show;

use super::{maintenance::Maintenance, run::Run};

/// One line of the table.
struct Figure {
    name: &'static str,
    show: Show,
    of: Of,
    /// Whether a ratio says something.
    compared: bool,
}

type Show = fn(f64) -> String;
type Of = fn(&Run) -> f64;

const fn compared(name: &'static str, show: Show, of: Of) -> Figure {
    Figure {
        compared: true,
        ..alone(name, show, of)
    }
}

const fn alone(name: &'static str, show: Show, of: Of) -> Figure {
    Figure {
        name,
        show,
        of,
        compared: false,
    }
}

const FIGURES: [Figure; 19] = [
    compared("writer operations", number, |r| sum(&r.operations)),
    compared("  appends", number, |r| r.operations[0] as f64),
    compared("  upserts", number, |r| r.operations[1] as f64),
    compared("  deletes", number, |r| r.operations[2] as f64),
    compared("latency, median", time, |r| r.latency(0.5)),
    compared("latency, 99 %", time, |r| r.latency(0.99)),
    compared("latency, worst", time, |r| r.latency(1.0)),
    alone("errors in clients", number, |r| r.errors.len() as f64),
    compared("fragments at the end", number, |r| r.end.fragments as f64),
    compared("fragments at most", number, |r| r.most_fragments as f64),
    compared("deleted rows in files", number, |r| r.end.deleted as f64),
    compared("unindexed rows", number, |r| r.end.unindexed as f64),
    alone("versions", number, |r| r.end.version as f64),
    compared("disk", size, |r| r.disk as f64),
    alone("index bytes written", size, |r| r.index_bytes as f64),
    alone("rewrites committed", number, |r| r.rewrites.done as f64),
    alone("rewrites lost", number, |r| r.rewrites.lost as f64),
    alone("share that was lost", percent, |r| r.rewrites.share_lost()),
    alone("rows that are not exact", number, |r| {
        r.difference.ids() as f64
    }),
];

/// The printed table.
pub(super) fn table(kinds: &[(Maintenance, Vec<Run>)]) -> String {
    let header: Vec<_> = std::iter::once("maintenance")
        .chain(kinds.iter().map(|(kind, _)| kind.as_str()))
        .collect();
    let rows = FIGURES.iter().map(|figure| {
        let medians = kinds.iter().map(|(_, runs)| median(runs, figure.of));
        let medians: Vec<_> = medians.collect();
        let first = medians.first().copied().unwrap_or_default();
        let shown = medians.iter().enumerate().map(|(n, value)| {
            let shown = (figure.show)(*value);
            if n > 0 && figure.compared && first > 0.0 {
                format!("{shown} ({:.2})", value / first)
            } else {
                shown
            }
        });
        std::iter::once(figure.name.to_owned())
            .chain(shown)
            .collect()
    });
    show::table(&header, rows.collect())
}

fn median(runs: &[Run], of: Of) -> f64 {
    let mut values: Vec<_> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn sum(operations: &[usize]) -> f64 {
    operations.iter().sum::<usize>() as f64
}

fn number(value: f64) -> String {
    show::count(value.round() as u64)
}

fn time(value: f64) -> String {
    show::seconds(Duration::from_secs_f64(value))
}

fn size(value: f64) -> String {
    show::bytes(value as u64)
}

fn percent(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}
