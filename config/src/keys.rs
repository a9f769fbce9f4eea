//! The tree of known keys, taken from the types that read them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Refusal;
use crate::introspection;
use crate::raw::{
    File, RawPolicies, RawTable, RawTarget, cleanup::RawCleanup, compaction::RawCompaction,
    daemon::RawDaemon, index::RawIndex, pace::RawPace, tls::RawTls, windows::RawWindows,
};
use crate::secrets_check;
use crate::suggest;

/// The whole file.
pub(crate) static FILE: Section = Section::of::<File>(&[
    Inner::one("daemon", &Section::of::<RawDaemon>(&[TLS])),
    Inner::one("defaults", &Section::of::<RawPolicies>(POLICIES)),
    Inner::many(
        "target",
        &[("name", "flights"), ("uri", "/var/lib/flights")],
        {
            &Section::of::<RawTarget>(&[
                COMPACTION,
                INDEX,
                CLEANUP,
                PACE,
                WINDOWS,
                Inner::many(
                    "table",
                    &[("match", "logs_*")],
                    &Section::of::<RawTable>(POLICIES),
                ),
            ])
        },
    ),
]);

const TLS: Inner = Inner::one("tls", &Section::of::<RawTls>(&[]));

/// The policies that the defaults, a target and a rule for tables have alike.
const POLICIES: &[Inner] = &[COMPACTION, INDEX, CLEANUP, PACE, WINDOWS];
const COMPACTION: Inner = Inner::one("compaction", &Section::of::<RawCompaction>(&[]));
const INDEX: Inner = Inner::one("index", &Section::of::<RawIndex>(&[]));
const CLEANUP: Inner = Inner::one("cleanup", &Section::of::<RawCleanup>(&[]));
const PACE: Inner = Inner::one("pace", &Section::of::<RawPace>(&[]));
const WINDOWS: Inner = Inner::one("windows", &Section::of::<RawWindows>(&[]));

/// A table of keys.
#[derive(Debug)]
pub(crate) struct Section {
    names: fn() -> &'static [&'static str],
    read: fn(toml::Table) -> Result<(), toml::de::Error>,
    schema: fn(&'static str) -> Value,
    /// The keys of this section that are sections themselves.
    pub(crate) inner: &'static [Inner],
}

/// A section within another.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: &'static str,
    pub(crate) section: &'static Section,
    /// Whether it is an array of tables.
    pub(crate) repeated: bool,
    /// What each of an array must have, with examples.
    pub(crate) required: &'static [(&'static str, &'static str)],
}

impl Inner {
    const fn one(name: &'static str, section: &'static Section) -> Self {
        Self {
            name,
            section,
            repeated: false,
            required: &[],
        }
    }

    const fn many(
        name: &'static str,
        required: &'static [(&'static str, &'static str)],
        section: &'static Section,
    ) -> Self {
        Self {
            name,
            section,
            repeated: true,
            required,
        }
    }
}

impl Section {
    const fn of<T: DeserializeOwned>(inner: &'static [Inner]) -> Self {
        Self {
            names: introspection::names_of::<T>,
            read: |table| T::deserialize(table).map(drop),
            schema: introspection::schema_of::<T>,
            inner,
        }
    }

