//! The screen: from a snapshot and the user's view to cells. Pure; it fits the size of the terminal.

use chrono::{DateTime, Utc};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Widget},
};

use super::{
    columns::{Column, fitting},
    panes::{self, Row, Tone},
    snapshot::Snapshot,
    view::{Entry, Pane, Subject, View},
};
use crate::output;

/// From this size on there is room for all panes at once.
const ROOMY: (u16, u16) = (90, 26);
/// Below this there is room for nothing.
const LEAST: (u16, u16) = (20, 4);

const KEYS: &[(&str, &str)] = &[
    ("Tab, 1 to 5", "another pane"),
    ("arrows, j, k, g, G", "another row"),
    ("/", "show only rows with these words; Esc shows all"),
    ("s", "sort tables by something else"),
    ("p", "pause what is selected, or resume it"),
    ("r", "maintain what is selected now"),
    ("?", "this"),
    ("q, Ctrl-C", "quit"),
];

/// Everything that the screen shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) view: &'a View,
    /// The newest snapshot, with its time.
    pub(super) snapshot: Option<(&'a Snapshot, DateTime<Utc>)>,
    /// Why there is no newer one.
    pub(super) trouble: Option<&'a str>,
    /// Where the daemon is.
    pub(super) address: &'a str,
    pub(super) now: DateTime<Utc>,
    pub(super) colour: bool,
}

/// Draws the screen.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, scene: &Scene<'_>) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        Paragraph::new("too small").render(area, buffer);
        return;
    }
    let alarmed = scene.alarm();
    let trouble = u16::from(alarmed.is_some());
    let [head, alarm, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(trouble),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    scene.headline().render(head, buffer);
    if let Some(alarmed) = alarmed {
        let style = scene.style(Tone::Bad).add_modifier(Modifier::REVERSED);
        Line::styled(alarmed, style).render(alarm, buffer);
    }
    match scene.snapshot {
        None => {
            let text = match scene.trouble {
                Some(_) => "It is asked again and again until it answers.",
                None => "asking ...",
            };
            Paragraph::new(text).render(body, buffer);
        }
        Some((snapshot, _)) if area.width >= ROOMY.0 && area.height >= ROOMY.1 => {
            scene.all_panes(snapshot, body, buffer);
        }
        Some((snapshot, _)) => {
            let [tabs, pane] =
                Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(body);
            scene.tabs().render(tabs, buffer);
            scene.pane(scene.view.focus, snapshot, pane, buffer);
        }
    }
    scene.footline().render(foot, buffer);
    if scene.view.entry == Entry::Help {
        scene.help(body, buffer);
    }
}

/// Everything at once and nothing left out, as plain lines of this width.
pub(super) fn lines(width: u16, scene: &Scene<'_>) -> Vec<String> {
    let mut lines = vec![text_of(&scene.headline())];
    lines.extend(scene.alarm());
    let Some((snapshot, _)) = scene.snapshot else {
        return lines;
    };
    for pane in Pane::ALL {
        let rows = panes::rows(pane, snapshot, scene.view, scene.now);
        lines.push(String::new());
        lines.push(format!("{} ({})", pane.title(), rows.len()));
        if rows.is_empty() {
            continue;
        }
        let columns = fitting(pane, width);
        let titles = columns.iter().map(|(column, _)| column.title.to_owned());
        lines.push(line_of(&columns, &titles.collect::<Vec<_>>()));
        lines.extend(
            rows.iter()
                .map(|row| line_of(&columns, &cells(&columns, row))),
        );
    }
    lines
}

