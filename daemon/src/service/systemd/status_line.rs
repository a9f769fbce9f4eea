//! How the daemon is, in one line for a user: `systemctl status` shows it.

use crate::{
    api::Status,
    output,
    service::{health::Health, status::Load},
};

/// Maximum number of names in the line; the rest is counted.
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
pub(super) fn running(health: &Health, load: Load, amiss: Amiss) -> String {
    let mut text = String::new();
    // What needs an operator comes first: the line may be cut off.
    for (status, word) in [(Status::Stuck, "STUCK"), (Status::Failing, "failing")] {
        let names_of = health.named(status);
        if !names_of.is_empty() {
            text.push_str(&format!("{word}: {}; ", names(&names_of)));
        }
    }
    if amiss.unreadable {
        text.push_str("all paused, as the pauses cannot be read; ");
    }
    if amiss.refused {
        text.push_str("the new configuration was refused, the old one holds; ");
    }
    text.push_str(&counted(health.targets.len() as u64, "target"));
    text.push_str(", ");
    text.push_str(&counted(load.tables as u64, "table"));
    let wrong = ["stuck", "failing", "blocked", "unknown"];
    let named = health.tables.named();
    let wrong = named
        .iter()
        .filter(|(word, n)| *n > 0 && wrong.contains(word));
    let wrong = wrong.map(|(word, n)| format!("{} {word}", output::count(*n)));
    let wrong = wrong.collect::<Vec<_>>().join(", ");
    if !wrong.is_empty() {
        text.push_str(&format!(" ({wrong})"));
    }
    text.push_str("; ");
    // Where something is wrong, the line must not say that all is done.
    let all_is_well = text.starts_with(char::is_numeric) && wrong.is_empty();
    text.push_str(&match (load.at_work as u64, load.waiting) {
        (0, 0) if all_is_well && health.tables.due == 0 => "nothing to do".to_owned(),
        (0, 0) => match health.tables.due {
            0 => "no job at work".to_owned(),
            due => format!("no job at work, {} due", counted(due, "table")),
        },
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

fn names(names: &[&str]) -> String {
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
    use std::sync::Arc;

    use chrono::Utc;

    use super::*;
    use crate::{
        api::HealthCounts,
        service::{health::Probe, status::StatusStore},
    };

    fn health(targets: &[(&str, Status)], tables: HealthCounts) -> Health {
        let probe = Probe {
            liveness: Arc::default(),
            status: Arc::new(StatusStore::new(Utc::now())),
        };
        for (name, status) in targets {
            probe.liveness.begin(name);
            let error = (*status == Status::Failing).then(|| "no route".to_owned());
            probe.liveness.polled(name, error);
            probe.liveness.answers(name, *status != Status::Stuck);
        }
        Health {
            tables,
            ..probe.health()
        }
    }

    const THREE: [(&str, Status); 3] = [("x", Status::Ok), ("y", Status::Ok), ("z", Status::Ok)];

    fn load(tables: usize, at_work: usize, waiting: u64) -> Load {
        Load {
            tables,
            at_work,
            waiting,
        }
    }

    #[test]
    fn it_says_how_much_there_is_and_what_is_done() {
        for (of, line) in [
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
            let well = health(&THREE, HealthCounts::default());
            assert_eq!(running(&well, of, Amiss::default()), line);
        }
    }

    #[test]
    fn what_needs_somebody_comes_first_and_by_name() {
        use Status::{Failing, Stuck};
        let targets = [
            ("a", Failing),
            ("b", Failing),
            ("c", Failing),
            ("d", Failing),
            ("e", Failing),
            ("lake", Stuck),
        ];
        let of = health(&targets, HealthCounts::default());
        assert_eq!(
            running(
                &of,
                load(7, 0, 0),
                Amiss {
                    refused: true,
                    unreadable: true
                }
            ),
            "STUCK: lake; failing: a, b, c and 2 more; all paused, as the pauses cannot be read; the new configuration was refused, the old one holds; 6 targets, 7 tables; no job at work"
        );
    }

    #[test]
    fn nothing_to_do_is_said_only_when_nothing_is_wrong() {
        let of = |tables| running(&health(&THREE, tables), load(9, 0, 0), Amiss::default());
        let base = "3 targets, 9 tables";
        let all = HealthCounts {
            ok: 9,
            ..HealthCounts::default()
        };
        assert_eq!(of(all), format!("{base}; nothing to do"));
        let some = HealthCounts {
            failing: 3,
            blocked: 2,
            unknown: 1,
            ok: 3,
            ..HealthCounts::default()
        };
        assert_eq!(
            of(some),
            format!("{base} (3 failing, 2 blocked, 1 unknown); no job at work")
        );
        let held = HealthCounts {
            due: 5,
            ok: 4,
            ..HealthCounts::default()
        };
        assert_eq!(of(held), format!("{base}; no job at work, 5 tables due"));
    }

    #[test]
    fn it_says_what_a_stop_waits_for() {
        assert_eq!(stopping(load(7, 0, 3)), "stopping");
        assert_eq!(stopping(load(7, 1, 3)), "stopping: 1 job to end in order");
    }
}
