//! Times of the week at which tables are maintained, and at which they are not.
//!
//! Windows are read on the clock on the wall of the machine's zone. When that clock is turned, a window is an hour
//! shorter or longer on that day, as a person would expect.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::Skip;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A stretch of time on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The days on which it begins: bit 0 is Monday, bit 6 is Sunday.
    pub days: u8,
    /// The minute of the day at which it begins, from 0.
    pub from: u16,
    /// The minute at which it has ended, up to 1440. When it is not after `from`, the window ends on the next day;
    /// when the two are the same, it is 24 hours long.
    pub to: u16,
}

impl Window {
    /// Every day of the week.
    pub const EVERY_DAY: u8 = 0b111_1111;

    /// Whether this moment is in it.
    pub fn contains(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        let (from, to) = (u32::from(self.from), u32::from(self.to.min(DAY)));
        let today = local.weekday().num_days_from_monday();
        let begins = |day: u32| self.days & (1 << (day % 7)) != 0;
        if from < to {
            begins(today) && (from..to).contains(&minute)
        } else {
            (begins(today) && minute >= from) || (begins(today + 6) && minute < to)
        }
    }
}

/// When a table may be maintained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Only in these; when there is none, always.
    pub allowed: Vec<Window>,
    /// Never in these, also where they overlap an allowed one.
    pub blackout: Vec<Window>,
}

impl Windows {
    /// What holds a table back at this moment; nothing when it may be maintained.
    pub fn skip(&self, local: NaiveDateTime) -> Option<Skip> {
        let within = |windows: &[Window]| windows.iter().any(|w| w.contains(local));
        if within(&self.blackout) {
            Some(Skip::Blackout)
        } else if self.allowed.is_empty() || within(&self.allowed) {
            None
        } else {
            Some(Skip::OutsideWindow)
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
