//! Tables that a build commits nothing to: whatever it would write for them, Lance or the store would refuse. It is looked
//! at before anything is written.

use std::{collections::HashSet, fmt};

use lance_table::{
    feature_flags::ensure_can_write_manifest,
    format::{Fragment, Manifest},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::plain,
    planner::clients::{CREATES_ON_S3, LanceVersion},
};

/// Why a build commits nothing to a table. Whatever it would write for it, Lance or the store would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwritable {
    /// A writer has to know features that this build does not know: Lance says which.
    Features(String),
    /// Two fragments have this id.
    FragmentTwice(u64),
    /// Who wrote it last commits without a condition: on this store it would write over a version that Squire commits.
    BlindWriter(LanceVersion),
    /// That was tried, and was refused because of this.
    Refused(String),
}

impl Unwritable {
    /// As far as the manifest of a table tells.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let twice = || fragment_twice(&manifest.fragments).map(Self::FragmentTwice);
        Self::by_features(manifest).or_else(twice)
    }

    /// As far as its flags tell, which stand in the way of a cleanup as well.
    pub(crate) fn by_features(manifest: &Manifest) -> Option<Self> {
        let refused = ensure_can_write_manifest(manifest).err()?;
        Some(Self::Features(plain(&refused)))
    }

    /// As far as who wrote it last tells, on a store where nothing but a condition keeps two commits apart.
    pub(crate) fn by_writer(last: Option<LanceVersion>) -> Option<Self> {
        last.filter(|last| *last < CREATES_ON_S3)
            .map(Self::BlindWriter)
    }

    /// Whether not even old versions can be removed.
    pub(crate) fn keeps_versions(&self) -> bool {
        matches!(self, Self::Features(_))
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(told) => {
                write!(f, "it was written by a newer Lance, upgrade Squire: {told}")
            }
            Self::FragmentTwice(id) => write!(
                f,
                "two of its fragments have the id {id}, so Lance refuses every commit: write the table anew, or restore a version without that"
            ),
            Self::BlindWriter(lance) => write!(
                f,
                "it was written last by Lance {lance}, which puts a version over whatever is there: it would take what Squire commits; upgrade its writers to lancedb 0.21 or newer"
            ),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// An id that two fragments have. They are in order, but for those of very old tables.
fn fragment_twice(fragments: &[Fragment]) -> Option<u64> {
    if fragments.windows(2).all(|pair| pair[0].id < pair[1].id) {
        return None;
    }
    let mut seen = HashSet::new();
    fragments.iter().map(|f| f.id).find(|id| !seen.insert(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_puts_over_what_is_there_is_no_company_and_an_unknown_one_is() {
        let by = |major, minor| Unwritable::by_writer(Some(LanceVersion::new(major, minor)));
        assert!(by(0, 23).unwrap().to_string().contains("Lance 0.23"));
        assert_eq!(by(0, 24), None);
        assert_eq!(by(4, 0), None);
        assert_eq!(Unwritable::by_writer(None), None);
    }

    #[test]
    fn an_id_that_two_fragments_have_is_found_in_whatever_order_they_are() {
        let twice = |ids: &[u64]| {
            let fragments: Vec<_> = ids.iter().map(|id| Fragment::new(*id)).collect();
            fragment_twice(&fragments)
        };
        assert_eq!(twice(&[]), None);
        assert_eq!(twice(&[0, 3, 7]), None);
        assert_eq!(twice(&[3, 0, 7]), None);
        assert_eq!(twice(&[0, 3, 3]), Some(3));
        assert_eq!(twice(&[3, 0, 3]), Some(3));
    }
}
