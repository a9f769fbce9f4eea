//! What prevents a poll of a target or a table, and when that is logged.

use std::{fmt, time::Duration};

use squire_engine::{Error, ErrorKind};

use crate::exit::Failure;

/// A fault that goes on is logged again after this, and then at twice the time, up to the longest.
const FIRST_REPEAT: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Why something could not be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// With this error.
    Failed(Failure),
    /// It has not answered for this long.
    NoAnswer(Duration),
    /// The read panicked.
    Panicked,
    /// A target had this many tables, and has none at all now.
    Vanished(usize),
}

impl Trouble {
    /// Two of a kind may differ in words.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Failed(Failure::Engine(e)) => Kind::Engine(e.kind()),
            Self::Failed(other) => Kind::Other(other.to_string()),
            Self::NoAnswer(_) => Kind::NoAnswer,
            Self::Panicked => Kind::Panicked,
            Self::Vanished(_) => Kind::Vanished,
        }
    }
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Failed(e.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::NoAnswer(patience) => {
                let patience = humantime::format_duration(*patience);
                write!(
                    f,
                    "the store has not answered for {patience}: see whether it can be reached, and whether the volume is mounted"
                )
            }
            Self::Panicked => {
                f.write_str("the read panicked; please report it with the lines above")
            }
            Self::Vanished(1) => f.write_str(
                "its only table is gone: is the volume mounted? Nothing is done until a table is there",
            ),
            Self::Vanished(tables) => write!(
                f,
                "its {tables} tables are gone, all at once: is the volume mounted? Nothing is done until a table is there"
            ),
        }
    }
}

/// What kind of trouble it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Engine(ErrorKind),
    Other(String),
    NoAnswer,
    Panicked,
    Vanished,
}

/// Maximum number of kinds of one trouble that are logged each.
const MAX_KINDS: usize = 8;

/// A trouble that may go on: logged when it is of a new kind, and then at growing intervals. One that changes from kind to kind
/// and back is one trouble.
#[derive(Debug, Default)]
pub(super) struct Repeated(Option<Ongoing>);

#[derive(Debug)]
struct Ongoing {
    /// Its kinds so far, each as it was logged first.
    kinds: Vec<(Kind, String)>,
    /// Which of them it was last.
    last: usize,
    since: Duration,
    times: u64,
    again: Duration,
    pause: Duration,
}

/// What is to be logged of a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It is new.
    New,
    /// It goes on: how often it was met, and for how long.
    GoesOn(u64, Duration),
    /// Nothing: it was logged a while ago.
    Nothing,
}

impl Repeated {
    /// It was met, at this time of a monotonic clock.
    pub(super) fn met(&mut self, trouble: &Trouble, now: Duration) -> Report {
        let kind = trouble.kind();
        let Some(ongoing) = &mut self.0 else {
            self.0 = Some(Ongoing {
                kinds: vec![(kind, trouble.to_string())],
                last: 0,
                since: now,
                times: 1,
                again: now + FIRST_REPEAT,
                pause: FIRST_REPEAT,
            });
            return Report::New;
        };
        ongoing.times += 1;
        let known = ongoing.kinds.iter().position(|(known, _)| *known == kind);
        if known.is_none() && ongoing.kinds.len() < MAX_KINDS {
            ongoing.last = ongoing.kinds.len();
            ongoing.kinds.push((kind, trouble.to_string()));
            return Report::New;
        }
        ongoing.last = known.unwrap_or(ongoing.last);
        if now < ongoing.again {
            return Report::Nothing;
        }
        ongoing.pause = (ongoing.pause * 2).min(LONGEST);
        ongoing.again = now + ongoing.pause;
        Report::GoesOn(ongoing.times, now.saturating_sub(ongoing.since))
    }

    /// It is over; says whether there was one.
    pub(super) fn over(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// What it is, in the words that were logged first: they stay the same while it goes on.
    pub(super) fn text(&self) -> Option<&str> {
        let ongoing = self.0.as_ref()?;
        ongoing.kinds.get(ongoing.last).map(|(_, text)| &**text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> Trouble {
        let (uri, reason) = ("s3://lake".to_owned(), text.to_owned());
        Error::BadUri { uri, reason }.into()
    }

    #[test]
    fn a_fault_that_goes_on_is_logged_at_growing_intervals_whatever_its_words() {
        let mut repeated = Repeated::default();
        let mut logged = Vec::new();
        for second in 0..24 * 3600 {
            let trouble = store(&format!("at {second}"));
            if repeated.met(&trouble, Duration::from_secs(second)) != Report::Nothing {
                logged.push(second);
            }
        }
        assert_eq!(
            logged,
            [0, 600, 1_800, 4_200, 9_000, 18_600, 37_800, 59_400, 81_000]
        );
        assert!(repeated.text().is_some_and(|text| text.contains("at 0")));
    }

    #[test]
    fn a_fault_that_goes_from_kind_to_kind_and_back_is_logged_as_one_that_goes_on() {
        let mut repeated = Repeated::default();
        let mut logged = Vec::new();
        for second in 0..3600 {
            let trouble = match second % 2 {
                0 => store("x"),
                _ => Trouble::Vanished(3),
            };
            if repeated.met(&trouble, Duration::from_secs(second)) != Report::Nothing {
                logged.push(second);
            }
            assert_eq!(repeated.text(), Some(&*trouble.to_string()));
        }
        assert_eq!(logged, [0, 1, 600, 1_800]);
    }

    #[test]
    fn another_kind_of_fault_and_one_that_comes_again_are_told_at_once() {
        let mut repeated = Repeated::default();
        let now = Duration::ZERO;
        assert_eq!(repeated.met(&store("x"), now), Report::New);
        assert_eq!(repeated.met(&store("y"), now), Report::Nothing);
        assert_eq!(repeated.met(&Trouble::Vanished(3), now), Report::New);
        assert_eq!(repeated.met(&Trouble::Vanished(2), now), Report::Nothing);
        assert!(repeated.over());
        assert!(!repeated.over());
        assert_eq!(repeated.met(&Trouble::Vanished(2), now), Report::New);
    }
}
