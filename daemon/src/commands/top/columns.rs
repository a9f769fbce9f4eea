//! The columns of each pane, and which of them there is room for. Pure.

use super::view::Pane;

/// Between two columns.
const GAP: u16 = 1;

/// A column of a pane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Cells that it needs.
    pub(super) width: u16,
    pub(super) right: bool,
    /// Columns of a higher number go first when there is too little room.
    pub(super) goes: u8,
}

fn column(title: &'static str, width: u16, goes: u8) -> Column {
    Column {
        title,
        width,
        right: false,
        goes,
    }
}

fn number(title: &'static str, width: u16, goes: u8) -> Column {
    Column {
        title,
        width,
        right: true,
        goes,
    }
}

/// The columns of a pane. The last one takes the room that is left.
fn columns(pane: Pane) -> Vec<Column> {
    match pane {
        Pane::Targets => vec![
            column("target", 14, 0),
            column("kind", 9, 4),
            number("tables", 7, 1),
            number("fragments", 10, 2),
            number("size", 10, 3),
            number("jobs", 5, 3),
            number("due", 5, 3),
            number("queue", 6, 4),
            column("trend", 16, 6),
            number("looked", 8, 5),
            column("next schedule", 26, 7),
            column("tables are", 24, 0),
        ],
        Pane::Tables => vec![
            column("is", 8, 0),
            column("target", 14, 1),
            column("table", 24, 0),
            number("rows", 13, 3),
            number("fragments", 10, 2),
            number("small", 6, 4),
            number("size", 10, 2),
            number("deleted", 8, 5),
            number("unindexed", 10, 5),
            number("versions", 9, 6),
            column("trend", 12, 7),
            column("now", 11, 3),
            column("because", 20, 1),
        ],
        Pane::Running => vec![
            column("target", 14, 2),
            column("table", 24, 0),
            column("duty", 11, 0),
            column("at", 11, 3),
            column("progress", 20, 1),
            number("for", 8, 1),
            column("because", 16, 4),
        ],
        Pane::Queue => vec![
            column("target", 14, 3),
            column("operation", 9, 1),
            column("does", 12, 0),
            column("is", 12, 0),
            number("for", 8, 1),
            column("by", 20, 4),
            column("waits for", 18, 2),
            column("writes", 20, 2),
        ],
        Pane::History => vec![
            number("ago", 8, 1),
            column("target", 14, 3),
            column("table", 24, 0),
            column("duty", 11, 0),
            column("ended", 10, 0),
            number("took", 8, 2),
            column("fragments", 17, 2),
            column("size", 24, 4),
            column("because", 20, 5),
        ],
    }
}

/// The columns for which there is room, with where each stands among the pane's. What is left is the last one's.
pub(super) fn fitting(pane: Pane, width: u16) -> Vec<(Column, usize)> {
    let all = columns(pane).into_iter().zip(0..);
    let mut kept: Vec<(Column, usize)> = all.collect();
    let room = |kept: &[(Column, usize)]| kept.iter().map(|(c, _)| c.width + GAP).sum::<u16>();
    while room(&kept) > width + GAP && kept.len() > 1 {
        let most = kept.iter().map(|(column, _)| column.goes).max();
        let Some(at) = kept
            .iter()
            .rposition(|(column, _)| Some(column.goes) == most)
        else {
            break;
        };
        kept.remove(at);
    }
    let left = (width + GAP).saturating_sub(room(&kept));
    if let Some((last, _)) = kept.last_mut() {
        last.width += left;
    }
    kept
}
