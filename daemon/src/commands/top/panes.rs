//! The rows of each pane, from a snapshot. Pure.

use std::{cmp::Reverse, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    snapshot::Snapshot,
    view::{Pane, Sort, Subject, View},
};
use crate::{
    api::{
        Health, JobInfo, JobOutcome, RunInfo, ScheduleInfo, Status, TableInfo, TargetInfo,
        TicketInfo, Word,
    },
    output,
};

/// How a row is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Bad,
    Warning,
    Busy,
    Quiet,
    Plain,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) subject: Subject,
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
}

impl Row {
    /// Cells may hold text of any origin: each becomes one line that a terminal does not obey.
    fn new(subject: Subject, cells: Vec<String>, tone: Tone) -> Self {
        let cells = cells.iter().map(|cell| output::one_line(cell)).collect();
        Self {
            subject,
            cells,
            tone,
        }
    }
}

/// The rows of a pane, sorted and filtered.
pub(super) fn rows(pane: Pane, snapshot: &Snapshot, view: &View, now: DateTime<Utc>) -> Vec<Row> {
    let wanted = |row: &Row| view.wants(&row.cells);
    let all: Vec<Row> = match pane {
        Pane::Targets => snapshot
            .targets
            .iter()
            .map(|t| of_target(t, snapshot, now))
            .collect(),
        Pane::Tables => {
            let mut tables: Vec<_> = snapshot.tables.values().collect();
            sort(&mut tables, view.sort);
            tables.into_iter().map(of_table).collect()
        }
        Pane::Running => snapshot
            .running
            .iter()
            .map(|job| of_job(job, now))
            .collect(),
        Pane::Queue => snapshot
            .queue
            .iter()
            .map(|(t, ticket)| of_ticket(t, ticket, now))
            .collect(),
        Pane::History => snapshot
            .history
            .iter()
            .map(|run| of_run(run, now))
            .collect(),
    };
    all.into_iter().filter(wanted).collect()
}

/// Worst first; an unknown word last.
fn rank(health: &Word<Health>) -> usize {
    let known = health.known();
    let rank = Health::ALL.iter().position(|health| Some(*health) == known);
    rank.unwrap_or(Health::ALL.len())
}

