//! How the daemon is, in one line for a person: `systemctl status` shows it.

use crate::{
    output,
    service::{board::Load, pulse::Summary},
};

/// So many names are said; the rest is counted.
const NAMED: usize = 3;

/// What is amiss with the daemon itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Amiss {
    /// Its new configuration was refused.
    pub(super) refused: bool,
    /// The pauses cannot be read, and everything is paused.
    pub(super) unreadable: bool,
}

/// While it runs.
pub(super) fn running(summary: &Summary, load: Load, amiss: Amiss) -> String {
    let mut text = String::new();
    // What needs somebody comes first: the line may be cut off.
    if !summary.stuck.is_empty() {
        text.push_str(&format!("STUCK: {}; ", names(&summary.stuck)));
    }
    if !summary.failing.is_empty() {
        text.push_str(&format!("failing: {}; ", names(&summary.failing)));
    }
    if amiss.unreadable {
        text.push_str("all paused, as the pauses cannot be read; ");
    }
    if amiss.refused {
        text.push_str("the new configuration was refused, the old one holds; ");
    }
    text.push_str(&counted(summary.targets as u64, "target"));
    text.push_str(", ");
    text.push_str(&counted(load.tables as u64, "table"));
    text.push_str("; ");
    text.push_str(&match (load.at_work as u64, load.waiting) {
        (0, 0) => "nothing to do".to_owned(),
        (0, waiting) => format!("{} waiting", counted(waiting, "job")),
        (at_work, 0) => format!("{} at work", counted(at_work, "job")),
        (at_work, waiting) => format!(
            "{} at work, {} waiting",
            counted(at_work, "job"),
            output::count(waiting)
        ),
    });
    text
}

/// While it stops.
pub(super) fn stopping(load: Load) -> String {
    match load.at_work as u64 {
        0 => "stopping".to_owned(),
        at_work => format!("stopping: {} to end in order", counted(at_work, "job")),
    }
}

fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let said = names[..names.len() - more].join(", ");
    if more == 0 {
        said
    } else {
        format!("{said} and {} more", output::count(more as u64))
    }
}

fn counted(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", output::count(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            targets: 3,
            ..Summary::default()
        }
    }

    fn load(tables: usize, at_work: usize, waiting: u64) -> Load {
        Load {
            tables,
            at_work,
            waiting,
        }
    }

    #[test]
    fn it_says_how_much_there_is_and_what_is_done() {
        for (of, told) in [
            (
                load(1_204, 2, 5),
                "3 targets, 1,204 tables; 2 jobs at work, 5 waiting",
            ),
            (load(1, 0, 0), "3 targets, 1 table; nothing to do"),
            (load(0, 1, 0), "3 targets, 0 tables; 1 job at work"),
            (
                load(1_000_000, 0, 1),
                "3 targets, 1,000,000 tables; 1 job waiting",
            ),
        ] {
            assert_eq!(running(&summary(), of, Amiss::default()), told);
        }
    }

    #[test]
    fn what_needs_somebody_comes_first_and_by_name() {
        let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let of = Summary {
            failing: named(&["a", "b", "c", "d", "e"]),
            stuck: named(&["lake"]),
            ..summary()
        };
        assert_eq!(
            running(
                &of,
                load(7, 0, 0),
                Amiss {
                    refused: true,
                    unreadable: true
                }
            ),
            "STUCK: lake; failing: a, b, c and 2 more; all paused, as the pauses cannot be read; the new configuration was refused, the old one holds; 3 targets, 7 tables; nothing to do"
        );
    }

    #[test]
    fn it_says_what_a_stop_waits_for() {
        assert_eq!(stopping(load(7, 0, 3)), "stopping");
        assert_eq!(stopping(load(7, 1, 3)), "stopping: 1 job to end in order");
    }
}
