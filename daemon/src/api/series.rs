//! How a layout went: a coarse curve of bounded length, for a sparkline.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Points of a curve, at most.
const MOST: usize = 48;
/// Seconds between two points when there are few.
const FINEST: i64 = 5;
/// And when there are many: older ones go then.
const COARSEST: i64 = 3600;

/// How many fragments and bytes something has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Layout {
    /// Fragments.
    pub(crate) fragments: u64,
    /// Bytes of data files.
    pub(crate) bytes: u64,
}

/// A curve of layouts, oldest first. It has a point for each change, as far as they are not too close together: between
/// two points nothing moved, or it moved and came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Series {
    /// When, as seconds since 1970.
    pub(crate) at: Vec<i64>,
    /// How many fragments there were from then on.
    pub(crate) fragments: Vec<u64>,
    /// How many bytes.
    pub(crate) bytes: Vec<u64>,
    #[serde(skip)]
    #[schema(ignore)]
    step: i64,
}

impl Series {
    /// It is so from now on.
    pub(crate) fn note(&mut self, layout: Layout, now: DateTime<Utc>) {
        let now = now.timestamp();
        self.step = self.step.max(FINEST);
        if self.last() == Some(layout) {
            return;
        }
        // What came after another point too soon takes its place. The first stays: it is where all began.
        let soon = |at: &i64| now - at < self.step;
        if self.at.len() > 1 && self.at.last().is_some_and(soon) {
            self.pop();
        }
        self.at.push(now);
        self.fragments.push(layout.fragments);
        self.bytes.push(layout.bytes);
        while self.at.len() > MOST {
            self.thin();
        }
    }

    fn last(&self) -> Option<Layout> {
        Some(Layout {
            fragments: *self.fragments.last()?,
            bytes: *self.bytes.last()?,
        })
    }

    fn pop(&mut self) {
        self.at.pop();
        self.fragments.pop();
        self.bytes.pop();
    }

    /// Makes room: points are twice as far apart, or the oldest goes.
    fn thin(&mut self) {
        if self.step >= COARSEST {
            self.at.remove(0);
            self.fragments.remove(0);
            self.bytes.remove(0);
            return;
        }
        self.step *= 2;
        let old = std::mem::take(&mut self.at);
        let (fragments, bytes) = (
            std::mem::take(&mut self.fragments),
            std::mem::take(&mut self.bytes),
        );
        for (n, at) in old.iter().enumerate() {
            // The last one of a step stands for it.
            let next = old.get(n + 1);
            if n == 0 || next.is_none_or(|next| next - at >= self.step) {
                self.at.push(*at);
                self.fragments.push(fragments[n]);
                self.bytes.push(bytes[n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    fn layout(fragments: u64) -> Layout {
        Layout {
            fragments,
            bytes: fragments * 10,
        }
    }

    #[test]
    fn a_curve_has_a_point_for_each_change_and_no_other() {
        let mut series = Series::default();
        for (seconds, fragments) in [(0, 3), (10, 3), (20, 4), (100, 1), (101, 2)] {
            series.note(layout(fragments), at(seconds));
        }
        assert_eq!(series.at, [0, 20, 101], "a second is too short for a point");
        assert_eq!(series.fragments, [3, 4, 2]);
        assert_eq!(series.bytes, [30, 40, 20]);
    }

    #[test]
    fn a_curve_is_bounded_reaches_far_back_and_ends_with_what_is() {
        let mut series = Series::default();
        for n in 0..100_000 {
            series.note(layout(n % 97), at(i64::try_from(n).unwrap_or(0) * 7));
            assert!(series.at.len() <= MOST);
        }
        assert!(series.at.is_sorted());
        assert_eq!(series.last(), Some(layout(99_999 % 97)));
        let span = series.at.last().unwrap() - series.at[0];
        assert!(span > 12 * 3600, "{span} s");
    }
}