impl Scene<'_> {
    /// What needs an operator, whatever else is shown.
    fn alarm(&self) -> Option<String> {
        let trouble = self.trouble.map(|trouble| trouble.replace('\n', " "));
        trouble.or_else(|| {
            let snapshot = &self.snapshot?.0;
            if let Some(why) = &snapshot.pauses_unreadable {
                return Some(output::one_line(&format!(
                    "every target is paused: the pauses cannot be read ({why})"
                )));
            }
            let refused = snapshot.refused.as_ref()?;
            Some(output::one_line(&format!(
                "the new configuration was refused, the one before holds: {refused}"
            )))
        })
    }

    fn style(&self, tone: Tone) -> Style {
        let style = Style::new();
        if !self.colour {
            return match tone {
                Tone::Bad => style.add_modifier(Modifier::BOLD),
                Tone::Quiet => style.add_modifier(Modifier::DIM),
                _ => style,
            };
        }
        match tone {
            Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Warning => style.fg(Color::Yellow),
            Tone::Busy => style.fg(Color::Cyan),
            Tone::Quiet => style.add_modifier(Modifier::DIM),
            Tone::Plain => style,
        }
    }

    fn headline(&self) -> Line<'static> {
        let mut said = vec![
            Span::styled("squire top ", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!("{}  ", self.address)),
        ];
        if let Some((snapshot, at)) = self.snapshot {
            let many = |n: usize, one: &str, more: &str| match n {
                1 => format!("1 {one}"),
                n => format!("{} {more}", output::count(n as u64)),
            };
            let targets = many(snapshot.targets.len(), "target", "targets");
            let tables = many(snapshot.tables.len(), "table", "tables");
            let jobs = many(snapshot.running.len(), "job", "jobs");
            let places = match snapshot.places {
                0 => String::new(),
                places => format!(" of {places} at once"),
            };
            said.push(Span::raw(format!("{targets}, {tables}, {jobs}{places}")));
            if self.trouble.is_some() {
                let old = format!("  as of {} ago", panes::age(Some(at), self.now));
                said.push(Span::styled(old, self.style(Tone::Warning)));
            }
        }
        Line::from(said)
    }

    fn tabs(&self) -> Line<'static> {
        let tabs = Pane::ALL.iter().enumerate().map(|(n, pane)| {
            let style = if *pane == self.view.focus {
                Style::new().add_modifier(Modifier::REVERSED)
            } else {
                Style::new()
            };
            Span::styled(format!(" {} {} ", n + 1, pane.title()), style)
        });
        tabs.collect()
    }

    fn footline(&self) -> Line<'static> {
        let named = |what: &Subject| match &what.table {
            Some(table) => output::one_line(&format!("{table} of {}", what.target)),
            None => output::one_line(&what.target),
        };
        let view = self.view;
        let note = view.note.as_ref();
        let note = note.map(|(note, well)| {
            let tone = if *well { Tone::Busy } else { Tone::Bad };
            Span::styled(format!("{}  ", note.replace('\n', " ")), self.style(tone))
        });
        let asked = match &view.entry {
            Entry::Filter => format!("/{}_", view.filter),
            Entry::Pause { what, lasts } => {
                format!("pause {} for: {lasts}_   Enter or Esc", named(what))
            }
            Entry::Run { what } => {
                format!("maintain {} now, whatever is due? y or Esc", named(what))
            }
            Entry::Resume { what } => format!("let {} go on? y or Esc", named(what)),
            Entry::Panes | Entry::Help => {
                let filter = match &*view.filter {
                    "" => String::new(),
                    filter => format!("with \"{filter}\"  "),
                };
                let sort = view.sort.title();
                format!("{filter}by {sort}  ? keys  / find  s sort  p pause  r run  q quit")
            }
        };
        note.into_iter().chain([Span::raw(asked)]).collect()
    }

    fn help(&self, area: Rect, buffer: &mut Buffer) {
        let widest = KEYS.iter().map(|(keys, _)| keys.len()).max().unwrap_or(0);
        let keys = KEYS.iter();
        let lines: Vec<_> = keys
            .map(|(keys, what)| Line::raw(format!("{keys:widest$}  {what}")))
            .collect();
        let width = lines.iter().map(Line::width).max().unwrap_or(0) + 2;
        let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
        let height = (KEYS.len() as u16 + 2).min(area.height);
        let area = Rect {
            width,
            height,
            ..area
        };
        Clear.render(area, buffer);
        let block = Block::bordered().title("keys");
        Paragraph::new(lines).block(block).render(area, buffer);
    }

    fn all_panes(&self, snapshot: &Snapshot, area: Rect, buffer: &mut Buffer) {
        let few = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, 6) + 2;
        let [targets, tables, middle, history] = Layout::vertical([
            Constraint::Length(few(snapshot.targets.len())),
            Constraint::Fill(1),
            Constraint::Length(few(snapshot.running.len().max(snapshot.queue.len()))),
            Constraint::Length(7),
        ])
        .areas(area);
        self.pane(Pane::Targets, snapshot, targets, buffer);
        self.pane(Pane::Tables, snapshot, tables, buffer);
        // Directories have no queue.
        if snapshot.queue.is_empty() && self.view.focus != Pane::Queue {
            self.pane(Pane::Running, snapshot, middle, buffer);
        } else {
            let halves = [Constraint::Fill(1), Constraint::Fill(1)];
            let [running, queue] = Layout::horizontal(halves).areas(middle);
            self.pane(Pane::Running, snapshot, running, buffer);
            self.pane(Pane::Queue, snapshot, queue, buffer);
        }
        self.pane(Pane::History, snapshot, history, buffer);
    }

    /// One pane: a title with how many there are, the columns' titles, and the rows around the selected one.
    fn pane(&self, pane: Pane, snapshot: &Snapshot, area: Rect, buffer: &mut Buffer) {
        let [title, header, body] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
        ])
        .areas(area);
        let rows = panes::rows(pane, snapshot, self.view, self.now);
        let focused = pane == self.view.focus;
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mark = if focused { "▶ " } else { "  " };
        let count = output::count(rows.len() as u64);
        Line::styled(format!("{mark}{} ({count})", pane.title()), bold).render(title, buffer);
        let columns = fitting(pane, area.width);
        let titles = columns.iter().map(|(column, _)| column.title.to_owned());
        let titles = line_of(&columns, &titles.collect::<Vec<_>>());
        let dim = Style::new().add_modifier(Modifier::UNDERLINED);
        Line::styled(titles, dim).render(header, buffer);

        let selected = self.view.selected(pane, rows.len());
        let height = usize::from(body.height);
        let first = (selected + 1).saturating_sub(height);
        let shown = rows.iter().enumerate().skip(first).take(height);
        for ((n, row), line) in shown.zip(body.rows()) {
            let mut style = self.style(row.tone);
            if focused && n == selected {
                style = style.add_modifier(Modifier::REVERSED);
            }
            buffer.set_style(line, style);
            let text = line_of(&columns, &cells(&columns, row));
            buffer.set_stringn(line.x, line.y, text, usize::from(line.width), style);
        }
    }
}