    /// All keys, those of inner sections included.
    pub(crate) fn names(&self) -> &'static [&'static str] {
        (self.names)()
    }

    /// The section that a key opens.
    pub(crate) fn inner(&self, name: &str) -> Option<&'static Inner> {
        self.inner.iter().find(|inner| inner.name == name)
    }

    /// Checks the value of one key.
    pub(crate) fn check(&self, key: &str, value: toml::Value) -> Result<(), toml::de::Error> {
        (self.read)(toml::Table::from_iter([(key.to_owned(), value)]))
    }

    /// What the value of one key may be, as JSON schema.
    pub(crate) fn schema(&self, key: &'static str) -> Value {
        (self.schema)(key)
    }

    /// Why a key is refused that this section, which stands at `path`, does not know.
    pub(crate) fn unknown(&self, unknown: &str, path: &str) -> Refusal {
        if secrets_check::is_secret(unknown) {
            return secrets_check::refusal();
        }
        Refusal::new("not a known key", self.remedy(unknown, path))
    }

    /// What to write instead of it.
    fn remedy(&self, unknown: &str, path: &str) -> String {
        let path = match without_indexes(path) {
            path if path.is_empty() => path,
            path => format!("{path}."),
        };
        let below = self.headers_with(unknown, &path);
        let elsewhere = if below.is_empty() {
            FILE.headers_with(unknown, "")
        } else {
            below
        };
        if !elsewhere.is_empty() {
            return format!("move it to {}", elsewhere.join(" or "));
        }
        match suggest::nearest(unknown, self.names().iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("remove it; known here: {}", self.names().join(", ")),
        }
    }

    /// The headers, below `path`, of the sections that have a key of this name.
    fn headers_with(&self, name: &str, path: &str) -> Vec<String> {
        let mut headers = Vec::new();
        for inner in self.inner {
            let path = format!("{path}{}", inner.name);
            let names = inner.section.names();
            if names.contains(&name) && inner.section.inner(name).is_none() {
                let brackets = if inner.repeated {
                    format!("[[{path}]]")
                } else {
                    format!("[{path}]")
                };
                headers.push(brackets);
            }
            headers.extend(inner.section.headers_with(name, &format!("{path}.")));
        }
        headers
    }
}

/// The header of a section whose path counts the tables of arrays.
pub(crate) fn without_indexes(path: &str) -> String {
    let parts = path.split('.').map(|part| match part.split_once('[') {
        Some((name, _)) => name,
        None => part,
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../squire.toml");

    /// Whether a line sets `key`, or would without its `#`.
    fn sets(line: &str, key: &str) -> bool {
        let line = line.strip_prefix('#').unwrap_or(line);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(" = "))
    }

    fn assert_described(section: &Section, path: &str, all_keys: bool) {
        for name in section.names() {
            match section.inner(name) {
                Some(inner) => {
                    let path = if path.is_empty() {
                        (*name).to_owned()
                    } else {
                        format!("{path}.{name}")
                    };
                    // What `[target.compaction]` can hold is described under `[defaults]`.
                    let all_keys = !path.starts_with("target.") || path == "target.table";
                    assert_described(inner.section, &path, all_keys);
                }
                None if all_keys => {
                    let header = |line: &&str| line.trim_matches(['#', '[', ']']) == path;
                    let mut lines = REFERENCE.lines().skip_while(|line| !header(line)).skip(1);
                    let described = lines
                        .by_ref()
                        .take_while(|line| !line.trim_start_matches('#').starts_with('['))
                        .any(|line| sets(line, name));
                    assert!(described, "`{name}` of [{path}] is missing in squire.toml");
                }
                None => {}
            }
        }
    }

    #[test]
    fn every_key_of_the_types_is_in_the_reference_file() {
        assert_described(&FILE, "", true);
    }

    #[test]
    fn every_struct_within_the_file_is_a_section() {
        fn count(section: &Section) -> usize {
            section
                .names()
                .iter()
                .filter(|name| section.inner(name).is_some())
                .count()
        }
        fn assert_known(section: &Section) {
            assert_eq!(count(section), section.inner.len());
            for inner in section.inner {
                assert!(!inner.section.names().is_empty(), "{}", inner.name);
                assert_known(inner.section);
            }
        }
        assert_known(&FILE);
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
        assert_eq!(FILE.remedy("tick", ""), "move it to [daemon]");
        assert_eq!(
            FILE.remedy("max_segments", ""),
            "move it to [defaults.index] or [target.index] or [target.table.index]"
        );
        assert_eq!(FILE.remedy("uri", ""), "move it to [[target]]");
        let table = FILE.inner("target").and_then(|t| t.section.inner("table"));
        assert_eq!(
            table.map(|t| t.section.remedy("keep_for", "target[0].table[1]")),
            Some("move it to [target.table.cleanup]".to_owned())
        );
    }
}
