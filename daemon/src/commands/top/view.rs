//! The user's view: which pane has the focus, the filter, the selected rows, an open dialog. Nothing is read and nothing is
//! drawn here.

use std::time::Duration;

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

    pub(super) fn beside(self, by: usize) -> Self {
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

    pub(super) fn next(self) -> Self {
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

/// What a row is about, as the daemon names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) target: String,
    pub(super) table: Option<String>,
}

/// An action of the user.
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
    pub(super) selected: [usize; Pane::ALL.len()],
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
    /// The row that is selected in a pane of this many rows.
    pub(super) fn selected(&self, pane: Pane, rows: usize) -> usize {
        self.selected[pane as usize].min(rows.saturating_sub(1))
    }

    /// Whether a row with these cells is looked for: it has each of the words somewhere.
    pub(super) fn wants(&self, cells: &[String]) -> bool {
        let filter = self.filter.to_lowercase();
        let mut words = filter.split_whitespace();
        words.all(|word| cells.iter().any(|cell| cell.to_lowercase().contains(word)))
    }
}
