//! What keys do: a key comes in, an action comes out. Pure.

use chrono::{DateTime, Utc};

use super::{
    panes,
    snapshot::Snapshot,
    view::{Act, Entry, Key, Pane, Subject, View},
};

/// Rows of a page, for the keys that move by pages.
const PAGE: isize = 20;
/// How long a pause lasts unless the user types something else.
const USUAL_PAUSE: &str = "1h";
/// Maximum number of characters that can be typed.
const LONGEST: usize = 80;

impl View {
    /// A key was pressed.
    pub(super) fn press(
        &mut self,
        key: Key,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Option<Act> {
        if key == Key::Interrupt {
            return Some(Act::Quit);
        }
        match std::mem::take(&mut self.entry) {
            Entry::Panes => self.in_panes(key, snapshot, now),
            Entry::Help => None,
            Entry::Filter => {
                self.in_filter(key);
                None
            }
            Entry::Pause { what, lasts } => self.in_pause(key, what, lasts),
            Entry::Run { what } => is_yes(key).then_some(Act::Run { what }),
            Entry::Resume { what } => is_yes(key).then_some(Act::Resume { what }),
        }
    }

    fn in_panes(&mut self, key: Key, snapshot: &Snapshot, now: DateTime<Utc>) -> Option<Act> {
        self.note = None;
        let rows = || panes::rows(self.focus, snapshot, self, now);
        match key {
            Key::Char('q') => return Some(Act::Quit),
            Key::Char('?' | 'h') => self.entry = Entry::Help,
            Key::Char('/') => self.entry = Entry::Filter,
            Key::Escape => self.filter.clear(),
            Key::Char('s') => {
                self.sort = self.sort.next();
                self.focus = Pane::Tables;
                self.selected[Pane::Tables as usize] = 0;
            }
            Key::Tab => self.focus = self.focus.beside(1),
            Key::BackTab => self.focus = self.focus.beside(Pane::ALL.len() - 1),
            Key::Char(digit @ '1'..='5') => {
                let at = digit as usize - '1' as usize;
                self.focus = Pane::ALL[at];
            }
            Key::Char('k') | Key::Up => self.go(rows().len(), -1),
            Key::Char('j') | Key::Down => self.go(rows().len(), 1),
            Key::PageUp => self.go(rows().len(), -PAGE),
            Key::PageDown => self.go(rows().len(), PAGE),
            Key::Char('g') | Key::Home => self.go(rows().len(), isize::MIN),
            Key::Char('G') | Key::End => self.go(rows().len(), isize::MAX),
            Key::Char('p') => {
                if let Some(what) = self.subject(snapshot, now) {
                    self.entry = pause_or_resume(what, snapshot);
                }
            }
            Key::Char('r') => {
                if let Some(what) = self.subject(snapshot, now) {
                    self.entry = Entry::Run { what };
                }
            }
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        None
    }

    fn go(&mut self, rows: usize, by: isize) {
        let last = rows.saturating_sub(1);
        let at = self.selected(self.focus, rows).saturating_add_signed(by);
        self.selected[self.focus as usize] = at.min(last);
    }

    /// What the selected row is about.
    fn subject(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Option<Subject> {
        let rows = panes::rows(self.focus, snapshot, self, now);
        let at = self.selected(self.focus, rows.len());
        rows.into_iter().nth(at).map(|row| row.subject)
    }

    fn in_filter(&mut self, key: Key) {
        match key {
            Key::Enter => return,
            Key::Escape => return self.filter.clear(),
            key => typed(&mut self.filter, key),
        }
        self.selected = [0; Pane::ALL.len()];
        self.entry = Entry::Filter;
    }

    fn in_pause(&mut self, key: Key, what: Subject, mut lasts: String) -> Option<Act> {
        match key {
            Key::Escape => return None,
            Key::Enter => match humantime::parse_duration(&lasts) {
                Ok(lasts) => return Some(Act::Pause { what, lasts }),
                Err(_) => {
                    let note = format!("{lasts:?} is no time: write 30m, 2h or 1day");
                    self.note = Some((note, false));
                }
            },
            key => typed(&mut lasts, key),
        }
        self.entry = Entry::Pause { what, lasts };
        None
    }
}

fn pause_or_resume(what: Subject, snapshot: &Snapshot) -> Entry {
    let table = what.table.as_deref();
    if snapshot.is_paused(&what.target, table) {
        return Entry::Resume { what };
    }
    let lasts = USUAL_PAUSE.to_owned();
    Entry::Pause { what, lasts }
}

fn is_yes(key: Key) -> bool {
    matches!(key, Key::Char('y' | 'Y') | Key::Enter)
}

fn typed(text: &mut String, key: Key) {
    match key {
        Key::Char(c) if text.chars().count() < LONGEST => text.push(c),
        Key::Backspace => drop(text.pop()),
        _ => {}
    }
}
