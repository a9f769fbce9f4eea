//! The kinds of maintenance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares [`Duty`] with all that goes over its variants, so that none can be left out.
macro_rules! duties {
    ($($(#[$doc:meta])* $name:ident => $word:literal,)*) => {
        /// What is done for a table. No two at once on one table.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Duty {
            $($(#[$doc])* $name,)*
        }

        impl Duty {
            /// All of them, in the order in which they are done where nothing else decides.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$name),*];

            /// The duty as config, logs, metrics and the status spell it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

duties! {
    /// Fragments are rewritten.
    Compaction => "compaction",
    /// Indexes are brought up to date.
    Index => "index",
    /// Versions are removed.
    Cleanup => "cleanup",
}

impl Duty {
    /// Whether it rewrites something, and then holds the table to commit it.
    pub const fn rewrites(self) -> bool {
        match self {
            Self::Compaction | Self::Index => true,
            Self::Cleanup => false,
        }
    }

    /// Whether it deletes by age, so that a wrong clock is a danger.
    pub const fn deletes_by_age(self) -> bool {
        match self {
            Self::Cleanup => true,
            Self::Compaction | Self::Index => false,
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
