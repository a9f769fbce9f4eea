//! Settings as a file would say them, with the place that each of them comes from.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::Place;
use crate::keys::{self, Section};
use crate::loaded::Loaded;
use crate::settings::{Policies, Rule, Target};
use crate::values;

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The header of its section: `[daemon]`, `[[target]]`.
    pub header: String,
    /// The full path of its key: `daemon.tick`, or `target[0].compaction.cron` for the first target.
    pub path: String,
    /// The key.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// The place in the last layer that sets it; `None` when it has its default.
    pub place: Option<Place>,
}

/// Settings as a file would say them: what is at its default is a comment, what some layer sets has its place beside it.
/// The file would load as the same settings.
#[derive(Debug, Clone)]
pub struct Shown(Vec<Setting>);

impl Loaded {
    /// Every setting of the process and of the defaults, and what targets and their rules say besides.
    pub fn shown(&self) -> Shown {
        let mut listing = Listing {
            loaded: self,
            settings: Vec::new(),
        };
        listing.whole("daemon", &table(&self.settings.daemon));
        listing.whole("defaults", &table(&self.defaults));
        for (index, target) in self.settings.targets.iter().enumerate() {
            listing.target(index, target);
        }
        Shown(listing.settings)
    }
}

impl Shown {
    /// The settings, in the order of the sections.
    pub fn settings(&self) -> &[Setting] {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut begun = false;
        for section in self.0.chunk_by(|a, b| parent(&a.path) == parent(&b.path)) {
            if std::mem::replace(&mut begun, true) {
                writeln!(f)?;
            }
            writeln!(f, "{}", section[0].header)?;
            let line = |setting: &Setting| {
                let unset = if setting.place.is_some() { "" } else { "#" };
                format!("{unset}{} = {}", setting.key, setting.value)
            };
            let placed = section.iter().filter(|s| s.place.is_some());
            let width = placed.map(|s| line(s).chars().count()).max().unwrap_or(0);
            for setting in section {
                let line = line(setting);
                match &setting.place {
                    Some(place) => writeln!(f, "{line:width$}  # {place}")?,
                    None => writeln!(f, "{line}")?,
                }
            }
        }
        Ok(())
    }
}

/// The path of the section that a key is in.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(section, _)| section)
}

struct Listing<'l> {
    loaded: &'l Loaded,
    settings: Vec<Setting>,
}

impl Listing<'_> {
    /// A section that every file has, with what is at its default.
    fn whole(&mut self, name: &str, values: &toml::Table) {
        if let Some(inner) = keys::FILE.inner(name) {
            self.section(inner.section, name, values, true);
        }
    }

    fn target(&mut self, index: usize, target: &Target) {
        let Some(inner) = keys::FILE.inner("target") else {
            return;
        };
        let path = format!("target[{index}]");
        let mut values = table(&target.policies);
        values.insert("name".to_owned(), target.name.clone().into());
        values.insert("uri".to_owned(), target.uri.clone().into());
        values.extend(table(&Nature {
            kind: values::word_of(&target.kind, &values::KIND),
            drift: values::word_of(&target.drift, &values::DRIFT),
            follow_links: &target.follow_links,
            allow_bases: &target.allow_bases,
        }));
        self.section(inner.section, &path, &values, false);
        let Some(rules) = inner.section.inner("table") else {
            return;
        };
        for (n, (rule, policies)) in target.rules().enumerate() {
            let mut values = table(&policies);
            values.insert("match".to_owned(), rule.pattern.clone().into());
            values.extend(
                rule.ignore
                    .map(|ignore| ("ignore".to_owned(), ignore.into())),
            );
            self.section(rules.section, &format!("{path}.table[{n}]"), &values, false);
        }
    }

    /// The keys of a section and of those within it, but for lists of tables.
    fn section(&mut self, section: &Section, path: &str, values: &toml::Table, unset_too: bool) {
        let name = keys::without_indexes(path);
        let header = if path.ends_with(']') {
            format!("[[{name}]]")
        } else {
            format!("[{name}]")
        };
        for key in section.names() {
            let Some(value) = values.get(*key) else {
                continue;
            };
            let full = format!("{path}.{key}");
            let place = self.loaded.origin(&full).cloned();
            if section.inner(key).is_none() && (unset_too || place.is_some()) {
                self.settings.push(Setting {
                    header: header.clone(),
                    path: full,
                    key: (*key).to_owned(),
                    value: value.to_string(),
                    place,
                });
            }
        }
        for inner in section.inner.iter().filter(|inner| !inner.repeated) {
            if let Some(toml::Value::Table(values)) = values.get(inner.name) {
                let path = format!("{path}.{}", inner.name);
                self.section(inner.section, &path, values, unset_too);
            }
        }
    }
}

/// What a target is, as a file says it.
#[derive(Serialize)]
struct Nature<'t> {
    kind: &'static str,
    drift: &'static str,
    follow_links: &'t [PathBuf],
    allow_bases: &'t [String],
}

/// Settings as TOML. There is nothing in them that it cannot say.
fn table(settings: &impl Serialize) -> toml::Table {
    toml::Table::try_from(settings).unwrap_or_default()
}

impl Target {
    /// Its rules for tables, each with the policies where no other rule says otherwise.
    fn rules(&self) -> impl Iterator<Item = (&Rule, Policies)> {
        let rules = self.rules.iter();
        rules.map(|rule| (rule, rule.policies.or(&self.base).resolve()))
    }
}
