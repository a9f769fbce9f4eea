//! What stands in each pane: from what the daemon tells to rows of words. Pure.

use std::{cmp::Reverse, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    model::{Pane, Sort, View},
    told::{Job, Run, Schedule, Table, Target, Text, Ticket, Told},
};
use crate::output;

/// How a row is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Bad,
    Warning,
    Busy,
    Quiet,
    Plain,
}

/// What a row is about, as the daemon names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) target: Text,
    pub(super) table: Option<Text>,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) subject: Subject,
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
}

/// The rows of a pane, sorted and filtered.
pub(super) fn rows(pane: Pane, told: &Told, view: &View, now: DateTime<Utc>) -> Vec<Row> {
    let wanted = |row: &Row| view.wants(&row.cells);
    let all: Vec<Row> = match pane {
        Pane::Targets => told
            .targets
            .iter()
            .map(|t| of_target(t, told, now))
            .collect(),
        Pane::Tables => {
            let mut tables: Vec<_> = told.tables.values().collect();
            sort(&mut tables, view.sort);
            tables.into_iter().map(of_table).collect()
        }
        Pane::Running => told.running.iter().map(|job| of_job(job, now)).collect(),
        Pane::Queue => told
            .queue
            .iter()
            .map(|(t, ticket)| of_ticket(t, ticket, now))
            .collect(),
        Pane::History => told.history.iter().map(|run| of_run(run, now)).collect(),
    };
    all.into_iter().filter(wanted).collect()
}

/// The healths of tables, the worst first.
const WORST_FIRST: [&str; 7] = [
    "stuck", "failing", "blocked", "due", "paused", "ok", "unknown",
];

/// Worst first; an unknown word last.
fn rank(health: &Text) -> usize {
    let rank = WORST_FIRST.iter().position(|word| *word == health.raw());
    rank.unwrap_or(WORST_FIRST.len())
}

fn sort(tables: &mut [&Table], sort: Sort) {
    // They come by target and name, and stay so where they are alike.
    match sort {
        Sort::Health => tables.sort_by_key(|t| (rank(&t.health), Reverse(t.small_fragments))),
        Sort::Name => {}
        Sort::Fragments => tables.sort_by_key(|t| Reverse(t.fragments)),
        Sort::Small => tables.sort_by_key(|t| Reverse(t.small_fragments)),
        Sort::Size => tables.sort_by_key(|t| Reverse(t.bytes)),
        Sort::Deleted => tables.sort_by(|a, b| b.deleted_fraction.total_cmp(&a.deleted_fraction)),
    }
}

fn tone(health: &Text) -> Tone {
    match health.raw() {
        "stuck" | "failing" => Tone::Bad,
        "blocked" => Tone::Warning,
        "due" => Tone::Busy,
        "paused" | "unknown" => Tone::Quiet,
        _ => Tone::Plain,
    }
}

fn of_target(target: &Target, told: &Told, now: DateTime<Utc>) -> Row {
    let counts = WORST_FIRST.iter();
    let counts = counts.filter_map(|word| match target.health.get(*word) {
        Some(0) | None => None,
        Some(n) => Some(format!("{} {word}", output::count(*n))),
    });
    let mut is = counts.collect::<Vec<_>>().join(", ");
    if told.is_paused(target.name.raw(), None) {
        is = format!("paused; {is}");
    }
    let count = |word: &str| target.health.get(word).copied().unwrap_or(0);
    let stuck = target.status.raw() == "stuck";
    let tone = match &target.failing {
        Some(_) => Tone::Bad,
        None if stuck || count("stuck") + count("failing") > 0 => Tone::Bad,
        None if count("blocked") > 0 => Tone::Warning,
        None => Tone::Plain,
    };
    if let Some(error) = &target.failing {
        is = format!("failing: {error}");
    }
    if stuck {
        is = format!("stuck; {is}");
    }
    Row {
        subject: Subject {
            target: target.name.clone(),
            table: None,
        },
        cells: vec![
            target.name.to_string(),
            target
                .kind
                .as_ref()
                .map_or_else(String::new, Text::to_string),
            output::count(target.tables),
            output::count(target.layout.fragments),
            output::bytes(target.layout.bytes),
            output::count(target.running),
            output::count(target.backlog),
            output::count(target.tickets),
            spark(&target.trend.fragments, 16),
            age(target.looked, now),
            comes(&target.schedules),
            is,
        ],
        tone,
    }
}

