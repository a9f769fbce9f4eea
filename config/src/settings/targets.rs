//! What is maintained.

use std::path::{Path, PathBuf};

use squire_engine::{DriftPolicy, Kind};

use super::{Daemon, Policies};
use crate::error::{ConfigError, Place, Problem, Refusal};
use crate::glob;
use crate::raw::RawPolicies;

/// All settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The process itself.
    pub daemon: Daemon,
    /// What it maintains, in the order of the files; the names are unique.
    pub targets: Vec<Target>,
}

/// One thing to maintain.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name in logs and metrics: 1 to 64 of `a-z`, `0-9`, `_` and `-`; unique.
    pub name: String,
    /// Where it is: an absolute path, or a URI of the scheme `file`, `memory` or `s3`, without credentials.
    pub uri: String,
    /// Whether it is a graph or a directory; `None` for whichever of the two is found there.
    pub kind: Option<Kind>,
    /// What happens to a graph's table whose meaning another program changed.
    pub drift: DriftPolicy,
    /// Folders that symbolic links in the target may lead to; absolute.
    pub follow_links: Vec<PathBuf>,
    /// Places beyond the target whose files may be read where a table names them: absolute paths and URIs.
    pub allow_bases: Vec<String>,
    /// The policies of its tables, where no rule says otherwise.
    pub policies: Policies,
    /// What single tables have besides, in the order of the file; later ones win, key by key.
    pub(crate) rules: Vec<Rule>,
    /// What `policies` were made of, so that rules can be laid over it.
    pub(crate) base: RawPolicies,
}

impl Target {
    /// The keys in which another target of the same name differs so that it has to be opened anew. Every key is named
    /// here: one that is new must say whether it is one of those.
    pub fn opened_anew_for(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            name: _,
            uri,
            kind,
            drift,
            follow_links,
            allow_bases,
            policies: _,
            rules: _,
            base: _,
        } = self;
        let differ = [
            ("uri", *uri != other.uri),
            ("kind", *kind != other.kind),
            ("drift", *drift != other.drift),
            ("follow_links", *follow_links != other.follow_links),
            ("allow_bases", *allow_bases != other.allow_bases),
        ];
        let differ = differ.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(key, _)| key).collect()
    }
}

impl Settings {
    /// Refuses settings without a target, as a daemon that maintains nothing is a mistake. `path`
    /// is the settings file, for the message.
    ///
    /// # Errors
    ///
    /// One problem, when there is no target.
    pub fn require_targets(&self, path: &Path) -> Result<(), ConfigError> {
        if !self.targets.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::new(
            "there is no target, so there is nothing to maintain",
            "add a [[target]] with a name and a uri, here or in a file in conf.d",
        );
        let problem = Problem::new(Place::Path(path.to_owned()), None, refusal);
        Err(ConfigError::new(vec![problem]))
    }
}

impl Target {
    /// The policies of one table, given by its key (`node:Person`) or, in a directory, by its name.
    pub fn policies_of(&self, table: &str) -> Policies {
        let mut layers = self
            .rules
            .iter()
            .filter(|rule| rule.is_for(table))
            .peekable();
        if layers.peek().is_none() {
            return self.policies.clone();
        }
        let laid = layers.fold(self.base.clone(), |below, rule| rule.policies.or(&below));
        laid.resolve()
    }

    /// Whether a table is left alone altogether: it is not even polled.
    pub fn ignores(&self, table: &str) -> bool {
        let rules = self.rules.iter().filter(|rule| rule.is_for(table));
        rules
            .filter_map(|rule| rule.ignore)
            .next_back()
            .unwrap_or(false)
    }

    /// Every policy that a table of this target may have: the target's own, and each rule's.
    pub fn all_policies(&self) -> impl Iterator<Item = Policies> {
        let of_rule = |rule: &Rule| rule.policies.or(&self.base).resolve();
        std::iter::once(self.policies.clone()).chain(self.rules.iter().map(of_rule))
    }
}

/// Policies of the tables whose names match a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) pattern: String,
    /// Whether they are left alone altogether.
    pub(crate) ignore: Option<bool>,
    pub(crate) policies: RawPolicies,
}

impl Rule {
    /// Whether it is for a table; the pattern may be of the key or of the bare name.
    fn is_for(&self, table: &str) -> bool {
        let bare = table.split_once(':').map_or(table, |(_, name)| name);
        glob::matches(&self.pattern, table) || glob::matches(&self.pattern, bare)
    }
}
