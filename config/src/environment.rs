//! The environment as the last layer: `SQUIRE__DAEMON__TICK=5s` sets `daemon.tick`.

use crate::error::{Place, Problem, Refusal};
use crate::keys::{self, Section};

const PREFIX: &str = "SQUIRE";
const SEPARATOR: &str = "__";

/// A variable that sets a key.
#[derive(Debug)]
pub(crate) struct Variable {
    name: String,
    /// The path of the key, joined by dots.
    pub(crate) key: String,
    pub(crate) value: toml::Value,
}

impl Variable {
    pub(crate) fn place(&self) -> Place {
        Place::Variable(self.name.clone())
    }
}

/// Takes the variables that are Squire's, in the order of their names, and what is wrong with
/// them.
pub(crate) fn read(
    variables: impl Iterator<Item = (String, String)>,
) -> (Vec<Variable>, Vec<Problem>) {
    let mut ours: Vec<(String, String)> = variables.filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in ours {
        match setting(&name, &text) {
            Ok((key, value)) => read.push(Variable { name, key, value }),
            Err((key, refusal)) => {
                problems.push(Problem::new(Place::Variable(name), key, refusal));
            }
        }
    }
    (read, problems)
}

/// Whether a variable is meant for Squire.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with(SEPARATOR))
}

fn setting(name: &str, text: &str) -> Result<(String, toml::Value), (Option<String>, Refusal)> {
    let known = known();
    let Some((_, section, path)) = known.iter().find(|(known, ..)| known == name) else {
        return Err((None, unknown(name, &known)));
    };
    let key = path.join(".");
    let last = path.last().copied().unwrap_or_default();
    let value = value(section, last, text).map_err(|refusal| (Some(key.clone()), refusal))?;
    Ok((key, value))
}

/// A variable has no type of its own: it is a text if the key takes it as one, and otherwise
/// what TOML would make of it.
fn value(section: &Section, key: &str, text: &str) -> Result<toml::Value, Refusal> {
    let as_text = toml::Value::String(text.to_owned());
    let Err(error) = section.check(key, as_text.clone()) else {
        return Ok(as_text);
    };
    let Ok(literal) = text.trim().parse::<toml::Value>() else {
        return Err(Refusal::from_message(error.message()));
    };
    match section.check(key, literal.clone()) {
        Ok(()) => Ok(literal),
        // For a key that takes texts only, what it says of the text is the better answer.
        Err(error_of_literal) if error_of_literal.message().starts_with("invalid type") => {
            Err(Refusal::from_message(error.message()))
        }
        Err(error) => Err(Refusal::from_message(error.message())),
    }
}

fn unknown(name: &str, known: &[Known]) -> Refusal {
    let of_targets = format!("{PREFIX}{SEPARATOR}TARGET");
    if name.to_uppercase().starts_with(&of_targets) {
        return Refusal::new(
            "targets are not set by the environment",
            "write the target into the settings file or into a file in conf.d; \
             SQUIRE__DEFAULTS__... sets what all targets share",
        );
    }
    let fix = match keys::nearest(name, known.iter().map(|(name, ..)| name)) {
        Some(nearest) => format!("did you mean {nearest}? Otherwise unset it"),
        None => "unset it".to_owned(),
    };
    Refusal::new("no key has this variable", fix)
}

type Known = (String, &'static Section, Vec<&'static str>);

/// Every variable there can be, with its section and the path of its key.
fn known() -> Vec<Known> {
    let mut known = Vec::new();
    collect(&keys::FILE, &[], &mut known);
    known
}

fn collect(section: &'static Section, path: &[&'static str], known: &mut Vec<Known>) {
    for name in section.names() {
        let path: Vec<&'static str> = path.iter().copied().chain([*name]).collect();
        match section.inner(name) {
            Some(inner) if inner.repeated => {}
            Some(inner) => collect(inner.section, &path, known),
            None => {
                let variable =
                    format!("{PREFIX}{SEPARATOR}{}", path.join(SEPARATOR).to_uppercase());
                known.push((variable, section, path));
            }
        }
    }
}