/// The schedule that comes next: its duty, and the time in UTC.
fn comes(schedules: &[Schedule]) -> String {
    let next = schedules
        .iter()
        .filter_map(|schedule| Some((schedule.next?, &schedule.duty)));
    next.min().map_or_else(String::new, |(at, duty)| {
        format!("{duty} {}", at.format("%m-%d %H:%M UTC"))
    })
}

fn of_table(table: &Table) -> Row {
    Row {
        subject: Subject {
            target: table.target.clone(),
            table: Some(table.table.clone()),
        },
        cells: vec![
            table.health.to_string(),
            table.target.to_string(),
            table.table.to_string(),
            output::count(table.rows),
            output::count(table.fragments),
            output::count(table.small_fragments),
            output::bytes(table.bytes),
            percent(Some(table.deleted_fraction)),
            percent(table.unindexed_fraction),
            table.versions.map_or_else(String::new, output::count),
            spark(&table.trend.fragments, 12),
            table
                .running
                .as_ref()
                .map_or_else(String::new, Text::to_string),
            table
                .reason
                .as_ref()
                .map_or_else(String::new, Text::to_string),
        ],
        tone: tone(&table.health),
    }
}

fn of_job(job: &Job, now: DateTime<Utc>) -> Row {
    Row {
        subject: Subject {
            target: job.target.clone(),
            table: Some(job.table.clone()),
        },
        cells: vec![
            job.target.to_string(),
            job.table.to_string(),
            job.duty.to_string(),
            job.phase.to_string(),
            progress(job.done, job.all),
            age(job.since, now),
            job.reason.to_string(),
        ],
        tone: Tone::Busy,
    }
}

fn of_ticket(target: &Text, ticket: &Ticket, now: DateTime<Utc>) -> Row {
    let listed = |texts: &[Text]| {
        let texts: Vec<_> = texts.iter().map(Text::to_string).collect();
        texts.join(", ")
    };
    let waits: Vec<_> = ticket.waits_for.iter().map(brief).collect();
    Row {
        subject: Subject {
            target: target.clone(),
            table: None,
        },
        cells: vec![
            target.to_string(),
            brief(&ticket.operation),
            ticket.kind.to_string(),
            ticket.state.to_string(),
            age(ticket.since, now),
            ticket.actor.to_string(),
            match &ticket.reason {
                Some(reason) => reason.to_string(),
                None => waits.join(", "),
            },
            listed(&ticket.writes),
        ],
        tone: match ticket.state.raw() {
            "quarantined" => Tone::Bad,
            "waiting" => Tone::Quiet,
            _ => Tone::Plain,
        },
    }
}

fn of_run(run: &Run, now: DateTime<Utc>) -> Row {
    let seconds = Duration::try_from_secs_f64(run.seconds).unwrap_or_default();
    let took = TimeDelta::from_std(seconds).ok();
    let ended = (run.began).and_then(|began| began.checked_add_signed(took?));
    let change = |of: &dyn Fn(u64) -> String, before: u64, after: Option<u64>| match after {
        Some(after) => format!("{} → {}", of(before), of(after)),
        None => of(before),
    };
    let after = run.after;
    Row {
        subject: Subject {
            target: run.target.clone(),
            table: Some(run.table.clone()),
        },
        cells: vec![
            age(ended, now),
            run.target.to_string(),
            run.table.to_string(),
            run.duty.to_string(),
            run.outcome.to_string(),
            output::duration(seconds),
            change(
                &output::count,
                run.before.fragments,
                after.map(|a| a.fragments),
            ),
            change(&output::bytes, run.before.bytes, after.map(|a| a.bytes)),
            run.detail.as_ref().unwrap_or(&run.reason).to_string(),
        ],
        tone: match run.outcome.raw() {
            "failed" => Tone::Bad,
            "lost" => Tone::Warning,
            "done" => Tone::Plain,
            _ => Tone::Quiet,
        },
    }
}

