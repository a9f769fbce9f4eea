//! What a person has made of the screen: where he is, what he looks for, what he is about to do. Keys come in, what is to
//! be done comes out; nothing is read and nothing is drawn here.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    panes::{self, Subject},
    told::Told,
};

/// A page of rows, for the keys that go by pages.
const PAGE: isize = 20;
/// A pause that is asked for lasts so long unless something else is typed.
const USUAL_PAUSE: &str = "1h";
/// Most characters of what is typed.
const LONGEST: usize = 80;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Targets,
    Tables,
    Running,
    Queue,
    History,
}

impl Pane {
    pub(super) const ALL: [Self; 5] = [
        Self::Targets,
        Self::Tables,
        Self::Running,
        Self::Queue,
        Self::History,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Tables => "tables",
            Self::Running => "running",
            Self::Queue => "queue",
            Self::History => "history",
        }
    }

    fn beside(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// What tables are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Health,
    Name,
    Fragments,
    Small,
    Size,
    Deleted,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::Health,
        Self::Name,
        Self::Fragments,
        Self::Small,
        Self::Size,
        Self::Deleted,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Name => "name",
            Self::Fragments => "fragments",
            Self::Small => "small fragments",
            Self::Size => "size",
            Self::Deleted => "deleted rows",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// A key, as far as any means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    Pause { what: Subject, lasts: Duration },
    Resume { what: Subject },
    Run { what: Subject },
}

/// What keys go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Entry {
    /// The panes.
    #[default]
    Panes,
    Help,
    /// What is looked for is being typed.
    Filter,
    /// How long it shall be left alone is being typed.
    Pause {
        what: Subject,
        lasts: String,
    },
    /// A yes is waited for.
    Run {
        what: Subject,
    },
    /// A yes is waited for: by now another row may be where the one was that is meant.
    Resume {
        what: Subject,
    },
}

/// The screen.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) focus: Pane,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) entry: Entry,
    /// What became of the last that was done, and whether it went well.
    pub(super) note: Option<(String, bool)>,
    selected: [usize; Pane::ALL.len()],
}

impl Default for View {
    fn default() -> Self {
        Self {
            focus: Pane::Tables,
            sort: Sort::Health,
            filter: String::new(),
            entry: Entry::default(),
            note: None,
            selected: [0; Pane::ALL.len()],
        }
    }
}

impl View {
    /// The row that is selected in a pane of so many.
    pub(super) fn selected(&self, pane: Pane, rows: usize) -> usize {
        self.selected[pane as usize].min(rows.saturating_sub(1))
    }

    /// Whether a row with these cells is looked for: it has each of the words somewhere.
    pub(super) fn wants(&self, cells: &[String]) -> bool {
        let filter = self.filter.to_lowercase();
        let mut words = filter.split_whitespace();
        words.all(|word| cells.iter().any(|cell| cell.to_lowercase().contains(word)))
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key, told: &Told, now: DateTime<Utc>) -> Option<Act> {
        if key == Key::Interrupt {
            return Some(Act::Quit);
        }
        match std::mem::take(&mut self.entry) {
            Entry::Panes => self.in_panes(key, told, now),
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

    fn in_panes(&mut self, key: Key, told: &Told, now: DateTime<Utc>) -> Option<Act> {
        self.note = None;
        let rows = || panes::rows(self.focus, told, self, now);
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
                if let Some(what) = self.subject(told, now) {
                    self.entry = pause_or_resume(what, told);
                }
            }
            Key::Char('r') => {
                if let Some(what) = self.subject(told, now) {
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
    fn subject(&self, told: &Told, now: DateTime<Utc>) -> Option<Subject> {
        let rows = panes::rows(self.focus, told, self, now);
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

fn pause_or_resume(what: Subject, told: &Told) -> Entry {
    let table = what.table.as_ref().map(super::told::Text::raw);
    if told.is_paused(what.target.raw(), table) {
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
