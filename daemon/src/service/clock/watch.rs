//! The judgement of the wall clock: a pure function of what the clocks say, one time after the other.

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::output;

/// The clocks part by more than this: the wall clock has jumped.
pub(super) const JUMP: TimeDelta = TimeDelta::minutes(1);
/// How long the wall clock must be steady before anything is removed.
pub(super) const HOLD: Duration = Duration::from_secs(3600);
/// The clocks are compared with what they said so long ago at most, so that what they part by slowly does not add up.
const COMPARED_OVER: Duration = Duration::from_secs(3600);

/// What the clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) wall: DateTime<Utc>,
    /// Since the machine was started, with suspensions.
    pub(super) boot: Duration,
}

/// What is known of the wall clock.
#[derive(Debug)]
pub(super) struct Watch {
    /// What both are compared with.
    anchor: Reading,
    built: DateTime<Utc>,
    hold: Duration,
    jumps: u64,
    last: Option<Jumped>,
    /// Targets whose stores have agreed with the wall clock since it jumped.
    agreed: BTreeSet<String>,
    steady_until: CancellationToken,
}

/// A jump, or several, after which the clock was not trusted again yet.
#[derive(Clone, Copy, Debug)]
struct Jumped {
    /// When the last of them was seen.
    at: Reading,
    /// The last of them.
    by: TimeDelta,
    /// All of them.
    ahead: TimeDelta,
}

/// Why nothing may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) enum Distrust {
    /// The clock jumped, and is trusted again then, by its own time.
    Jumped { by: TimeDelta, until: DateTime<Utc> },
    /// The clock says a time before this program was built.
    BeforeBuild { built: DateTime<Utc> },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Self::Jumped { by, until } => {
                let direction = if *by < TimeDelta::zero() {
                    "back"
                } else {
                    "forward"
                };
                let how_far = output::duration(by.abs().to_std().unwrap_or_default());
                write!(
                    f,
                    "the clock of this machine jumped {direction} by {how_far}: nothing is removed until it has been steady for a while, at {}",
                    time(until)
                )
            }
            Self::BeforeBuild { built } => write!(
                f,
                "the clock of this machine is behind {}, when Squire was built: nothing is removed until it is set",
                time(built)
            ),
        }
    }
}

impl Watch {
    pub(super) fn new(now: Reading, built: DateTime<Utc>) -> Self {
        Self {
            anchor: now,
            built,
            hold: HOLD,
            jumps: 0,
            last: None,
            agreed: BTreeSet::new(),
            steady_until: CancellationToken::new(),
        }
    }

    /// Takes in what the clocks say; how far the wall clock has jumped, if it has.
    pub(super) fn look(&mut self, now: Reading) -> Option<TimeDelta> {
        let passed = now.boot.saturating_sub(self.anchor.boot);
        let by = now.wall - self.anchor.wall - delta(passed);
        if by.abs() <= JUMP {
            if passed >= COMPARED_OVER {
                self.anchor = now;
            }
            return None;
        }
        let before = self.holding(now).map_or(TimeDelta::zero(), |j| j.ahead);
        self.last = Some(Jumped {
            at: now,
            by,
            ahead: before + by,
        });
        self.anchor = now;
        self.jumps += 1;
        self.agreed.clear();
        std::mem::take(&mut self.steady_until).cancel();
        Some(by)
    }

    /// How often it has jumped.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Cancelled when it jumps next.
    pub(super) fn steady_until(&self) -> CancellationToken {
        self.steady_until.clone()
    }

    /// When it is trusted again, by its own time, if nothing happens to it.
    pub(super) fn until(&self, now: Reading) -> DateTime<Utc> {
        let since = self.last.map(|jumped| jumped.at.wall + delta(self.hold));
        since.unwrap_or(now.wall).trunc_subsecs(0)
    }