/// The first eight digits of an operation, as commands take it.
fn brief(operation: &Text) -> String {
    operation.to_string().chars().take(8).collect()
}

fn percent(fraction: Option<f64>) -> String {
    match fraction {
        Some(fraction) if fraction > 0.0 => format!("{:.1}%", fraction * 100.0),
        _ => String::new(),
    }
}

/// How long ago, in at most two parts: `5s`, `3m 20s`, `2h 5m`, `4d`.
pub(super) fn age(then: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let Some(then) = then else {
        return String::new();
    };
    let seconds = (now - then).num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d"),
    }
}

fn progress(done: u64, all: u64) -> String {
    const CELLS: u64 = 10;
    if all == 0 {
        return String::new();
    }
    let full = done.min(all).saturating_mul(CELLS) / all;
    let bar: String = (0..CELLS)
        .map(|n| if n < full { '█' } else { '░' })
        .collect();
    format!("{bar} {done}/{all}")
}

/// The last points of a curve as small bars.
fn spark(points: &[u64], cells: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &points[points.len().saturating_sub(cells)..];
    let most = shown.iter().max().copied().unwrap_or(0).max(1);
    let bar = |n: &u64| {
        let height = u128::from(*n) * (BARS.len() as u128 - 1) / u128::from(most);
        BARS.get(height as usize).copied().unwrap_or('█')
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_parts_at_most() {
        let now = DateTime::from_timestamp(1_000_000, 0);
        let of = |seconds| {
            let then = DateTime::from_timestamp(1_000_000_i64 - seconds, 0);
            now.map(|now| age(then, now)).unwrap_or_default()
        };
        for (seconds, shown) in [
            (-5, "0s"),
            (59, "59s"),
            (200, "3m 20s"),
            (7_500, "2h 5m"),
            (400_000, "4d"),
        ] {
            assert_eq!(of(seconds), shown);
        }
    }

    #[test]
    fn a_run_of_a_daemon_that_tells_nonsense_is_shown_all_the_same() {
        for seconds in [f64::NAN, -1.0, 1e18, f64::MAX] {
            let run = Run {
                began: DateTime::from_timestamp(1_000_000, 0),
                seconds,
                ..Run::default()
            };
            assert_eq!(of_run(&run, Utc::now()).cells.len(), 9);
        }
    }

    #[test]
    fn of_the_schedules_of_a_target_the_one_that_comes_next_is_shown_in_utc() {
        let schedule = |duty: &str, next: &str| Schedule {
            duty: duty.into(),
            next: next.parse().ok(),
        };
        assert_eq!(comes(&[]), "");
        assert_eq!(comes(&[schedule("index", "never")]), "");
        let all = [
            schedule("index", "never"),
            schedule("cleanup", "2026-12-01T04:00:00Z"),
            schedule("compaction", "2026-12-01T03:00:00Z"),
        ];
        assert_eq!(comes(&all), "compaction 12-01 03:00 UTC");
    }

    #[test]
    fn progress_and_curves_stay_within_their_cells() {
        assert_eq!(progress(0, 0), "");
        assert_eq!(progress(5, 10), "█████░░░░░ 5/10");
        assert_eq!(progress(99, 10), "██████████ 99/10");
        assert_eq!(spark(&[], 4), "");
        assert_eq!(spark(&[0, 0], 4), "▁▁");
        assert_eq!(spark(&[9, 9, 0, u64::MAX], 3).chars().count(), 3);
        assert_eq!(spark(&[1, 7], 4), "▂█");
    }
}
