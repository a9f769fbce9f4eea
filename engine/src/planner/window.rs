//! Times of the week at which tables are maintained, and at which they are not.
//!
//! Windows are read on the clock on the wall of the machine's zone. When that clock is turned, a window is an hour
//! shorter or longer on that day.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::decision::Skip;

/// Minutes of a day.
const DAY: u32 = 24 * 60;

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
        self.contains_minute(minute_of_week(local))
    }

    /// Whether a minute of the week is in it, counted from the beginning of Monday.
    fn contains_minute(&self, minute: u32) -> bool {
        let (today, of_day) = (minute / DAY, minute % DAY);
        let (from, to) = (u32::from(self.from), u32::from(self.to).min(DAY));
        let begins = |day: u32| self.days & (1 << (day % 7)) != 0;
        if from < to {
            begins(today) && (from..to).contains(&of_day)
        } else {
            (begins(today) && of_day >= from) || (begins(today + 6) && of_day < to)
        }
    }
}

fn minute_of_week(local: NaiveDateTime) -> u32 {
    let day = local.weekday().num_days_from_monday();
    day * DAY + local.hour() * 60 + local.minute()
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
        self.skip_minute(minute_of_week(local))
    }

    /// Whether there is a minute of the week at which a table may be maintained.
    pub fn leave_time(&self) -> bool {
        (0..7 * DAY).any(|minute| self.skip_minute(minute).is_none())
    }

    fn skip_minute(&self, minute: u32) -> Option<Skip> {
        let within = |windows: &[Window]| windows.iter().any(|w| w.contains_minute(minute));
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