fn sort(tables: &mut [&TableInfo], sort: Sort) {
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

fn tone(health: &Word<Health>) -> Tone {
    match health.known() {
        Some(Health::Stuck | Health::Failing) => Tone::Bad,
        Some(Health::Blocked) => Tone::Warning,
        Some(Health::Due) => Tone::Busy,
        Some(Health::Paused | Health::Unknown) => Tone::Quiet,
        Some(Health::Ok) | None => Tone::Plain,
    }
}

fn of_target(target: &TargetInfo, snapshot: &Snapshot, now: DateTime<Utc>) -> Row {
    let counts = target.health.named().into_iter();
    let counts = counts.filter(|(_, n)| *n > 0);
    let counts = counts.map(|(word, n)| format!("{} {word}", output::count(n)));
    let mut is = counts.collect::<Vec<_>>().join(", ");
    if snapshot.is_paused(&target.name, None) {
        is = format!("paused; {is}");
    }
    let health = &target.health;
    let stuck = target.status.known() == Some(Status::Stuck);
    let tone = match &target.failing {
        Some(_) => Tone::Bad,
        None if stuck || health.stuck + health.failing > 0 => Tone::Bad,
        None if health.blocked > 0 => Tone::Warning,
        None => Tone::Plain,
    };
    if let Some(error) = &target.failing {
        is = format!("failing: {error}");
    }
    if stuck {
        is = format!("stuck; {is}");
    }
    Row::new(
        Subject {
            target: target.name.clone(),
            table: None,
        },
        vec![
            target.name.to_string(),
            target.kind.clone().unwrap_or_default(),
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
    )
}

/// The schedule that comes next: its duty, and the time in UTC.
fn comes(schedules: &[ScheduleInfo]) -> String {
    let next = schedules
        .iter()
        .filter_map(|schedule| Some((schedule.next?, &schedule.duty)));
    next.min().map_or_else(String::new, |(at, duty)| {
        format!("{duty} {}", at.format("%m-%d %H:%M UTC"))
    })
}

fn of_table(table: &TableInfo) -> Row {
    Row::new(
        Subject {
            target: table.target.clone(),
            table: Some(table.table.clone()),
        },
        vec![
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
                .map_or_else(String::new, Word::to_string),
            table.reason.clone().unwrap_or_default(),
        ],
        tone(&table.health),
    )
}

fn of_job(job: &JobInfo, now: DateTime<Utc>) -> Row {
    Row::new(
        Subject {
            target: job.target.clone(),
            table: Some(job.table.clone()),
        },
        vec![
            job.target.to_string(),
            job.table.to_string(),
            job.duty.to_string(),
            job.phase.to_string(),
            progress(job.done, job.all),
            age(known(job.since), now),
            job.reason.to_string(),
        ],
        Tone::Busy,
    )
}

fn of_ticket(target: &str, ticket: &TicketInfo, now: DateTime<Utc>) -> Row {
    let waits: Vec<_> = ticket.waits_for.iter().map(|id| brief(id)).collect();
    Row::new(
        Subject {
            target: target.to_owned(),
            table: None,
        },
        vec![
            target.to_string(),
            brief(&ticket.operation),
            ticket.kind.to_string(),
            ticket.state.to_string(),
            age(known(ticket.since), now),
            ticket.actor.to_string(),
            match &ticket.reason {
                Some(reason) => reason.to_string(),
                None => waits.join(", "),
            },
            ticket.writes.join(", "),
        ],
        match ticket.state.as_str() {
            "quarantined" => Tone::Bad,
            "waiting" => Tone::Quiet,
            _ => Tone::Plain,
        },
    )
}

fn of_run(run: &RunInfo, now: DateTime<Utc>) -> Row {
    let seconds = Duration::try_from_secs_f64(run.seconds).unwrap_or_default();
    let took = TimeDelta::from_std(seconds).ok();
    let ended = known(run.began).and_then(|began| began.checked_add_signed(took?));
    let change = |of: &dyn Fn(u64) -> String, before: u64, after: Option<u64>| match after {
        Some(after) => format!("{} → {}", of(before), of(after)),
        None => of(before),
    };
    let after = run.after;
    Row::new(
        Subject {
            target: run.target.clone(),
            table: Some(run.table.clone()),
        },
        vec![
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
        match run.outcome.known() {
            Some(JobOutcome::Failed) => Tone::Bad,
            Some(JobOutcome::Lost) => Tone::Warning,
            Some(JobOutcome::Done) => Tone::Plain,
            _ => Tone::Quiet,
        },
    )
}

/// The beginning of the id of an operation, as commands take it.
fn brief(operation: &str) -> String {
    operation.chars().take(13).collect()
}

fn percent(fraction: Option<f64>) -> String {
    match fraction {
        Some(fraction) if fraction > 0.0 => format!("{:.1}%", fraction * 100.0),
        _ => String::new(),
    }
}

/// A time that the daemon reported; a field that its answer lacks is the zero of times.
fn known(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (at != DateTime::<Utc>::default()).then_some(at)
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
    use squire_engine::planner::Duty;

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
            let run = RunInfo {
                began: DateTime::from_timestamp(1_000_000, 0).unwrap_or_default(),
                seconds,
                ..RunInfo::default()
            };
            assert_eq!(of_run(&run, Utc::now()).cells.len(), 9);
        }
    }

    #[test]
    fn of_the_schedules_of_a_target_the_one_that_comes_next_is_shown_in_utc() {
        let schedule = |duty: Duty, next: &str| ScheduleInfo {
            duty: duty.into(),
            next: next.parse().ok(),
            ..ScheduleInfo::default()
        };
        assert_eq!(comes(&[]), "");
        assert_eq!(comes(&[schedule(Duty::Index, "never")]), "");
        let all = [
            schedule(Duty::Index, "never"),
            schedule(Duty::Cleanup, "2026-12-01T04:00:00Z"),
            schedule(Duty::Compaction, "2026-12-01T03:00:00Z"),
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
