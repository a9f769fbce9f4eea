//! The oldest client of a table: what Squire writes is never newer than that reads.
//!
//! A client is known by the Lance that it has inside. Of a version of `lancedb` that is the newest one that this version or
//! an older one is known to have: wrong, if it is, on the safe side.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A release of Lance, as far as it says what is read.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LanceVersion {
    /// Its first number.
    pub major: u32,
    /// Its second number.
    pub minor: u32,
}

impl LanceVersion {
    /// From its numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads the numbers of a version as `14.0.2`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.').map(|part| part.parse().ok());
        let (major, minor) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
        Some(Self { major, minor })
    }
}

impl fmt::Display for LanceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The client that is assumed where nothing tells which there are: `lancedb` 0.25.
pub const UNKNOWN_CLIENT: LanceVersion = LanceVersion::new(0, 38);
/// From here on, all segments of a scalar or full-text index are read, merged and kept. Older clients open the first
/// segment of a full-text index alone, and merge the segments of others as if there were one.
pub const READS_SEGMENTS: LanceVersion = LanceVersion::new(8, 0);
/// From here on, a client's own `optimize()` merges any segments of a vector index. Older ones panic on some.
pub const MERGES_VECTOR_SEGMENTS: LanceVersion = LanceVersion::new(1, 0);
/// From here on, a vector index by product quantization is read whose codebook is where Lance puts it today.
pub const READS_CODEBOOK_BUFFER: LanceVersion = LanceVersion::new(0, 39);
/// From here on, a full-text index in partitions is read.
pub const READS_TEXT_PARTITIONS: LanceVersion = LanceVersion::new(0, 29);
/// From here on, a client's own `optimize()` succeeds on an index that this build has extended, and keeps its rows.
pub const KEEPS_EXTENDED: LanceVersion = LanceVersion::new(0, 38);
/// The oldest tested client that follows stable row ids wherever the rows lie. Older ones find rows that were changed by what they
/// were, others than before once an index was extended; and fail where ids in a fragment are in no order, as they are when
/// changed rows were merged with others.
pub const FOLLOWS_ROW_IDS: LanceVersion = LanceVersion::new(13, 0);
/// From here on, a commit to S3 is a create that fails where there is an object. Older clients write over what is there.
pub const CREATES_ON_S3: LanceVersion = LanceVersion::new(0, 24);
/// From here on, a client's own `optimize()` succeeds on a scalar index that this build has written anew for other addresses.
pub const KEEPS_REMAPPED: LanceVersion = LanceVersion::new(0, 37);
/// From here on, a BTREE of row addresses is read in a table with stable row ids.
pub const READS_BTREE_ADDRESSES: LanceVersion = LanceVersion::new(14, 0);
/// From here on, an index of lists in today's version is listed and used.
pub const READS_LABEL_LISTS: LanceVersion = LanceVersion::new(4, 0);

/// Which Lance is in which `lancedb`, where that is known.
const LANCEDB: [([u32; 3], LanceVersion); 14] = [
    ([0, 15, 0], LanceVersion::new(0, 19)),
    ([0, 19, 0], LanceVersion::new(0, 23)),
    ([0, 21, 2], LanceVersion::new(0, 25)),
    ([0, 23, 0], LanceVersion::new(0, 29)),
    ([0, 25, 0], LanceVersion::new(0, 37)),
    ([0, 25, 3], LanceVersion::new(0, 39)),
    ([0, 27, 1], LanceVersion::new(1, 0)),
    ([0, 29, 2], LanceVersion::new(2, 0)),
    ([0, 30, 2], LanceVersion::new(4, 0)),
    ([0, 32, 0], LanceVersion::new(6, 0)),
    ([0, 33, 0], LanceVersion::new(7, 0)),
    ([0, 34, 0], LanceVersion::new(8, 0)),
    ([0, 38, 0], LanceVersion::new(11, 0)),
    ([0, 40, 0], LanceVersion::new(13, 0)),
];

/// A client as a user names it: `lancedb 0.30.2`, `lance 4.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub LanceVersion);

/// A text that names no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no client: write the package and its version, as in `lancedb 0.30.2` or `lance 4.0`"
)]
pub struct NoClient(pub String);

impl FromStr for Client {
    type Err = NoClient;

    fn from_str(text: &str) -> Result<Self, NoClient> {
        let none = || NoClient(text.to_owned());
        let mut words = text.split_whitespace();
        let (Some(package), Some(numbers), None) = (words.next(), words.next(), words.next())
        else {
            return Err(none());
        };
        let version = LanceVersion::parse(numbers).ok_or_else(none)?;
        match package {
            "lance" | "pylance" => Ok(Self(version)),
            "lancedb" => Ok(Self(lance_of(numbers).ok_or_else(none)?)),
            _ => Err(none()),
        }
    }
}

/// The Lance in a version of `lancedb`; one whose last number is not given is the oldest of that name.
fn lance_of(lancedb: &str) -> Option<LanceVersion> {
    let mut version = [0; 3];
    for (number, part) in version.iter_mut().zip(lancedb.split('.')) {
        *number = part.parse().ok()?;
    }
    let known = LANCEDB.iter().take_while(|(known, _)| *known <= version);
    let lance = known.last().map(|(_, lance)| *lance);
    Some(lance.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lancedb_is_the_lance_that_it_or_the_known_one_before_it_has() {
        let lance = |text: &str| text.parse::<Client>().map(|client| client.0);
        assert_eq!(lance("lancedb 0.34.0"), Ok(LanceVersion::new(8, 0)));
        assert_eq!(lance("lancedb 0.31"), Ok(LanceVersion::new(4, 0)));
        assert_eq!(lance("lancedb 0.25.3"), Ok(LanceVersion::new(0, 39)));
        assert_eq!(lance("lancedb 0.25"), Ok(LanceVersion::new(0, 37)));
        assert_eq!(lance("lancedb 0.99.1"), Ok(LanceVersion::new(13, 0)));
        assert_eq!(lance("lancedb 0.3.0"), Ok(LanceVersion::new(0, 0)));
        assert_eq!(lance("lance 0.39.0"), Ok(LanceVersion::new(0, 39)));
        assert_eq!(lance("pylance 14"), Ok(LanceVersion::new(14, 0)));
    }

    #[test]
    fn what_is_no_client_is_refused_with_an_example() {
        for text in [
            "",
            "0.30.2",
            "lancedb",
            "lancedb x",
            "duckdb 1.0",
            "lance 1 2",
        ] {
            let refused = text.parse::<Client>().unwrap_err().to_string();
            assert!(refused.contains("lancedb 0.30.2"), "{refused}");
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(LanceVersion::new(0, 39) < LanceVersion::new(1, 0));
        assert!(LanceVersion::parse("0.9.1") < LanceVersion::parse("0.39.0"));
        assert_eq!(
            LanceVersion::parse("4.0.0-beta.1"),
            Some(LanceVersion::new(4, 0))
        );
        assert_eq!(LanceVersion::parse("new"), None);
    }
}
