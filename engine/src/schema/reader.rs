//! Reads TOML so that every problem is reported with its place.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::{Problem, SchemaError, proposal};
use crate::ids::check_name;

/// Something read from the file, and the byte where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A table of the file.
pub(super) struct Table<'t> {
    /// Where its heading stands.
    pub(super) at: usize,
    /// How a message speaks of it.
    pub(super) label: String,
    fields: &'t DeTable<'t>,
}

/// A key of a table, with its value.
pub(super) struct Entry<'t> {
    pub(super) key: At<&'t str>,
    pub(super) value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    /// The entries in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'t>> {
        let entry = |(key, value): (&'t Spanned<_>, _)| {
            let name: &'t std::borrow::Cow<'t, str> = key.get_ref();
            Entry {
                key: At {
                    at: key.span().start,
                    value: name.as_ref(),
                },
                value,
            }
        };
        let mut entries: Vec<_> = self.fields.iter().map(entry).collect();
        entries.sort_by_key(|e| e.key.at);
        entries
    }

    /// The entry of that key.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'t>> {
        self.entries().into_iter().find(|e| e.key.value == key)
    }
}

/// Collects what is wrong while a file is read: one run tells everything.
pub(super) struct Reader<'a> {
    text: &'a str,
    problems: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            problems: Vec::new(),
        }
    }

    /// Notes what is wrong at byte `at`.
    pub(super) fn problem(&mut self, at: usize, message: impl Into<String>) {
        self.problems.push((at, message.into()));
    }

    /// Whether nothing is wrong so far.
    pub(super) const fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Everything that is wrong, in the order of the file.
    pub(super) fn into_error(self, file: &str) -> SchemaError {
        let place = |(at, message)| {
            let (line, column) = place(self.text, at);
            Problem {
                line,
                column,
                message,
            }
        };
        let mut problems: Vec<_> = self.problems.into_iter().map(place).collect();
        problems.sort();
        problems.dedup();
        SchemaError {
            file: file.to_owned(),
            problems,
        }
    }

    /// The whole file as a table. What is no TOML is noted.
    pub(super) fn document<'t>(&mut self, root: &'t Spanned<DeTable<'t>>) -> Table<'t> {
        Table {
            at: 0,
            label: "the file".to_owned(),
            fields: root.get_ref(),
        }
    }

    /// Notes every key of `table` that is not one of `known`.
    pub(super) fn only(&mut self, table: &Table<'_>, known: &[&str]) {
        for Entry {
            key: At { at, value: key },
            ..
        } in table.entries()
        {
            if !known.contains(&key) {
                let hint = proposal(key, known);
                self.problem(
                    at,
                    format!("unknown key `{key}` in {}: {hint}", table.label),
                );
            }
        }
    }

    /// The table under a key.
    pub(super) fn table<'t>(&mut self, entry: &Entry<'t>, label: String) -> Option<Table<'t>> {
        self.item_table(entry.key.at, entry.value, label)
    }

    /// A table that is a value; the caller gives its place.
    pub(super) fn item_table<'t>(
        &mut self,
        at: usize,
        value: &'t Spanned<DeValue<'t>>,
        label: String,
    ) -> Option<Table<'t>> {
        if let DeValue::Table(fields) = value.get_ref() {
            return Some(Table { at, label, fields });
        }
        self.mistyped(value, &format!("{label} is a table"));
        None
    }

    /// The items of an array.
    pub(super) fn array<'t>(
        &mut self,
        entry: &Entry<'t>,
        form: &str,
    ) -> &'t [Spanned<DeValue<'t>>] {
        if let DeValue::Array(items) = entry.value.get_ref() {
            return items;
        }
        self.mistyped(
            entry.value,
            &format!("`{}` is an array: {form}", entry.key.value),
        );
        &[]
    }

    /// A string.
    pub(super) fn string(&mut self, value: &Spanned<DeValue<'_>>, of: &str) -> Option<At<String>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(At {
                at: value.span().start,
                value: text.as_ref().to_owned(),
            });
        }
        self.mistyped(value, &format!("`{of}` is a string"));
        None
    }

    /// The string under `key`, when there is one.
    pub(super) fn field(&mut self, table: &Table<'_>, key: &str) -> Option<At<String>> {
        let entry = table.get(key)?;
        self.string(entry.value, key)
    }

    /// The string under `key`; that there is none is noted with `fix`.
    pub(super) fn needed(&mut self, table: &Table<'_>, key: &str, fix: &str) -> Option<At<String>> {
        if table.get(key).is_none() {
            self.problem(table.at, format!("{} has no `{key}`: {fix}", table.label));
        }
        self.field(table, key)
    }

    /// The boolean under `key`, when there is one.
    pub(super) fn flag(&mut self, table: &Table<'_>, key: &str) -> Option<At<bool>> {
        let entry = table.get(key)?;
        if let DeValue::Boolean(value) = entry.value.get_ref() {
            return Some(At {
                at: entry.key.at,
                value: *value,
            });
        }
        self.mistyped(entry.value, &format!("`{key}` is `true` or `false`"));
        None
    }

    /// Notes a name that a type, a property or an index cannot have.
    pub(super) fn name(&mut self, at: usize, name: &str) {
        if name.starts_with('_') {
            let rest = "names that start with `_`, such as `_rowid` and `_distance`, are reserved for Lance: start with a letter";
            self.problem(at, format!("`{name}` is reserved: {rest}"));
        } else if let Err(bad) = check_name(name) {
            self.problem(at, bad.to_string());
        }
    }

    fn mistyped(&mut self, value: &Spanned<DeValue<'_>>, should: &str) {
        let is = value.get_ref().type_str();
        self.problem(
            value.span().start,
            format!("{should}, but here is a value of type {is}"),
        );
    }
}

/// Line and column, both from 1 and in characters, of byte `at`.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a\nüb = 1\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 2), (2, 1));
        assert_eq!(place(text, 4), (2, 2));
        assert_eq!(place(text, 99), (3, 1));
    }

    #[test]
    fn entries_come_in_the_order_of_the_file() {
        let root = DeTable::parse("z = 1\na = 2\nm.x = 3\n").unwrap();
        let table = Reader::new("").document(&root);
        let keys: Vec<_> = table.entries().iter().map(|e| e.key.value).collect();
        assert_eq!(keys, ["z", "a", "m"]);
    }
}