fn cells(columns: &[(Column, usize)], row: &Row) -> Vec<String> {
    let cells = columns.iter().map(|(_, at)| row.cells.get(*at).cloned());
    cells.map(Option::unwrap_or_default).collect()
}

/// One line of cells, each cut or padded to its column.
fn line_of(columns: &[(Column, usize)], cells: &[String]) -> String {
    let mut line = String::new();
    for ((column, _), cell) in columns.iter().zip(cells) {
        let wide = usize::from(column.width);
        let cell = cut(cell, wide);
        let pad = " ".repeat(wide.saturating_sub(Span::raw(&cell).width()));
        if column.right {
            line.push_str(&pad);
            line.push_str(&cell);
        } else {
            line.push_str(&cell);
            line.push_str(&pad);
        }
        line.push(' ');
    }
    line.trim_end().to_owned()
}

/// A text of at most `cells` cells; an ellipsis shows that it is cut off.
fn cut(text: &str, cells: usize) -> String {
    if Span::raw(text).width() <= cells {
        return text.to_owned();
    }
    let (mut kept, mut width) = (String::new(), 1);
    for c in text.chars() {
        width += Span::raw(c.to_string()).width();
        if width > cells {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

fn text_of(line: &Line<'_>) -> String {
    let text: String = line.spans.iter().map(|span| &*span.content).collect();
    text.trim_end().to_owned()
}
