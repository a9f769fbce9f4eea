//! Numbers, tables and progress as a user reads them. The one place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    borrow::Cow,
    io::{IsTerminal, Write},
    time::Duration,
};

use bytesize::ByteSize;
use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use squire_engine::{Graph, OperationId, Waiting};
use tokio_util::task::AbortOnDropHandle;

/// How often a wait is looked at while nothing changes: the spinner counts the seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a wait goes on before it is logged.
const WORTH_TELLING: TimeDelta = TimeDelta::seconds(2);

/// Prints one line of a result.
pub(crate) fn say(line: &str) {
    // A reader that went away (`| head`) is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{}", harmless(line));
}

/// Prints that an operation was published.
pub(crate) fn say_done(what: &str, operation: OperationId, manifest: u64) {
    say(&format!(
        "{what} (operation {operation}, manifest {manifest})"
    ));
}

/// Prints an error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "squire: {}", harmless(text));
}

/// A text that a terminal shows and does not obey: names of tables, and what stores and daemons answer, may come from
/// anyone. Characters that move the cursor, hide or reorder others are written as JSON writes them, so that JSON stays
/// JSON.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(commands) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if commands(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The same, on one line.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

/// Whether a terminal, or a text layout engine, takes a character for a control. All of them are below U+10000.
fn commands(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hides = matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}');
    reorders || hides || c.is_control() && c != '\n'
}

/// Whether there is a user to ask.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question at the terminal; everything but a yes is a no.
pub(crate) fn ask(question: &str) -> bool {
    let _ = write!(std::io::stderr(), "{} [y/N] ", harmless(question));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A table; columns of numbers align right.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let number = |cell: &String| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit());
    let of_numbers = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        column > 0 && cells.all(number)
    };
    let right: Vec<_> = (0..header.len()).map(of_numbers).collect();
    let mut table = Table::new();
    // A line break in a cell would pass for another row.
    let cells = rows.into_iter().map(|row| {
        let cells = row.into_iter().map(|cell| cell.replace('\n', "\\u000a"));
        cells.collect::<Vec<_>>()
    });
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec())
        .add_rows(cells);
    for (column, right) in table.column_iter_mut().zip(right) {
        column.set_padding((0, 2));
        if right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    ByteSize::b(n).display().iec().to_string()
}

/// `850ms`, `3s`, `2m 5s`.
pub(crate) fn duration(d: Duration) -> String {
    let rounded = if d < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(d.as_secs())
    };
    humantime::format_duration(rounded).to_string()
}

/// A spinner on standard error while something long is under way; nothing when that is no terminal.
pub(crate) struct Working {
    what: String,
    bar: Option<ProgressBar>,
    teller: Option<AbortOnDropHandle<()>>,
}

impl Working {
    /// Starts to spin.
    pub(crate) fn on(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            what,
            bar,
            teller: None,
        }
    }

    /// Says whom it waits for: the spinner does so as it changes; where there is none, a line when the wait has
    /// lasted for a while, and one more each time that another operation is ahead.
    pub(crate) fn following(mut self, graph: &Graph) -> Self {
        let (mut waits, what, bar) = (graph.waiting(), self.what.clone(), self.bar.clone());
        let mut lines = WaitLines::default();
        let teller = async move {
            loop {
                let waiting = waits.borrow_and_update().first().cloned();
                let now = Utc::now();
                match (&bar, &waiting) {
                    (Some(bar), Some(waiting)) => {
                        bar.set_message(harmless(&waiting.describe(now)).into_owned())
                    }
                    (Some(bar), None) => bar.set_message(what.clone()),
                    (None, waiting) => {
                        if let Some(line) = lines.next(waiting.as_ref(), now) {
                            complain(&line);
                        }
                    }
                }
                let changed = tokio::time::timeout(LOOK_AGAIN, waits.changed()).await;
                if let Ok(Err(_)) = changed {
                    return;
                }
            }
        };
        self.teller = Some(AbortOnDropHandle::new(tokio::spawn(teller)));
        self
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.teller = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The lines about a wait for an output that is no terminal.
#[derive(Default)]
struct WaitLines {
    began: Option<DateTime<Utc>>,
    reported: Option<OperationId>,
}

impl WaitLines {
    /// The next line, when one is due.
    fn next(&mut self, waiting: Option<&Waiting>, now: DateTime<Utc>) -> Option<String> {
        let Some(waiting) = waiting else {
            *self = Self::default();
            return None;
        };
        let began = *self.began.get_or_insert(now);
        let ahead = waiting.ahead.operation;
        if now - began < WORTH_TELLING || self.reported == Some(ahead) {
            return None;
        }
        self.reported = Some(ahead);
        Some(waiting.describe(now))
    }
}

#[cfg(test)]
mod tests {
    use squire_engine::{
        ids::HolderId,
        manifest::{OperationKind, Ticket, Touched},
    };

    use super::*;

    fn behind(ahead: OperationId) -> Waiting {
        Waiting {
            operation: OperationId::fresh(),
            ahead: Ticket::waiting(
                ahead,
                HolderId::fresh(),
                "ops@host",
                OperationKind::Load,
                Touched::default(),
                DateTime::UNIX_EPOCH,
            ),
            tables: std::collections::BTreeSet::new(),
            since: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_line_break_in_a_cell_makes_no_row_of_its_own() {
        let rows = vec![vec!["lake".to_owned(), "no\nlake  none".to_owned()]];
        let text = table(&["target", "reason"], rows);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("no\\u000alake"), "{text}");
    }

    #[test]
    fn a_wait_is_told_when_it_lasts_and_again_when_another_is_ahead() {
        let (one, two) = (OperationId::fresh(), OperationId::fresh());
        let mut lines = WaitLines::default();
        let mut next = |ahead: Option<OperationId>, seconds| {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            lines.next(ahead.map(behind).as_ref(), now)
        };
        assert_eq!(next(Some(one), 0), None, "most waits are short");
        assert!(next(Some(one), 2).is_some_and(|line| line.ends_with("by ops@host, 2 s")));
        assert_eq!(next(Some(one), 9), None, "once is enough");
        assert!(next(Some(two), 9).is_some());
        assert_eq!(next(None, 10), None);
        assert_eq!(next(Some(two), 11), None, "another wait begins anew");
    }

    #[test]
    fn a_terminal_is_given_text_and_no_orders() {
        assert_eq!(harmless("Straße 東京 🦀\nnext"), "Straße 東京 🦀\nnext");
        for (text, shown) in [
            ("a\x1b[2Jb", "a\\u001b[2Jb"),
            ("a\rb\tc\x7f", "a\\u000db\\u0009c\\u007f"),
            ("\u{9b}31m", "\\u009b31m"),
            ("evil\u{202e}txt", "evil\\u202etxt"),
            ("two\u{200b}words", "two\\u200bwords"),
        ] {
            assert_eq!(harmless(text), shown);
        }
        let json = serde_json::json!({ "table": "a\u{9b}b\u{1b}c" }).to_string();
        let again: serde_json::Value = serde_json::from_str(&harmless(&json)).expect("it is JSON");
        assert_eq!(again["table"], "a\u{9b}b\u{1b}c");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(336_776), "336,776");
        assert_eq!(count(1_000_000), "1,000,000");
    }
}
