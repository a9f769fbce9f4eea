//! One file: its text, its tree with positions, and what is wrong with it by itself.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::error::{Place, Problem, Refusal};
use crate::keys::{self, Inner, Section};
use crate::value_check::ValueCheck;

/// A file whose syntax is right.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    path: &'t Path,
    text: &'t str,
    tree: DeTable<'t>,
}

impl<'t> Source<'t> {
    /// Parses a file; the problems are all errors of syntax.
    pub(crate) fn parse(path: &'t Path, text: &'t str) -> Result<Self, Vec<Problem>> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let tree = tree.into_inner();
            return Ok(Self { path, text, tree });
        }
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| {
                let offset = error.span().map_or(0, |span| span.start);
                let (what, fix) = match error.message().split_once(", expected ") {
                    Some((what, expected)) => (what, format!("expected here: {expected}")),
                    None => (error.message(), "correct the TOML at this place".to_owned()),
                };
                Problem::new(
                    Place::of_byte(path, text, offset),
                    None,
                    Refusal::new(what, fix),
                )
            })
            .collect();
        sort(&mut problems);
        Err(problems)
    }

    /// The text, for the layering.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Everything that can be known to be wrong from this file alone, in the order of the places.
    pub(crate) fn problems(&self, check: ValueCheck) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.section(&keys::FILE, &self.tree, "", check, &mut problems);
        sort(&mut problems);
        problems
    }

    /// Every key that this file sets and its place, by the full path; `before` is the number of targets in the files
    /// before this one.
    pub(crate) fn keys(&self, before: usize) -> Vec<(String, Place)> {
        let mut keys = Vec::new();
        self.keys_of(&self.tree, "", before, &mut keys);
        keys
    }

    fn keys_of(
        &self,
        table: &DeTable<'_>,
        path: &str,
        before: usize,
        keys: &mut Vec<(String, Place)>,
    ) {
        for (key, value) in table {
            let full = joined(path, key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.keys_of(inner, &full, 0, keys),
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for (index, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            let full = format!("{full}[{}]", before + index);
                            self.keys_of(inner, &full, 0, keys);
                        }
                    }
                }
                _ => keys.push((full, self.place(key.span().start))),
            }
        }
    }

    /// How many targets it has.
    pub(crate) fn count_targets(&self) -> usize {
        self.targets().count()
    }

    /// Where a key, given by its path, stands in this file, if it does. Within a list, a number in the path counts.
    pub(crate) fn place_of(&self, path: &[&str]) -> Option<Place> {
        find(&self.tree, path).map(|offset| self.place(offset))
    }

    /// The tables of the targets.
    fn targets(&self) -> impl Iterator<Item = &DeTable<'t>> {
        entry(&self.tree, "target")
            .and_then(|(_, value)| value.get_ref().as_array())
            .into_iter()
            .flatten()
            .filter_map(|item| item.get_ref().as_table())
    }

    /// The names of the targets, with their places.
    pub(crate) fn target_names(&self) -> impl Iterator<Item = (&str, Place)> {
        self.targets().filter_map(|target| {
            let (_, value) = entry(target, "name")?;
            let name = value.get_ref().as_str()?;
            Some((name, self.place(value.span().start)))
        })
    }

    fn section(
        &self,
        section: &Section,
        table: &DeTable<'_>,
        path: &str,
        check: ValueCheck,
        problems: &mut Vec<Problem>,
    ) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let full = joined(path, name);
            if let Some(inner) = section.inner(name) {
                self.inner(inner, key.span().start, value, &full, check, problems);
            } else if !section.names().contains(&name) {
                let refusal = section.unknown(name, path);
                problems.push(self.problem(key.span().start, full, refusal));
            } else if let Err(refusal) = checked(section, name, value) {
                problems.push(self.problem(value.span().start, full, refusal));
            } else if let Some(text) = value.get_ref().as_str()
                && let Some(refusal) = check(&keys::without_indexes(&full), text)
            {
                problems.push(self.problem(value.span().start, full, refusal));
            }
        }
    }

    fn inner(
        &self,
        inner: &Inner,
        offset: usize,
        value: &Spanned<DeValue<'_>>,
        path: &str,
        check: ValueCheck,
        problems: &mut Vec<Problem>,
    ) {
        match (inner.repeated, value.get_ref()) {
            (false, DeValue::Table(table)) => {
                self.section(inner.section, table, path, check, problems)
            }
            (true, DeValue::Array(items)) => {
                let header = path;
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{header}[{index}]");
                    let offset = item.span().start;
                    if let DeValue::Table(table) = item.get_ref() {
                        self.section(inner.section, table, &path, check, problems);
                        self.required(inner, table, offset, &path, problems);
                    } else {
                        let fix = format!("write [[{}]]", keys::without_indexes(header));
                        let refusal = Refusal::new("not a table", fix);
                        problems.push(self.problem(offset, path, refusal));
                    }
                }
            }
            (repeated, _) => {
                let header = keys::without_indexes(path);
                let refusal = if repeated {
                    let fix = format!("write [[{header}]], with two brackets on either side");
                    Refusal::new("there can be many, so it is a list of tables", fix)
                } else {
                    let fix = format!("write [{header}] and its keys below it");
                    Refusal::new("there is one, and it is a table", fix)
                };
                problems.push(self.problem(offset, path.to_owned(), refusal));
            }
        }
    }

    fn required(
        &self,
        inner: &Inner,
        item: &DeTable<'_>,
        offset: usize,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        for (name, example) in inner.required {
            if entry(item, name).is_none() {
                let fix = format!("add one, such as {name} = {example:?}");
                let refusal = Refusal::new(format!("the {} has no {name}", inner.name), fix);
                problems.push(self.problem(offset, joined(path, name), refusal));
            }
        }
    }

    fn problem(&self, offset: usize, key: String, refusal: Refusal) -> Problem {
        Problem::new(self.place(offset), Some(key), refusal)
    }

    fn place(&self, offset: usize) -> Place {
        Place::of_byte(self.path, self.text, offset)
    }
}

/// Brings the problems of one file into the order of their places.
fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| match problem.place {
        Place::File { line, column, .. } => (line, column),
        Place::Path(_) | Place::Variable(_) | Place::Flag(_) => (0, 0),
    });
}

/// The path of a key in a section; a name that TOML would want in quotes gets them.
fn joined(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// A key and its value.
type Entry<'a, 't> = (&'a Spanned<Cow<'t, str>>, &'a Spanned<DeValue<'t>>);

fn entry<'a, 't>(table: &'a DeTable<'t>, name: &str) -> Option<Entry<'a, 't>> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

/// The offset of the last key of a path.
fn find(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = entry(table, first)?;
    let Some((index, within)) = rest.split_first() else {
        return Some(key.span().start);
    };
    match value.get_ref() {
        DeValue::Array(items) => {
            let item = items.get(index.parse::<usize>().ok()?)?;
            find(item.get_ref().as_table()?, within)
        }
        value => find(value.as_table()?, rest),
    }
}

/// Checks the value of one key, which is no section.
fn checked(section: &Section, key: &str, value: &Spanned<DeValue<'_>>) -> Result<(), Refusal> {
    // Without its position a date would pass for a text.
    if value.get_ref().is_datetime() {
        return Err(Refusal::new(
            "no key takes a date",
            "write it in quotes if a text is meant",
        ));
    }
    toml::Value::deserialize(ValueDeserializer::from(value.clone()))
        .and_then(|value| section.check(key, value))
        .map_err(|error| Refusal::from_message(error.message()))
}
