//! Finds the tables that this build commits nothing to, because Lance or the store would refuse it. This is checked
//! before anything is written.

use std::collections::HashSet;

use lance_table::{
    feature_flags::ensure_can_write_manifest,
    format::{Fragment, Manifest},
};

use crate::error::plain;

pub(crate) use crate::planner::statistics::Unwritable;

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