    /// Whether it is trusted, whatever stores say.
    pub(super) fn is_steady(&self, now: Reading) -> bool {
        self.holding(now).is_none() && now.wall >= self.built
    }

    /// Why nothing may be removed from a target.
    pub(super) fn distrust(&self, target: &str, now: Reading) -> Option<Distrust> {
        if now.wall < self.built {
            return Some(Distrust::BeforeBuild { built: self.built });
        }
        let jumped = self.holding(now)?;
        (!self.agreed.contains(target)).then(|| Distrust::Jumped {
            by: jumped.by,
            until: self.until(now),
        })
    }

    /// Takes in what a target's store says that has a clock of its own; whether that lets things be removed from it.
    pub(super) fn compare(&mut self, target: &str, store: DateTime<Utc>, now: Reading) -> bool {
        let agrees = (store - now.wall).abs() <= JUMP;
        agrees && self.holding(now).is_some() && self.agreed.insert(target.to_owned())
    }

    /// The wall clock's time, without jumps forward after which it is not trusted yet.
    pub(super) fn not_ahead(&self, now: Reading) -> DateTime<Utc> {
        let ahead = self.holding(now).map_or(TimeDelta::zero(), |j| j.ahead);
        now.wall - ahead.max(TimeDelta::zero())
    }

    /// Tests do not wait for an hour.
    #[cfg(feature = "failpoints")]
    pub(super) fn hold_for(&mut self, hold: Duration) {
        self.hold = hold;
    }

    fn holding(&self, now: Reading) -> Option<Jumped> {
        let holds = |jumped: &Jumped| now.boot < jumped.at.boot + self.hold;
        self.last.filter(holds)
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;
    const DAY: i64 = 86_400;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("there is such a time")
    }

    /// `seconds` after the start, by a wall clock that is `ahead` seconds ahead.
    fn at(seconds: u64, ahead: i64) -> Reading {
        Reading {
            wall: start() + delta(Duration::from_secs(seconds)) + TimeDelta::seconds(ahead),
            boot: Duration::from_secs(1000 + seconds),
        }
    }

