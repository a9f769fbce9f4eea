//! The tree of known keys, taken from the types that read them.

use serde::de::value::Error as NamesOnly;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::raw::{Defaults, File, RawCompaction, RawDaemon, RawTarget};

/// The whole file.
pub(crate) static FILE: Section = Section::of::<File>(&[
    Inner::one("daemon", &Section::of::<RawDaemon>(&[])),
    Inner::one("defaults", &Section::of::<Defaults>(&[COMPACTION])),
    Inner::many("target", &Section::of::<RawTarget>(&[COMPACTION])),
]);

const COMPACTION: Inner = Inner::one("compaction", &Section::of::<RawCompaction>(&[]));

/// A table of keys.
#[derive(Debug)]
pub(crate) struct Section {
    names: fn() -> &'static [&'static str],
    read: fn(toml::Table) -> Result<(), toml::de::Error>,
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
}

impl Inner {
    const fn one(name: &'static str, section: &'static Section) -> Self {
        Self {
            name,
            section,
            repeated: false,
        }
    }

    const fn many(name: &'static str, section: &'static Section) -> Self {
        Self {
            name,
            section,
            repeated: true,
        }
    }
}

impl Section {
    const fn of<T: DeserializeOwned>(inner: &'static [Inner]) -> Self {
        Self {
            names: names_of::<T>,
            read: |table| T::deserialize(table).map(drop),
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

    /// What to write instead of a key this section does not know.
    pub(crate) fn remedy(&self, unknown: &str) -> String {
        let elsewhere = FILE.headers_with(unknown, "");
        if !elsewhere.is_empty() {
            return format!("move it to {}", elsewhere.join(" or "));
        }
        match nearest(unknown, self.names().iter().copied()) {
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

/// The known name most like `unknown`, if any is like it at all.
pub(crate) fn nearest<T: AsRef<str>>(unknown: &str, known: impl Iterator<Item = T>) -> Option<T> {
    const ALIKE: f64 = 0.5;
    let likeness = |name: &T| {
        strsim::normalized_damerau_levenshtein(
            &unknown.to_lowercase(),
            &name.as_ref().to_lowercase(),
        )
    };
    known
        .map(|name| (likeness(&name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// The names of the fields of a struct, as it tells them to whoever deserialises it.
fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Listener<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listener<'_> {
        type Error = NamesOnly;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NamesOnly> {
            Err(NamesOnly::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, NamesOnly> {
            *self.0 = fields;
            Err(NamesOnly::custom("the names are all that is wanted"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // Always an error: nothing is read.
    let _ = T::deserialize(Listener(&mut names));
    names
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
                    let all_keys = !path.starts_with("target.");
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
        assert_eq!(count(&FILE), FILE.inner.len());
        for inner in FILE.inner {
            assert!(!inner.section.names().is_empty(), "{}", inner.name);
            assert_eq!(count(inner.section), inner.section.inner.len());
        }
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
        assert_eq!(FILE.remedy("tick"), "move it to [daemon]");
        assert_eq!(
            FILE.remedy("cron"),
            "move it to [defaults.compaction] or [target.compaction]"
        );
        assert_eq!(FILE.remedy("uri"), "move it to [[target]]");
    }
}
