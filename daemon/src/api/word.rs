//! A word of a closed list, as an answer has it.

use std::fmt;

use serde::{Deserialize, Serialize};
use squire_engine::planner::Duty;

/// A word of the list `T`, or one that only a daemon of another version knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Word<T> {
    /// A word that this version knows.
    Known(T),
    /// Any other word, as it was received; empty where there was none.
    Other(String),
}

/// A closed list of words, each with one spelling in JSON, logs and metrics.
pub(crate) trait Spelled: Copy {
    /// How it is spelled.
    fn spelled(self) -> &'static str;
}

impl<T: Spelled> Word<T> {
    /// How it is spelled; not safe for a terminal where it is not known.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => word.spelled(),
            Self::Other(text) => text,
        }
    }

    /// The word, where this version knows it.
    pub(crate) fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Other(_) => None,
        }
    }
}

impl<T> Default for Word<T> {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: Spelled> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Spelled for Duty {
    fn spelled(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Health, JobOutcome, Status};

    #[test]
    fn a_word_is_spelled_in_json_as_in_logs_and_one_that_is_not_known_is_kept() {
        fn check<T>(words: &[T])
        where
            T: Spelled + PartialEq + fmt::Debug + Serialize + for<'de> Deserialize<'de>,
        {
            for word in words {
                let json = serde_json::to_value(Word::from(*word)).expect("it is a text");
                assert_eq!(json, word.spelled());
                let read: Word<T> = serde_json::from_value(json).expect("it is a word");
                assert_eq!(read.known(), Some(*word));
            }
            let other: Word<T> = serde_json::from_str("\"asleep\"").expect("it is a text");
            assert_eq!((other.as_str(), other.known()), ("asleep", None));
        }
        check(&Duty::ALL);
        check(&Health::ALL);
        check(&Status::ALL);
        check(&JobOutcome::ALL);
    }
}
