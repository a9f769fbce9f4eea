//! Single keys set from outside of the files: by the environment, and by flags.

use crate::error::{Place, Problem, Refusal};
use crate::keys::{self, Section};

/// A key that is set.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) place: Place,
    /// The path of the key, joined by dots.
    pub(crate) key: String,
    pub(crate) value: toml::Value,
}

/// A key that can be set so: one of `[daemon]` and `[defaults]`.
pub(crate) struct Settable {
    section: &'static Section,
    path: Vec<&'static str>,
}

/// Every such key.
pub(crate) fn settable() -> Vec<Settable> {
    let mut all = Vec::new();
    collect(&keys::FILE, &[], &mut all);
    all
}

fn collect(section: &'static Section, path: &[&'static str], all: &mut Vec<Settable>) {
    for name in section.names() {
        let path: Vec<&'static str> = path.iter().copied().chain([*name]).collect();
        match section.inner(name) {
            Some(inner) if inner.repeated => {}
            Some(inner) => collect(inner.section, &path, all),
            None => all.push(Settable { section, path }),
        }
    }
}

impl Settable {
    /// The names of the sections it is in, and its own.
    pub(crate) fn path(&self) -> &[&'static str] {
        &self.path
    }

    /// The path, joined by dots.
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    /// Sets it to what a text says.
    pub(crate) fn assign(&self, place: Place, text: &str) -> Result<Assignment, Problem> {
        let key = self.key();
        match self.value(text) {
            Ok(value) => Ok(Assignment { place, key, value }),
            Err(refusal) => Err(Problem::new(place, Some(key), refusal)),
        }
    }

    /// A text from outside has no type of its own: it is a text if the key takes it as one, and otherwise what TOML
    /// would make of it.
    fn value(&self, text: &str) -> Result<toml::Value, Refusal> {
        let name = self.path.last().copied().unwrap_or_default();
        let as_text = toml::Value::String(text.to_owned());
        let Err(error) = self.section.check(name, as_text.clone()) else {
            return Ok(as_text);
        };
        let Ok(literal) = text.trim().parse::<toml::Value>() else {
            return Err(Refusal::from_message(error.message()));
        };
        match self.section.check(name, literal.clone()) {
            Ok(()) => Ok(literal),
            // For a key that takes texts only, what it says of the text is the better answer.
            Err(error_of_literal) if error_of_literal.message().starts_with("invalid type") => {
                Err(Refusal::from_message(error.message()))
            }
            Err(error) => Err(Refusal::from_message(error.message())),
        }
    }
}
