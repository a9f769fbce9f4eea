//! Settings, and where each of them is set.

use std::path::Path;

use crate::error::{ConfigError, Place, Problem};
use crate::origins::Origins;
use crate::overlap;
use crate::settings::{Policies, Settings};

/// Settings, and where they come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// `[defaults]`.
    pub(crate) defaults: Policies,
    pub(crate) origins: Origins,
}

impl Loaded {
    /// Where a key is set, by its full path: `daemon.tick`, or `target[0].compaction.cron` for the first of
    /// [`Settings::targets`]. `None` when no layer sets it, and it has its default.
    pub fn origin(&self, path: &str) -> Option<&Place> {
        self.origins.get(path)
    }

    /// Refuses targets of which one is where another is, or in it; a graph in a folder of a directory, or the other way
    /// round, is allowed. It asks the disk for links; one that does not answer is waited for two seconds.
    ///
    /// # Errors
    ///
    /// A problem for each pair.
    pub fn require_separate_places(&self, path: &Path) -> Result<(), ConfigError> {
        let overlaps = overlap::overlaps(&self.settings.targets).into_iter();
        let problems = overlaps.map(|(n, refusal)| {
            let key = format!("target[{n}].uri");
            let place = self.origin(&key).cloned();
            let place = place.unwrap_or_else(|| Place::Path(path.to_owned()));
            Problem::new(place, Some(key), refusal)
        });
        let problems: Vec<Problem> = problems.collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::new(problems))
    }
}
