//! Which layer set which key.

use std::collections::BTreeMap;

use crate::assignment::Assignment;
use crate::error::Place;
use crate::source::Source;

/// The keys that some layer sets, by their full paths, with the place in the last layer that does. Targets are counted
/// over all files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(BTreeMap<String, Place>);

impl Origins {
    pub(crate) fn of(sources: &[Source<'_>], assigned: &[Assignment]) -> Self {
        let mut origins = BTreeMap::new();
        let mut targets = 0;
        for source in sources {
            origins.extend(source.keys(targets));
            targets += source.count_targets();
        }
        let outside = assigned.iter().map(|a| (a.key.clone(), a.place.clone()));
        origins.extend(outside);
        Self(origins)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Place> {
        self.0.get(path)
    }
}