    fn watch() -> Watch {
        Watch::new(at(0, 0), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn after_a_jump_nothing_is_removed_until_the_clock_was_steady_for_an_hour() {
        for ahead in [30 * DAY, -30 * DAY, 61, -61] {
            let mut watch = watch();
            assert_eq!(watch.look(at(10, 0)), None);
            assert!(watch.is_steady(at(10, 0)));
            assert_eq!(watch.look(at(11, ahead)), Some(TimeDelta::seconds(ahead)));
            assert_eq!(watch.look(at(12, ahead)), None, "once");
            let distrust = watch.distrust("lake", at(12, ahead));
            let until = at(11 + HOUR, ahead).wall;
            let by = TimeDelta::seconds(ahead);
            assert_eq!(distrust, Some(Distrust::Jumped { by, until }));
            assert!(!watch.is_steady(at(10 + HOUR, ahead)));
            assert!(watch.is_steady(at(11 + HOUR, ahead)));
            assert_eq!(watch.distrust("lake", at(11 + HOUR, ahead)), None);
            assert_eq!(watch.jumps(), 1);
        }
    }

    #[test]
    fn a_jump_that_is_taken_back_is_another_and_the_hour_begins_anew() {
        let mut watch = watch();
        watch.look(at(1, 30 * DAY));
        assert!(watch.look(at(HOUR - 1, 0)).is_some());
        assert_eq!(watch.jumps(), 2);
        assert!(!watch.is_steady(at(2 * HOUR - 2, 0)));
        assert!(watch.is_steady(at(2 * HOUR - 1, 0)));
    }

    #[test]
    fn a_clock_that_is_slewed_has_not_jumped_however_long_that_takes() {
        let mut watch = watch();
        // Half a millisecond a second, for ten days.
        for minute in 1..10 * 24 * 60 {
            let seconds = minute * MINUTE;
            let slewed = i64::try_from(seconds / 2000).unwrap_or(0);
            assert_eq!(watch.look(at(seconds, slewed)), None, "{minute}");
        }
        assert!(watch.is_steady(at(0, 0)));
    }

    #[test]
    fn small_steps_that_come_to_more_than_a_minute_within_an_hour_are_a_jump() {
        let mut watch = watch();
        assert_eq!(watch.look(at(10, 40)), None);
        assert_eq!(watch.look(at(20, 80)), Some(TimeDelta::seconds(80)));
    }

    #[test]
    fn a_machine_that_was_suspended_for_a_week_has_a_steady_clock() {
        let mut watch = watch();
        assert_eq!(watch.look(at(7 * 24 * HOUR, 0)), None);
        assert!(watch.is_steady(at(7 * 24 * HOUR, 0)));
    }

    #[test]
    fn what_removes_is_stopped_by_the_next_jump() {
        let mut watch = watch();
        let removal = watch.steady_until();
        watch.look(at(1, 0));
        assert!(!removal.is_cancelled());
        watch.look(at(2, 30 * DAY));
        assert!(removal.is_cancelled());
        assert!(!watch.steady_until().is_cancelled());
    }

    #[test]
    fn a_clock_that_is_behind_the_build_removes_nothing_whatever_a_store_says() {
        let mut watch = Watch::new(at(0, 0), start() + TimeDelta::seconds(5));
        let built = start() + TimeDelta::seconds(5);
        let distrust = Distrust::BeforeBuild { built };
        watch.compare("lake", at(1, 0).wall, at(1, 0));
        assert_eq!(watch.distrust("lake", at(1, 0)), Some(distrust));
        assert!(!watch.is_steady(at(1, 0)));
        assert!(watch.is_steady(at(5, 0)));
    }

    #[test]
    fn the_store_of_a_target_that_agrees_lets_it_be_cleaned_up_and_no_other() {
        let mut watch = watch();
        assert!(
            !watch.compare("lake", at(0, 0).wall, at(0, 0)),
            "nothing is held"
        );
        watch.look(at(1, 30 * DAY));
        assert!(!watch.compare("lake", at(2, 0).wall, at(2, 30 * DAY)));
        assert!(watch.distrust("lake", at(2, 30 * DAY)).is_some());
        // The clock was wrong before, and is right now.
        assert!(watch.compare("lake", at(3, 30 * DAY).wall, at(3, 30 * DAY + 59)));
        assert!(
            !watch.compare("lake", at(4, 30 * DAY).wall, at(4, 30 * DAY)),
            "logged once"
        );
        assert_eq!(watch.distrust("lake", at(4, 30 * DAY)), None);
        assert!(watch.distrust("other", at(4, 30 * DAY)).is_some());
        watch.look(at(5, 0));
        assert!(
            watch.distrust("lake", at(5, 0)).is_some(),
            "it jumped again"
        );
    }

    #[test]
    fn pauses_outlast_a_jump_forward_that_is_taken_back() {
        let mut watch = watch();
        assert_eq!(watch.not_ahead(at(5, 0)), at(5, 0).wall);
        watch.look(at(10, 30 * DAY));
        assert_eq!(watch.not_ahead(at(20, 30 * DAY)), at(20, 0).wall);
        watch.look(at(30, 0));
        assert_eq!(watch.not_ahead(at(40, 0)), at(40, 0).wall);
        // One that stays is believed in the end.
        watch.look(at(50, 30 * DAY));
        let later = at(50 + HOUR, 30 * DAY);
        assert_eq!(watch.not_ahead(later), later.wall);
    }

    #[test]
    fn after_a_jump_back_pauses_end_by_the_clock_that_it_is_then() {
        let mut watch = watch();
        watch.look(at(10, -DAY));
        assert_eq!(watch.not_ahead(at(20, -DAY)), at(20, -DAY).wall);
    }
}
